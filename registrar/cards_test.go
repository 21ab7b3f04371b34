package registrar

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

// speak gives an office attributes, as a reload does, and R its card's revision.
func (w *world) speak(o roam.OfficeID, a roam.Attributes) {
	cfg := w.offices[o].cfg
	cfg.Card.Speaks = &a
	cfg.Card.Rev = cfg.Card.Revision()
	w.on(o, func(s *Server) { s.Reload(cfg) })
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	if w.r.revs == nil {
		w.r.revs = map[roam.OfficeID]string{}
	}
	w.r.revs[o] = cfg.Card.Rev
}

// TestCardsAreKept: the attributes of both offices are exchanged with a registration, stand with the visit there and with
// the presence at home, survive both restarts, and a changed card is known within 15 s without a word of a phone.
func TestCardsAreKept(t *testing.T) {
	inWorld(t, func(w *world) {
		w.speak("north", roam.Attributes{Software: "n1", Services: roam.Known})
		w.speak("south", roam.Attributes{Software: "s1", Services: []string{"dial"}})
		bar := map[string]string{"bar": "+1900"}
		if err := w.offices["north"].reg.Change(context.Background(), alice, Change{Set: bar}); err != nil {
			t.Fatal(err)
		}
		w.phone().carry("south").want(200)
		see := func(n, s string) {
			t.Helper()
			w.on("south", func(r *Server) {
				if a := r.visitors[alice][0].visit.Home.Speaks; a == nil || a.Software != n {
					t.Errorf("south's visit has %+v of home, want %s", a, n)
				}
				if c, found := r.OfficeCard("north"); !found || c.Speaks.Software != n {
					t.Errorf("south knows %+v, want %s", c, n)
				}
			})
			st, err := w.offices["north"].reg.Standing(context.Background(), alice)
			if err != nil || len(st.Stays) != 1 || st.Stays[0].Speaks == nil || st.Stays[0].Speaks.Software != s {
				t.Errorf("home's presence: got %+v, %v, want %s", st.Stays, err, s)
			}
		}
		see("n1", "s1")
		st, _ := w.offices["north"].reg.Standing(context.Background(), alice)
		if !slices.Equal(st.Stays[0].Lacks, []string{"bar"}) {
			t.Errorf("what south does not perform: got %q, want bar", st.Stays[0].Lacks)
		}
		w.offices["north"].restart()
		w.offices["south"].restart()
		see("n1", "s1")

		w.speak("north", roam.Attributes{Software: "n2"})
		w.speak("south", roam.Attributes{Software: "s2"})
		settle(6 * time.Second) // R knows at once here
		see("n2", "s2")
		w.mu.Lock()
		w.ladder = nil
		w.mu.Unlock()
		settle(4 * time.Minute)
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, r := range w.ladder {
			if strings.HasSuffix(r.text, "OPTIONS") {
				t.Errorf("asked for a card that has not changed: %s", r.text)
			}
		}
	})
}
