package media

import (
	"slices"
	"time"

	"github.com/siproam/siproam/roam"
)

// State is what is known of the call's media now.
type State struct {
	Codec string // of the last answer, "PCMA", "opus"
	Held  bool
	A, B  roam.Traffic // what came from each side
	Heard time.Time    // last RTP or RTCP
}

// State reads the counters; after Close it is the last.
func (b *Bridge) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return b.final
	}
	return b.state()
}

func (b *Bridge) state() State {
	s := State{Held: b.held(), Heard: b.heard}
	if b.a == nil || b.b == nil {
		return s
	}
	newer, older := b.a, b.b
	if newer.spoke < older.spoke {
		newer, older = older, newer
	}
	s.Codec = codec(newer.codecs, older.codecs)
	b.a.addTo(&s.A)
	b.b.addTo(&s.B)
	return s
}

func (l *leg) addTo(side *roam.Traffic) {
	for _, s := range l.streams {
		s.tally.addTo(side)
	}
}

func (b *Bridge) held() bool { return b.a != nil && b.a.held || b.b != nil && b.b.held }

// fallSilent says, once, that at now the call has been silent for too long. A call that is not
// answered may be silent: ringing has its own timer.
func (b *Bridge) fallSilent(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.told || b.joined.IsZero() {
		return false
	}
	last, idle := b.heard, b.relay.cfg.Idle.D()
	if last.Before(b.joined) {
		last = b.joined
	}
	if b.held() {
		idle = b.relay.cfg.IdleOnHold.D()
	}
	b.told = now.Sub(last) >= idle
	return b.told
}

// Close ends the media and gives the last State. A second Close gives it again.
func (b *Bridge) Close() State {
	b.mu.Lock()
	if b.closed {
		defer b.mu.Unlock()
		return b.final
	}
	b.final, b.closed = b.state(), true
	var unused []*pair
	for _, l := range slices.Clone(b.legs) {
		unused = append(unused, b.forget(l)...)
	}
	final := b.final
	b.mu.Unlock()
	b.relay.putBack(unused)
	b.relay.end(b, final)
	return final
}

// end counts a call that is over.
func (r *Relay) end(b *Bridge, s State) {
	r.mu.Lock()
	delete(r.bridges, b)
	r.mu.Unlock()
	for _, side := range []roam.Traffic{s.A, s.B} {
		r.lost.Add(side.Lost)
		if side.Packets > 0 {
			r.jitter.Observe(side.Jitter / 1000)
		}
	}
	r.log.Debug().Str("call_id", b.call).Str("codec", s.Codec).
		Uint64("packets_a", s.A.Packets).Uint64("lost_a", s.A.Lost).Float64("jitter_ms_a", s.A.Jitter).
		Uint64("packets_b", s.B.Packets).Uint64("lost_b", s.B.Lost).Float64("jitter_ms_b", s.B.Jitter).
		Msg("media ended")
}
