package media

import (
	"net/netip"
	"testing"
)

// What waited in a port's buffer when the port was given to a call is not that call's.
func TestOwnForgetsWhatWaits(t *testing.T) {
	r, _ := newRelay(t, 2)
	s, err := r.listen(loopback, r.base) // no eye reads it
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	out := listen(t, loopback)
	at := netip.AddrPortFrom(loopback, uint16(r.base))
	for range 3 {
		sendTo(t, out, at, packet(1, 'x'))
	}
	sendTo(t, out, at, nil)
	s.own(receiver{b: &Bridge{}})
	buf := make([]byte, maxPacket)
	if n, src, _, ok := s.read(buf); ok {
		t.Errorf("read %d octets from %s, want none", n, src)
	}
	sendTo(t, out, at, packet(1, 'y'))
	if n, _, on, ok := s.read(buf); !ok || n != 32 || on.b == nil {
		t.Errorf("read %d octets, %v, want the 32 that came since", n, ok)
	}
}
