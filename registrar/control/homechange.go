package control

import (
	"cmp"
	"slices"
	"time"

	"github.com/siproam/siproam/roam"
)

// saved ends a change: only now others see it (DESIGN 8).
func (h Home) saved(now time.Time, err error, out []Action) (Home, []Action) {
	c, was := h.now, h.Kept
	switch {
	case err != nil && c.written: // R is above us, and we cannot follow
		return h.giveBack(now, out)
	case err != nil:
		h, out = h.refuse(roam.NoCapacity, out)
		return h, append(out, Wake{now.Add(backoff(1))}) // an expiry must be tried again
	case h.Office.Strict && c.tx != 0:
		return h.publish(c, out)
	}
	h.Kept, h.now = c.to, nil
	return h.ended(now, c, &was, out)
}

// ended is what follows when c is over and was is what stood before: who waits has an answer, who was left
// hears of it.
func (h Home) ended(now time.Time, c *change, was *Kept, out []Action) (Home, []Action) {
	if c.drift {
		out = append(out, Drift{})
	}
	for _, p := range was.At {
		if p.Office == h.Office.Here.Office && h.find(p.Device, p.Office) < 0 {
			out = append(out, Release{h.User, p.Device, h.gone()})
		}
	}
	if c.tx != 0 {
		out = append(out, Answer{Tx: c.tx, Why: c.refused, Location: h.Location, Grant: c.grant, Held: h.held(), Changed: c.refused == roam.OK && (c.written || c.stage == saving)})
	}
	if h.Location.Epoch != was.Location.Epoch && c.stage != publishing {
		out = append(out, Report{h.Location, c.why})
	}
	out = h.notify(now, out, func(d *Debt) bool { return d.Tries == 0 }) // e, f: the former office hears it
	return h.rise(now, out)
}

// gone is where calls for the user go now, zero when they still come here.
func (h *Home) gone() roam.Location {
	if h.Location.Office == h.Office.Here.Office {
		return roam.Location{}
	}
	return h.Location
}

// refuse ends a change as if it had not been.
func (h Home) refuse(why roam.Refusal, out []Action) (Home, []Action) {
	c := h.now
	h.now = nil
	if here := h.Office.Here.Office; c.to.find(c.device, here) >= 0 && h.find(c.device, here) < 0 {
		out = append(out, Release{User: h.User, Device: c.device}) // what was allocated for nothing
	}
	if c.tx != 0 {
		out = append(out, Answer{Tx: c.tx, Why: why, Location: h.Location})
	}
	return h, out
}

// rise goes above an epoch of R that our file does not know, and reports again.
func (h Home) rise(now time.Time, out []Action) (Home, []Action) {
	if h.now != nil || h.above <= h.Location.Epoch {
		return h, h.wake(out)
	}
	to := h.clone(now)
	to.Location.Epoch = h.above + 1
	return h.save(&change{to: to, why: "repaired"}, out)
}

// settled strikes out what was acknowledged, and waits before the next try of what was not.
func (h Home) settled(now time.Time, ev Settled, out []Action) (Home, []Action) {
	h.Owed = h.settle(now, h.Owed, ev)
	if h.now == nil {
		return h, h.wake(append(out, Drift{}))
	}
	c := *h.now // what is on its way to the disk must not be overwritten by what was
	c.to.Owed, c.drift = h.settle(now, c.to.Owed, ev), true
	c.was.Owed = h.settle(now, c.was.Owed, ev)
	h.now = &c
	return h, out
}

func (h *Home) settle(now time.Time, owed []Debt, ev Settled) []Debt {
	owed = slices.Clone(owed)
	for i := range owed {
		if d := &owed[i]; ev.Err != nil && d.To == ev.To && d.Device == ev.Device && d.Epoch == ev.Epoch {
			d.Next = now.Add(backoff(d.Tries))
		}
	}
	return slices.DeleteFunc(owed, func(d Debt) bool {
		return ev.Err == nil && d.To == ev.To && d.Device == ev.Device && d.Epoch <= ev.Epoch
	})
}

// notify sends the supersedes that which picks.
func (h *Home) notify(now time.Time, out []Action, which func(*Debt) bool) []Action {
	h.Owed = slices.Clone(h.Owed)
	for i := range h.Owed {
		if d := &h.Owed[i]; which(d) {
			d.Tries++
			d.Next = now.Add(inFlight + backoff(d.Tries))
			out = append(out, Supersede{To: d.To, Contact: d.Contact, Device: d.Device, Epoch: d.Epoch, Location: h.Location})
		}
	}
	return out
}

// offline ends a device here that is gone without a word, or all of them.
func (h Home) offline(now time.Time, ev Offline, out []Action) (Home, []Action) {
	to := h.clone(now)
	i := to.find(ev.Device, h.Office.Here.Office)
	switch {
	case ev.All && len(to.At) > 0:
		h.empty(now, &to, ev.Next)
	case !ev.All && i >= 0:
		if to.At[i].Contacts = ev.leaves(to.At[i].Contacts); len(to.At[i].Contacts) == 0 {
			to.At = slices.Delete(to.At, i, i+1)
		}
		h.relocate(now, &to, ev.Device, ev.Next)
	default:
		return h, out
	}
	return h.save(&change{device: ev.Device, to: to, why: cmp.Or(ev.Why, "offline")}, out)
}

// due ends what has expired and repeats what was not acknowledged.
func (h Home) due(now time.Time, ev Due, out []Action) (Home, []Action) {
	if h.now != nil {
		return h, append(out, Wake{now.Add(time.Second)})
	}
	h.Owed = slices.DeleteFunc(slices.Clone(h.Owed), func(d Debt) bool { return !now.Before(d.Until) })
	out = h.notify(now, out, func(d *Debt) bool { return !now.Before(d.Next) })
	to, ended, device := h.clone(now), false, roam.Device("")
	for i := range to.At {
		p := &to.At[i]
		p.Contacts = slices.DeleteFunc(p.Contacts, func(c Contact) bool {
			if c.Live(now) {
				return false
			}
			ended, device = true, p.Device
			return true
		})
	}
	if !ended {
		return h, h.wake(out)
	}
	to.At = slices.DeleteFunc(to.At, func(p Presence) bool {
		if len(p.Contacts) == 0 {
			h.over(now, &to, &p)
		}
		return len(p.Contacts) == 0
	})
	h.relocate(now, &to, device, ev.Next)
	return h.save(&change{device: device, to: to, why: "expired"}, out)
}

// wake asks for the next Due.
func (h *Home) wake(out []Action) []Action {
	if h.now != nil {
		return out
	}
	at, waits := time.Time{}, false
	for i := range h.At {
		at, waits = first(at, earliest(h.At[i].Contacts)), true
	}
	for i := range h.Owed {
		if d := &h.Owed[i]; !waits || d.Next.Before(at) {
			at, waits = d.Next, true // a zero Next is: at once
		}
	}
	if !waits {
		return out
	}
	return append(out, Wake{at})
}
