package transport

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/rs/zerolog"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
)

// zone is what the name server of these tests serves.
const zone = `
_sip._udp.north.example. 60 SRV 2 0 5063 b.north.example.
_sip._udp.north.example. 60 SRV 1 0 5062 a.north.example.
_sip._udp.north.example. 60 SRV 1 0 5062 gone.north.example.
_sip._tcp.north.example. 60 SRV 1 0 5060 alias.north.example.
_sips._tcp.north.example. 60 SRV 1 0 5067 a.north.example.
_sip._udp.closed.example. 60 SRV 0 0 0 .
alias.north.example. 60 CNAME a.north.example.
a.north.example. 60 A 192.0.2.1
a.north.example. 60 AAAA 2001:db8::1
b.north.example. 60 A 192.0.2.2
north.example. 60 A 192.0.2.9
plain.example. 60 A 192.0.2.7
closed.example. 60 A 192.0.2.8
six.example. 60 AAAA 2001:db8::6
clear.example. 60 A 192.0.2.10
clear.example. 60 NAPTR 1 1 "s" "SIP+D2T" "" _sip._tcp.clear.example.
clear.example. 60 NAPTR 1 2 "s" "SIP+D2U" "" _sip._udp.clear.example.
_sip._tcp.clear.example. 60 SRV 0 0 5060 clear.example.

; south prefers TLS, then TCP; what we have not, and a later order, do not count
south.example. 60 NAPTR 20 1 "s" "SIP+D2U" "" _sip._udp.south.example.
south.example. 60 NAPTR 10 50 "s" "SIP+D2T" "" _odd.south.example.
south.example. 60 NAPTR 10 20 "s" "SIPS+D2T" "" _sips._tcp.south.example.
south.example. 60 NAPTR 5 20 "s" "SIP+D2S" "" _sip._sctp.south.example.
south.example. 60 NAPTR 5 30 "u" "SIP+D2T" "!.*!sip:x!" .
_odd.south.example. 60 SRV 0 0 5070 a.north.example.
_sips._tcp.south.example. 60 SRV 0 0 5067 b.north.example.
_sip._udp.south.example. 60 SRV 0 0 5060 b.north.example.
`

// reach is where u leads, or the refusal.
func reach(t *testing.T, tr *Transport, u string) string {
	t.Helper()
	uri, err := sip.ParseURI([]byte(u))
	if err != nil {
		t.Fatal(err)
	}
	hops, err := tr.Reach(context.Background(), uri)
	var why roam.Refusal
	if errors.As(err, &why) {
		return why.Error()
	}
	var all []string
	for _, h := range hops {
		all = append(all, h.Transport.String()+" "+h.Addr+" "+h.Name)
	}
	return strings.Join(all, ", ")
}

func TestReach(t *testing.T) {
	many := ""
	for i := range 60 {
		many += fmt.Sprintf("many.example. 60 A 198.51.100.%d\n", i)
	}
	server := siptest.NewNameServer(t, zone+many)
	for _, tt := range []struct{ uri, want, asked string }{
		{"sip:192.0.2.1", "UDP 192.0.2.1:5060 192.0.2.1", ""},
		{"sip:1001@192.0.2.1:5080;transport=TCP", "TCP 192.0.2.1:5080 192.0.2.1", ""},
		{"sip:[2001:db8::1]:5070;maddr=192.0.2.66", "UDP [2001:db8::1]:5070 2001:db8::1", ""},
		{"sip:192.0.2.1;transport=tls", "TLS 192.0.2.1:5061 192.0.2.1", ""},
		{"sips:192.0.2.1", "TLS 192.0.2.1:5061 192.0.2.1", ""},
		{"sips:192.0.2.1;transport=tcp", "TLS 192.0.2.1:5061 192.0.2.1", ""},
		{"sip:north.example", "UDP 192.0.2.1:5062 north.example, UDP [2001:db8::1]:5062 north.example, UDP 192.0.2.2:5063 north.example, " +
			"TCP 192.0.2.1:5060 north.example, TCP [2001:db8::1]:5060 north.example",
			"NAPTR north.example, SRV _sip._udp.north.example, SRV _sip._tcp.north.example"},
		{"sip:North.example:5067;transport=tls", "TLS 192.0.2.9:5067 north.example", ""},
		{"sips:north.example", "TLS 192.0.2.1:5067 north.example, TLS [2001:db8::1]:5067 north.example", "NAPTR north.example, SRV _sips._tcp.north.example"},
		{"sip:south.example", "TCP 192.0.2.1:5070 south.example, TCP [2001:db8::1]:5070 south.example", "NAPTR south.example, SRV _odd.south.example"},
		{"sips:south.example", "TLS 192.0.2.2:5067 south.example", "NAPTR south.example, SRV _sips._tcp.south.example"},
		{"sip:south.example;transport=udp", "UDP 192.0.2.2:5060 south.example", "SRV _sip._udp.south.example"},
		{"sip:plain.example", "UDP 192.0.2.7:5060 plain.example", "NAPTR plain.example, SRV _sip._udp.plain.example, SRV _sip._tcp.plain.example"},
		{"sip:plain.example;transport=tcp", "TCP 192.0.2.7:5060 plain.example", "SRV _sip._tcp.plain.example"},
		{"sips:plain.example", "TLS 192.0.2.7:5061 plain.example", "NAPTR plain.example, SRV _sips._tcp.plain.example"},
		{"sip:plain.example;maddr=192.0.2.66;transport=udp", "UDP 192.0.2.7:5060 plain.example", "SRV _sip._udp.plain.example"},
		{"sip:six.example", "UDP [2001:db8::6]:5060 six.example", "NAPTR six.example, SRV _sip._udp.six.example, SRV _sip._tcp.six.example"},
		{"sip:six.example:5070;transport=tcp", "TCP [2001:db8::6]:5070 six.example", ""},
		{"sip:[2001:db8::1]", "UDP [2001:db8::1]:5060 2001:db8::1", ""},
		{"sips:clear.example", "TLS 192.0.2.10:5061 clear.example", "NAPTR clear.example, SRV _sips._tcp.clear.example"}, // never in the clear
		{"sip:south.example;transport=tls", "TLS 192.0.2.2:5067 south.example", "SRV _sips._tcp.south.example"},
		{"sip:localhost", "UDP 127.0.0.1:5060 localhost", ""},
		{"sip:closed.example", roam.NoRoute.Error(), "NAPTR closed.example, SRV _sip._udp.closed.example, SRV _sip._tcp.closed.example"},
		{"sip:nowhere.example", roam.NoRoute.Error(), "NAPTR nowhere.example, SRV _sip._udp.nowhere.example, SRV _sip._tcp.nowhere.example"},
		{"sip:broken.example:5060", roam.Timeout.Error(), ""},
		{"sip:north.example;transport=sctp", roam.NoRoute.Error(), ""},
		{"sips:north.example;transport=udp", roam.NoRoute.Error(), ""},
		{"tel:+15550001001", roam.NoRoute.Error(), ""},
	} {
		tr := New(Config{Resolver: NewDNS(server.Addr)}, nil, nil, zerolog.Nop())
		server.Asked()
		if got := reach(t, tr, tt.uri); got != tt.want && got != strings.Replace(tt.want, "127.0.0.1", "[::1]", 1) {
			t.Errorf("%s: got %s, want %s", tt.uri, got, tt.want)
		}
		services := slices.DeleteFunc(server.Asked(), func(q string) bool { return strings.HasPrefix(q, "A") })
		if got := strings.Join(services, ", "); got != tt.asked {
			t.Errorf("%s: asked %s, want %s", tt.uri, got, tt.asked)
		}
	}
	tr := New(Config{Resolver: NewDNS(server.Addr)}, nil, nil, zerolog.Nop())
	if got := strings.Count(reach(t, tr, "sip:many.example:5060"), "UDP"); got != maxHops {
		t.Errorf("got %d hops of a name with 60 addresses, want %d: also those beyond a datagram", got, maxHops)
	}
}

// TestSilentDNS: who does not answer costs a moment, once.
func TestSilentDNS(t *testing.T) {
	server := siptest.NewNameServer(t, zone)
	tr := New(Config{Resolver: NewDNS(server.Addr)}, nil, nil, zerolog.Nop())
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if _, err := tr.Reach(ctx, sip.URI{Scheme: "sip", Host: "silent.example", Port: 5060}); !errors.Is(err, roam.Timeout) || ctx.Err() != nil {
		t.Errorf("got %v, %v, want a timeout within 4 s", err, ctx.Err())
	}
	began := time.Now()
	if got := reach(t, tr, "sip:silent.example:5060"); got != roam.Timeout.Error() || time.Since(began) > 500*time.Millisecond {
		t.Errorf("again: got %s after %v, want the timeout at once", got, time.Since(began))
	}
}

// TestLastGoodAnswer: an answer holds for its TTL, and for days while no server answers; none is an answer, too.
func TestLastGoodAnswer(t *testing.T) {
	server := siptest.NewNameServer(t, "a.example. 1 A 192.0.2.1\n")
	d := NewDNS(server.Addr)
	tr := New(Config{Resolver: d}, nil, nil, zerolog.Nop())
	want := func(what, want string) {
		t.Helper()
		if got := reach(t, tr, "sip:a.example:5060"); got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
	expire := func() {
		d.known.mu.Lock()
		defer d.known.mu.Unlock()
		for _, a := range d.known.all {
			a.fresh = time.Now()
		}
	}
	want("first", "UDP 192.0.2.1:5060 a.example")
	server.Asked()
	server.Zone("a.example. 1 A 192.0.2.2\n")
	want("within its TTL", "UDP 192.0.2.1:5060 a.example")
	if asked := server.Asked(); len(asked) != 0 {
		t.Errorf("within its TTL: asked %v", asked)
	}
	expire()
	want("after its TTL", "UDP 192.0.2.2:5060 a.example")
	server.Mute(true)
	expire()
	want("DNS away", "UDP 192.0.2.2:5060 a.example")
	server.Asked()
	want("DNS away, again", "UDP 192.0.2.2:5060 a.example")
	if asked := server.Asked(); len(asked) != 0 {
		t.Errorf("DNS away, again: asked %v, want a moment's rest", asked)
	}
	server.Mute(false)
	server.Zone("b.example. 1 A 192.0.2.3\n")
	d.known.mu.Lock()
	d.known.away = time.Time{}
	d.known.mu.Unlock()
	want("gone from DNS", roam.NoRoute.Error())
}

// TestKnown is the memory of answers over time.
func TestKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k known
		q := question{"a.example.", dns.TypeA}
		good := []dns.RR{&dns.A{}}
		want := func(what string, records int, state knowledge) {
			t.Helper()
			if r, s := k.recall(q); len(r) != records || s != state {
				t.Errorf("%s: got %d records, %v, want %d, %v", what, len(r), s, records, state)
			}
		}
		want("never asked", 0, unknown)
		k.lose(q)
		want("in vain", 0, lost)
		time.Sleep(lostFor)
		want("later", 0, unknown)
		k.keep(q, good, 60)
		time.Sleep(59 * time.Second)
		want("59 s", 1, fresh)
		time.Sleep(time.Second)
		want("60 s", 1, stale)
		k.lose(q)
		want("DNS away", 1, fresh)
		time.Sleep(lostFor)
		want("DNS away for 5 s", 1, stale)
		time.Sleep(keptFor)
		want("DNS away for days", 0, unknown)
		for i := range 2 * maxKnown {
			k.keep(question{fmt.Sprint(i), dns.TypeA}, good, 60)
		}
		if len(k.all) != maxKnown {
			t.Errorf("got %d answers kept, want %d", len(k.all), maxKnown)
		}
	})
}

// TestHowLongAnAnswerHolds: as long as the shortest TTL on the way to it, aliases too; that there is none as long as the
// zone says (RFC 2308 5), and neither for ever.
func TestHowLongAnAnswerHolds(t *testing.T) {
	for _, c := range []struct {
		name    string
		answer  []string
		soa     string
		records int
		ttl     uint32
	}{
		{"one", []string{"a.example. 300 A 192.0.2.1"}, "", 1, 300},
		{"the shortest of two", []string{"a.example. 300 A 192.0.2.1", "a.example. 60 A 192.0.2.2"}, "", 2, 60},
		{"an alias is shorter", []string{"a.example. 30 CNAME b.example.", "b.example. 300 A 192.0.2.1"}, "", 1, 30},
		{"the address is shorter", []string{"a.example. 300 CNAME b.example.", "b.example. 20 A 192.0.2.1"}, "", 1, 20},
		{"another name's", []string{"other.example. 300 A 192.0.2.1"}, "", 0, 10},
		{"for ever", []string{"a.example. 2000000 A 192.0.2.1"}, "", 1, 86_400},
		{"at once", []string{"a.example. 0 A 192.0.2.1"}, "", 1, 0},
		{"none, the zone says", nil, "example. 3600 SOA ns.example. x.example. 1 2 3 4 90", 0, 90},
		{"none, the zone's own TTL", nil, "example. 40 SOA ns.example. x.example. 1 2 3 4 90", 0, 40},
		{"none, for a day", nil, "example. 86400 SOA ns.example. x.example. 1 2 3 4 86400", 0, 300},
		{"aliases in a ring", []string{"a.example. 60 CNAME b.example.", "b.example. 60 CNAME a.example."}, "", 0, 10},
	} {
		m := new(dns.Msg)
		for _, s := range c.answer {
			r, err := dns.NewRR(s)
			if err != nil {
				t.Fatal(err)
			}
			m.Answer = append(m.Answer, r)
		}
		if c.soa != "" {
			r, err := dns.NewRR(c.soa)
			if err != nil {
				t.Fatal(err)
			}
			m.Ns = append(m.Ns, r)
		}
		if got, ttl := answersTo(question{"a.example.", dns.TypeA}, m); len(got) != c.records || ttl != c.ttl {
			t.Errorf("%s: got %d records for %d s, want %d for %d s", c.name, len(got), ttl, c.records, c.ttl)
		}
	}
}

// TestDrawn: priority first; among equals each is first as often as its weight says (RFC 2782).
func TestDrawn(t *testing.T) {
	records := []*dns.SRV{
		{Priority: 2, Weight: 5, Target: "last"}, {Priority: 1, Weight: 60, Target: "60"}, {Priority: 1, Weight: 0, Target: "0"},
		{Priority: 1, Weight: 30, Target: "30"}, {Priority: 1, Weight: 10, Target: "10"},
	}
	r := rand.New(rand.NewPCG(1, 2))
	first := map[string]int{}
	const times = 10_000
	for range times {
		all := drawn(records, r.IntN)
		if len(all) != len(records) || all[4].Target != "last" {
			t.Fatalf("got %v, want all, the other priority last", all)
		}
		first[all[0].Target]++
	}
	for target, want := range map[string]int{"60": 6000, "30": 3000, "10": 1000, "0": 50} {
		if got := first[target]; got < want-want/5-100 || got > want+want/5+100 {
			t.Errorf("%s was first %d times of %d, want about %d", target, got, times, want)
		}
	}
	if first["0"] == 0 {
		t.Error("weight 0 was never first, want it rarely")
	}
	if records[0].Target != "last" {
		t.Error("the answer was changed; it is shared")
	}
}
