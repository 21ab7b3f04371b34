package model

import (
	"slices"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

// TestDay: devices: one, a desk phone at home (o2) and a cell phone that is carried about, for 24 hours in which each refreshes
// every minute under its own Call-ID. The user is where a person has last put him, and nobody's timer moves him; when the newer
// phone is gone, its office dead or not, the older one has the user back within one retry.
func TestDay(t *testing.T) {
	const home, south, west = 1, 2, 3
	w := newWorld(t, everywhere(policy{}))
	defer engines.Put(w.r.engine)
	desk, cell := w.users[1].phones[0], w.users[1].phones[1]
	desk.asks, cell.asks = 2*time.Minute, 2*time.Minute
	type step struct {
		at time.Duration
		to roam.OfficeID
	}
	var path []step
	began := w.now
	w.onMove = func(_ roam.UserID, to roam.OfficeID) { path = append(path, step{w.now.Sub(began), to}) }
	for _, e := range []struct {
		hour float64
		what string
		do   func()
		want []roam.OfficeID // where the user is from then on, one after the other
	}{
		{0, "the desk phone is switched on", func() { w.plug(desk, home, true, false) }, []roam.OfficeID{"o2"}},
		{1, "the cell phone in another office", func() { w.plug(cell, south, true, false) }, []roam.OfficeID{"o3"}},
		{3, "the desk phone is switched off and on", func() { w.plug(desk, home, true, false) }, []roam.OfficeID{"o2"}},
		{3.1, "so is the cell phone", func() { w.plug(cell, south, true, false) }, []roam.OfficeID{"o3"}},
		{6, "the cell phone is carried on, running", func() { w.plug(cell, west, false, false) }, []roam.OfficeID{"o4"}},
		{9, "the cell phone says bye", func() { w.bye(cell, false) }, []roam.OfficeID{"", "o2"}},
		{11, "the cell phone is switched on where it was first", func() { w.plug(cell, south, true, false) }, []roam.OfficeID{"o3"}},
		{13, "its battery is empty", func() { w.off(cell) }, []roam.OfficeID{"", "o2"}},
		{15, "the cell phone is switched on", func() { w.plug(cell, south, true, false) }, []roam.OfficeID{"o3"}},
		{16, "its office dies", func() { w.offices[south].kill(0) }, []roam.OfficeID{"", "o2"}},
		{17, "its office is back", func() { w.offices[south].start() }, []roam.OfficeID{"o3"}},
		{18, "the phone network at home fails, with no effect", func() { w.offices[home].kill(0); w.offices[home].start() }, nil},
		{19, "somebody has called with the desk phone", func() { w.register(desk, desk.grant(), true) }, []roam.OfficeID{"o2"}},
		{21, "the cell phone, running, is carried to where it never was", func() { w.plug(cell, 5, false, false) }, []roam.OfficeID{"o6"}},
		{22, "the desk phone is switched off and on", func() { w.plug(desk, home, true, false) }, []roam.OfficeID{"o2"}},
		{23, "the cell phone is carried, running, to where the call at seven in the evening ended it", func() { w.plug(cell, south, false, false) }, []roam.OfficeID{"o3"}},
		{24, "", func() {}, nil},
	} {
		w.pass(began.Add(time.Duration(e.hour * float64(time.Hour))).Sub(w.now))
		if len(path) > 0 {
			w.fail("before %s: a timer moved the user, %v", e.what, path)
		}
		e.do()
		w.pass(5 * time.Minute)
		var got []roam.OfficeID
		for i, s := range path {
			got = append(got, s.to)
			if i > 0 && path[i-1].to == "" && s.at-path[i-1].at > pause+time.Second { // nobody is nowhere for longer than one retry
				w.fail("%s: back after %v", e.what, s.at-path[i-1].at)
			}
		}
		if !slices.Equal(got, e.want) {
			w.fail("%s: the user went to %q, want %q", e.what, got, e.want)
		}
		path = nil
	}
}
