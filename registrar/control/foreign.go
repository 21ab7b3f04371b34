package control

import (
	"time"

	"github.com/siproam/siproam/roam"
)

// A foreign home is no siproam (DESIGN 6). One message to it is query and registration in one, so a Legal from there
// says that the visit is recorded, too: steps 140 to 180 are over. It issues no ticket and no epoch. The epoch is drawn by
// the location script when the visit is reported (Report with epoch 0), and what ends the visit removes the location
// with the next one, which does nothing if somebody else has drawn one meanwhile. Home is not told of a visit's end but by
// the phone itself: only the phone has credentials.

// Same says that a and b may be one phone: by name, or because one of them has none.
func Same(a, b roam.Device) bool { return same(a, b) }

// mirrored goes on where home has recorded, or where there is nobody to tell.
func (v Visit) mirrored(now time.Time, c visiting, out []Action) (Visit, []Action) {
	c.stage = recording
	v.now = &c
	ev := Recorded{Grant: c.legal.Granted, Location: v.Location}
	switch {
	case c.what == leave:
		ev.Location = v.nowhere(now)
	case !v.Serving():
		ev.Location = v.Office.Here
		ev.Location.Since, ev.Location.Device = now, v.Device
		v.former, v.left = c.legal.Former, c.legal.Left
	}
	return v.recorded(now, ev, out)
}

// nowhere is the location after the visit, zero while R has not said which epoch ours has.
func (v *Visit) nowhere(now time.Time) roam.Location {
	if v.Location.Epoch == 0 {
		return roam.Location{}
	}
	return roam.Location{Epoch: v.Location.Epoch + 1, Since: now}
}

// unplaced says that R has not drawn the epoch yet.
func (v *Visit) unplaced() bool {
	return v.Home.Foreign && v.Location.Epoch == 0 && v.Location.Office != ""
}

// quiet says that nobody is told when a visitor goes offline (M13): a foreign home is not told anyhow, and R must be.
func (v *Visit) quiet() bool { return v.Office.Quiet && !v.Home.Foreign }

// placed takes the epoch that R has drawn, and tells the office that had the device before. A visit that is over
// by then takes its location back.
func (v Visit) placed(now time.Time, ev Reported, out []Action) (Visit, Reported, []Action) {
	if ev.Epoch != 0 || ev.Err != nil || ev.Location.Office != v.Office.Here.Office {
		return v, ev, out
	}
	if !v.unplaced() {
		if v.Location.Epoch == 0 && !v.Serving() {
			out = append(out, Report{roam.Location{Epoch: ev.Location.Epoch + 1, Since: now}, purposes[leave]})
		}
		return v, ev, out
	}
	ev.Epoch = ev.Location.Epoch
	v.Stay.draw(ev.Epoch)
	if v.now != nil {
		c := *v.now
		c.to.draw(ev.Epoch)
		v.now = &c
	}
	if f := v.former; f != nil {
		out = append(out, Supersede{To: f.Registrar, Contact: v.left, Device: v.Device, Epoch: ev.Epoch, Location: v.Location})
	}
	v.former, v.left = nil, ""
	return v, ev, append(out, Drift{})
}

// draw sets the epoch of a stay that has none.
func (s *Stay) draw(e roam.Epoch) {
	if s.Location.Epoch == 0 && s.Location.Office != "" {
		s.Location.Epoch, s.Ticket.Epoch = e, e
	}
}
