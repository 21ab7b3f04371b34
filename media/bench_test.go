package media

import (
	"testing"
	"time"
)

// relayOne sends one packet through the relay and waits for it.
func relayOne(t testing.TB, a, b *far, pkt, buf []byte) {
	if _, err := a.rtp.WriteToUDPAddrPort(pkt, a.relay); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.rtp.ReadFromUDPAddrPort(buf); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkRelay is one G.711 packet: sent by A, relayed, received by B; three of the four system
// calls are those of any relay, one is the phone's.
func BenchmarkRelay(b *testing.B) {
	r, _ := newRelay(b, 2)
	_, from, to := answered(b, r)
	pkt, buf := make([]byte, 172), make([]byte, 2048)
	copy(pkt, packet(1, 0))
	_ = to.rtp.SetReadDeadline(time.Now().Add(time.Minute))
	b.ReportAllocs()
	for b.Loop() {
		pkt[3]++
		relayOne(b, from, to, pkt, buf)
	}
}

// BenchmarkPass is the decision about one packet, without its system calls.
func BenchmarkPass(b *testing.B) {
	r, _ := newRelay(b, 2)
	br, _, _ := answered(b, r)
	s := br.find("A").streams[0]
	pkt, at := packet(1, 0), s.media.signalled
	b.ReportAllocs()
	for b.Loop() {
		pkt[3]++
		br.pass(s, false, pkt, at)
	}
}

// BenchmarkCall is what media costs a call: open, offer, answer, join, close.
func BenchmarkCall(b *testing.B) {
	r, _ := newRelay(b, 100)
	a, z := newFar(b), newFar(b)
	offer, answer := a.sdp(), z.sdp()
	b.ReportAllocs()
	for b.Loop() {
		br := open(b, r)
		pass(b, br, "A", "B1", offer)
		pass(b, br, "B1", "A", answer)
		br.Join("B1")
		br.Close()
	}
}

func TestRelayAllocatesNothing(t *testing.T) {
	r, _ := newRelay(t, 2)
	_, from, to := answered(t, r)
	pkt, buf := packet(1, 0), make([]byte, 2048)
	_ = to.rtp.SetReadDeadline(time.Now().Add(time.Minute))
	if got := testing.AllocsPerRun(500, func() { pkt[3]++; relayOne(t, from, to, pkt, buf) }); got > 0 {
		t.Errorf("%v allocations for each packet, want 0", got)
	}
}
