package transaction

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
)

// hold answers by hand: the transaction is held and kept in tx.
func hold(tx **Server) HandlerFunc {
	return func(s *Server, req *sip.Message) error {
		if req.Method() != sip.ACK {
			*tx = s.Hold()
		}
		return nil
	}
}

func tagOf(s siptest.Sent) string {
	_, tag, _ := strings.Cut(s.Header(sip.To), ";tag=")
	return tag
}

// 17.2.1: G doubles from T1 to T2, H ends it.
func TestRefusalWithoutACK(t *testing.T) {
	var tx *Server
	run(t, 0, hold(&tx), func(t *testing.T, o *office) {
		o.In(phone, request("INVITE", "z9hG4bKa", "", ""))
		o.Do(func() { tx.Reply(486) })
		o.Sleep(31999 * time.Millisecond)
		if got := o.len(); got != 1 {
			t.Errorf("before timer H: %d transactions, want 1", got)
		}
		o.Sleep(time.Millisecond)
		want := siptest.Seconds(0, .5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5)
		if got := o.At("SIP/2.0 486"); !slices.Equal(got, want) {
			t.Errorf("486 sent at %v, want %v", got, want)
		}
	})
}

// The ACK stops G; I absorbs further ACKs and INVITEs for T4, over UDP only.
func TestRefusalConfirmed(t *testing.T) {
	for _, flow := range []*sip.Flow{phone, tcp} {
		var tx *Server
		acks := 0
		h := func(s *Server, req *sip.Message) error {
			if req.Method() == sip.ACK {
				acks++
				return nil
			}
			return hold(&tx)(s, req)
		}
		run(t, 0, h, func(t *testing.T, o *office) {
			o.In(flow, request("INVITE", "z9hG4bKa", "", ""))
			o.Do(func() { tx.Reply(486) })
			o.Sleep(time.Second)
			o.In(flow, request("ACK", "z9hG4bKa", tx.ToTag(), ""))
			if flow == tcp {
				if got := o.At("SIP/2.0 486"); len(got) != 1 || o.len() != 0 {
					t.Errorf("TCP: 486 sent at %v, want once; %d transactions, want 0", got, o.len())
				}
				return
			}
			o.In(flow, request("ACK", "z9hG4bKa", tx.ToTag(), ""))
			o.In(flow, request("INVITE", "z9hG4bKa", "", ""))
			o.Sleep(4999 * time.Millisecond)
			if got := o.At("SIP/2.0 486"); !slices.Equal(got, siptest.Seconds(0, .5)) || o.len() != 1 || acks != 0 {
				t.Errorf("486 sent at %v, want at 0 and 0.5; %d transactions, want 1; %d ACKs passed on, want 0", got, o.len(), acks)
			}
			o.Sleep(time.Millisecond)
		})
	}
}

// A held INVITE gets 100 at once; a repetition gets the last provisional answer again.
func TestProceeding(t *testing.T) {
	var tx *Server
	run(t, time.Minute, hold(&tx), func(t *testing.T, o *office) {
		o.In(phone, request("INVITE", "z9hG4bKa", "", ""))
		if got := o.One(); got.Line() != "SIP/2.0 100 Trying" || tagOf(got) != "" {
			t.Errorf("got %q", got.Text)
		}
		o.Do(func() { tx.Reply(180) })
		ringing := o.One()
		o.In(phone, request("INVITE", "z9hG4bKa", "", ""))
		if got := o.One(); got.Text != ringing.Text || tagOf(got) == "" {
			t.Errorf("repeated INVITE: got %q, want %q", got.Text, ringing.Text)
		}
		o.Do(func() { tx.Reply(486) })
		if got := o.One(); tagOf(got) != tagOf(ringing) {
			t.Errorf("tag %q, want %q", tagOf(got), tagOf(ringing))
		}
	})
}

// RFC 6026 7.1: an accepted INVITE is absorbed for Timer L, and its ACK is the dialog's.
func TestAccepted(t *testing.T) {
	var tx *Server
	acks := 0
	h := func(s *Server, req *sip.Message) error {
		if req.Method() == sip.ACK {
			acks++
			if err := s.Reply(200); err != ErrAnswered {
				t.Errorf("answer to ACK: got %v, want %v", err, ErrAnswered)
			}
			return nil
		}
		return hold(&tx)(s, req)
	}
	for _, flow := range []*sip.Flow{phone, tcp} {
		acks = 0
		run(t, 0, h, func(t *testing.T, o *office) {
			o.In(flow, request("INVITE", "z9hG4bKa", "", ""))
			o.Do(func() { tx.Reply(200) })
			o.In(flow, request("INVITE", "z9hG4bKa", "", ""))
			o.In(flow, request("ACK", "z9hG4bKb", tx.ToTag(), ""))
			o.In(flow, request("ACK", "z9hG4bKa", tx.ToTag(), ""))
			if got := o.At("SIP/2.0 200"); !slices.Equal(got, siptest.Seconds(0)) || acks != 2 {
				t.Errorf("200 sent at %v, want once; %d ACKs passed on, want 2", got, acks)
			}
			o.Take()
			o.Do(tx.Repeat)
			if got := o.One().Line(); got != "SIP/2.0 200 OK" {
				t.Errorf("repeated %q", got)
			}
			o.Sleep(31999 * time.Millisecond)
			if got := o.len(); got != 1 {
				t.Errorf("before timer L: %d transactions, want 1", got)
			}
			o.Sleep(time.Millisecond)
		})
	}
}

// 17.2.2: a repeated request gets the same answer for Timer J, over UDP; nothing is kept over TCP.
func TestOtherRequest(t *testing.T) {
	handled := 0
	h := func(tx *Server, _ *sip.Message) error { handled++; return tx.Reply(200) }
	run(t, 0, h, func(t *testing.T, o *office) {
		o.In(phone, request("BYE", "z9hG4bKa", "2", ""))
		o.In(phone, request("BYE", "z9hG4bKa", "2", ""))
		sent := o.Take()
		if handled != 1 || len(sent) != 2 || sent[0].Text != sent[1].Text {
			t.Errorf("handled %d, want 1; sent %q, want one twice", handled, siptest.Lines(sent))
		}
		o.Sleep(31999 * time.Millisecond)
		if got := o.len(); got != 1 {
			t.Errorf("before timer J: %d transactions, want 1", got)
		}
		o.Sleep(time.Millisecond)
		o.In(tcp, request("BYE", "z9hG4bKa", "2", ""))
	})
}

// 8.2.7: what is answered in its turn leaves nothing, and a repetition is answered with the same tag.
func TestWithoutState(t *testing.T) {
	for _, c := range []struct {
		method string
		code   int
		same   bool
	}{{"REGISTER", 200, true}, {"OPTIONS", 200, true}, {"INVITE", 407, false}, {"INVITE", 403, false}, {"MESSAGE", 403, false}} {
		handled := 0
		h := func(tx *Server, req *sip.Message) error {
			if req.Method() == sip.ACK {
				return nil
			}
			handled++
			return tx.Reply(c.code)
		}
		run(t, 0, h, func(t *testing.T, o *office) {
			o.In(phone, request(c.method, "z9hG4bKr", "", ""))
			if got := o.len(); got != 0 {
				t.Errorf("%s: %d transactions, want 0", c.method, got)
			}
			o.In(phone, request(c.method, "z9hG4bKr", "", ""))
			sent := o.Take()
			if handled != 2 || len(sent) != 2 || c.same && tagOf(sent[0]) != tagOf(sent[1]) || tagOf(sent[0]) == "" {
				t.Errorf("%s: handled %d, want 2; sent %q, %q", c.method, handled, sent[0].Text, sent[1].Text)
			}
			o.In(phone, request("ACK", "z9hG4bKr", tagOf(sent[1]), ""))
		})
	}
}

// RFC 4320: a held request absorbs its repetitions, gets 100 when Timer E is at T2, and 500
// rather than 408; a later answer is not sent.
func TestHeldTooLong(t *testing.T) {
	for _, method := range []string{"REGISTER", "OPTIONS", "MESSAGE"} {
		var tx *Server
		handled := 0
		h := func(s *Server, req *sip.Message) error { handled++; return hold(&tx)(s, req) }
		run(t, time.Minute, h, func(t *testing.T, o *office) {
			o.In(phone, request(method, "z9hG4bKr", "", ""))
			o.In(phone, request(method, "z9hG4bKr", "", ""))
			o.Sleep(5 * time.Second)
			o.In(phone, request(method, "z9hG4bKr", "", ""))
			o.Sleep(10 * time.Second)
			if got, want := o.At("SIP/2.0 100"), siptest.Seconds(3.5, 5); !slices.Equal(got, want) {
				t.Errorf("%s: 100 sent at %v, want %v", method, got, want)
			}
			if got, want := o.At("SIP/2.0 500"), siptest.Seconds(10); !slices.Equal(got, want) || handled != 1 {
				t.Errorf("%s: 500 sent at %v, want %v; handled %d, want 1", method, got, want, handled)
			}
			o.Do(func() {
				if err := tx.Reply(200); err != ErrAnswered {
					t.Errorf("late 200: got %v, want %v", err, ErrAnswered)
				}
			})
		})
	}
}

// A held REGISTER is forgotten with its answer: no Timer J for what is answered from memory.
func TestHeldAndAnswered(t *testing.T) {
	var tx *Server
	run(t, 0, hold(&tx), func(t *testing.T, o *office) {
		o.In(phone, request("REGISTER", "z9hG4bKr", "", ""))
		o.Sleep(time.Second)
		if got := o.len(); got != 1 {
			t.Errorf("held: %d transactions, want 1", got)
		}
		if got := tx.Request().CallID(); got != "c1" {
			t.Errorf("kept request has Call-ID %q, want c1", got)
		}
		o.Do(func() { tx.Reply(200) })
		if got := o.len(); got != 0 {
			t.Errorf("answered: %d transactions, want 0", got)
		}
	})
}

// 17.2.2, RFC 4320: a provisional answer is not repeated unasked.
func TestFinalIsImmutable(t *testing.T) {
	var tx *Server
	run(t, time.Minute, hold(&tx), func(t *testing.T, o *office) {
		o.In(phone, request("INVITE", "z9hG4bKa", "", ""))
		o.Do(func() {
			tx.Reply(486)
			for _, code := range []int{180, 200, 603} {
				if err := tx.Reply(code); err != ErrAnswered {
					t.Errorf("%d after 486: got %v, want %v", code, err, ErrAnswered)
				}
			}
			tx.Refuse(roam.NotAllowed)
		})
		o.Sleep(10 * time.Second)
		for _, s := range o.Take()[1:] {
			if s.Line() != "SIP/2.0 486 Busy Here" {
				t.Errorf("sent %q", s.Line())
			}
		}
	})
}

// 9.2: CANCEL is answered 200, the INVITE 487, with one To tag; a repeated CANCEL is
// answered again and tells nobody; one from elsewhere, or to nothing, gets 481.
func TestCancel(t *testing.T) {
	var tx *Server
	told := 0
	h := func(s *Server, req *sip.Message) error {
		s.Hold().OnCancel(func(c *sip.Message) {
			told++
			if c.Method() != sip.CANCEL {
				t.Errorf("told of %s", c.MethodText())
			}
			tx.Reply(487)
		})
		tx = s
		return nil
	}
	run(t, 10*time.Second, h, func(t *testing.T, o *office) {
		o.In(phone, request("CANCEL", "z9hG4bKa", "", ""))
		if got := o.One().Line(); got != "SIP/2.0 481 Call/Transaction Does Not Exist" {
			t.Errorf("CANCEL to nothing: %q", got)
		}
		o.In(phone, request("INVITE", "z9hG4bKa", "", ""))
		o.Take()
		o.In(siptest.UDP("192.0.2.66:5060"), request("CANCEL", "z9hG4bKa", "", ""))
		if got := o.One().Line(); told != 0 || !strings.HasPrefix(got, "SIP/2.0 481") {
			t.Errorf("CANCEL from elsewhere: %q, told %d", got, told)
		}
		o.In(phone, request("CANCEL", "z9hG4bKa", "", ""))
		o.In(phone, request("CANCEL", "z9hG4bKa", "", ""))
		sent := o.Take()
		want := []string{"SIP/2.0 200 OK", "SIP/2.0 487 Request Terminated", "SIP/2.0 200 OK"}
		if got := siptest.Lines(sent); !slices.Equal(got, want) || told != 1 {
			t.Fatalf("sent %q, want %q; told %d, want 1", got, want, told)
		}
		if tagOf(sent[0]) != tagOf(sent[1]) || tagOf(sent[0]) == "" {
			t.Errorf("tags %q and %q", tagOf(sent[0]), tagOf(sent[1]))
		}
		o.In(phone, request("ACK", "z9hG4bKa", tagOf(sent[1]), ""))
	})
}

// A handler that answers 487 later is told of a repeated CANCEL no more.
func TestCancelToldOnce(t *testing.T) {
	var tx *Server
	told := 0
	h := func(s *Server, _ *sip.Message) error {
		tx = s.Hold()
		tx.OnCancel(func(*sip.Message) { told++ })
		return nil
	}
	run(t, 33*time.Second, h, func(t *testing.T, o *office) {
		o.In(phone, request("INVITE", "z9hG4bKa", "", ""))
		o.In(phone, request("CANCEL", "z9hG4bKa", "", ""))
		o.In(phone, request("CANCEL", "z9hG4bKa", "", ""))
		if told != 1 {
			t.Errorf("told %d times, want 1", told)
		}
		o.Do(func() { tx.Reply(487) })
	})
}

// A CANCEL that comes while the handler still asks somebody is told when it can be.
func TestEarlyCancel(t *testing.T) {
	var tx *Server
	run(t, time.Minute, hold(&tx), func(t *testing.T, o *office) {
		o.In(phone, request("INVITE", "z9hG4bKa", "", ""))
		o.In(phone, request("CANCEL", "z9hG4bKa", "", "Reason: SIP;cause=200"))
		o.Do(func() {
			tx.OnCancel(func(c *sip.Message) {
				if got := string(c.Value(sip.Reason)); got != "SIP;cause=200" {
					t.Errorf("Reason %q", got)
				}
				tx.Reply(487)
			})
		})
		if got := o.At("SIP/2.0 487"); len(got) != 1 {
			t.Errorf("487 sent %d times, want 1", len(got))
		}
	})
}

// 8.2.2.2: the same request by another way is refused while the first is known.
func TestMerged(t *testing.T) {
	var tx *Server
	run(t, time.Minute, hold(&tx), func(t *testing.T, o *office) {
		o.In(phone, request("INVITE", "z9hG4bKa", "", ""))
		o.Take()
		o.In(phone, request("INVITE", "z9hG4bKb", "", ""))
		if got := o.One().Line(); got != "SIP/2.0 482 Loop Detected" {
			t.Errorf("by another way: %q", got)
		}
		first := tx
		o.In(phone, request("INVITE", "z9hG4bKc", tx.ToTag(), ""))
		if got := o.One().Line(); got != "SIP/2.0 100 Trying" {
			t.Errorf("in the dialog: %q", got)
		}
		o.Do(func() { tx.Reply(480); first.Reply(480) })
	})
}

// 17.2.3: sent-by and method are part of the name; without the cookie RFC 2543's rule holds.
func TestMatching(t *testing.T) {
	old := strings.NewReplacer("branch=z9hG4bKa", "branch=1")
	for _, c := range []struct {
		name, first, second string
		handled             int
	}{
		{"same", request("INFO", "z9hG4bKa", "2", ""), request("INFO", "z9hG4bKa", "2", ""), 1},
		{"parameters in another order", request("INFO", "z9hG4bKa", "2", ""),
			strings.Replace(request("INFO", "z9hG4bKa", "2", ""), ":5062;rport;branch=z9hG4bKa", " : 5062 ;Branch=z9hG4bKa;rport", 1), 1},
		{"another branch", request("INFO", "z9hG4bKa", "2", ""), request("INFO", "z9hG4bKb", "2", ""), 2},
		{"another method", request("INFO", "z9hG4bKa", "2", ""), request("UPDATE", "z9hG4bKa", "2", ""), 2},
		{"another sent-by", request("INFO", "z9hG4bKa", "2", ""), strings.Replace(request("INFO", "z9hG4bKa", "2", ""), "5062;rport", "5063;rport", 1), 2},
		{"an unknown method", request("FLY", "z9hG4bKa", "2", ""), request("RUN", "z9hG4bKa", "2", ""), 2},
		{"RFC 2543", old.Replace(request("INFO", "z9hG4bKa", "2", "")), old.Replace(request("INFO", "z9hG4bKa", "2", "")), 1},
		{"RFC 2543, another CSeq", old.Replace(request("INFO", "z9hG4bKa", "2", "")),
			strings.Replace(old.Replace(request("INFO", "z9hG4bKa", "2", "")), "CSeq: 1", "CSeq: 2", 1), 2},
	} {
		handled := 0
		run(t, time.Minute, func(tx *Server, _ *sip.Message) error { handled++; return tx.Reply(200) }, func(t *testing.T, o *office) {
			o.In(phone, c.first)
			o.In(phone, c.second)
			if handled != c.handled {
				t.Errorf("%s: handled %d, want %d", c.name, handled, c.handled)
			}
		})
	}
}

// An RFC 2543 phone's ACK has the To tag of our answer and is absorbed all the same.
func TestOldACK(t *testing.T) {
	var tx *Server
	run(t, 6*time.Second, hold(&tx), func(t *testing.T, o *office) {
		o.In(phone, request("INVITE", "1", "", ""))
		o.Do(func() { tx.Reply(486) })
		o.In(phone, request("ACK", "1", tx.ToTag(), ""))
		o.Sleep(10 * time.Second)
		if got := o.At("SIP/2.0 486"); len(got) != 1 {
			t.Errorf("486 sent at %v, want once", got)
		}
	})
}

// A connection that is gone is never dialled for an answer.
func TestAnswerToAClosedConnection(t *testing.T) {
	var tx *Server
	run(t, time.Minute, hold(&tx), func(t *testing.T, o *office) {
		o.Dial = func(sip.Hop) (*sip.Flow, error) { t.Error("dialled"); return nil, ErrClosed }
		o.In(tcp, request("INVITE", "z9hG4bKa", "", ""))
		o.Close(tcp)
		o.Do(func() {
			if err := tx.Reply(200); err == nil {
				t.Error("answer to a closed connection: no error")
			}
		})
	})
}

// What cannot be written is not sent, and the transaction can still be answered.
func TestUnwritable(t *testing.T) {
	var tx *Server
	run(t, time.Minute, hold(&tx), func(t *testing.T, o *office) {
		o.In(phone, request("INFO", "z9hG4bKa", "2", ""))
		o.Do(func() {
			if err := tx.Reply(200, sip.Field{Name: sip.Reason, Value: "a\r\nVia: b"}); err == nil {
				t.Error("no error")
			}
			tx.Refuse(&sip.Refused{Why: roam.NotAllowed, Fields: []sip.Field{{Name: sip.Reason, Value: "a\nb"}}})
		})
		if got := o.One().Line(); got != "SIP/2.0 500 Server Internal Error" {
			t.Errorf("got %q", got)
		}
	})
}

// A request of a dialog nobody knows leaves nothing either.
func TestUnknownDialog(t *testing.T) {
	run(t, 0, func(*Server, *sip.Message) error { return roam.NoDialog }, func(t *testing.T, o *office) {
		for _, method := range []string{"BYE", "INVITE"} {
			o.In(phone, request(method, "z9hG4bKa", "2", ""))
			if got := o.One().Line(); got != "SIP/2.0 481 Call/Transaction Does Not Exist" || o.len() != 0 {
				t.Errorf("%s: got %q and %d transactions, want 481 and none", method, got, o.len())
			}
		}
	})
}

// The next REGISTER has the memory of the one before, unless that is held.
func TestHeldREGISTERStaysItself(t *testing.T) {
	var held []*Server
	h := func(s *Server, req *sip.Message) error {
		if len(held) < 2 {
			held = append(held, s.Hold())
			return nil
		}
		return roam.NotAllowed
	}
	run(t, 0, h, func(t *testing.T, o *office) {
		for _, branch := range []string{"z9hG4bKa", "z9hG4bKb", "z9hG4bKc", "z9hG4bKd"} {
			o.In(phone, request("REGISTER", branch, "", ""))
		}
		o.Do(func() {
			for i, want := range []string{"z9hG4bKa", "z9hG4bKb"} {
				if got := held[i].Request().Branch(); got != want || held[i].Answered() {
					t.Errorf("held %d: got branch %s, answered %v, want %s and not", i, got, held[i].Answered(), want)
				}
				held[i].Reply(200)
			}
		})
		if got := o.At("SIP/2.0 200"); len(got) != 2 {
			t.Errorf("got %d answers of 200, want 2", len(got))
		}
		if got := o.At("SIP/2.0 403"); len(got) != 2 {
			t.Errorf("got %d answers of 403, want 2", len(got))
		}
	})
}

// TestFrom: a request that another process of ours has handed on is its phone's to the handler; its answer goes
// back by where it came from, and says nothing of the phone's address in a Via that is not the phone's.
func TestFrom(t *testing.T) {
	var tx *Server
	seen := []*sip.Flow{}
	h := func(s *Server, req *sip.Message) error {
		s.From(tcp)
		seen = append(seen, s.Flow(), req.Flow)
		tx = s.Hold()
		seen = append(seen, tx.Request().Flow)
		return nil
	}
	run(t, 0, HandlerFunc(h), func(t *testing.T, o *office) {
		o.In(phone, request("REGISTER", "z9hG4bKa", "", ""))
		o.Do(func() { tx.Reply(200) })
		got := o.One()
		for i, f := range seen {
			if f != tcp {
				t.Errorf("%d: got %v, want the phone's flow", i, f)
			}
		}
		if got.Flow != phone || !strings.Contains(got.Header(sip.Via), "rport="+strconv.Itoa(int(phone.Remote.Port()))) {
			t.Errorf("answered by %v with Via %s, want the way it came", got.Flow.Remote, got.Header(sip.Via))
		}
		if tx.Request().Flow != tcp {
			t.Errorf("after the answer: got %v, want the phone's flow", tx.Request().Flow)
		}
		o.Sleep(40 * time.Second)
	})
}
