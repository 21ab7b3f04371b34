package model

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// longestHistory is how many events a history has at most; with the quiet at its end it is a day.
const longestHistory = 60

// history plays one history, heals, and lets everything end.
func history(t tester, policies [officesHere]policy, events []event) *world {
	w := newWorld(t, policies)
	defer engines.Put(w.r.engine)
	for _, e := range events {
		w.play(e)
	}
	w.log("all heals")
	w.heal()
	w.pass(time.Minute) // what was under way ends, or has timed out
	w.notice()
	w.refreshes()
	w.pass(settling)
	w.quiet()
	w.agree()
	for _, u := range w.users {
		for _, p := range u.phones {
			w.off(p)
		}
	}
	w.pass(25 * time.Hour)
	w.empty()
	return w
}

var (
	seeds     = flag.Uint64("model.seeds", 5, "how many seeds")
	first     = flag.Uint64("model.first", 1, "the first of them")
	histories = flag.Int("model.histories", 2000, "histories a seed")
)

// TestModel draws histories of up to 60 events; see the package for what must hold in each. Every run plays the same ones;
// scripts/soak-model plays others. A history that breaks a rule is made short, and belongs into found_test.go.
func TestModel(t *testing.T) {
	n := *histories
	if testing.Short() {
		n /= 10
	}
	for seed := *first; seed < *first+*seeds; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			set(t, "rapid.seed", fmt.Sprint(seed))
			set(t, "rapid.checks", fmt.Sprint(n))
			set(t, "rapid.nofailfile", "true")
			rapid.Check(t, func(t *rapid.T) {
				policies := rapid.SliceOfN(drawnPolicy, officesHere, officesHere).Draw(t, "policies")
				about := drawnScope.Draw(t, "about")
				events := rapid.SliceOfN(drawn, 1, longestHistory).Draw(t, "events")
				for i := range events {
					events[i] = events[i].within(about)
				}
				history(t, [officesHere]policy(policies), events)
			})
		})
	}
}

// set is flag.Set, for rapid is told by flags alone.
func set(t *testing.T, name, value string) {
	t.Helper()
	if err := flag.Set(name, value); err != nil {
		t.Fatal(err)
	}
}
