package siptest

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Receiver takes what arrives; *transaction.Layer.
type Receiver interface {
	Receive(batch []*sip.Message, release func())
	Closed(f *sip.Flow)
}

// Sent is one message that went out.
type Sent struct {
	At   time.Duration // since the wire was made
	Flow *sip.Flow
	Text string
}

// Line is the start line.
func (s Sent) Line() string {
	line, _, _ := strings.Cut(s.Text, "\r\n")
	return line
}

// Header is the first value of a header field as it stands, "" when absent.
func (s Sent) Header(n sip.Name) string {
	_, rest, found := strings.Cut(s.Text, "\r\n"+n.String()+": ")
	if !found {
		return ""
	}
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

// Wire is a wire for tests of what runs on the loop: it keeps what was sent, and when, and
// brings in what a test writes. Time is testing/synctest's; there are no sockets. It is a transaction.Sender. Its methods are called from the test's goroutine, but for
// the Sender's own.
type Wire struct {
	T    *testing.T
	Loop *loop.Loop
	To   Receiver                                // set by the test
	Hops func(u sip.URI) ([]sip.Hop, error)      // nil: one hop
	Dial func(h sip.Hop) (*sip.Flow, error)      // nil: UDP
	Anew func(h sip.Hop) (*sip.Flow, error)      // Renew; nil: as Dial
	Lose func(f *sip.Flow, b []byte) (err error) // called for each message sent, if set
	Dead map[roam.Flow]bool                      // connections that are gone

	began time.Time
	sent  []Sent
	taken int
}

// Run runs script in a bubble with a running loop, and afterwards waits until nothing of it is left.
func Run(t *testing.T, script func(t *testing.T, w *Wire)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &Wire{T: t, Loop: loop.New(1000, 100), Dead: map[roam.Flow]bool{}, began: time.Now()}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { w.Loop.Run(ctx); close(ended) }() // ends with stop
		script(t, w)
		stop()
		<-ended
	})
}

// UDP is a path to a phone that no other flow shares.
func UDP(remote string) *sip.Flow { return flow(roam.UDP, remote, 0) }

// Conn is an open connection of some kind.
func Conn(t roam.Transport, remote string, id uint64) *sip.Flow { return flow(t, remote, id) }

func flow(t roam.Transport, remote string, id uint64) *sip.Flow {
	return &sip.Flow{
		Flow: roam.Flow{Transport: t, Conn: id, Local: netip.MustParseAddrPort("192.0.2.1:5060"), Remote: netip.MustParseAddrPort(remote)},
		Here: "192.0.2.1:5060",
	}
}

// In brings text in by f and waits until it was handled.
func (w *Wire) In(f *sip.Flow, text string) {
	w.T.Helper()
	m := Message(w.T, text)
	m.Flow = f
	w.To.Receive([]*sip.Message{m}, func() { clear(m.Bytes()) }) // who keeps what is borrowed reads zeros
	synctest.Wait()
}

// Answer brings in an answer to req, with its Via, From, Call-ID and CSeq; more is
// header fields, or an empty line and a body.
func (w *Wire) Answer(req Sent, status, toTag string, more ...string) {
	w.T.Helper()
	to := req.Header(sip.To)
	if toTag != "" && !strings.Contains(to, ";tag=") {
		to += ";tag=" + toTag
	}
	w.In(req.Flow, fmt.Sprintf("SIP/2.0 %s\nVia: %s\nFrom: %s\nTo: %s\nCall-ID: %s\nCSeq: %s\n%s", status,
		req.Header(sip.Via), req.Header(sip.From), to, req.Header(sip.CallID), req.Header(sip.CSeq), strings.Join(more, "\n")))
}

// Do runs fn on the loop and waits until all that follows at once is done.
func (w *Wire) Do(fn func()) {
	w.T.Helper()
	if err := w.Loop.Do(context.Background(), fn); err != nil {
		w.T.Fatal(err)
	}
	synctest.Wait()
}

// Sleep lets d pass. What the test has read so far happened before what d brings.
func (w *Wire) Sleep(d time.Duration) {
	w.Do(func() {})
	time.Sleep(d)
	synctest.Wait()
}

// Close ends a connection.
func (w *Wire) Close(f *sip.Flow) {
	w.Dead[f.Flow] = true
	w.To.Closed(f)
	synctest.Wait()
}

// Take is what was sent since the last Take.
func (w *Wire) Take() []Sent {
	s := w.sent[w.taken:]
	w.taken = len(w.sent)
	return s
}

// One is the one message sent since the last Take.
func (w *Wire) One() Sent {
	w.T.Helper()
	s := w.Take()
	if len(s) != 1 {
		w.T.Fatalf("sent %q, want one message", Lines(s))
	}
	return s[0]
}

// At is when the messages whose start line begins with prefix were sent.
func (w *Wire) At(prefix string) (at []time.Duration) {
	for _, s := range w.sent {
		if strings.HasPrefix(s.Line(), prefix) {
			at = append(at, s.At)
		}
	}
	return at
}

// Lines is the start lines of s.
func Lines(s []Sent) []string {
	lines := make([]string, len(s))
	for i := range s {
		lines[i] = s[i].Line()
	}
	return lines
}

// Seconds is durations in seconds.
func Seconds(s ...float64) []time.Duration {
	d := make([]time.Duration, len(s))
	for i := range s {
		d[i] = time.Duration(s[i] * float64(time.Second))
	}
	return d
}

// Send is transaction.Sender's.
func (w *Wire) Send(f *sip.Flow, b []byte) error {
	if w.Dead[f.Flow] {
		return fmt.Errorf("connection %d is gone", f.Conn)
	}
	w.sent = append(w.sent, Sent{At: time.Since(w.began), Flow: f, Text: string(b)})
	if w.Lose != nil {
		return w.Lose(f, b)
	}
	return nil
}

// Find is transaction.Sender's.
func (w *Wire) Find(key roam.Flow) (*sip.Flow, bool) {
	if w.Dead[key] {
		return nil, false
	}
	for i := len(w.sent) - 1; i >= 0; i-- {
		if w.sent[i].Flow.Flow == key {
			return w.sent[i].Flow, true
		}
	}
	return &sip.Flow{Flow: key, Here: "192.0.2.1:5060"}, true
}

// Reach is transaction.Sender's.
func (w *Wire) Reach(_ context.Context, u sip.URI) ([]sip.Hop, error) {
	if w.Hops != nil {
		return w.Hops(u)
	}
	return []sip.Hop{{Transport: roam.UDP, Addr: "192.0.2.99:5060"}}, nil
}

// Open is transaction.Sender's.
func (w *Wire) Open(_ context.Context, h sip.Hop) (*sip.Flow, error) {
	if w.Dial != nil {
		return w.Dial(h)
	}
	return UDP(h.Addr), nil
}

// Renew is transaction.Sender's.
func (w *Wire) Renew(ctx context.Context, h sip.Hop, _ *sip.Flow, _ time.Time) (*sip.Flow, error) {
	if w.Anew != nil {
		return w.Anew(h)
	}
	return w.Open(ctx, h)
}
