package nameserver

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"
	"github.com/rs/zerolog"
)

// FuzzRespond: whatever comes, nothing panics, and what is answered is an answer to it that can be read, fits, and is never
// longer than it may be.
func FuzzRespond(f *testing.F) {
	for _, kind := range []uint16{dns.TypeNAPTR, dns.TypeSRV, dns.TypeA, dns.TypeAAAA, dns.TypeANY, dns.TypeTXT} {
		for _, name := range []string{"north.example.", "_sip._udp.NORTH.example.", "sip.south.example.", ".", "www.west.example."} {
			m := new(dns.Msg).SetQuestion(name, kind)
			b, _ := m.Pack()
			f.Add(b, false)
			m.SetEdns0(1400, true)
			b, _ = m.Pack()
			f.Add(b, true)
		}
	}
	cfg := DefaultConfig()
	cfg.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	s := New(cfg, nil, zerolog.Nop())
	s.Answer(south)
	f.Fuzz(func(t *testing.T, m []byte, stream bool) {
		if len(m) > wholeTCP {
			return
		}
		q, _ := read(m) // outside of respond, which keeps panics to itself
		answer, later := s.respond(m, loopback, loopback, stream)
		if later != nil {
			t.Fatal("forwarded without a resolver")
		}
		if answer == nil {
			if q != nil && q.Opcode == dns.OpcodeQuery && len(q.Question) == 1 {
				t.Fatalf("no answer to %v", q)
			}
			return
		}
		r := new(dns.Msg)
		if err := r.Unpack(answer); err != nil {
			t.Fatalf("answer to %v: %v", q, err)
		}
		if !r.Response || r.Id != q.Id || len(r.Question) > 1 || len(q.Question) == 1 && r.Question[0] != q.Question[0] {
			t.Fatalf("got %v for %v", r, q)
		}
		if most := room(q, stream); len(answer) > most {
			t.Fatalf("got %d bytes, want at most %d", len(answer), most)
		}
	})
}

// FuzzAnswer: what a resolver says is believed only as an answer to what was asked, and what is made of it fits and can be read.
func FuzzAnswer(f *testing.F) {
	q := new(dns.Msg).SetQuestion("www.north.example.", dns.TypeA)
	q.Id = 1
	r := new(dns.Msg)
	r.SetReply(q)
	r.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "www.north.example.", Rrtype: dns.TypeA, Class: 1, Ttl: 60}, A: []byte{192, 0, 2, 1}}}
	b, _ := r.Pack()
	f.Add(b)
	f.Fuzz(func(t *testing.T, m []byte) {
		r := new(dns.Msg)
		if r.Unpack(m) != nil || !isAnswer(r, q) {
			return
		}
		for _, room := range []int{plainUDP, safeUDP, wholeTCP} {
			answer := pack(q.Copy(), r.Copy(), room)
			if answer == nil {
				continue
			}
			out := new(dns.Msg)
			if err := out.Unpack(answer); err != nil || len(answer) > room || out.Question[0] != q.Question[0] {
				t.Fatalf("got %v in %d bytes: %v", out, len(answer), err)
			}
		}
	})
}
