package model

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
)

// visitor is one device of somebody else's user (registrar's).
type visitor struct {
	visit  control.Visit
	turn   turn
	callID string // of its registration messages, new with each start
	cseq   uint32
}

func (o *office) newVisitor(user roam.UserID, d roam.Device) *visitor {
	o.tx++
	v := &visitor{visit: control.Visit{User: user, Device: d, Office: o.policy}, callID: fmt.Sprintf("%s.%d.%d", o.id, o.boot, o.tx)}
	o.visitors = append(o.visitors, v)
	return v
}

// visitor is user's device d here, nil for none.
func (o *office) visitor(user roam.UserID, d roam.Device) *visitor {
	for _, v := range o.visitors {
		if v.visit.User == user && v.visit.Device == d {
			return v
		}
	}
	return nil
}

// registerOther is a phone's REGISTER for a user of another office (110-150, 310-360).
func (o *office) registerOther(a *attempt, reply func(control.Answer)) {
	home := o.offices[a.phone.user.home]
	if a.device == "" { // a phone may leave its name out when it goes
		a.device = o.deviceOf(a)
	}
	r := a.register()
	v := o.visitor(a.phone.user.id, a.device)
	if v != nil && v.visit.Renews(o.now, &r) {
		r.Tx = o.hold(reply)
		o.renewals[r.Tx] = a
		o.stepVisit(v, control.Renew{Register: r, Silence: o.silence.Silence})
		return
	}
	if v != nil && v.visit.Repeats(o.now, &r) {
		reply(control.Answer{Grant: a.grant})
		return
	}
	q := control.Inquiry{User: a.phone.user.id}
	r.Tx = o.hold(reply)
	var step func(control.Event)
	step = func(ev control.Event) {
		var out []control.Action
		var legal *control.Legal
		q, out, legal = q.Step(o.now, ev, nil)
		for _, act := range out {
			switch act := act.(type) {
			case control.Answer:
				o.answer(act)
			case control.Locate:
				o.locate(a, home, func(l control.Located) { step(l) })
			case control.Query:
				ask(o, home.n, homeAfter, "identity query", func(reply func(control.Queried)) { reply(home.identify(o, a)) }, func(got control.Queried, err error) {
					if err != nil {
						got = o.known(a)
					}
					got.Silence = o.silence.Silence
					step(got)
				})
			default:
				o.fail("an inquiry does %T", act)
			}
		}
		if legal == nil || o.waits[r.Tx] == nil {
			return
		}
		v := o.visitor(legal.Ticket.User, a.device)
		if v == nil {
			v = o.newVisitor(legal.Ticket.User, a.device)
		}
		if !o.changeVisit(v, func() control.Event { legal.Away = o.away(); return *legal }) {
			o.answer(control.Answer{Tx: r.Tx, Why: roam.TooBusy})
		}
	}
	step(r)
}

// deviceOf is the device of the user that has this contact here.
func (o *office) deviceOf(a *attempt) roam.Device {
	for _, v := range o.visitors {
		if v.visit.User == a.phone.user.id && slices.ContainsFunc(v.visit.Contacts, func(c control.Contact) bool { return c.Target.URI == a.uri() }) {
			return v.visit.Device
		}
	}
	return ""
}

// locate is home's card, and the office that had the user before, if that says so itself (320-340).
func (o *office) locate(a *attempt, home *office, done func(control.Located)) {
	l := control.Located{Card: roam.Card{Office: home.id, Registrar: string(home.id), Switch: "sip:" + string(home.id)}}
	at := o.lookup(a.phone.user.id, false)
	if at.Office == "" || at.Office == home.id || at.Office == o.id {
		o.after(o, 0, "located", func() { done(l) })
		return
	}
	there := o.office(at.Office)
	ask(o, there.n, homeAfter, "card", func(reply func(bool)) {
		reply(slices.ContainsFunc(there.visitors, func(v *visitor) bool { return v.visit.User == a.phone.user.id && v.visit.Serving() }))
	}, func(has bool, err error) {
		if err == nil && has {
			l.Former = &at
		}
		done(l)
	})
}

// known is the policy for when home is silent from the start (M9 b).
func (o *office) known(a *attempt) control.Queried {
	v := o.visitor(a.phone.user.id, a.device)
	if !o.silence.known || v == nil || !v.visit.Serving() || !o.now.Before(v.visit.Ticket.Until) ||
		!slices.ContainsFunc(v.visit.Contacts, func(c control.Contact) bool { return c.Target.Flow == a.flow() }) {
		return control.Queried{Why: roam.HomeSilent}
	}
	return control.Queried{Ticket: v.visit.Ticket, Profile: v.visit.Profile, Silent: true}
}

func (o *office) changeVisit(v *visitor, ev func() control.Event) bool {
	if !v.visit.Busy() {
		o.stepVisit(v, ev())
		return true
	}
	return v.turn.wait(func() { o.stepVisit(v, ev()) })
}

func (o *office) stepVisit(v *visitor, ev control.Event) {
	was := v.visit
	var out []control.Action
	v.visit, out = v.visit.Step(o.now, ev, nil)
	if s, is := ev.(control.Superseded); is {
		o.olderNotice(&was, &v.visit, &s, out)
	}
	if l, is := ev.(control.Legal); is && !was.Busy() {
		o.olderTicket(&was, &l, out)
	}
	for _, a := range out {
		o.doVisit(v, a)
	}
	v.turn.next(v.visit.Busy)
	if v.visit.Empty() && !v.visit.Busy() && slices.Contains(o.visitors, v) {
		if v.turn.wake != nil {
			v.turn.wake.fn = nil
		}
		o.visitors = slices.DeleteFunc(o.visitors, func(x *visitor) bool { return x == v })
	}
}

// doVisit takes one action of a visit.
func (o *office) doVisit(v *visitor, a control.Action) {
	switch a := a.(type) {
	case control.Answer:
		o.answer(a)
	case control.Allocate:
		why := o.allocates(v.visit.User)
		o.after(o, 0, "allocated", func() { o.stepVisit(v, control.Allocated{Why: why}) })
	case control.Release:
		o.log("%s: releases visitor %q of %s", o.id, a.Device, a.User)
	case control.Record:
		o.record(v, a)
	case control.Renewal:
		o.renewal(v, a)
	case control.SaveVisit:
		v.turn.drift = false
		o.saveVisit(v, a.Stay, func(err error) { o.stepVisit(v, control.Saved{Err: err}) })
	case control.Drift:
		o.drifts(&v.turn, func() {
			if !v.visit.Busy() && o.visitor(v.visit.User, v.visit.Device) == v {
				o.saveVisit(v, v.visit.Stay, func(error) {})
			}
		})
	case control.Report:
		o.report(v.visit.User, a.Location, a.Why, func(now roam.Location, err error) {
			if o.policy.Strict {
				o.stepVisit(v, control.Reported{Epoch: a.Location.Epoch, Location: now, Err: err})
			}
		})
	case control.Supersede:
		o.supersede(v.visit.User, a, func(control.Settled) {})
	case control.Wake:
		o.wakeAt(&v.turn, a.At, func() { o.stepVisit(v, control.Due{}) })
	default:
		o.fail("a visit does %T", a)
	}
}

func (o *office) saveVisit(v *visitor, s control.Stay, done func(error)) {
	k := visitKey{v.visit.User, v.visit.Device}
	if s.Empty() {
		o.write(k.user, func(f *file) { delete(f.visits, k) }, done)
		return
	}
	doc, err := json.Marshal(s)
	if err != nil {
		o.fail("%v", err)
	}
	o.write(k.user, func(f *file) { f.visits[k] = doc }, done)
}

// record is the registration message (160) and home's answer (170).
func (o *office) record(v *visitor, a control.Record) {
	home := o.office(roam.OfficeID(a.At))
	m := o.message(v, a)
	o.log("%s: registration message for %q of %s by %d, %v", o.id, v.visit.Device, v.visit.User, a.Ticket.Epoch, a.Grant)
	ask(o, home.n, homeAfter, "registration message", func(reply func(control.Answer)) { home.recordVisit(m, reply) },
		func(got control.Answer, err error) {
			ev := control.Recorded{Why: got.Why, Location: got.Location, Grant: got.Grant, Held: got.Held, Confirms: a.Confirms}
			if err != nil {
				ev.Why = roam.HomeSilent
			}
			if o.stepVisit(v, ev); ev.Why == roam.OK {
				o.records(home)
			}
		})
}

// records says that home has just recorded a visit: what is owed to it is said again now (registrar's).
func (o *office) records(home *office) {
	if o.now.Sub(o.recalls[home.n]) < 5*time.Second {
		return
	}
	for _, v := range slices.Clone(o.visitors) {
		if v.visit.Home.Office == home.id && v.visit.Serving() && v.visit.Owes != nil {
			o.recalls[home.n] = o.now
			o.changeVisit(v, func() control.Event { return control.Confirm{} })
		}
	}
}

// message is the registration message for v.
func (o *office) message(v *visitor, a control.Record) control.Registration {
	v.cseq++
	return control.Registration{Ticket: a.Ticket, CallID: v.callID, CSeq: v.cseq, Switch: "sip:" + string(o.id), Registrar: string(o.id), Contact: control.Contact{
		Target: roam.Target{URI: "sip:" + string(v.visit.Device) + "@" + string(o.id), Q: 1000}, CallID: a.CallID, Grant: a.Grant.Round(time.Second)}}
}

// renewal is the refresh of a visitor in one message: home checks the phone's credentials and records.
func (o *office) renewal(v *visitor, act control.Renewal) {
	a := o.renewals[act.Tx]
	delete(o.renewals, act.Tx)
	home := o.office(roam.OfficeID(act.At))
	ask(o, home.n, homeAfter, "renewal", func(reply func(control.Renewed)) {
		q := home.identify(o, a)
		if q.Why != roam.OK {
			reply(control.Renewed{Why: q.Why})
			return
		}
		m := o.message(v, act.Record)
		m.Ticket = q.Ticket
		home.recordVisit(m, func(got control.Answer) {
			reply(control.Renewed{Why: got.Why, Ticket: q.Ticket, Profile: q.Profile, Location: got.Location, Grant: got.Grant, Held: got.Held})
		})
	}, func(got control.Renewed, err error) {
		switch {
		case err != nil:
			k := o.known(a)
			got = control.Renewed{Why: k.Why, Silent: k.Silent}
		case got.Why != roam.OK:
			o.answer(control.Answer{Tx: act.Tx, Why: got.Why})
			got = control.Renewed{Passed: true}
		}
		if o.stepVisit(v, got); got.Ticket.User != "" {
			o.records(home)
		}
	})
}

// superseded is the notice that a visitor's device is elsewhere (260, 480).
func (o *office) superseded(user roam.UserID, a control.Supersede, reply func(control.Answer)) {
	v := o.visitor(user, a.Device)
	o.log("%s: hears that %q of %s is at %q by %d", o.id, a.Device, user, a.Location.Office, a.Epoch)
	if v == nil {
		reply(control.Answer{Epoch: a.Epoch})
		return
	}
	ev := control.Superseded{Epoch: a.Epoch, Location: a.Location}
	ev.Tx = o.hold(reply)
	if !o.changeVisit(v, func() control.Event { return ev }) {
		o.answer(control.Answer{Tx: ev.Tx, Why: roam.TooBusy})
	}
}

// silent ends what a phone has here: it answers no more (M12).
func (o *office) silent(p *phone) {
	on := func(c control.Contact) bool { return c.Target.Flow == p.flowAt(o.n) }
	if s := o.subscriber(p.user.id); s != nil {
		for _, at := range slices.Clone(s.home.At) {
			if at.Office == o.id && slices.ContainsFunc(at.Contacts, on) {
				o.change(s, func() control.Event { return control.Offline{Device: at.Device, Flow: p.flowAt(o.n), Next: o.draw()} })
			}
		}
	}
	for _, v := range slices.Clone(o.visitors) {
		if v.visit.User == p.user.id && slices.ContainsFunc(v.visit.Contacts, on) {
			o.changeVisit(v, func() control.Event { return control.Offline{Device: v.visit.Device, Flow: p.flowAt(o.n)} })
		}
	}
}
