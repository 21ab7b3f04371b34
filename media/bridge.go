package media

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/siproam/siproam/roam"
)

// Bridge is the media of one call between leg "A" and one or more "B" legs ("B1", "B2" while forking).
type Bridge struct {
	relay  *Relay
	call   string
	silent func()
	opened time.Time

	mu     sync.Mutex // guards the fields below and all that legs hold
	legs   []*leg
	a, b   *leg      // who hear each other; nil: not known yet
	joined time.Time // zero: not answered
	heard  time.Time // last RTP or RTCP that was accepted
	spoken int       // how many SDP bodies have passed
	told   bool      // silent was called
	closed bool
	final  State // of Close
}

// Peer is the far end of a leg as signalling saw it.
type Peer struct {
	Signal  netip.Addr // where its signalling comes from: RTP may come from there or from the address in its SDP
	Here    netip.Addr // our address on that flow: bound, and told in the SDP, when Config.Addr is the wildcard; invalid: Config.Addr
	Partner bool       // another office: told the advertised address wherever it is
}

// Pass takes an SDP body that leg from sent, and gives what leg to must be sent: the
// same with our addresses and ports. It opens what ports the legs need and learns where
// from wants its media. peer is from's far end, and toPeer to's. Offers and answers, first and later ones,
// are all passed so; a leg keeps its ports. A hears the B leg whose SDP it was given last.
// Errors are [roam.NotAcceptable] (no usable SDP) and [roam.NoCapacity] (no port); they change nothing.
func (b *Bridge) Pass(from, to string, sdp []byte, peer, toPeer Peer) ([]byte, error) {
	d, err := parse(sdp)
	if err != nil {
		return nil, err
	}
	for _, s := range d.streams {
		if b.relay.ours(netip.AddrPortFrom(s.addr, s.port)) || b.relay.ours(s.control()) {
			return nil, roam.NotAcceptable
		}
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil, roam.NoCapacity
	}
	if err := b.openPorts(d, b.leg(from), b.leg(to), peer, toPeer); err != nil {
		b.mu.Unlock()
		return nil, err
	}
	out := b.take(d, b.leg(from), b.leg(to), peer, toPeer)
	unused := b.trim()
	b.mu.Unlock()
	b.relay.putBack(unused)
	return out, nil
}

// take learns what d says and writes what to is sent.
func (b *Bridge) take(d *description, from, to *leg, peer, toPeer Peer) []byte {
	from.learn(d, &b.relay.machine, peer)
	b.spoken++
	from.spoke = b.spoken
	ports := make([]uint16, len(d.streams))
	for i, sec := range d.streams {
		f, t := from.stream(i), to.stream(i)
		if f.rejected {
			continue
		}
		t.rejected = false
		f.learnRates(sec.payloads)
		t.learnRates(sec.payloads)
		ports[i] = uint16(t.ports.port)
		if t.origins.n == 0 { // it may send before it answers
			t.origins.set(&b.relay.machine, toPeer.Signal.Unmap().WithZone(""))
		}
	}
	if from.name != "A" && to.name == "A" && b.joined.IsZero() {
		b.a, b.b = to, from
	}
	return to.origin.rewrite(d, b.relay.told(toPeer), ports)
}

// leg is the leg of that name, made when it is new.
func (b *Bridge) leg(name string) *leg {
	l := b.find(name)
	if l == nil {
		var id [8]byte
		_, _ = rand.Read(id[:])
		l = &leg{name: name}
		l.origin.session = binary.BigEndian.Uint64(id[:]) >> 1 // some phones read it as signed
		b.legs = append(b.legs, l)
	}
	return l
}

// find is the leg of that name, nil when there is none.
func (b *Bridge) find(name string) *leg {
	for _, l := range b.legs {
		if l.name == name {
			return l
		}
	}
	return nil
}

// other is the leg that hears l.
func (b *Bridge) other(l *leg) *leg {
	switch l {
	case b.a:
		return b.b
	case b.b:
		return b.a
	}
	return nil
}

// openPorts opens what both legs need for the live streams of d; all or none. The leg that is told
// gets other ports when its far end now meets us at another address.
func (b *Bridge) openPorts(d *description, from, to *leg, peer, toPeer Peer) error {
	type change struct {
		s   *stream
		old *pair
	}
	var changes []change
	fail := func(err error) error {
		var back []*pair
		for _, c := range changes {
			back = append(back, c.s.ports)
			c.s.ports = c.old
		}
		b.relay.putBack(back)
		return err
	}
	open := func(s *stream, at netip.Addr, moves bool) error {
		if s.ports != nil && (!moves || s.ports.at == at || s.ports.at.IsUnspecified()) {
			return nil
		}
		p, err := b.relay.openPair(at)
		if err != nil {
			return err
		}
		changes = append(changes, change{s, s.ports})
		s.ports = p
		return nil
	}
	for i, sec := range d.streams {
		if sec.port == 0 || !sec.relayed() {
			continue
		}
		if err := open(from.stream(i), b.relay.bindTo(peer), false); err != nil {
			return fail(err)
		}
		if err := open(to.stream(i), b.relay.bindTo(toPeer), true); err != nil {
			return fail(err)
		}
	}
	for _, c := range changes {
		c.s.ports.give(b, c.s)
		if c.old != nil {
			b.relay.putBack([]*pair{c.old})
		}
	}
	return nil
}

// trim takes away the ports of streams that are no longer used: rejected by their own leg, or by
// all legs that could hear them. The caller puts them back, without the lock.
func (b *Bridge) trim() (unused []*pair) {
	a := b.find("A")
	for _, l := range b.legs {
		for i, s := range l.streams {
			if s.ports != nil && (s.rejected || l != a && rejected(a, i) || l == a && b.allReject(i)) {
				unused = append(unused, s.ports)
				s.ports = nil
				s.media.latched, s.control.latched = netip.AddrPort{}, netip.AddrPort{}
			}
		}
	}
	return unused
}

func rejected(l *leg, i int) bool { return l != nil && i < len(l.streams) && l.streams[i].rejected }

// allReject says that every B leg there is has rejected stream i.
func (b *Bridge) allReject(i int) bool {
	n := 0
	for _, l := range b.legs {
		if l.name == "A" {
			continue
		}
		if !rejected(l, i) {
			return false
		}
		n++
	}
	return n > 0
}

// Join says that leg is the one that won: A and leg now hear each other, other B legs are dropped.
// From now on silence counts.
func (b *Bridge) Join(leg string) {
	b.mu.Lock()
	var unused []*pair
	if !b.closed {
		b.a, b.b = b.leg("A"), b.leg(leg)
		if b.joined.IsZero() {
			b.joined = time.Now()
		}
		for _, l := range slices.Clone(b.legs) {
			if l != b.a && l != b.b {
				unused = append(unused, b.forget(l)...)
			}
		}
		unused = append(unused, b.trim()...)
	}
	b.mu.Unlock()
	b.relay.putBack(unused)
}

// Drop forgets a leg and gives its ports back.
func (b *Bridge) Drop(leg string) {
	b.mu.Lock()
	var unused []*pair
	if l := b.find(leg); l != nil {
		unused = append(b.forget(l), b.trim()...)
	}
	b.mu.Unlock()
	b.relay.putBack(unused)
}

// forget takes a leg out; the caller puts its ports back, without the lock.
func (b *Bridge) forget(l *leg) (unused []*pair) {
	b.legs = slices.DeleteFunc(b.legs, func(x *leg) bool { return x == l })
	if l == b.a || l == b.b {
		b.a, b.b = nil, nil
	}
	for _, s := range l.streams {
		if s.ports != nil {
			unused = append(unused, s.ports)
			s.ports = nil
		}
	}
	return unused
}
