package dialog

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
	"github.com/siproam/siproam/sip/transaction"
)

var (
	phone = siptest.UDP("192.0.2.9:5062")
	tcp   = siptest.Conn(roam.TCP, "192.0.2.9:33001", 7)
)

// office is a table on a wire; what belongs to no dialog is accepted with leg.
type office struct {
	*siptest.Wire
	tl    *transaction.Layer
	table *Table
	leg   leg
	tx    *transaction.Server // the INVITE, or the last in-dialog request
}

// run runs script, and asserts that quiet later nothing is left and the leg was told of its end once.
func run(t *testing.T, quiet time.Duration, script func(t *testing.T, o *office)) {
	t.Helper()
	siptest.Run(t, func(t *testing.T, w *siptest.Wire) {
		o := &office{Wire: w, tl: transaction.NewLayer(w.Loop, w, nil, zerolog.Nop())}
		o.tl.Crash()
		o.table = New(w.Loop, o.tl, transaction.HandlerFunc(func(tx *transaction.Server, req *sip.Message) error {
			if req.Method() != sip.INVITE {
				return roam.NotAllowed
			}
			o.tx, o.leg.d = tx, o.table.Accept(tx, "", &o.leg)
			return nil
		}), zerolog.Nop())
		o.tl.Handle(o.table)
		o.leg.on = func(tx *transaction.Server, _ *sip.Message) { o.tx = tx.Hold() }
		w.To = o.tl
		script(t, o)
		w.Sleep(quiet)
		w.Do(func() {
			d := o.table
			if d.Len() != 0 || len(d.dialogs) != 0 || d.forked.Len() != 0 || len(d.waiting) != 0 || o.tl.Len() != 0 || w.Loop.Timers() != 0 {
				t.Errorf("left: %d live, %d dialogs, %d invites, %d waiting, %d transactions, %d timers",
					d.Len(), len(d.dialogs), d.forked.Len(), len(d.waiting), o.tl.Len(), w.Loop.Timers())
			}
			if len(o.leg.ended) != 1 {
				t.Errorf("ended %+v, want once", o.leg.ended)
			}
		})
	})
}

// theirs is a request of the phone in the dialog its INVITE began.
func (o *office) theirs(method string, seq int, branch, more string) string {
	tag := ""
	if o.leg.d != nil {
		tag = ";tag=" + o.leg.d.local
	}
	return fmt.Sprintf("%s sip:b@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9:5062;rport;branch=z9hG4bK%s\nMax-Forwards: 70\n"+
		"From: <sip:a@example.org>;tag=1\nTo: <sip:b@example.org>%s\nCall-ID: c1\nCSeq: %d %s\n%s", method, branch, tag, seq, method, more)
}

// called is the phone's call, answered 200 when answer says so.
func (o *office) called(answer bool, more ...string) {
	o.In(phone, o.theirs("INVITE", 1, "a", "Contact: <sip:a@10.0.0.9:5062>\n"+strings.Join(more, "\n")))
	if answer {
		o.Do(func() { o.leg.d.Respond(o.tx, Answer{Code: 200}) })
		o.In(phone, o.theirs("ACK", 1, "ack", ""))
	}
	o.Take()
}

// calls is our call to an URI, or down a flow; the INVITE as it went out.
func (o *office) calls(to transaction.Destination) siptest.Sent {
	o.T.Helper()
	from, _ := sip.ParseAddress([]byte(`"Al" <sip:a@example.org>`))
	callee, _ := sip.ParseAddress([]byte("<sip:b@example.org>"))
	o.Do(func() {
		o.leg.d = o.table.Invite(Invite{To: to, URI: "sip:b@192.0.2.9", From: from, ToAddr: callee, Type: "text/plain", Body: []byte("hi")}, &o.leg)
	})
	return o.One()
}

// answered is calls, answered 200 and acknowledged; it is the ACK.
func (o *office) answered(to transaction.Destination, more ...string) (invite, ack siptest.Sent) {
	o.T.Helper()
	invite = o.calls(to)
	o.leg.answered = func() { o.leg.d.Ack("", nil) }
	o.Answer(invite, "200 OK", "2", more...)
	return invite, o.One()
}

// request sends a request in the dialog; it is as it went out.
func (o *office) request(method sip.Method, out *[]int) siptest.Sent {
	o.T.Helper()
	o.Do(func() {
		o.leg.d.Request(method, Answer{}, func(res *sip.Message, err error) {
			if code := -1; err == nil {
				*out = append(*out, res.Status())
			} else {
				*out = append(*out, code)
			}
		})
	})
	return o.One()
}

// ours is a request of theirs in the dialog our INVITE began.
func (o *office) back(invite siptest.Sent, f *sip.Flow, method string, seq int, tag, branch string) {
	o.In(f, fmt.Sprintf("%s sip:a@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9:5062;rport;branch=z9hG4bK%s\nMax-Forwards: 70\n"+
		"From: <sip:b@example.org>;tag=%s\nTo: %s\nCall-ID: %s\nCSeq: %d %s\nContact: <sip:b@10.0.0.9:5062>",
		method, branch, tag, invite.Header(sip.From), invite.Header(sip.CallID), seq, method))
}

// hangUp has us end the dialog, and the other end agree.
func (o *office) hangUp() {
	o.T.Helper()
	o.Do(func() { o.leg.d.Bye(0, "") })
	o.Answer(o.One(), "200 OK", "")
}

func lines(t *testing.T, what string, got []siptest.Sent, want ...string) {
	t.Helper()
	var have []string
	for _, l := range siptest.Lines(got) {
		have = append(have, strings.Join(strings.Fields(strings.TrimPrefix(l, "SIP/2.0 "))[:1], ""))
	}
	if !slices.Equal(have, want) {
		t.Errorf("%s: sent %q, want %q", what, have, want)
	}
}

func (o *office) answer(code int) {
	o.Do(func() { o.leg.d.Respond(o.tx, Answer{Code: code}) })
}
