package control

import (
	"time"

	"github.com/siproam/siproam/roam"
)

// A visitor's refresh says nothing new, so it need not be asked and told: what the phone says goes home in the message that
// renews home's record, and home checks the one and does the other (140-170 in one round trip). The same is true of a phone that
// comes back where home, which was not told that it had gone (M13), still has it.

// Rest is a visit whose phone is offline, while home still has it: it was not told.
type Rest struct {
	Until time.Time `json:"until"` // then home's record ends
}

// Renews says that r can go home in one message.
func (v *Visit) Renews(now time.Time, r *Register) bool {
	if v.now != nil || v.Gone != nil || v.Owes != nil || r.Star || len(r.Contacts) == 0 {
		return false
	}
	cs, d, why := v.Office.bind(now, v.Contacts, r)
	if why != roam.OK || len(cs) == 0 || len(cs) > v.Office.contacts() {
		return false
	}
	return v.Serving() && d < move || v.Rest != nil && now.Before(v.Rest.Until)
}

// renew sends it.
func (v Visit) renew(now time.Time, ev Renew, out []Action) (Visit, []Action) {
	if !v.Renews(now, &ev.Register) {
		return v, append(out, Answer{Tx: ev.Tx, Why: roam.TooBusy})
	}
	c := visiting{stage: renewing, legal: Legal{Register: ev.Register, Silence: ev.Silence}, to: v.Stay, tx: ev.Tx}
	c.to.Contacts, c.d, _ = v.Office.bind(now, v.Contacts, &ev.Register)
	c.to.Rest = nil
	v.now = &c
	return v, append(out, Renewal{Tx: ev.Tx, Record: c.to.message(now)})
}

// renewed is home's answer to it.
func (v Visit) renewed(now time.Time, ev Renewed, out []Action) (Visit, []Action) {
	if v.now == nil || v.now.stage != renewing {
		return v, out
	}
	c := *v.now
	if v.doubt = (time.Time{}); ev.Silent || ev.Why == roam.HomeSilent {
		v.doubt = now.Add(inFlight)
	}
	switch {
	case ev.Passed:
		v.now = nil
		return v, v.wake(out)
	case ev.Silent:
		v.now = nil
		l := c.legal
		l.Card, l.Ticket, l.Profile, l.Silent = v.Home, v.Ticket, v.Profile, true
		return v.legal(now, l, out)
	case ev.Why != roam.OK:
		v.now = nil
		return v, v.wake(append(out, Answer{Tx: c.tx, Why: ev.Why}))
	}
	if ev.Ticket.Epoch != v.Ticket.Epoch { // home had lost the visit, and has it again
		c.d = move
	}
	c.to.Ticket, c.to.Proof, c.to.Profile, c.to.Location = ev.Ticket, ev.Ticket.Proof, ev.Profile, ev.Location
	if ev.Card.Office != "" {
		c.to.Home = ev.Card
	}
	c.to.cut(now, ev.Grant)
	if ev.Held {
		v.said = ev.Location.Epoch
	}
	if v.Serving() {
		return v.kept(now, c, out)
	}
	c.stage, c.recorded = allocating, true // back online
	v.now = &c
	return v, append(out, Allocate{c.to.line(&v)})
}

// line is what the softswitch is asked to serve.
func (s *Stay) line(v *Visit) roam.Line {
	return roam.Line{User: v.User, Visitor: true, Home: s.Home, Epoch: s.Ticket.Epoch, Profile: s.Profile, Targets: s.Targets()}
}
