package registrar

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/siproam/siproam/roam"
)

// TestDay is devices: one over the wire, for 24 hours: a desk phone at home and a cell phone that is carried about refresh every
// minute, each under its own Call-ID. Only what a person does moves the user; who is refused is told where the user is; and when
// the newer phone has gone, or its office is dead, the older one has the user back with its next refresh.
func TestDay(t *testing.T) {
	inWorld(t, func(w *world) {
		for id := range w.offices {
			w.on(id, func(s *Server) { c := s.cfg; c.Devices = "one"; s.Reload(c) })
		}
		desk, cell := w.phone(), w.phone().carry("south")
		cell.device = "urn:uuid:cell"
		desk.expires, cell.expires = 120, 120
		on := map[*phone]bool{}
		at := func() roam.OfficeID {
			w.r.mu.Lock()
			defer w.r.mu.Unlock()
			return w.r.at[alice].Office
		}
		began := time.Now()
		day := map[int]struct { // by the minute
			what string
			do   func()
			want []roam.OfficeID
		}{
			0:       {"the desk phone is switched on", func() { on[desk] = true }, []roam.OfficeID{"north"}},
			60:      {"the cell phone, at south", func() { on[cell] = true }, []roam.OfficeID{"south"}},
			3 * 60:  {"the desk phone is switched off and on", func() { desk.carry("north") }, []roam.OfficeID{"north"}},
			4 * 60:  {"so is the cell phone", func() { cell.carry("south") }, []roam.OfficeID{"south"}},
			8 * 60:  {"the cell phone is carried to west, running", func() { id := cell.callID; cell.carry("west").callID = id }, []roam.OfficeID{"west"}},
			11 * 60: {"the cell phone says bye", func() { cell.expires = 0; cell.want(200); on[cell] = false; cell.expires = 120 }, []roam.OfficeID{"", "north"}},
			13 * 60: {"the cell phone is switched on", func() { cell.carry("west"); on[cell] = true }, []roam.OfficeID{"west"}},
			15 * 60: {"somebody calls with the desk phone", func() {
				w.on("north", func(s *Server) { s.calls(desk.flow().Flow) }) // as Authenticate does
			}, []roam.OfficeID{"north"}},
			17 * 60: {"the cell phone is switched off and on", func() { cell.carry("west") }, []roam.OfficeID{"west"}},
			18 * 60: {"the desk phone is carried to another subnet, running", func() { desk.ip = "203.0.113.9" }, []roam.OfficeID{"north"}},
			20 * 60: {"the cell phone is switched off and on", func() { cell.carry("west") }, []roam.OfficeID{"west"}},
			21 * 60: {"its battery is empty", func() { on[cell] = false }, []roam.OfficeID{"", "north"}},
		}
		path, refused := []roam.OfficeID{""}, 0
		look := func() {
			synctest.Wait()
			if o := at(); o != path[len(path)-1] {
				path = append(path, o)
			}
		}
		until := 0
		for minute := range 24 * 60 {
			time.Sleep(time.Until(began.Add(time.Duration(minute) * time.Minute)))
			look()
			if e, happens := day[minute]; happens {
				path, until = path[len(path)-1:], minute+4
				e.do()
				look()
			}
			for _, p := range []*phone{desk, cell} {
				if !on[p] {
					continue
				}
				if code := p.register(); code == 403 {
					if refused++; p.last.Reason() != "Registered At "+string(at()) {
						t.Errorf("minute %d: refused with %q, the user is at %s", minute, p.last.Reason(), at())
					}
				} else if code != 200 {
					t.Fatalf("minute %d: got %d %s\n%s", minute, code, p.last.Reason(), w.offices["south"].log.String())
				}
				look()
			}
			if e := day[until-4]; minute == until && !slices.Equal(path[1:], e.want) {
				t.Fatalf("minute %d, %s: the user went to %q, want %q", until-4, e.what, path[1:], e.want)
			}
			if minute > until && len(path) > 1 && !slices.Equal(path[1:], day[until-4].want) {
				t.Fatalf("minute %d: a timer moved the user to %q", minute, path[len(path)-1])
			}
		}
		if refused < 1000 {
			t.Errorf("%d refreshes were refused, want most of a day's", refused)
		}
	})
}
