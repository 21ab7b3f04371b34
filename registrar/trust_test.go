package registrar

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// TestRLies: when R leads to another office than it says, no credentials go there.
func TestRLies(t *testing.T) {
	inWorld(t, func(w *world) {
		w.r.mu.Lock()
		w.r.lies = map[roam.OfficeID]roam.OfficeID{"north": "west"}
		w.r.mu.Unlock()
		p := w.phone().carry("south")
		p.want(503)
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, r := range w.ladder {
			if strings.HasPrefix(r.text, "south>west") {
				t.Errorf("sent: %s", r.text)
			}
		}
	})
}

// TestWelcome: home's 200 must be for this visit.
func TestWelcome(t *testing.T) {
	inWorld(t, func(w *world) {
		w.phone().carry("south").want(200) // south knows north's key now
		good := roam.Ticket{User: alice, Device: "urn:uuid:a", Office: "south", Home: "north", Epoch: 9}
		for name, change := range map[string]func(*roam.Ticket){
			"good": func(*roam.Ticket) {}, "another office": func(t *roam.Ticket) { t.Office = "west" }, "another device": func(t *roam.Ticket) { t.Device = "urn:uuid:b" },
			"another user": func(t *roam.Ticket) { t.User = "1002@north.example" }, "another home": func(t *roam.Ticket) { t.Home = "west" },
		} {
			ticket := good
			change(&ticket)
			w.on("north", func(s *Server) { ticket = s.sign(ticketKind, ticket) })
			res := &sip.Message{}
			body := `{"v":1,"user":"1001@north.example"}`
			text := "SIP/2.0 200 OK\r\nVia: SIP/2.0/TLS a;branch=z9hG4bKb\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:a@a>;tag=2\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\nRoam-Ticket: " +
				ticket.Proof + "\r\nContent-Type: " + visitType + "\r\nContent-Length: 35\r\n\r\n" + body
			if err := sip.Parse([]byte(text), res); err != nil {
				t.Fatal(err)
			}
			w.on("south", func(s *Server) {
				in := &inquiry{home: "north", r: control.Register{Device: "urn:uuid:a"}}
				got, _ := s.welcome(in, res)
				if ok := got.Why == roam.OK; ok != (name == "good") {
					t.Errorf("%s: got %v", name, got.Why)
				}
			})
		}
	})
}

// TestWhereItWent: an office that has the device now ends it here, but where calls go it can say of itself and home only.
func TestWhereItWent(t *testing.T) {
	for office, want := range map[roam.OfficeID]roam.OfficeID{"west": "west", "north": "north", "east": ""} {
		inWorld(t, func(w *world) {
			w.phone().carry("south").want(200)
			w.agree("south")
			ticket := roam.Ticket{User: alice, Device: "urn:uuid:a", Office: "west", Home: "north"}
			w.on("north", func(s *Server) {
				ticket.Epoch = s.draw()
				ticket = s.sign(ticketKind, ticket)
			})
			w.on("west", func(s *Server) {
				at := roam.Location{Epoch: 1 << 52, Office: office, Switch: "sip:" + string(office)}
				s.supersede(alice, control.Supersede{To: partnerURI("south"), Device: "urn:uuid:a", Epoch: ticket.Epoch, Location: at, Proof: ticket.Proof}, "north", func(control.Settled) {})
			})
			settle(time.Second)
			w.on("south", func(s *Server) {
				line, _ := s.Line(alice)
				if s.here(alice) || line.Gone == nil || line.Gone.Office != want {
					t.Errorf("%s: got %+v, want a tombstone that says %q", office, line.Gone, want)
				}
			})
		})
	}
}

// TestOfficeOf: a domain that several partners have leads to none of them.
func TestOfficeOf(t *testing.T) {
	s := &Server{domains: map[roam.OfficeID][]string{"north": {"north.example", "shared.example"}, "west": {"west.example", "shared.example"}}}
	for host, want := range map[string]roam.OfficeID{"north.example": "north", "WEST.example": "west", "shared.example": "", "elsewhere.example": ""} {
		if got := s.officeOf(host); got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}

// TestSupersededAway: devices: one, and the superseded phone is a visitor: home refuses it by way of the visited office.
func TestSupersededAway(t *testing.T) {
	inWorld(t, func(w *world) {
		for id := range w.offices {
			w.on(id, func(s *Server) { c := s.cfg; c.Devices = "one"; s.Reload(c) })
		}
		desk, cell := w.phone().carry("west"), w.phone().carry("south")
		cell.device = "urn:uuid:cell"
		desk.want(200)
		cell.want(200)
		w.agree("south")
		desk.want(403)
		if desk.last.Reason() != "Registered At south" {
			t.Errorf("got %q", desk.last.Reason())
		}
		w.agree("south")
		desk.carry("west").want(200) // switched off and on: a person
		w.agree("west")
	})
}

// TestTicketExpires: home's word for a visit that was never recorded is good for a while, and then no more.
func TestTicketExpires(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, c := range []struct {
			after time.Duration
			code  int
		}{{121 * time.Minute, 403}, {119 * time.Minute, 200}} { // twice registration.max; home_silent.resend_for is not given
			ticket := roam.Ticket{User: alice, Device: "urn:uuid:a", Office: "west", Home: "north"}
			w.on("north", func(s *Server) {
				ticket.Epoch = s.draw()
				ticket = s.sign(ticketKind, ticket)
			})
			settle(c.after)
			got := make(chan int, 1)
			w.on("west", func(s *Server) {
				s.ask("north", partnerURI("north"), func(w *sip.Writer) error {
					addressed(w, "REGISTER", "sip:north.example", "sip:"+string(alice), "sip:"+string(alice), "late", 1)
					w.Add(sip.PVisitedNetworkID, `west;device="urn:uuid:a"`)
					w.Add(sip.RoamTicket, ticket.Proof)
					w.Add(sip.Contact, "<sip:token@sip.west.example>")
					w.AddInt(sip.Expires, 300)
					card, err := json.Marshal(s.cfg.Card)
					if err != nil {
						return err
					}
					return w.End(officeType, card)
				}, func(res *sip.Message, err error) {
					if err != nil {
						t.Error(err)
					}
					got <- res.Status()
				})
			})
			if code := <-got; code != c.code {
				t.Errorf("after %v: got %d, want %d", c.after, code, c.code)
			}
		}
	})
}
