package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/siproam/siproam/dhcp/lease"
	"github.com/siproam/siproam/dhcp/wire"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/store"
)

// counts is a counter's series: how many, by labels.
func (l *lab) counts(family string) map[string]uint64 {
	got := map[string]uint64{}
	for _, f := range l.m.Families() {
		if f.Name == family {
			f.Each(func(v *metric.Value) { got[strings.Join(v.Labels, " ")], _ = v.Count() })
		}
	}
	return got
}

// TestRestart: a process that died gives nobody's address to somebody else.
func TestRestart(t *testing.T) {
	inLab(t, office(), func(l *lab) {
		first, second := l.dora(1), l.dora(2, generic(61, 0, 0xff, 0x80), dhcpv4.WithOption(dhcpv4.OptHostName("lobby\x00\x1b[2J\n\xff phone")), generic(60, []byte("Yea\nlink")...))
		before := l.lease(second)
		l.restart(l.s.cfg)
		if got := l.dora(3); got == first || got == second {
			t.Errorf("got %v, which is another's", got)
		}
		after := l.lease(second)
		if after.Host != "lobby2Jphone" || after.Vendor != "Yealink" || after.Client != "\x00\xff\x80" || after.MAC != before.MAC || after.Until.Sub(before.Until).Abs() > time.Millisecond {
			t.Errorf("got %+v, want %+v", after, before)
		}
		l.send(l.of(1, tRequest, wish(first)))
		if a, _ := l.answered(); a.MessageType() != tAck {
			t.Errorf("INIT-REBOOT after a restart: got %v", a.MessageType())
		}
	})
}

// TestNotStored: what is not in the file is not said.
func TestNotStored(t *testing.T) {
	inLab(t, office(), func(l *lab) {
		l.send(l.of(1, tDiscover))
		l.probes()
		l.answered()
		ended, err := store.Open(":memory:", Schema)
		if err != nil {
			t.Fatal(err)
		}
		defer ended.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		ended.Run(ctx) // and then writes no more
		l.on(func() { l.s.book.file = ended })
		l.send(l.of(1, tRequest, wish("10.2.0.100"), server("10.2.0.1")))
		l.silent()
		if !strings.Contains(l.said(), "dhcp.store") {
			t.Errorf("got no word of it in\n%s", l.said())
		}
	})
}

// TestOtherServer: one that clients speak of, or wire hears, is said once and counted always.
func TestOtherServer(t *testing.T) {
	inLab(t, office(), func(l *lab) {
		l.send(l.of(1, tDiscover))
		l.probes()
		l.answered()
		for range 3 {
			l.send(l.of(1, tRequest, wish("10.2.0.7"), server("10.2.0.250")))
		}
		for i := range 50 {
			l.send(l.of(2, tRequest, wish("10.2.0.7"), server(fmt.Sprintf("192.0.2.%d", i)))) // that never were
			time.Sleep(100 * time.Millisecond)
		}
		l.silent()
		l.s.Heard(wire.Other{Interface: "eth0", ID: at("10.2.0.251"), From: at("10.2.0.251")})
		if got := l.counts("dhcp_other_servers_total")["eth0"]; got != 54 {
			t.Errorf("got %d counted, want 54", got)
		}
		if got := l.counts("dhcp_messages_total"); got["request other_server"] != 53 || got["discover ok"] != 1 {
			t.Errorf("got %v", got)
		}
		if got := strings.Count(l.said(), "dhcp.other"); got < 2 || got > 8 {
			t.Errorf("got %d lines, want one for each server, and few", got)
		}
		if got := l.lease("10.2.0.100"); got.State != lease.Free {
			t.Errorf("got %v, want the offer withdrawn (RFC 2131 3.1, 4)", got.State)
		}
	})
}

// TestBeside: nothing is served beside another server, unless it is meant.
func TestBeside(t *testing.T) {
	for _, c := range []struct {
		make func(*Config)
		want error
	}{
		{func(*Config) {}, ErrBeside}, {func(c *Config) { c.Beside = true }, nil}, {func(c *Config) { c.Mode = "proxy" }, nil}, {func(c *Config) { c.Share = Share{1, 2} }, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg := office()
			c.make(&cfg)
			l := newLab(t, cfg)
			l.others = []wire.Other{{Interface: "eth0", ID: at("10.2.0.250"), MAC: wire.MAC{2, 9}}}
			l.start(cfg)
			time.Sleep(time.Minute)
			err := l.s.Trouble()
			l.stop()
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if err != nil && err.Error() != "another DHCP server answers on eth0: 10.2.0.250, 02:09:00:00:00:00; to serve beside it set dhcp.beside: true" {
				t.Errorf("got %q", err)
			}
		})
	}
}

// TestWatch: one that comes later is noticed.
func TestWatch(t *testing.T) {
	inLab(t, office(), func(l *lab) {
		l.mu.Lock()
		l.others = []wire.Other{{Interface: "eth0", ID: at("10.2.0.250")}}
		l.mu.Unlock()
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		if !strings.Contains(l.said(), "dhcp.other") {
			t.Errorf("got no word of it in\n%s", l.said())
		}
	})
}

// TestProxy: beside another server nobody gets an address, and but classes that understand it an offer.
func TestProxy(t *testing.T) {
	cfg := office()
	cfg.Mode, cfg.Subnets = "proxy", nil
	cfg.Classes = []Class{{Vendor: "PXEClient*", Proxy: true, Options: Options{BootFile: "phone.bin"}}}
	inLab(t, cfg, func(l *lab) {
		l.send(l.of(1, tDiscover))
		l.send(l.of(1, tRequest, wish("10.2.0.7"), server("10.2.0.250")))
		l.send(l.of(1, tRequest, wish("10.2.0.7")))
		l.silent()
		pxe := []dhcpv4.Modifier{generic(60, []byte("PXEClient:Arch:00000")...), dhcpv4.WithRequestedOptions(dhcpv4.OptionBootfileName)}
		l.send(l.of(1, tDiscover, pxe...))
		o, _ := l.answered()
		if o.MessageType() != tOffer || !o.YourIPAddr.IsUnspecified() || o.BootFileNameOption() != "phone.bin" || o.Options.Has(dhcpv4.OptionIPAddressLeaseTime) {
			t.Errorf("got %v", o.Summary())
		}
		l.send(l.of(1, tRequest, append(pxe, wish("10.2.0.7"), server("10.2.0.250"))...))
		l.silent()
		l.send(l.of(1, tRequest, append(pxe, wish("10.2.0.7"), server("10.2.0.1"))...))
		if a, _ := l.answered(); a.MessageType() != tAck || !a.YourIPAddr.IsUnspecified() {
			t.Errorf("got %v", a.Summary())
		}
	})
}

// TestClasses: what the first class that holds says goes before the subnet, and that before all; 43 and 125 to their vendor alone.
func TestClasses(t *testing.T) {
	cfg := office()
	cfg.Domain, cfg.Provision = "all.example", "http://all/"
	cfg.Subnets[0].Domain = "subnet.example"
	cfg.Subnets[0].Reservations = []Reservation{{MAC: "00:15:65:01:02:09", Address: at("10.2.0.9"), Host: "lobby"}}
	cfg.Classes = []Class{
		{Name: "poly", Vendor: "Polycom*", Options: Options{Provision: "http://poly/", Other: map[string]string{"128": "text:VLAN-A=20;"}}},
		{Name: "yealink", Vendor: "yealink", OUI: []string{"00:15:65", "80:5e:c0"}, Pools: []Range{rangeOf("10.2.0.200")}, Options: Options{Domain: "class.example", Other: map[string]string{"43.1": "text:x", "125.3561.1": "text:y"}}},
	}
	list := dhcpv4.WithRequestedOptions(dhcpv4.OptionDomainName, dhcpv4.OptionVendorSpecificInformation, dhcpv4.OptionVendorIdentifyingVendorSpecific,
		dhcpv4.OptionHostName, dhcpv4.GenericOptionCode(128), dhcpv4.GenericOptionCode(160))
	for _, c := range []struct {
		name   string
		phone  byte
		vendor string
		ip     string
		want   map[uint8]string
	}{
		{"none", 1, "", "10.2.0.100", map[uint8]string{15: "subnet.example", 160: "http://all/"}},
		{"poly", 1, "polycom-VVX411", "10.2.0.100", map[uint8]string{15: "subnet.example", 160: "http://poly/", 128: "VLAN-A=20;"}},
		{"yealink", 1, "Yealink", "10.2.0.200", map[uint8]string{15: "class.example", 160: "http://all/", 43: "\x01\x01x", 125: "\x00\x00\x0d\xe9\x03\x01\x01y"}},
		{"more than a vendor without a star", 1, "Yealink T46", "10.2.0.100", map[uint8]string{15: "subnet.example", 160: "http://all/"}},
		{"a reservation", 9, "", "10.2.0.9", map[uint8]string{15: "subnet.example", 160: "http://all/", 12: "lobby"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, cfg, func(l *lab) {
				with := []dhcpv4.Modifier{list}
				if c.vendor != "" {
					with = append(with, generic(60, []byte(c.vendor)...))
				}
				l.send(l.of(c.phone, tDiscover, with...))
				l.probes()
				o, _ := l.answered()
				if o.YourIPAddr.String() != c.ip {
					t.Errorf("got %v, want %v", o.YourIPAddr, c.ip)
				}
				for _, code := range []uint8{12, 15, 43, 125, 128, 160} {
					if got := string(o.Options.Get(dhcpv4.GenericOptionCode(code))); got != c.want[code] {
						t.Errorf("option %d: got %q, want %q", code, got, c.want[code])
					}
				}
			})
		})
	}
}

// TestLittleRoom: what has no room in 576 octets is the least weighty (RFC 2131 4.1); a client that takes more gets all.
func TestLittleRoom(t *testing.T) {
	cfg := office()
	cfg.DNS, cfg.NTP, cfg.Timezone, cfg.VoiceVLAN = []netip.Addr{at("10.2.0.1")}, []netip.Addr{at("10.2.0.1")}, "America/Chicago", 20
	cfg.Provision, cfg.Domain = "https://sip.south.example/"+strings.Repeat("p", 180), "south.example"
	cfg.Search = []string{strings.Repeat("a", 60) + ".example", strings.Repeat("b", 60) + ".example", strings.Repeat("c", 60) + ".example"}
	list := dhcpv4.WithRequestedOptions(dhcpv4.OptionSubnetMask, dhcpv4.OptionDNSDomainSearchList, dhcpv4.OptionDomainName, dhcpv4.OptionRouter, dhcpv4.OptionSIPServers,
		dhcpv4.OptionTFTPServerName, dhcpv4.GenericOptionCode(160), dhcpv4.OptionNTPServers, dhcpv4.GenericOptionCode(132), dhcpv4.OptionDomainNameServer, dhcpv4.GenericOptionCode(100))
	for _, c := range []struct {
		size uint16
		left []uint8
	}{{0, []uint8{119, 160}}, {1500, nil}} {
		inLab(t, cfg, func(l *lab) {
			with := []dhcpv4.Modifier{list}
			if c.size > 0 {
				with = append(with, dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(c.size)))
			}
			l.send(l.of(1, tDiscover, with...))
			l.probes()
			all := l.sent()
			var m message
			if err := m.parse(all[0].B); err != nil || len(all[0].B) > max(int(c.size), 576)-28 {
				t.Fatalf("got %v and %d octets", err, len(all[0].B))
			}
			for _, code := range []uint8{1, 3, 6, 15, 42, 51, 54, 66, 100, 119, 120, 132, 160} {
				if got, left := m.get(code) != nil, strings.IndexByte(string(c.left), code) >= 0; got == left {
					t.Errorf("%d octets: option %d there %v", c.size, code, got)
				}
			}
		})
	}
}

// TestOften: one client that sends too much is read no more, the others are.
func TestOften(t *testing.T) {
	cfg := office()
	cfg.Limits.PerSecond, cfg.Probe = 3, 0
	inLab(t, cfg, func(l *lab) {
		for range 10 {
			l.send(l.of(1, tDiscover))
		}
		if got := len(l.sent()); got != 3 {
			t.Errorf("got %d answers, want 3", got)
		}
		l.send(l.of(2, tDiscover))
		l.answered()
		time.Sleep(time.Second)
		l.send(l.of(1, tDiscover))
		l.answered()
	})
}

// TestFlood: 20,000 clients that never were, and a hundred phones that were here before: each phone gets an address, nothing grows.
func TestFlood(t *testing.T) {
	cfg := office()
	cfg.Subnets[0].Pools = []Range{rangeOf("10.2.0.5-10.2.0.254")}
	cfg.Probe = 0
	inLab(t, cfg, func(l *lab) {
		had := map[byte]string{}
		for phone := range byte(100) {
			had[phone] = l.dora(phone)
			d := l.of(phone, tRequest, ciaddr(had[phone])) // T1: it is known now
			time.Sleep(10 * time.Millisecond)
			d.To, d.From = at("10.2.0.1"), netip.AddrPortFrom(at(had[phone]), 68)
			l.send(d)
		}
		for i := range 20_000 {
			raw := asked(t, tDiscover, dhcpv4.WithHwAddr(net.HardwareAddr{0x02, 1, byte(i >> 16), byte(i >> 8), byte(i), 7}))
			l.s.wire.(*lab).take([]wire.Datagram{{B: raw, Interface: l.eth0, From: netip.MustParseAddrPort("0.0.0.0:68"), To: wire.Broadcast.Addr()}})
			if i%100 == 0 {
				time.Sleep(100 * time.Millisecond)
				l.sent()
			}
		}
		synctest.Wait()
		for phone := range byte(100) {
			if got := l.dora(phone); got != had[phone] {
				t.Errorf("phone %d: got %s, had %s", phone, got, had[phone])
			}
		}
		l.on(func() {
			if len(l.s.probing) != 0 || len(l.s.out) != 0 || len(l.s.often.seen) > mostSeen {
				t.Errorf("got %d probes, %d answers, %d counted", len(l.s.probing), len(l.s.out), len(l.s.often.seen))
			}
		})
	})
}

// TestMACMoves: an address whose lease goes to another MAC is over for the one before.
func TestMACMoves(t *testing.T) {
	cfg := office()
	cfg.Lease.Time = roam.Duration(time.Hour)
	inLab(t, cfg, func(l *lab) {
		id := generic(61, 0, 's', 'a', 'm', 'e')
		ip := l.dora(1, id)
		if l.over() != nil {
			t.Fatalf("got %v over already", l.over())
		}
		if got := l.dora(2, id); got != ip || fmt.Sprint(l.over()) != fmt.Sprintf("[%s]", ip) {
			t.Errorf("got %v, over %v", got, l.over())
		}
	})
}

// TestShare: of an address that the office's other server may have given, nothing is said.
func TestShare(t *testing.T) {
	for _, of := range []int{1, 2} {
		cfg := office()
		cfg.Share = Share{1, of}
		inLab(t, cfg, func(l *lab) {
			l.send(l.of(1, tRequest, wish("10.2.0.101")))
			if got := len(l.sent()); got > 0 != (of == 1) {
				t.Errorf("one of %d servers: got %d answers", of, got)
			}
			for phone := range byte(4) {
				if ip := l.dora(phone); of == 2 && at(ip).As4()[3]%2 != 0 {
					t.Errorf("got %v, which is the other's", ip)
				}
			}
		})
	}
}
