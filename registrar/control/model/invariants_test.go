// Package model plays eight offices, two hundred users and their phones on package control, with a net that loses,
// doubles, delays and reorders, disks that are killed between two writes or restored from an old file, and the routing
// store's own script. Time is virtual. Rapid draws the histories and makes one that breaks a rule short.
//
// The rules (METHOD 2, 3 and DESIGN 6), each with the place where it is checked:
//
//	I1   at most one current location per user; its epoch only grows          told, in worlds and R's every write
//	I2   an older epoch changes nothing, and who used it is told              older, around every Step; R.set
//	I3   what was answered 200 survives a crash of any office                 survived, at every start
//	I4   2 s after a move a call from any office reaches the phone; in a      reaches, calls
//	     split at worst one office more is asked, or it ends with 480; and
//	     never does the wrong person's phone ring
//	I8   unknown credentials are refused, known good bindings live on         refused, in every answer to a phone
//	I10  everything has an owner and an end: when every phone has expired     empty, at the end of a history
//	     no visit, debt, question, timer or location is left
//	     what all have in common once the net has healed: R, home and the     agree, after one sweep
//	     visited offices say the same, and every phone that is on is where
//	     it says it is
package model

import (
	"bytes"
	"slices"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
)

// told is I1: what anybody says of where a user is under one epoch is the same whoever says it, and home's
// own word only grows. Only the loss of a file lets home repeat an epoch, which it then goes above.
func (w *world) told(u *user, at roam.Location) {
	if at.Epoch == 0 {
		return
	}
	if was, known := u.said[at.Epoch]; known && was != at.Office {
		w.fail("I1: %s is at %q and at %q by the same epoch %d", u.id, was, at.Office, at.Epoch)
	}
	u.said[at.Epoch] = at.Office
}

// grows is I1 at home: the location is what the devices say, under an epoch above every one before.
func (w *world) grows(s *subscriber, was *control.Home) {
	h := &s.home
	if h.Location.Epoch < was.Location.Epoch {
		w.fail("I1: home of %s goes back from %d to %d", h.User, was.Location.Epoch, h.Location.Epoch)
	}
	if o := computed(h); o != h.Location.Office {
		w.fail("I1: %s is at %q, the devices say %q", h.User, h.Location.Office, o)
	}
	for i, p := range h.At {
		if len(p.Contacts) == 0 || slices.ContainsFunc(h.At[:i], func(q control.Presence) bool { return q.Device == p.Device }) || i > 0 && !h.Office.Many {
			w.fail("I1: devices of %s: %v", h.User, h.At)
		}
	}
	if len(h.Left) > 64 || len(h.Owed) > 64 {
		w.fail("I10: %s: %d left, %d owed", h.User, len(h.Left), len(h.Owed))
	}
}

// computed is where a user is by the devices: none, the one office, home for several.
func computed(h *control.Home) (at roam.OfficeID) {
	for _, p := range h.At {
		if at != "" && at != p.Office {
			return h.Office.Here.Office
		}
		at = p.Office
	}
	return at
}

// older is I2 at home: a registration message whose ticket is below what is recorded of its device
// changes nothing and is refused as such.
func (w *world) older(was, is *control.Home, r *control.Registration, out []control.Action) {
	old := slices.ContainsFunc(was.At, func(p control.Presence) bool { return p.Device == r.Ticket.Device && p.Epoch > r.Ticket.Epoch }) ||
		slices.ContainsFunc(was.Left, func(l control.Left) bool {
			return l.Device == r.Ticket.Device && l.Epoch > r.Ticket.Epoch && (!l.Void || l.Office == r.Ticket.Office)
		})
	if !old {
		return
	}
	a, answered := out[0].(control.Answer)
	if !answered || a.Why != roam.Stale || !bytes.Equal(was.AppendJSON(nil), is.AppendJSON(nil)) || is.Busy() {
		w.fail("I2: %s: ticket %d is old, yet %v", was.User, r.Ticket.Epoch, out)
	}
}

// olderTicket is I2 away: a ticket from before the device left begins no visit.
func (w *world) olderTicket(was *control.Visit, l *control.Legal, out []control.Action) {
	if was.Gone == nil || was.Gone.Epoch <= l.Ticket.Epoch {
		return
	}
	if a, answered := out[0].(control.Answer); !answered || a.Why != roam.Moved || len(out) > 1 {
		w.fail("I2: %s: ticket %d is from before %d, yet %v", was.User, l.Ticket.Epoch, was.Gone.Epoch, out)
	}
}

// olderNotice is I2 away: a supersede that is not above our own ticket changes nothing, and the answer names ours.
func (w *world) olderNotice(was, is *control.Visit, s *control.Superseded, out []control.Action) {
	at := was.Ticket.Epoch
	if was.Gone != nil {
		at = max(at, was.Gone.Epoch)
	}
	if s.Epoch > at {
		return
	}
	if a, answered := out[0].(control.Answer); !answered || a.Epoch != at || is.Busy() || is.Serving() != was.Serving() {
		w.fail("I2: %s: supersede %d is old for %d, yet %v", was.User, s.Epoch, at, out)
	}
}

// published is what others could have been told of an office when it was killed.
type published struct {
	homes  map[roam.UserID]control.Kept
	visits map[visitKey]control.Stay
	spoilt map[roam.UserID]bool
}

// survived is I3: after a start the office knows what it had answered for before. A change that was still being
// written may be there or not.
func (w *world) survived(o *office, was published) {
	for id, k := range was.homes {
		s := o.subscriber(id)
		if s == nil {
			w.fail("I3: %s: %s lost its account", o.id, id)
		}
		if was.spoilt[id] {
			continue
		}
		for _, p := range k.At {
			if !slices.ContainsFunc(s.home.At, func(q control.Presence) bool {
				return q.Device == p.Device && q.Office == p.Office && len(q.Contacts) == len(p.Contacts)
			}) {
				w.fail("I3: %s forgot that %s has %q at %s\nwas %v\nis  %v", o.id, id, p.Device, p.Office, k.At, s.home.At)
			}
		}
		for _, d := range k.Owed {
			if w.now.Before(d.Until) && !slices.ContainsFunc(s.home.Owed, func(e control.Debt) bool { return e.To == d.To && e.Device == d.Device && e.Epoch == d.Epoch }) {
				w.fail("I3: %s forgot that it owes %s a notice of %s", o.id, d.To, id)
			}
		}
		for _, l := range k.Left {
			if w.now.Before(l.Until) && !l.Void && !slices.ContainsFunc(s.home.Left, func(m control.Left) bool { return m.Device == l.Device && m.Office == l.Office && m.Epoch >= l.Epoch }) {
				w.fail("I3: %s forgot that %s left %s", o.id, id, l.Office)
			}
		}
		if s.home.Location.Epoch < k.Location.Epoch {
			w.fail("I3: %s: epoch of %s was %d, is %d", o.id, id, k.Location.Epoch, s.home.Location.Epoch)
		}
	}
	for key, stay := range was.visits {
		// What a disk that takes nothing leaves to memory alone is what is owed to home: that a visit is over which the phone was
		// refused, or whether one stands whose end was refused. No 200 was said of it, and home's record ends by itself. What has
		// been settled since may be on the disk still: it is said once more.
		if was.spoilt[key.user] || o.filled && !stay.Serving() && stay.Gone == nil {
			continue
		}
		v := o.visitor(key.user, key.device)
		if v == nil || v.visit.Serving() != stay.Serving() || (v.visit.Gone == nil) != (stay.Gone == nil) || !o.filled && v.visit.Owes == nil && stay.Owes != nil {
			w.fail("I3: %s forgot its visitor %v: %+v", o.id, key, stay)
		}
	}
}

// reaches is I4: p, which is registered, is found from every office.
func (w *world) reaches(p *phone) {
	for _, from := range w.offices {
		if c := w.call(from, p.user); !slices.Contains(c.rang, p) {
			w.fail("I4: 2 s after its 200 at %s a call from %s does not reach phone %s: %d by %v", w.offices[p.at].id, from.id, p.name, c.code, c.asked)
		}
	}
}

// called is the rest of I4: whatever is broken, nobody else's phone rings, and at most two offices more than the first are asked,
// none of them twice for the same reason.
func (w *world) called(u *user, c *call) {
	for _, p := range c.rang {
		if p.user != u {
			w.fail("I4: a call for %s rang %s", u.id, p.name)
		}
	}
	if len(c.asked) > 3 || c.deep > 2 {
		w.fail("I4: a call for %s went to %v, %d deep", u.id, c.asked, c.deep)
	}
	if len(c.rang) == 0 && c.code != 480 && c.code != 404 {
		w.fail("I4: a call for %s ends with %d", u.id, c.code)
	}
}

// refused is I8: nobody is let in whose credentials home has not called good, but by policy a phone that is here
// already, on the flow it has; and a refusal for want of something ends nothing.
func (w *world) refused(o *office, a *attempt, why roam.Refusal) {
	good := a.password == a.phone.user.password || a.password == a.passwordThen
	if why == roam.OK && a.grant > 0 && !good && !((a.served || o.serves(a.phone)) && o.silence.known) {
		w.fail("I8: %s let in %s with a wrong password", o.id, a.phone.name)
	}
	if why == roam.HomeSilent || why == roam.TooBusy || why == roam.NoCapacity || why == roam.StoreAway {
		if a.served && !o.serves(a.phone) && !o.sent(a.phone) && a.lives.After(w.now) && a.boot == o.boot && a.changes == a.phone.changes {
			w.fail("I8: %s refused a refresh of %s for want of something and ended it", o.id, a.phone.name)
		}
	}
}

// agree is what holds when nothing is broken any more and one sweep has passed.
func (w *world) agree() {
	for _, u := range w.users {
		home := w.offices[u.home]
		s := home.subscriber(u.id)
		if s == nil || u.idle() {
			continue
		}
		h := &s.home
		if r := w.r.read(u.id); r.Epoch != h.Location.Epoch || r.Office != h.Location.Office {
			w.fail("R has %v of %s, home %v", r, u.id, h.Location)
		}
		if h.Busy() || len(h.Owed) > 0 {
			w.fail("%s: busy %v, owes %v", u.id, h.Busy(), h.Owed)
		}
		for _, o := range w.offices {
			for _, v := range o.visitors {
				at := slices.ContainsFunc(h.At, func(p control.Presence) bool { return p.Office == o.id && p.Device == v.visit.Device })
				if v.visit.User == u.id && (v.visit.Serving() != at && !(o.policy.Quiet && at) || v.visit.Owes != nil || v.visit.Busy()) {
					w.fail("%s serves %q of %s: %v, home says %v; unrecorded %v", o.id, v.visit.Device, u.id, v.visit.Serving(), at, v.visit.Owes)
				}
			}
		}
		for _, p := range h.At {
			o := w.office(p.Office)
			if o.policy.Quiet || o.boot > 0 && !u.on(o) {
				continue // killed before it knew of the visit that home has recorded: that ends by itself
			}
			if o != home && (o.visitor(u.id, p.Device) == nil || !o.visitor(u.id, p.Device).visit.Serving()) {
				w.fail("home of %s has %q at %s, which does not", u.id, p.Device, p.Office)
			}
		}
		w.present(u, h)
	}
}

// present: the phones that are on are registered where they are, all of them or, under devices: one, one of them.
// Of phones without a name one office has what there is of them.
func (w *world) present(u *user, h *control.Home) {
	var on, registered []*phone
	secret := slices.ContainsFunc(h.At, func(q control.Presence) bool { return w.office(q.Office).policy.Quiet }) // that a device has gone (M13)
	for _, p := range u.phones {
		secret = secret || p.at >= 0 && p.password != u.password // what it had with the old password lives on
		if p.at < 0 || p.password != u.password {
			continue
		}
		on = append(on, p)
		if slices.ContainsFunc(h.At, func(q control.Presence) bool {
			return q.Office == w.offices[p.at].id && w.offices[p.at].serves(p) && q.Device == p.device
		}) {
			registered = append(registered, p)
		}
	}
	named := !slices.ContainsFunc(on, func(p *phone) bool { return p.device == "" || p.leased() })
	switch {
	case len(on) > 0 && len(registered) == 0 && !secret:
		w.fail("%s has phones on, none of them registered: %v", u.id, h.At)
	case h.Office.Many && named && len(registered) < len(on):
		w.fail("%s has %d phones on, %d registered: %v", u.id, len(on), len(registered), h.At)
	case !h.Office.Many && len(registered) > 1:
		w.fail("devices: one, %s has %d registered: %v", u.id, len(registered), h.At)
	}
}

// empty is I10.
func (w *world) empty() {
	for _, o := range w.offices {
		for _, s := range o.subscribers {
			if len(s.home.At) > 0 || len(s.home.Owed) > 0 || s.home.Busy() || s.home.Location.Office != "" || len(s.turn.queue) > 0 {
				w.fail("I10: left of %s at home: %+v", s.home.User, s.home.Kept)
			}
			// What an older R has of a user who has been deleted since is nobody's; it ends by itself in a week, and home refuses his calls.
			if r := w.r.read(s.home.User); r.Office != "" && !(s.removed && w.r.older) {
				w.fail("I10: R still has %s at %s", s.home.User, r.Office)
			}
		}
		for _, v := range o.visitors {
			w.fail("I10: %s still keeps %+v", o.id, v.visit.Stay)
		}
		if len(o.waits) > 0 || len(o.owing) > 0 || len(o.pending) > 0 {
			w.fail("I10: at %s %d wait, %d reports are owed, %d writes wait", o.id, len(o.waits), len(o.owing), len(o.pending))
		}
	}
	for _, d := range w.agenda {
		if !d.periodic && !d.off() && d.at.Sub(w.now) > 0 {
			w.fail("I10: a timer is left, %s in %v", d.label, d.at.Sub(w.now))
		}
	}
}

// settling is how long after everything has healed all must agree: one sweep, and a refresh of every phone.
const settling = sweepEvery + 2*time.Minute
