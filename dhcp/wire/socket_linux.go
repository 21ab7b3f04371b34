package wire

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

const (
	batchSize = 64
	maxRead   = 4096 // of one datagram; DHCP over Ethernet has at most 1472, relayed messages of IPv6 a little more
	pause     = 10 * time.Millisecond
)

// batches reads and writes datagrams, many in one system call (recvmmsg, sendmmsg). Messages are the same in both families.
type batches interface {
	ReadBatch(ms []ipv4.Message, flags int) (int, error)
	WriteBatch(ms []ipv4.Message, flags int) (int, error)
}

// socket is the datagrams of one family on one interface. One goroutine reads; anyone may send.
type socket struct {
	p       *port
	c       *net.UDPConn
	batches batches
	six     bool

	mu      sync.Mutex // guards out and sources
	out     []ipv4.Message
	sources map[netip.Addr][]byte // control messages, one for each address of ours
}

func newSocket(p *port, c *net.UDPConn, six bool) *socket {
	s := &socket{p: p, c: c, six: six, sources: map[netip.Addr][]byte{}}
	if six {
		s.batches = ipv6.NewPacketConn(c)
	} else {
		s.batches = ipv4.NewPacketConn(c)
	}
	return s
}

// read reads until the socket is closed.
func (s *socket) read(w *Wire, take func([]Datagram)) {
	ms := make([]ipv4.Message, batchSize)
	for i := range ms {
		ms[i].Buffers = [][]byte{make([]byte, maxRead)}
		ms[i].OOB = make([]byte, 128)
	}
	for {
		n, err := s.batches.ReadBatch(ms, 0)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // the interface went down, or no memory just now
			w.dropped.Add(1, "read")
			time.Sleep(pause)
			continue
		}
		w.sent.Add(uint64(n), "in")
		if batch := s.batch(w, ms[:n]); len(batch) > 0 {
			take(batch)
		}
	}
}

// batch copies what was read close together.
func (s *socket) batch(w *Wire, ms []ipv4.Message) []Datagram {
	size := 0
	for i := range ms {
		size += ms[i].N
	}
	octets, batch, now := make([]byte, 0, size), make([]Datagram, 0, len(ms)), s.p.now.Load()
	for i := range ms {
		m := &ms[i]
		from, known := m.Addr.(*net.UDPAddr)
		if !known || m.Flags&unix.MSG_TRUNC != 0 {
			w.dropped.Add(1, "size")
			continue
		}
		at := len(octets)
		octets = append(octets, m.Buffers[0][:m.N]...)
		source := from.AddrPort()
		batch = append(batch, Datagram{
			B: octets[at:len(octets):len(octets)], Interface: now, To: s.destination(m.OOB[:m.NN]),
			From: netip.AddrPortFrom(source.Addr().Unmap(), source.Port()),
		})
	}
	return batch
}

// destination is where a datagram was sent to, by its control messages.
func (s *socket) destination(oob []byte) netip.Addr {
	var dst net.IP
	if s.six {
		var cm ipv6.ControlMessage
		if cm.Parse(oob) == nil {
			dst = cm.Dst
		}
	} else {
		var cm ipv4.ControlMessage
		if cm.Parse(oob) == nil {
			dst = cm.Dst
		}
	}
	a, _ := netip.AddrFromSlice(dst)
	return a.Unmap()
}

// add has b go out at the next flush, or before.
func (s *socket) add(w *Wire, b []byte, to netip.AddrPort, source netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.out) == batchSize {
		s.flushLocked(w)
	}
	s.out = append(s.out, ipv4.Message{Buffers: [][]byte{b}, OOB: s.control(source), Addr: net.UDPAddrFromAddrPort(to)})
}

// control is the control message that has a datagram leave from source; nil for any.
func (s *socket) control(source netip.Addr) []byte {
	if !source.IsValid() || source.Is6() != s.six {
		return nil
	}
	oob, found := s.sources[source]
	if !found {
		if s.six {
			oob = (&ipv6.ControlMessage{Src: source.AsSlice()}).Marshal()
		} else {
			oob = (&ipv4.ControlMessage{Src: source.AsSlice()}).Marshal()
		}
		if len(s.sources) < 1024 { // as many as there are subnets
			s.sources[source] = oob
		}
	}
	return oob
}

// flush sends what add left.
func (s *socket) flush(w *Wire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushLocked(w)
}

func (s *socket) flushLocked(w *Wire) {
	for left := s.out; len(left) > 0; {
		n, err := s.batches.WriteBatch(left, unix.MSG_DONTWAIT)
		if n > 0 {
			w.sent.Add(uint64(n), "out")
			left = left[n:]
			continue
		}
		w.dropped.Add(1, "send")
		w.cfg.Log.Debug().Str("interface", s.p.name).Stringer("to", left[0].Addr).Err(err).Msg("DHCP reply not sent")
		if errors.Is(err, net.ErrClosed) {
			break
		}
		left = left[1:] // the one that failed; the others have other destinations
	}
	clear(s.out) // they hold the caller's octets
	s.out = s.out[:0]
}
