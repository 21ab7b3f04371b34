package office_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/nameserver"
	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/sip/transport"
)

// TestNameServer: whoever asks south's name server for north.example is told of south's softswitch, and one who does not roam
// there is not. The phone's own way, RFC 3263, leads to the listener that serves it.
func TestNameServer(t *testing.T) {
	x := startThree(t, func(cfg *office.Config) {
		if cfg.Office == "south" {
			cfg.NameServer.Listen = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
			cfg.NameServer.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			cfg.NameServer.PerSecond = 0 // eventually asks often
			for i := range cfg.Partners {
				if cfg.Partners[i].Office == "west" {
					cfg.Partners[i].Visitors.Max = 0
				}
			}
		}
	})
	south := x.office("south")
	if all := south.Names(); len(all) != 1 || len(x.office("north").Names()) != 0 {
		t.Fatalf("got name servers %v and %v, want one in south", all, x.office("north").Names())
	}
	dns := transport.NewDNS(south.Names()[0].String())
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	x.eventually("south answers for north", func() error {
		all, err := dns.NAPTR(ctx, "north.example")
		if err != nil || len(all) != 2 {
			dns = transport.NewDNS(south.Names()[0].String()) // the other has kept that there is none
			return fmt.Errorf("got %v, %v, want TCP and UDP", all, err)
		}
		return nil
	})
	for service, prefix := range map[string]string{"_sip._udp.": "udp:", "_sip._tcp.": "tcp:"} {
		for _, domain := range []string{"north.example", "south.example"} {
			all, err := dns.SRV(ctx, service+domain)
			if err != nil || len(all) != 1 {
				t.Fatalf("%s%s: got %v, %v, want one softswitch", service, domain, all, err)
			}
			addrs, err := dns.Addrs(ctx, all[0].Target)
			if err != nil || len(addrs) != 1 {
				t.Fatalf("%s: got %v, %v, want one address", all[0].Target, addrs, err)
			}
			if got := prefix + netip.AddrPortFrom(addrs[0], all[0].Port).String(); !slices.Contains(south.Addrs(), got) {
				t.Errorf("%s%s leads to %s, want one of %v", service, domain, got, south.Addrs())
			}
		}
	}
	if all, err := dns.SRV(ctx, "_sip._udp.west.example"); err == nil {
		t.Errorf("got %v for an office whose users may not visit", all)
	}
}

// TestNameServerFails: an office whose name server cannot be bound does not start, and leaves no port behind.
func TestNameServerFails(t *testing.T) {
	x := startThree(t, nil)
	cfg := x.office("north").Config()
	cfg.Office, cfg.State = "other", t.TempDir()
	cfg.Listen, cfg.PartnerListen, cfg.Partners = []string{"tcp:127.0.0.1:0"}, "", nil
	cfg.NameServer.Listen = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")} // an address of nobody here
	cfg.NameServer.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	o, err := office.New(cfg, x.house.Log)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "nameserver 192.0.2.1:53") {
		t.Errorf("got %v, want the address that is not ours", err)
	}
}

// TestNameServerReload: who may ask changes while it runs, where it is asked does not.
func TestNameServerReload(t *testing.T) {
	x := startThree(t, func(cfg *office.Config) {
		cfg.NameServer = nameserver.DefaultConfig()
		cfg.NameServer.Listen = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
		cfg.LocalNetworks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	})
	south := x.office("south")
	ask := func() error {
		_, err := transport.NewDNS(south.Names()[0].String()).SRV(context.Background(), "_sip._udp.south.example")
		return err
	}
	if err := ask(); err == nil {
		t.Error("got an answer for a network that may not ask")
	}
	cfg := south.Config()
	cfg.NameServer.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	cfg.NameServer.Listen = nil
	kept, err := south.Reload(context.Background(), cfg)
	if err != nil || !slices.Equal(kept, []string{"nameserver.listen"}) {
		t.Errorf("got kept %v, %v", kept, err)
	}
	x.eventually("answers", ask)
}
