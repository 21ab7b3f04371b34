package control

import (
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

// TestRenewalUnheard: home may have recorded a renewal of which no answer came. A supersede that was on its way is not obeyed
// then, for home would keep a visit that is no more; what still stands is said again, and obeyed.
func TestRenewalUnheard(t *testing.T) {
	for name, lost := range map[string]Renewed{"silent": {Silent: true}, "refused": {Why: roam.HomeSilent}} {
		w := newWorld(t, true)
		p := &phone{device: "urn:d", n: 1}
		ok(w, w.registers("south", p.request("south", time.Hour)), roam.OK)
		v := *w.visit(place{"south", "urn:d"})
		step := func(ev Event) (out []Action) {
			v, out = v.Step(w.now, ev, nil)
			return out
		}
		step(Renew{Register: p.request("south", time.Hour)})
		if !v.Busy() {
			t.Fatalf("%s: no renewal is under way", name)
		}
		step(lost)
		for v.Busy() {
			step(Saved{})
		}
		late := Superseded{Tx: 7, Epoch: v.Ticket.Epoch + 1, Location: roam.Location{Office: "west", Epoch: v.Ticket.Epoch + 1}}
		if out := step(late); len(out) != 1 || out[0] != (Answer{Tx: 7, Why: roam.TooBusy}) || !v.Serving() {
			t.Errorf("%s: got %+v serving %v, want it said again", name, out, v.Serving())
		}
		w.now = w.now.Add(inFlight)
		if step(late); !v.Busy() {
			t.Errorf("%s: what home says again is not obeyed", name)
		}
	}
}

// TestPlaceForgives: who is back at an office that has not acknowledged that he left is not ended there by that older word.
func TestPlaceForgives(t *testing.T) {
	w := newWorld(t, true)
	to := Kept{Owed: []Debt{{To: "south", Device: "urn:d", Epoch: 6}, {To: "south", Device: "urn:d", Epoch: 9},
		{To: "south", Device: "urn:e", Epoch: 6}, {To: "west", Device: "urn:d", Epoch: 6}}}
	w.home.place(w.now, &to, Presence{Device: "urn:d", Office: "south", Registrar: "south", Epoch: 8})
	if len(to.Owed) != 3 || to.Owed[0].Epoch != 9 {
		t.Errorf("got %+v, want all but the first", to.Owed)
	}
}

// TestRefusedUnheard: the same of a phone that was checked anew and is refused because home did not answer. Home, which had lost
// the visit, may have it by the new ticket, which is above what was on its way to us.
func TestRefusedUnheard(t *testing.T) {
	w := newWorld(t, true)
	p := &phone{device: "urn:d", n: 1}
	ok(w, w.registers("south", p.request("south", time.Hour)), roam.OK)
	v := *w.visit(place{"south", "urn:d"})
	step := func(ev Event) (out []Action) {
		v, out = v.Step(w.now, ev, nil)
		return out
	}
	anew := func() {
		l := Legal{Register: p.request("south", time.Hour), Card: v.Home, Ticket: v.Ticket, Silence: Silence{Refuse: true}}
		l.Ticket.Epoch += 10
		if step(l); !v.Busy() {
			t.Fatal("nothing is under way")
		}
		step(Allocated{})
	}
	anew()
	if step(Recorded{Why: roam.HomeSilent}); v.Busy() || !v.Serving() {
		t.Fatalf("busy %v, serving %v, want the visit as it was", v.Busy(), v.Serving())
	}
	late := Superseded{Tx: 7, Epoch: v.Ticket.Epoch + 5, Location: roam.Location{Office: "west", Epoch: v.Ticket.Epoch + 5}}
	if out := step(late); len(out) != 1 || out[0] != (Answer{Tx: 7, Why: roam.TooBusy}) || !v.Serving() {
		t.Errorf("got %+v serving %v, want it said again", out, v.Serving())
	}
	anew()
	for step(Recorded{Location: roam.Location{Office: "south", Epoch: v.Ticket.Epoch + 10}}); v.Busy(); {
		step(Saved{})
	}
	late.Epoch, late.Location.Epoch = v.Ticket.Epoch+1, v.Ticket.Epoch+1
	if step(late); !v.Busy() {
		t.Error("what comes after an answer of home is not obeyed at once")
	}
}
