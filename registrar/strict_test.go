package registrar

import (
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// strictly makes every office strict, before anybody has registered.
func (w *world) strictly() {
	for id := range w.offices {
		w.on(id, func(s *Server) {
			cfg := s.cfg
			cfg.Strict = true
			s.Reload(cfg)
		})
	}
}

// TestStrict: the 200 of a phone that moves comes when R has its place, at home and away; the refresh after it comes
// from memory.
func TestStrict(t *testing.T) {
	inWorld(t, func(w *world) {
		w.strictly()
		for _, at := range []roam.OfficeID{"north", "south", "west", "north"} {
			p := w.phone().carry(at)
			p.want(200)
			w.r.mu.Lock()
			if got := w.r.at[alice].Office; got != at {
				t.Errorf("200 at %s, R says %q", at, got)
			}
			w.r.mu.Unlock()
			w.agree(at)
			before := w.reports()
			p.want(200)
			if got := w.reports() - before; got != 0 {
				t.Errorf("at %s: a refresh told R %d times, want 0", at, got)
			}
		}
	})
}

// reports is how often R was told something.
func (w *world) reports() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.ladder {
		if strings.Contains(r.text, " reports ") {
			n++
		}
	}
	return n
}

// sweep is routesrv's, at once: R is told what home holds.
func (w *world) sweep() {
	w.on("north", func(s *Server) {
		for _, o := range s.Owned("", 10) {
			s.router.Report(o.User, o.At, "repaired", func(roam.Location, error) {})
		}
	})
	synctest.Wait()
}

// TestStrictRefused: R takes the report and says nothing in time, or does not even take it. The phone hears 503 with
// Retry-After; afterwards home, the disk, the offices and R say what they said before. The phone's next try goes well.
func TestStrictRefused(t *testing.T) {
	for _, at := range []roam.OfficeID{"north", "south"} {
		for _, lost := range []bool{false, true} {
			inWorld(t, func(w *world) {
				w.strictly()
				w.phone().carry("west").want(200)
				w.agree("west")
				before := w.state()["west"+string(alice)]
				w.r.mu.Lock()
				w.r.mute, w.r.lost = true, lost
				w.r.mu.Unlock()
				p := w.phone().carry(at)
				p.want(503)
				if p.last.Value(sip.RetryAfter) == nil {
					t.Errorf("at %s: no Retry-After", at)
				}
				w.r.mu.Lock()
				w.r.mute = false
				w.r.mu.Unlock()
				w.sweep()
				w.agree("west")
				if after := w.state()["west"+string(alice)]; !reflect.DeepEqual(before, after) {
					t.Errorf("the visit in west: got %v, want as before %v", after, before)
				}
				p.want(200)
				w.agree(at)
			})
		}
	}
}

// TestStrictAlone: R does not answer the visited office, and answers home. A strict home says with its 200 that R has acknowledged the move, and
// that is enough. One that is not has said its 200 before: the phone is refused, home is told that it is over with the epoch of that visit,
// as soon as it can hear it, and nobody believes that she is there. Her next try goes well.
func TestStrictAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.strictly()
		w.phone().carry("west").want(200)
		w.agree("west")
		w.r.deafTo("south")
		p := w.phone().carry("south")
		p.want(200)
		if got := w.r.has(alice).Office; got != "south" {
			t.Errorf("200, and R says %q", got)
		}
		p.want(200)
		w.r.deafTo("")
		w.agree("south")
	})
	for _, cut := range []bool{false, true} {
		inWorld(t, func(w *world) {
			w.on("south", func(s *Server) { cfg := s.cfg; cfg.Strict = true; s.Reload(cfg) })
			w.phone().want(200)
			w.agree("north")
			w.r.deafTo("south")
			if cut {
				w.set(func() {
					w.lose = func(_, to roam.OfficeID, m *sip.Message) bool {
						expires, _ := m.Seconds(sip.Expires)
						return message(m) && expires == 0
					}
				})
			}
			p := w.phone().carry("south")
			p.want(503)
			if cut {
				settle(20 * time.Second)
				w.on("south", func(s *Server) {
					if s.here(alice) {
						t.Error("served after a 503")
					}
				})
				w.set(func() { w.lose = nil })
				settle(20 * time.Second)
			}
			w.agree("")
			w.r.deafTo("")
			p.want(200)
			w.agree("south")
		})
	}
}

// deafTo has R answer o's reports too late, "" nobody's.
func (r *store3) deafTo(o roam.OfficeID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.muteTo = o
}

// TestStrictAway: with R known to be away a move is refused at once, before anything is written; a refresh goes on.
func TestStrictAway(t *testing.T) {
	inWorld(t, func(w *world) {
		w.strictly()
		here := w.phone().carry("north")
		here.want(200)
		w.agree("north")
		before := w.state()
		w.r.mu.Lock()
		w.r.away = true
		w.r.mu.Unlock()
		here.want(200)
		w.phone().carry("north").carry("north").want(503) // from another port
		w.r.mu.Lock()
		w.r.away = false
		w.r.mu.Unlock()
		after := w.state()
		if a, b := kept(before), kept(after); !reflect.DeepEqual(a, b) {
			t.Errorf("got %v, want as before %v", b, a)
		}
	})
}

// kept is alice's bindings without what a refresh changes.
func kept(st map[string]any) any {
	k := st["north"+string(alice)].(control.Kept)
	k.At = nil
	return k
}
