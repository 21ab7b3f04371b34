package siptest

import (
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// NameServer is a DNS server on loopback, over UDP and TCP.
type NameServer struct {
	Addr string // host:port

	t     testing.TB
	mu    sync.Mutex // guards what follows
	zone  []dns.RR
	mute  bool
	asked []string
}

// NewNameServer serves zone, in the form of a zone file, until the test ends.
func NewNameServer(t testing.TB, zone string) *NameServer {
	t.Helper()
	n := &NameServer{t: t}
	n.Zone(zone)
	udp, tcp := bothAt(t)
	n.Addr = udp.LocalAddr().String()
	for _, s := range []*dns.Server{{PacketConn: udp, Handler: n}, {Listener: tcp, Handler: n}} {
		started, ended := make(chan struct{}), make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer close(ended)
			_ = s.ActivateAndServe()
		}()
		<-started
		t.Cleanup(func() { _ = s.Shutdown(); <-ended })
	}
	return n
}

// bothAt is one port for UDP and TCP. What is free for one may be taken for the other.
func bothAt(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for tries := 0; ; tries++ {
		udp, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		tcp, err := net.Listen("tcp", udp.LocalAddr().String())
		if err == nil {
			return udp, tcp
		}
		_ = udp.Close()
		if tries == 20 {
			t.Fatal(err)
		}
	}
}

// Zone changes what is served.
func (n *NameServer) Zone(zone string) {
	n.t.Helper()
	var all []dns.RR
	p := dns.NewZoneParser(strings.NewReader(zone), ".", "")
	for r, ok := p.Next(); ok; r, ok = p.Next() {
		all = append(all, r)
	}
	if err := p.Err(); err != nil {
		n.t.Fatal(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.zone = all
}

// Mute has it say nothing more, or again.
func (n *NameServer) Mute(mute bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mute = mute
}

// Asked is what was asked since it was called last: "SRV _sip._udp.example.org".
func (n *NameServer) Asked() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.asked
	n.asked = nil
	return all
}

// ServeDNS is dns.Handler's. Names in silent.example get no answer, those in broken.example
// SERVFAIL; an answer over 1,000 octets is cut short over UDP.
func (n *NameServer) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	q := r.Question[0]
	m := new(dns.Msg).SetReply(r)
	n.mu.Lock()
	n.asked = append(n.asked, dns.TypeToString[q.Qtype]+" "+strings.TrimSuffix(q.Name, "."))
	silent := n.mute || strings.HasSuffix(q.Name, "silent.example.")
	m.Rcode = dns.RcodeNameError
	name := q.Name
	for _, rr := range n.zone {
		if !strings.EqualFold(rr.Header().Name, name) {
			continue
		}
		m.Rcode = dns.RcodeSuccess
		if alias, is := rr.(*dns.CNAME); is {
			m.Answer, name = append(m.Answer, rr), alias.Target // what it means stands further down
		}
		if rr.Header().Rrtype == q.Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	n.mu.Unlock()
	if silent {
		return
	}
	if strings.HasSuffix(q.Name, "broken.example.") {
		m.Rcode = dns.RcodeServerFailure
	}
	if w.LocalAddr().Network() == "udp" && m.Len() > 1000 {
		m.Truncated, m.Answer = true, m.Answer[:1]
	}
	_ = w.WriteMsg(m)
}
