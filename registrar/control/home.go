package control

import (
	"slices"
	"time"

	"github.com/siproam/siproam/roam"
)

// Home is the home registrar's state of one subscriber.
type Home struct {
	User    roam.UserID
	Office  *Office
	Profile *roam.Profile
	Kept
	now *change // nil when nothing is under way
}

// Office is our own office, shared by all users, and its policy.
type Office struct {
	Here roam.Location // epoch zero
	Many bool          // devices: many
}

// Kept is what is saved: one row a user, one versioned JSON value.
type Kept struct {
	Location roam.Location // what R should hold
	At       []Presence    // one per device, at most one under devices: one
	Left     []Presence    // devices superseded, until their visit would have ended
	Owed     []Debt
}

// Presence is one device at one office.
type Presence struct {
	Office            roam.OfficeID
	Switch, Registrar string
	Token             string // of a visited office
	Epoch             roam.Epoch
	Contact
}

// Debt is a supersede not acknowledged yet.
type Debt struct {
	To       string
	Device   roam.Device
	Epoch    roam.Epoch
	Location roam.Location
	Tries    int
}

type change struct {
	stage stage
	tx    uint64
	next  roam.Epoch
	p     Presence
	was   Kept // to go back to, when the disk says no

	released []roam.Device // of ours, that left
}

// Busy says that a change is under way: only its answers may come in now.
func (h *Home) Busy() bool { return h.now != nil }

// Refresh is the short way for a REGISTER that changes nothing: no allocation,
// no disk, no R. Step begins with it, so the two cannot differ.
func (h *Home) Refresh(now time.Time, c *Contact) bool {
	for i := range h.At {
		p := &h.At[i]
		if p.Office == h.Office.Here.Office && p.CallID == c.CallID && p.Target.URI == c.Target.URI &&
			p.Target.Flow == c.Target.Flow && c.CSeq > p.CSeq && c.Grant > 0 && now.Before(p.Until) && h.now == nil {
			p.CSeq, p.Grant, p.Until = c.CSeq, c.Grant, now.Add(c.Grant)
			return true
		}
	}
	return false
}

// Step takes one event and appends what is to be done to out.
func (h Home) Step(now time.Time, ev Event, out []Action) (Home, []Action) {
	h.At = slices.Clone(h.At)
	switch ev := ev.(type) {
	case Register: // c. the credentials are good
		if h.Refresh(now, &ev.Contact) {
			return h, append(out, Answer{Tx: ev.Tx, Location: h.Location, Expires: ev.Contact.Grant})
		}
		if h.left(ev.Contact.Device) && !ev.Person {
			return h, append(out, Answer{Tx: ev.Tx, Why: roam.Moved})
		}
		p := Presence{Office: h.Office.Here.Office, Switch: h.Office.Here.Switch, Registrar: h.Office.Here.Registrar, Epoch: ev.Next, Contact: ev.Contact}
		h.now = &change{stage: allocating, tx: ev.Tx, next: ev.Next, p: p, was: h.Kept}
		return h, append(out, Allocate{roam.Line{User: h.User, Profile: h.Profile, Targets: []roam.Target{ev.Contact.Target}}}) // d
	case Registration: // i
		for _, p := range append(slices.Clone(h.At), h.Left...) {
			if h.same(p.Device, ev.Ticket.Device) && p.Epoch > ev.Ticket.Epoch { // a later check won
				return h, append(out, Answer{Tx: ev.Tx, Why: roam.Stale, Location: h.Location})
			}
		}
		p := Presence{Office: ev.Ticket.Office, Switch: ev.Switch, Registrar: ev.Registrar, Token: ev.Token, Epoch: ev.Ticket.Epoch, Contact: Contact{Device: ev.Ticket.Device, Grant: ev.Grant}}
		h.now = &change{tx: ev.Tx, next: ev.Next, p: p, was: h.Kept}
		return h.move(now, out)
	case Allocated:
		if ev.Why != roam.OK {
			return h.refuse(ev.Why, out)
		}
		return h.move(now, out)
	case Saved:
		if h.now == nil {
			return h, out
		}
		if ev.Err != nil {
			h.Kept = h.now.was
			return h.refuse(roam.NoCapacity, out)
		}
		for _, d := range h.now.released {
			out = append(out, Release{h.User, d, h.Location})
		}
		h.now = &change{stage: reporting, tx: h.now.tx, next: h.now.next, p: h.now.p}
		out = append(out, Report{h.Location})
		h.Owed = slices.Clone(h.Owed)
		for i := range h.Owed { // e, f: the former office hears it
			if d := &h.Owed[i]; d.Tries == 0 {
				d.Tries = 1
				out = append(out, Supersede{d.To, d.Device, d.Epoch, d.Location})
			}
		}
		return h, out
	case Reported:
		if h.now == nil || h.now.stage != reporting {
			return h, out
		}
		if ev.Err == nil && ev.Location.Epoch > h.Location.Epoch { // our file is older than R: go above it
			h.Location.Epoch = ev.Location.Epoch + 1
			h.now = &change{stage: saving, tx: h.now.tx, next: h.Location.Epoch, p: h.now.p, was: h.Kept}
			return h, append(out, Save{})
		}
		out = append(out, Answer{Tx: h.now.tx, Location: h.Location, Expires: h.now.p.Grant}, Wake{now.Add(h.now.p.Grant)})
		h.now = nil
		return h, out
	case Settled:
		h.Owed = slices.DeleteFunc(slices.Clone(h.Owed), func(d Debt) bool {
			return ev.Err == nil && d.To == ev.To && d.Device == ev.Device && d.Epoch <= ev.Epoch
		})
		return h, out
	case Due:
		h.Owed = slices.Clone(h.Owed)
		for i := range h.Owed {
			d := &h.Owed[i]
			d.Tries++
			out = append(out, Supersede{d.To, d.Device, d.Epoch, d.Location})
		}
	}
	return h, out
}

// move puts the device where it is now, draws the location from all devices, and saves.
func (h Home) move(now time.Time, out []Action) (Home, []Action) {
	p := h.now.p
	p.Until = now.Add(p.Grant)
	var gone []Presence
	h.At = slices.DeleteFunc(slices.Clone(h.At), func(q Presence) bool {
		same := h.same(q.Device, p.Device)
		if same && (q.Office != p.Office || q.Device != p.Device) {
			gone = append(gone, q)
		}
		return same
	})
	h.At = append(h.At, p)
	h.Left = slices.DeleteFunc(slices.Clone(h.Left), func(q Presence) bool { return q.Device == p.Device })
	location := h.where()
	if location.Office != h.Location.Office || location.Switch != h.Location.Switch {
		location.Epoch, location.Since, location.Device = max(h.now.next, h.Location.Epoch+1), now, p.Device
		h.Location = location
	}
	h.Owed = slices.Clone(h.Owed)
	for _, q := range gone {
		h.Left = append(h.Left, q)
		if q.Office == h.Office.Here.Office {
			h.now.released = append(h.now.released, q.Device)
			continue
		}
		to := roam.Location{Epoch: p.Epoch, Office: p.Office, Switch: p.Switch, Registrar: p.Registrar}
		h.Owed = append(h.Owed, Debt{To: q.Registrar, Device: q.Device, Epoch: p.Epoch, Location: to})
	}
	c := *h.now
	c.stage = saving
	h.now = &c
	return h, append(out, Save{})
}

// where draws the location from the devices: none, one office, or home for several.
func (h *Home) where() roam.Location {
	at := roam.Location{}
	for i, p := range h.At {
		if i == 0 {
			at = roam.Location{Office: p.Office, Switch: p.Switch, Registrar: p.Registrar}
		} else if p.Office != at.Office {
			return h.Office.Here
		}
	}
	return at
}

// same says that one device's registration ends the other's.
func (h *Home) same(a, b roam.Device) bool {
	return a == b || a == "" || b == "" || !h.Office.Many
}

func (h *Home) left(d roam.Device) bool {
	return slices.ContainsFunc(h.Left, func(p Presence) bool { return p.Device == d })
}

func (h Home) refuse(why roam.Refusal, out []Action) (Home, []Action) {
	out = append(out, Answer{Tx: h.now.tx, Why: why})
	h.now = nil
	return h, out
}
