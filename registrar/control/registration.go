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
	if c.Grant > 0 && i >= 0 && h.At[i].renews(r) {
		to := h.clone(now)
		d := to.At[i].Epoch != t.Epoch || to.At[i].Contacts[0].CallID != c.CallID || !to.At[i].Contacts[0].Can.Equal(c.Can)
		to.At[i].Epoch, to.At[i].Contacts[0] = t.Epoch, c
		return h.accept(now, change{tx: r.Tx, device: t.Device, grant: c.Grant, to: to, drift: d}, r.Away, out)
	}
	to := h.clone(now)
	if c.Grant > 0 {
		h.place(now, &to, Presence{Device: t.Device, Office: t.Office, Switch: r.Switch, Registrar: r.Registrar, Epoch: t.Epoch, Contacts: []Contact{c}})
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
