package routesrv

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

// witness is a rig that believes R about the dead, and asks them: answers says whether they answer.
func witness(t *testing.T, addr string, answers *atomic.Bool, asked *atomic.Int64) *rig {
	r := newRig(t, addr, "north")
	r.on(func() {
		r.Probe(func(o roam.OfficeID, uri string, done func(bool)) {
			asked.Add(1)
			r.loop.Later(func() { done(answers.Load()) })
		})
	})
	r.since.Store(time.Now().Add(-signOfLife - time.Second).UnixNano())
	return r
}

// alive is what r thinks of south now, after it has asked R anew.
func (r *rig) alive() bool {
	r.on(func() {
		if o, known := r.offices.get("south"); known {
			o.until = time.Time{}
		}
	})
	p, _ := r.peer("south")
	return p.Alive
}

// Who gives no sign of life and still answers is cut off from R, not dead; who does not answer is.
func TestNoSignOfLife(t *testing.T) {
	addr, _ := embedded(t, "127.0.0.1:0", "")
	var answers atomic.Bool
	var asked atomic.Int64
	answers.Store(true)
	r := witness(t, addr, &answers, &asked)
	var back atomic.Int64
	r.on(func() { r.OnReturn(func(roam.OfficeID) { back.Add(1) }) })
	newRig(t, addr, "south").stop() // takes its sign of life away
	r.alive()
	r.eventually("asked", func() bool { return asked.Load() > 0 })
	if !r.alive() {
		t.Error("dead, though it answers")
	}
	answers.Store(false)
	r.eventually("dead", func() bool { return !r.alive() })
	r.on(func() {
		if at := r.judge(at(1, "south")); !at.Suspect {
			t.Errorf("got %+v, want suspect", at)
		}
	})
	answers.Store(true)
	r.eventually("alive, as it answers again", r.alive)
	if back.Load() == 0 {
		t.Error("nobody was told that it is back")
	}
}

// What a call found silent is dead at once, whatever R says, and alive as soon as it answers.
func TestDoubt(t *testing.T) {
	addr, stop := embedded(t, "127.0.0.1:0", "")
	var answers atomic.Bool
	var asked atomic.Int64
	r := witness(t, addr, &answers, &asked)
	newRig(t, addr, "south")
	if !r.alive() {
		t.Fatal("south is dead, want alive")
	}
	uri := card("south").Switch
	r.on(func() { r.Doubt("south", uri) })
	if r.alive() {
		t.Error("alive, though a call found it silent")
	}
	stop() // and without R, too
	r.eventually("asked twice", func() bool { return asked.Load() >= 2 })
	if r.alive() {
		t.Error("alive, though it does not answer")
	}
	answers.Store(true)
	r.eventually("alive again", r.alive)
	r.on(func() {
		if len(r.suspects) != 0 {
			t.Errorf("%d suspects are left", len(r.suspects))
		}
	})
}

// A store that has lost our own sign of life has lost others, too: that others have none says nothing.
func TestWipedStoreIsNoWitness(t *testing.T) {
	addr, _ := embedded(t, "127.0.0.1:0", "")
	var answers atomic.Bool // false: only R's word counts
	var asked atomic.Int64
	r, c := witness(t, addr, &answers, &asked), client(t, addr)
	newRig(t, addr, "south")
	r.alive()
	r.since.Store(time.Now().Add(-signOfLife - time.Second).UnixNano())
	c.Del(t.Context(), swKey("north:1"), swKey("south:1"))
	if !r.alive() || asked.Load() != 0 {
		t.Errorf("asked %d times, want south alive and not even asked", asked.Load())
	}
	r.eventually("our sign of life is back", func() bool { return c.Exists(t.Context(), swKey("north:1")).Val() == 1 })
	if since := time.Since(time.Unix(0, r.since.Load())); since > renewEvery {
		t.Errorf("R is a witness after %v, want it to begin anew", since)
	}
}

// An answer that comes after the time for it brings back who was taken for dead, and not only the next question.
func TestLateAnswer(t *testing.T) {
	addr, _ := embedded(t, "127.0.0.1:0", "")
	r := newRig(t, addr, "north")
	newRig(t, addr, "south")
	var late func(bool)
	var asked int
	r.on(func() {
		r.Probe(func(_ roam.OfficeID, _ string, done func(bool)) {
			asked++
			late = done
			r.loop.Later(func() { done(false) })
		})
	})
	south := at(1, "south")
	r.on(func() { r.Doubt("south", south.Switch) })
	r.on(func() {
		if !r.dead(south.Switch) || asked != 1 {
			t.Fatalf("dead %v, asked %d times, want it dead", r.dead(south.Switch), asked)
		}
		late(true)
		if r.dead(south.Switch) {
			t.Error("dead, though it has answered")
		}
	})
}
