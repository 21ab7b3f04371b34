package control

import (
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
)

// Contact is one binding (RFC 3261 10): a phone's Contact here or, at home, what a visited
// office gave for the device it serves.
type Contact struct {
	Target roam.Target     `json:"target"`
	RegID  uint32          `json:"reg_id,omitempty"` // RFC 5626 4.2: which flow of an instance; 0: no flow of its own
	CallID string          `json:"call_id,omitempty"`
	CSeq   uint32          `json:"cseq,omitempty"`
	Can    *roam.Abilities `json:"can,omitempty"` // of the device, as it or the office that serves it says; nil: not told
	Grant  time.Duration   `json:"grant"`         // in a Register zero means: remove it
	Until  time.Time       `json:"-"`             // never kept: after a restart a binding lives one Grant
}

// Live says that c has not expired.
func (c *Contact) Live(now time.Time) bool { return now.Before(c.Until) }

// degree is how much a REGISTER changes (DESIGN 8).
type degree uint8

const (
	nothing degree = iota
	refresh        // the expiry
	drift          // also the flow, the Call-ID, what the phone calls itself
	move           // also what is bound
)

// instance says that d is a +sip.instance: one phone, whose new Contact replaces its old one
// (RFC 5626 6). A MAC may stand for several programs of one machine.
func instance(d roam.Device) bool { return d != "" && !lease(d) }

// lease says that d is the MAC of a DHCP lease.
func lease(d roam.Device) bool { return strings.HasPrefix(string(d), "mac:") }

// bind is steps 6 and 7 of RFC 3261 10.3 on the bindings of one device: what they are after r, all
// of it or, with a refusal, nothing. old stays as it is.
func (o *Office) bind(now time.Time, old []Contact, r *Register) (next []Contact, d degree, why roam.Refusal) {
	next = append(make([]Contact, 0, len(old)+len(r.Contacts)), old...)
	touched := make([]bool, len(next), cap(next))
	for _, c := range r.Contacts {
		c.CallID, c.CSeq = r.CallID, r.CSeq
		c.Until = now.Add(c.Grant)
		i := o.find(next, &c)
		if i < 0 {
			if c.Grant > 0 {
				next, touched, d = append(next, c), append(touched, true), move
			}
			continue
		}
		e := &next[i]
		if e.CallID == r.CallID && r.CSeq <= e.CSeq && !touched[i] {
			return old, nothing, roam.Stale
		}
		if c.Grant == 0 {
			next, touched, d = slices.Delete(next, i, i+1), slices.Delete(touched, i, i+1), move
			continue
		}
		if o.equal(e.Target.URI, c.Target.URI) {
			c.Target.URI = e.Target.URI // the first spelling stays
		} else {
			d = move
		}
		d = max(d, e.differs(&c))
		next[i], touched[i] = c, true
	}
	return o.replace(next, touched, r, d)
}

// find is which of cs, the contacts of one device, c means, -1 for none. A flow is named by its reg-id, whatever
// URI it has (RFC 5626 6); a contact that was bound before the phone spoke of flows becomes one. Behind a foreign
// front its Path belongs to its name, unless the Call-ID says that it is the same phone.
func (o *Office) find(cs []Contact, c *Contact) int {
	if c.RegID != 0 {
		if i := slices.IndexFunc(cs, func(e Contact) bool { return e.RegID == c.RegID }); i >= 0 {
			return i
		}
	}
	return slices.IndexFunc(cs, func(e Contact) bool {
		return (c.RegID == 0 || e.RegID == 0) && o.equal(e.Target.URI, c.Target.URI) && (e.CallID == c.CallID || !apart(&e.Target, &c.Target))
	})
}

// apart says that proxies of others (RFC 3327) lead to a and to b by different ways: behind two of them two phones may
// have one private URI.
func apart(a, b *roam.Target) bool {
	return a.Flow.Edge == "" && b.Flow.Edge == "" && !slices.Equal(a.Route, b.Route)
}

// differs is how much c changes e, which has the same URI.
func (e *Contact) differs(c *Contact) degree {
	switch {
	case !slices.Equal(e.Target.Route, c.Target.Route) || e.Target.Q != c.Target.Q || e.RegID != c.RegID ||
		e.Target.Flow.Edge != c.Target.Flow.Edge: // another softswitch: calls go there from now on
		return move
	case e.Target.Flow != c.Target.Flow || e.CallID != c.CallID || e.Target.Agent != c.Target.Agent || !sameSpot(e.Target.Spot, c.Target.Spot) || !e.Can.Equal(c.Can):
		return drift
	}
	return refresh
}

// sameSpot says that a and b are one place.
func sameSpot(a, b *roam.Spot) bool { return a == b || a != nil && b != nil && *a == *b }

// replace drops what the request's contacts stand in for: the other contacts of the same instance
// and reg-id, and under devices: one those of other programs.
func (o *Office) replace(next []Contact, touched []bool, r *Register, d degree) ([]Contact, degree, roam.Refusal) {
	if !slices.ContainsFunc(r.Contacts, func(c Contact) bool { return c.Grant > 0 }) {
		return next, d, roam.OK
	}
	kept := next[:0] // next is a copy of bind's
	for i, e := range next {
		same := slices.ContainsFunc(r.Contacts, func(c Contact) bool { return c.Grant > 0 && c.RegID == e.RegID })
		gone := !touched[i] && (instance(r.Device) && same || !o.Many && e.CallID != r.CallID)
		if gone && e.CallID == r.CallID && r.CSeq <= e.CSeq {
			return nil, nothing, roam.Stale
		}
		if gone {
			d = move
			continue
		}
		kept = append(kept, e)
	}
	return kept, d, roam.OK
}

// repeats says that r changes nothing in cs, for it has been obeyed before: the answer got lost.
func (o *Office) repeats(now time.Time, cs []Contact, r *Register) bool {
	if r.Star {
		return len(cs) == 0
	}
	for _, c := range r.Contacts {
		i := o.find(cs, &c)
		switch {
		case c.Grant == 0 && i < 0:
		case c.Grant > 0 && i >= 0 && cs[i].CallID == r.CallID && cs[i].CSeq == r.CSeq &&
			cs[i].Target.Flow == c.Target.Flow && cs[i].Live(now):
		default:
			return false
		}
	}
	return true
}

// leaves is what ev leaves of a device's bindings.
func (ev *Offline) leaves(cs []Contact) (left []Contact) {
	for _, c := range cs {
		if ev.Flow != (roam.Flow{}) && c.Target.Flow != ev.Flow || ev.URI != "" && c.Target.URI != ev.URI {
			left = append(left, c)
		}
	}
	return left
}

// latest is when the last of cs expires.
func latest(cs []Contact) (t time.Time) {
	for i := range cs {
		if cs[i].Until.After(t) {
			t = cs[i].Until
		}
	}
	return t
}

// earliest is when the first of cs expires; zero for none.
func earliest(cs []Contact) (t time.Time) {
	for i := range cs {
		t = first(t, cs[i].Until)
	}
	return t
}

// first is the earlier of two times, of which the zero one does not count.
func first(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
