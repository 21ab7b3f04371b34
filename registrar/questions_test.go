package registrar

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// stranger sends a REGISTER for somebody of another office from a port of its own, and does not wait.
func (w *world) stranger(at roam.OfficeID, to string, port uint16) {
	p := w.phone()
	p.office, p.to, p.port, p.callID = at, to, port, "stranger"+to
	m := &sip.Message{Flow: p.flow()}
	if err := sip.Parse([]byte(strings.ReplaceAll(p.text(""), "\n", "\r\n")), m); err != nil {
		w.t.Fatal(err)
	}
	w.offices[at].layer.Receive([]*sip.Message{m}, func() {})
}

// TestQuestions: strangers keep few questions under way however many they are, a home that does not answer leaves room
// for the others, and a visitor who is here is served all the same.
func TestQuestions(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone()
		p.carry("south").want(200)
		settle(5 * time.Second)
		w.mu.Lock()
		w.lose = func(from, to roam.OfficeID, m *sip.Message) bool {
			return from == "south" && to == "north" && m.Method() == sip.REGISTER && m.Value(sip.Contact) == nil && !strings.Contains(string(m.Value(sip.To)), "1001")
		}
		w.mu.Unlock()
		for i := range 1000 {
			w.stranger("south", "sip:1002@north.example", uint16(20000+i))
		}
		synctest.Wait()
		w.on("south", func(s *Server) {
			if got := s.questions.all; got != mostOfOne {
				t.Errorf("%d questions under way, want %d", got, mostOfOne)
			}
			if n, _ := w.offices["south"].m.Overload().With("questions").Count(); n != 1000-mostOfOne {
				t.Errorf("%d refused, want %d", n, 1000-mostOfOne)
			}
		})
		p.want(200)
		settle(30 * time.Second)
		w.agree("south")
	})
}

// TestQuestionsCount: all of them, those of one office, and both given back.
func TestQuestionsCount(t *testing.T) {
	q := questions{offices: map[roam.OfficeID]int{}}
	for range mostOfOne {
		if !q.ask("north") {
			t.Fatal("refused below the bound")
		}
	}
	if q.ask("north") || q.all != mostOfOne {
		t.Errorf("one more of north's was taken, %d under way", q.all)
	}
	for q.ask("west") {
	}
	if q.all != mostQuestions || q.begin() {
		t.Errorf("%d under way, want %d and no more", q.all, mostQuestions)
	}
	for range mostOfOne {
		q.end("north")
		q.end("west")
	}
	if q.all != 0 || len(q.offices) != 0 {
		t.Errorf("%+v left", q)
	}
}

// TestFailed: a wrong password is told with the flow it came by; a good one and the first challenge are not.
func TestFailed(t *testing.T) {
	inWorld(t, func(w *world) {
		var told []netip.AddrPort
		w.on("north", func(s *Server) { s.OnFailed(func(f roam.Flow) { told = append(told, f.Remote) }) })
		p := w.phone()
		p.want(200)
		p.password, p.nonce = "guess", ""
		p.want(401)
		if want := p.flow().Remote; len(told) == 0 || told[0] != want {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}
