package control

import (
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

// TestServed: home knows for weeks who served its user when, however the stay ended, and that nobody else did.
func TestServed(t *testing.T) {
	for name, ends := range map[string]func(w *world, p *phone){
		"goodbye": func(w *world, p *phone) { ok(w, w.registers("west", p.request("west", 0)), roam.OK) },
		"expiry":  func(w *world, _ *phone) { w.pass(2 * time.Hour) },
		"went on": func(w *world, p *phone) {
			p.restart()
			ok(w, w.registers("south", p.request("south", time.Minute)), roam.OK)
		},
		"came home": func(w *world, p *phone) {
			p.restart()
			ok(w, w.registers("north", p.request("north", time.Minute)), roam.OK)
		},
	} {
		w := newWorld(t, true)
		w.clock = roam.Epoch(w.now.UnixMicro())
		p := &phone{device: "urn:d", n: 1}
		ok(w, w.registers("west", p.request("west", time.Hour)), roam.OK)
		began := w.now
		w.pass(10 * time.Minute)
		during := w.now
		served := func(o roam.OfficeID, at time.Time, want bool) {
			t.Helper()
			if got := w.home.Served(o, at); got != want {
				t.Errorf("%s: %s at %v: got %v, want %v", name, o, at.Sub(began), got, want)
			}
		}
		served("west", during, true)
		ends(w, p)
		for range 30 {
			w.pass(24 * time.Hour)
			q := &phone{device: "urn:d", n: 2} // something is written now and then
			ok(w, w.registers("north", q.request("north", time.Minute)), roam.OK)
		}
		served("west", during, true)
		served("west", began.Add(-clocksMayBe+time.Minute), true)
		served("west", began.Add(-clocksMayBe-time.Minute), false)
		served("west", began.Add(5*time.Hour), false)
		served("east", during, false)
	}
	w := newWorld(t, true) // to and fro is one stay; a great traveller is remembered for the latest
	w.clock = roam.Epoch(w.now.UnixMicro())
	for i := range 3 * mostBeen {
		for _, o := range []roam.OfficeID{"west", "south"} {
			p := &phone{device: "urn:d", n: 1, boots: 2*i + int(o[0]), cseq: uint32(i)}
			ok(w, w.registers(o, p.request(o, time.Hour)), roam.OK)
			w.pass(5 * time.Minute)
			w.clock = roam.Epoch(w.now.UnixMicro())
		}
	}
	if n := len(w.home.Been); n != 2 {
		t.Errorf("to and fro: got %v, want a stay at each", w.home.Been)
	}
}
