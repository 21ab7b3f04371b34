//go:build !linux

package transport

import (
	"net"
	"net/netip"
)

// reader reads one datagram at a time, and does not learn which address it was sent to:
// the route to the sender has to tell.
type reader struct {
	c       *net.UDPConn
	room    []byte
	packets [1]packet
}

func newReader(c *net.UDPConn, _ bool) *reader { return &reader{c: c, room: make([]byte, maxRead)} }

// read waits for a datagram; n of packets are valid then.
func (r *reader) read() (n int, err error) {
	size, from, err := r.c.ReadFromUDPAddrPort(r.room)
	if err != nil {
		return 0, err
	}
	r.packets[0] = packet{b: r.room[:size], from: unmap(from)}
	return 1, nil
}

// sourceControl is nil: the route to the destination chooses the source.
func sourceControl(netip.Addr) []byte { return nil }

// writer sends one datagram at a time.
type writer struct {
	c     *net.UDPConn
	slots [maxBatch]slot
	n     int // datagrams waiting
}

type slot struct {
	b  []byte
	to netip.AddrPort
}

func (w *writer) open(c *net.UDPConn) { w.c = c }

// add copies b; the caller sees to it that there is room.
func (w *writer) add(b []byte, to netip.AddrPort, _ netip.Addr) {
	s := &w.slots[w.n]
	s.b, s.to = append(s.b[:0], b...), to
	w.n++
}

// flush sends what waits. It returns the last error.
func (w *writer) flush() (last error) {
	for i := range w.slots[:w.n] {
		if _, err := w.c.WriteToUDPAddrPort(w.slots[i].b, w.slots[i].to); err != nil {
			last = err
		}
	}
	w.n = 0
	return last
}
