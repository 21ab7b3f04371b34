package registrar

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// quiet has south keep to itself that a visitor went offline (M13).
func (w *world) quiet() {
	w.on("south", func(s *Server) { c := s.cfg; c.Offline = "keep"; s.Reload(c) })
}

// off is the ways in which a visitor goes offline at south.
var off = map[string]func(w *world, p *phone){
	"says so": func(_ *world, p *phone) { p.expires = 0; p.want(200); p.expires = 300 },
	"closes its connection": func(w *world, p *phone) {
		w.on("south", func(s *Server) { s.Closed(p.flow()) })
		settle(closedFor + time.Second)
	},
	"answers no OPTIONS": func(w *world, p *phone) { w.on("south", func(s *Server) { s.Silent(p.flow().Flow) }) },
}

// TestBackOnline (M12, M13): a visitor who went offline without home's hearing of it, and comes back where he was while home still has him,
// needs no new registration: one message to home checks him and renews what it has, and R is told nothing.
func TestBackOnline(t *testing.T) {
	for how, leave := range off {
		for _, restarts := range []string{"", "phone", "office"} {
			t.Run(how+" "+restarts, func(t *testing.T) {
				inWorld(t, func(w *world) {
					w.quiet()
					p := w.phone().carry("south")
					p.want(200)
					w.agree("south")
					epoch := w.r.has(alice).Epoch
					requests, commands := w.cost(func() { leave(w, p) })
					if how != "says so" && requests+commands != 0 {
						t.Errorf("going offline took %d requests and %d commands, want none", requests, commands)
					}
					if how == "says so" && (requests != 1 || commands > 1) { // who says so is asked for his password
						t.Errorf("going offline took %d requests and %d commands, want one that checks the credentials", requests, commands)
					}
					if st, err := w.offices["south"].reg.Standing(context.Background(), alice); err != nil || st.Rests == nil || len(st.Stays) > 0 {
						t.Errorf("explain: got %+v, %v, want that she rests", st, err)
					}
					w.on("south", func(s *Server) {
						if _, known := s.Line(alice); known || s.here(alice) || len(w.offices["south"].sw.serves) != 0 {
							t.Error("still served")
						}
					})
					settle(30 * time.Second)
					wantRequests, wantCommands := 1, 0
					switch restarts {
					case "phone":
						p.callID, p.port, p.nonce, p.contact = "another", p.port+5, "", "<sip:1001@198.51.100.7:49999>;+sip.instance=\"<urn:uuid:a>\""
					case "office": // it has forgotten how to challenge for home
						w.offices["south"].restart()
						p.nonce, wantRequests, wantCommands = "", 3, 3
					}
					requests, commands = w.cost(func() { p.want(200) })
					if requests > wantRequests || commands > wantCommands {
						t.Errorf("coming back took %d requests and %d commands, want at most %d and %d", requests, commands, wantRequests, wantCommands)
					}
					w.agree("south")
					if now := w.r.has(alice).Epoch; now != epoch {
						t.Errorf("the location has epoch %d, want as before %d: nothing has moved", now, epoch)
					}
					settle(250 * time.Second) // home's record has been renewed
					w.agree("south")
				})
			})
		}
	}
}

// TestBackTooLate: when home's record has ended, or the user has been elsewhere meanwhile, it is a registration like any other.
func TestBackTooLate(t *testing.T) {
	inWorld(t, func(w *world) {
		w.quiet()
		p := w.phone().carry("south")
		p.want(200)
		w.agree("south")
		off["says so"](w, p)
		settle(6 * time.Minute)
		w.agree("")
		w.on("south", func(s *Server) {
			if len(s.visitors) != 0 || len(s.called) != 0 {
				t.Errorf("south remembers %v, %v", s.visitors, s.called)
			}
		})
		p.want(200)
		w.agree("south")
		off["says so"](w, p)
		p.carry("west").want(200)
		w.agree("west")
		p.carry("south").want(200)
		w.agree("south")
	})
}

// TestBackWithoutRoom: the softswitch has no room when the phone comes back. It is refused, and comes back later.
func TestBackWithoutRoom(t *testing.T) {
	inWorld(t, func(w *world) {
		w.quiet()
		p := w.phone().carry("south")
		p.want(200)
		off["says so"](w, p)
		sw := w.offices["south"].sw
		w.on("south", func(*Server) { sw.refuses = roam.NoCapacity })
		p.want(503)
		w.on("south", func(s *Server) {
			if sw.refuses = roam.OK; s.here(alice) || len(s.waits) > 0 {
				t.Error("served all the same, or a request waits")
			}
		})
		p.want(200)
		w.agree("south")
	})
}

// TestClosedFlow (M12): a phone whose connection ended is offline after a while, at home and away, unless it comes back; another of its flows
// keeps it online.
func TestClosedFlow(t *testing.T) {
	for _, at := range []roam.OfficeID{"north", "south"} {
		inWorld(t, func(w *world) {
			p := w.phone().carry(at)
			p.want(200)
			w.on(at, func(s *Server) { s.Closed(p.flow()) })
			settle(closedFor - 2*time.Second)
			w.agree(at)
			settle(2 * time.Second)
			w.agree("")

			p.want(200) // it comes back by another connection
			w.on(at, func(s *Server) { s.Closed(p.flow()) })
			settle(5 * time.Second)
			p.contact = strings.Replace(string(p.bindings()[0]), ";expires=300", "", 1) + `;+sip.instance="<urn:uuid:a>"`
			p.port += 7
			p.want(200)
			settle(closedFor)
			w.agree(at)

			one, two := w.phone().carry(at), w.phone().carry(at)
			one.device, two.device, two.port = "urn:uuid:f", "urn:uuid:f", 45000
			one.extra, two.extra = "Supported: outbound, path\n", "Supported: outbound, path\n"
			one.contact = "<sip:1001@198.51.100.7:1>;+sip.instance=\"<urn:uuid:f>\";reg-id=1"
			two.contact = "<sip:1001@198.51.100.7:2>;+sip.instance=\"<urn:uuid:f>\";reg-id=2"
			one.want(200)
			two.want(200)
			if n := len(two.bindings()); n != 3 {
				t.Fatalf("at %s: got %d bindings, want 3", at, n)
			}
			w.on(at, func(s *Server) { s.Closed(one.flow()) })
			settle(closedFor + time.Second)
			w.on(at, func(s *Server) {
				if line, _ := s.Line(alice); len(line.Targets) != 2 {
					t.Errorf("at %s: got %v, want the other flow and the other phone", at, line.Targets)
				}
			})
		})
	}
}

// TestOfflineIsTold (M13): with the policy `tell` home hears at once that a visitor is offline, however the office noticed.
func TestOfflineIsTold(t *testing.T) {
	for how, leave := range off {
		inWorld(t, func(w *world) {
			p := w.phone().carry("south")
			p.want(200)
			w.agree("south")
			told := 0
			w.set(func() {
				w.lose = func(_, to roam.OfficeID, m *sip.Message) bool {
					if expires, _ := m.Seconds(sip.Expires); to == "north" && message(m) && expires == 0 {
						told++
					}
					return false
				}
			})
			leave(w, p)
			w.agree("")
			if w.set(func() { w.lose = nil }); told != 1 {
				t.Errorf("%s: home was told %d times, want once", how, told)
			}
			p.want(200)
			w.agree("south")
		})
	}
}

// TestOnlyTheServingOfficeAsks (M12): the flows that the softswitch asks whether they live are those of the phones here: home has none of a user
// who is away, nor has the office that he left.
func TestOnlyTheServingOfficeAsks(t *testing.T) {
	inWorld(t, func(w *world) {
		asked := map[roam.OfficeID]map[roam.Flow]bool{}
		for id := range w.offices {
			w.on(id, func(s *Server) {
				asked[id] = map[roam.Flow]bool{}
				s.onBound = func(f roam.Flow, carries bool) {
					if asked[id][f] = carries; !carries {
						delete(asked[id], f)
					}
				}
			})
		}
		p := w.phone()
		for _, at := range []roam.OfficeID{"north", "south", "west", "north", "west"} {
			p.carry(at).want(200)
			w.agree(at)
			for id := range w.offices {
				w.on(id, func(*Server) {
					if len(asked[id]) != map[bool]int{true: 1}[id == at] || id == at && !asked[id][p.flow().Flow] {
						t.Errorf("at %s: %s asks %v", at, id, asked[id])
					}
				})
			}
		}
	})
}
