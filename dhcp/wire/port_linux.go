package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// bufferSize is of the sockets: an avalanche of clients that all start at once waits here.
const bufferSize = 4 << 20

// groups are where clients and relays find servers (RFC 8415 §7.1).
var groups = []netip.Addr{netip.MustParseAddr("ff02::1:2"), netip.MustParseAddr("ff05::1:3")}

// port is the sockets of one interface.
type port struct {
	index  int
	name   string
	now    atomic.Pointer[Interface]
	four   *socket  // nil: not served
	six    *socket  // nil: not served
	frames *packets // to send frames, and to ask and hear ARP; nil without CAP_NET_RAW, or where there is no Ethernet
	ears   *packets // what servers say to clients of IPv4; nil as frames
	ears6  *packets // and of IPv6
	nd     *solicitor

	mu    sync.Mutex // guards frame
	frame []byte     // reused
}

// openPort opens the sockets of an interface. Without CAP_NET_RAW it does with less, and says so.
func (w *Wire) openPort(now *Interface) (_ *port, err error) {
	p := &port{index: now.Index, name: now.Name}
	p.now.Store(now)
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if w.cfg.Four {
		if p.four, err = openSocket(p, false, w.cfg.port4); err != nil {
			return nil, err
		}
	}
	if w.cfg.Six {
		if p.six, err = openSocket(p, true, w.cfg.port6); err != nil {
			return nil, err
		}
	}
	if now.MAC != (MAC{}) {
		if err := p.openRaw(w); errors.Is(err, ErrNoRaw) {
			w.cfg.Log.Warn().Str("interface", p.name).Err(err).Msg("DHCP replies are broadcast, addresses not probed")
		} else if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// openRaw opens what needs CAP_NET_RAW.
func (p *port) openRaw(w *Wire) (err error) {
	if w.cfg.Four {
		if p.frames, err = openPackets(p, typeARP, true, nil); err != nil {
			return err
		}
		if p.ears, err = openPackets(p, typeIP, false, toPort4(ClientPort4)); err != nil {
			return err
		}
	}
	if w.cfg.Six {
		if p.ears6, err = openPackets(p, typeIPv6, false, toPort6(ClientPort6)); err != nil {
			return err
		}
		if p.nd, err = openSolicitor(p); err != nil {
			return err
		}
	}
	return nil
}

func (p *port) close() {
	for _, s := range p.sockets() {
		s.c.Close()
	}
	for _, s := range []*packets{p.frames, p.ears, p.ears6} {
		s.close()
	}
	p.nd.close()
}

// same says that now is what p serves, whatever its addresses.
func (p *port) same(now *Interface) bool {
	return p.index == now.Index && p.now.Load().MAC == now.MAC
}

// sockets is those that are open.
func (p *port) sockets() (all []*socket) {
	for _, s := range []*socket{p.four, p.six} {
		if s != nil {
			all = append(all, s)
		}
	}
	return all
}

// socketOf is the one of a's family, or nil.
func (p *port) socketOf(a netip.Addr) *socket {
	if a.Is4() {
		return p.four
	}
	return p.six
}

// send sends those of rs that leave by p, and says how many that are.
func (p *port) send(w *Wire, rs []Reply) (n int) {
	for i := range rs {
		r := &rs[i]
		if r.Interface != p.index {
			continue
		}
		n++
		s := p.socketOf(r.To.Addr())
		switch {
		case s == nil:
			w.dropped.Add(1, "no_interface")
		case r.MAC == MAC{}:
			s.add(w, r.B, r.To, r.Source)
		case p.sendFrame(r):
			w.sent.Add(1, "frame")
		default:
			s.add(w, r.B, netip.AddrPortFrom(Broadcast.Addr(), r.To.Port()), r.Source)
		}
	}
	for _, s := range p.sockets() {
		s.flush(w)
	}
	return n
}

// sendFrame sends r to a client that has no address yet; false when it cannot be done that way.
func (p *port) sendFrame(r *Reply) bool {
	if p.frames == nil {
		return false
	}
	now, from := p.now.Load(), r.Source
	if !from.IsValid() {
		from = now.First(false)
	}
	if !from.Is4() || !r.To.Addr().Is4() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frame = appendEther(p.frame[:0], r.MAC, now.MAC, typeIP)
	p.frame = appendUDP4(p.frame, netip.AddrPortFrom(from, ServerPort4), r.To, r.B)
	return p.frames.send(p.frame, typeIP) == nil
}

// listenOn is a datagram socket of one interface, and of nobody else.
func listenOn(network, name string, at netip.AddrPort) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), name) }); e != nil {
			return e
		}
		return err
	}}
	c, err := lc.ListenPacket(context.Background(), network, at.String())
	switch {
	case err == nil:
		return c.(*net.UDPConn), nil
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("listen udp:%s on %s: not allowed: %s", at, name, remedy)
	case errors.Is(err, unix.EADDRINUSE):
		return nil, fmt.Errorf("listen udp:%s on %s: %w", at, name, ErrInUse)
	case errors.Is(err, unix.ENODEV):
		return nil, fmt.Errorf("interface %s: %w", name, ErrNoInterface)
	}
	return nil, fmt.Errorf("listen udp:%s on %s: %w", at, name, err)
}

// openSocket opens the socket of a family.
func openSocket(p *port, six bool, at int) (*socket, error) {
	network, any := "udp4", netip.IPv4Unspecified()
	if six {
		network, any = "udp6", netip.IPv6Unspecified()
	}
	c, err := listenOn(network, p.name, netip.AddrPortFrom(any, uint16(max(at, 0))))
	if err != nil {
		return nil, err
	}
	s := newSocket(p, c, six)
	if err := s.prepare(); err != nil {
		c.Close()
		return nil, fmt.Errorf("listen udp:%s on %s: %w", net.JoinHostPort(any.String(), strconv.Itoa(at)), p.name, err)
	}
	return s, nil
}

// prepare has every datagram carry where it was sent to, and joins the groups of IPv6.
func (s *socket) prepare() error {
	_ = s.c.SetReadBuffer(bufferSize) // as much of it as the system gives
	_ = s.c.SetWriteBuffer(bufferSize)
	if !s.six {
		return ipv4.NewPacketConn(s.c).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
	}
	c := ipv6.NewPacketConn(s.c)
	for _, g := range groups {
		if err := c.JoinGroup(&net.Interface{Index: s.p.index}, &net.UDPAddr{IP: g.AsSlice()}); err != nil {
			return fmt.Errorf("join %s: %w", g, err)
		}
	}
	if err := c.SetMulticastInterface(&net.Interface{Index: s.p.index}); err != nil {
		return err
	}
	if err := c.SetMulticastLoopback(false); err != nil { // we are no client of ours
		return err
	}
	return c.SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
}
