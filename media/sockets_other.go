//go:build !linux

package media

import (
	"errors"
	"net"
	"net/netip"
)

// socket is one bound UDP port. A goroutine reads it.
type socket struct{ c *net.UDPConn }

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
	return &socket{c}, nil
}

// serve has what comes in given to on until the socket is closed.
func (s *socket) serve(r *Relay, on receiver) {
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
			on.receive(buf[:n], netip.AddrPortFrom(src.Addr().Unmap(), src.Port()))
		}
	})
}

// close frees the port, which ends its goroutine.
func (s *socket) close() { _ = s.c.Close() }

// write sends one datagram.
func (s *socket) write(b []byte, to netip.AddrPort) error {
	_, err := s.c.WriteToUDPAddrPort(b, to)
	return err
}
