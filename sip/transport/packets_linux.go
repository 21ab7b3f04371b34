package transport

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Datagrams are read and written with recvmmsg and sendmmsg themselves. The batch calls of
// golang.org/x/net do the same and make a net.UDPAddr of every address on the way, which for a
// REGISTER was a fifth of all that it allocated.
//
// Neither call ever waits (MSG_DONTWAIT), so both are made without telling the scheduler: told, it would
// take our processor away as soon as a batch has been 20 us under way, which 32 datagrams always are,
// wake another thread with it, and have this one queue for it afterwards. On one core that was 24,000 thread
// switches a second for 40,000 REGISTERs, and 1,400 without.

// mmsg is struct mmsghdr, a message of a batch.
type mmsg struct {
	unix.Msghdr
	n uint32 // octets received or sent
}

// name is a struct sockaddr_in or sockaddr_in6, as the system writes it.
type name [unix.SizeofSockaddrInet6]byte

// reader reads up to maxBatch datagrams in one system call.
type reader struct {
	c       syscall.RawConn
	ms      [maxBatch]mmsg
	iovs    [maxBatch]unix.Iovec
	names   [maxBatch]name
	room    []byte
	oob     [maxBatch][]byte // of a wild socket
	packets [maxBatch]packet

	recv func(fd uintptr) bool // receive, made once
	n    int                   // what it found
	err  error
}

func newReader(c *net.UDPConn, wild bool) *reader {
	r := &reader{room: make([]byte, maxBatch*maxRead)} // pages of it that no datagram reached cost nothing
	r.c, r.err = c.SyscallConn()
	r.recv = r.receive
	for i := range r.ms {
		r.iovs[i].Base = &r.room[i*maxRead]
		r.iovs[i].SetLen(maxRead)
		m := &r.ms[i]
		m.Name, m.Iov = &r.names[i][0], &r.iovs[i]
		m.SetIovlen(1)
		if wild {
			r.oob[i] = make([]byte, 128)
			m.Control = &r.oob[i][0]
		}
		r.prepare(i)
	}
	return r
}

// prepare says again how much room there is for the i-th: the system writes over it.
func (r *reader) prepare(i int) {
	r.ms[i].Namelen = uint32(len(name{}))
	r.ms[i].SetControllen(len(r.oob[i]))
}

// receive is called when there may be something to read; it returns false to wait for more.
func (r *reader) receive(fd uintptr) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.ms[0])), maxBatch, unix.MSG_DONTWAIT, 0, 0)
	r.n, r.err = int(n), nil
	switch errno {
	case 0:
		return true
	case unix.EAGAIN, unix.EINTR:
		return false
	}
	r.n, r.err = 0, errno
	return true
}

// read waits for datagrams; n of packets are valid then.
func (r *reader) read() (n int, err error) {
	if r.c == nil {
		return 0, r.err
	}
	if err := r.c.Read(r.recv); err != nil {
		return 0, err
	}
	for i := range r.ms[:r.n] {
		m := &r.ms[i]
		at := i * maxRead
		r.packets[i] = packet{b: r.room[at : at+int(m.n)], from: r.names[i].addrPort(), to: destination(r.oob[i][:m.Controllen])}
		r.prepare(i)
	}
	return r.n, r.err
}

// addrPort reads n.
func (n *name) addrPort() netip.AddrPort {
	port := binary.BigEndian.Uint16(n[2:])
	if binary.NativeEndian.Uint16(n[:]) == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(n[4:8])), port)
	}
	a := netip.AddrFrom16([16]byte(n[8:24])).Unmap()
	if scope := binary.NativeEndian.Uint32(n[24:]); scope != 0 && a.Is6() {
		a = a.WithZone(zoneName(scope))
	}
	return netip.AddrPortFrom(a, port)
}

// put writes to, as a socket of family takes it, and says how long that is.
func (n *name) put(family int, to netip.AddrPort) (size uint32) {
	binary.NativeEndian.PutUint16(n[:], uint16(family))
	binary.BigEndian.PutUint16(n[2:], to.Port())
	if family == unix.AF_INET {
		four := to.Addr().Unmap().As4()
		copy(n[4:8], four[:])
		clear(n[8:16])
		return unix.SizeofSockaddrInet4
	}
	clear(n[4:8])
	sixteen := to.Addr().As16()
	copy(n[8:24], sixteen[:])
	binary.NativeEndian.PutUint32(n[24:], scope(to.Addr().Zone()))
	return unix.SizeofSockaddrInet6
}

// zoneName is the interface's name, for a link-local address; its number when it has gone.
func zoneName(scope uint32) string {
	if i, err := net.InterfaceByIndex(int(scope)); err == nil {
		return i.Name
	}
	return strconv.Itoa(int(scope))
}

// scope undoes zoneName.
func scope(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(n)
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
	c       syscall.RawConn
	family  int
	ms      [maxBatch]mmsg
	iovs    [maxBatch]unix.Iovec
	names   [maxBatch]name
	bs      [maxBatch][]byte      // the datagrams, their memory reused
	sources map[netip.Addr][]byte // control messages, one for each address of ours
	n       int                   // datagrams waiting

	send func(fd uintptr) bool // transmit, made once
	at   int                   // where in ms it begins
	sent int                   // what it achieved
	err  error
}

func (w *writer) open(c *net.UDPConn) {
	w.sources, w.family, w.send = map[netip.Addr][]byte{}, unix.AF_INET6, w.transmit
	w.c, w.err = c.SyscallConn()
	if w.err == nil {
		_ = w.c.Control(func(fd uintptr) {
			if family, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil {
				w.family = family
			}
		})
	}
	for i := range w.ms {
		w.ms[i].Name, w.ms[i].Iov = &w.names[i][0], &w.iovs[i]
		w.ms[i].SetIovlen(1)
	}
}

// add copies b; the caller sees to it that there is room, and that the socket has the family of to.
func (w *writer) add(b []byte, to netip.AddrPort, source netip.Addr) {
	m, iov := &w.ms[w.n], &w.iovs[w.n]
	w.bs[w.n] = append(w.bs[w.n][:0], b...)
	iov.Base = unsafe.SliceData(w.bs[w.n])
	iov.SetLen(len(b))
	m.Namelen = w.names[w.n].put(w.family, to)
	oob := w.control(source)
	m.Control = unsafe.SliceData(oob)
	m.SetControllen(len(oob))
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

// transmit sends ms from at to n; it never waits.
func (w *writer) transmit(fd uintptr) bool {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&w.ms[w.at])), uintptr(w.n-w.at), unix.MSG_DONTWAIT, 0, 0)
		w.sent, w.err = int(n), nil
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			w.sent, w.err = 0, errno
		}
		return true
	}
}

// flush sends what waits and never waits itself: what the system cannot take now is
// dropped, as on any full link. It returns the last error.
func (w *writer) flush() (last error) {
	for w.at = 0; w.at < w.n && w.c != nil; {
		err := w.c.Write(w.send)
		if err == nil {
			err, w.at = w.err, w.at+w.sent
		}
		if err == nil {
			continue
		}
		if last = err; errors.Is(err, unix.EAGAIN) || errors.Is(err, net.ErrClosed) {
			break
		}
		w.at++ // the one that failed; the others have other destinations
	}
	w.n = 0
	return last
}
