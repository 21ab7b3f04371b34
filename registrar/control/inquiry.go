package control

import (
	"time"

	"github.com/siproam/siproam/roam"
)

// Inquiry is one REGISTER of somebody else's user until home has called it legal
// (METHOD 2 a, b, g: 110-150, 310-360). It belongs to the request: a stranger holds no user.
type Inquiry struct {
	User roam.UserID
	req  Register
	at   Located
}

// Step takes one event. The Legal it may return begins or renews a visit.
func (q Inquiry) Step(_ time.Time, ev Event, out []Action) (Inquiry, []Action, *Legal) {
	switch ev := ev.(type) {
	case Register: // a, b: not ours (110, 310)
		q.req = ev
		return q, append(out, Locate{q.User}), nil // g: 120-130, 320-340
	case Located:
		if ev.Why != roam.OK {
			return q, append(out, Answer{Tx: q.req.Tx, Why: ev.Why}), nil
		}
		q.at = ev
		return q, append(out, Query{q.req.Tx, ev.Card.Registrar}), nil // g: 140, 350
	case Queried: // g, answered: 150, 360
		if ev.Passed {
			return q, out, nil
		}
		if ev.Why != roam.OK {
			return q, append(out, Answer{Tx: q.req.Tx, Why: ev.Why}), nil
		}
		return q, out, &Legal{Register: q.req, Card: q.at.Card, Former: q.at.Former, Ticket: ev.Ticket, Profile: ev.Profile, Silence: ev.Silence, Silent: ev.Silent, Granted: ev.Granted, Left: q.at.Left}
	}
	return q, out, nil
}
