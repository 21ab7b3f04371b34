package transport

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/sip"
)

// echo answers every request from one buffer.
type echo struct{ t *Transport }

func (e *echo) Receive(batch []*sip.Message, release func()) {
	for _, m := range batch {
		_ = e.t.Send(m.Flow, answer)
	}
	e.t.Flush()
	release()
}

func (e *echo) Closed(*sip.Flow) {}

var answer = []byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK1\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n")

// BenchmarkUDP is a request in and a response out, window of them under way: the cost
// is mostly the system's, and what sip.Parse allocates.
func BenchmarkUDP(b *testing.B) {
	for _, at := range []string{"udp:127.0.0.1:0", "udp:0.0.0.0:0"} {
		b.Run(at, func(b *testing.B) { benchmarkUDP(b, at) })
	}
}

func benchmarkUDP(b *testing.B, at string) {
	const window = 16
	tr := New(Config{Listen: []string{at}}, nil, &metric.Set{}, zerolog.Nop())
	if err := tr.Listen(); err != nil {
		b.Fatal(err)
	}
	serve(b, tr, &echo{tr})
	c, err := net.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), tr.sockets[0].local.Port()).String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	m, room := []byte(request("REGISTER", "1")), make([]byte, 2000)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N + window {
		if i < b.N {
			_, _ = c.Write(m)
		}
		if i >= window {
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := c.Read(room); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkTake is one message through the reader's part without the system.
func BenchmarkTake(b *testing.B) {
	e := start(b, Config{Listen: []string{"udp:127.0.0.1:0"}})
	s, m := e.t.sockets[0], []byte(request("REGISTER", "1"))
	p := packet{b: m, from: s.local}
	b.ReportAllocs()
	for b.Loop() {
		batch := e.t.batches.Get().(*batch)
		e.t.take(batch, s.flow(p.from, p.to), p.b)
		batch.release()
	}
}
