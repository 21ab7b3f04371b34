package control

import (
	"cmp"
	"slices"
	"time"

	"github.com/siproam/siproam/roam"
)

// Home is the home registrar's state of one subscriber.
type Home struct {
	User    roam.UserID
	Office  *Office
	Profile *roam.Profile
	Kept               // as the disk has it, but for drift and refreshes
	now     *change    // nil when nothing is under way
	drawn   roam.Epoch // of the last ticket; see Above
	above   roam.Epoch // R was seen to hold this, from before our file: the next epoch is higher
	said    roam.Epoch // R was seen to hold our location of this epoch; see told
}

// change is one move under way. Readers see the old Kept until it is saved. It belongs to the newest state, whose
// steps write in it.
type change struct {
	stage  stage
	tx     uint64 // 0: nobody waits
	device roam.Device
	grant  time.Duration // of a registration message
	to     Kept
	why    string
	drift  bool // something else changed meanwhile
	// With Office.Strict:
	written bool         // it is on the disk
	was     Kept         // if so, what stood before
	rounds  int          // how often R was found to be above us
	refused roam.Refusal // R did not acknowledge it
}

// Busy says that a change is under way: only its answers, Settled, Reported and Due may come in now.
func (h *Home) Busy() bool { return h.now != nil }

// Contacts is the user's bindings in all offices.
func (h *Home) Contacts() []Contact {
	cs := make([]Contact, 0, h.count())
	for i := range h.At {
		cs = append(cs, h.At[i].Contacts...)
	}
	return cs
}

// Refresh is the short way for a REGISTER that changes nothing but an expiry: no allocation, no disk,
// no R. Step begins with it, so the two cannot differ.
func (h *Home) Refresh(now time.Time, r *Register) bool {
	e := h.refreshed(now, r)
	if e == nil {
		return false
	}
	c := &r.Contacts[0]
	e.CSeq, e.Grant, e.Until, e.Can = r.CSeq, c.Grant, now.Add(c.Grant), c.Can
	return true
}

// refreshed is the binding of which r's one Contact is a refresh, nil when it is none.
func (h *Home) refreshed(now time.Time, r *Register) *Contact {
	if h.now != nil || len(r.Contacts) != 1 || !h.told() {
		return nil
	}
	c := &r.Contacts[0]
	for i := range h.At {
		p := &h.At[i]
		if p.Device != r.Device || p.Office != h.Office.Here.Office {
			continue
		}
		for j := range p.Contacts {
			e := &p.Contacts[j]
			if e.Target.URI == c.Target.URI && e.CallID == r.CallID && r.CSeq > e.CSeq && c.Grant > 0 && e.Live(now) && e.same(c) {
				return e
			}
		}
	}
	return nil
}

// same says that c says nothing new of e.
func (e *Contact) same(c *Contact) bool {
	return e.Target.Flow == c.Target.Flow && e.Target.Q == c.Target.Q && e.RegID == c.RegID &&
		e.Target.Agent == c.Target.Agent && sameSpot(e.Target.Spot, c.Target.Spot) && slices.Equal(e.Target.Route, c.Target.Route) && e.Can.Equal(c.Can)
}

// Repeats says that r has been obeyed before and changes nothing: its answer got lost.
func (h *Home) Repeats(now time.Time, r *Register) bool {
	if !h.told() || h.now != nil && h.now.stage >= publishing { // nothing has been said about it yet
		return false
	}
	var here []Contact
	for _, p := range h.At {
		if p.Office == h.Office.Here.Office {
			here = append(here, p.Contacts...)
		}
	}
	return h.Office.repeats(now, here, r)
}

// Restore gives every binding one more interval, after a restart (DESIGN 8).
func (h *Home) Restore(now time.Time, out []Action) []Action {
	for i := range h.At {
		for j := range h.At[i].Contacts {
			c := &h.At[i].Contacts[j]
			c.Until = now.Add(c.Grant)
		}
	}
	return h.wake(out)
}

// Step takes one event and appends what is to be done to out.
func (h Home) Step(now time.Time, ev Event, out []Action) (Home, []Action) {
	switch ev := ev.(type) {
	case Register: // c: the credentials are good (230)
		return h.register(now, &ev, out)
	case Registration: // i (170, 490)
		return h.registration(now, &ev, out)
	case Allocated: // d
		if h.now == nil || h.now.stage != allocating {
			return h, out
		}
		if ev.Why != roam.OK {
			return h.refuse(ev.Why, out)
		}
		return h.save(h.now, out)
	case Saved: // e and i end: R is told (180, 240, 490), and who was left (f: 250)
		if h.now == nil || h.now.stage != saving && h.now.stage != returning {
			return h, out
		}
		if h.now.stage == returning {
			return h.returned(now, ev.Err, out)
		}
		return h.saved(now, ev.Err, out)
	case Reported:
		return h.reported(now, ev, out)
	case Settled: // f, acknowledged
		return h.settled(now, ev, out)
	case Offline: // M12
		return h.offline(now, ev, out)
	case Recall:
		return h.recall(now, ev.To, out)
	case Due:
		return h.due(now, ev, out)
	}
	return h, out
}

// register is RFC 3261 10.3 from step 5 on.
func (h Home) register(now time.Time, r *Register, out []Action) (Home, []Action) {
	if h.refreshed(now, r) != nil || len(r.Contacts) == 0 && !r.Star {
		h.At = cloneAt(h.At)
		h.Refresh(now, r)
		return h, h.wake(append(out, Answer{Tx: r.Tx, Location: h.Location}))
	}
	adds := slices.ContainsFunc(r.Contacts, func(c Contact) bool { return c.Grant > 0 })
	if adds {
		if by, is := h.Superseded(now, r.Device, h.Office.Here.Office, r.CallID, r.Person || h.pluggedIn(r) || h.carried(r)); is {
			return h, append(out, Answer{Tx: r.Tx, Why: roam.Moved, Location: h.Location, By: by})
		}
	}
	to, d, why := h.bound(now, r)
	switch {
	case why != roam.OK:
		return h, append(out, Answer{Tx: r.Tx, Why: why, Location: h.Location})
	case d < move:
		return h.accept(now, change{tx: r.Tx, device: r.Device, to: to, drift: d == drift}, r.Away, out)
	case r.Away && h.Office.Strict:
		return h, append(out, Answer{Tx: r.Tx, Why: roam.StoreAway, Location: h.Location})
	}
	c := &change{stage: allocating, tx: r.Tx, device: r.Device, to: to, why: "registered"}
	if !adds {
		c.why = "de-registered"
		return h.save(c, out)
	}
	h.now = c
	return h, append(out, Allocate{roam.Line{User: h.User, Epoch: to.Location.Epoch, Profile: h.Profile, Targets: h.targets(&to, r.Device)}})
}

// targets is where d is reached here.
func (h *Home) targets(to *Kept, d roam.Device) (ts []roam.Target) {
	if i := to.find(d, h.Office.Here.Office); i >= 0 {
		for _, c := range to.At[i].Contacts {
			ts = append(ts, c.Target)
		}
	}
	return ts
}

// bound is what is kept after r: all of it, or a refusal.
func (h *Home) bound(now time.Time, r *Register) (to Kept, d degree, why roam.Refusal) {
	to = h.clone(now)
	if r.Star {
		return h.clear(now, to, r)
	}
	pulled, why := h.pull(&to, r)
	if why != roam.OK {
		return h.Kept, nothing, why
	}
	here := h.Office.Here
	p := Presence{Device: r.Device, Office: here.Office, Switch: cmp.Or(r.Switch, here.Switch), Registrar: here.Registrar, Epoch: r.Next}
	i := to.find(r.Device, here.Office)
	if i >= 0 {
		p.Epoch, p.Contacts = to.At[i].Epoch, to.At[i].Contacts
	}
	p.Contacts, d, why = h.Office.bind(now, p.Contacts, r)
	if d = max(d, pulled); d < move || why != roam.OK {
		if i >= 0 {
			to.At[i].Contacts = p.Contacts
		}
		return to, d, why
	}
	if len(p.Contacts) > 0 {
		h.place(now, &to, p)
		h.displace(now, &to, r, p)
	} else if i >= 0 {
		to.At = slices.Delete(to.At, i, i+1)
	}
	if to.count() > max(h.Office.contacts(), h.count()) {
		return h.Kept, nothing, roam.TooMany
	}
	h.relocate(now, &to, r.Device, r.Next)
	return to, d, roam.OK
}

// pull takes the contacts that r names away from other devices here: a URI is bound once,
// even when a phone has another name than it had before.
func (h *Home) pull(to *Kept, r *Register) (d degree, why roam.Refusal) {
	for i := range to.At {
		p := &to.At[i]
		if p.Office != h.Office.Here.Office || p.Device == r.Device {
			continue
		}
		p.Contacts = slices.DeleteFunc(p.Contacts, func(e Contact) bool {
			named := slices.ContainsFunc(r.Contacts, func(c Contact) bool { return h.Office.equal(e.Target.URI, c.Target.URI) })
			if named && e.CallID == r.CallID && r.CSeq <= e.CSeq {
				why = roam.Stale
			}
			if named {
				d = move
			}
			return named
		})
	}
	to.At = slices.DeleteFunc(to.At, func(p Presence) bool { return len(p.Contacts) == 0 })
	return d, why
}

// clear is Contact: *, which ends every binding of the user, wherever it is (10.2.2).
func (h *Home) clear(now time.Time, to Kept, r *Register) (Kept, degree, roam.Refusal) {
	for _, p := range to.At {
		for _, c := range p.Contacts {
			if c.CallID == r.CallID && r.CSeq <= c.CSeq {
				return h.Kept, nothing, roam.Stale
			}
		}
	}
	if len(to.At) == 0 {
		return to, nothing, roam.OK
	}
	h.empty(now, &to, r.Next)
	return to, move, roam.OK
}

// empty ends every presence.
func (h *Home) empty(now time.Time, to *Kept, next roam.Epoch) {
	for _, p := range to.At {
		h.leave(now, to, p, next)
	}
	to.At = nil
	h.relocate(now, to, "", next)
}

// save begins the commit of c.
func (h Home) save(c *change, out []Action) (Home, []Action) {
	c.stage = saving
	h.sign(&c.to)
	h.now = c
	return h, append(out, Save{c.to})
}

// sign has to's location signed, if that is a new one.
func (h *Home) sign(to *Kept) {
	l := &to.Location
	if l.Epoch == h.Location.Epoch || h.Office.Sign == nil {
		return
	}
	if l.Sig = ""; l.Office != "" {
		l.Sig = h.Office.Sign(h.User, l)
	}
}
