package transport

import (
	"errors"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// reader reads up to maxBatch datagrams in one system call.
type reader struct {
	c       *ipv4.PacketConn // serves IPv6 sockets as well: the kernel tells the family
	ms      []ipv4.Message
	packets [maxBatch]packet
}

func newReader(c *net.UDPConn, wild bool) *reader {
	r := &reader{c: ipv4.NewPacketConn(c), ms: make([]ipv4.Message, maxBatch)}
	room := make([]byte, maxBatch*maxRead) // pages of it that no datagram reached cost nothing
	for i := range r.ms {
		r.ms[i].Buffers = [][]byte{room[i*maxRead : (i+1)*maxRead]}
		if wild {
			r.ms[i].OOB = make([]byte, 128)
		}
	}
	return r
}

// read waits for datagrams; n of packets are valid then.
func (r *reader) read() (n int, err error) {
	n, err = r.c.ReadBatch(r.ms, 0)
	if err != nil {
		return 0, err
	}
	for i := range r.ms[:n] {
		m := &r.ms[i]
		r.packets[i] = packet{b: m.Buffers[0][:m.N], from: addrPort(m.Addr), to: destination(m.OOB[:m.NN])}
	}
	return n, nil
}

// destination finds our address in control messages, invalid when it is not there.
func destination(oob []byte) netip.Addr {
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			return netip.AddrFrom4([4]byte(data[4:8])) // ipi_spec_dst: ours, whatever the packet was sent to
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			return netip.AddrFrom16([16]byte(data)).Unmap()
		}
		oob = rest
	}
	return netip.Addr{}
}

// sourceControl is the control message that has a packet leave from source; nil for any.
func sourceControl(source netip.Addr) []byte {
	switch {
	case source.Is4():
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: source.As4()})
	case source.Is6():
		return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: source.As16()})
	}
	return nil
}

// writer sends up to maxBatch datagrams in one system call.
type writer struct {
	c       *ipv4.PacketConn
	ms      [maxBatch]ipv4.Message
	slots   [maxBatch]slot
	sources map[netip.Addr][]byte // control messages, one for each address of ours
	n       int                   // datagrams waiting
}

// slot is one datagram to send, its memory reused.
type slot struct {
	b    [1][]byte
	ip   [16]byte
	addr net.UDPAddr
}

func (w *writer) open(c *net.UDPConn) {
	w.c, w.sources = ipv4.NewPacketConn(c), map[netip.Addr][]byte{}
	for i := range w.ms {
		w.ms[i].Buffers, w.ms[i].Addr = w.slots[i].b[:], &w.slots[i].addr
	}
}

// add copies b; the caller sees to it that there is room.
func (w *writer) add(b []byte, to netip.AddrPort, source netip.Addr) {
	s := &w.slots[w.n]
	s.b[0] = append(s.b[0][:0], b...)
	s.addr.Port, s.addr.Zone = int(to.Port()), to.Addr().Zone()
	if to.Addr().Is4() {
		four := to.Addr().As4()
		s.addr.IP = s.ip[:copy(s.ip[:], four[:])]
	} else {
		s.ip = to.Addr().As16()
		s.addr.IP = s.ip[:]
	}
	w.ms[w.n].OOB = w.control(source)
	w.n++
}

func (w *writer) control(source netip.Addr) []byte {
	if !source.IsValid() {
		return nil
	}
	oob, found := w.sources[source]
	if !found {
		oob = sourceControl(source)
		w.sources[source] = oob
	}
	return oob
}

// flush sends what waits and never waits itself: what the system cannot take now is
// dropped, as on any full link. It returns the last error.
func (w *writer) flush() (last error) {
	rest := w.ms[:w.n]
	w.n = 0
	for len(rest) > 0 {
		n, err := w.c.WriteBatch(rest, unix.MSG_DONTWAIT)
		rest = rest[max(n, 0):]
		if err == nil {
			continue
		}
		if last = err; errors.Is(err, unix.EAGAIN) || errors.Is(err, net.ErrClosed) {
			return last
		}
		rest = rest[1:] // the one that failed; the others have other destinations
	}
	return last
}
