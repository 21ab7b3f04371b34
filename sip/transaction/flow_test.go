package transaction

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// wire is a Sender that keeps what was sent, and when.
type wire struct {
	began time.Time
	sent  []string
	at    []time.Duration
}

func (w *wire) Send(_ *sip.Flow, b []byte) error {
	w.sent, w.at = append(w.sent, string(b)), append(w.at, time.Since(w.began))
	return nil
}
func (w *wire) Find(k roam.Flow) (*sip.Flow, bool)                { return &sip.Flow{Flow: k}, true }
func (w *wire) Reach(context.Context, sip.URI) ([]sip.Hop, error) { return []sip.Hop{{}}, nil }
func (w *wire) Open(context.Context, sip.Hop) (*sip.Flow, error)  { return udpFlow, nil }
func (w *wire) first(n int) string                                { return strings.SplitN(w.sent[n], "\r\n", 2)[0] }

var udpFlow = &sip.Flow{Flow: roam.Flow{Transport: roam.UDP}, Here: "192.0.2.1:5060"}

func message(t *testing.T, text string) *sip.Message {
	t.Helper()
	m := &sip.Message{Flow: udpFlow}
	if err := sip.Parse([]byte(strings.ReplaceAll(text, "\n", "\r\n")), m); err != nil {
		t.Fatal(err)
	}
	return m
}

func request(t *testing.T, method, branch string) *sip.Message {
	return message(t, method+" sip:b@example.org SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9;branch="+branch+"\nMax-Forwards: 70\nFrom: <sip:a@example.org>;tag=1\nTo: <sip:b@example.org>\nCall-ID: c1\nCSeq: 1 "+method+"\n\n")
}

// with runs a layer in a bubble, and asserts that nothing is left after quiet.
func with(t *testing.T, quiet time.Duration, h HandlerFunc, do func(l *Layer, w *wire)) *wire {
	w := &wire{}
	synctest.Test(t, func(t *testing.T) {
		w.began = time.Now()
		lo := loop.New(100, 10)
		l := NewLayer(lo, w, nil, zerolog.Nop())
		l.Handle(h)
		ctx, stop := context.WithCancel(t.Context())
		end := make(chan struct{})
		go func() { lo.Run(ctx); close(end) }()
		do(l, w)
		time.Sleep(quiet)
		synctest.Wait()
		lo.Do(ctx, func() {
			if l.Len() != 0 || len(l.merged) != 0 || lo.Timers() != 0 {
				t.Errorf("left: %d servers, %d clients, %d merged, %d timers", len(l.servers), len(l.clients), len(l.merged), lo.Timers())
			}
		})
		stop()
		<-end
	})
	return w
}

func seconds(s ...float64) (d []time.Duration) {
	for _, x := range s {
		d = append(d, time.Duration(x*float64(time.Second)))
	}
	return d
}

// 17.2.1: G doubles from T1 to T2, H ends it.
func TestRefusedInviteWithoutACK(t *testing.T) {
	w := with(t, time.Minute, func(tx *Server, _ *sip.Message) error { return tx.Reply(486) }, func(l *Layer, _ *wire) {
		l.Receive([]*sip.Message{request(t, "INVITE", "z9hG4bKa")}, func() {})
	})
	if want := seconds(0, .5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5); !slices.Equal(w.at, want) {
		t.Errorf("486 sent at %v, want %v", w.at, want)
	}
}

// 17.1.1.2: A doubles until B ends it; a new INVITE each time the same.
func TestInviteUnanswered(t *testing.T) {
	var ended error
	w := with(t, time.Minute, nil, func(l *Layer, _ *wire) {
		l.loop.Post(func() {
			l.Request(Destination{Flow: udpFlow}, build("INVITE"), func(res *sip.Message, err error) { ended = err })
		})
	})
	if want := seconds(0, .5, 1.5, 3.5, 7.5, 15.5, 31.5); !slices.Equal(w.at, want) || ended != roam.Timeout {
		t.Errorf("INVITE sent at %v, want %v; ended %v", w.at, want, ended)
	}
}

// 17.1.2.2: E doubles to T2 until F.
func TestOtherUnanswered(t *testing.T) {
	w := with(t, time.Minute, nil, func(l *Layer, _ *wire) {
		l.loop.Post(func() {
			l.Request(Destination{Flow: udpFlow}, build("MESSAGE"), func(*sip.Message, error) {})
		})
	})
	if want := seconds(0, .5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5); !slices.Equal(w.at, want) {
		t.Errorf("MESSAGE sent at %v, want %v", w.at, want)
	}
}

func build(method string) func(*sip.Writer, *sip.Flow) error {
	return func(w *sip.Writer, f *sip.Flow) error {
		w.Request(method, "sip:b@example.org")
		w.Add(sip.From, "<sip:a@example.org>;tag=1")
		w.Add(sip.To, "<sip:b@example.org>")
		w.Add(sip.CallID, "x")
		w.Add(sip.CSeq, "1 "+method)
		return w.End("", nil)
	}
}

// 8.2.7: a REGISTER answered at once leaves nothing; a repeated one is handled again.
func TestRegisterWithoutTransaction(t *testing.T) {
	handled := 0
	with(t, 0, func(tx *Server, _ *sip.Message) error { handled++; return tx.Reply(200) }, func(l *Layer, _ *wire) {
		for range 2 {
			l.Receive([]*sip.Message{request(t, "REGISTER", "z9hG4bKr")}, func() {})
		}
	})
	if handled != 2 {
		t.Errorf("handled %d, want 2", handled)
	}
}

// A held request absorbs its repetitions and is answered after 10 s.
func TestHeldIsAnswered(t *testing.T) {
	handled := 0
	w := with(t, time.Minute, func(tx *Server, _ *sip.Message) error { handled++; tx.Hold(); return nil }, func(l *Layer, _ *wire) {
		for range 3 {
			l.Receive([]*sip.Message{request(t, "REGISTER", "z9hG4bKr")}, func() {})
		}
	})
	if handled != 1 || len(w.sent) != 1 || w.at[0] != 10*time.Second || w.first(0) != "SIP/2.0 500 Server Internal Error" {
		t.Errorf("handled %d, sent %v at %v", handled, w.sent, w.at)
	}
}

// 9.2: CANCEL is answered 200, the INVITE 487, with one To tag; a late 200 is not sent.
func TestCancel(t *testing.T) {
	w := with(t, time.Minute, func(tx *Server, _ *sip.Message) error {
		tx.Hold()
		tx.OnCancel(func(*sip.Message) {
			tx.Reply(487)
			if err := tx.Reply(200); err != ErrAnswered {
				t.Errorf("late 200: got %v, want ErrAnswered", err)
			}
		})
		return nil
	}, func(l *Layer, _ *wire) {
		l.Receive([]*sip.Message{request(t, "INVITE", "z9hG4bKi")}, func() {})
		l.Receive([]*sip.Message{request(t, "CANCEL", "z9hG4bKi")}, func() {})
		l.Receive([]*sip.Message{request(t, "ACK", "z9hG4bKi")}, func() {})
	})
	if len(w.sent) != 3 || w.first(0) != "SIP/2.0 100 Trying" || w.first(1) != "SIP/2.0 200 OK" || w.first(2) != "SIP/2.0 487 Request Terminated" {
		t.Fatalf("sent %q", w.sent)
	}
	tag := func(s string) string {
		_, r, _ := strings.Cut(s, "To: <sip:b@example.org>;tag=")
		return strings.SplitN(r, "\r", 2)[0]
	}
	if tag(w.sent[1]) != tag(w.sent[2]) || tag(w.sent[1]) == "" {
		t.Errorf("tags %q and %q", tag(w.sent[1]), tag(w.sent[2]))
	}
}

// 9.1: CANCEL waits for a provisional response, goes by the INVITE's branch, and the 487 is acknowledged.
func TestClientCancel(t *testing.T) {
	var final int
	w := with(t, 2*time.Minute, nil, func(l *Layer, w *wire) {
		var c *Client
		l.loop.Post(func() {
			c = l.Request(Destination{Flow: udpFlow}, build("INVITE"), func(res *sip.Message, err error) {
				if res != nil {
					final = res.Status()
				}
			})
			c.Cancel("")
		})
		synctest.Wait()
		if len(w.sent) != 1 {
			t.Errorf("sent %q before a provisional response", w.sent)
		}
		via := strings.SplitN(strings.SplitN(w.sent[0], "Via: ", 2)[1], "\r", 2)[0]
		res := func(status, method string) {
			l.Receive([]*sip.Message{message(t, "SIP/2.0 "+status+"\nVia: "+via+"\nFrom: <sip:a@example.org>;tag=1\nTo: <sip:b@example.org>;tag=2\nCall-ID: x\nCSeq: 1 "+method+"\n\n")}, func() {})
			synctest.Wait()
		}
		res("180 Ringing", "INVITE")
		res("200 OK", "CANCEL")
		res("487 Request Terminated", "INVITE")
		res("487 Request Terminated", "INVITE")
	})
	if len(w.sent) != 4 || !strings.HasPrefix(w.sent[1], "CANCEL sip:b@example.org") || !strings.HasPrefix(w.sent[2], "ACK ") || w.sent[2] != w.sent[3] || final != 487 {
		t.Errorf("final %d, sent %q", final, w.sent)
	}
}

// The same request by two ways is refused (8.2.2.2).
func TestMerged(t *testing.T) {
	w := with(t, time.Minute, func(tx *Server, _ *sip.Message) error { tx.Hold(); return nil }, func(l *Layer, _ *wire) {
		l.Receive([]*sip.Message{request(t, "MESSAGE", "z9hG4bKa")}, func() {})
		l.Receive([]*sip.Message{request(t, "MESSAGE", "z9hG4bKb")}, func() {})
	})
	if len(w.sent) != 2 || w.first(0) != "SIP/2.0 482 Loop Detected" {
		t.Errorf("sent %q", w.sent)
	}
}
