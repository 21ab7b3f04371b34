package media

import (
	"encoding/binary"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A call has four sockets, most of them silent. With package net each costs a goroutine, its stack and
// twice the system calls, which was a third of what a call cost and more memory than all the rest of
// it. So a socket here is a descriptor, and few goroutines watch many of them.

// socket is one bound UDP port.
type socket struct {
	relay  *Relay
	port   int
	family int

	mu sync.Mutex // guards fd against being closed, and given to somebody else, while it is used; and on
	fd int        // -1: closed
	on receiver   // none while the port rests
}

// eye watches sockets on one goroutine. There are as many as processors, so that media of
// several calls can be relayed at once.
type eye struct {
	relay *Relay
	epoll int
	file  *os.File // of epoll: the runtime wakes the goroutine when there is an event
}

// eyes are the relay's; the first socket opens them.
type eyes struct {
	once sync.Once
	all  []*eye
	err  error
}

func (y *eyes) open(r *Relay) error {
	y.once.Do(func() {
		for range runtime.GOMAXPROCS(0) {
			epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
			if err != nil {
				y.err = os.NewSyscallError("epoll_create1", err)
				return
			}
			_ = unix.SetNonblock(epoll, true) // or the runtime would not poll it
			e := &eye{relay: r, epoll: epoll, file: os.NewFile(uintptr(epoll), "epoll")}
			y.all = append(y.all, e)
			r.readers.Go(e.watch)
		}
	})
	return y.err
}

// close ends the goroutines. No socket may be opened any more.
func (y *eyes) close() {
	y.once.Do(func() {})
	for _, e := range y.all {
		_ = e.file.Close()
	}
}

// watch reads from the sockets that have something until close.
func (e *eye) watch() {
	raw, err := e.file.SyscallConn()
	if err != nil {
		return
	}
	var events [64]unix.EpollEvent
	n := 0
	look := func(fd uintptr) bool {
		n, _ = unix.EpollWait(int(fd), events[:], 0)
		return n > 0
	}
	buf := make([]byte, maxPacket)
	for raw.Read(look) == nil {
		for _, event := range events[:n] {
			if s := e.relay.bound[event.Fd].Load(); s != nil {
				s.drain(buf)
			}
		}
	}
}

// listen binds one port of at: IPv4 alone on an IPv4 address, both on [::].
func (r *Relay) listen(at netip.Addr, port int) (*socket, error) {
	if err := r.eyes.open(r); err != nil {
		return nil, err
	}
	s := &socket{relay: r, port: port, family: unix.AF_INET}
	if at.Is6() {
		s.family = unix.AF_INET6
	}
	fd, err := unix.Socket(s.family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if s.family == unix.AF_INET6 {
		only := 1
		if at == netip.IPv6Unspecified() {
			only = 0
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	var name sockaddr
	size := name.put(s.family, netip.AddrPortFrom(at, uint16(port)))
	if _, _, errno := syscall.Syscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&name)), size); errno != 0 {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("bind", errno)
	}
	setDSCP(fd, s.family, r.cfg.DSCP) // best effort: a network that does not carry it carries the call all the same
	s.fd = fd
	return s, nil
}

// serve has the socket read by an eye. An event names the socket by its place in the relay's list.
func (s *socket) serve(r *Relay) {
	e := r.eyes.all[s.port/2%len(r.eyes.all)]
	_ = unix.EpollCtl(e.epoll, unix.EPOLL_CTL_ADD, s.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.port - r.base)})
}

// unread is more datagrams than a socket's buffer holds.
const unread = 1024

// own has what comes in from now on given to on; what waits unread was for whoever had the port before.
func (s *socket) own(on receiver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := 0; on.b != nil && s.fd >= 0 && n < unread; n++ { // a flood does not hold the caller up
		if _, _, errno := syscall.Syscall6(unix.SYS_RECVFROM, uintptr(s.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0); errno != 0 {
			break
		}
	}
	s.on = on
}

// close frees the port; nothing is given to on any more once it has returned, but for what is under way.
func (s *socket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return
	}
	_ = unix.Close(s.fd) // which takes it out of the epoll too
	s.fd = -1
}

// burst is how many datagrams of one socket are read before the next one's turn.
const burst = 16

// drain reads what there is.
func (s *socket) drain(buf []byte) {
	for range burst {
		n, src, on, ok := s.read(buf)
		switch {
		case !ok:
			return
		case on.b == nil:
			s.relay.drops[resting].Add(1)
		default:
			on.receive(buf[:n], src)
		}
	}
}

// read reads one datagram, and says whose it is; ok is false when there is none.
func (s *socket) read(buf []byte) (n int, src netip.AddrPort, on receiver, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return 0, src, on, false
	}
	var name sockaddr
	size := uint32(len(name))
	got, _, errno := syscall.Syscall6(unix.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)),
		unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&name)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, src, on, false
	}
	return int(got), name.addrPort(), s.on, true
}

// write sends one datagram and never waits.
func (s *socket) write(b []byte, to netip.AddrPort) error {
	var name sockaddr
	size := name.put(s.family, to)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return os.ErrClosed
	}
	_, _, errno := syscall.Syscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&name)), size)
	if errno != 0 {
		return errno
	}
	return nil
}

// sockaddr is a struct sockaddr_in or sockaddr_in6.
type sockaddr [unix.SizeofSockaddrInet6]byte

// addrPort reads n; an IPv4 address that came by an IPv6 socket is an IPv4 address.
func (n *sockaddr) addrPort() netip.AddrPort {
	port := binary.BigEndian.Uint16(n[2:])
	if binary.NativeEndian.Uint16(n[:]) == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(n[4:8])), port)
	}
	a := netip.AddrFrom16([16]byte(n[8:24])).Unmap()
	if scope := binary.NativeEndian.Uint32(n[24:]); scope != 0 && a.Is6() {
		a = a.WithZone(strconv.Itoa(int(scope)))
	}
	return netip.AddrPortFrom(a, port)
}

// put writes to as a socket of family takes it, and says how long that is.
func (n *sockaddr) put(family int, to netip.AddrPort) (size uintptr) {
	binary.NativeEndian.PutUint16(n[:], uint16(family))
	binary.BigEndian.PutUint16(n[2:], to.Port())
	if family == unix.AF_INET {
		if to.Addr().Unmap().Is4() {
			four := to.Addr().Unmap().As4()
			copy(n[4:8], four[:])
		}
		return unix.SizeofSockaddrInet4
	}
	sixteen := to.Addr().As16()
	copy(n[8:24], sixteen[:])
	if zone := to.Addr().Zone(); zone != "" {
		scope, _ := strconv.ParseUint(zone, 10, 32) // onLink has made a number of it
		binary.NativeEndian.PutUint32(n[24:], uint32(scope))
	}
	return unix.SizeofSockaddrInet6
}

// setDSCP marks what fd sends (RFC 2474, 3246). A socket for both families needs both options.
func setDSCP(fd, family, dscp int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, dscp<<2)
	if family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, dscp<<2)
	}
}

// files is how many descriptors this process may have open.
func files() int {
	var most unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &most) != nil {
		return 1024
	}
	return int(min(most.Cur, 1<<20))
}
