package media

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/metric"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// freePorts is a range of pairs that nobody else holds now.
func freePorts(t testing.TB, pairs int) string {
	t.Helper()
	for range 100 {
		first := 22000 + 2*rand.IntN(4000)
		if free(first, 2*pairs) {
			return fmt.Sprintf("%d-%d", first, first+2*pairs-1)
		}
	}
	t.Fatal("no free ports")
	return ""
}

func free(first, n int) bool {
	for port := first; port < first+n; port++ {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4zero, Port: port})
		if err != nil {
			return false
		}
		_ = c.Close()
	}
	return true
}

func newRelay(t testing.TB, pairs int, change ...func(*Config)) (*Relay, *metric.Set) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Ports = freePorts(t, pairs)
	cfg.Addr = loopback
	for _, c := range change {
		c(&cfg)
	}
	m := &metric.Set{}
	r, err := New(cfg, m, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, m
}

// far is the far end of a leg: a phone's RTP and RTCP sockets and where it sends to.
type far struct {
	t         testing.TB
	rtp, rtcp *net.UDPConn
	relay     netip.AddrPort // our RTP port, from the SDP it was given
	seq       uint16
}

func newFar(t testing.TB) *far {
	return &far{t: t, rtp: listen(t, loopback), rtcp: listen(t, loopback)}
}

func listen(t testing.TB, a netip.Addr) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func port(c *net.UDPConn) int { return c.LocalAddr().(*net.UDPAddr).Port }

// sdp is what the phone sends, with more lines for its one stream.
func (f *far) sdp(more ...string) []byte {
	return f.sdpAt("127.0.0.1", more...)
}

func (f *far) sdpAt(addr string, more ...string) []byte {
	kind := "IP4"
	if strings.Contains(addr, ":") {
		kind = "IP6"
	}
	body := fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN %s %s\r\nt=0 0\r\nm=audio %d RTP/AVP 0 8\r\na=rtcp:%d\r\n",
		kind, addr, port(f.rtp), port(f.rtcp))
	for _, l := range more {
		body += l + "\r\n"
	}
	return []byte(body)
}

// told reads where the relay wants the phone's media.
func (f *far) told(body []byte) {
	f.t.Helper()
	d, err := parse(body)
	if err != nil {
		f.t.Fatalf("%q: %v", body, err)
	}
	f.relay = netip.AddrPortFrom(d.streams[0].addr, d.streams[0].port)
}

// packet is a PCMU packet of 20 octets of payload.
func packet(seq uint16, mark byte) []byte {
	p := make([]byte, 32)
	p[0] = 0x80
	binary.BigEndian.PutUint16(p[2:], seq)
	binary.BigEndian.PutUint32(p[4:], uint32(seq)*160)
	copy(p[8:], "SSRC")
	p[12] = mark
	return p
}

func (f *far) send(mark byte) {
	f.t.Helper()
	f.seq++
	sendTo(f.t, f.rtp, f.relay, packet(f.seq, mark))
}

func (f *far) report(c *net.UDPConn, to netip.AddrPort, mark byte) {
	f.t.Helper()
	sendTo(f.t, c, to, []byte{0x80, 201, 0, 1, 'S', 'S', 'R', mark})
}

func (f *far) relayRTCP() netip.AddrPort { return netip.AddrPortFrom(f.relay.Addr(), f.relay.Port()+1) }

func sendTo(t testing.TB, c *net.UDPConn, to netip.AddrPort, pkt []byte) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort(pkt, to); err != nil {
		t.Fatal(err)
	}
}

// hear waits for a packet on c that carries mark in its octet at, passing others over.
func hear(t testing.TB, c *net.UDPConn, at int, mark byte) (from netip.AddrPort) {
	t.Helper()
	buf := make([]byte, maxPacket)
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		n, src, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatalf("packet %q: %v", mark, err)
		}
		if n > at && buf[at] == mark {
			return netip.AddrPortFrom(src.Addr().Unmap(), src.Port())
		}
	}
}

// silence fails when anything arrives on c before the packet marked 'z', which the caller has had sent last.
func silence(t testing.TB, c *net.UDPConn, why string) {
	t.Helper()
	buf := make([]byte, maxPacket)
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, _, err := c.ReadFromUDPAddrPort(buf)
	if err != nil || n < 13 || buf[12] != 'z' {
		t.Errorf("%s: got %q, %v, want nothing before the last packet", why, buf[:n], err)
	}
}

func dropCount(m *metric.Set, why dropped) uint64 {
	for _, f := range m.Families() {
		if f.Name == "media_packets_dropped_total" {
			n, _ := f.With(droppedNames[why]).Count()
			return n
		}
	}
	return 0
}

// waitFor waits until cond holds.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s", what)
		}
	}
}

func here() Peer { return Peer{Signal: loopback} }

func pass(t testing.TB, b *Bridge, from, to string, body []byte) []byte {
	t.Helper()
	out, err := b.Pass(from, to, body, here(), here())
	if err != nil {
		t.Fatalf("pass %s to %s: %v", from, to, err)
	}
	return out
}

func open(t testing.TB, r *Relay) *Bridge {
	t.Helper()
	b, err := r.Open("c7f2", func() {})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// answered is a call of two phones that is answered; more lines go into both bodies.
func answered(t testing.TB, r *Relay, more ...string) (br *Bridge, a, b *far) {
	t.Helper()
	br, a, b = open(t, r), newFar(t), newFar(t)
	b.told(pass(t, br, "A", "B1", a.sdp(more...)))
	a.told(pass(t, br, "B1", "A", b.sdp(more...)))
	br.Join("B1")
	return br, a, b
}
