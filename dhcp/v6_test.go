package dhcp

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/siproam/siproam/dhcp/lease"
	"github.com/siproam/siproam/dhcp/wire"
)

// office6 is an office with phones of IPv6, some behind a relay.
func office6() Config {
	c := office()
	c.Subnets = append(c.Subnets,
		Subnet{Network: netip.MustParsePrefix("2001:db8:2::/64"), Pools: []Range{rangeOf("2001:db8:2::100-2001:db8:2::1ff")}},
		Subnet{Network: netip.MustParsePrefix("2001:db8:3::/64"), Pools: []Range{rangeOf("2001:db8:3::100-2001:db8:3::1ff")}})
	c.DNS = []netip.Addr{at("10.2.0.1"), at("2001:db8:2::53")}
	return c
}

// say sends a message of a phone, through a relay at link unless that is "", and gives the answer; nil: none.
func (l *lab) say(phone byte, kind dhcpv6.MessageType, link string, with ...dhcpv6.Option) *dhcpv6.Message {
	l.t.Helper()
	m, err := dhcpv6.NewMessage()
	if err != nil {
		l.t.Fatal(err)
	}
	m.MessageType = kind
	m.AddOption(dhcpv6.OptClientID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: mac(phone)}))
	m.AddOption(dhcpv6.OptRequestedOption(dhcpv6.OptionSIPServersDomainNameList, dhcpv6.OptionSIPServersIPv6AddressList, dhcpv6.OptionDNSRecursiveNameServer))
	for _, o := range with {
		m.AddOption(o)
	}
	var out dhcpv6.DHCPv6 = m
	from := netip.MustParseAddrPort("[fe80::215:65ff:fe01:201%2]:546")
	if link != "" {
		relay, err := dhcpv6.EncapsulateRelay(m, dhcpv6.MessageTypeRelayForward, net.ParseIP(link), net.ParseIP("fe80::7"))
		if err != nil {
			l.t.Fatal(err)
		}
		relay.AddOption(dhcpv6.OptInterfaceID([]byte("gi/7")))
		out, from = relay, netip.AddrPortFrom(at(link), 547)
	}
	l.eth0.Addrs = append(l.eth0.Addrs[:2:2], netip.MustParsePrefix("2001:db8:2::1/64"))
	l.send(wire.Datagram{B: out.ToBytes(), From: from, To: at("ff02::1:2")})
	all := l.sent()
	if len(all) == 0 {
		return nil
	}
	if len(all) > 1 || all[0].To != from || all[0].Interface != 2 {
		l.t.Fatalf("got %d answers, one to %v, want one to %v", len(all), all[0].To, from)
	}
	back, err := dhcpv6.FromBytes(all[0].B)
	if err != nil {
		l.t.Fatal(err)
	}
	if back.IsRelay() != (link != "") {
		l.t.Errorf("got a relay's message %v, want %v", back.IsRelay(), link != "")
	}
	if relay, ok := back.(*dhcpv6.RelayMessage); ok && string(relay.Options.InterfaceID()) != "gi/7" {
		l.t.Errorf("got the interface %q", relay.Options.InterfaceID())
	}
	in, err := back.GetInnerMessage()
	if err != nil || in.TransactionID != m.TransactionID {
		l.t.Fatalf("got %v, transaction %v, want %v", err, in.TransactionID, m.TransactionID)
	}
	return in
}

// ia is an identity association with addresses in it.
func ia(ips ...string) dhcpv6.Option {
	one := &dhcpv6.OptIANA{IaId: [4]byte{1, 2, 3, 4}}
	for _, ip := range ips {
		one.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP(ip)})
	}
	return one
}

// told is the address of an answer's association, or its status.
func told(m *dhcpv6.Message) string {
	one := m.Options.OneIANA()
	if one == nil {
		return "none"
	}
	if a := one.Options.OneAddress(); a != nil {
		return fmt.Sprintf("%v %v", a.IPv6Addr, a.ValidLifetime)
	}
	return one.Options.Status().StatusCode.String()
}

// TestExchange6: RFC 8415 18.3: SOLICIT, REQUEST, RENEW, REBIND, CONFIRM and RELEASE, on the link and behind a relay.
func TestExchange6(t *testing.T) {
	for link, subnet := range map[string]string{"": "2001:db8:2", "2001:db8:3::1": "2001:db8:3"} {
		inLab(t, office6(), func(l *lab) {
			ip := subnet + "::100"
			a := l.say(1, dhcpv6.MessageTypeSolicit, link, ia())
			if a.MessageType != dhcpv6.MessageTypeAdvertise || told(a) != ip+" 8h0m0s" || a.Options.ClientID() == nil {
				t.Fatalf("got %v", a.Summary())
			}
			us := dhcpv6.OptServerID(a.Options.ServerID())
			if l.say(1, dhcpv6.MessageTypeRequest, link, ia(ip), dhcpv6.OptServerID(&dhcpv6.DUIDUUID{UUID: [16]byte{9}})) != nil {
				t.Error("answered a REQUEST to another server")
			}
			if l.say(1, dhcpv6.MessageTypeRequest, link, ia(ip)) != nil || l.say(1, dhcpv6.MessageTypeSolicit, link, ia(), us) != nil {
				t.Error("answered a REQUEST without a server, or a SOLICIT with one (16.2, 16.4)")
			}
			r := l.say(1, dhcpv6.MessageTypeRequest, link, ia(ip), us)
			one := r.Options.OneIANA()
			if r.MessageType != dhcpv6.MessageTypeReply || told(r) != ip+" 8h0m0s" || one.T1 != 150*time.Minute || one.T2 != 4*time.Hour {
				t.Errorf("got %v", r.Summary())
			}
			for code, want := range map[dhcpv6.OptionCode]string{dhcpv6.OptionSIPServersIPv6AddressList: "2001:db8:2::1", dhcpv6.OptionDNSRecursiveNameServer: "2001:db8:2::53"} {
				if o := r.GetOneOption(code); o == nil || net.IP(o.ToBytes()).String() != want {
					t.Errorf("option %v: got %v, want %s", code, o, want)
				}
			}
			got, found := l.at(ip)
			if port := map[bool]string{true: "", false: "gi/7"}[link == ""]; !found || got.MAC != "00:15:65:01:02:01" || got.Port != port {
				t.Errorf("got %+v", got)
			}
			if m := l.say(1, dhcpv6.MessageTypeRenew, link, ia(ip), us); told(m) != ip+" 8h0m0s" {
				t.Errorf("RENEW: got %v", told(m))
			}
			if m := l.say(1, dhcpv6.MessageTypeRebind, link, ia(ip)); told(m) != ip+" 8h0m0s" {
				t.Errorf("REBIND: got %v", told(m))
			}
			if m := l.say(1, dhcpv6.MessageTypeRebind, link, ia("2001:db8:9::7")); told(m) != "2001:db8:9::7 0s" {
				t.Errorf("REBIND from another office: got %v", told(m))
			}
			if m := l.say(2, dhcpv6.MessageTypeRequest, link, ia(ip), us); told(m) != "NoBinding" {
				t.Errorf("another's address: got %v", told(m))
			}
			for where, want := range map[string]iana.StatusCode{ip: iana.StatusSuccess, "2001:db8:9::7": iana.StatusNotOnLink} {
				if m := l.say(1, dhcpv6.MessageTypeConfirm, link, ia(where)); m.Options.Status().StatusCode != want {
					t.Errorf("CONFIRM of %s: got %v", where, m.Options.Status())
				}
			}
			l.has(ip, wire.MAC(mac(1)))
			release := func() {
				if m := l.say(1, dhcpv6.MessageTypeRelease, link, ia(ip), us); m.Options.Status().StatusCode != iana.StatusSuccess {
					t.Errorf("RELEASE: got %v", m.Summary())
				}
				time.Sleep(goodbye)
				l.probes()
			}
			if release(); l.lease(ip).State != lease.Bound {
				t.Error("an address that is in use was taken back")
			}
			l.has(ip, wire.MAC{})
			if release(); l.lease(ip).State != lease.Free {
				t.Errorf("got %v, want it free", l.lease(ip).State)
			}
		})
	}
}

// TestStateless6: RFC 8415 18.3.6, what phones read without an address; names go alone (RFC 3319).
func TestStateless6(t *testing.T) {
	was := servers
	defer func() { servers = was }()
	for _, mode := range []string{"server", "proxy"} {
		cfg := office6()
		cfg.Mode = mode
		inLab(t, cfg, func(l *lab) {
			l.on(func() { servers = Servers{Names: []string{"sip.o.test"}, Addrs: was.Addrs} })
			m := l.say(1, dhcpv6.MessageTypeInformationRequest, "")
			if m == nil || string(m.GetOneOption(dhcpv6.OptionSIPServersDomainNameList).ToBytes()) != "\x03sip\x01o\x04test\x00" || m.GetOneOption(dhcpv6.OptionSIPServersIPv6AddressList) != nil {
				t.Errorf("%s: got %v", mode, m)
			}
			if mode == "proxy" && l.say(1, dhcpv6.MessageTypeSolicit, "", ia()) != nil {
				t.Error("proxy: an address is offered")
			}
			if l.say(1, dhcpv6.MessageTypeInformationRequest, "2001:db8:9::1") != nil {
				t.Error("answered a relay in no subnet of ours")
			}
		})
	}
}

// TestRapidCommit6: two messages, and nobody's address to somebody else after a restart.
func TestRapidCommit6(t *testing.T) {
	inLab(t, office6(), func(l *lab) {
		rapid := &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit}
		if m := l.say(1, dhcpv6.MessageTypeSolicit, "", ia(), rapid); m.MessageType != dhcpv6.MessageTypeReply || told(m) != "2001:db8:2::100 8h0m0s" || m.GetOneOption(dhcpv6.OptionRapidCommit) == nil {
			t.Errorf("got %v", m.Summary())
		}
		l.restart(l.s.cfg)
		if m := l.say(2, dhcpv6.MessageTypeSolicit, "", ia(), rapid); told(m) != "2001:db8:2::101 8h0m0s" {
			t.Errorf("got %v", told(m))
		}
		if m := l.say(1, dhcpv6.MessageTypeSolicit, "", ia(), rapid); told(m) != "2001:db8:2::100 8h0m0s" {
			t.Errorf("got %v", told(m))
		}
	})
}

// FuzzServer6: nothing that anybody says makes it panic, or answer twice.
func FuzzServer6(f *testing.F) {
	m, _ := dhcpv6.NewMessage()
	m.MessageType = dhcpv6.MessageTypeSolicit
	m.AddOption(dhcpv6.OptClientID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: mac(1)}))
	m.AddOption(ia("2001:db8:2::105"))
	m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit})
	relay, _ := dhcpv6.EncapsulateRelay(m, dhcpv6.MessageTypeRelayForward, net.ParseIP("2001:db8:3::1"), net.ParseIP("fe80::7"))
	f.Add(m.ToBytes())
	f.Add(relay.ToBytes())
	s := fuzzed(f, office6())
	f.Fuzz(func(t *testing.T, raw []byte) {
		l := s(t)
		l.eth0.Addrs = append(l.eth0.Addrs, netip.MustParsePrefix("2001:db8:2::1/64"))
		l.s.serve([]wire.Datagram{{B: raw, Interface: l.eth0, From: netip.MustParseAddrPort("[fe80::7%2]:546"), To: at("ff02::1:2")}})
		for _, e := range l.s.book.next {
			if got, err := readRow(e.lease.Addr.AsSlice(), appendRow(nil, &e.lease)); err != nil || got.Client != e.lease.Client || !got.Addr.Is6() {
				t.Errorf("%+v cannot be read again: %v", e.lease, err)
			}
			e.done(nil)
		}
		l.s.book.next = nil
		if len(l.s.out) > 1 {
			t.Errorf("got %d answers to one message", len(l.s.out))
		}
		l.s.out = nil
	})
}
