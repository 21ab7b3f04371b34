package control

import (
	"net/netip"
	"slices"
	"time"

	"github.com/siproam/siproam/roam"
)

// Kept is what is saved of a subscriber: one row, one versioned JSON value.
type Kept struct {
	Version  int           `json:"v"`
	Location roam.Location `json:"location"` // what R should hold; computed from At, never set
	At       []Presence    `json:"at,omitempty"`
	Left     []Left        `json:"left,omitempty"`
	Owed     []Debt        `json:"owed,omitempty"`
	Takes    []Take        `json:"takes,omitempty"`
	Been     []Been        `json:"been,omitempty"`
	Floor    roam.Epoch    `json:"floor,omitempty"` // tickets up to it are old, of whom nothing else is known any more
}

// Presence is one device at one office: its bindings here, or the one contact that a visited office gave.
type Presence struct {
	Device    roam.Device   `json:"device,omitempty"`
	Office    roam.OfficeID `json:"office"`
	Switch    string        `json:"sw"`
	Registrar string        `json:"reg"`
	Epoch     roam.Epoch    `json:"epoch"`             // orders the device: of its ticket, or drawn here
	CallID    string        `json:"call_id,omitempty"` // of a visited office's registration messages, of which CSeq is the last
	CSeq      uint32        `json:"cseq,omitempty"`
	Contacts  []Contact     `json:"contacts"`
}

// Left is a device that is registered at Office no more. Tickets up to Epoch are old for as long as one lives: who was
// left cannot call him back. And its
// refreshes are refused while what superseded it lives.
type Left struct {
	Device roam.Device   `json:"device,omitempty"`
	Office roam.OfficeID `json:"office"`
	CallID string        `json:"call_id,omitempty"` // of the superseded registration; "": it ended by itself
	Epoch  roam.Epoch    `json:"epoch"`
	Void   bool          `json:"void,omitempty"` // taken back before it was heard of: only Office's own tickets are old
	Until  time.Time     `json:"until"`          // remembered until then at least, and while what ended it lives
	Net    netip.Prefix  `json:"net,omitzero"`   // the subnet it was in; zero: not here
	asked  time.Time     // its refresh was refused then; see insists
}

// Debt is a supersede not acknowledged yet.
type Debt struct {
	To      string      `json:"to"` // registrar
	Contact string      `json:"contact,omitempty"`
	Device  roam.Device `json:"device,omitempty"`
	Epoch   roam.Epoch  `json:"epoch"`
	Tries   int         `json:"tries"`
	Until   time.Time   `json:"until"` // when the visit would have ended by itself
	Next    time.Time   `json:"-"`     // after a restart: at once
}

// Take is a superseded device that took the user back because its Call-ID was new.
type Take struct {
	Device roam.Device `json:"device,omitempty"`
	At     time.Time   `json:"at"`
}

// A device may take the user back this often an hour because its Call-ID is new: from another
// device seldom, for a phone that restarts by itself is no person; from itself, being carried to and fro, more often.
const (
	takesFromOthers = 3
	takesFromItself = 30
	mostLeft        = 16
	insistAfter     = 5 * time.Second  // longer than one REGISTER and its challenge
	inFlight        = 40 * time.Second // a supersede on its way is not repeated
)

// clone copies k as deep as a step writes, without what has been forgotten.
func (k *Kept) clone(now time.Time) Kept {
	c := *k
	c.At = cloneAt(k.At)
	c.Left = slices.DeleteFunc(slices.Clone(k.Left), func(l Left) bool { return k.forgotten(now, &l) })
	if n := len(c.Left) - mostLeft; n > 0 {
		for _, l := range c.Left[:n] {
			c.Floor = max(c.Floor, l.Epoch)
		}
		c.Left = c.Left[n:]
	}
	c.Owed = slices.DeleteFunc(slices.Clone(k.Owed), func(d Debt) bool { return !now.Before(d.Until) })
	c.Takes = slices.DeleteFunc(slices.Clone(k.Takes), func(t Take) bool { return now.Sub(t.At) > time.Hour })
	return c
}

// forgotten says that l need not be remembered: its time is over, and nothing that ended it lives.
func (k *Kept) forgotten(now time.Time, l *Left) bool {
	return !now.Before(l.Until) && (l.CallID == "" || !slices.ContainsFunc(k.At, func(p Presence) bool {
		return p.live(now) && (p.Device != l.Device || p.Office != l.Office || !p.calls(l.CallID))
	}))
}

func cloneAt(at []Presence) []Presence {
	at = slices.Clone(at)
	for i := range at {
		at[i].Contacts = slices.Clone(at[i].Contacts)
	}
	return at
}

// find is the presence of d at office, or -1.
func (k *Kept) find(d roam.Device, office roam.OfficeID) int {
	return slices.IndexFunc(k.At, func(p Presence) bool { return p.Device == d && p.Office == office })
}

// count is how many bindings the user has.
func (k *Kept) count() (n int) {
	for i := range k.At {
		n += len(k.At[i].Contacts)
	}
	return n
}

// live says that one of p's bindings has not expired.
func (p *Presence) live(now time.Time) bool { return latest(p.Contacts).After(now) }

// calls says that p was registered under this Call-ID.
func (p *Presence) calls(callID string) bool {
	return slices.ContainsFunc(p.Contacts, func(c Contact) bool { return c.CallID == callID })
}

// same says that a and b may be one phone: by name, or because one of them has none. A phone known
// by its lease at one office has no name where DHCP is not ours.
func same(a, b roam.Device) bool {
	return a == b || a == "" && lease(b) || b == "" && lease(a)
}

// ends says that a registration of d at office ends the presence of e at another, or, under
// devices: one, anywhere.
func (o *Office) ends(d roam.Device, office roam.OfficeID, e roam.Device, other roam.OfficeID) bool {
	return office != other && same(d, e) || !o.Many && d != e
}

// place puts p into to, ends what p ends, and keeps the memory of it.
func (h *Home) place(now time.Time, to *Kept, p Presence) {
	at := to.At[:0] // which is a copy of to's own
	for _, q := range to.At {
		switch {
		case q.Device == p.Device && q.Office == p.Office:
			if q.Epoch != p.Epoch {
				h.over(now, to, &q)
			}
		case h.Office.ends(p.Device, p.Office, q.Device, q.Office):
			h.leave(now, to, q, p.Epoch)
		default:
			at = append(at, q)
		}
	}
	to.At = append(at, p)
	to.Owed = slices.DeleteFunc(to.Owed, func(d Debt) bool { // older than what is now: said again, it would end that
		return d.Device == p.Device && d.To == p.Registrar && d.Epoch < p.Epoch
	})
	back := false
	to.Left = slices.DeleteFunc(to.Left, func(l Left) bool {
		if l.Device != p.Device || l.Office != p.Office {
			return false
		}
		back = back || l.CallID != "" && (!p.calls(l.CallID) || !l.asked.IsZero())
		return true
	})
	if back {
		to.Takes = append(to.Takes, Take{p.Device, now})
	}
}

// displace remembers the phones without a name that p's newest has ended here, under devices: one.
func (h *Home) displace(now time.Time, to *Kept, r *Register, p Presence) {
	i := h.find(p.Device, p.Office)
	if h.Office.Many || i < 0 {
		return
	}
	for _, e := range h.At[i].Contacts {
		if e.CallID != r.CallID && !p.calls(e.CallID) {
			to.Left = append(to.Left, Left{Device: p.Device, Office: p.Office, CallID: e.CallID, Epoch: p.Epoch, Until: now.Add(h.Office.remember()), Net: subnet(e.Target.Flow)})
		}
	}
}

// leave remembers that epoch ended q, and owes its office the notice.
func (h *Home) leave(now time.Time, to *Kept, q Presence, epoch roam.Epoch) {
	for _, c := range q.Contacts {
		to.Left = append(to.Left, Left{Device: q.Device, Office: q.Office, CallID: c.CallID, Epoch: epoch, Until: now.Add(h.Office.remember()), Net: subnet(c.Target.Flow)})
	}
	h.over(now, to, &q)
	if q.Office != h.Office.Here.Office && len(q.Contacts) > 0 {
		to.Owed = append(to.Owed, Debt{To: q.Registrar, Contact: q.Contacts[0].Target.URI, Device: q.Device, Epoch: epoch, Until: latest(q.Contacts)})
	}
}

// Superseded says that a REGISTER of d at office is the refresh of a registration that another one has ended, which lives, at by:
// it is refused without a sign of a person. Such a sign is what the office saw (person), another office than it was
// ended at, or a new Call-ID, which is a restart. Of one and the same device it is also that it insists.
func (h *Home) Superseded(now time.Time, d roam.Device, office roam.OfficeID, callID string, person bool) (by roam.OfficeID, is bool) {
	limit := 0
	for i := range h.Left {
		l := &h.Left[i]
		if l.Device != d || l.Office != office || l.CallID == "" || h.forgotten(now, l) || h.hasLeft(l) {
			continue
		}
		p := h.by(now, l, callID)
		switch {
		case p == nil:
		case person || same(p.Device, d) && p.calls(callID): // the running phone itself came back
			return "", false
		case l.CallID == callID && !(p.Device == d && d != "" && l.insists(now)):
			by, is = p.Office, true
		case same(p.Device, d):
			by, limit = p.Office, max(limit, takesFromItself)
		default:
			by, limit = p.Office, max(limit, takesFromOthers)
		}
	}
	return by, is || limit > 0 && h.takes(now, d) >= limit
}

// hasLeft says that l's device has been ended elsewhere since: what it does at l's office now, it does after a move.
func (h *Home) hasLeft(l *Left) bool {
	return l.Device != "" && slices.ContainsFunc(h.Left, func(m Left) bool {
		return m.Device == l.Device && m.Office != l.Office && m.CallID != "" && m.Epoch > l.Epoch
	})
}

// pluggedIn says that somebody has plugged r's device in since a registration of it was ended here. One plug takes the user
// back once: two phones that start together do not take him from each other for as long as DHCP remembers it.
func (h *Home) pluggedIn(r *Register) bool {
	return !r.Plugged.IsZero() && !slices.ContainsFunc(h.Left, func(l Left) bool {
		return l.Device == r.Device && l.Office == h.Office.Here.Office && l.CallID != "" && int64(l.Epoch) >= r.Plugged.UnixMicro()
	})
}

// carried says that r comes from another subnet than the registration of its device that was ended here: somebody has carried the phone.
func (h *Home) carried(r *Register) bool {
	return len(r.Contacts) > 0 && slices.ContainsFunc(h.Left, func(l Left) bool {
		return l.Device == r.Device && l.Device != "" && l.Office == h.Office.Here.Office && l.Net.IsValid() && l.Net != subnet(r.Contacts[0].Target.Flow)
	})
}

// subnet is where the other end of f is, as far as a phone that moves within it is not carried anywhere: /24, or /64.
func subnet(f roam.Flow) netip.Prefix {
	at, bits := f.Remote.Addr().Unmap(), 64
	if at.Is4() {
		bits = 24
	}
	p, _ := at.WithZone("").Prefix(bits) // the zero one of no address
	return p
}

// by is what ended l and lives, seen from a REGISTER with this Call-ID; nil for nothing.
func (h *Home) by(now time.Time, l *Left, callID string) *Presence {
	for i := range h.At {
		p := &h.At[i]
		here := p.Device == l.Device && p.Office == l.Office // then it is another phone without a name
		if p.live(now) && (here && !h.Office.Many && !p.calls(callID) || h.Office.ends(p.Device, p.Office, l.Device, l.Office)) {
			return p
		}
	}
	return nil
}

// insists says that l's refresh was refused before, and not just now. A device can be at one office only, and a REGISTER that
// was late on its way comes once, so the one that comes again is where the phone is, whatever the other office was told last.
func (l *Left) insists(now time.Time) bool {
	if l.asked.IsZero() {
		l.asked = now
	}
	return now.Sub(l.asked) >= insistAfter
}

func (h *Home) takes(now time.Time, d roam.Device) (n int) {
	for _, t := range h.Takes {
		if t.Device == d && now.Sub(t.At) < time.Hour {
			n++
		}
	}
	return n
}

// Ticket is the epoch of a ticket for d at office: that of its visit while it lives, so that a
// refresh changes nothing, else next.
func (h *Home) Ticket(now time.Time, d roam.Device, office roam.OfficeID, next roam.Epoch) roam.Epoch {
	if i := h.find(d, office); i >= 0 && h.At[i].live(now) {
		return h.At[i].Epoch
	}
	return next
}

// Above is next for a new ticket or, where our clock is behind, what is above all that is known of the user, of earlier tickets
// too: what is not above a stay that is over would be refused as old, again and again.
func (h *Home) Above(next roam.Epoch) roam.Epoch {
	next = max(next, h.above+1, h.drawn+1, h.Location.Epoch+1, h.Floor+1)
	for i := range h.Left {
		next = max(next, h.Left[i].Epoch+1)
	}
	for i := range h.At {
		next = max(next, h.At[i].Epoch+1)
	}
	h.drawn = next
	return next
}

// where draws the location from the devices: none, the one office, or home for several. Of several
// softswitches there it is that of the device that came last: it lives.
func (h *Home) where(at []Presence) roam.Location {
	l := roam.Location{}
	for i := range at {
		p := &at[i]
		if i > 0 && p.Office != l.Office {
			return h.Office.Here
		}
		l = roam.Location{Office: p.Office, Switch: p.Switch, Registrar: p.Registrar}
	}
	return l
}

// relocate gives to a new location, with an epoch, when its devices say another than before.
func (h *Home) relocate(now time.Time, to *Kept, d roam.Device, next roam.Epoch) {
	l := h.where(to.At)
	if l.Office == to.Location.Office && l.Switch == to.Location.Switch {
		return
	}
	l.Epoch, l.Since, l.Device = max(next, to.Location.Epoch+1, h.above+1), now, d
	to.Location = l
}
