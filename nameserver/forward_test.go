package nameserver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const world = `
www.north.example. 300 A 192.0.2.80
WWW.case.example. 300 A 192.0.2.81
mail.example. 300 MX 10 mx.mail.example.
`

// TestForward: every other name is a resolver's, with its lifetime, its code and what it says of names that are not.
func TestForward(t *testing.T) {
	var asked atomic.Pointer[dns.Msg]
	up := resolver(t, world, func(w dns.ResponseWriter, r *dns.Msg) bool { asked.Store(r.Copy()); return false })
	s := start(t, south, to(up))
	for _, network := range []string{"udp", "tcp"} {
		r := ask(t, s, network, "wWw.North.example.", dns.TypeA, func(m *dns.Msg) { m.SetEdns0(4096, true) })
		if got := records(r.Answer); got != "www.north.example. 300 IN A 192.0.2.80" || r.Authoritative || !r.RecursionAvailable || r.Question[0].Name != "wWw.North.example." {
			t.Errorf("%s: got %s aa %t ra %t question %s", network, got, r.Authoritative, r.RecursionAvailable, r.Question[0].Name)
		}
		if e := r.IsEdns0(); e == nil || e.UDPSize() != safeUDP || !e.Do() || opts(r) != 1 {
			t.Errorf("%s: got EDNS0 %v, want ours alone", network, e)
		}
		if e := asked.Load().IsEdns0(); e == nil || !e.Do() {
			t.Errorf("%s: DO did not reach the resolver", network)
		}
	}
	isCode(t, "no such name", ask(t, s, "udp", "nowhere.example.", dns.TypeA, nil), dns.RcodeNameError)
	if r := ask(t, s, "udp", "mail.example.", dns.TypeMX, nil); records(r.Answer) != "mail.example. 300 IN MX 10 mx.mail.example." || r.IsEdns0() != nil {
		t.Errorf("got %v", r)
	}
	if r := ask(t, s, "udp", "north.example.", dns.TypeNAPTR, nil); !r.Authoritative || !r.RecursionAvailable || len(r.Answer) != 2 {
		t.Errorf("got %v, want our own", r)
	}
	isCode(t, "not recursive", ask(t, s, "udp", "www.north.example.", dns.TypeA, func(m *dns.Msg) { m.RecursionDesired = false }), dns.RcodeRefused)
}

// TestFailover: one dead and one refusing resolver cost their time once; all dead is a failure in time.
func TestFailover(t *testing.T) {
	refusing := resolver(t, "", func(w dns.ResponseWriter, r *dns.Msg) bool { r.Rcode = dns.RcodeRefused; return false })
	good := resolver(t, world, nil)
	dead, err := net.ListenPacket("udp", "127.0.0.1:0") // hears and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	silent := dead.LocalAddr().(*net.UDPAddr).AddrPort()
	s := start(t, south, to(silent, refusing, good))
	began := time.Now()
	isCode(t, "first", ask(t, s, "udp", "www.north.example.", dns.TypeA, nil), dns.RcodeSuccess)
	if took := time.Since(began); took < tryFor {
		t.Errorf("took %s, want the silent one asked first", took)
	}
	began = time.Now()
	isCode(t, "second", ask(t, s, "udp", "www.north.example.", dns.TypeA, nil), dns.RcodeSuccess)
	if took := time.Since(began); took > tryFor {
		t.Errorf("took %s, want the one that answered last asked first", took)
	}
	s = start(t, south, to(silent))
	began = time.Now()
	isCode(t, "nobody", ask(t, s, "udp", "www.north.example.", dns.TypeA, nil), dns.RcodeServerFailure)
	if took := time.Since(began); took > answerFor+time.Second {
		t.Errorf("took %s", took)
	}
}

// TestForged: what comes from the resolver's address but with another id or question is not believed, and the true answer
// after it is; a flood of it has us ask over TCP.
func TestForged(t *testing.T) {
	lie := net.IPv4(203, 0, 113, 66)
	var flood atomic.Bool
	up := resolver(t, world, func(w dns.ResponseWriter, r *dns.Msg) bool {
		if _, udp := w.RemoteAddr().(*net.UDPAddr); !udp {
			return false
		}
		n := 1
		if flood.Load() {
			n = mostForgery
		}
		for range n {
			for _, change := range []func(m *dns.Msg){
				func(m *dns.Msg) { m.Id++ },
				func(m *dns.Msg) { m.Question[0].Name = "www.other.example." },
				func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA },
				func(m *dns.Msg) { m.Response = false },
				func(m *dns.Msg) { m.Question = nil },
			} {
				f := r.Copy()
				f.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 9999}, A: lie}}
				change(f)
				w.WriteMsg(f)
			}
			w.Write([]byte("not DNS"))
		}
		return flood.Load()
	})
	s := start(t, south, to(up))
	for _, flooded := range []bool{false, true} {
		flood.Store(flooded)
		r := ask(t, s, "udp", "www.north.example.", dns.TypeA, nil)
		if got := records(r.Answer); got != "www.north.example. 300 IN A 192.0.2.80" {
			t.Errorf("flooded %t: got %s", flooded, got)
		}
	}
	if n, _ := s.forward.forged.Count(); n != 6+mostForgery {
		t.Errorf("got %d forged answers counted, want %d", n, 6+mostForgery)
	}
}

// TestForgedElsewhere: what another address sends to our port is not even heard.
func TestForgedElsewhere(t *testing.T) {
	up := resolver(t, world, func(w dns.ResponseWriter, r *dns.Msg) bool {
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			c, err := net.Dial("udp", w.RemoteAddr().String()) // from another port, with everything right
			if err != nil {
				t.Error(err)
				return false
			}
			defer c.Close()
			f := r.Copy()
			f.Answer = nil
			f.Rcode = dns.RcodeNameError
			b, _ := f.Pack()
			c.Write(b)
		}
		return false
	})
	s := start(t, south, to(up))
	isCode(t, "forged", ask(t, s, "udp", "www.north.example.", dns.TypeA, nil), dns.RcodeSuccess)
}

// TestCaseFolded: a resolver that changes the case of letters is asked over TCP, where that proves nothing.
func TestCaseFolded(t *testing.T) {
	var overTCP atomic.Bool
	up := resolver(t, world, func(w dns.ResponseWriter, r *dns.Msg) bool {
		_, tcp := w.RemoteAddr().(*net.TCPAddr)
		overTCP.Store(tcp)
		r.Question[0].Name = strings.ToLower(r.Question[0].Name)
		return false
	})
	s := start(t, south, to(up))
	r := ask(t, s, "udp", "wwW.case.example.", dns.TypeA, nil)
	if len(r.Answer) != 1 || r.Question[0].Name != "wwW.case.example." || !overTCP.Load() {
		t.Errorf("got %v, over TCP %t", r, overTCP.Load())
	}
}

// TestTruncated: what does not fit is said to be cut, and comes whole over TCP; what is only additional is left out instead.
func TestTruncated(t *testing.T) {
	zone := ""
	for i := range 100 {
		zone += fmt.Sprintf("many.example. 60 A 198.51.100.%d\n", i)
	}
	s := start(t, south, to(resolver(t, zone, nil)))
	for _, c := range []struct {
		network string
		size    uint16
		whole   bool
		most    int
	}{{"udp", 0, false, plainUDP}, {"udp", 100, false, plainUDP}, {"udp", 4096, false, safeUDP}, {"tcp", 0, true, wholeTCP}} {
		r := ask(t, s, c.network, "many.example.", dns.TypeA, func(m *dns.Msg) {
			if c.size > 0 {
				m.SetEdns0(c.size, false)
			}
		})
		r.Compress = true
		if r.Truncated == c.whole || r.Len() > c.most || (len(r.Answer) == 100) != c.whole {
			t.Errorf("%s %d: got truncated %t, %d records in %d bytes", c.network, c.size, r.Truncated, len(r.Answer), r.Len())
		}
	}
	z := Zone{Domains: []Domain{{Name: "north.example"}}}
	for i := range 8 {
		h := Host{Name: fmt.Sprintf("softswitch-%d.south.example", i), UDP: 5060}
		for j := range 8 {
			h.Addrs = append(h.Addrs, netip.AddrFrom4([4]byte{10, 2, byte(i), byte(j)}))
		}
		z.Hosts = append(z.Hosts, h)
	}
	s.Answer(z)
	if r := ask(t, s, "udp", "_sip._udp.north.example.", dns.TypeSRV, nil); r.Truncated || len(r.Answer) != 8 || len(r.Extra) != 0 {
		t.Errorf("got truncated %t, %d records, %d additional; want 8 whole and none", r.Truncated, len(r.Answer), len(r.Extra))
	}
}

// TestUnderWay: what may wait for resolvers is bounded, in all and for each that asks.
func TestUnderWay(t *testing.T) {
	f := newForwarder(nil)
	one := netip.MustParseAddr("192.0.2.1")
	for range ofOne {
		if !f.begin(one) {
			t.Fatal("refused below the bound")
		}
	}
	if f.begin(one) {
		t.Error("got one more of a source that has enough")
	}
	for i := range underWay - ofOne {
		if !f.begin(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})) {
			t.Fatal("refused below the bound of all")
		}
	}
	if f.begin(netip.MustParseAddr("192.0.2.2")) {
		t.Error("got one more than may be under way")
	}
	f.end(one)
	if !f.begin(netip.MustParseAddr("192.0.2.2")) {
		t.Error("a place that is free is not given")
	}
}

// TestStops: Run ends while a resolver is silent.
func TestStops(t *testing.T) {
	dead, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	ctx, stop := context.WithCancel(context.Background())
	f := newForwarder(nil)
	time.AfterFunc(50*time.Millisecond, stop)
	began := time.Now()
	q := new(dns.Msg).SetQuestion("www.north.example.", dns.TypeA)
	if _, err := f.ask(ctx, q, []Resolver{{dead.LocalAddr().(*net.UDPAddr).AddrPort()}}); err == nil {
		t.Error("got an answer of nobody")
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %s after the end", took)
	}
}
