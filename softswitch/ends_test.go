package softswitch

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
	"github.com/siproam/siproam/sip/transaction"
)

const (
	alice = roam.UserID("1001@north.example")
	bob   = roam.UserID("1002@north.example")
	carol = roam.UserID("2001@south.example")
	erin  = roam.UserID("2002@south.example")
	dave  = roam.UserID("3001@west.example")
)

// ended checks the one record of user.
func (o *office) ended(user roam.UserID, status, cause int, by, why string) {
	o.net.t.Helper()
	r := o.row(user)
	if r.Status != status || r.Cause != cause || r.By != by || r.Reason != why {
		o.net.t.Errorf("record of %s: got %d, q850 %d, by %s, %q, want %d, %d, %s, %q", user, r.Status, r.Cause, r.By, r.Reason, status, cause, by, why)
	}
}

// What the callee's phone says reaches the caller and both records.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		code, caller, cause int
		why                 string
	}{
		{486, 486, 17, "busy"}, {600, 600, 17, "busy"}, {603, 603, 21, "declined"}, {480, 480, 18, "declined"}, {488, 488, 88, "declined"},
		{404, 404, 1, "declined"}, {302, 480, 23, "declined"}, {401, 480, 21, "declined"}, {503, 500, 41, "declined"}, {481, 480, 41, "declined"},
	} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
			b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
			b.answer = refusing(c.code)
			a.call("1002", "offer")
			net.pass(time.Second)
			if a.last() != c.caller {
				t.Errorf("%d: the caller got %v, want %d", c.code, a.got, c.caller)
			}
			north.ended(alice, c.caller, c.cause, "callee", c.why)
			north.ended(bob, c.caller, c.cause, "callee", c.why)
			if r := north.row(bob); !r.Answered.IsZero() || len(north.writes) != 2 {
				t.Errorf("answered %v, written %v, want one write for each", r.Answered, north.writes)
			}
		})
	}
}

// 16.6 step 11, 16.8: Timer C, three minutes for the whole attempt, ends a call that only rings.
func TestNoAnswer(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b := net.phone(carol, "198.51.100.2:5060").register(south, "", 1)
		b.answer = ringOnly
		a.call("2001", "offer")
		net.pass(179 * time.Second)
		if a.last() != 180 || len(b.ended) != 0 {
			t.Errorf("after 179 s: %v, ended %v", a.got, b.ended)
		}
		net.pass(2 * time.Second)
		if a.last() != 480 || len(b.ended) != 1 || b.ended[0].Req.Method() != sip.CANCEL || len(b.invited) != 1 {
			t.Errorf("after 181 s: %v, ended %+v, invited %d times", a.got, b.ended, len(b.invited))
		}
	})
}

// The phone is gone without a word: 480 when its transaction has timed out.
func TestSilentPhone(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
		net.down[b.addrs[0]] = "silent"
		a.call("1002", "offer")
		net.pass(33 * time.Second)
		if a.last() != 480 {
			t.Errorf("got %v, want 480", a.got)
		}
		north.ended(alice, 480, 102, "network", "not reachable")
	})
}

func TestCancel(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b := net.phone(carol, "198.51.100.2:5060").register(south, "", 1)
		b.answer = ringOnly
		a.call("2001", "offer")
		net.pass(5 * time.Second)
		a.do(func() { a.d.Bye(0, `SIP;cause=487;text="changed my mind"`) })
		net.pass(time.Second)
		if a.last() != 487 || len(b.ended) != 1 || b.ended[0].Req.Method() != sip.CANCEL || !strings.Contains(string(b.ended[0].Req.Value(sip.Reason)), "changed my mind") {
			t.Errorf("the caller got %v, the callee %+v, want 487 and CANCEL with the caller's Reason", a.got, b.ended)
		}
		north.ended(alice, 487, 16, "caller", "cancelled")
		south.ended(carol, 487, 16, "caller", "cancelled")
	})
}

// The callee answers while the CANCEL is on its way: the answer is acknowledged and ended (RFC 3261 15).
func TestCancelAndAnswerCross(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
		b.answer = ringOnly
		a.call("1002", "offer")
		north.lose = func(line string) bool { return strings.HasPrefix(line, "CANCEL") }
		a.do(func() { a.d.Bye(0, "") })
		b.do(func() { b.answerNow("late") })
		net.pass(time.Second)
		if a.last() != 487 || len(b.ended) != 1 || b.ended[0].Req == nil || b.ended[0].Req.Method() != sip.BYE || len(b.acks) != 1 {
			t.Errorf("the caller got %v, the callee %+v and ACKs %q, want 487, ACK and BYE", a.got, b.ended, b.acks)
		}
		north.ended(alice, 487, 16, "caller", "cancelled")
	})
}

// answerNow answers the INVITE that rings.
func (p *phone) answerNow(sdp string) {
	tx := p.ringing
	a := dialog.Answer{Code: 200}
	if sdp != "" {
		a.Type, a.Body = sdpType, []byte(sdp)
	}
	p.d.Respond(tx, a)
}

func TestHangUpFromTheCallee(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b := net.phone(carol, "198.51.100.2:5060").register(south, "", 1)
		a.call("2001", "offer")
		net.pass(5 * time.Second)
		b.do(func() { b.d.Bye(0, `Q.850;cause=31;text="bored", X;cause=9`) })
		if len(a.ended) != 1 || a.ended[0].Req == nil || string(a.ended[0].Req.Value(sip.Reason)) != `Q.850;cause=31;text="bored"` {
			t.Errorf("the caller's end: %+v, want BYE with the Q.850 Reason alone", a.ended)
		}
		north.ended(alice, 200, 31, "callee", "normal")
		south.ended(carol, 200, 31, "callee", "normal")
	})
}

// The caller's phone vanishes between the 200 and its ACK.
func TestNoACK(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
		a.lose = func(line string) bool { return strings.HasPrefix(line, "ACK") }
		a.call("1002", "offer")
		net.pass(40 * time.Second)
		if len(b.ended) != 1 || len(a.ended) != 1 {
			t.Errorf("ended %+v and %+v, want both", a.ended, b.ended)
		}
		north.ended(bob, 200, 41, "network", "lost")
	})
}

func TestMediaTimeout(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
		a.call("1002", "offer")
		net.pass(5 * time.Second)
		var silent func()
		north.do(func() {
			for _, c := range north.sw.calls {
				silent = c.bridge.(*fakeBridge).silent
			}
		})
		silent()
		net.pass(time.Second)
		if len(a.ended) != 1 || len(b.ended) != 1 || !strings.Contains(string(a.ended[0].Req.Value(sip.Reason)), "media timeout") {
			t.Errorf("ended %+v and %+v, want BYE to both with the Reason", a.ended, b.ended)
		}
		north.ended(alice, 200, 41, "network", "media timeout")
	})
}

func TestHangupAndCalls(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
		states := func() (s []string) {
			views, err := north.sw.Calls(t.Context())
			for _, v := range views {
				if v.From != string(alice) || v.To != string(bob) || v.Kind != roam.InOffice || v.ICID == "" || v.CallIDs[0] == "" || v.CallIDs[1] == "" {
					t.Errorf("view %+v", v)
				}
				s = append(s, v.State)
			}
			if err != nil {
				t.Error(err)
			}
			return s
		}
		a.call("1002", "offer")
		if got := states(); !slices.Equal(got, []string{"ringing"}) {
			t.Errorf("states %v, want ringing", got)
		}
		net.pass(5 * time.Second)
		if got := states(); !slices.Equal(got, []string{"talking"}) {
			t.Errorf("states %v, want talking", got)
		}
		if found, err := north.sw.Hangup(t.Context(), "none"); found || err != nil {
			t.Errorf("Hangup(none): got %v, %v", found, err)
		}
		views, _ := north.sw.Calls(t.Context())
		if found, err := north.sw.Hangup(t.Context(), views[0].ID); !found || err != nil {
			t.Errorf("Hangup: got %v, %v", found, err)
		}
		synctest.Wait()
		if len(a.ended) != 1 || len(b.ended) != 1 || len(states()) != 1 { // until the record is safe
			t.Errorf("ended %+v and %+v, states %v", a.ended, b.ended, states())
		}
		north.ended(alice, 200, 16, "office", "hung up by the operator")
	})
}

func TestDrain(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
		c := net.phone("1003@north.example", "198.51.100.3:5060").register(north, "", 1)
		d := net.phone("1004@north.example", "198.51.100.4:5060").register(north, "", 1)
		d.answer = ringOnly
		a.call("1002", "offer")
		c.call("1004", "offer")
		net.pass(5 * time.Second)
		drained := false
		north.do(func() { north.sw.Drain(func() { drained = true }) })
		if drained {
			t.Error("drained before the records were safe")
		}
		net.pass(time.Second)
		if !drained || len(a.ended) != 1 || len(b.ended) != 1 || c.last() != 503 || len(d.ended) != 1 {
			t.Errorf("drained %v, ended %v %v, the ringing call got %v, %v", drained, a.ended, b.ended, c.got, d.ended)
		}
		north.ended(alice, 200, 41, "office", "shutdown")
		north.ended("1003@north.example", 503, 41, "office", "shutdown")
		a.call("1002", "offer")
		if a.last() != 503 {
			t.Errorf("a call after Drain: got %v, want 503", a.got)
		}
	})
}

// Calls end when nothing is left to drain, too.
func TestDrainIdle(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		drained := 0
		north.do(func() { north.sw.Drain(func() { drained++ }) })
		if drained != 1 {
			t.Errorf("drained %d times, want once", drained)
		}
	})
}

// A failed write is told, and the call still leaves.
func TestRecordLost(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
		b.answer = refusing(486)
		north.diskErr = roam.NoCapacity
		a.call("1002", "offer")
		net.pass(time.Second)
		if !strings.Contains(net.logged(), "cdr.lost") {
			t.Errorf("log: %s", net.logged())
		}
	})
}

// Unusable SDP from either end.
func TestUnusableSDP(t *testing.T) {
	for _, c := range []struct {
		offer, answer string
		code          int
	}{{"unusable", "answer", 488}, {"offer", "unusable", 488}} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
			b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
			b.answer = func(p *phone, tx *transaction.Server) { p.ringing = tx; p.answerNow(c.answer) }
			a.call("1002", c.offer)
			net.pass(time.Second)
			if a.last() != c.code {
				t.Errorf("%+v: got %v, want %d", c, a.got, c.code)
			}
			if r := north.row(alice); r.Status != 488 || !r.Answered.IsZero() {
				t.Errorf("%+v: record %+v", c, r)
			}
		})
	}
}
