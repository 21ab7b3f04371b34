package control

import (
	"hash/fnv"
	"strconv"
	"time"

	"github.com/siproam/siproam/roam"
)

// Unrecorded is what home does not know of a visit yet (M9): that it is, or, when nothing is bound any more, that it is over. The
// registration message is repeated until home records or refuses it.
type Unrecorded struct {
	Tries int       `json:"tries"`
	Until time.Time `json:"until"`
	Asked time.Time `json:"asked,omitzero"` // home may have recorded us until then without our hearing of it
	Next  time.Time `json:"-"`              // zero: at once
	sent  bool      // the answer is awaited
}

// soon is how long after a restart what is owed is said again: not by all visitors at once.
const soon = 5 * time.Second

// provisional is what is owed for c, which home did not record. Of a visit for which something was owed already the
// pace is kept, or a phone in a hurry would have home asked in a hurry.
func (v *Visit) provisional(now time.Time, c *visiting) *Unrecorded {
	s := &c.legal.Silence
	o := &Unrecorded{Until: now.Add(or(s.Resend, 24*time.Hour)), Asked: latest(c.to.Contacts), Next: now.Add(v.spread(backoff(0), 0))}
	if was := v.Owes; was != nil && len(v.Contacts) > 0 {
		o.Tries, o.Next, o.sent = was.Tries, was.Next, was.sent
		if was.Asked.After(o.Asked) {
			o.Asked = was.Asked
		}
		if c.legal.Silent { // nobody has checked the phone anew
			o.Until, o.Asked = was.Until, was.Asked
		}
	}
	return o
}

// over is what is owed for a visit that ended while home did not answer: home may have recorded it, or have it still. nil when
// home's record of it, if there is one, has ended by itself.
func (v *Visit) over(now time.Time, asked time.Time) *Unrecorded {
	until := latest(v.Contacts)
	if asked.After(until) {
		until = asked
	}
	if v.Owes != nil && v.Owes.Asked.After(until) {
		until = v.Owes.Asked
	}
	if !until.After(now) {
		return nil
	}
	return &Unrecorded{Until: until, Next: now.Add(v.spread(backoff(0), 0))}
}

// doubtful is what is owed for a visit that goes on, whose end home may have heard all the same: it is told again that the visit is,
// and if it has ended it, it says so.
func (v *Visit) doubtful(now time.Time) *Unrecorded {
	until := latest(v.Contacts)
	return &Unrecorded{Until: until, Asked: until, Next: now.Add(v.spread(backoff(0), 0))}
}

// takeBack is what is left of a visit that never was, but that home may have recorded: its end is owed.
func (v *Visit) takeBack(now time.Time, to Stay) Stay {
	if to.Home.Foreign { // nobody but the phone can end it there, and it ends soon
		return Stay{Gone: v.Gone}
	}
	owes := v.over(now, latest(to.Contacts))
	if owes != nil {
		owes.Next = now
	}
	return Stay{Version: 1, Home: to.Home, Ticket: to.Ticket, Proof: to.Proof, Gone: v.Gone, Owes: owes}
}

// settled is the answer to a registration message that was sent again.
func (v Visit) settled(now time.Time, ev Recorded, out []Action) (Visit, []Action) {
	if v.Owes == nil || !v.Owes.sent {
		return v, out
	}
	if v.now != nil { // in the midst of a change, which knows nothing of it: asked once more, after that
		again := func(o *Unrecorded) *Unrecorded {
			if o == nil {
				return nil
			}
			n := *o
			n.sent, n.Next = false, now
			return &n
		}
		c := *v.now
		v.Owes, c.to.Owes = again(v.Owes), again(c.to.Owes)
		v.now = &c
		return v, out
	}
	ending := len(v.Contacts) == 0
	switch {
	case busy(ev.Why):
		o := *v.Owes
		o.sent, o.Next = false, now.Add(v.spread(backoff(o.Tries), o.Tries))
		v.Owes = &o
		return v, v.wake(out)
	case ending:
		to := v.Stay
		to.Owes, to.Location = nil, ev.Location
		return v.save(visiting{what: forget, to: to}, out)
	case ev.Why == roam.OK:
		v.Owes, v.Location = nil, ev.Location
		if v.Location.Epoch > 0 {
			out = append(out, Report{v.Location, "registered"})
		}
		return v, v.wake(append(out, Drift{}))
	}
	return v.save(visiting{what: drop, to: Stay{Gone: v.Gone}}, out)
}

// again repeats the registration message. That of an end may be what the disk did not take (unsaved): it is offered that again.
func (v Visit) again(now time.Time, out []Action) (Visit, []Action) {
	o := *v.Owes
	o.Tries++
	o.Next, o.sent = now.Add(inFlight+v.spread(backoff(o.Tries), o.Tries)), true
	if at := latest(v.Contacts); at.After(o.Asked) {
		o.Asked = at
	}
	v.Owes = &o
	if out = append(out, v.message(now)); len(v.Contacts) == 0 {
		out = append(out, Drift{})
	}
	return v, v.wake(out)
}

// spread is d, give or take a quarter: a home that comes back is not told of all its users in one moment. Which part of it is
// drawn from who it is and how often it was tried, for a core has no dice.
func (v *Visit) spread(d time.Duration, n int) time.Duration {
	h := fnv.New64a()
	for _, s := range []string{string(v.User), string(v.Device), strconv.Itoa(n)} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	return d - d/4 + time.Duration(h.Sum64()%uint64(d/2))
}
