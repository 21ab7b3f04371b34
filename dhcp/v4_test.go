package dhcp

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/siproam/siproam/dhcp/lease"
	"github.com/siproam/siproam/dhcp/wire"
	"github.com/siproam/siproam/roam"
)

const (
	tDiscover = dhcpv4.MessageTypeDiscover
	tOffer    = dhcpv4.MessageTypeOffer
	tRequest  = dhcpv4.MessageTypeRequest
	tAck      = dhcpv4.MessageTypeAck
	tNak      = dhcpv4.MessageTypeNak
	tDecline  = dhcpv4.MessageTypeDecline
	tRelease  = dhcpv4.MessageTypeRelease
	tInform   = dhcpv4.MessageTypeInform
)

func at(s string) netip.Addr { return netip.MustParseAddr(s) }

func ciaddr(ip string) dhcpv4.Modifier { return dhcpv4.WithClientIP(net.ParseIP(ip)) }

// TestExchange: RFC 2131 3.1, four messages, with what is told and where each goes.
func TestExchange(t *testing.T) {
	cfg := office()
	cfg.DNS, cfg.Provision = []netip.Addr{at("10.2.0.1")}, "http://{server}/p/{mac}"
	inLab(t, cfg, func(l *lab) {
		id := generic(61, 0xff, 1, 2, 3)
		l.send(l.of(1, tDiscover, id))
		l.silent() // it is probed first
		l.probes()
		o, r := l.answered()
		if o.MessageType() != tOffer || o.YourIPAddr.String() != "10.2.0.100" || o.ServerIdentifier().String() != "10.2.0.1" {
			t.Errorf("got %v", o.Summary())
		}
		if r.To.String() != "10.2.0.100:68" || r.MAC != wire.MAC(mac(1)) || r.Source != at("10.2.0.1") || r.Interface != 2 {
			t.Errorf("got %+v, want a frame to the phone", r)
		}
		l.send(l.of(1, tRequest, id, wish("10.2.0.100"), server("10.2.0.1")))
		a, r := l.answered()
		if a.MessageType() != tAck || a.YourIPAddr.String() != "10.2.0.100" || a.IPAddressLeaseTime(0) != 8*time.Hour || r.MAC != wire.MAC(mac(1)) {
			t.Errorf("got %v to %v", a.Summary(), r.To)
		}
		for code, want := range map[uint8]string{
			1: "\xff\xff\xff\x00", 3: "\x0a\x02\x00\x01", 6: "\x0a\x02\x00\x01", 120: "\x01\x0a\x02\x00\x01", 66: "http://10.2.0.1/p/001565010201", 61: "\xff\x01\x02\x03",
		} {
			if got := string(a.Options.Get(dhcpv4.GenericOptionCode(code))); got != want {
				t.Errorf("option %d: got %q, want %q", code, got, want)
			}
		}
		if a.Options.Has(dhcpv4.GenericOptionCode(160)) {
			t.Error("got option 160, which was not asked for (RFC 2132 9.8)")
		}
		got, found := l.at("10.2.0.100")
		if !found || got.MAC != "00:15:65:01:02:01" || got.Port != "" || got.Subnet.String() != "10.2.0.0/24" || time.Since(got.Plugged) > time.Second {
			t.Errorf("got %+v, %v", got, found)
		}
	})
}

// TestStates: a REQUEST in each state of its client, RFC 2131 4.3.2, to a server with authority and to one without.
func TestStates(t *testing.T) {
	for _, c := range []struct {
		name        string
		with        []dhcpv4.Modifier
		to          string // "": broadcast
		want, plain dhcpv4.MessageType
		goes        string
	}{
		{"SELECTING another server", []dhcpv4.Modifier{wish("10.2.0.100"), server("10.2.0.250")}, "", 0, 0, ""},
		{"SELECTING us, an address never offered", []dhcpv4.Modifier{wish("10.2.0.150"), server("10.2.0.1")}, "", tNak, tNak, "255.255.255.255:68"},
		{"INIT-REBOOT", []dhcpv4.Modifier{wish("10.2.0.100")}, "", tAck, tAck, "10.2.0.100:68"},
		{"INIT-REBOOT with the broadcast flag", []dhcpv4.Modifier{wish("10.2.0.100"), dhcpv4.WithBroadcast(true)}, "", tAck, tAck, "255.255.255.255:68"},
		{"INIT-REBOOT from another office", []dhcpv4.Modifier{wish("10.1.0.100")}, "", tNak, 0, "255.255.255.255:68"},
		{"INIT-REBOOT, nothing known", []dhcpv4.Modifier{wish("10.2.0.150")}, "", tNak, 0, "255.255.255.255:68"},
		{"INIT-REBOOT, another's", []dhcpv4.Modifier{wish("10.2.0.101")}, "", tNak, tNak, "255.255.255.255:68"},
		{"RENEWING", []dhcpv4.Modifier{ciaddr("10.2.0.100")}, "10.2.0.1", tAck, tAck, "10.2.0.100:68"},
		{"RENEWING another's", []dhcpv4.Modifier{ciaddr("10.2.0.101")}, "10.2.0.1", tNak, tNak, "255.255.255.255:68"},
		{"REBINDING", []dhcpv4.Modifier{ciaddr("10.2.0.100")}, "", tAck, tAck, "10.2.0.100:68"},
		{"REBINDING from another office", []dhcpv4.Modifier{ciaddr("10.1.0.100")}, "", tNak, 0, "255.255.255.255:68"},
		{"nothing at all", nil, "", 0, 0, ""},
	} {
		for _, authority := range []bool{true, false} {
			want := c.want
			if !authority {
				want = c.plain
			}
			t.Run(c.name, func(t *testing.T) {
				cfg := office()
				cfg.Authoritative = authority
				inLab(t, cfg, func(l *lab) {
					l.dora(1)
					l.dora(2)
					d := l.of(1, tRequest, append(c.with, generic(61, append([]byte{1}, mac(1)...)...))...)
					if c.to != "" {
						d.To, d.From = at(c.to), netip.AddrPortFrom(at("10.2.0.100"), 68)
					}
					l.send(d)
					if want == 0 {
						l.silent()
						return
					}
					m, r := l.answered()
					if m.MessageType() != want || r.To.String() != c.goes {
						t.Errorf("got %v to %v, want %v to %v", m.MessageType(), r.To, want, c.goes)
					}
					if m.ServerIdentifier().String() != "10.2.0.1" || !bytes.Equal(m.Options.Get(dhcpv4.OptionClientIdentifier), append([]byte{1}, mac(1)...)) {
						t.Errorf("got server %v and client %x (RFC 6842)", m.ServerIdentifier(), m.Options.Get(dhcpv4.OptionClientIdentifier))
					}
					if got := m.Options.Has(dhcpv4.OptionIPAddressLeaseTime); got != (want == tAck) {
						t.Errorf("a lease time in %v: %v (RFC 2131 table 3)", want, got)
					}
					if want == tNak && (!m.YourIPAddr.IsUnspecified() || r.MAC != wire.MAC{}) {
						t.Errorf("got a NAK of %v to %v", m.YourIPAddr, r.MAC)
					}
					if ci := m.ClientIPAddr; want == tAck && strings.HasPrefix(c.name, "RE") && ci.String() != "10.2.0.100" {
						t.Errorf("got ciaddr %v, want the client's (RFC 2131 table 3)", ci)
					}
				})
			})
		}
	}
}

// TestLife: a lease is renewed at T1, not at T2, and is over; the phone gets the address back.
func TestLife(t *testing.T) {
	cfg := office()
	cfg.Lease = Times{roam.Duration(time.Hour), roam.Duration(time.Minute), roam.Duration(time.Hour)}
	inLab(t, cfg, func(l *lab) {
		l.send(l.of(1, tDiscover))
		l.probes()
		o, _ := l.answered()
		l.send(l.of(1, tRequest, wish("10.2.0.100"), server("10.2.0.1"), dhcpv4.WithRequestedOptions(dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue)))
		a, _ := l.answered()
		if t1, t2 := a.IPAddressRenewalTime(0), a.IPAddressRebindingTime(0); o.IPAddressLeaseTime(0) != time.Hour || t1 != 30*time.Minute || t2 != 52*time.Minute+30*time.Second {
			t.Errorf("got T1 %v and T2 %v, want half and seven eighths of an hour", t1, t2)
		}
		for range 3 { // at T1 each
			time.Sleep(30 * time.Minute)
			d := l.of(1, tRequest, ciaddr("10.2.0.100"))
			d.To, d.From = at("10.2.0.1"), netip.MustParseAddrPort("10.2.0.100:68")
			l.send(d)
			if a, _ := l.answered(); a.MessageType() != tAck || a.IPAddressLeaseTime(0) != time.Hour {
				t.Fatalf("got %v", a.Summary())
			}
		}
		time.Sleep(52*time.Minute + 30*time.Second)
		l.send(l.of(1, tRequest, ciaddr("10.2.0.100"))) // T2: to everybody
		l.answered()
		time.Sleep(time.Hour - time.Second)
		synctest.Wait()
		if _, found := l.at("10.2.0.100"); !found || l.over() != nil {
			t.Errorf("got %v, over %v, want a lease to its end", found, l.over())
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if _, found := l.at("10.2.0.100"); found || len(l.over()) != 1 || l.over()[0] != at("10.2.0.100") {
			t.Errorf("got %v, over %v, want it over once", found, l.over())
		}
		if l.dora(2); l.dora(1) != "10.2.0.100" {
			t.Error("another address than before")
		}
	})
}

// TestTimes: what a client wishes for is kept within bounds.
func TestTimes(t *testing.T) {
	for asked, want := range map[uint32]time.Duration{0: time.Minute, 1: time.Minute, 600: 10 * time.Minute, 0xffffffff: 24 * time.Hour} {
		inLab(t, office(), func(l *lab) {
			l.send(l.of(1, tDiscover, generic(51, byte(asked>>24), byte(asked>>16), byte(asked>>8), byte(asked))))
			l.probes()
			if o, _ := l.answered(); o.IPAddressLeaseTime(0) != want && (asked != 0 || o.IPAddressLeaseTime(0) != 8*time.Hour) {
				t.Errorf("%d: got %v, want %v", asked, o.IPAddressLeaseTime(0), want)
			}
		})
	}
}

// TestDestinations: where an OFFER goes, RFC 2131 4.1, with and without a relay.
func TestDestinations(t *testing.T) {
	relay := dhcpv4.WithRelay(net.ParseIP("10.2.0.9"))
	for _, c := range []struct {
		name string
		with []dhcpv4.Modifier
		want string
		mac  bool
	}{
		{"to the hardware address", nil, "10.2.0.100:68", true},
		{"a ciaddr in a DISCOVER", []dhcpv4.Modifier{ciaddr("192.0.2.7")}, "10.2.0.100:68", true},
		{"broadcast flag", []dhcpv4.Modifier{dhcpv4.WithBroadcast(true)}, "255.255.255.255:68", false},
		{"not Ethernet", []dhcpv4.Modifier{func(m *dhcpv4.DHCPv4) { m.HWType = 6 }}, "255.255.255.255:68", false},
		{"relay", []dhcpv4.Modifier{relay}, "10.2.0.9:67", false},
		{"relay, broadcast flag", []dhcpv4.Modifier{relay, dhcpv4.WithBroadcast(true)}, "10.2.0.9:67", false},
		{"relay with a port, RFC 8357", []dhcpv4.Modifier{relay, generic(82, 19, 0)}, "10.2.0.9:6767", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, office(), func(l *lab) {
				d := l.of(1, tDiscover, c.with...)
				d.From = netip.MustParseAddrPort("10.2.0.9:6767")
				l.send(d)
				l.probes()
				if _, r := l.answered(); r.To.String() != c.want || (r.MAC != wire.MAC{}) != c.mac {
					t.Errorf("got %v, frame to %v, want %v, %v", r.To, r.MAC, c.want, c.mac)
				}
			})
		})
	}
}

// remote is an office whose phones are behind a relay.
func remote() Config {
	cfg := office()
	cfg.Subnets = append(cfg.Subnets,
		Subnet{Network: netip.MustParsePrefix("10.3.0.0/24"), Router: at("10.3.0.1"), Pools: []Range{rangeOf("10.3.0.100-10.3.0.200")}, Site: "1 Long Street",
			Ports: map[string]string{"gi/7/dead": "Room 7"}},
		Subnet{Network: netip.MustParsePrefix("10.4.0.0/24"), Pools: []Range{rangeOf("10.4.0.100-10.4.0.200")}})
	return cfg
}

// TestRelay: giaddr, option 82 whole and last (RFC 3046), link selection (RFC 3527), server override (RFC 5107).
func TestRelay(t *testing.T) {
	circuit := []byte{1, 4, 'g', 'i', '/', '7', 2, 2, 0xde, 0xad}
	for _, c := range []struct {
		name, giaddr     string
		agent            []byte
		ip, server, port string // where it stands
	}{
		{"giaddr alone", "10.3.0.1", nil, "10.3.0.100", "10.2.0.1", ", 1 Long Street"},
		{"circuit", "10.3.0.1", circuit, "10.3.0.100", "10.2.0.1", "gi/7/dead, Room 7"},
		{"link selection", "10.3.0.1", append([]byte{5, 4, 10, 4, 0, 0}, circuit...), "10.4.0.100", "10.2.0.1", "gi/7/dead, "},
		{"server override", "10.3.0.1", []byte{11, 4, 10, 3, 0, 1}, "10.3.0.100", "10.3.0.1", ", 1 Long Street"},
		{"no subnet", "10.9.0.1", circuit, "", "", ""},
		{"a sub-option over the end means nothing", "10.3.0.1", []byte{5, 200, 10, 4}, "10.3.0.100", "10.2.0.1", ", 1 Long Street"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLab(t, remote(), func(l *lab) {
				with := []dhcpv4.Modifier{dhcpv4.WithRelay(net.ParseIP(c.giaddr))}
				if c.agent != nil {
					with = append(with, generic(82, c.agent...))
				}
				by := func(d wire.Datagram) {
					d.From, d.To = netip.AddrPortFrom(at(c.giaddr), 67), at("10.2.0.1")
					l.send(d)
				}
				by(l.of(1, tDiscover, with...))
				l.probes()
				if c.ip == "" {
					l.silent()
					return
				}
				o, r := l.answered()
				if o.YourIPAddr.String() != c.ip || o.ServerIdentifier().String() != c.server || o.GatewayIPAddr.String() != c.giaddr {
					t.Errorf("got %v", o.Summary())
				}
				if c.agent != nil && !bytes.HasSuffix(bytes.TrimRight(r.B, "\x00"), append(append([]byte{82, byte(len(c.agent))}, c.agent...), 255)) {
					t.Errorf("got %x at the end, want option 82 as it came", r.B[len(r.B)-40:])
				}
				by(l.of(1, tRequest, append(with, wish(c.ip), server(c.server))...))
				if a, r := l.answered(); a.MessageType() != tAck || r.To.String() != c.giaddr+":67" || r.Source != at("10.2.0.1") {
					t.Errorf("got %v to %v from %v", a.MessageType(), r.To, r.Source)
				}
				if got, _ := l.at(c.ip); got.Port+", "+got.Site != c.port {
					t.Errorf("got port and site %q, want %q", got.Port+", "+got.Site, c.port)
				}
				by(l.of(1, tRequest, append(with, wish("10.77.0.1"))...)) // INIT-REBOOT from elsewhere
				if n, r := l.answered(); n.MessageType() != tNak || !n.IsBroadcast() || r.To.String() != c.giaddr+":67" {
					t.Errorf("got %v to %v, flag %v, want a NAK that the relay broadcasts (RFC 2131 4.3.2)", n.MessageType(), r.To, n.IsBroadcast())
				}
				d := l.of(1, tRequest, ciaddr(c.ip)) // RENEWING goes past the relay, through the router
				d.From, d.To = netip.AddrPortFrom(at(c.ip), 68), at("10.2.0.1")
				l.send(d)
				if a, r := l.answered(); a.MessageType() != tAck || r.To.String() != c.ip+":68" {
					t.Errorf("RENEWING: got %v to %v", a.MessageType(), r.To)
				}
			})
		})
	}
}

// TestForgedAgent: option 82 counts from relays that are believed alone, RFC 3046 2.1.
func TestForgedAgent(t *testing.T) {
	agent := generic(82, 1, 1, 'x', 5, 4, 10, 3, 0, 1)
	for _, c := range []struct {
		name     string
		make     func(*Config)
		giaddr   string
		from     string
		answered bool
	}{
		{"from a client", func(*Config) {}, "", "0.0.0.0:68", false},
		{"from a switch", func(c *Config) { c.Snooping = true }, "", "0.0.0.0:68", true},
		{"from any relay", func(*Config) {}, "10.3.0.1", "10.3.0.1:67", true},
		{"from any relay in no subnet of ours", func(*Config) {}, "192.0.2.1", "192.0.2.1:67", false},
		{"from a relay that is listed", func(c *Config) { c.Relays = []netip.Prefix{netip.MustParsePrefix("10.3.0.1/32")} }, "10.3.0.1", "10.3.0.1:67", true},
		{"from one that is not", func(c *Config) { c.Relays = []netip.Prefix{netip.MustParsePrefix("10.3.0.1/32")} }, "10.4.0.1", "10.4.0.1:67", false},
		{"in the name of one", func(c *Config) { c.Relays = []netip.Prefix{netip.MustParsePrefix("10.3.0.1/32")} }, "10.3.0.1", "10.4.0.66:67", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := remote()
			c.make(&cfg)
			inLab(t, cfg, func(l *lab) {
				with := []dhcpv4.Modifier{agent}
				if c.giaddr != "" {
					with = append(with, dhcpv4.WithRelay(net.ParseIP(c.giaddr)))
				}
				d := l.of(1, tDiscover, with...)
				d.From = netip.MustParseAddrPort(c.from)
				l.send(d)
				l.probes()
				if got := len(l.sent()); got > 0 != c.answered {
					t.Errorf("got %d answers, want some: %v", got, c.answered)
				}
			})
		})
	}
}

// TestRapidCommit: RFC 4039, two messages for those who ask.
func TestRapidCommit(t *testing.T) {
	inLab(t, office(), func(l *lab) {
		l.send(l.of(1, tDiscover, generic(80)))
		l.probes()
		if a, _ := l.answered(); a.MessageType() != tAck || !a.Options.Has(dhcpv4.GenericOptionCode(80)) {
			t.Errorf("got %v", a.Summary())
		}
		if got, found := l.at("10.2.0.100"); !found {
			t.Errorf("got %v, want a lease", got)
		}
	})
	cfg := office()
	cfg.RapidCommit = false
	inLab(t, cfg, func(l *lab) {
		l.send(l.of(1, tDiscover, generic(80)))
		l.probes()
		if o, _ := l.answered(); o.MessageType() != tOffer {
			t.Errorf("got %v, want an OFFER", o.MessageType())
		}
	})
}

// TestProbe: an address that somebody has is not offered, and left alone.
func TestProbe(t *testing.T) {
	inLab(t, office(), func(l *lab) {
		l.has("10.2.0.100", wire.MAC{2, 9})
		l.has("10.2.0.101", wire.MAC{2, 9})
		l.send(l.of(1, tDiscover))
		l.send(l.of(1, tDiscover)) // asked again meanwhile
		l.probes()
		o, _ := l.answered()
		if o.YourIPAddr.String() != "10.2.0.102" {
			t.Errorf("got %v, want the first that nobody has", o.YourIPAddr)
		}
		if got := l.lease("10.2.0.100"); got.State != lease.Declined {
			t.Errorf("got %v, want it left alone", got.State)
		}
		was := l.questions()
		l.send(l.of(1, tDiscover))
		if l.answered(); l.questions() != was {
			t.Error("the same address is probed again while it is held")
		}
		l.send(l.of(1, tRequest, wish("10.2.0.102"), server("10.2.0.1")))
		l.answered()
		l.send(l.of(1, tDiscover))
		if l.answered(); l.questions() != was {
			t.Error("a phone that starts again is probed for")
		}
	})
}

// TestRelease: RFC 2131 4.3.4; one in the name of a phone that is there changes nothing.
func TestRelease(t *testing.T) {
	from := func(l *lab, phone byte, ip string) {
		d := l.of(phone, tRelease, ciaddr(ip), server("10.2.0.1"))
		d.From, d.To = netip.AddrPortFrom(at(ip), 68), at("10.2.0.1")
		l.send(d)
		time.Sleep(goodbye)
		l.probes()
	}
	inLab(t, office(), func(l *lab) {
		ip := l.dora(1)
		from(l, 2, ip) // by another client
		l.has(ip, wire.MAC(mac(1)))
		from(l, 1, ip) // the phone still answers
		d := l.of(1, tRelease, ciaddr(ip), server("10.2.0.1"))
		d.From = netip.MustParseAddrPort("10.2.0.66:68")
		l.send(d) // from elsewhere
		time.Sleep(goodbye)
		l.probes()
		if _, found := l.at(ip); !found || l.over() != nil {
			t.Fatalf("got %v, over %v, want the lease as it was", found, l.over())
		}
		l.has(ip, wire.MAC{})
		from(l, 1, ip)
		if _, found := l.at(ip); found || len(l.over()) != 1 {
			t.Errorf("got %v, over %v, want it over", found, l.over())
		}
		l.silent()
		if got := l.dora(1); got != ip {
			t.Errorf("got %v, want %v again", got, ip)
		}
	})
}

// TestDecline: RFC 2131 4.3.3; one in the name of a phone that is there alone changes nothing.
func TestDecline(t *testing.T) {
	inLab(t, office(), func(l *lab) {
		ip := l.dora(1)
		say := func(phone byte) {
			l.send(l.of(phone, tDecline, wish(ip), server("10.2.0.1")))
			l.probes()
			l.probes()
			l.silent()
		}
		l.has(ip, wire.MAC(mac(1)))
		say(2) // by another client
		say(1) // the phone has it, and nobody else
		if got := l.lease(ip); got.State != lease.Bound {
			t.Fatalf("got %v, want the lease as it was", got.State)
		}
		l.has(ip, wire.MAC{2, 9})
		say(1)
		if got := l.lease(ip); got.State != lease.Declined {
			t.Errorf("got %v, want it left alone", got.State)
		}
		if got := l.dora(1); got == ip {
			t.Errorf("got %v again", got)
		}
	})
}

// TestInform: RFC 2131 4.3.5, options without a lease.
func TestInform(t *testing.T) {
	for _, mode := range []string{"server", "proxy"} {
		cfg := office()
		cfg.Mode = mode
		inLab(t, cfg, func(l *lab) {
			d := l.of(1, tInform, ciaddr("10.2.0.50"))
			d.From = netip.MustParseAddrPort("10.2.0.50:68")
			l.send(d)
			a, r := l.answered()
			if a.MessageType() != tAck || !a.YourIPAddr.IsUnspecified() || a.ClientIPAddr.String() != "10.2.0.50" || r.To.String() != "10.2.0.50:68" || r.MAC != (wire.MAC{}) ||
				a.Options.Has(dhcpv4.OptionIPAddressLeaseTime) || string(a.Options.Get(dhcpv4.OptionSIPServers)) != "\x01\x0a\x02\x00\x01" {
				t.Errorf("%s: got %v to %v", mode, a.Summary(), r.To)
			}
			l.send(l.of(1, tInform)) // from nowhere
			l.silent()
			d = l.of(1, tInform, ciaddr("192.0.2.7")) // to somebody else
			d.From = netip.MustParseAddrPort("192.0.2.7:68")
			l.send(d)
			l.silent()
		})
	}
}
