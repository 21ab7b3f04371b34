package edge

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
)

// one is a directory of a single user, whose phone is at a softswitch.
type one struct{ at roam.SwitchID }

const bob roam.UserID = "1002@north.example"

func (o *one) Line(u roam.UserID) (roam.Line, bool) {
	return roam.Line{User: u, Targets: []roam.Target{{URI: "sip:bob@192.0.2.2", Flow: roam.Flow{Edge: o.at}}}}, u == bob
}

func (o *one) Names(roam.UserID) []string { return nil }

func (o *one) Everybody(after roam.UserID, _ int) []roam.UserID {
	if after < bob {
		return []roam.UserID{bob}
	}
	return nil
}

// telling is a registrar that has just started, and its two softswitches. Nothing is sent: they have no URI, and the loop stands.
func telling(at roam.SwitchID) (f *Far, first, second *remote) {
	f = NewFar(FarConfig{Switches: []Process{{ID: "north/1"}, {ID: "north/2"}}, Boot: 1,
		Card: func() roam.Card { return roam.Card{} }, Provisional: func(roam.UserID) bool { return false }},
		loop.New(10, 1), nil, &metric.Set{}, zerolog.Nop())
	f.Serve(&one{at}, nil, nil)
	return f, f.switches[0], f.switches[1]
}

// TestUnheard: what a softswitch has is told to the others though it has said nothing to a registrar that has just
// started, until it has had the time to, and not when it is known to be away.
func TestUnheard(t *testing.T) {
	f, first, second := telling("north/2")
	told := func(what string, want int) {
		t.Helper()
		if got := len(f.lineFor(bob, first).Targets); got != want {
			t.Errorf("%s: got %d targets, want %d", what, got, want)
		}
	}
	f.everything(first, mark{})
	told("not heard of yet", 1)
	f.look()
	told("looked for, and it has time still", 1)
	second.heard = second.heard.Add(-awayAfter - time.Second)
	first.all = false
	f.look()
	told("silent since the start", 0)
	if !first.marked[bob] {
		t.Error("silent since the start: the other softswitch is not told")
	}
	f.everything(second, mark{})
	told("it lives", 1)
	f.down(second, "test")
	told("it is away", 0)
}

// TestOthersFirst: a softswitch that is told everything hears of a phone that has come to it after the others have, and
// that everything has been told only with it.
func TestOthersFirst(t *testing.T) {
	f, first, second := telling("north/1")
	f.everything(first, mark{})
	second.up, second.all = true, false
	second.mark(bob)
	f.push(first)
	if _, told := first.flight[bob]; told || !first.all {
		t.Errorf("before the other: got told %v, everything told %v, want neither", told, !first.all)
	}
	first.flying, first.flight, first.told.N = false, nil, 1
	f.push(second)
	f.push(first)
	if first.flying {
		t.Error("while the other is being told: got a message, want none")
	}
	second.flying, second.flight = false, nil
	f.push(first)
	if _, told := first.flight[bob]; !told || first.all {
		t.Errorf("after the other: got told %v, everything told %v, want both", told, !first.all)
	}
}
