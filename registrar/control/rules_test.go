package control

import (
	"errors"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

// TestEpochGrows: a location's epoch is above the one before, whatever was drawn.
func TestEpochGrows(t *testing.T) {
	w := newWorld(t, true)
	w.home.Location = roam.Location{Epoch: 100}
	w.homeRow = w.home.Kept
	p := &phone{device: "urn:d", n: 1}
	ok(w, w.registers("north", p.request("north", time.Hour)), roam.OK)
	if got := w.home.Location.Epoch; got != 101 {
		t.Errorf("got %d, want 101", got)
	}
}

// TestLateAcknowledgement: what was acknowledged is struck out, nothing newer; a refusal is tried again later.
func TestLateAcknowledgement(t *testing.T) {
	w := newWorld(t, true)
	w.home.Owed = []Debt{{To: "west", Device: "urn:d", Epoch: 7, Until: w.now.Add(time.Hour)}}
	owed := func(ev Settled, want int) {
		t.Helper()
		h, _ := w.home.Step(w.now, ev, nil)
		if len(h.Owed) != want {
			t.Errorf("%+v: got %d debts, want %d", ev, len(h.Owed), want)
		}
	}
	owed(Settled{To: "west", Device: "urn:d", Epoch: 6}, 1)
	owed(Settled{To: "west", Device: "urn:d", Epoch: 7, Err: errors.New("lost")}, 1)
	owed(Settled{To: "west", Device: "urn:e", Epoch: 7}, 1)
	owed(Settled{To: "south", Device: "urn:d", Epoch: 7}, 1)
	owed(Settled{To: "west", Device: "urn:d", Epoch: 7}, 0)
	owed(Settled{To: "west", Device: "urn:d", Epoch: 8}, 0)
}

// TestTombstoneIsNewer: a ticket from before the device left is good for nothing.
func TestTombstoneIsNewer(t *testing.T) {
	w := newWorld(t, true)
	v := w.visit(place{"south", "urn:d"})
	v.Gone = &Gone{Epoch: 7, Until: w.now.Add(time.Hour)}
	p := &phone{device: "urn:d", n: 1}
	for epoch, want := range map[roam.Epoch]bool{6: false, 8: true} {
		_, out := v.Step(w.now, Legal{Register: p.request("south", time.Hour), Ticket: roam.Ticket{Epoch: epoch}}, nil)
		if _, begins := out[0].(Allocate); begins != want {
			t.Errorf("ticket %d: got %+v", epoch, out)
		}
	}
}

// TestOneAtOneOffice: devices: one, two phones without a name in one office: the newest wins and the other's timer does not take the user back.
func TestOneAtOneOffice(t *testing.T) {
	w := newWorld(t, false)
	a, b := &phone{n: 1}, &phone{n: 2}
	ok(w, w.registers("north", a.request("north", time.Hour)), roam.OK)
	ok(w, w.registers("north", b.request("north", time.Hour)), roam.OK)
	if got := bindings(w); got != "sip:phone2@north=3600" {
		t.Errorf("got %s, want the newer phone", got)
	}
	ok(w, w.registers("north", a.request("north", time.Hour)), roam.Moved)
	ok(w, w.registers("north", b.request("north", time.Hour)), roam.OK)
	a.restart()
	ok(w, w.registers("north", a.request("north", time.Hour)), roam.OK)
	ok(w, w.registers("north", b.request("north", time.Hour)), roam.Moved)
}

// TestOurEpochElsewhere: somebody has written another place into R under the epoch of ours, which the script keeps: home
// goes above it.
func TestOurEpochElsewhere(t *testing.T) {
	for _, strict := range []bool{false, true} {
		w := newWorld(t, true)
		w.offices["north"].Strict = strict
		p := &phone{device: "urn:d", n: 1}
		ok(w, w.registers("north", p.request("north", time.Hour)), roam.OK)
		at := w.home.Location
		forged := roam.Location{Epoch: at.Epoch, Office: "west", Switch: "sip:west"}
		_, _, s := w.stepped(Reported{Epoch: at.Epoch, Location: forged})
		if s == nil || s.Kept.Location.Epoch <= at.Epoch || s.Kept.Location.Office != "north" {
			t.Fatalf("strict %v: got %+v, want the same place above %d", strict, s, at.Epoch)
		}
		if _, r, _ := w.stepped(Saved{}); r == nil || r.Location.Epoch != s.Kept.Location.Epoch {
			t.Errorf("strict %v: got %+v, want R told", strict, r)
		}
	}
}
