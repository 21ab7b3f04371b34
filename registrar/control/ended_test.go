package control

import (
	"fmt"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

// TestEndedStaysEnded: an office that was left has its ticket for a day, and cannot call the user back with it, whatever
// has become of him since.
func TestEndedStaysEnded(t *testing.T) {
	carried := func(w *world, p *phone, o roam.OfficeID, grant time.Duration) {
		p.restart()
		ok(w, w.registers(o, p.request(o, grant)), roam.OK)
	}
	for name, since := range map[string]func(w *world, p *phone){
		"said goodbye": func(w *world, p *phone) { ok(w, w.registers("west", p.request("west", 0)), roam.OK) },
		"went on":      func(w *world, p *phone) { carried(w, p, "south", time.Hour) },
		"went on, and said goodbye": func(w *world, p *phone) {
			carried(w, p, "south", time.Hour)
			ok(w, w.registers("south", p.request("south", 0)), roam.OK)
		},
		"went home, and was forgotten": func(w *world, p *phone) { carried(w, p, "north", time.Hour) },
		"released": func(w *world, _ *phone) {
			w.send(place{office: "north"}, Offline{All: true, Next: w.draw()})
			w.run()
		},
		"many others came and went": func(w *world, p *phone) {
			carried(w, p, "south", time.Hour)
			for i := range 2 * mostLeft {
				q := &phone{device: roam.Device(fmt.Sprint("urn:q", i)), n: 10 + i}
				ok(w, w.registers("south", q.request("south", time.Hour)), roam.OK)
				ok(w, w.registers("south", q.request("south", 0)), roam.OK)
			}
		},
	} {
		for _, many := range []bool{true, false} {
			w := newWorld(t, many)
			w.offices["north"].Ticket = 24 * time.Hour
			p := &phone{device: "urn:d", n: 1}
			ok(w, w.registers("west", p.request("west", time.Hour)), roam.OK)
			w.at("west")
			ticket := w.visit(place{"west", "urn:d"}).Ticket
			since(w, p)
			for range 23 { // hours: a clone now and then forgets what it may
				w.pass(time.Hour)
				q := &phone{device: "urn:desk", n: 2}
				ok(w, w.registers("north", q.request("north", time.Minute)), roam.OK)
			}
			before := fmt.Sprint(w.home.At, w.home.Location)
			r := Registration{Tx: 9, Ticket: ticket, Switch: "sip:west", Registrar: "west", Next: w.draw(),
				Contact: Contact{Target: roam.Target{URI: "sip:token@west"}, Grant: time.Hour, CallID: "forged"}}
			if a, _, s := w.stepped(r); a == nil || a.Why != roam.Stale || s != nil {
				t.Errorf("%s, many %v: got %+v, want %v", name, many, a, roam.Stale)
			}
			if after := fmt.Sprint(w.home.At, w.home.Location); after != before {
				t.Errorf("%s, many %v: got %s, want as before %s", name, many, after, before)
			}
		}
	}
}
