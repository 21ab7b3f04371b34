package control

import (
	"time"

	"github.com/siproam/siproam/roam"
)

// Confirm has a visit repeat its registration message though nothing has changed here: home, or we, have started anew,
// perhaps from an old file, and one of us may not know what the other does. Home answers as to any such
// message: it records the visit, renews it, or says that it is over.
type Confirm struct{}

func (Confirm) event() {}

// unsure is a confirmation under way. It is no change: a phone that comes meanwhile is not kept waiting.
type unsure struct {
	tries int
	next  time.Time // of the next try
	sent  bool      // the answer is awaited
}

// mostUnsure is how often home is asked: when it comes back it says so itself.
const mostUnsure = 6

// confirm repeats the registration message of a visit that lives.
func (v Visit) confirm(now time.Time, out []Action) (Visit, []Action) {
	switch {
	case v.Owes != nil: // home has not heard it anyhow: now is as good a time as any
		if !v.Owes.sent {
			o := *v.Owes
			o.Next = now
			v.Owes = &o
		}
		v.unsure = nil
		return v, v.wake(out)
	case !v.Serving():
		v.unsure = nil
		return v, v.wake(out)
	}
	u := unsure{sent: true}
	if v.unsure != nil {
		u.tries = v.unsure.tries
	}
	u.tries++
	u.next = now.Add(inFlight + v.spread(backoff(u.tries), u.tries))
	v.unsure = &u
	m := v.message(now)
	m.Confirms = true
	return v, v.wake(append(out, m))
}

// confirmed is home's answer. Only its word that the visit is over ends it: a home that cannot say, or does not
// know its own user any more, is asked again by the phone's next refresh. A change under way asks home itself.
func (v Visit) confirmed(now time.Time, ev Recorded, out []Action) (Visit, []Action) {
	u := v.unsure
	if u == nil || !u.sent {
		return v, out
	}
	v.unsure = nil
	if v.now != nil || !v.Serving() || v.Owes != nil {
		return v, out
	}
	switch {
	case ev.Why == roam.OK:
		to := v.Stay
		to.cut(now, ev.Grant)
		v.Contacts = to.Contacts
		if ev.Location.Epoch > 0 && ev.Location != v.Location {
			v.Location = ev.Location
			out = append(out, Drift{}, Report{v.Location, "confirmed"})
		}
	case ev.Why == roam.Stale || ev.Why == roam.Moved || ev.Why == roam.NoAgreement:
		return v.save(visiting{what: drop, to: Stay{Gone: v.Gone}}, out)
	case busy(ev.Why) && u.tries < mostUnsure:
		v.unsure = &unsure{tries: u.tries, next: now.Add(v.spread(backoff(u.tries), u.tries))}
	}
	return v, v.wake(out)
}

// Recall has what is owed to the registrar at to sent now: it lives again.
type Recall struct{ To string }

func (Recall) event() {}

// recall repeats the supersedes that wait for their next try.
func (h Home) recall(now time.Time, to string, out []Action) (Home, []Action) {
	return h, h.wake(h.notify(now, out, func(d *Debt) bool { return d.To == to }))
}
