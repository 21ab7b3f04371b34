package dialog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
	"github.com/siproam/siproam/sip/transaction"
)

var (
	down = transaction.Destination{Flow: phone}
	away = transaction.Destination{URI: sip.URI{Scheme: "sip", Host: "trunk.example"}}
)

// The INVITE says what the leg gave, with a tag and a Call-ID nobody can guess.
func TestOurInvite(t *testing.T) {
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		invite := o.calls(down)
		for _, want := range []string{"INVITE sip:b@192.0.2.9 SIP/2.0\r\n", "\r\nFrom: \"Al\" <sip:a@example.org>;tag=", "\r\nTo: <sip:b@example.org>\r\n",
			"\r\nCSeq: 1 INVITE\r\n", "\r\nContact: <sip:", "@192.0.2.1:5060>\r\n", "\r\nMax-Forwards: 70\r\n", "\r\n\r\nhi"} {
			if !strings.Contains(invite.Text, want) {
				t.Errorf("no %q in\n%s", want, invite.Text)
			}
		}
		callID, local, remote := o.leg.d.ID()
		if len(callID) < 16 || len(local) < 16 || remote != "" {
			t.Errorf("Call-ID %q, tags %q and %q", callID, local, remote)
		}
		o.Answer(invite, "404 Not Found", "2")
		if end := o.leg.ended[0]; end.Res.Status() != 404 || !end.Remote {
			t.Errorf("ended %+v", end)
		}
	})
}

// 13.2.2.4: the ACK goes again for each repetition of the 2xx, as it was.
func TestLostAck(t *testing.T) {
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		invite := o.calls(down)
		o.Answer(invite, "200 OK", "2", "Contact: <sip:b@10.0.0.9>")
		o.Answer(invite, "200 OK", "2", "Contact: <sip:b@10.0.0.9>")
		lines(t, "before the leg's ACK", o.Take())
		o.Do(func() { o.leg.d.Ack("application/sdp", []byte("v=0")) })
		ack := o.One()
		if ack.Line() != "ACK sip:b@10.0.0.9 SIP/2.0" || ack.Header(sip.CSeq) != "1 ACK" || !strings.HasSuffix(ack.Text, "\r\n\r\nv=0") || ack.Header(sip.Via) == invite.Header(sip.Via) {
			t.Errorf("got %q", ack.Text)
		}
		o.Answer(invite, "200 OK", "2", "Contact: <sip:b@10.0.0.9>")
		again := o.One()
		if _, rest, _ := strings.Cut(again.Text, "Max-Forwards"); !strings.HasSuffix(ack.Text, rest) || again.Line() != ack.Line() {
			t.Errorf("got %q, want %q", again.Text, ack.Text)
		}
		if !slices.Equal(o.leg.progress, []int{200}) {
			t.Errorf("told of %v, want 200 once", o.leg.progress)
		}
		o.hangUp()
	})
}

// Forks: each has its early dialog, the first 2xx wins, the other is acknowledged at each
// repetition and ended once.
func TestForks(t *testing.T) {
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		invite := o.calls(down)
		o.Answer(invite, "180 Ringing", "2", "Contact: <sip:b2@10.0.0.2>")
		o.Answer(invite, "183 Session Progress", "3", "Contact: <sip:b3@10.0.0.3>")
		o.leg.on = func(tx *transaction.Server, _ *sip.Message) { o.leg.d.Respond(tx, Answer{Code: 200}) }
		o.back(invite, phone, "INFO", 1, "2", "x") // each early dialog is one
		o.back(invite, phone, "INFO", 1, "3", "y")
		o.back(invite, phone, "INFO", 1, "4", "z")
		o.back(invite, phone, "BYE", 2, "3", "w")
		lines(t, "early requests", o.Take(), "200", "200", "481", "481")
		o.Answer(invite, "200 OK", "2", "Contact: <sip:b2@10.0.0.2>")
		o.Do(func() { o.leg.d.Ack("", nil) })
		lines(t, "the first 2xx", o.Take(), "ACK")
		o.Answer(invite, "200 OK", "3", "Contact: <sip:b3@10.0.0.3>")
		sent := o.Take()
		lines(t, "the second 2xx", sent, "ACK", "BYE")
		for _, s := range sent {
			if !strings.Contains(s.Line(), " sip:b3@10.0.0.3 ") || !strings.HasSuffix(s.Header(sip.To), ";tag=3") {
				t.Errorf("got %q", s.Text)
			}
		}
		o.Answer(sent[1], "200 OK", "")
		o.Answer(invite, "200 OK", "3", "Contact: <sip:b3@10.0.0.3>")
		lines(t, "the second 2xx again", o.Take(), "ACK")
		o.back(invite, phone, "INFO", 2, "3", "v")
		lines(t, "a request of the loser", o.Take(), "481")
		if _, _, remote := o.leg.d.ID(); remote != "2" || !slices.Equal(o.leg.progress, []int{180, 183, 200}) {
			t.Errorf("remote tag %q, want 2; told of %v", remote, o.leg.progress)
		}
		o.hangUp()
	})
}

// RFC 6026 7.2: for Timer M, 64*T1 after the first 2xx, one of another fork is acknowledged and ended, and the first is
// acknowledged again; after it nothing of either is known.
func TestTimerM(t *testing.T) {
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		invite := o.calls(down)
		o.Answer(invite, "200 OK", "2", "Contact: <sip:b2@10.0.0.2>")
		o.Do(func() { o.leg.d.Ack("", nil) })
		lines(t, "the first 2xx", o.Take(), "ACK")
		o.hangUp()
		o.Sleep(31900 * time.Millisecond)
		o.Answer(invite, "200 OK", "3", "Contact: <sip:b3@10.0.0.3>")
		sent := o.Take()
		lines(t, "another fork in time", sent, "ACK", "BYE")
		o.Answer(sent[1], "200 OK", "")
		o.Sleep(200 * time.Millisecond)
		o.Answer(invite, "200 OK", "4", "Contact: <sip:b4@10.0.0.4>")
		o.Answer(invite, "200 OK", "2", "Contact: <sip:b2@10.0.0.2>")
		lines(t, "after Timer M", o.Take())
	})
}

// 2xx to an INVITE that never was ours make us send nothing.
func TestStrangersAnswer(t *testing.T) {
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		invite, _ := o.answered(down)
		forged := invite
		forged.Text = strings.ReplaceAll(forged.Text, "z9hG4bK", "z9hG4bKx")
		forged.Text = strings.Replace(forged.Text, ";tag=", ";tag=x", 1)
		o.Answer(forged, "200 OK", "9")
		lines(t, "a stranger's 2xx", o.Take())
		o.hangUp()
	})
}

// 12.1.2, 12.2.1.1: the route set is Record-Route reversed; loose routers leave the target in the
// Request-URI, a strict one takes its place.
func TestRoutes(t *testing.T) {
	for _, c := range []struct {
		name, recordRoute, line string
		routes                  []string
		to                      string
	}{
		{"where the INVITE went", "Record-Route: <sip:192.0.2.77;lr>", "INFO sip:b@10.0.0.9 SIP/2.0", []string{"<sip:192.0.2.77;lr>"}, "192.0.2.77:5060"},
		{"another port there", "Record-Route: <sip:192.0.2.77:5070;lr>", "INFO sip:b@10.0.0.9 SIP/2.0", []string{"<sip:192.0.2.77:5070;lr>"}, "192.0.2.77:5070"},
		{"loose", "Record-Route: <sip:192.0.2.51;lr>, <sip:192.0.2.52;lr>", "INFO sip:b@10.0.0.9 SIP/2.0", []string{"<sip:192.0.2.52;lr>", "<sip:192.0.2.51;lr>"}, "192.0.2.52:5060"},
		{"strict", "Record-Route: <sip:192.0.2.51;lr>, <sip:192.0.2.52>", "INFO sip:192.0.2.52 SIP/2.0", []string{"<sip:192.0.2.51;lr>", "<sip:b@10.0.0.9>"}, "192.0.2.52:5060"},
		{"none", "", "INFO sip:b@10.0.0.9 SIP/2.0", nil, "10.0.0.9:5060"},
	} {
		run(t, 40*time.Second, func(t *testing.T, o *office) {
			o.Hops = func(u sip.URI) ([]sip.Hop, error) {
				if u.Host == "trunk.example" {
					return []sip.Hop{{Addr: "192.0.2.77:5060"}}, nil
				}
				return []sip.Hop{{Addr: fmt.Sprintf("%s:%d", u.Host, max(u.Port, 5060))}}, nil
			}
			more := []string{"Contact: <sip:b@10.0.0.9>"}
			if c.recordRoute != "" {
				more = append(more, c.recordRoute)
			}
			_, ack := o.answered(away, more...)
			var codes []int
			info := o.request(sip.INFO, &codes)
			var routes []string
			for _, l := range strings.Split(info.Text, "\r\n") {
				if r, found := strings.CutPrefix(l, "Route: "); found {
					routes = append(routes, r)
				}
			}
			if info.Line() != c.line || !slices.Equal(routes, c.routes) || info.Flow.Remote.String() != c.to || ack.Flow.Remote != info.Flow.Remote {
				t.Errorf("%s: %q by %v to %v, ACK to %v; want %q by %v to %s", c.name, info.Line(), routes, info.Flow.Remote, ack.Flow.Remote, c.line, c.routes, c.to)
			}
			o.Answer(info, "200 OK", "")
			o.hangUp()
		})
	}
}

// In a dialog with a phone or a partner requests go down its flow while that lives, and after
// that where its Contact leads.
func TestFlows(t *testing.T) {
	conn, other := siptest.Conn(roam.TLS, "192.0.2.80:5067", 8), siptest.Conn(roam.TLS, "192.0.2.80:5067", 9)
	conn.Partner, other.Partner = "south", "south"
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		o.Dial = func(sip.Hop) (*sip.Flow, error) { return conn, nil }
		o.answered(away, "Contact: <sip:south.example;transport=tls>")
		o.Dial = func(sip.Hop) (*sip.Flow, error) { return other, nil }
		var codes []int
		info := o.request(sip.INFO, &codes)
		if info.Flow != conn {
			t.Errorf("while the connection lives: by %d", info.Flow.Conn)
		}
		o.Answer(info, "200 OK", "")
		o.Close(conn)
		info = o.request(sip.INFO, &codes)
		if info.Flow != other {
			t.Errorf("afterwards: by %d", info.Flow.Conn)
		}
		o.Answer(info, "200 OK", "")
		o.hangUp()
	})
}

// A re-INVITE that is accepted changes the target and wants an ACK of its own.
func TestOurReinvite(t *testing.T) {
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		o.answered(down, "Contact: <sip:b@10.0.0.9>")
		var codes []int
		again := o.request(sip.INVITE, &codes)
		if again.Header(sip.CSeq) != "2 INVITE" || again.Header(sip.Contact) == "" || again.Line() != "INVITE sip:b@10.0.0.9 SIP/2.0" {
			t.Errorf("got %q", again.Text)
		}
		o.Answer(again, "200 OK", "", "Contact: <sip:b@10.0.0.8>")
		o.Do(func() { o.leg.d.Ack("", nil) })
		if ack := o.One(); ack.Line() != "ACK sip:b@10.0.0.8 SIP/2.0" || ack.Header(sip.CSeq) != "2 ACK" {
			t.Errorf("got %q", ack.Text)
		}
		o.Answer(again, "200 OK", "", "Contact: <sip:b@10.0.0.8>")
		lines(t, "its 2xx again", o.Take(), "ACK")
		o.hangUp()
		o.Answer(again, "200 OK", "", "Contact: <sip:b@10.0.0.8>")
		lines(t, "its 2xx after the end", o.Take())
	})
}

// Bye acknowledges what the leg has not, and answers the BYE that crosses.
func TestOurBye(t *testing.T) {
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		invite := o.calls(down)
		o.Answer(invite, "200 OK", "2", "Contact: <sip:b@10.0.0.9>")
		o.Do(func() {
			o.leg.d.Bye(0, "Q.850;cause=16")
			if len(o.leg.ended) != 0 {
				t.Error("ended within Bye")
			}
			o.leg.d.Bye(0, "")
		})
		sent := o.Take()
		lines(t, "Bye", sent, "ACK", "BYE")
		if sent[1].Header(sip.Reason) != "Q.850;cause=16" || sent[1].Header(sip.CSeq) != "2 BYE" {
			t.Errorf("got %q", sent[1].Text)
		}
		o.back(invite, phone, "BYE", 1, "2", "x")
		o.back(invite, phone, "INFO", 2, "2", "y")
		lines(t, "a BYE that crosses, and more", o.Take(), "200", "481")
		o.Answer(sent[1], "481 Call/Transaction Does Not Exist", "")
		o.back(invite, phone, "INFO", 3, "2", "z")
		lines(t, "afterwards", o.Take(), "481")
	})
}

// Their BYE is answered by the table, and told.
func TestTheirBye(t *testing.T) {
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		invite, _ := o.answered(down)
		o.back(invite, phone, "BYE", 1, "2", "x")
		lines(t, "BYE", o.Take(), "200")
		if end := o.leg.ended[0]; end.Req == nil || end.Req.Method() != sip.BYE || !end.Remote || end.Req.CallID() == "" {
			t.Errorf("ended %+v", end)
		}
	})
}

// 9.1, 15: Bye before any answer is a CANCEL, once a provisional response allows it; a 200 that
// crosses it is acknowledged and ended, and so is one after the CANCEL has timed out.
func TestOurCancel(t *testing.T) {
	run(t, 70*time.Second, func(t *testing.T, o *office) {
		invite := o.calls(down)
		o.Do(func() { o.leg.d.Bye(0, "") })
		lines(t, "before a provisional response", o.Take())
		o.Answer(invite, "180 Ringing", "2")
		lines(t, "after it", o.Take(), "CANCEL")
		o.Answer(invite, "487 Request Terminated", "2")
		lines(t, "487", o.Take(), "ACK")
		if end := o.leg.ended[0]; end.Remote || end.Res.Status() != 487 || len(o.leg.progress) != 0 {
			t.Errorf("ended %+v, told of %v", end, o.leg.progress)
		}
	})
	run(t, 70*time.Second, func(t *testing.T, o *office) {
		invite := o.calls(down)
		o.Answer(invite, "180 Ringing", "2")
		o.Do(func() { o.leg.d.Bye(0, "") })
		o.Take()
		o.Answer(invite, "200 OK", "2", "Contact: <sip:b@10.0.0.9>")
		sent := o.Take()
		lines(t, "a 200 that crosses", sent, "ACK", "BYE")
		o.Answer(sent[1], "200 OK", "")
		if !slices.Equal(o.leg.progress, []int{180}) || o.leg.ended[0].Remote {
			t.Errorf("told of %v, ended %+v", o.leg.progress, o.leg.ended)
		}
	})
	run(t, 70*time.Second, func(t *testing.T, o *office) {
		invite := o.calls(down)
		o.Answer(invite, "180 Ringing", "2")
		o.Do(func() { o.leg.d.Bye(0, "") })
		o.Sleep(33 * time.Second)
		o.Take()
		if len(o.leg.ended) != 1 || o.leg.ended[0].Res.Status() != 487 {
			t.Fatalf("ended %+v, want our own 487", o.leg.ended)
		}
		o.Answer(invite, "200 OK", "2", "Contact: <sip:b@10.0.0.9>")
		sent := o.Take()
		lines(t, "a 200 after that", sent, "ACK", "BYE")
		o.Answer(sent[1], "200 OK", "")
	})
}

// 12.2.1.2: 481, 408 and silence end the dialog, other refusals do not; on comes before Ended.
func TestLost(t *testing.T) {
	for _, c := range []struct {
		answer string
		ends   bool
		bye    bool
	}{{"481 Call/Transaction Does Not Exist", true, false}, {"408 Request Timeout", true, true}, {"", true, true}, {"488 Not Acceptable Here", false, false}} {
		run(t, 70*time.Second, func(t *testing.T, o *office) {
			o.answered(down)
			var codes []int
			info := o.request(sip.INFO, &codes)
			if c.answer == "" {
				o.Sleep(32 * time.Second)
			} else {
				o.Answer(info, c.answer, "")
			}
			bye := len(o.At("BYE")) > 0
			if (len(o.leg.ended) == 1) != c.ends || bye != c.bye || len(codes) != 1 {
				t.Errorf("%q: ended %+v, BYE %v, told of %v", c.answer, o.leg.ended, bye, codes)
			}
			o.Take()
			if !c.ends {
				o.hangUp()
			}
		})
	}
}

// An INVITE without an answer ends in an error.
func TestNoAnswer(t *testing.T) {
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		o.calls(down)
		o.Sleep(32 * time.Second)
		if len(o.leg.ended) != 1 || !errors.Is(o.leg.ended[0].Err, roam.Timeout) || o.leg.d.Heard() == false {
			t.Errorf("ended %+v, want %v", o.leg.ended, roam.Timeout)
		}
	})
}

// Nothing can be asked of a dialog that is not there, or not any more.
func TestRequestWithoutDialog(t *testing.T) {
	run(t, 70*time.Second, func(t *testing.T, o *office) {
		invite := o.calls(down)
		ask := func() (err error) {
			o.Do(func() { o.leg.d.Request(sip.INFO, Answer{}, func(_ *sip.Message, e error) { err = e }) })
			return err
		}
		if err := ask(); err != roam.NoDialog {
			t.Errorf("before: %v, want %v", err, roam.NoDialog)
		}
		o.Answer(invite, "486 Busy Here", "2")
		if err := ask(); err != roam.NoDialog {
			t.Errorf("after: %v, want %v", err, roam.NoDialog)
		}
	})
}
