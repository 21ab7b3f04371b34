package nameserver

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	mostConns   = 128              // over TCP
	connsOfOne  = 8                // of one source
	idle        = 10 * time.Second // a connection may stand without a question (RFC 7766 6.2.3)
	writeWithin = 5 * time.Second
)

// door is one listener.
type door struct {
	at  netip.AddrPort
	udp *net.UDPConn
	tcp *net.TCPListener
}

// openDoor binds both at the same port; port 0 is one that is free at both.
func openDoor(at netip.AddrPort) (d *door, err error) {
	for range 8 {
		d = &door{}
		if d.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)); err != nil {
			return nil, err
		}
		d.at = d.udp.LocalAddr().(*net.UDPAddr).AddrPort()
		if d.tcp, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(d.at)); err == nil {
			return d, nil
		}
		d.udp.Close()
		if at.Port() != 0 {
			break
		}
	}
	return nil, err
}

func (d *door) close() {
	d.udp.Close()
	d.tcp.Close()
}

// datagrams answers what comes over UDP until ctx ends. Whoever asks too often is not answered.
func (s *Server) datagrams(ctx context.Context, d *door) error {
	b := make([]byte, 4096)
	for {
		n, from, err := d.udp.ReadFromUDPAddrPort(b)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // an ICMP error of an answer before
			continue
		case !s.limit.admit(from.Addr()):
			s.count.Add(1, "limited")
			continue
		}
		answer, later := s.respond(b[:n], from.Addr().Unmap(), d.at.Addr(), false)
		if later != nil && !s.forward.begin(from.Addr()) {
			s.count.Add(1, "limited")
			continue
		}
		if later == nil {
			d.say(answer, from)
			continue
		}
		s.wait.Go(func() {
			defer s.forward.end(from.Addr())
			d.say(later(ctx), from)
		})
	}
}

// say sends an answer, if there is one; what cannot be sent is asked again.
func (d *door) say(answer []byte, to netip.AddrPort) {
	if answer != nil {
		d.udp.WriteToUDPAddrPort(answer, to)
	}
}

// streams takes connections until ctx ends.
func (s *Server) streams(ctx context.Context, d *door) error {
	var conns conns
	for {
		c, err := d.tcp.AcceptTCP()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // no descriptor left, or it ended before we took it
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		from := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		if !s.conf.Load().admitted(from) || !conns.add(from) {
			s.count.Add(1, "refused")
			c.Close()
			continue
		}
		s.wait.Go(func() {
			defer conns.gone(from)
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			s.stream(ctx, c, from, d.at.Addr())
		})
	}
}

// stream answers the questions of one connection, one after the other, until it ends, stands idle or asks too often.
func (s *Server) stream(ctx context.Context, c net.Conn, from, to netip.Addr) {
	var size [2]byte
	for {
		c.SetDeadline(time.Now().Add(idle))
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		m := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, m); err != nil {
			return
		}
		if !s.limit.admit(from) {
			s.count.Add(1, "limited")
			return
		}
		answer, later := s.respond(m, from, to, true)
		if later != nil {
			if !s.forward.begin(from) {
				s.count.Add(1, "limited")
				return
			}
			answer = later(ctx)
			s.forward.end(from)
		}
		if answer == nil {
			return
		}
		c.SetDeadline(time.Now().Add(writeWithin))
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

// conns counts connections: so many, and so many of one source; who comes beyond is turned away.
type conns struct {
	mu  sync.Mutex // guards what follows
	all int
	of  map[netip.Addr]int
}

func (c *conns) add(from netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	from = sourceOf(from)
	if c.all >= mostConns || c.of[from] >= connsOfOne {
		return false
	}
	if c.of == nil {
		c.of = map[netip.Addr]int{}
	}
	c.all++
	c.of[from]++
	return true
}

func (c *conns) gone(from netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from = sourceOf(from)
	c.all--
	if c.of[from]--; c.of[from] == 0 {
		delete(c.of, from)
	}
}
