package nameserver

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestAnswers: an unmodified softphone set to north.example is told of south's softswitches while it is in south.
func TestAnswers(t *testing.T) {
	s := start(t, south, nil)
	for _, c := range []struct {
		name                string
		kind                uint16
		answer, extra, none string
	}{
		{"north.example.", dns.TypeNAPTR,
			`north.example. 30 IN NAPTR 20 10 "s" "SIP+D2T" "" _sip._tcp.north.example.; north.example. 30 IN NAPTR 30 10 "s" "SIP+D2U" "" _sip._udp.north.example.`, "", ""},
		{"south.example.", dns.TypeNAPTR,
			`south.example. 30 IN NAPTR 10 10 "s" "SIPS+D2T" "" _sips._tcp.south.example.; south.example. 30 IN NAPTR 20 10 "s" "SIP+D2T" "" _sip._tcp.south.example.; south.example. 30 IN NAPTR 30 10 "s" "SIP+D2U" "" _sip._udp.south.example.`, "", ""},
		{"_sip._udp.north.example.", dns.TypeSRV,
			"_sip._udp.north.example. 30 IN SRV 10 0 5060 sip.south.example.; _sip._udp.north.example. 30 IN SRV 20 0 5070 sw2.south.example.",
			"sip.south.example. 30 IN A 127.0.0.1; sw2.south.example. 30 IN A 10.2.0.2; sw2.south.example. 30 IN AAAA 2001:db8::2", ""},
		{"_sip._tcp.north.example.", dns.TypeSRV, "_sip._tcp.north.example. 30 IN SRV 10 0 5060 sip.south.example.", "sip.south.example. 30 IN A 127.0.0.1", ""},
		{"_sips._tcp.south.example.", dns.TypeSRV, "_sips._tcp.south.example. 30 IN SRV 10 0 5061 sip.south.example.", "sip.south.example. 30 IN A 127.0.0.1", ""},
		{"sip.south.example.", dns.TypeA, "sip.south.example. 30 IN A 127.0.0.1", "", ""},
		{"sw2.south.example.", dns.TypeAAAA, "sw2.south.example. 30 IN AAAA 2001:db8::2", "", ""},
		{"sip.south.example.", dns.TypeAAAA, "", "", "south.example. 30 IN SOA south.example. hostmaster.south.example. 1 3600 600 86400 30"},
		// The case in which it was asked comes back (0x20).
		{"_SiP._uDp.NORTH.example.", dns.TypeSRV,
			"_SiP._uDp.NORTH.example. 30 IN SRV 10 0 5060 sip.south.example.; _SiP._uDp.NORTH.example. 30 IN SRV 20 0 5070 sw2.south.example.",
			"sip.south.example. 30 IN A 127.0.0.1; sw2.south.example. 30 IN A 10.2.0.2; sw2.south.example. 30 IN AAAA 2001:db8::2", ""},
	} {
		for _, network := range []string{"udp", "tcp"} {
			what := network + " " + dns.TypeToString[c.kind] + " " + c.name
			r := ask(t, s, network, c.name, c.kind, nil)
			isCode(t, what, r, dns.RcodeSuccess)
			if got := records(r.Answer); got != c.answer {
				t.Errorf("%s: got\n%s\nwant\n%s", what, got, c.answer)
			}
			if got := records(r.Extra); got != c.extra {
				t.Errorf("%s: got additional\n%s\nwant\n%s", what, got, c.extra)
			}
			if got := records(r.Ns); got != c.none {
				t.Errorf("%s: got authority %s, want %s", what, got, c.none)
			}
			if !r.Authoritative || r.RecursionAvailable || r.Question[0].Name != c.name {
				t.Errorf("%s: got aa %t ra %t question %s", what, r.Authoritative, r.RecursionAvailable, r.Question[0].Name)
			}
		}
	}
	for _, c := range []struct { // nothing of ours: the domains' web pages and mail are others' to tell
		name string
		kind uint16
	}{
		{"north.example.", dns.TypeA}, {"north.example.", dns.TypeMX}, {"www.north.example.", dns.TypeA}, {"west.example.", dns.TypeNAPTR},
		{"_sips._tcp.north.example.", dns.TypeSRV}, // no certificate of ours names it
		{"_sip._udp.north.example.", dns.TypeTXT}, {"sip.south.example.", dns.TypeMX}, {".", dns.TypeNS},
	} {
		isCode(t, c.name, ask(t, s, "udp", c.name, c.kind, nil), dns.RcodeRefused)
	}
}

// TestAddresses: softphones that look up no SRV find us by the address of the domain, if that is configured.
func TestAddresses(t *testing.T) {
	s := start(t, south, func(c *Config) { c.Addresses = true })
	if got := records(ask(t, s, "udp", "north.example.", dns.TypeA, nil).Answer); got != "north.example. 30 IN A 127.0.0.1; north.example. 30 IN A 10.2.0.2" {
		t.Errorf("got %s", got)
	}
	isCode(t, "mail", ask(t, s, "udp", "north.example.", dns.TypeMX, nil), dns.RcodeRefused)
}

// TestZoneChanges: a softswitch that dies is no longer told; without any, nothing is ours.
func TestZoneChanges(t *testing.T) {
	s := start(t, south, nil)
	s.Answer(Zone{Domains: south.Domains, Hosts: south.Hosts[1:]})
	if got := records(ask(t, s, "udp", "_sip._udp.north.example.", dns.TypeSRV, nil).Answer); got != "_sip._udp.north.example. 30 IN SRV 10 0 5070 sw2.south.example." {
		t.Errorf("got %s", got)
	}
	isCode(t, "TCP", ask(t, s, "udp", "_sip._tcp.north.example.", dns.TypeSRV, nil), dns.RcodeRefused)
	s.Answer(Zone{Domains: south.Domains})
	for _, name := range []string{"_sip._udp.north.example.", "sw2.south.example."} {
		isCode(t, name, ask(t, s, "udp", name, dns.TypeSRV, nil), dns.RcodeRefused)
	}
}

// TestCompile: names that are none, and domains given twice, do no harm.
func TestCompile(t *testing.T) {
	z := Zone{
		Domains: []Domain{{Name: "a.example"}, {Name: "A.example."}, {Name: "10.2.0.1"}, {Name: ""}, {Name: strings.Repeat("x", 64) + ".example"}, {Name: "2001:db8::1"}},
		Hosts:   []Host{{Name: "10.2.0.1", UDP: 5060}, {Name: "sip.elsewhere.example", UDP: 5060}},
	}.compile()
	if len(z.names) != 2 { // the domain and its SRV over UDP
		t.Errorf("got %d names, want 2: %v", len(z.names), z.names)
	}
	a := z.names["_sip._udp.a.example."]
	if a == nil || len(a.srv) != 1 || a.srv[0].Target != "sip.elsewhere.example." || a.srv[0].Priority != 20 {
		t.Errorf("got %+v", a)
	}
	if n := z.names["a.example."]; len(n.naptr) != 1 {
		t.Errorf("got %v, want one NAPTR", n.naptr)
	}
	// A name outside every domain says of itself how long its absence holds.
	six := Zone{Hosts: []Host{{Name: "six.example", Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::6")}}}}.compile()
	q := new(dns.Msg).SetQuestion("six.example.", dns.TypeA)
	cfg := DefaultConfig()
	if r := six.answer(q, loopback, &cfg); r == nil || records(r.Ns) != "six.example. 30 IN SOA six.example. hostmaster.six.example. 1 3600 600 86400 30" {
		t.Errorf("got %v", r)
	}
}
