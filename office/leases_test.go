package office_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/rs/zerolog"

	"github.com/siproam/siproam/dhcp"
	dhcpwire "github.com/siproam/siproam/dhcp/wire"
	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/web"
)

// lan is the network of a DHCP server without one: what is sent to it, and what it answers.
type lan struct {
	t    *testing.T
	eth0 *dhcpwire.Interface

	mu     sync.Mutex // guards what follows
	take   func([]dhcpwire.Datagram)
	others []dhcpwire.Other
	said   chan dhcpwire.Reply
}

func newLAN(t *testing.T) *lan {
	return &lan{t: t, said: make(chan dhcpwire.Reply, 100), eth0: &dhcpwire.Interface{Index: 2, Name: "eth0", Addrs: []netip.Prefix{netip.MustParsePrefix("127.0.2.1/24")}, Up: true}}
}

func (l *lan) Run(ctx context.Context, take func([]dhcpwire.Datagram)) error {
	l.mu.Lock()
	l.take = take
	l.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (l *lan) Interfaces() []*dhcpwire.Interface { return []*dhcpwire.Interface{l.eth0} }

func (l *lan) Send(all []dhcpwire.Reply) {
	for _, r := range all {
		r.B = append([]byte(nil), r.B...)
		l.said <- r
	}
}

func (l *lan) Probe(ctx context.Context, _ int, _ netip.Addr, _ dhcpwire.MAC) (bool, error) {
	return false, nil
}

func (l *lan) Servers(context.Context, int, bool) ([]dhcpwire.Other, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.others, nil
}

// ask sends one message of the phone whose MAC ends so, from an address, and gives the answer; nil after a while of silence.
func (l *lan) ask(phone byte, from string, kind dhcpv4.MessageType, with ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	l.t.Helper()
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithMessageType(kind), dhcpv4.WithHwAddr(net.HardwareAddr{0, 0x15, 0x65, 0, 0, phone}),
		dhcpv4.WithRequestedOptions(dhcpv4.OptionSIPServers)}, with...)...)
	if err != nil {
		l.t.Fatal(err)
	}
	l.mu.Lock()
	take := l.take
	l.mu.Unlock()
	take([]dhcpwire.Datagram{{B: m.ToBytes(), Interface: l.eth0, From: netip.AddrPortFrom(netip.MustParseAddr(from), 68), To: dhcpwire.Broadcast.Addr()}})
	wait := 5 * time.Second
	if kind == dhcpv4.MessageTypeRelease {
		return nil
	}
	select {
	case r := <-l.said:
		a, err := dhcpv4.FromBytes(r.B)
		if err != nil {
			l.t.Fatal(err)
		}
		return a
	case <-time.After(wait):
		l.t.Fatalf("no answer to %v", kind)
		return nil
	}
}

// discover is a phone that is plugged in: it gets an address.
func (l *lan) discover(phone byte) (ip string, ack *dhcpv4.DHCPv4) {
	l.t.Helper()
	o := l.ask(phone, "0.0.0.0", dhcpv4.MessageTypeDiscover)
	ack = l.ask(phone, "0.0.0.0", dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(o.YourIPAddr)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(o.ServerIdentifier())))
	if ack.MessageType() != dhcpv4.MessageTypeAck {
		l.t.Fatalf("got %v, want an ACK", ack.MessageType())
	}
	return ack.YourIPAddr.String(), ack
}

// dialFrom is a connection of the phone that has an address.
func (x *three) dialFrom(ip, office string) *wirePhone {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := d.Dial("tcp", x.addr(office, "tcp"))
	return &wirePhone{wire: newWire(x.t, c, err), ip: ip}
}

// wirePhone registers as 1001 again and again, with one Call-ID.
type wirePhone struct {
	*wire
	ip  string
	seq int
}

// registers gives the answer's code.
func (p *wirePhone) registers() int {
	p.seq++
	return p.register("1001", fmt.Sprintf("Contact: <sip:1001@%s;transport=tcp>\nCall-ID: of-%s\nCSeq: %d REGISTER\n", p.conn.LocalAddr(), p.ip, p.seq)).Status()
}

// TestLeases: phones without a name of their own are known by their lease, with where they stand; under devices: one the phone
// that is plugged in anew takes its user back, once; a lease that ends takes the registration with it; commands and pages show all that.
func TestLeases(t *testing.T) {
	l := newLAN(t)
	x := startThreeMade(t, zerolog.Nop(), func(cfg *office.Config) {
		if cfg.Office != "north" {
			return
		}
		cfg.Registration.Devices = "one"
		cfg.Roles = append(cfg.Roles, "dhcp")
		cfg.DHCP.Mode, cfg.DHCP.Interfaces = "server", []string{"eth0"}
		cfg.DHCP.Subnets = []dhcp.Subnet{{Network: netip.MustParsePrefix("127.0.2.0/24"), Site: "1 Long Street",
			Pools: []dhcp.Range{{First: netip.MustParseAddr("127.0.2.10"), Last: netip.MustParseAddr("127.0.2.20")}}}}
	}, func(o *office.Office) {
		if o.Name() == "north" {
			o.BringWire(l)
		}
	})
	north, ctx := x.office("north"), context.Background()
	x.eventually("DHCP serves", func() error {
		h, err := north.Health(ctx)
		for _, p := range h.Parts {
			if p.Name == "dhcp" && p.OK && h.Ready {
				return err
			}
		}
		return fmt.Errorf("got %+v, %v", h, err)
	})
	ipA, ack := l.discover(0xa)
	if got := ack.Options.Get(dhcpv4.OptionSIPServers); len(got) != 5 || got[0] != 1 || net.IP(got[1:]).String() != "127.0.0.1" {
		t.Errorf("got option 120 %x, want the address of our listener for phones (RFC 3361 3.2)", got)
	}
	a := x.dialFrom(ipA, "north")
	if got := a.registers(); got != 200 {
		t.Fatalf("got %d, want 200", got)
	}
	w, err := north.Where(ctx, "1001")
	if err != nil || len(w.Phones) != 1 || w.Phones[0].Device != "mac:00:15:65:00:00:0a" || w.Phones[0].Spot.String() != "127.0.2.0/24, 1 Long Street" {
		t.Errorf("got %+v, %v, want the phone by its lease", w.Phones, err)
	}
	list, err := x.house.Leases(ctx, "", "", "1001@north")
	if err != nil || len(list) != 1 || list[0].Addr.String() != ipA || list[0].State != "bound" || list[0].MAC != "00:15:65:00:00:0a" ||
		list[0].Site != "1 Long Street" || list[0].Plugged.IsZero() || list[0].Client != "" {
		t.Errorf("got %+v, %v", list, err)
	}
	if v, err := north.Snapshot(ctx, web.AskPlace, "", 0); err != nil || v.(web.Place).DHCP == nil || v.(web.Place).DHCP.Bound != 1 || v.(web.Place).DHCP.Free != 10 {
		t.Errorf("got %+v, %v, want one address given of 11", v, err)
	}

	// Another phone of the same user; the first one's refreshes do not take him back, until somebody plugs it in again.
	time.Sleep(2 * time.Millisecond) // its DISCOVER is older than what follows
	ipB, _ := l.discover(0xb)
	b := x.dialFrom(ipB, "north")
	if got := b.registers(); got != 200 {
		t.Fatalf("the second phone: got %d, want 200", got)
	}
	if got := a.registers(); got != 403 {
		t.Errorf("the first one's refresh: got %d, want 403", got)
	}
	if again, _ := l.discover(0xa); again != ipA {
		t.Errorf("got %s anew, want %s", again, ipA)
	}
	if got := a.registers(); got != 200 {
		t.Errorf("plugged in anew: got %d, want 200", got)
	}
	if got := b.registers(); got != 403 {
		t.Errorf("the second one's refresh, plugged in before: got %d, want 403", got)
	}

	// What gives its address back is offline.
	l.ask(0xa, ipA, dhcpv4.MessageTypeRelease, dhcpv4.WithClientIP(net.ParseIP(ipA)), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(127, 0, 2, 1))))
	x.eventually("1001 is offline", func() error {
		w, err := north.Where(ctx, "1001")
		if err == nil && len(w.Phones) > 0 {
			err = fmt.Errorf("got %+v", w.Phones)
		}
		return err
	})
	if list, err := x.house.Leases(ctx, "north", "free", "0a"); err != nil || len(list) != 1 || len(list[0].Users) > 0 {
		t.Errorf("got %+v, %v, want the address that it had", list, err)
	}
	if _, err := x.house.Leases(ctx, "south", "", ""); err == nil || !strings.Contains(err.Error(), "no DHCP server here") {
		t.Errorf("got %v for an office without DHCP", err)
	}

	// Reservations change on reload; interfaces do not.
	cfg := north.Config()
	cfg.DHCP.Interfaces = []string{"eth1"}
	cfg.DHCP.Subnets[0].Reservations = []dhcp.Reservation{{MAC: "00:15:65:00:00:0c", Address: netip.MustParseAddr("127.0.2.99")}}
	if kept, err := north.Reload(ctx, cfg); err != nil || fmt.Sprint(kept) != "[dhcp.interfaces]" {
		t.Errorf("got kept %v, %v", kept, err)
	}
	if ip, _ := l.discover(0xc); ip != "127.0.2.99" {
		t.Errorf("got %s, want the reservation", ip)
	}
}

// TestDHCPBeside: beside another server nothing is given, the office is not ready and says why, and phones with addresses are served.
func TestDHCPBeside(t *testing.T) {
	l := newLAN(t)
	l.others = []dhcpwire.Other{{Interface: "eth0", ID: netip.MustParseAddr("127.0.2.66")}}
	x := startThreeMade(t, zerolog.Nop(), func(cfg *office.Config) {
		if cfg.Office == "north" {
			cfg.Roles = append(cfg.Roles, "dhcp")
			cfg.DHCP.Mode, cfg.DHCP.Interfaces = "server", []string{"eth0"}
			cfg.DHCP.Subnets = []dhcp.Subnet{{Network: netip.MustParsePrefix("127.0.2.0/24")}}
		}
	}, func(o *office.Office) {
		if o.Name() == "north" {
			o.BringWire(l)
		}
	})
	x.eventually("not ready", func() error {
		h, err := x.office("north").Health(context.Background())
		for _, p := range h.Parts {
			if p.Name == "dhcp" && !p.OK && strings.Contains(p.Detail, "127.0.2.66") && !h.Ready {
				return nil
			}
		}
		return fmt.Errorf("got %+v, %v", h, err)
	})
	if res := x.dial("tcp", "north").register("1001", "Contact: <sip:1001@127.0.0.1:5070;transport=tcp>\n"); res.Status() != 200 || res.Value(sip.Contact) == nil {
		t.Errorf("got %d, want 200", res.Status())
	}
}
