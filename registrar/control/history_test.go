package control

import (
	"fmt"
	"math/rand"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

var offices = []roam.OfficeID{"north", "south", "west"}

// TestHistories has phones do what they like in an order nobody chose. Nothing is lost: after every
// round R, home and the visited offices agree.
func TestHistories(t *testing.T) {
	for seed := int64(0); seed < histories(); seed++ {
		w := newWorld(t, seed%2 == 0)
		w.rnd = rand.New(rand.NewSource(seed))
		w.strict(seed)
		w.log("seed %d", seed)
		phones := []*phone{{device: "urn:a", n: 1}, {device: "urn:b", n: 2}, {device: "", n: 3}, {device: "mac:c", n: 4}}
		for range 6 {
			before := w.floor
			for range 1 + w.rnd.Intn(3) {
				w.act(phones[w.rnd.Intn(len(phones))])
			}
			w.run()
			w.agree()
			w.pass(time.Duration(w.rnd.Intn(400)) * time.Second)
			w.agree()
			if w.floor < before {
				w.fail("R went back from %d to %d", before, w.floor)
			}
		}
	}
}

func histories() int64 {
	if testing.Short() {
		return 1000
	}
	return 20000
}

// strict makes none, some or all of the offices strict.
func (w *world) strict(seed int64) {
	for i, o := range offices {
		w.offices[o].Strict = seed>>(1+i)&1 == 1
	}
}

// act is something one phone does.
func (w *world) act(p *phone) {
	r := p.request(offices[w.rnd.Intn(3)], 5*time.Minute)
	switch w.rnd.Intn(8) {
	case 0:
		r.Contacts[0].Grant = 0
	case 1:
		r.Contacts, r.Star = nil, true
	case 2, 3, 4:
		p.restart()
		r = p.request(offices[w.rnd.Intn(3)], 5*time.Minute)
		r.Person = w.rnd.Intn(2) == 0
	case 5:
		r.CSeq-- // a late one
	}
	w.asks(offices[w.rnd.Intn(3)], r)
}

// TestFaults is the same on a bad day: messages lost and doubled, answers lost, offices killed at
// any point, R away. When it is over every phone registers once more: all agree. Then
// the phones fall silent: nothing is left anywhere.
func TestFaults(t *testing.T) {
	for seed := int64(0); seed < histories()/2; seed++ {
		w := newWorld(t, seed%2 == 0)
		w.rnd = rand.New(rand.NewSource(seed))
		w.faults = true
		w.strict(seed)
		w.log("seed %d", seed)
		phones := []*phone{{device: "urn:a", n: 1}, {device: "urn:b", n: 2}, {device: "", n: 3}}
		for range 5 {
			w.away = w.rnd.Intn(5) == 0
			for range 1 + w.rnd.Intn(3) {
				w.act(phones[w.rnd.Intn(len(phones))])
			}
			for range w.rnd.Intn(25) { // stop somewhere in the middle
				w.step()
			}
			if w.rnd.Intn(3) == 0 {
				w.crash(offices[w.rnd.Intn(3)])
			}
			w.run()
			w.pass(time.Duration(w.rnd.Intn(400)) * time.Second)
		}
		w.faults, w.away = false, false
		for _, p := range phones {
			p.restart()
			r := p.request(offices[w.rnd.Intn(3)], time.Hour)
			r.Person = true
			o := offices[w.rnd.Intn(3)]
			if why := w.registers(o, r); why != roam.OK {
				w.fail("healed, yet %v at %s: %v", p.device, o, why)
			}
		}
		w.pass(7 * time.Minute) // what was owed is repeated or has expired
		w.sweep()
		w.agree()
		w.pass(25 * time.Hour)
		w.sweep()
		w.agree()
		if len(w.home.At) > 0 || w.r.Office != "" {
			w.fail("left over: %v, R %v", w.home.At, w.r)
		}
		for p, v := range w.visits {
			if !v.Empty() {
				w.fail("left over: %v %+v", p, v.Stay)
			}
		}
	}
}

// step delivers one event.
func (w *world) step() {
	if len(w.queue) == 0 {
		return
	}
	i := w.rnd.Intn(len(w.queue))
	d := w.queue[i]
	w.queue = append(w.queue[:i:i], w.queue[i+1:]...)
	switch {
	case d.inner && d.boot != w.boot[d.to.office]:
	case w.waits(d):
		w.queue = append(w.queue, d)
	default:
		w.feed(d)
		w.holds()
	}
}

// sweep is routesrv's: what R lost is told again.
func (w *world) sweep() {
	w.feed(delivery{to: home, ev: w.report(home, w.home.Location)})
	w.run()
}

func (w *world) at(o roam.OfficeID) {
	w.t.Helper()
	if w.r.Office != o {
		w.fail("calls go to %q, want %q", w.r.Office, o)
	}
	w.agree()
}

func ok(w *world, got, want roam.Refusal) {
	w.t.Helper()
	if got != want {
		w.fail("got %v, want %v", got, want)
	}
}

// TestMethod2 carries one phone home -> visited -> visited -> home (METHOD 2.1, 2.3, 2.2).
func TestMethod2(t *testing.T) {
	w := newWorld(t, true)
	p := &phone{device: "urn:d", n: 1}
	for _, o := range []roam.OfficeID{"north", "south", "west", "north"} {
		p.restart()
		ok(w, w.registers(o, p.request(o, time.Hour)), roam.OK)
		w.at(o)
	}
}

// TestCarriedRunning is a softphone that keeps its Call-ID from office to office and back.
func TestCarriedRunning(t *testing.T) {
	w := newWorld(t, true)
	p := &phone{device: "urn:d", n: 1}
	for range 40 {
		for _, o := range offices {
			ok(w, w.registers(o, p.request(o, time.Hour)), roam.OK)
			w.at(o)
		}
	}
}

// TestMany has two devices in two offices: home rings them both.
func TestMany(t *testing.T) {
	w := newWorld(t, true)
	cell, desk := &phone{device: "urn:cell", n: 1}, &phone{device: "urn:desk", n: 2}
	ok(w, w.registers("south", cell.request("south", time.Hour)), roam.OK)
	w.at("south")
	ok(w, w.registers("west", desk.request("west", time.Hour)), roam.OK)
	w.at("north")
	ok(w, w.registers("west", cell.request("west", time.Hour)), roam.OK)
	w.at("west")
}

// TestWithoutName has phones that do not say who they are: at one office each Contact is a binding,
// at another office it is a move.
func TestWithoutName(t *testing.T) {
	w := newWorld(t, true)
	a, b := &phone{n: 1}, &phone{n: 2}
	ok(w, w.registers("north", a.request("north", time.Hour)), roam.OK)
	ok(w, w.registers("north", b.request("north", time.Hour)), roam.OK)
	if got := w.home.count(); got != 2 {
		w.fail("got %d bindings, want 2", got)
	}
	a.restart()
	ok(w, w.registers("south", a.request("south", time.Hour)), roam.OK)
	w.at("south")
	if got := w.home.count(); got != 1 {
		w.fail("got %d bindings, want 1", got)
	}
	ok(w, w.registers("north", b.request("north", time.Hour)), roam.Moved)
	w.at("south")
}

// TestOneNoPingPong: devices: one, the newest wins, and a desk phone's timer is no person.
func TestOneNoPingPong(t *testing.T) {
	w := newWorld(t, false)
	desk, cell := &phone{device: "urn:desk", n: 1}, &phone{device: "urn:cell", n: 2}
	ok(w, w.registers("north", desk.request("north", time.Hour)), roam.OK)
	ok(w, w.registers("south", cell.request("south", time.Hour)), roam.OK)
	w.at("south")
	ok(w, w.registers("north", desk.request("north", time.Hour)), roam.Moved)
	desk.restart()
	ok(w, w.registers("north", desk.request("north", time.Hour)), roam.OK)
	w.at("north")
	ok(w, w.registers("south", cell.request("south", time.Hour)), roam.Moved)
	for range takesFromOthers - 1 { // three restarts an hour are a person, a fourth is a loop
		cell.restart()
		ok(w, w.registers("south", cell.request("south", time.Hour)), roam.OK)
		desk.restart()
		ok(w, w.registers("north", desk.request("north", time.Hour)), roam.OK)
	}
	cell.restart()
	ok(w, w.registers("south", cell.request("south", time.Hour)), roam.OK)
	desk.restart()
	ok(w, w.registers("north", desk.request("north", time.Hour)), roam.Moved)
	ok(w, w.registers("south", cell.request("south", 0)), roam.OK) // the newer one goes: at once
	ok(w, w.registers("north", desk.request("north", time.Hour)), roam.OK)
	w.at("north")
}

func TestDiskFull(t *testing.T) {
	w := newWorld(t, true)
	p := &phone{device: "urn:d", n: 1}
	ok(w, w.registers("north", p.request("north", time.Hour)), roam.OK)
	w.full = true
	if why := w.registers("south", p.request("south", time.Hour)); why == roam.OK {
		w.fail("200 without a disk")
	}
	w.at("north")
}

func TestRedisAway(t *testing.T) {
	w := newWorld(t, true)
	w.away = true
	p := &phone{device: "urn:d", n: 1}
	ok(w, w.registers("south", p.request("south", time.Hour)), roam.OK)
	w.agree()
	w.away = false
	w.sweep()
	w.at("south")
}

// TestOldBackup has home restored from an old file: it goes above what R holds.
func TestOldBackup(t *testing.T) {
	w := newWorld(t, true)
	p := &phone{device: "urn:d", n: 1}
	for i := range 5 {
		ok(w, w.registers(offices[i%2], p.request(offices[i%2], time.Hour)), roam.OK)
	}
	w.home, w.homeRow, w.clock = Home{User: user, Office: w.offices["north"]}, Kept{}, 0
	ok(w, w.registers("north", p.request("north", time.Hour)), roam.OK)
	w.at("north")
}

// TestTicketsCross has two tickets of two devices recorded in the other order: nothing is wrong with either.
func TestTicketsCross(t *testing.T) {
	w := newWorld(t, true)
	tickets := map[roam.Device]roam.Epoch{"urn:a": w.draw(), "urn:b": w.draw()}
	for i, d := range []roam.Device{"urn:b", "urn:a"} {
		tx := uint64(901 + i)
		w.send(home, Registration{Tx: tx, Ticket: roam.Ticket{User: user, Device: d, Office: "south", Epoch: tickets[d]}, Switch: "sip:south",
			Registrar: "south", Contact: Contact{Target: roam.Target{URI: fmt.Sprint("sip:", d, "@south")}, Grant: time.Hour}})
		w.run()
		ok(w, w.answers[tx].Why, roam.OK)
	}
}

// TestLateMessage: a registration message that comes after the visit has ended does not bring it back.
func TestLateMessage(t *testing.T) {
	w := newWorld(t, true)
	m := Registration{Ticket: roam.Ticket{User: user, Device: "urn:a", Office: "south", Epoch: w.draw()}, Switch: "sip:south",
		Registrar: "south", Contact: Contact{Target: roam.Target{URI: "sip:t@south"}, Grant: time.Hour}}
	for i, want := range []roam.Refusal{roam.OK, roam.OK, roam.Stale} {
		if m.Tx = uint64(901 + i); i == 1 {
			m.Contact.Grant = 0
		} else {
			m.Contact.Grant = time.Hour
		}
		w.send(home, m)
		w.run()
		ok(w, w.answers[m.Tx].Why, want)
	}
	w.at("")
}

// TestTakenBackFirst: the end of a visit overtakes the message that begins it, which is then old; the device's registration
// elsewhere is not concerned.
func TestTakenBackFirst(t *testing.T) {
	w := newWorld(t, true)
	west := Registration{Tx: 901, Ticket: roam.Ticket{User: user, Device: "urn:a", Office: "west", Epoch: w.draw()}, Switch: "sip:west",
		Registrar: "west", Contact: Contact{Target: roam.Target{URI: "sip:t@west"}, Grant: time.Hour}}
	end := Registration{Tx: 902, Ticket: roam.Ticket{User: user, Device: "urn:a", Office: "south", Epoch: w.draw()}, Switch: "sip:south",
		Registrar: "south", Contact: Contact{Target: roam.Target{URI: "sip:t@south"}}}
	late, again := end, west
	late.Tx, late.Contact.Grant, again.Tx = 903, time.Hour, 904
	for _, step := range []struct {
		m    Registration
		want roam.Refusal
	}{{west, roam.OK}, {end, roam.OK}, {late, roam.Stale}, {again, roam.OK}} {
		w.send(home, step.m)
		w.run()
		ok(w, w.answers[step.m.Tx].Why, step.want)
	}
	if got := w.home.Location.Office; got != "west" || len(w.homeRow.Left) != 1 {
		w.fail("at %s, left %v, want west and one ticket void", got, w.homeRow.Left)
	}
}

// TestHomeSilent: home called it legal and then fell silent; the visitor is served, and home hears of it later.
func TestHomeSilent(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		w := newWorld(t, true)
		at := place{"south", "urn:d"}
		v := w.visit(at)
		p := &phone{device: "urn:d", n: 1}
		r := p.request("south", time.Hour)
		r.Tx = 1
		var out []Action
		*v, _ = v.Step(w.now, Legal{Register: r, Card: roam.Card{Office: "north", Registrar: "north"}, Silence: Silence{Refuse: refuse}, Ticket: roam.Ticket{User: user, Device: "urn:d", Office: "south", Epoch: w.draw()}}, nil)
		*v, _ = v.Step(w.now, Allocated{}, nil)
		*v, out = v.Step(w.now, Recorded{Why: roam.HomeSilent}, nil)
		for _, a := range out {
			w.do(delivery{to: at}, a)
		}
		w.run()
		if v.Serving() == refuse {
			w.fail("serving %v with refuse %v", v.Serving(), refuse)
		}
		if w.pass(time.Minute); !refuse {
			w.at("south")
		}
	}
}

// TestExpiry: a phone that does not refresh goes, at home and away.
func TestExpiry(t *testing.T) {
	for _, o := range offices {
		w := newWorld(t, true)
		p := &phone{device: "urn:d", n: 1}
		ok(w, w.registers(o, p.request(o, 5*time.Minute)), roam.OK)
		w.pass(4 * time.Minute)
		w.at(o)
		ok(w, w.registers(o, p.request(o, 5*time.Minute)), roam.OK)
		w.pass(4 * time.Minute)
		w.at(o)
		w.pass(2 * time.Minute)
		w.at("")
	}
}
