package transaction

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
)

// A repetition gets the first answer again, octet for octet, whether that is kept or written anew; and it is
// absorbed once Timer J has ended by nobody.
func TestAnsweredAgain(t *testing.T) {
	reason := sip.Field{Name: sip.Reason, Value: "SIP;cause=200"}
	for _, c := range []struct {
		name, method, toTag string
		answer              func(tx *Server)
		kept                int
	}{
		{"plain, in a dialog", "BYE", "2", func(tx *Server) { tx.Reply(200) }, 0},
		{"plain, with a tag of ours", "MESSAGE", "", func(tx *Server) { tx.Reply(202) }, 0},
		{"after a provisional one", "MESSAGE", "", func(tx *Server) { tx.Reply(183); tx.Reply(200, reason) }, 1},
		{"with a field", "INFO", "2", func(tx *Server) { tx.Reply(200, reason) }, 1},
		{"with a body", "INFO", "2", func(tx *Server) { w := tx.Start(200, ""); w.End("text/plain", []byte("x")); tx.Respond(w) }, 1},
		{"with words of ours", "INFO", "2", func(tx *Server) {
			w := tx.Start(480, "Gone Fishing")
			w.End("", nil)
			tx.Hold()
			tx.Respond(w)
		}, 1},
	} {
		handled := 0
		run(t, 0, func(tx *Server, _ *sip.Message) error { handled++; c.answer(tx); return nil }, func(t *testing.T, o *office) {
			o.In(phone, request(c.method, "z9hG4bKa", c.toTag, ""))
			first := o.Take()
			o.In(phone, request(c.method, "z9hG4bKa", c.toTag, ""))
			if again := o.One(); handled != 1 || again.Text != first[len(first)-1].Text || again.Flow != phone || o.kept.Len() != c.kept {
				t.Errorf("%s: handled %d; got %q, want %q; kept %d, want %d", c.name, handled, again.Text, first[len(first)-1].Text, o.kept.Len(), c.kept)
			}
			if o.underWay() != 0 {
				t.Errorf("%s: %d under way, want 0", c.name, o.underWay())
			}
			if c.toTag == "" { // by another way (8.2.2.2)
				o.In(phone, request(c.method, "z9hG4bKb", c.toTag, ""))
				if got := o.One().Line(); got != "SIP/2.0 482 Loop Detected" {
					t.Errorf("%s: by another way: %q", c.name, got)
				}
			}
			o.Sleep(32 * time.Second)
		})
	}
}

// 9.2: a CANCEL to an INVITE that is answered gets 200 with the answer's To tag, and changes nothing.
func TestCancelTooLate(t *testing.T) {
	for _, code := range []int{200, 486} {
		var tx *Server
		told := 0
		h := func(s *Server, req *sip.Message) error {
			if req.Method() == sip.INVITE {
				tx = s.Hold()
				s.OnCancel(func(*sip.Message) { told++ })
			}
			return nil
		}
		run(t, 32*time.Second, h, func(t *testing.T, o *office) {
			o.In(phone, request("INVITE", "z9hG4bKa", "", ""))
			o.Do(func() { tx.Reply(code) })
			o.In(phone, request("ACK", "z9hG4bKa", tx.ToTag(), ""))
			o.Take()
			o.In(phone, request("CANCEL", "z9hG4bKa", "", ""))
			if got := o.One(); got.Line() != "SIP/2.0 200 OK" || tagOf(got) != tx.ToTag() || told != 0 {
				t.Errorf("after %d: got %q, want 200 with tag %s; told %d", code, got.Text, tx.ToTag(), told)
			}
		})
	}
}

// What is answered takes no room from what is new, however much of it there is.
func TestLeftoversLeaveRoom(t *testing.T) {
	run(t, 32*time.Second, func(tx *Server, _ *sip.Message) error { return tx.Reply(200) }, func(t *testing.T, o *office) {
		o.most = 1
		for i := range 10 {
			o.In(phone, strings.ReplaceAll(request("BYE", fmt.Sprint("z9hG4bK", i), "2", ""), "c1", fmt.Sprint("c", i)))
		}
		o.In(phone, request("MESSAGE", "z9hG4bKm", "", ""))
		for _, s := range o.Take() {
			if s.Line() != "SIP/2.0 200 OK" {
				t.Errorf("got %q", s.Line())
			}
		}
		if o.underWay() != 0 || o.leftovers() != 11 {
			t.Errorf("%d under way, %d left over, want 0 and 11", o.underWay(), o.leftovers())
		}
	})
}

// BenchmarkAnswered is a BYE with its answer, and the going of one of a quarter of a million before it.
func BenchmarkAnswered(b *testing.B) {
	l := NewLayer(loop.New(10, 10), nowhere{}, nil, zerolog.Nop())
	l.Handle(HandlerFunc(func(tx *Server, _ *sip.Message) error { return tx.Reply(200) }))
	l.answered = leftover{loop.NewRecent[answer](l.loop, timerJ, 1<<18), l.answered.merged}
	m := siptest.Message(b, request("BYE", "z9hG4bK00000000", "2", ""))
	m.Flow = phone
	via := m.Value(sip.Via)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		copy(via[len(via)-8:], fmt.Appendf(nil, "%08d", n))
		l.one(m)
	}
}
