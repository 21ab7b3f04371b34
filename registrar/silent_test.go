package registrar

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// set is what the wire does from now on.
func (w *world) set(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

// signOfLife is given by o, or not.
func (r *store3) signOfLife(o roam.OfficeID, given bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dead[o] = !given
}

func (r *store3) has(user roam.UserID) roam.Location {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at[user]
}

// message says that m is a registration message.
func message(m *sip.Message) bool {
	return m.IsRequest() && m.Method() == sip.REGISTER && m.Value(sip.Contact) != nil
}

// TestHomeSilentFromTheStart (M9 b): what the policy says is done within 4 s, whether home's card is known or not, and at once
// when home is known to be dead. The location stays as it was.
func TestHomeSilentFromTheStart(t *testing.T) {
	gone := map[string]func(w *world){
		"hung": func(w *world) { w.set(func() { w.cut["north"] = true }) },
		"hung, but for its card, which takes long": func(w *world) {
			w.set(func() {
				w.lose = func(_, _ roam.OfficeID, m *sip.Message) bool { return m.IsRequest() && m.Method() == sip.REGISTER }
				w.slow = func(_, _ roam.OfficeID, m *sip.Message) time.Duration { return 1500 * time.Millisecond }
			})
		},
		"no sign of life": func(w *world) {
			w.set(func() { w.cut["north"] = true })
			w.r.signOfLife("north", false)
			settle(heardFor)
		},
		"refuses": func(w *world) {
			w.set(func() { w.closed["north"] = true })
			q := w.phone().carry("south") // somebody found out a moment ago
			q.to, q.device = "sip:1002@north.example", "urn:uuid:b"
			q.want(503)
		},
	}
	for how, end := range gone {
		for policy, want := range map[string]int{"refuse": 503, "admit-known": 200} {
			for _, restarted := range []bool{false, true} {
				inWorld(t, func(w *world) {
					south := w.offices["south"]
					south.cfg.HomeSilent.Policy = policy
					w.on("south", func(s *Server) { s.Reload(south.cfg) })
					p := w.phone().carry("south")
					p.want(200)
					w.agree("south")
					if restarted { // home's card is forgotten
						serves := south.sw.serves
						south.restart()
						south.sw.serves = serves
					}
					end(w)
					before, reports, began := w.r.has(alice), w.reports(), time.Now()
					if got := p.register(); got != want {
						t.Errorf("%s, %s, restarted %v: got %d, want %d", how, policy, restarted, got, want)
					}
					limit := 4200 * time.Millisecond
					if !strings.HasPrefix(how, "hung") {
						limit = 200 * time.Millisecond
					}
					if took := time.Since(began); took > limit {
						t.Errorf("%s, %s, restarted %v: decided after %v, want at most %v", how, policy, restarted, took, limit)
					}
					if after := w.r.has(alice); after != before || w.reports() != reports {
						t.Errorf("%s, %s: the location is %v, want as before %v", how, policy, after, before)
					}
					if want == 503 {
						settle(5 * time.Second) // what is under way ends
						return
					}
					other := w.phone().carry("south") // the same user by another flow is nobody we know
					other.port, other.device = 50000, p.device
					other.want(503)
					w.set(func() { w.cut["north"], w.closed["north"], w.lose, w.slow = false, false, nil, nil })
					w.r.signOfLife("north", true)
					settle(time.Minute)
					w.agree("south")
				})
			}
		}
	}
}

// TestDeadHomeHoldsNobodyUp: while thirty users of a hung home wait for it, a visitor of another office is served at once.
func TestDeadHomeHoldsNobodyUp(t *testing.T) {
	inWorld(t, func(w *world) {
		w.on("south", func(s *Server) {
			c := s.cfg
			c.Partners = slices.Clone(c.Partners)
			c.Partners[0].Visitors.Max = 50
			s.Reload(c)
		})
		w.add("west", "3001", "carol")
		var all []*phone
		for n := range 30 {
			short := fmt.Sprint(1100 + n)
			err := w.offices["north"].reg.Add(context.Background(), []Account{{User: User{ID: roam.UserID(short + "@north.example"), Short: short}, Password: "secret-" + short}})
			if err != nil {
				t.Fatal(err)
			}
			p := w.phone().carry("south")
			p.to, p.login, p.password, p.device = "sip:"+short+"@north.example", short, "secret-"+short, "urn:uuid:"+short
			p.want(200)
			all = append(all, p)
		}
		w.set(func() { w.cut["north"] = true })
		began := time.Now()
		for _, p := range all {
			p.post(p.text(p.authorization()))
		}
		c := w.phone().carry("south")
		c.to, c.login, c.password, c.device, c.uri, c.home = "sip:3001@west.example", "3001", "secret-3001", "urn:uuid:c", "sip:west.example", "west.example"
		if c.want(200); time.Since(began) > time.Second {
			t.Errorf("west's user waited %v for north", time.Since(began))
		}
		settle(time.Until(began.Add(4200 * time.Millisecond)))
		for _, p := range all {
			if last := w.heard[p.callID][len(w.heard[p.callID])-1]; last.Status() != 503 || last.CSeq() != uint32(p.cseq) {
				t.Errorf("%s: got %d to %d, want 503 to %d within 4 s", p.to, last.Status(), last.CSeq(), p.cseq)
			}
		}
	})
}

// TestResends (M9 a): what home did not record is said again at growing intervals, which differ from user to user, also after a
// restart, until home records it.
func TestResends(t *testing.T) {
	inWorld(t, func(w *world) {
		var mu sync.Mutex
		at := map[string][]time.Time{}
		w.set(func() {
			w.lose = func(_, _ roam.OfficeID, m *sip.Message) bool {
				if message(m) {
					mu.Lock()
					defer mu.Unlock()
					to, _ := m.To()
					at[to.URI.User] = append(at[to.URI.User], time.Now())
					return true
				}
				return false
			}
		})
		a, b := w.phone().carry("south"), w.phone().carry("south")
		b.to, b.login, b.password, b.device = "sip:1002@north.example", "1002", "secret-1002", "urn:uuid:b"
		a.expires, b.expires = 3600, 3600
		w.on("south", func(s *Server) { s.cfg.HomeSilent.Expires = roam.Duration(time.Hour) })
		a.want(200)
		b.want(200)
		settle(10 * time.Minute)
		gaps := func(user string) (all []time.Duration) {
			for i := range at[user][1:] {
				all = append(all, at[user][i+1].Sub(at[user][i]).Round(time.Second))
			}
			return all
		}
		ga, gb := gaps("1001"), gaps("1002")
		if len(ga) < 5 || len(ga) > 12 || slices.Equal(ga, gb) {
			t.Errorf("sent again after %v and %v, want some, and not together", ga, gb)
		}
		for i := range ga[1:] {
			if ga[i+1] <= ga[i] {
				t.Errorf("sent again after %v, want it rarer and rarer", ga)
				break
			}
		}
		south := w.offices["south"]
		serves := south.sw.serves
		south.restart()
		south.sw.serves = serves
		w.set(func() { w.lose = nil })
		settle(10 * time.Second)
		w.agree("south")
	})
}

// TestLateSuccessIsTakenBack: home recorded a visit whose 200 got lost. When the phone has left meanwhile, home is told so with the
// epoch of that visit, as soon as it can be, also after a restart; when it has gone elsewhere, that stands.
func TestLateSuccessIsTakenBack(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		inWorld(t, func(w *world) {
			p := w.admitted()
			w.on("north", func(s *Server) {
				if at := s.users[alice].home.Location.Office; at != "south" {
					t.Errorf("home has %q, want that it recorded south", at)
				}
			})
			p.expires = 0
			p.want(503) // home cannot be asked whether it is she
			w.on("south", func(s *Server) {
				for f := range s.flows {
					s.Silent(f)
				}
			})
			settle(10 * time.Second)
			if st, err := w.offices["south"].reg.Standing(context.Background(), alice); err != nil || st.Ends == nil {
				t.Errorf("explain: got %+v, %v, want that the end is owed", st, err)
			}
			if restarted {
				w.offices["south"].restart()
			}
			w.set(func() { w.cut["north"] = false })
			settle(20 * time.Second)
			w.agree("")
			w.on("south", func(s *Server) {
				if len(s.visitors) > 0 {
					t.Errorf("south keeps %+v", s.visitors[alice][0].visit.Stay)
				}
			})
		})
	}
	inWorld(t, func(w *world) {
		p := w.admitted()
		w.set(func() { w.cut["north"], w.cut["south"] = false, true }) // south is alone now
		p.carry("west").want(200)
		w.set(func() { w.cut["south"] = false })
		settle(150 * time.Second) // home tells south, too, when its next try comes
		w.agree("west")
	})
}

// admitted is alice at south, whom home has recorded without south's hearing of it; nothing reaches home any more.
func (w *world) admitted() *phone {
	w.set(func() {
		w.lose = func(from, _ roam.OfficeID, m *sip.Message) bool {
			return from == "north" && m.Has(sip.ContentType, locationType)
		}
	})
	p := w.phone().carry("south")
	p.want(200)
	w.set(func() { w.lose, w.cut["north"] = nil, true })
	return p
}

// TestRefusedLate: home would not have had the visitor after all. She is dropped, and R says so.
func TestRefusedLate(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone()
		p.want(200)
		w.agree("north")
		w.set(func() { w.lose = func(_, _ roam.OfficeID, m *sip.Message) bool { return message(m) } })
		p.carry("south").want(200)
		w.on("south", func(s *Server) {
			if !s.here(alice) {
				t.Error("not admitted")
			}
		})
		off := true
		if err := w.offices["north"].reg.Change(context.Background(), alice, Change{Disabled: &off}); err != nil {
			t.Fatal(err)
		}
		w.set(func() { w.lose = nil })
		settle(20 * time.Second)
		w.agree("")
		if log := w.offices["south"].log.String(); !strings.Contains(log, `"reason":"refused"`) {
			t.Errorf("south does not say why: %s", log)
		}
	})
}

// TestOwedWhenHomeRecords (M9 a): a home that records one visitor lives, so the others that it has not recorded are said to it
// at once, and not when their next try, minutes later, is due.
func TestOwedWhenHomeRecords(t *testing.T) {
	inWorld(t, func(w *world) {
		w.on("south", func(s *Server) { s.cfg.HomeSilent.Expires = roam.Duration(time.Hour) })
		w.set(func() {
			w.lose = func(_, _ roam.OfficeID, m *sip.Message) bool { return message(m) }
		})
		a := w.phone().carry("south")
		a.expires = 3600
		a.want(200)
		settle(8 * time.Minute)
		w.set(func() { w.lose = nil })
		b := w.phone().carry("south")
		b.to, b.login, b.password, b.device = "sip:1002@north.example", "1002", "secret-1002", "urn:uuid:b"
		b.want(200)
		settle(2 * time.Second)
		w.agree("south")
	})
}
