package registrar

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// state is everything three offices and R know of registrations, for comparing before and after.
func (w *world) state() map[string]any {
	time.Sleep(2 * time.Second)
	synctest.Wait()
	st := map[string]any{}
	for id := range w.offices {
		w.on(id, func(s *Server) {
			for user, u := range s.users {
				st[fmt.Sprint(id, user)] = u.home.Kept
			}
			for user, vs := range s.visitors {
				for _, v := range vs {
					st[fmt.Sprint(id, user, v.visit.Device)] = v.visit.Stay
				}
			}
			st[string(id)+" serves"] = slices.Clone(w.offices[id].sw.serves)
			st[string(id)+" waits"] = len(s.waits)
		})
	}
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	st["R"] = w.r.at[alice]
	return st
}

// TestRefused: whatever is refused changes nothing anywhere, at home and away.
func TestRefused(t *testing.T) {
	deny := func(o roam.OfficeID, visitors bool) func(w *world, p *phone) {
		return func(w *world, _ *phone) {
			w.on(o, func(s *Server) {
				for i := range s.cfg.Partners {
					if visitors {
						s.cfg.Partners[i].Visitors.Deny = []string{"1001"}
					} else {
						s.cfg.Partners[i].Roamers.Deny = []string{"1001"}
					}
				}
			})
		}
	}
	for name, c := range map[string]struct {
		at    roam.OfficeID
		with  func(w *world, p *phone)
		code  int
		words string
	}{
		"wrong password at home":         {"north", func(_ *world, p *phone) { p.password = "guess" }, 401, "Unauthorized"},
		"wrong password away":            {"south", func(_ *world, p *phone) { p.password = "guess" }, 401, "Unauthorized"},
		"another user's login":           {"north", func(_ *world, p *phone) { p.login, p.password = "1002", "secret-1002" }, 401, "Unauthorized"},
		"another user's login away":      {"south", func(_ *world, p *phone) { p.login, p.password = "1002", "secret-1002" }, 401, "Unauthorized"},
		"unknown user at home":           {"north", func(_ *world, p *phone) { p.to = "sip:1999@north.example" }, 401, "Unauthorized"},
		"unknown number away":            {"south", func(_ *world, p *phone) { p.to = "sip:1999@192.0.2.2" }, 404, "Not Found"},
		"extension of several offices":   {"south", func(w *world, p *phone) { p.to = "sip:1001@192.0.2.2"; w.r.known("1001"); w.r.ambiguous = "1001" }, 404, "Use The Full Number"},
		"unknown domain":                 {"south", func(_ *world, p *phone) { p.to = "sip:1001@elsewhere.example" }, 404, "Not Found"},
		"a To that is no SIP address":    {"south", func(_ *world, p *phone) { p.to = "isbn:2983792873" }, 400, "Bad Request"},
		"barred as visitor":              {"south", deny("south", true), 403, "Barred From Roaming"},
		"barred as roamer":               {"south", deny("north", false), 403, "Barred From Roaming"},
		"visited office full":            {"south", func(w *world, _ *phone) { w.on("south", func(s *Server) { s.cfg.Partners[0].Visitors.Max = 0 }) }, 503, "Service Unavailable"},
		"home has no agreement":          {"south", func(w *world, _ *phone) { w.on("north", func(s *Server) { s.cfg.Partners = nil }) }, 403, "No Roaming Agreement"},
		"visited has no agreement":       {"south", func(w *world, _ *phone) { w.on("south", func(s *Server) { s.cfg.Partners = nil }) }, 403, "No Roaming Agreement"},
		"no capacity at home":            {"north", func(w *world, _ *phone) { w.offices["north"].sw.refuses = roam.NoCapacity }, 503, "Service Unavailable"},
		"no capacity away":               {"south", func(w *world, _ *phone) { w.offices["south"].sw.refuses = roam.NoCapacity }, 503, "Service Unavailable"},
		"no ability away":                {"south", func(w *world, _ *phone) { w.offices["south"].sw.refuses = roam.NoAbility }, 420, "Bad Extension"},
		"home silent":                    {"south", func(w *world, _ *phone) { w.cut["north"] = true }, 503, "Home Office Does Not Answer"},
		"interval too brief":             {"north", func(_ *world, p *phone) { p.expires = 30 }, 423, "Interval Too Brief"},
		"interval too brief away":        {"south", func(_ *world, p *phone) { p.expires = 30 }, 423, "Interval Too Brief"},
		"star with an interval":          {"north", func(_ *world, p *phone) { p.contact = "*" }, 400, "Bad Request"},
		"contact that is no SIP address": {"north", func(_ *world, p *phone) { p.contact = "<tel:+15550001001>" }, 400, "Bad Request"},
		"too many contacts": {"north", func(_ *world, p *phone) {
			p.contact = "<sip:a@192.0.2.9>, <sip:b@192.0.2.9>, <sip:c@192.0.2.9>, <sip:d@192.0.2.9>, <sip:e@192.0.2.9>, <sip:f@192.0.2.9>"
		}, 403, "Too Many Contacts"},
		"digest for another place": {"north", func(_ *world, p *phone) { p.uri = "sip:elsewhere.example" }, 200, "OK"}, // it is what was asked
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				before := w.state()
				p := w.phone().carry(c.at)
				c.with(w, p)
				p.register()
				if got := p.last; got.Status() != c.code || got.Reason() != c.words {
					t.Errorf("got %d %s, want %d %s", got.Status(), got.Reason(), c.code, c.words)
				}
				if c.code == 200 {
					return
				}
				if after := w.state(); !reflect.DeepEqual(before, after) {
					t.Errorf("changed: before %v\nafter %v", before, after)
				}
			})
		})
	}
}

// TestStrangersLookAlike: an unknown user gets what a wrong password gets, to the letter but for the nonce.
func TestStrangersLookAlike(t *testing.T) {
	inWorld(t, func(w *world) {
		form := func(to string) string {
			p := w.phone()
			p.to, p.callID = to, "same"
			p.send(p.text(""))
			b := string(p.last.Bytes())
			_, nonce, _ := strings.Cut(b, `nonce="`)
			nonce, _, _ = strings.Cut(nonce, `"`)
			_, tag, _ := strings.Cut(b, "To: <"+to+">;tag=")
			tag, _, _ = strings.Cut(tag, "\r")
			_, branch, _ := strings.Cut(b, "branch=")
			branch, _, _ = strings.Cut(branch, ";")
			return strings.NewReplacer(nonce, fmt.Sprint(len(nonce)), tag, "T", branch, "B", to, "TO").Replace(b)
		}
		known, unknown := form("sip:1001@north.example"), form("sip:1999@north.example")
		if known != unknown {
			t.Errorf("got\n%s\nwant\n%s", unknown, known)
		}
	})
}

// TestPhoneIsAPhone: what only partners may say is worth nothing on a phone's flow, even if the transport let it through.
func TestPhoneIsAPhone(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone()
		p.register()
		p.carry("south").register()
		w.agree("south")
		var proof string
		w.on("south", func(s *Server) { proof = s.visitors[alice][0].visit.Proof })
		before := w.state()

		message := w.phone().carry("north")
		message.contact = "<sip:token@192.0.2.66>"
		message.extra = "Roam-Ticket: " + proof + "\nP-Visited-Network-ID: south;device=\"urn:uuid:a\"\n"
		query := w.phone().carry("north")
		query.contact, query.extra = "none", "P-Visited-Network-ID: south\n"
		for _, f := range []*phone{message, query} {
			if res := f.raw(f.text("")); res.Status() != 401 || res.Value(sip.RoamTicket) != nil {
				t.Errorf("got %d, want 401 and no ticket", res.Status())
			}
		}
		notify := w.phone().carry("south")
		text := strings.Replace(notify.text(""), "REGISTER", "NOTIFY", 2)
		text = strings.Replace(text, "Content-Length", "Event: reg\nRoam-Ticket: "+proof+"\nContent-Length", 1)
		if res := notify.raw(text); res.Status() != 481 {
			t.Errorf("NOTIFY: got %d, want 481", res.Status())
		}
		if after := w.state(); !reflect.DeepEqual(before, after) {
			t.Errorf("changed: before %v\nafter %v", before, after)
		}
	})
}

// raw is send without the transport's filter.
func (p *phone) raw(text string) *sip.Message {
	p.unfiltered = true
	return p.send(text)
}

// TestPartnerIsOneOffice: an office speaks for itself, and a ticket is for one office.
func TestPartnerIsOneOffice(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone()
		p.register()
		p.carry("south").register()
		w.agree("south")
		var ticket roam.Ticket
		var stay control.Stay
		w.on("south", func(s *Server) { ticket, stay = s.visitors[alice][0].visit.Ticket, s.visitors[alice][0].visit.Stay })
		ticket.Proof = stay.Proof
		before := w.state()
		refused := func(what string, want int, from roam.OfficeID, to roam.OfficeID, build func(w *sip.Writer)) {
			t.Helper()
			got := make(chan int, 1)
			w.on(from, func(s *Server) {
				s.ask(to, partnerURI(to), func(w *sip.Writer) error { build(w); return w.End("", nil) }, func(res *sip.Message, err error) {
					if err != nil {
						got <- 0
						return
					}
					got <- res.Status()
				})
			})
			if code := <-got; code != want {
				t.Errorf("%s: got %d, want %d", what, code, want)
			}
		}
		register := func(w *sip.Writer, network, proof string) {
			addressed(w, "REGISTER", "sip:north.example", "sip:"+string(alice), "sip:"+string(alice), "forged", 1)
			w.Add(sip.PVisitedNetworkID, network)
			w.Add(sip.RoamTicket, proof)
			w.Add(sip.Contact, "<sip:token@sip.west.example>")
			w.AddInt(sip.Expires, 300)
		}
		refused("another office's ticket", 403, "west", "north", func(w *sip.Writer) { register(w, `west;device="urn:uuid:a"`, ticket.Proof) })
		refused("another office's name", 403, "west", "north", func(w *sip.Writer) { register(w, `south;device="urn:uuid:a"`, ticket.Proof) })
		refused("another user's ticket", 403, "south", "north", func(w *sip.Writer) {
			addressed(w, "REGISTER", "sip:north.example", "sip:1002@north.example", "sip:1002@north.example", "forged", 1)
			w.Add(sip.PVisitedNetworkID, `south;device="urn:uuid:a"`)
			w.Add(sip.RoamTicket, ticket.Proof)
			w.Add(sip.Contact, "<sip:token@sip.south.example>")
			w.AddInt(sip.Expires, 300)
		})
		refused("another device's ticket", 403, "south", "north", func(w *sip.Writer) { register(w, `south;device="urn:uuid:b"`, ticket.Proof) })
		refused("no ticket", 403, "west", "north", func(w *sip.Writer) { register(w, "west", "") })
		refused("query in another's name", 403, "west", "north", func(w *sip.Writer) {
			addressed(w, "REGISTER", "sip:north.example", "sip:"+string(alice), "sip:"+string(alice), "forged", 1)
			w.Add(sip.PVisitedNetworkID, "south")
		})
		var home, third string // home's own words, in the wrong mouth
		w.on("north", func(s *Server) {
			ticket.Epoch, ticket.Office = ticket.Epoch+1, "east"
			home, third = s.sign(supersedeKind, ticket).Proof, s.sign(ticketKind, ticket).Proof
		})
		w.on("west", func(s *Server) {
			for _, proof := range []string{home, third} {
				s.supersede(alice, control.Supersede{To: partnerURI("south"), Device: "urn:uuid:a", Epoch: 1 << 52, Proof: proof}, "north", func(got control.Settled) {
					if got.Err == nil {
						t.Error("home's words obeyed though west said them")
					}
				})
			}
			ticket.Epoch, ticket.Office = 1<<52, "west"
			forged := s.sign(ticketKind, ticket).Proof // by west's key, not home's
			s.supersede(alice, control.Supersede{To: partnerURI("south"), Device: "urn:uuid:a", Epoch: 1 << 52, Proof: forged}, "north", func(control.Settled) {})
			s.supersede(alice, control.Supersede{To: partnerURI("south"), Device: "urn:uuid:a", Epoch: 1 << 52, Proof: stay.Proof}, "north", func(control.Settled) {})
			s.supersede(alice, control.Supersede{To: partnerURI("south"), Device: "urn:uuid:a", Epoch: 1 << 52}, "north", func(control.Settled) {})
		})
		if after := w.state(); !reflect.DeepEqual(before, after) {
			t.Errorf("changed: before %v\nafter %v", before, after)
		}
	})
}
