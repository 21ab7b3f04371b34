package transport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

const (
	maxDatagram = 65507 // that can be sent over IPv4; nobody needs the few more of IPv6
	maxRead     = 65535
	bufferSize  = 4 << 20 // of the socket: a burst of refreshes waits here
	pause       = 10 * time.Millisecond
)

// socket is one UDP listener. One goroutine reads; anyone may send.
type socket struct {
	t     *Transport
	c     *net.UDPConn
	local netip.AddrPort
	wild  bool // bound to every address: each packet tells which one it came to
	dual  bool // takes IPv4 too
	known flows

	foreign *Foreign // whose it is; nil: phones'

	mu  sync.Mutex // guards out
	out writer
}

// packet is one datagram read; b is valid until the next read.
type packet struct {
	b    []byte
	from netip.AddrPort
	to   netip.Addr // of a wild socket, where the system tells it
}

func newSocket(t *Transport, c *net.UDPConn, dual bool) (*socket, error) {
	s := &socket{t: t, c: c, local: addrPort(c.LocalAddr()), dual: dual}
	s.wild = s.local.Addr().IsUnspecified()
	if dual && s.local.Addr().Is4() {
		s.dual = false // the machine has no IPv6
	}
	if err := setBuffers(c, bufferSize); err != nil {
		c.Close()
		return nil, fmt.Errorf("listen udp:%s: buffer: %w", s.local, err)
	}
	markDatagrams(c, t.cfg.DSCP)
	if s.wild {
		if err := askDestination(c, s.local.Addr().Is4()); err != nil {
			c.Close()
			return nil, fmt.Errorf("listen udp:%s: destination addresses: %w", s.local, err)
		}
	}
	s.out.open(c)
	return s, nil
}

// serve reads until the socket is closed.
func (s *socket) serve() error {
	r := newReader(s.c, s.wild)
	for failures := 0; ; {
		n, err := r.read()
		switch {
		case err == nil:
			failures = 0
			s.receive(r.packets[:n])
		case errors.Is(err, net.ErrClosed):
			return nil
		case failures == 1000:
			return fmt.Errorf("receive udp:%s: %w", s.local, err)
		default: // an ICMP error of some packet we sent, or no memory just now
			failures++
			time.Sleep(pause)
		}
	}
}

func (s *socket) receive(packets []packet) {
	b := s.t.batches.Get().(*batch)
	now := s.t.limit.now()
	for _, p := range packets {
		switch {
		case s.foreign == nil && !s.t.limit.admit(p.from, now): // first: what is dropped must cost nothing
		case !s.foreign.knows(p.from.Addr()):
			s.t.notFrom(s.foreign, p.from.Addr())
		case noise(p.b):
		case isSTUN(p.b):
			s.answerSTUN(p)
		default:
			s.t.take(b, s.flow(p.from, p.to), p.b)
		}
	}
	s.t.deliver(b)
}

func (s *socket) answerSTUN(p packet) {
	var room [64]byte
	f := s.flow(p.from, p.to)
	answer := appendSTUN(room[:0], p.b, p.from)
	if len(answer) > 0 && (2*len(answer) <= 3*len(p.b) || s.t.Vouched(f.Flow)) { // as sip.Amplifies
		_ = s.sendNow(f, answer) // asked again if lost
	}
}

// flow is the path between remote and us at local; local matters on a wild socket only
// and may be unknown: then it is the address of the route to remote.
func (s *socket) flow(remote netip.AddrPort, local netip.Addr) *sip.Flow {
	p := path{remote: unmap(remote)}
	if s.wild && !local.IsMulticast() {
		p.local = local.Unmap()
	}
	if f := s.known.get(p); f != nil {
		return f
	}
	return s.known.put(p, s.makeFlow(p))
}

func (s *socket) makeFlow(p path) *sip.Flow {
	local := s.local
	if s.wild {
		if !p.local.IsValid() {
			p.local = routeTo(p.remote)
		}
		if p.local.IsValid() {
			local = netip.AddrPortFrom(p.local, local.Port())
		}
	}
	return s.foreign.name(s.t.newFlow(roam.Flow{Transport: roam.UDP, Local: local, Remote: p.remote}))
}

// queue copies b to go out at the next flush. A full queue goes out at once.
func (s *socket) queue(f *sip.Flow, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out.n == maxBatch {
		s.flushLocked()
	}
	s.out.add(b, f.Remote, s.source(f))
}

func (s *socket) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushLocked()
}

func (s *socket) flushLocked() {
	if s.out.n == 0 {
		return
	}
	if err := s.out.flush(); err != nil && !errors.Is(err, net.ErrClosed) {
		s.t.noisy.Debug().Str("event", "udp.send").Err(err).Msg("datagram not sent")
	}
}

// source is the address a packet of f must leave from, invalid where the socket has but one.
func (s *socket) source(f *sip.Flow) netip.Addr {
	if s.wild && !f.Local.Addr().IsUnspecified() {
		return f.Local.Addr()
	}
	return netip.Addr{}
}

func (s *socket) sendNow(f *sip.Flow, b []byte) error {
	_, _, err := s.c.WriteMsgUDPAddrPort(b, sourceControl(s.source(f)), f.Remote)
	return err
}

// takes says that s can send from local: it is bound there, or to every address of the family.
func (s *socket) takes(local netip.AddrPort) bool {
	if s.local == local {
		return true
	}
	return s.wild && s.local.Port() == local.Port() && s.fits(local.Addr())
}

// fits says that s has the family of a.
func (s *socket) fits(a netip.Addr) bool { return s.local.Addr().Is4() == a.Is4() || s.dual }

// socketOf is the socket a flow at local belongs to, or nil: the one bound to just that
// address before one bound to all.
func (t *Transport) socketOf(local netip.AddrPort) *socket {
	for _, s := range t.sockets {
		if s.local == local {
			return s
		}
	}
	for _, s := range t.sockets {
		if s.takes(local) {
			return s
		}
	}
	return nil
}

// openUDP is the flow to remote from the first of our sockets that can reach it. What
// is bound to loopback reaches only this machine; such a remote prefers it. A foreign partner is reached from its own
// listener, and nobody else is.
func (t *Transport) openUDP(remote netip.AddrPort) (*sip.Flow, error) {
	partner := t.foreignAt(remote.Addr())
	rank := func(s *socket) int {
		switch at := s.local.Addr(); {
		case s.foreign != partner:
			return 0
		case !s.fits(remote.Addr()) || at.IsLoopback() && !remote.Addr().IsLoopback():
			return 0
		case !remote.Addr().IsLoopback() || s.wild:
			return 2
		case at.IsLoopback():
			return 3
		}
		return 1
	}
	if len(t.sockets) > 0 {
		s := slices.MaxFunc(t.sockets, func(a, b *socket) int { return rank(a) - rank(b) }) // the first of equals
		if rank(s) > 0 {
			return s.flow(remote, netip.Addr{}), nil
		}
	}
	return nil, fmt.Errorf("udp %s: no socket that reaches it: %w", remote, roam.NoRoute)
}
