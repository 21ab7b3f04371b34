package control

import (
	"slices"
	"time"

	"github.com/siproam/siproam/roam"
)

// save begins the commit of c.
func (v Visit) save(c visiting, out []Action) (Visit, []Action) {
	c.stage = saving
	c.to.Version = 1
	v.now = &c
	return v, append(out, SaveVisit{c.to})
}

// saved ends a change: only now others see it.
func (v Visit) saved(now time.Time, err error, out []Action) (Visit, []Action) {
	c, was := v.now, v.Stay
	if err != nil {
		return v.unsaved(now, out)
	}
	v.Stay, v.now = c.to, nil
	if v.Office.Strict && c.tx != 0 && v.tells() && !v.told() && (c.what == begin || c.what == leave && !v.quiet()) {
		return v.publish(*c, &was, purposes[c.what], out)
	}
	return v.ended(now, c, &was, out)
}

// purposes is why, as R is told.
var purposes = [...]string{begin: "registered", leave: "de-registered", obey: "superseded"}

// ended is what follows when c is over and was is what stood before: who waits has an answer, others hear of it.
func (v Visit) ended(now time.Time, c *visiting, was *Stay, out []Action) (Visit, []Action) {
	report := c.stage != publishing && v.Owes == nil && v.tells()
	if was != nil && was.Rest != nil && was.Location.Epoch == v.Location.Epoch {
		report = false // back online, and R has had it all the time
	}
	answer := Answer{Tx: c.tx, Why: c.refused, Location: v.Location, Changed: c.refused == roam.OK && was != nil}
	switch c.what {
	case begin: // 190, 500
		if report {
			out = append(out, Report{v.Location, purposes[begin]})
		}
		out = append(out, answer)
		if f := c.legal.Former; f != nil && v.Owes == nil && answer.Changed && !v.Home.Foreign { // 370: to G1
			out = append(out, Supersede{To: f.Registrar, Device: v.Device, Epoch: v.Ticket.Epoch, Location: v.Location, Proof: v.Proof})
		}
	case leave:
		out = append(out, Release{v.User, v.Device, v.Location})
		if report && !v.quiet() {
			out = append(out, Report{v.Location, purposes[leave]})
		}
		out = append(out, answer)
	case learn:
		out = append(out, Answer{Tx: c.tx, Changed: true})
	case forget:
		if report {
			out = append(out, Report{v.Location, purposes[leave]})
		}
	case drop:
		if was.Serving() {
			out = append(out, Release{v.User, v.Device, v.Location})
		}
	case obey: // 260, 480
		out = append(out, Release{v.User, v.Device, v.Gone.Location})
		if report {
			out = append(out, Report{v.Location, purposes[obey]})
		}
		out = append(out, Answer{Tx: c.tx, Epoch: v.Gone.Epoch})
	}
	return v, v.wake(out)
}

// unsaved goes back to what the disk has.
func (v Visit) unsaved(now time.Time, out []Action) (Visit, []Action) {
	c := v.now
	switch c.what {
	case begin:
		if !v.Serving() {
			out = append(out, Release{User: v.User, Device: v.Device})
		}
		if !v.Serving() { // take back what home has recorded, from memory until the disk takes it
			v.Stay = v.takeBack(now, c.to)
			out = append(out, Drift{})
		}
	case leave, drop, forget:
		if v.Serving() && v.Owes == nil && !v.Home.Foreign && latest(v.Contacts).After(now) { // home has ended it, or may have: its word ends it here
			v.Owes, out = v.doubtful(now), append(out, Drift{})
		}
		out = append(out, Wake{now.Add(backoff(1))})
	}
	v.now = nil
	return v, v.wake(append(out, Answer{Tx: c.tx, Why: roam.NoCapacity}))
}

// tells says that R is to hear of our location.
func (v *Visit) tells() bool { return v.Location.Epoch > 0 || v.unplaced() }

func (v Visit) end(out []Action) (Visit, []Action) {
	v.now = nil
	return v, out
}

// due ends what has expired, forgets tombstones, and repeats the registration message.
func (v Visit) due(now time.Time, out []Action) (Visit, []Action) {
	if v.now != nil {
		return v, append(out, Wake{now.Add(time.Second)})
	}
	to := v.Stay
	if to.Gone != nil && !now.Before(to.Gone.Until) {
		to.Gone = nil
		return v.save(visiting{what: drop, to: to}, out)
	}
	if to.Rest != nil && !now.Before(to.Rest.Until) {
		to.Rest, to.Location = nil, roam.Location{}
		return v.save(visiting{what: forget, to: to}, out)
	}
	to.Contacts = slices.DeleteFunc(slices.Clone(to.Contacts), func(c Contact) bool { return !c.Live(now) })
	switch {
	case len(to.Contacts) == 0 && len(v.Contacts) > 0:
		return v.leave(now, visiting{to: to}, out)
	case len(to.Contacts) < len(v.Contacts):
		v.Contacts = to.Contacts
		return v, v.wake(append(out, Drift{}))
	case to.Owes != nil && !now.Before(to.Owes.Until) && len(to.Contacts) == 0: // home has ended it by itself
		to.Owes, to.Location = nil, roam.Location{}
		return v.save(visiting{what: forget, to: to}, out)
	case to.Owes != nil && !now.Before(to.Owes.Until):
		to.Contacts = nil
		return v.leave(now, visiting{to: to}, out)
	case to.Owes != nil && !now.Before(to.Owes.Next):
		return v.again(now, out)
	case v.unsure != nil && !now.Before(v.unsure.next):
		return v.confirm(now, out)
	}
	return v, v.wake(out)
}

// wake asks for the next Due.
func (v *Visit) wake(out []Action) []Action {
	if v.now != nil {
		return out
	}
	at := earliest(v.Contacts)
	if v.Gone != nil {
		at = first(at, v.Gone.Until)
	}
	if v.unsure != nil {
		at = first(at, v.unsure.next)
	}
	if v.Rest != nil {
		at = first(at, v.Rest.Until)
	}
	if v.Owes != nil {
		next := v.Owes.Next
		if v.Owes.Until.Before(next) {
			next = v.Owes.Until
		}
		if at.IsZero() || next.Before(at) {
			return append(out, Wake{next}) // a zero Next is: at once
		}
	}
	if at.IsZero() {
		return out
	}
	return append(out, Wake{at})
}
