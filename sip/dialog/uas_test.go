package dialog

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
	"github.com/siproam/siproam/sip/transaction"
)

// 13.3.1.4: a 2xx is repeated from T1 to T2, over TCP too; without its ACK the dialog ends with BYE after 64*T1.
func TestUnconfirmed(t *testing.T) {
	for _, flow := range []*sip.Flow{phone, tcp} {
		run(t, 33*time.Second, func(t *testing.T, o *office) {
			o.In(flow, o.theirs("INVITE", 1, "a", "Contact: <sip:a@10.0.0.9:5062>"))
			o.answer(200)
			o.Sleep(31999 * time.Millisecond)
			if len(o.leg.ended) != 0 {
				t.Error("ended before 64*T1")
			}
			o.Sleep(time.Millisecond)
			want := siptest.Seconds(0, .5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5)
			if got := o.At("SIP/2.0 200"); !slices.Equal(got, want) {
				t.Errorf("200 sent at %v, want %v", got, want)
			}
			if got := o.At("BYE sip:a@10.0.0.9:5062"); !slices.Equal(got, siptest.Seconds(32)) {
				t.Errorf("BYE sent at %v, want 32 s", got)
			}
			if len(o.leg.ended) != 1 || o.leg.ended[0].Err != roam.Timeout {
				t.Errorf("ended %+v, want %v", o.leg.ended, roam.Timeout)
			}
		})
	}
}

// The ACK ends the repetition and is told once; a lost one is as if late.
func TestConfirmed(t *testing.T) {
	run(t, 33*time.Second, func(t *testing.T, o *office) {
		o.In(phone, o.theirs("INVITE", 1, "a", "Contact: <sip:a@10.0.0.9:5062>"))
		o.answer(180)
		o.answer(200)
		o.Sleep(time.Second)
		o.In(phone, o.theirs("ACK", 1, "b", ""))
		o.In(phone, o.theirs("ACK", 1, "b", ""))
		o.Sleep(time.Minute)
		if got, want := o.At("SIP/2.0 200"), siptest.Seconds(0, .5); !slices.Equal(got, want) || !slices.Equal(o.leg.requests, []sip.Method{sip.ACK}) {
			t.Errorf("200 sent at %v, want %v; told of %v, want one ACK", got, want, o.leg.requests)
		}
		o.Take()
		o.hangUp()
		if end := o.leg.ended[0]; end.Remote {
			t.Errorf("ended %+v", end)
		}
	})
}

// 12.1.1: answers that make a dialog have our Contact and the Record-Route, as they came; a refusal has none.
func TestAnswers(t *testing.T) {
	routes := "Record-Route: <sip:p1.example.org;lr>, <sip:p2.example.org;lr>"
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		o.In(phone, o.theirs("INVITE", 1, "a", "Contact: <sip:a@10.0.0.9:5062>\n"+routes))
		o.Take()
		o.answer(180)
		got := o.One()
		for _, want := range []string{"\r\nContact: <sip:", "@192.0.2.1:5060>\r\n", "\r\nRecord-Route: <sip:p1.example.org;lr>", "<sip:p2.example.org;lr>\r\n", ";tag=" + o.leg.d.local} {
			if !strings.Contains(got.Text, want) {
				t.Errorf("no %q in\n%s", want, got.Text)
			}
		}
		o.answer(486)
		if got := o.One(); got.Header(sip.Contact) != "" || got.Header(sip.RecordRoute) != "" {
			t.Errorf("a refusal has Contact or Record-Route:\n%s", got.Text)
		}
		if err := o.leg.d.Respond(o.tx, Answer{Code: 200}); err != transaction.ErrAnswered {
			t.Errorf("200 after 486: %v, want %v", err, transaction.ErrAnswered)
		}
	})
}

// 15: our BYE waits for the ACK to our 2xx, and theirs does not.
func TestByeBeforeAck(t *testing.T) {
	run(t, 33*time.Second, func(t *testing.T, o *office) {
		o.called(false)
		o.answer(200)
		o.Take()
		o.Do(func() { o.leg.d.Bye(0, "") })
		lines(t, "before the ACK", o.Take())
		if len(o.leg.ended) != 1 {
			t.Error("the leg still waits")
		}
		o.In(phone, o.theirs("ACK", 1, "b", ""))
		bye := o.Take()
		lines(t, "after the ACK", bye, "BYE")
		o.Answer(bye[0], "200 OK", "")
	})
	run(t, 33*time.Second, func(t *testing.T, o *office) {
		o.called(false)
		o.answer(200)
		o.Do(func() { o.leg.d.Bye(0, "") })
		o.Sleep(32 * time.Second)
		if got := o.At("BYE"); !slices.Equal(got, siptest.Seconds(32)) {
			t.Errorf("BYE sent at %v, want 32 s", got)
		}
	})
	for _, first := range []bool{false, true} { // theirs, alone or after ours
		run(t, 33*time.Second, func(t *testing.T, o *office) {
			o.called(false)
			o.answer(200)
			if first {
				o.Do(func() { o.leg.d.Bye(0, "") })
			}
			o.Take()
			o.In(phone, o.theirs("BYE", 2, "b", ""))
			lines(t, "their BYE", o.Take(), "200")
			o.Sleep(time.Minute)
			lines(t, "afterwards", o.Take())
		})
	}
}

// 9.2: CANCEL ends the leg; the INVITE gets 487.
func TestTheirCancel(t *testing.T) {
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		o.called(false)
		o.answer(180)
		o.Take()
		o.In(phone, strings.Replace(o.theirs("CANCEL", 1, "a", ""), ";tag="+o.leg.d.local, "", 1))
		lines(t, "CANCEL", o.Take(), "200", "487")
		if end := o.leg.ended[0]; end.Req == nil || end.Req.Method() != sip.CANCEL || !end.Remote {
			t.Errorf("ended %+v", end)
		}
	})
}

// 15.1.2: a BYE before the answer ends the call too; the INVITE gets 487.
func TestEarlyBye(t *testing.T) {
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		o.called(false)
		o.answer(180)
		o.Take()
		o.In(phone, o.theirs("BYE", 2, "b", ""))
		lines(t, "BYE", o.Take(), "200", "487")
	})
}

// Bye refuses an unanswered INVITE, with a code of its own choice and the reason.
func TestRefusedByBye(t *testing.T) {
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		o.called(false)
		o.Do(func() { o.leg.d.Bye(603, "Q.850;cause=21") })
		if got := o.One(); got.Line() != "SIP/2.0 603 Decline" || got.Header(sip.Reason) != "Q.850;cause=21" {
			t.Errorf("got %q", got.Text)
		}
	})
}

// A request of no dialog gets 481; its ACK nothing.
func TestNoDialog(t *testing.T) {
	run(t, 33*time.Second, func(t *testing.T, o *office) {
		o.called(true)
		for _, wrong := range []string{";tag=1", ";tag=" + o.leg.d.local, "Call-ID: c1"} {
			for _, method := range []string{"BYE", "ACK"} {
				o.In(phone, strings.Replace(o.theirs(method, 5, "x"+method+wrong[1:3], ""), wrong, wrong+"x", 1))
			}
			lines(t, wrong, o.Take(), "481")
		}
		o.In(phone, strings.Replace(o.theirs("ACK", 5, "y", ""), ";tag="+o.leg.d.local, "", 1))
		lines(t, "ACK without To tag", o.Take())
		o.In(phone, strings.Replace(o.theirs("MESSAGE", 5, "z", ""), ";tag="+o.leg.d.local, "", 1))
		lines(t, "a request outside", o.Take(), "403")
		o.hangUp()
	})
}

// 12.2.2: a lower CSeq is out of order; a gap is not.
func TestSequence(t *testing.T) {
	run(t, 33*time.Second, func(t *testing.T, o *office) {
		o.called(true)
		o.leg.on = func(tx *transaction.Server, _ *sip.Message) { o.leg.d.Respond(tx, Answer{Code: 200}) }
		o.In(phone, o.theirs("INFO", 7, "b", ""))
		o.In(phone, o.theirs("INFO", 6, "c", ""))
		o.In(phone, o.theirs("INFO", 8, "d", ""))
		lines(t, "CSeq 7, 6, 8", o.Take(), "200", "500", "200")
		o.hangUp()
	})
}

// RFC 2543 6.13: a phone that gives no Contact, tag or branch is asked, and asks, all the same.
func TestOldCaller(t *testing.T) {
	old := strings.NewReplacer(";tag=1", "", ";branch=z9hG4bKa", "", ";branch=z9hG4bKack", "", ";branch=z9hG4bKb", "")
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		o.In(phone, old.Replace(o.theirs("INVITE", 1, "a", "")))
		o.Do(func() { o.leg.d.Respond(o.tx, Answer{Code: 200}) })
		o.In(phone, old.Replace(o.theirs("ACK", 1, "ack", "")))
		lines(t, "the call", o.Take(), "100", "200")
		o.leg.on = func(tx *transaction.Server, _ *sip.Message) { o.leg.d.Respond(tx, Answer{Code: 200}) }
		o.In(phone, old.Replace(o.theirs("INFO", 2, "b", "")))
		lines(t, "INFO of the phone", o.Take(), "200")
		o.Do(func() { o.leg.d.Bye(0, "") })
		bye := o.One()
		if bye.Line() != "BYE sip:a@example.org SIP/2.0" || bye.Flow != phone || bye.Header(sip.To) != "<sip:a@example.org>" {
			t.Errorf("got %q by %v, want it to go to From down the flow", bye.Text, bye.Flow.Remote)
		}
		o.Answer(bye, "200 OK", "")
	})
}

// 8.2.2.3: a request that wants an extension we do not have is refused and the dialog goes on; an ACK never is.
func TestRequireInDialog(t *testing.T) {
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		o.called(false)
		o.Do(func() {
			o.table.Require(transaction.NewMux("outbound").Required)
			o.leg.d.Respond(o.tx, Answer{Code: 200})
		})
		o.Take()
		o.In(phone, o.theirs("ACK", 1, "ack", "Require: timer"))
		o.Sleep(10 * time.Second)
		lines(t, "200 that was acknowledged", o.Take())
		for n, method := range []string{"INVITE", "UPDATE", "BYE"} {
			o.In(phone, o.theirs(method, 2+n, method, "Require: outbound, timer\nProxy-Require: fish\nContact: <sip:a@192.0.2.77>"))
			got := o.One()
			if !strings.HasPrefix(got.Line(), "SIP/2.0 420") || !strings.Contains(got.Text, "\r\nUnsupported: timer, fish\r\n") {
				t.Errorf("%s: got %q, want 420 with what is not supported", method, got.Text)
			}
			o.In(phone, o.theirs("ACK", 2+n, method, ""))
		}
		if !o.leg.d.Confirmed() {
			t.Error("the dialog is over, want it to go on")
		}
		o.hangUp()
	})
}

// 14.2: while their INVITE is unanswered another gets 500 with Retry-After, while ours is, 491.
func TestGlare(t *testing.T) {
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		o.called(true)
		o.In(phone, o.theirs("INVITE", 2, "b", ""))
		lines(t, "re-INVITE", o.Take(), "100")
		first := o.tx
		o.In(phone, o.theirs("INVITE", 3, "c", ""))
		if got := o.One(); !strings.HasPrefix(got.Line(), "SIP/2.0 500") || got.Header(sip.RetryAfter) == "" {
			t.Errorf("second re-INVITE: got %q", got.Text)
		}
		var err error
		o.Do(func() { o.leg.d.Request(sip.INVITE, Answer{}, func(_ *sip.Message, e error) { err = e }) })
		if err != roam.TooBusy {
			t.Errorf("ours meanwhile: %v, want %v", err, roam.TooBusy)
		}
		o.Do(func() { first.Refuse(roam.NotAcceptable) })
		lines(t, "their re-INVITE refused", o.Take(), "488")
		o.In(phone, o.theirs("ACK", 2, "b", ""))
		o.In(phone, o.theirs("ACK", 3, "c", ""))

		var codes []int
		ours := o.request(sip.INVITE, &codes)
		o.In(phone, o.theirs("INVITE", 4, "d", ""))
		if got := o.One(); !strings.HasPrefix(got.Line(), "SIP/2.0 491") || got.Header(sip.RetryAfter) != "" {
			t.Errorf("theirs while ours is pending: got %q, want 491", got.Text)
		}
		o.In(phone, o.theirs("ACK", 4, "d", ""))
		o.Do(func() { o.leg.d.Request(sip.INVITE, Answer{}, func(_ *sip.Message, e error) { err = e }) })
		if err != roam.TooBusy {
			t.Errorf("a second of ours: %v, want %v", err, roam.TooBusy)
		}
		o.Answer(ours, "491 Request Pending", "")
		lines(t, "491 to ours", o.Take(), "ACK")
		if !slices.Equal(codes, []int{491}) || !o.leg.d.Confirmed() {
			t.Errorf("ours got %v, want 491, and the dialog goes on", codes)
		}
		o.hangUp()
	})
}

// A cancelled re-INVITE gets 487 and the dialog goes on.
func TestReinviteCancelled(t *testing.T) {
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		o.called(true)
		o.In(phone, o.theirs("INVITE", 2, "b", ""))
		o.In(phone, o.theirs("CANCEL", 2, "b", ""))
		lines(t, "cancelled re-INVITE", o.Take(), "100", "200", "487")
		o.In(phone, o.theirs("ACK", 2, "b", ""))
		o.hangUp()
	})
}

// 12.2.2: the target changes with our 2xx to re-INVITE or UPDATE, and not with a refusal.
func TestTargetRefresh(t *testing.T) {
	for _, method := range []string{"INVITE", "UPDATE"} {
		run(t, 40*time.Second, func(t *testing.T, o *office) {
			o.called(true)
			o.In(phone, o.theirs(method, 2, "b", "Contact: <sip:a@10.0.0.7>"))
			o.answer(488)
			if method == "INVITE" {
				o.In(phone, o.theirs("ACK", 2, "b", ""))
			}
			o.Take()
			var codes []int
			info := o.request(sip.INFO, &codes)
			if info.Line() != "INFO sip:a@10.0.0.9:5062 SIP/2.0" {
				t.Errorf("after a refused %s: %q", method, info.Line())
			}
			o.Answer(info, "200 OK", "")
			o.In(phone, o.theirs(method, 3, "c", "Contact: <sip:a@10.0.0.8>"))
			o.answer(200)
			if method == "INVITE" {
				o.In(phone, o.theirs("ACK", 3, "d", ""))
			}
			sent := o.Take()
			if got := sent[len(sent)-1].Header(sip.Contact); !strings.HasSuffix(got, "@192.0.2.1:5060>") {
				t.Errorf("Contact of our 200: %q", got)
			}
			info = o.request(sip.INFO, &codes)
			if info.Line() != "INFO sip:a@10.0.0.8 SIP/2.0" || info.Flow != phone {
				t.Errorf("after an accepted %s: %q by %v", method, info.Line(), info.Flow.Remote)
			}
			o.Answer(info, "200 OK", "")
			o.hangUp()
		})
	}
}

// The connection of an unanswered INVITE is the only way to answer it.
func TestCallerLost(t *testing.T) {
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		o.In(tcp, o.theirs("INVITE", 1, "a", "Contact: <sip:a@10.0.0.9;transport=tcp>"))
		o.Close(tcp)
		if len(o.leg.ended) != 1 || o.leg.ended[0].Err != transaction.ErrClosed {
			t.Errorf("ended %+v, want %v", o.leg.ended, transaction.ErrClosed)
		}
	})
}

// Another connection may speak in the dialog, but not answer its INVITE.
func TestCallerLostAfterMoving(t *testing.T) {
	other := siptest.Conn(roam.TCP, "192.0.2.9:33002", 8)
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		o.In(tcp, o.theirs("INVITE", 1, "a", "Contact: <sip:a@10.0.0.9;transport=tcp>"))
		o.leg.on = func(tx *transaction.Server, _ *sip.Message) { o.leg.d.Respond(tx, Answer{Code: 200}) }
		o.In(other, o.theirs("INFO", 2, "b", ""))
		o.Close(tcp)
		if len(o.leg.ended) != 1 {
			t.Errorf("ended %+v, want once", o.leg.ended)
		}
	})
}

// guarded is a leg that admits one flow.
type guarded struct {
	*leg
	admits *sip.Flow
}

func (g guarded) Admit(f *sip.Flow, _ Proof) bool { return f == g.admits }

// A phone that comes back by another flow is followed when its leg knows it; nobody else is.
func TestMoved(t *testing.T) {
	back, stranger := siptest.Conn(roam.TCP, "192.0.2.9:33002", 8), siptest.UDP("192.0.2.66:5060")
	partner := siptest.UDP("192.0.2.9:5062")
	partner.Partner = "west"
	partner.Remote = stranger.Remote
	run(t, 33*time.Second, func(t *testing.T, o *office) {
		o.called(true)
		o.Do(func() { o.leg.d.events = guarded{&o.leg, back} })
		o.In(stranger, o.theirs("BYE", 2, "b", ""))
		o.In(partner, o.theirs("BYE", 3, "c", ""))
		lines(t, "strangers", o.Take(), "403", "481")
		o.leg.on = func(tx *transaction.Server, _ *sip.Message) { o.leg.d.Respond(tx, Answer{Code: 200}) }
		o.In(back, o.theirs("INFO", 2, "d", ""))
		lines(t, "the phone", o.Take(), "200")
		if o.leg.d.Flow() != back {
			t.Errorf("flow %v, want %v", o.leg.d.Flow().Remote, back.Remote)
		}
		var codes []int
		info := o.request(sip.INFO, &codes)
		if info.Flow != back {
			t.Errorf("INFO went by %v", info.Flow.Remote)
		}
		o.Answer(info, "200 OK", "")
		o.hangUp()
	})
}

// A dialog is taken over by an office that starts again, with a higher CSeq.
func TestRestore(t *testing.T) {
	run(t, 33*time.Second, func(t *testing.T, o *office) {
		o.called(true, "Record-Route: <sip:p1.example.org;lr>")
		o.Do(func() {
			s, found := o.leg.d.State()
			if !found {
				t.Fatal("no state")
			}
			o.table.live, o.table.dialogs = 0, map[uint64]*Dialog{} // killed
			o.leg.d = o.table.Restore(s, &o.leg)
		})
		o.leg.on = func(tx *transaction.Server, _ *sip.Message) { o.leg.d.Respond(tx, Answer{Code: 200}) }
		o.In(phone, o.theirs("INFO", 2, "d", ""))
		lines(t, "a request", o.Take(), "200")
		o.Do(func() { o.leg.d.Bye(0, "") })
		bye := o.One()
		if bye.Header(sip.CSeq) != "1001 BYE" || bye.Header(sip.Route) != "<sip:p1.example.org;lr>" || bye.Flow.Flow != phone.Flow {
			t.Errorf("got %q", bye.Text)
		}
		o.Answer(bye, "200 OK", "")
	})
}
