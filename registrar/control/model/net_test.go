package model

import (
	"errors"
	"time"

	"github.com/siproam/siproam/roam"
)

// The ends of a link: the offices, and these.
const (
	theStore = officesHere
	phones   = officesHere + 1
	ends     = officesHere + 2
)

const (
	latency   = 5 * time.Millisecond
	patience  = time.Second      // for R (package routesrv)
	homeAfter = 4 * time.Second  // for another office (home_silent.after)
	timerF    = 32 * time.Second // for what nobody waits for
	kept      = 64               // messages that may come once more, long after
)

var errTimeout = errors.New("no answer")

// net is what is on its way.
type net struct {
	*world
	air  []*message
	past []*message
	cut  [ends][ends]bool
	bad  weather
}

// message is one message on its way. It is delivered to the process that runs at to then.
type message struct {
	from, to int
	label    string
	deliver  func()
	due      *happening
}

// weather is what happens to messages by themselves: bits decide, three a message.
type weather struct {
	on   bool
	bits uint64
}

// next is three bits of the weather (splitmix64).
func (b *weather) next() uint64 {
	b.bits += 0x9e3779b97f4a7c15
	z := b.bits
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return (z ^ z>>31) & 7
}

// send puts a message on its way.
func (n *net) send(from, to int, label string, deliver func()) {
	m := &message{from: from, to: to, label: label, deliver: deliver}
	late := latency
	if n.bad.on && from < officesHere {
		switch n.bad.next() {
		case 0:
			n.log("  lost: %s", label)
			n.disturb()
			return
		case 1:
			n.again(m, 3*latency)
		case 2:
			late = 300 * time.Millisecond
		case 3:
			late = 6 * time.Second
		}
	}
	n.again(m, late)
}

// again has m delivered after d, be it once more.
func (n *net) again(m *message, d time.Duration) {
	copied := *m
	m = &copied
	n.air = append(n.air, m)
	m.due = n.after(nil, d, m.label, func() { n.arrive(m) })
}

// arrive delivers m, if there is a way and somebody there.
func (n *net) arrive(m *message) {
	n.land(m)
	if n.cut[m.from][m.to] || m.to < officesHere && !n.offices[m.to].up || m.to == theStore && n.r.down {
		return
	}
	if m.to < officesHere && m.from < officesHere {
		if n.past = append(n.past, m); len(n.past) > kept {
			n.past = n.past[1:]
		}
	}
	m.deliver()
}

// land takes m out of the air.
func (n *net) land(m *message) {
	for i, o := range n.air {
		if o == m {
			n.air = append(n.air[:i], n.air[i+1:]...)
			return
		}
	}
}

// ask sends a question to another office or R, and gives the answer, or an error when none came in time. There may be
// no way at all, which is known at once.
func ask[T any](o *office, to int, limit time.Duration, label string, serve func(reply func(T)), done func(T, error)) {
	w, over, boot := o.world, false, o.boot
	once := func(a T, err error) {
		if !over && o.boot == boot {
			over = true
			done(a, err)
		}
	}
	late := w.after(o, limit, label+" timed out", func() {
		var none T
		once(none, errTimeout)
	})
	w.send(o.n, to, label, func() {
		serve(func(a T) {
			w.send(to, o.n, label+" answered", func() {
				late.fn = nil
				once(a, nil)
			})
		})
	})
}

// part cuts the way between two ends, or mends it.
func (n *net) part(a, b int, cut bool) {
	n.cut[a][b], n.cut[b][a] = cut, cut
	n.disturb()
}

// broken says that something is out of order now.
func (n *net) broken() bool {
	if n.bad.on || n.r.down || n.cut != [ends][ends]bool{} {
		return true
	}
	for _, o := range n.offices {
		if !o.up || o.full || o.crowded {
			return true
		}
	}
	return false
}

// heal mends everything.
func (n *net) heal() {
	n.bad.on, n.r.down, n.cut = false, false, [ends][ends]bool{}
	for _, o := range n.offices {
		o.full, o.crowded = false, false
		if !o.up {
			o.start()
		}
	}
	n.disturb()
}

// reached says that o has a way to another office that runs.
func (n *net) reached(o *office, to int) bool {
	return !n.cut[o.n][to] && (to >= officesHere || n.offices[to].up) && !(to == theStore && n.r.down)
}

// changed is roam:ev: who has an older location in memory asks again.
func (w *world) changed(user roam.UserID, epoch roam.Epoch) {
	for _, o := range w.offices {
		if !o.up {
			continue
		}
		w.after(o, latency, "roam:ev", func() {
			if p, known := o.places[user]; known && p.at.Epoch < epoch && o.reached(o, theStore) {
				p.until = time.Time{}
				o.places[user] = p
			}
		})
	}
}
