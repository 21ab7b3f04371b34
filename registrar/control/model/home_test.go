package model

import (
	"errors"
	"slices"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
)

var errFull = errors.New("no space left on device")

// subscriber is one of an office's own users (registrar's).
type subscriber struct {
	home    control.Home
	turn    turn
	removed bool
	told    roam.OfficeID // where R was told last
}

func (o *office) enter(id roam.UserID) *subscriber {
	s := &subscriber{home: control.Home{User: id, Office: o.policy, Profile: &roam.Profile{Version: 1, Rev: 1}}}
	o.subscribers = append(o.subscribers, s)
	return s
}

// subscriber is the one called id, nil for none.
func (o *office) subscriber(id roam.UserID) *subscriber {
	for _, s := range o.subscribers {
		if s.home.User == id && !s.removed {
			return s
		}
	}
	return nil
}

// change gives ev to s when its turn comes (registrar's).
func (o *office) change(s *subscriber, ev func() control.Event) bool {
	if !s.home.Busy() {
		o.step(s, ev())
		return true
	}
	return s.turn.wait(func() { o.step(s, ev()) })
}

// step gives ev to the core, looks at what came of it, and does it.
func (o *office) step(s *subscriber, ev control.Event) {
	was := s.home
	if r, is := ev.(control.Register); is {
		o.shortWay(s, r)
	}
	var out []control.Action
	s.home, out = s.home.Step(o.now, ev, nil)
	o.grows(s, &was)
	if r, is := ev.(control.Registration); is {
		o.older(&was, &s.home, &r, out)
	}
	for _, a := range out {
		o.do(s, a)
	}
	s.turn.next(s.home.Busy)
}

// shortWay holds Refresh against Step.
func (o *office) shortWay(s *subscriber, r control.Register) {
	short := s.home
	short.At = slices.Clone(short.At)
	for i := range short.At {
		short.At[i].Contacts = slices.Clone(short.At[i].Contacts)
	}
	if !short.Refresh(o.now, &r) {
		return
	}
	long, out := s.home.Step(o.now, r, nil)
	if a, is := out[0].(control.Answer); !is || a.Why != roam.OK || string(long.AppendJSON(nil)) != string(short.AppendJSON(nil)) {
		o.fail("the short way says yes, the long way %v", out)
	}
}

// do takes one action of a home core.
func (o *office) do(s *subscriber, a control.Action) {
	switch a := a.(type) {
	case control.Answer:
		o.answer(a)
	case control.Allocate:
		why := o.allocates(s.home.User)
		o.after(o, 0, "allocated", func() { o.step(s, control.Allocated{Why: why}) })
	case control.Release:
		o.log("%s: releases %q of %s", o.id, a.Device, a.User)
	case control.Save:
		s.turn.drift = false
		o.saveHome(s, a.Kept, func(err error) { o.step(s, control.Saved{Err: err}) })
	case control.Drift:
		o.drifts(&s.turn, func() {
			if !s.home.Busy() && !s.removed {
				o.saveHome(s, s.home.Kept, func(error) {})
			}
		})
	case control.Report:
		if s.told != a.Location.Office {
			s.told = a.Location.Office
			o.stats.moves++
			if o.onMove != nil {
				o.onMove(s.home.User, a.Location.Office)
			}
		}
		o.report(s.home.User, a.Location, a.Why, func(now roam.Location, err error) {
			o.step(s, control.Reported{Epoch: a.Location.Epoch, Location: now, Err: err})
		})
	case control.Supersede:
		o.supersede(s.home.User, a, func(ev control.Settled) { o.step(s, ev) })
	case control.Wake:
		o.wakeAt(&s.turn, a.At, func() { o.step(s, control.Due{Next: o.draw()}) })
	default:
		o.fail("home does %T", a)
	}
}

func (o *office) allocates(roam.UserID) roam.Refusal {
	if o.crowded {
		return roam.NoCapacity
	}
	return roam.OK
}

func (o *office) saveHome(s *subscriber, k control.Kept, done func(error)) {
	id, removed := s.home.User, s.removed
	doc := k.AppendJSON(nil)
	o.write(id, func(f *file) {
		if removed {
			delete(f.homes, id)
		} else {
			f.homes[id] = doc
		}
	}, done)
}

// supersede tells another office that a device has moved; done hears how it ended.
func (o *office) supersede(user roam.UserID, a control.Supersede, done func(control.Settled)) {
	to := o.office(roam.OfficeID(a.To))
	o.stats.supersedes++
	ask(o, to.n, timerF, "supersede", func(reply func(control.Answer)) { to.superseded(user, a, reply) },
		func(got control.Answer, err error) {
			settled := control.Settled{To: a.To, Device: a.Device, Epoch: a.Epoch, Err: err}
			if err == nil && got.Why != roam.OK {
				settled.Err = got.Why
			}
			if settled.Err == nil {
				settled.Epoch = got.Epoch
			}
			done(settled)
		})
}

// register is a phone's REGISTER for a user of ours.
func (o *office) registerHome(a *attempt, reply func(control.Answer)) {
	s := o.subscriber(a.phone.user.id)
	again, why := o.authenticate(s, a)
	if why != roam.OK {
		reply(control.Answer{Why: why})
		return
	}
	r := a.register()
	if again {
		if !s.home.Repeats(o.now, &r) {
			reply(control.Answer{Why: roam.BadCredentials})
		} else {
			reply(control.Answer{Grant: a.grant})
		}
		return
	}
	if s.home.Refresh(o.now, &r) {
		reply(control.Answer{Grant: a.grant})
		return
	}
	r.Tx = o.hold(func(got control.Answer) {
		got.Grant = a.grant
		reply(got)
	})
	if !o.change(s, func() control.Event { r.Next, r.Away = o.draw(), o.away(); return r }) {
		o.answer(control.Answer{Tx: r.Tx, Why: roam.TooBusy})
	}
}

// away says that R is known not to answer (registrar's).
func (o *office) away() bool { return o.policy.Strict && !o.reached(o, theStore) }

// authenticate is home's check of a digest: it was made after our start, with the right password, and not used before.
func (o *office) authenticate(s *subscriber, a *attempt) (again bool, why roam.Refusal) {
	if s == nil {
		return false, roam.BadCredentials
	}
	if acc, known := o.disk.accounts[s.home.User]; !known || acc.password != a.password || a.sent.Before(o.booted) {
		return false, roam.BadCredentials
	}
	a.passwordThen = a.password
	k := seenKey{a.phone, a.cseq}
	again = o.seen[k]
	o.seen[k] = true
	return again, roam.OK
}

// identify is home's side of the identity query (150).
func (o *office) identify(from *office, a *attempt) control.Queried {
	s := o.subscriber(a.phone.user.id)
	again, why := o.authenticate(s, a)
	if why != roam.OK {
		return control.Queried{Why: why}
	}
	h := &s.home
	if again {
		return control.Queried{Why: roam.BadCredentials}
	}
	if _, is := h.Superseded(o.now, a.device, from.id, a.callID, a.person); is {
		return control.Queried{Why: roam.Moved}
	}
	e := h.Ticket(o.now, a.device, from.id, 0)
	if e == 0 {
		e = h.Above(o.draw())
	}
	t := roam.Ticket{User: h.User, Device: a.device, Office: from.id, Home: o.id, Epoch: e, Until: o.now.Add(2 * longest)}
	return control.Queried{Ticket: t, Profile: h.Profile}
}

// recordVisit is home's side of the registration message (170).
func (o *office) recordVisit(r control.Registration, reply func(control.Answer)) {
	s := o.subscriber(r.Ticket.User)
	if s == nil {
		reply(control.Answer{Why: roam.NotAllowed})
		return
	}
	r.Tx = o.hold(reply)
	if !o.change(s, func() control.Event { r.Next, r.Away = o.draw(), o.away(); return r }) {
		o.answer(control.Answer{Tx: r.Tx, Why: roam.TooBusy})
	}
}

// remove deletes an account and ends its registrations (registrar's).
func (o *office) remove(id roam.UserID) {
	s := o.subscriber(id)
	if s == nil || !o.up {
		return
	}
	s.removed = true
	o.change(s, func() control.Event { return control.Offline{All: true, Next: o.draw()} })
	o.write(id, func(f *file) { delete(f.homes, id); delete(f.accounts, id) }, func(error) {})
}
