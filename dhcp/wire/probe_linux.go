package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// asked is where an answer is waited for: an address on an interface, or on none, where it is behind a router.
type asked struct {
	index int
	addr  netip.Addr
}

// probes is the questions under way whether an address is in use.
type probes struct {
	log zerolog.Logger

	mu      sync.Mutex // guards what follows
	waiting map[asked][]chan<- MAC
	echo    [2]*icmp.PacketConn // of IPv4 and IPv6, opened with the first question
	closed  bool
	readers sync.WaitGroup
}

func newProbes(log zerolog.Logger) *probes {
	return &probes{log: log, waiting: map[asked][]chan<- MAC{}}
}

func (q *probes) close() {
	q.mu.Lock()
	q.closed = true
	for _, c := range q.echo {
		if c != nil {
			c.Close()
		}
	}
	q.mu.Unlock()
	q.readers.Wait()
}

// Probe asks whether somebody has addr, until ctx ends: with ARP or a neighbour solicitation where addr is on the link of
// the interface with this index, with an ICMP echo where it is behind a relay. It waits for an answer until the deadline of
// ctx, asks a second time halfway, and returns false when none came. The owner of not, the client that wants addr, may
// have it already: its answer does not count. Errors: ErrNoInterface, ErrNoRaw, and of a ctx that was cancelled.
func (w *Wire) Probe(ctx context.Context, index int, addr netip.Addr, not MAC) (busy bool, err error) {
	p, err := w.at(index)
	if err != nil {
		return false, err
	}
	ask, where := func() error { return w.probes.ping(addr) }, asked{0, addr}
	if p.now.Load().Holds(addr).IsValid() {
		ask, where = func() error { return p.neighbour(addr) }, asked{index, addr}
	}
	answers, forget := w.probes.expect(where)
	defer forget()
	if err := ask(); err != nil {
		return false, fmt.Errorf("probe %s on %s: %w", addr, p.name, err)
	}
	half := make(<-chan time.Time)
	if by, limited := ctx.Deadline(); limited {
		half = time.After(time.Until(by) / 2)
	}
	for {
		select {
		case who := <-answers:
			if who != not || not == (MAC{}) {
				return true, nil
			}
		case <-half:
			_ = ask()
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return false, nil
			}
			return false, ctx.Err()
		}
	}
}

// neighbour asks on the link who has addr.
func (p *port) neighbour(addr netip.Addr) error {
	switch {
	case addr.Is4() && p.frames != nil:
		from := p.now.Load().MAC
		return p.frames.send(appendARPProbe(appendEther(nil, everyone, from, typeARP), from, addr), typeARP)
	case addr.Is6() && p.nd != nil:
		return p.nd.ask(addr, p.now.Load().MAC)
	}
	return ErrNoRaw
}

// expect has answers get who answers; forget ends that.
func (q *probes) expect(a asked) (answers <-chan MAC, forget func()) {
	c := make(chan MAC, 4) // full: the first ones are enough
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting[a] = append(q.waiting[a], c)
	return c, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		rest := q.waiting[a][:0:0]
		for _, other := range q.waiting[a] {
			if other != c {
				rest = append(rest, other)
			}
		}
		if q.waiting[a] = rest; len(rest) == 0 {
			delete(q.waiting, a)
		}
	}
}

// answered tells those who wait that who has an address.
func (q *probes) answered(a asked, who MAC) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range q.waiting[a] {
		select {
		case c <- who:
		default:
		}
	}
}

// heardARP takes an ARP packet in its frame: an answer, or a question of one who has the address.
func (w *Wire) heardARP(p *port, frame []byte) {
	if who, has, ok := parseARP(frame[min(etherSize, len(frame)):]); ok {
		w.probes.answered(asked{p.index, has}, who)
	}
}

// ping sends an echo request (RFC 792, RFC 4443).
func (q *probes) ping(addr netip.Addr) error {
	c, kind, err := q.echoes(addr.Is6())
	if err != nil {
		return err
	}
	m := icmp.Message{Type: kind, Body: &icmp.Echo{ID: 0x5352, Seq: 1, Data: []byte("siproam: is this address in use?")}}
	b, err := m.Marshal(nil)
	if err != nil {
		return err
	}
	var to net.Addr = &net.IPAddr{IP: addr.AsSlice()}
	if _, plain := c.LocalAddr().(*net.UDPAddr); plain {
		to = &net.UDPAddr{IP: addr.AsSlice()}
	}
	if _, err = c.WriteTo(b, to); err != nil {
		q.log.Debug().Stringer("ip", addr).Err(err).Msg("no way to this address")
	}
	return nil // nobody there can have it
}

// echoes is the socket for echoes of a family, and the type of requests: one that needs CAP_NET_RAW, or else one that
// net.ipv4.ping_group_range allows.
func (q *probes) echoes(six bool) (c *icmp.PacketConn, kind icmp.Type, err error) {
	i, networks, at := 0, []string{"ip4:icmp", "udp4"}, "0.0.0.0"
	kind = ipv4.ICMPTypeEcho
	if six {
		i, networks, at = 1, []string{"ip6:ipv6-icmp", "udp6"}, "::"
		kind = ipv6.ICMPTypeEchoRequest
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, nil, net.ErrClosed
	}
	for _, network := range networks {
		if q.echo[i] != nil {
			break
		}
		if c, err = icmp.ListenPacket(network, at); err == nil {
			if six && network == "ip6:ipv6-icmp" {
				var only ipv6.ICMPFilter
				only.SetAll(true)
				only.Accept(ipv6.ICMPTypeEchoReply)
				err = c.IPv6PacketConn().SetICMPFilter(&only)
			}
			q.echo[i] = c
			q.readers.Go(func() { q.readEchoes(c, six) })
		}
	}
	if q.echo[i] == nil {
		return nil, nil, ErrNoRaw
	}
	return q.echo[i], kind, nil
}

// readEchoes reads until c is closed.
func (q *probes) readEchoes(c *icmp.PacketConn, six bool) {
	protocol, want := 1, icmp.Type(ipv4.ICMPTypeEchoReply)
	if six {
		protocol, want = 58, ipv6.ICMPTypeEchoReply
	}
	for room := make([]byte, maxRead); ; {
		n, from, err := c.ReadFrom(room)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(pause)
			continue
		}
		m, err := icmp.ParseMessage(protocol, room[:n])
		if err != nil || m.Type != want {
			continue
		}
		var ip net.IP
		switch a := from.(type) {
		case *net.IPAddr:
			ip = a.IP
		case *net.UDPAddr:
			ip = a.IP
		}
		if a, ok := netip.AddrFromSlice(ip); ok {
			q.answered(asked{0, a.Unmap()}, MAC{})
		}
	}
}
