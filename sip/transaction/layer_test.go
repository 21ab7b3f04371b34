package transaction

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
)

// The layer answers what its handler returns, or when it does nothing.
func TestHandlerErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{roam.NotAllowed, "SIP/2.0 403 Forbidden"},
		{errors.New("disk full"), "SIP/2.0 500 Server Internal Error"},
		{nil, "SIP/2.0 500 Server Internal Error"},
	} {
		run(t, time.Minute, func(*Server, *sip.Message) error { return c.err }, func(t *testing.T, o *office) {
			o.In(phone, request("MESSAGE", "z9hG4bKa", "", ""))
			if got := o.One(); got.Line() != c.want || strings.Contains(got.Text, "disk") {
				t.Errorf("%v: got %q, want %q", c.err, got.Text, c.want)
			}
		})
	}
}

// A panic costs one message: it is answered 500, and the rest of its batch is served.
func TestPanic(t *testing.T) {
	h := func(tx *Server, req *sip.Message) error {
		if req.CSeq() == 1 {
			if req.Method() == sip.INVITE {
				tx.Hold()
			}
			panic("a bug")
		}
		return tx.Reply(200)
	}
	for _, method := range []string{"MESSAGE", "INVITE"} {
		run(t, time.Minute, h, func(t *testing.T, o *office) {
			o.crash = false
			one := message(t, request(method, "z9hG4bKa", "", ""))
			two := message(t, strings.ReplaceAll(request("MESSAGE", "z9hG4bKb", "", ""), "CSeq: 1", "CSeq: 2"))
			released := false
			o.Receive([]*sip.Message{one, two}, func() { released = true })
			o.Do(func() {})
			lines := siptest.Lines(o.Take())
			if n := len(lines); n < 2 || lines[n-2] != "SIP/2.0 500 Server Internal Error" || lines[n-1] != "SIP/2.0 200 OK" || !released {
				t.Errorf("%s: sent %q, released %v", method, lines, released)
			}
		})
	}
}

// A full table refuses what is new, drops a REGISTER over UDP, and serves what is under way.
func TestFull(t *testing.T) {
	var tx *Server
	run(t, time.Minute, hold(&tx), func(t *testing.T, o *office) {
		o.most = 1
		o.In(phone, request("INVITE", "z9hG4bKa", "", ""))
		first := tx
		o.Take()
		o.In(phone, request("MESSAGE", "z9hG4bKb", "", ""))
		if got := o.One(); got.Line() != "SIP/2.0 503 Service Unavailable" || got.Header(sip.RetryAfter) == "" {
			t.Errorf("got %q", got.Text)
		}
		if got := o.len(); got != 1 {
			t.Errorf("%d transactions, want 1", got)
		}
		o.In(phone, request("REGISTER", "z9hG4bKc", "", ""))
		if got := o.Take(); len(got) != 0 {
			t.Errorf("REGISTER over UDP: got %q, want nothing", siptest.Lines(got))
		}
		o.In(tcp, request("REGISTER", "z9hG4bKc", "", ""))
		if got := o.One().Line(); got != "SIP/2.0 503 Service Unavailable" {
			t.Errorf("REGISTER over TCP: got %q", got)
		}
		o.In(phone, request("BYE", "z9hG4bKd", "2", ""))
		if tx == first {
			t.Error("BYE in a dialog was refused")
		}
		o.Do(func() { tx.Reply(200); first.Reply(487) })
	})
}

// The gauge and the counters can be read while the loop runs.
func TestMetrics(t *testing.T) {
	var tx *Server
	siptest.Run(t, func(t *testing.T, w *siptest.Wire) {
		set := &metric.Set{}
		l := NewLayer(w.Loop, w, set, zerolog.Nop())
		l.Handle(hold(&tx))
		w.To = l
		w.In(phone, request("INVITE", "z9hG4bKa", "", ""))
		w.In(phone, request("INVITE", "z9hG4bKa", "", ""))
		for _, f := range set.Families() {
			if f.Name == "sip_transactions" {
				f.Read(func(v float64, state ...string) {
					if want := map[string]float64{"live": 1}[state[0]]; v != want {
						t.Errorf("sip_transactions %s %v, want %v", state[0], v, want)
					}
				})
			}
		}
		in, _ := l.repeatedIn.Count()
		out, _ := l.repeatedOut.Count()
		if in != 1 || out != 1 {
			t.Errorf("repeated in %d, out %d, want 1 and 1", in, out)
		}
		w.Do(func() { tx.Reply(486) })
	})
}

// A message is valid until its turn ends, what Later queued included.
func TestReleasedAfterTheTurn(t *testing.T) {
	var o *office
	got := ""
	h := func(tx *Server, req *sip.Message) error {
		o.loop.Later(func() { got = req.CallID() })
		return tx.Reply(200)
	}
	run(t, 0, h, func(t *testing.T, it *office) {
		o = it
		o.In(phone, request("OPTIONS", "z9hG4bKa", "", ""))
		if got != "c1" {
			t.Errorf("Call-ID %q, want c1", got)
		}
	})
}
