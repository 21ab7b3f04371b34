package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// solicitor asks who has an address of IPv6 on one link. A nil one is closed.
type solicitor struct {
	c net.PacketConn
	p *ipv6.PacketConn
}

// openSolicitor opens a socket that hears neighbour advertisements and nothing else.
func openSolicitor(p *port) (*solicitor, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), p.name) }); e != nil {
			return e
		}
		return err
	}}
	c, err := lc.ListenPacket(context.Background(), "ip6:ipv6-icmp", "::")
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return nil, fmt.Errorf("neighbours on %s: %w", p.name, ErrNoRaw)
	}
	if err != nil {
		return nil, fmt.Errorf("neighbours on %s: %w", p.name, err)
	}
	s := &solicitor{c, ipv6.NewPacketConn(c)}
	var only ipv6.ICMPFilter
	only.SetAll(true)
	only.Accept(ipv6.ICMPTypeNeighborAdvertisement)
	err = errors.Join(s.p.SetICMPFilter(&only), s.p.SetMulticastHopLimit(255), s.p.SetControlMessage(ipv6.FlagHopLimit, true),
		s.p.SetMulticastInterface(&net.Interface{Index: p.index}))
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("neighbours on %s: %w", p.name, err)
	}
	return s, nil
}

func (s *solicitor) close() {
	if s != nil {
		s.c.Close()
	}
}

// ask sends a neighbour solicitation for a (RFC 4861 §4.3) from our own address on the link, to the group of a.
func (s *solicitor) ask(a netip.Addr, from MAC) error {
	sixteen := a.As16()
	group := netip.MustParseAddr("ff02::1:ff00:0").As16() // solicited nodes, RFC 4291 §2.7.1
	copy(group[13:], sixteen[13:])
	b := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, sixteen[:]...) // the system fills in the checksum
	b = append(append(b, 1, 1), from[:]...)                      // where to answer
	_, err := s.p.WriteTo(b, nil, &net.IPAddr{IP: group[:]})
	return err
}

// read gives take who has which address until s is closed. What has passed a router is no neighbour's (RFC 4861 §7.1.2).
func (s *solicitor) read(take func(a netip.Addr, who MAC)) {
	for room := make([]byte, maxRead); ; {
		n, cm, _, err := s.p.ReadFrom(room)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			time.Sleep(pause)
		case cm != nil && cm.HopLimit == 255:
			if a, who, ok := parseAdvertisement(room[:n]); ok {
				take(a, who)
			}
		}
	}
}
