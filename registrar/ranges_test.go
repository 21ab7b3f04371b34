package registrar

import (
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// TestTwoOf1001: users of two offices with the same private extension are told apart where both visit; a phone that knows
// nothing but the extension is told to use the full number, and changes nothing.
func TestTwoOf1001(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("south", "1001", "carl")
		const carl = roam.UserID("1001@south.example")
		a := w.phone().carry("west")
		a.want(200)
		c := w.phone().carry("west")
		c.to, c.uri, c.home, c.device, c.port = "sip:1001@south.example", "sip:south.example", "south.example", "urn:uuid:c", 40100
		c.want(200)
		w.on("west", func(s *Server) {
			for user, port := range map[roam.UserID]uint16{alice: a.port, carl: c.port} {
				line, found := s.Line(user)
				if !found || len(line.Targets) != 1 || line.Targets[0].Flow.Remote.Port() != port {
					t.Errorf("%s: got %+v, want the phone at port %d", user, line.Targets, port)
				}
				if got, _, _ := s.Whose(&sip.Flow{Flow: line.Targets[0].Flow}, nil); got != user {
					t.Errorf("the flow of %s is %s's", user, got)
				}
			}
			if got, found := s.Resolve("1001"); found {
				t.Errorf("1001 is nobody's own at west: got %s", got)
			}
		})
		w.r.mu.Lock()
		w.r.ambiguous = "1001"
		w.r.mu.Unlock()
		before := w.state()
		bare := w.phone().carry("west")
		bare.to, bare.uri = "sip:1001@192.0.2.3", "sip:192.0.2.3"
		if code := bare.register(); code != 404 || bare.last.Reason() != "Use The Full Number" {
			t.Errorf("bare 1001: got %d %s, want 404 Use The Full Number", code, bare.last.Reason())
		}
		if after := w.state(); len(after) != len(before) {
			t.Errorf("changed: %v, was %v", after, before)
		}
	})
}

// TestRangesClash: a range that two offices have is told, once, by those who see it; one inside another is none.
func TestRangesClash(t *testing.T) {
	inWorld(t, func(w *world) {
		w.r.mu.Lock()
		w.r.ranges = map[roam.OfficeID][]string{"north": {"+15550001xxx"}, "south": {"+15550002xxx", "+155500019xx"}, "west": {"+15550002xxx"}}
		w.r.mu.Unlock()
		settle(3 * time.Minute)
		const line = `"event":"numbers.clash","range":"+15550002xxx"`
		if log := w.offices["north"].log.String(); strings.Count(log, `"event":"numbers.clash"`) != 1 || !strings.Contains(log, line) {
			t.Errorf("north's log: %s, want one line", log)
		}
		cfg := w.offices["north"].cfg
		cfg.Card.Ranges = []string{"+15550002xxx"}
		w.on("north", func(s *Server) { s.Reload(cfg) })
		if log := w.offices["north"].log.String(); strings.Count(log, `"event":"numbers.clash"`) < 2 {
			t.Errorf("north's log: %s, want its own range told, too", log)
		}
		w.on("north", func(s *Server) {
			if got := s.Ranges(); len(got) != 3 || got["north"][0] != "+15550002xxx" {
				t.Errorf("got %v", got)
			}
		})
	})
}
