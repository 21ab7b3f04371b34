package control

import (
	"time"

	"github.com/siproam/siproam/roam"
)

// Inquiry is one REGISTER of somebody else's user until home has called it legal
// (110-150, 310-360). It belongs to the request: a stranger holds no user.
type Inquiry struct {
	User roam.UserID
	Left roam.Device // superseded here
	req  Register
	card roam.Card
}

// Step takes one event. The Legal it may return begins or renews a visit.
func (q Inquiry) Step(now time.Time, ev Event, out []Action) (Inquiry, []Action, *Legal) {
	switch ev := ev.(type) {
	case Register: // 110, 310
		q.req = ev
		if q.Left != "" && ev.Contact.Device == q.Left && !ev.Person {
			return q, append(out, Answer{Tx: ev.Tx, Why: roam.Moved}), nil // never relayed
		}
		return q, append(out, Locate{q.User}), nil // 120-130, 320-340
	case Located:
		if ev.Why != roam.OK {
			return q, append(out, Answer{Tx: q.req.Tx, Why: ev.Why}), nil
		}
		q.card = ev.Card
		return q, append(out, Query{q.req.Tx, q.card.Registrar}), nil // 140, 350
	case Queried: // 150, 360
		if ev.Passed {
			return q, out, nil
		}
		if ev.Why != roam.OK {
			return q, append(out, Answer{Tx: q.req.Tx, Why: ev.Why}), nil
		}
		return q, out, &Legal{q.req, q.card, ev.Ticket, ev.Profile}
	}
	return q, out, nil
}

// Visit is the visited registrar's state of one device of one visitor (h-k).
type Visit struct {
	User    roam.UserID
	Office  *Office
	Home    roam.Card
	Ticket  roam.Ticket
	Profile *roam.Profile
	Contact Contact
	Gone    *roam.Location // tombstone: where the device went, and under which epoch
	now     *visiting
}

type visiting struct {
	stage    stage
	legal    Legal
	former   string // the registrar that had the device before us (340)
	location roam.Location
}

func (v *Visit) Busy() bool { return v.now != nil }

// Serving says that the device is a visitor here now.
func (v *Visit) Serving() bool { return v.Gone == nil && v.Ticket.Epoch > 0 }

// Step takes one event and appends what is to be done to out.
func (v Visit) Step(now time.Time, ev Event, out []Action) (Visit, []Action) {
	switch ev := ev.(type) {
	case Legal: // 160, 370
		v.now = &visiting{stage: allocating, legal: ev}
		if p := ev.Card.Visitor; p != nil && p.Office != v.Office.Here.Office {
			v.now.former = p.Registrar
		}
		return v, append(out, Allocate{roam.Line{User: v.User, Visitor: true, Home: ev.Card, Epoch: ev.Ticket.Epoch, Profile: ev.Profile, Targets: []roam.Target{ev.Contact.Target}}})
	case Allocated:
		if ev.Why != roam.OK {
			return v.end(append(out, Answer{Tx: v.now.legal.Tx, Why: ev.Why}))
		}
		v.now = &visiting{stage: recording, legal: v.now.legal, former: v.now.former}
		return v, append(out, Record{v.now.legal.Card.Registrar, v.now.legal.Ticket, v.now.legal.Contact.Grant})
	case Recorded: // 170-180, 490
		if ev.Why != roam.OK {
			return v.end(append(out, Release{User: v.User, Device: v.now.legal.Ticket.Device}, Answer{Tx: v.now.legal.Tx, Why: ev.Why}))
		}
		v.now = &visiting{stage: saving, legal: v.now.legal, former: v.now.former, location: ev.Location}
		return v, append(out, Save{})
	case Saved:
		if v.now == nil || v.now.stage != saving {
			return v, out
		}
		l := v.now.legal
		if ev.Err != nil {
			return v.end(append(out, Answer{Tx: l.Tx, Why: roam.NoCapacity}))
		}
		if v.Gone != nil && v.Gone.Epoch > l.Ticket.Epoch { // superseded while we were at it
			return v.end(append(out, Release{v.User, l.Ticket.Device, *v.Gone}, Answer{Tx: l.Tx, Why: roam.Moved}))
		}
		v.Home, v.Ticket, v.Profile, v.Contact, v.Gone = l.Card, l.Ticket, l.Profile, l.Contact, nil
		v.Contact.Until = now.Add(l.Contact.Grant)
		out = append(out, Report{v.now.location}, Answer{Tx: l.Tx, Location: v.now.location, Expires: l.Contact.Grant}, Wake{v.Contact.Until}) // 190, 500
		if v.now.former != "" {
			to := v.Office.Here
			to.Epoch = l.Ticket.Epoch
			out = append(out, Supersede{v.now.former, l.Ticket.Device, l.Ticket.Epoch, to}) // 370 to G1
		}
		return v.end(out)
	case Superseded: // 250-260, 480
		if ev.Epoch <= v.Ticket.Epoch {
			return v, append(out, Answer{Tx: ev.Tx, Why: roam.Stale})
		}
		if v.Gone == nil || v.Gone.Epoch < ev.Epoch {
			g := ev.Location
			g.Epoch = ev.Epoch
			v.Gone = &g
			out = append(out, Release{v.User, v.Ticket.Device, g}, Save{})
		}
		return v, append(out, Answer{Tx: ev.Tx})
	}
	return v, out
}

func (v Visit) end(out []Action) (Visit, []Action) {
	v.now = nil
	return v, out
}
