package control

import (
	"slices"
	"time"

	"github.com/siproam/siproam/roam"
)

// registration is a visited office's word (160-170): old only against what is recorded for its
// device, or for the user under devices: one or without a name (DESIGN 6).
func (h Home) registration(now time.Time, r *Registration, out []Action) (Home, []Action) {
	t := &r.Ticket
	i := h.find(t.Device, t.Office)
	if h.old(t) {
		return h, append(out, Answer{Tx: r.Tx, Why: roam.Stale, Location: h.Location})
	}
	c := r.Contact
	c.Until, c.Target.Device = now.Add(c.Grant), t.Device
	if i >= 0 && h.At[i].after(r) { // 10.3, step 7: overtaken; who sent it is told what stands
		left := latest(h.At[i].Contacts).Sub(now)
		return h.accept(now, change{tx: r.Tx, device: t.Device, grant: max(left, 0), to: h.clone(now)}, r.Away, out)
	}
	if c.Grant > 0 && i >= 0 && h.At[i].renews(r) {
		to := h.clone(now)
		p := &to.At[i]
		d := p.Epoch != t.Epoch || p.CallID != r.CallID || p.Contacts[0].CallID != c.CallID || !p.Contacts[0].Can.Equal(c.Can)
		p.Epoch, p.CallID, p.CSeq, p.Contacts[0] = t.Epoch, r.CallID, r.CSeq, c
		return h.accept(now, change{tx: r.Tx, device: t.Device, grant: c.Grant, to: to, drift: d}, r.Away, out)
	}
	to := h.clone(now)
	if c.Grant > 0 {
		h.place(now, &to, Presence{Device: t.Device, Office: t.Office, Switch: r.Switch, Registrar: r.Registrar, Epoch: t.Epoch, CallID: r.CallID, CSeq: r.CSeq, Contacts: []Contact{c}})
	} else {
		over := Left{Device: t.Device, Office: t.Office, Epoch: t.Epoch, Until: now.Add(h.Office.remember())}
		if i < 0 { // never heard of; should the message that this takes back come yet, it is old
			known := slices.ContainsFunc(to.Left, func(l Left) bool { return l.Device == over.Device && l.Epoch == over.Epoch && l.CallID == "" })
			if over.Void = true; !known {
				to.Left = append(to.Left, over)
			}
			return h.accept(now, change{tx: r.Tx, device: t.Device, to: to, drift: !known}, r.Away, out)
		}
		h.over(now, &to, &to.At[i])
		to.At = slices.Delete(to.At, i, i+1)
		to.Left = append(to.Left, over)
	}
	if to.count() > max(h.Office.contacts(), h.count()) {
		return h, append(out, Answer{Tx: r.Tx, Why: roam.TooMany, Location: h.Location})
	}
	if r.Away && h.Office.Strict {
		return h, append(out, Answer{Tx: r.Tx, Why: roam.StoreAway, Location: h.Location})
	}
	h.relocate(now, &to, t.Device, r.Next)
	why := "registered"
	if c.Grant == 0 {
		why = "de-registered"
	}
	return h.save(&change{tx: r.Tx, device: t.Device, grant: c.Grant, to: to, why: why}, out)
}

// renews says that r is a refresh of the visit p.
func (p *Presence) renews(r *Registration) bool {
	return p.Switch == r.Switch && p.Registrar == r.Registrar && p.Epoch <= r.Ticket.Epoch &&
		len(p.Contacts) == 1 && p.Contacts[0].Target.URI == r.Contact.Target.URI
}

// after says that what is recorded came after r was sent: both are messages of one Call-ID about one visit.
func (p *Presence) after(r *Registration) bool {
	return p.CallID == r.CallID && r.CallID != "" && p.CSeq > r.CSeq && p.Epoch == r.Ticket.Epoch
}

// old says that something newer than t is recorded.
func (h *Home) old(t *roam.Ticket) bool {
	for _, p := range h.At {
		if p.Epoch > t.Epoch && (p.Device == t.Device || h.Office.ends(t.Device, t.Office, p.Device, p.Office)) {
			return true
		}
	}
	for _, l := range h.Left {
		if l.Void {
			if l.Device == t.Device && l.Office == t.Office && l.Epoch >= t.Epoch {
				return true
			}
			continue
		}
		if l.Epoch > t.Epoch && (l.Device == t.Device || !h.Office.Many) || l.Epoch == t.Epoch && l.Device == t.Device && l.CallID == "" {
			return true
		}
	}
	i := h.find(t.Device, t.Office)
	return t.Epoch <= h.Floor && (i < 0 || h.At[i].Epoch != t.Epoch)
}
