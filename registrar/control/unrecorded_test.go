package control

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

// TestEndOfRefused: a phone that was refused because the disk is full was recorded by home before. That its visit is over is
// owed from memory, and offered to the disk with each try, so that an office killed after its disk has room again still knows.
func TestEndOfRefused(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := &phone{device: "urn:d", n: 1}
	v := Visit{User: user, Device: p.device, Office: newWorld(t, true).offices["south"]}
	var rows []Stay // as a disk would have them
	full := true
	step := func(ev Event) (out []Action) {
		v, out = v.Step(now, ev, nil)
		if slices.Contains(out, Action(Drift{})) && !full {
			rows = append(rows, v.Stay)
		}
		return out
	}
	r := p.request("south", time.Hour)
	r.Tx, r.Contacts[0].Until = 7, now.Add(time.Hour)
	step(Legal{Register: r, Card: roam.Card{Office: "north", Registrar: "north"}, Ticket: roam.Ticket{User: user, Device: p.device, Epoch: 5}})
	step(Allocated{})
	step(Recorded{Location: roam.Location{Office: "south", Epoch: 6}})
	out := step(Saved{errors.New("disk full")})
	if !slices.Contains(out, Action(Answer{Tx: 7, Why: roam.NoCapacity})) || v.Serving() || v.Owes == nil {
		t.Fatalf("got %+v, owes %v, want a refusal and a debt", out, v.Owes)
	}
	full = false
	now = now.Add(time.Second)
	out = step(Due{})
	if !slices.ContainsFunc(out, func(a Action) bool { m, is := a.(Record); return is && m.Grant == 0 }) {
		t.Errorf("got %+v, want home to be told of the end", out)
	}
	if len(rows) != 1 || rows[0].Owes == nil {
		t.Errorf("the disk was offered %+v, want what is owed", rows)
	}
}

// TestGoodbyeRefused: a strict home that refuses a goodbye, because R does not answer, may obey it when it comes once more. So
// the visit that goes on is asked about, until home says whether it stands.
func TestGoodbyeRefused(t *testing.T) {
	for _, why := range []roam.Refusal{roam.HomeSilent, roam.StoreAway} {
		w := newWorld(t, true)
		p := &phone{device: "urn:d", n: 1}
		ok(w, w.registers("south", p.request("south", time.Hour)), roam.OK)
		w.offices["south"].Strict = true
		v := *w.visit(place{"south", "urn:d"})
		var out []Action
		v, _ = v.Step(w.now, Offline{Tx: 7, Device: "urn:d"}, nil)
		v, out = v.Step(w.now, Recorded{Why: why}, nil)
		if !slices.Contains(out, Action(Answer{Tx: 7, Why: why})) || !v.Serving() || v.Owes == nil {
			t.Errorf("%v: got %+v, serving %v, owes %v, want a refusal, the visit as it was, and home asked", why, out, v.Serving(), v.Owes)
		}
	}
}
