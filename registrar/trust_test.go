package registrar

import (
	"strings"
	"testing"

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
				got := s.welcome(in, res)
				if ok := got.Why == roam.OK; ok != (name == "good") {
					t.Errorf("%s: got %v", name, got.Why)
				}
			})
		}
	})
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
		if desk.last.Reason() != "Registered Elsewhere" {
			t.Errorf("got %q", desk.last.Reason())
		}
		w.agree("south")
		desk.carry("west").want(200) // switched off and on: a person
		w.agree("west")
	})
}
