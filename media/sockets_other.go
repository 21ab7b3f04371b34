//go:build !linux

package media

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
)

// socket is one bound UDP port. A goroutine reads it.
type socket struct {
	c  *net.UDPConn
	on atomic.Pointer[receiver] // nil while the port rests
}

// eyes are needed on Linux only.
type eyes struct{}

func (eyes) close() {}

// listen binds one port of at: IPv4 alone on an IPv4 address, both on [::].
func (r *Relay) listen(at netip.Addr, port int) (*socket, error) {
	network := "udp4"
	switch {
	case at == netip.IPv6Unspecified():
		network = "udp"
	case at.Is6():
		network = "udp6"
	}
	c, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, uint16(port))))
	if err != nil {
		return nil, err
	}
	setDSCP(c, r.cfg.DSCP) // best effort: a network that does not carry it carries the call all the same
	return &socket{c: c}, nil
}

// serve has a goroutine read the socket until it is closed.
func (s *socket) serve(r *Relay) {
	r.readers.Go(func() {
		buf := make([]byte, maxPacket)
		for {
			n, src, err := s.c.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue // Windows tells of an ICMP error here, the socket lives on
			}
			if on := s.on.Load(); on != nil {
				on.receive(buf[:n], netip.AddrPortFrom(src.Addr().Unmap(), src.Port()))
			} else {
				r.drops[resting].Add(1)
			}
		}
	})
}

// own has what comes in from now on given to on. What waits unread is not told apart here, but it is read at once.
func (s *socket) own(on receiver) {
	if on.b == nil {
		s.on.Store(nil)
	} else {
		s.on.Store(&on)
	}
}

// close frees the port, which ends its goroutine.
func (s *socket) close() { _ = s.c.Close() }

// write sends one datagram.
func (s *socket) write(b []byte, to netip.AddrPort) error {
	_, err := s.c.WriteToUDPAddrPort(b, to)
	return err
}

// files is how many descriptors a process may count on.
func files() int { return 1024 }
