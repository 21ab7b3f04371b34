package nameserver

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rs/zerolog"

	"github.com/siproam/siproam/metric"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// south is a zone of an office with two softswitches, whose certificate names its own domain alone.
var south = Zone{
	Domains: []Domain{{Name: "south.example", TLS: true}, {Name: "North.example"}},
	Hosts: []Host{
		{Name: "sip.south.example", Addrs: []netip.Addr{netip.IPv4Unspecified()}, UDP: 5060, TCP: 5060, TLS: 5061},
		{Name: "sw2.south.example", Addrs: []netip.Addr{netip.MustParseAddr("10.2.0.2"), netip.MustParseAddr("2001:db8::2")}, UDP: 5070},
	},
}

// start runs a server on loopback; change makes its configuration another.
func start(t *testing.T, z Zone, change func(*Config)) *Server {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Listen = []netip.AddrPort{netip.AddrPortFrom(loopback, 0)}
	cfg.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s := New(cfg, &metric.Set{}, zerolog.Nop())
	s.Answer(z)
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run does not end")
		}
	})
	return s
}

// ask puts one question over a network; change makes the message another.
func ask(t *testing.T, s *Server, network, name string, kind uint16, change func(*dns.Msg)) *dns.Msg {
	t.Helper()
	r, err := exchange(s, network, name, kind, change)
	if err != nil {
		t.Fatalf("%s %s: %v", dns.TypeToString[kind], name, err)
	}
	return r
}

func exchange(s *Server, network, name string, kind uint16, change func(*dns.Msg)) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, kind)
	if change != nil {
		change(m)
	}
	c := dns.Client{Net: network, Timeout: 6 * time.Second}
	r, _, err := c.Exchange(m, s.Addrs()[0].String())
	return r, err
}

// records is all as one line, without spaces that do not count.
func records(all []dns.RR) string {
	var out []string
	for _, r := range all {
		if r.Header().Rrtype != dns.TypeOPT {
			out = append(out, strings.Join(strings.Fields(r.String()), " "))
		}
	}
	return strings.Join(out, "; ")
}

// counted is how often result was counted.
func counted(s *Server, result string) uint64 {
	n, _ := s.count.With(result).Count()
	return n
}

// resolver is a name server with records in zone format, which answers as change makes it.
func resolver(t *testing.T, zone string, change func(w dns.ResponseWriter, r *dns.Msg) (said bool)) netip.AddrPort {
	t.Helper()
	var all []dns.RR
	p := dns.NewZoneParser(strings.NewReader(zone), ".", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		all = append(all, rr)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg)
		r.SetReply(q)
		r.RecursionAvailable = true
		for _, rr := range all {
			if h := rr.Header(); strings.EqualFold(h.Name, q.Question[0].Name) && h.Rrtype == q.Question[0].Qtype {
				r.Answer = append(r.Answer, rr)
			}
		}
		if len(r.Answer) == 0 {
			r.Rcode = dns.RcodeNameError
		}
		if e := q.IsEdns0(); e != nil {
			r.SetEdns0(4096, e.Do())
		}
		if change != nil && change(w, r) {
			return
		}
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			r.Truncate(1232)
		}
		w.WriteMsg(r)
	})
	d, err := openDoor(netip.AddrPortFrom(loopback, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, srv := range []*dns.Server{{PacketConn: d.udp, Handler: h}, {Listener: d.tcp, Handler: h}} {
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		go srv.ActivateAndServe()
		<-started
		t.Cleanup(func() { srv.Shutdown() })
	}
	return d.at
}

func to(servers ...netip.AddrPort) func(*Config) {
	return func(c *Config) {
		for _, s := range servers {
			c.Forward = append(c.Forward, Resolver{s})
		}
	}
}

func isCode(t *testing.T, what string, r *dns.Msg, want int) {
	t.Helper()
	if r.Rcode != want {
		t.Errorf("%s: got %s, want %s", what, dns.RcodeToString[r.Rcode], dns.RcodeToString[want])
	}
}
