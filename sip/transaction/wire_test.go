package transaction

import (
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
)

var (
	phone = siptest.UDP("192.0.2.9:5062")
	tcp   = siptest.Conn(roam.TCP, "192.0.2.9:33001", 7)
)

// office is a layer on a wire.
type office struct {
	*siptest.Wire
	*Layer
}

// run runs script with a layer whose handler is h, and asserts that quiet later nothing is left.
func run(t *testing.T, quiet time.Duration, h HandlerFunc, script func(t *testing.T, o *office)) {
	t.Helper()
	siptest.Run(t, func(t *testing.T, w *siptest.Wire) {
		o := &office{w, NewLayer(w.Loop, w, nil, zerolog.Nop())}
		o.Handle(h)
		o.Crash()
		w.To = o.Layer
		script(t, o)
		w.Sleep(quiet)
		w.Do(func() {
			if o.Len() != 0 || len(o.merged) != 0 || len(o.byFlow) != 0 || w.Loop.Timers() != 0 {
				t.Errorf("left: %d servers, %d clients, %d merged, %d flows, %d timers",
					len(o.servers), len(o.clients), len(o.merged), len(o.byFlow), w.Loop.Timers())
			}
		})
	})
}

// len is Len, asked on the loop.
func (o *office) len() (n int) {
	o.Do(func() { n = o.Len() })
	return n
}

// request is a request of a phone; more is header fields.
func request(method, branch, toTag, more string) string {
	to := "<sip:b@example.org>"
	if toTag != "" {
		to += ";tag=" + toTag
	}
	return fmt.Sprintf("%s sip:b@example.org SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9:5062;rport;branch=%s\nMax-Forwards: 70\n"+
		"From: <sip:a@example.org>;tag=1\nTo: %s\nCall-ID: c1\nCSeq: 1 %s\nContact: <sip:a@192.0.2.9:5062>\n%s", method, branch, to, method, more)
}

// build is a request of ours.
func build(method string) func(*sip.Writer, *sip.Flow) error {
	return func(w *sip.Writer, f *sip.Flow) error {
		w.Request(method, "sip:b@example.org")
		w.AddInt(sip.MaxForwards, 70)
		w.Add(sip.Route, "<sip:proxy.example.org;lr>")
		w.Add(sip.From, "<sip:a@example.org>;tag=1")
		w.Add(sip.To, "<sip:b@example.org>")
		w.Add(sip.CallID, "x")
		w.Add(sip.CSeq, "1 "+method)
		return w.End("", nil)
	}
}

// outcome is what a client transaction told.
type outcome struct {
	codes []int
	err   error
	words int // last words
}

func (o *outcome) on(res *sip.Message, err error) {
	if err != nil {
		o.err = err
		o.words++
		return
	}
	o.codes = append(o.codes, res.Status())
	if res.Status() >= 200 {
		o.words++
	}
}

// ask sends a request of ours and gives it back as it went out.
func (o *office) ask(to Destination, method string, out *outcome) (c *Client) {
	o.Do(func() { c = o.Request(to, build(method), out.on) })
	return c
}

// message is what a phone sends, as the transport hands it over.
func message(t *testing.T, text string) *sip.Message {
	m := siptest.Message(t, text)
	m.Flow = phone
	return m
}
