package routesrv

import (
	"errors"
	"testing"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
)

// still is a Store without Redis whose loop is the test's own goroutine.
func still(t *testing.T) *Store {
	s, err := New(Config{Redis: "redis://127.0.0.1:1"}, loop.New(8, 8), card("north"), "node", 1, nil, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.client.Close() })
	return s
}

// An answer that was overtaken by news is given, but not kept as fresh.
func TestOvertakenAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		news func(s *Store)
		good bool
	}{
		"no news":        {func(*Store) {}, true},
		"older news":     {func(s *Store) { s.forget(alice, 4) }, true},
		"its own echo":   {func(s *Store) { s.forget(alice, 5) }, true},
		"newer news":     {func(s *Store) { s.forget(alice, 6) }, false},
		"of another":     {func(s *Store) { s.forget("1002@north.example", 6) }, true},
		"a gap":          {func(s *Store) { s.ev.all = true; s.tell() }, false},
		"news in a heap": {func(s *Store) { s.ev.users[alice] = 6; s.tell() }, false},
	} {
		for _, when := range []string{"during", "after"} {
			t.Run(name+" "+when, func(t *testing.T) {
				s := still(t)
				var got roam.Location
				f := &flight{gen: s.gen, waiting: []func(roam.Location, error){func(l roam.Location, _ error) { got = l }}}
				s.flights[alice] = f
				if when == "during" {
					c.news(s)
				}
				s.land(alice, f, at(5, "south"), nil)
				if when == "after" {
					c.news(s)
				}
				p, _ := s.places.get(alice)
				if got.Office != "south" || s.good(p) != c.good || len(s.flights) != 0 {
					t.Errorf("got %+v, fresh %v, want %v", got, s.good(p), c.good)
				}
			})
		}
	}
}

// What is owed is struck out by what R holds, not by an older success; the newest stays owed.
func TestOwing(t *testing.T) {
	s := still(t)
	r := func(e roam.Epoch) *report {
		return &report{user: alice, at: at(e, "south"), done: func(roam.Location, error) {}}
	}
	s.owe(r(5))
	s.owe(r(9))
	s.owe(r(7))
	if o := s.owing[alice]; o.at.Epoch != 9 || s.owed.Load() != 1 {
		t.Errorf("owes %+v, want epoch 9", o)
	}
	s.written(r(7), at(7, "south"), true)
	if len(s.owing) != 1 {
		t.Error("an older write struck it out")
	}
	s.written(r(8), at(9, "south"), false)
	if len(s.owing) != 0 || s.owed.Load() != 0 {
		t.Error("R holds it, and it is still owed")
	}
	s.reported(r(10), roam.Location{}, false, errors.New("connection refused"))
	s.reported(r(10), roam.Location{}, false, roam.StoreAway)
	if len(s.owing) != 1 {
		t.Error("a write that failed is not owed")
	}
	s.owe(&report{user: "7@elsewhere.example", at: at(0, "south")})
	if o := s.owing["7@elsewhere.example"]; o.at.Epoch == 0 {
		t.Error("an epoch to be drawn is drawn when it is written, after whoever moved meanwhile")
	}
	for i := range 2 * maxOwing {
		s.owe(&report{user: user(i), at: at(1, "south")})
	}
	if len(s.owing) != maxOwing {
		t.Errorf("owes %d, want %d at most", len(s.owing), maxOwing)
	}
}
