package control

import (
	"time"

	"github.com/siproam/siproam/roam"
)

// With Office.Strict a 200 to a move says that R has it: after the disk, and before the answer, the
// location is reported and the answer waits for R's acknowledgement. What R does not acknowledge in
// time is refused (503), and of what was refused nothing stays (RFC 3261 10.3: all bindings change, or none
// do): what stood before is saved again. R may have taken the refused location all the same, for an answer
// can get lost; so the old one comes back with a higher epoch, and is what R will hold.
//
// A refresh asks R for nothing, unless R never acknowledged where the user is: after a refusal, a
// restart, an expiry that R did not hear. Then it waits like a move. Calls see a change once it is saved,
// so that nobody who reads it in R comes too early.

// mostRounds is how often one change goes above what R holds.
const mostRounds = 3

// told says that R has acknowledged our location, or that no answer depends on it.
func (h *Home) told() bool { return !h.Office.Strict || h.said == h.Location.Epoch }

// held says that R has acknowledged our location: nobody else need wait for it.
func (h *Home) held() bool { return h.Location.Epoch > 0 && h.said == h.Location.Epoch }

// accept ends a request that moves nobody, with c.to in memory; if R must first be told where the user is,
// later.
func (h Home) accept(now time.Time, c change, away bool, out []Action) (Home, []Action) {
	if !h.told() && c.tx != 0 {
		if away {
			return h, append(out, Answer{Tx: c.tx, Why: roam.StoreAway, Location: h.Location})
		}
		c.stage, c.why = publishing, "repaired"
		h.now = &c
		return h, append(out, Report{h.Location, c.why})
	}
	h.Kept = c.to
	if c.drift {
		out = append(out, Drift{})
	}
	return h, h.wake(append(out, Answer{Tx: c.tx, Location: h.Location, Grant: c.grant, Held: h.held()}))
}

// publish tells R of c, which is on disk.
func (h Home) publish(c *change, out []Action) (Home, []Action) {
	if !c.written {
		c.was, c.written = h.Kept, true
	}
	h.Kept = c.to
	c.stage = publishing
	return h, append(out, Report{h.Location, c.why})
}

// reported is R's answer. That somebody is above us is mended at once, whether a request waits or not.
func (h Home) reported(now time.Time, ev Reported, out []Action) (Home, []Action) {
	ours := ev.Err == nil && ev.Location.Epoch == h.Location.Epoch && ev.Location.Office == h.Location.Office
	switch {
	case ours:
		h.said = h.Location.Epoch
	case ev.Err == nil && ev.Location.Epoch > h.Location.Epoch:
		h.above = max(h.above, ev.Location.Epoch)
	case ev.Err == nil && ev.Location.Epoch == h.Location.Epoch && ev.Location.Epoch > 0: // our epoch and another place: nobody
		h.above = max(h.above, ev.Location.Epoch+1) // who may says so, and the script keeps it
	}
	c := h.now
	if c == nil || c.stage != publishing || ev.Epoch != h.Location.Epoch { // or the late answer to an older one
		return h.rise(now, out)
	}
	switch {
	case ours:
		h.now = nil
		if !c.written {
			c.was, h.Kept = h.Kept, c.to
		}
		return h.ended(now, c, &c.was, out)
	case ev.Err == nil && h.above > h.Location.Epoch && c.rounds < mostRounds:
		c.rounds++
		c.to.Location.Epoch = h.above + 1
		return h.save(c, out)
	}
	return h.giveBack(now, out)
}

// giveBack undoes the change under way, which R did not acknowledge.
func (h Home) giveBack(now time.Time, out []Action) (Home, []Action) {
	c := h.now
	if !c.written {
		h.now = nil
		return h, h.wake(append(out, Answer{Tx: c.tx, Why: roam.StoreAway, Location: h.Location}))
	}
	c.to, c.stage = c.was.clone(now), returning
	if c.to.Location.Epoch != h.Location.Epoch {
		c.to.Location.Epoch = max(h.Location.Epoch, h.above) + 1
	}
	h.sign(&c.to)
	return h, append(out, Save{c.to})
}

// returned ends what giveBack began. With a disk that takes nothing what was tried stands, as it is there.
func (h Home) returned(now time.Time, err error, out []Action) (Home, []Action) {
	c := h.now
	h.now = nil
	if err == nil {
		c.was, h.Kept = h.Kept, c.to
	}
	c.refused, c.why = roam.StoreAway, "taken back"
	return h.ended(now, c, &c.was, out)
}

// told is Home's, of a visit.
func (v *Visit) told() bool {
	return !v.Office.Strict || v.said == v.Location.Epoch && !v.unplaced()
}

// publish tells R of c, which stands. When it is on disk, was is what stood there before.
func (v Visit) publish(c visiting, was *Stay, why string, out []Action) (Visit, []Action) {
	c.stage, c.was = publishing, was
	v.Stay, v.now = c.to, &c
	return v, append(out, Report{v.Location, why})
}

// reported is R's answer. With a newer location there the user has gone on meanwhile, and a notice is on its way.
func (v Visit) reported(now time.Time, ev Reported, out []Action) (Visit, []Action) {
	if v.Home.Foreign {
		v, ev, out = v.placed(now, ev, out)
	}
	held := ev.Err == nil && ev.Location.Epoch >= v.Location.Epoch
	if held {
		v.said = v.Location.Epoch
	}
	if v.now == nil || v.now.stage != publishing || ev.Epoch != v.Location.Epoch {
		return v, out
	}
	c := *v.now
	switch {
	case held:
		v.now = nil
		return v.ended(now, &c, c.was, out)
	case c.was == nil || c.what == leave: // nothing was written; or home has heard it and it is over, whether R knows or not
		c.refused = roam.StoreAway
		v.now = nil
		return v.ended(now, &c, c.was, out)
	case !c.was.Serving():
		c.to = v.takeBack(now, c.to) // what home has recorded
		c.to.Gone = c.was.Gone
	default:
		c.to.Contacts = c.was.Contacts
	}
	c.stage = returning
	v.now = &c
	return v, append(out, SaveVisit{c.to})
}

// returned ends what could not be published.
func (v Visit) returned(now time.Time, err error, out []Action) (Visit, []Action) {
	c := *v.now
	v.now = nil
	if err == nil {
		v.Stay = c.to
	}
	if !v.Serving() {
		out = append(out, Release{User: v.User, Device: v.Device})
	}
	return v, v.wake(append(out, Answer{Tx: c.tx, Why: roam.StoreAway}))
}
