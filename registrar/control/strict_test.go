package control

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

// strictWorld is three strict offices.
func strictWorld(t *testing.T) *world {
	w := newWorld(t, true)
	w.strict(14)
	return w
}

// waiting registers r at home up to its Report, which is given.
func (w *world) waiting(r Register) (at Report) {
	w.t.Helper()
	r.Tx, r.Next = 77, w.draw()
	for _, ev := range []Event{r, Allocated{}, Saved{}} {
		var out []Action
		w.home, out = w.home.Step(w.now, ev, nil)
		for _, a := range out {
			switch a := a.(type) {
			case Answer:
				w.fail("answered before R has acknowledged: %+v", a)
			case Report:
				at = a
			case Save:
				w.homeRow = a.Kept
			}
		}
	}
	return at
}

func away(r Register) Register { r.Away = true; return r }

// stepped gives ev to home: its Answer, Report and Save, if any.
func (w *world) stepped(ev Event) (a *Answer, r *Report, s *Save) {
	var out []Action
	w.home, out = w.home.Step(w.now, ev, nil)
	for _, o := range out {
		switch o := o.(type) {
		case Answer:
			a = &o
		case Report:
			r = &o
		case Save:
			s = &o
		}
	}
	return a, r, s
}

// TestStrictWaits: the answer comes with the acknowledgement of this very location, once.
func TestStrictWaits(t *testing.T) {
	w := strictWorld(t)
	p := &phone{device: "urn:d", n: 1}
	at := w.waiting(p.request("north", time.Hour)).Location
	late := roam.Location{Office: "south", Epoch: at.Epoch - 1}
	for _, ev := range []Reported{
		{Epoch: late.Epoch, Location: late},                 // the answer to an older report
		{Epoch: late.Epoch, Err: errors.New("away")},        // which failed
		{Epoch: late.Epoch, Location: roam.Location{}},      // or was answered oddly
		{Epoch: at.Epoch + 1, Err: errors.New("not asked")}, // nobody reported that
	} {
		if a, _, s := w.stepped(ev); a != nil || s != nil || !w.home.Busy() {
			t.Errorf("%+v: got %v %v, want the wait to go on", ev, a, s)
		}
	}
	if a, r, _ := w.stepped(Reported{Epoch: at.Epoch, Location: at}); a == nil || a.Why != roam.OK || !a.Changed || r != nil || w.home.Busy() {
		t.Errorf("got %+v and %+v, want the answer and no other report", a, r)
	}
	if a, r, s := w.stepped(Reported{Epoch: at.Epoch, Location: at}); a != nil || r != nil || s != nil {
		t.Errorf("acknowledged twice: got %v %v %v, want nothing", a, r, s)
	}
	r := p.request("north", time.Hour)
	if !w.home.Refresh(w.now, &r) {
		t.Error("the refresh of what R holds waits for R")
	}
}

// TestStrictRefuses: what R does not acknowledge is refused, on the disk and in memory all is as
// before, and R gets a word that is above the one it may have taken.
func TestStrictRefuses(t *testing.T) {
	phones := map[string]func(p *phone) Register{
		"another contact": func(p *phone) Register { p.n = 5; return p.request("north", time.Hour) },
		"gone":            func(p *phone) Register { return p.request("north", 0) },
		"all gone": func(p *phone) Register {
			r := p.request("north", 0)
			r.Contacts, r.Star = nil, true
			return r
		},
		"another phone": func(*phone) Register { return (&phone{device: "urn:e", n: 9}).request("north", time.Hour) },
	}
	for name, request := range phones {
		for _, first := range []bool{false, true} {
			w := strictWorld(t)
			p := &phone{device: "urn:d", n: 1}
			if !first {
				ok(w, w.registers("north", p.request("north", time.Hour)), roam.OK)
			} else if name == "gone" || name == "all gone" {
				continue
			}
			before, held := w.home.Kept, w.r
			at := w.waiting(request(p)).Location
			moves := at.Epoch != before.Location.Epoch
			a, _, s := w.stepped(Reported{Epoch: at.Epoch, Err: errors.New("no answer in time")})
			if a != nil || s == nil {
				t.Fatalf("%s: got %+v, want what was to be saved first", name, a)
			}
			a, r, _ := w.stepped(Saved{})
			if a == nil || a.Why != roam.StoreAway || a.Changed || w.home.Busy() {
				t.Errorf("%s: got %+v, want a refusal", name, a)
			}
			if !reflect.DeepEqual(w.home.At, before.At) && len(before.At)+len(w.home.At) > 0 || w.home.Location.Office != before.Location.Office {
				t.Errorf("%s: got %v, want as before %v", name, w.home.Kept, before)
			}
			if moves != (r != nil) || moves && (r.Location.Epoch <= at.Epoch || r.Location.Office != held.Office) {
				t.Errorf("%s: R is told %+v, want its old word above %d", name, r, at.Epoch)
			}
			if moves {
				again := request(p)
				if p.cseq++; w.home.Refresh(w.now, &again) || w.home.Repeats(w.now, &again) {
					t.Errorf("%s: answered from memory while R does not know", name)
				}
			}
		}
	}
}

// TestStrictAway: with R known to be away nothing is begun; refreshes go on.
func TestStrictAway(t *testing.T) {
	w := strictWorld(t)
	p := &phone{device: "urn:d", n: 1}
	ok(w, w.registers("north", p.request("north", time.Hour)), roam.OK)
	w.away = true
	before := fmt.Sprint(w.homeRow)
	ok(w, w.registers("north", p.request("north", time.Hour)), roam.OK)
	q := &phone{device: "urn:e", n: 2}
	for _, o := range offices {
		ok(w, w.registers(o, q.request(o, time.Hour)), roam.StoreAway)
	}
	if after := fmt.Sprint(w.homeRow); after != before {
		t.Errorf("got %s, want as before %s", after, before)
	}
	w.away = false
	w.agree()
}

// TestStrictRestart: after a restart nobody knows whether R heard the last move, so the first answer waits, and no other.
func TestStrictRestart(t *testing.T) {
	w := strictWorld(t)
	p := &phone{device: "urn:d", n: 1}
	w.waiting(p.request("north", time.Hour)) // on disk; killed before R has it
	w.crash("north")
	w.away = true
	ok(w, w.registers("north", p.request("north", time.Hour)), roam.StoreAway)
	w.away = false
	ok(w, w.registers("north", p.request("north", time.Hour)), roam.OK)
	w.at("north")
	r := p.request("north", time.Hour)
	if !w.home.Refresh(w.now, &r) {
		t.Error("the second refresh waits, too")
	}
}

// TestStrictAbove: R holds more than our file knows (a restored backup): home goes above it and answers
// then; a R that is always above in the end gets a refusal.
func TestStrictAbove(t *testing.T) {
	w := strictWorld(t)
	p := &phone{device: "urn:d", n: 1}
	w.r, w.floor = roam.Location{Office: "west", Epoch: 900}, 900
	ok(w, w.registers("north", p.request("north", time.Hour)), roam.OK)
	w.at("north")
	if w.floor != 901 {
		t.Errorf("got epoch %d, want 901", w.floor)
	}
	at := w.waiting((&phone{device: "urn:d", n: 1, boots: 1, cseq: 4}).request("west", time.Hour)).Location
	for range mostRounds {
		a, _, s := w.stepped(Reported{Epoch: at.Epoch, Location: roam.Location{Office: "west", Epoch: at.Epoch + 5}})
		if a != nil || s == nil {
			t.Fatalf("got %+v, want another try", a)
		}
		_, r, _ := w.stepped(Saved{})
		at = r.Location
	}
	w.stepped(Reported{Epoch: at.Epoch, Location: roam.Location{Office: "west", Epoch: at.Epoch + 5}})
	if a, _, _ := w.stepped(Saved{}); a == nil || a.Why != roam.StoreAway {
		t.Errorf("got %+v, want a refusal", a)
	}
	if w.home.Location.Epoch <= at.Epoch+5 {
		t.Errorf("got epoch %d, want above R's %d", w.home.Location.Epoch, at.Epoch+5)
	}
}

// TestStrictVisit: the visited office's answer waits for its own report, though home has reported; refused, the visit is
// no more, here and at home.
func TestStrictVisit(t *testing.T) {
	w := strictWorld(t)
	p := &phone{device: "urn:d", n: 1}
	south := place{"south", "urn:d"}
	lost := errors.New("no answer in time")
	begin := func() (a Report) {
		r := p.request("south", time.Hour)
		r.Tx = 77
		for _, ev := range []Event{
			Legal{Register: r, Card: roam.Card{Office: "north", Registrar: "north"}, Ticket: roam.Ticket{Epoch: w.draw(), Office: "south"}},
			Allocated{}, Recorded{Location: roam.Location{Office: "south", Epoch: w.draw()}}, Saved{},
		} {
			v, out := w.visit(south).Step(w.now, ev, nil)
			*w.visit(south) = v
			for _, o := range out {
				if x, is := o.(Report); is {
					a = x
				} else if x, is := o.(Answer); is {
					t.Fatalf("answered %+v before R has acknowledged", x)
				}
			}
		}
		return a
	}
	at := begin().Location
	v, out := w.visit(south).Step(w.now, Reported{Epoch: at.Epoch, Err: lost}, nil)
	if back, is := out[0].(SaveVisit); !is || back.Stay.Serving() || back.Stay.Owes == nil {
		t.Errorf("got %+v, want its end owed", out)
	}
	v, out = v.Step(w.now, Saved{}, nil)
	if a, is := out[1].(Answer); !is || a.Why != roam.StoreAway || v.Serving() || v.Busy() {
		t.Errorf("got %+v serving %v, want a refusal", out, v.Serving())
	}
	v, out = v.Step(w.now, Due{}, nil)
	if back, is := out[0].(Record); !is || back.Grant != 0 {
		t.Errorf("got %+v, want home told that it is over", out)
	}
	for _, ev := range []Event{Recorded{}, Saved{}} {
		v, _ = v.Step(w.now, ev, nil)
	}
	if !v.Empty() || v.Busy() {
		t.Errorf("got %+v, want nothing left", v.Stay)
	}
	*w.visit(south) = v

	at = begin().Location // now R answers, but first to what was reported before
	older := roam.Location{Office: "north", Epoch: at.Epoch - 1}
	for _, ev := range []Reported{{Epoch: older.Epoch, Err: lost}, {Epoch: older.Epoch, Location: older}, {Epoch: older.Epoch}, {Epoch: at.Epoch + 1, Err: lost}} {
		if v, out = w.visit(south).Step(w.now, ev, nil); len(out) > 0 || !v.Busy() || !v.Serving() {
			t.Errorf("%+v: got %+v, want the wait to go on", ev, out)
		}
		*w.visit(south) = v
	}
	v, out = w.visit(south).Step(w.now, Reported{Epoch: at.Epoch, Location: at}, nil)
	if a, is := out[0].(Answer); !is || a.Why != roam.OK || !v.Serving() {
		t.Fatalf("got %+v serving %v, want 200", out, v.Serving())
	}
	*w.visit(south) = v
	if !v.told() {
		t.Error("R has acknowledged it, and it is not known")
	}
	moved := v // home has told another location since: a refresh waits until R has it
	moved.Location.Epoch++
	r := p.request("south", time.Hour)
	if _, out = moved.Step(w.now, Legal{Register: away(r), Ticket: v.Ticket, Card: v.Home}, nil); out[0] != (Answer{Why: roam.StoreAway}) {
		t.Errorf("got %+v, want a refusal", out)
	}
	was := v.Contacts
	p.n = 2 // another contact of the same phone, which R does not acknowledge: the visit goes on with the old one
	at = begin().Location
	v, _ = w.visit(south).Step(w.now, Reported{Epoch: at.Epoch, Err: lost}, nil)
	v, out = v.Step(w.now, Saved{}, nil)
	if a, is := out[0].(Answer); !is || a.Why != roam.StoreAway || !reflect.DeepEqual(v.Contacts, was) {
		t.Errorf("got %+v with %v, want a refusal with %v", out, v.Contacts, was)
	}
}
