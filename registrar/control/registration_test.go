package control

import (
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

// TestOvertaken: a registration message that a later one of the same visit has overtaken changes nothing, be it a shorter
// expiry or an end, and its sender is told what stands. A visited office that has started anew counts anew.
func TestOvertaken(t *testing.T) {
	w := newWorld(t, true)
	m := func(callID string, cseq uint32, grant time.Duration) Registration {
		w.tx++
		return Registration{Tx: w.tx, CallID: callID, CSeq: cseq, Switch: "sip:south", Registrar: "south",
			Ticket:  roam.Ticket{User: user, Device: "urn:d", Office: "south", Home: "north", Epoch: 5},
			Contact: Contact{Target: roam.Target{URI: "sip:token@south"}, CallID: "phone", Grant: grant}}
	}
	step := func(ev Event) (a Answer) {
		var out []Action
		for w.home, out = w.home.Step(w.now, ev, nil); len(out) > 0; out = out[1:] {
			if got, is := out[0].(Answer); is {
				a = got
			}
		}
		return a
	}
	step(m("one", 1, time.Hour))
	step(Saved{})
	for _, c := range []struct {
		what         string
		m            Registration
		grant, until time.Duration // granted; what home's record has left
	}{
		{"the first again", m("one", 1, time.Hour), time.Hour, time.Hour},
		{"a later one", m("one", 4, time.Hour), time.Hour, time.Hour},
		{"one before it, and shorter", m("one", 3, time.Minute), time.Hour, time.Hour},
		{"an end before it", m("one", 2, 0), time.Hour, time.Hour},
		{"shorter, and later", m("one", 5, time.Minute), time.Minute, time.Minute},
		{"anew", m("two", 1, time.Hour), time.Hour, time.Hour},
	} {
		a := step(c.m)
		if a.Why != roam.OK || a.Grant != c.grant {
			t.Errorf("%s: got %v for %v, want %v", c.what, a.Why, a.Grant, c.grant)
		}
		if w.home.Busy() || len(w.home.At) != 1 || w.home.At[0].Contacts[0].Until != w.now.Add(c.until) {
			t.Fatalf("%s: got %+v, want it for %v more", c.what, w.home.At, c.until)
		}
	}
	step(m("two", 2, 0))
	step(Saved{})
	if a := step(m("two", 1, time.Hour)); a.Why != roam.Stale || len(w.home.At) > 0 {
		t.Errorf("after the end: got %v, %+v", a.Why, w.home.At)
	}
}
