package dialog

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// side is one end: a loop with its layers, and a wire to the other side that can lose messages.
type side struct {
	t     *testing.T
	name  string
	loop  *loop.Loop
	tl    *transaction.Layer
	table *Table
	other *side
	flow  *sip.Flow // towards the other side
	lose  func(line string) bool
	sent  []string // start lines
}

func (s *side) Send(_ *sip.Flow, b []byte) error {
	line := strings.SplitN(string(b), "\r\n", 2)[0]
	s.sent = append(s.sent, line)
	if s.lose != nil && s.lose(line) {
		return nil
	}
	m := &sip.Message{Flow: s.other.flow}
	if err := sip.Parse(append([]byte(nil), b...), m); err != nil {
		s.t.Errorf("%s sent what cannot be read: %v\n%s", s.name, err, b)
		return nil
	}
	s.other.tl.Receive([]*sip.Message{m}, func() {})
	return nil
}
func (s *side) Find(roam.Flow) (*sip.Flow, bool)                  { return s.flow, true }
func (s *side) Reach(context.Context, sip.URI) ([]sip.Hop, error) { return []sip.Hop{{}}, nil }
func (s *side) Open(context.Context, sip.Hop) (*sip.Flow, error)  { return s.flow, nil }
func (s *side) Renew(context.Context, sip.Hop, *sip.Flow, time.Time) (*sip.Flow, error) {
	return s.flow, nil
}

func newSide(t *testing.T, name string, ip string) *side {
	s := &side{t: t, name: name, loop: loop.New(1000, 10)}
	s.flow = &sip.Flow{Flow: roam.Flow{Transport: roam.UDP, Remote: netip.MustParseAddrPort(ip)}, Here: ip}
	s.tl = transaction.NewLayer(s.loop, s, nil, zerolog.Nop())
	return s
}

// leg records what a dialog tells it.
type leg struct {
	d        *Dialog
	progress []int
	requests []sip.Method
	ended    []End
	on       func(tx *transaction.Server, req *sip.Message)
	answered func()
}

func (l *leg) Progress(res *sip.Message) {
	l.progress = append(l.progress, res.Status())
	if res.Status() >= 200 && l.answered != nil {
		l.answered()
	}
}
func (l *leg) Request(tx *transaction.Server, req *sip.Message) {
	l.requests = append(l.requests, req.Method())
	if l.on != nil && tx != nil {
		l.on(tx, req)
	}
}
func (l *leg) Ended(e End) {
	if e.Req != nil {
		e.Req = e.Req.Keep()
	}
	l.ended = append(l.ended, e)
}

// call has a invite b; b's leg answers as answer says. do runs while they are at it; at the end nothing may be left.
func call(t *testing.T, answer func(d *Dialog, tx *transaction.Server), do func(a, b *side, la, lb *leg)) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newSide(t, "a", "192.0.2.1:5060"), newSide(t, "b", "192.0.2.2:5060")
		a.other, b.other = b, a
		la, lb := &leg{}, &leg{}
		b.table = New(b.loop, b.tl, transaction.HandlerFunc(func(tx *transaction.Server, _ *sip.Message) error {
			lb.d = b.table.Accept(tx, "", lb)
			answer(lb.d, tx)
			return nil
		}), zerolog.Nop())
		b.tl.Handle(b.table)
		a.table = New(a.loop, a.tl, transaction.HandlerFunc(func(*transaction.Server, *sip.Message) error { return roam.NoRoute }), zerolog.Nop())
		a.tl.Handle(a.table)
		ctx, stop := context.WithCancel(t.Context())
		ends := make(chan struct{}, 2)
		for _, s := range []*side{a, b} {
			go func() { s.loop.Run(ctx); ends <- struct{}{} }()
		}
		la.answered = func() { la.d.Ack("", nil) }
		a.loop.Post(func() {
			me, _ := sip.ParseAddress([]byte("<sip:a@example.org>"))
			you, _ := sip.ParseAddress([]byte("<sip:b@example.org>"))
			la.d = a.table.Invite(Invite{To: transaction.Destination{Flow: a.flow}, URI: "sip:b@192.0.2.2", From: me, ToAddr: you}, la)
		})
		synctest.Wait()
		do(a, b, la, lb)
		sleep(a, b, 3*time.Minute)
		for _, s := range []*side{a, b} {
			s.loop.Do(ctx, func() {
				if s.table.Len() != 0 || len(s.table.dialogs) != 0 || s.table.forked.Len() != 0 || s.tl.Len() != 0 || s.loop.Timers() != 0 {
					t.Errorf("%s: left %d dialogs, %d transactions, %d timers", s.name, s.table.Len(), s.tl.Len(), s.loop.Timers())
				}
			})
		}
		if len(la.ended) != 1 || len(lb.ended) != 1 {
			t.Errorf("ended %+v and %+v, want once each", la.ended, lb.ended)
		}
		stop()
		<-ends
		<-ends
	})
}

func on(s *side, fn func()) {
	s.loop.Do(context.Background(), fn)
	synctest.Wait()
}

// sleep lets d pass; what the test has done so far comes before.
func sleep(a, b *side, d time.Duration) {
	on(a, func() {})
	on(b, func() {})
	time.Sleep(d)
	synctest.Wait()
}

func accept(d *Dialog, tx *transaction.Server) {
	d.Respond(tx, Answer{Code: 180})
	d.Respond(tx, Answer{Code: 200})
}

func TestCallAndByeFromEitherEnd(t *testing.T) {
	for _, fromB := range []bool{false, true} {
		call(t, accept, func(a, b *side, la, lb *leg) {
			if len(la.progress) != 2 || la.progress[1] != 200 || len(lb.requests) != 1 || lb.requests[0] != sip.ACK {
				t.Errorf("a saw %v, b saw %v", la.progress, lb.requests)
			}
			if fromB {
				on(b, func() { lb.d.Bye(0, "") })
			} else {
				on(a, func() { la.d.Bye(0, "") })
			}
			if (len(la.ended) == 1 && la.ended[0].Remote) != fromB {
				t.Errorf("a ended %+v", la.ended)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	call(t, func(d *Dialog, tx *transaction.Server) { d.Respond(tx, Answer{Code: 486}) }, func(_, _ *side, la, _ *leg) {
		if len(la.ended) != 1 || la.ended[0].Res.Status() != 486 {
			t.Errorf("a ended %+v, want 486", la.ended)
		}
	})
}

func TestCancelled(t *testing.T) {
	call(t, func(d *Dialog, tx *transaction.Server) { d.Respond(tx, Answer{Code: 180}) }, func(a, _ *side, la, lb *leg) {
		on(a, func() { la.d.Bye(0, `SIP;cause=200;text="Call completed elsewhere"`) })
		if len(lb.ended) != 1 || lb.ended[0].Req.Method() != sip.CANCEL || lb.ended[0].Req.Value(sip.Reason) == nil {
			t.Errorf("b ended %+v, want CANCEL with a Reason", lb.ended)
		}
		if len(la.ended) != 1 || la.ended[0].Res.Status() != 487 {
			t.Errorf("a ended %+v, want 487", la.ended)
		}
	})
}

// CANCEL and 200 cross: the 200 is acknowledged and the dialog ended (RFC 3261 15).
func TestCancelAndAnswerCross(t *testing.T) {
	call(t, func(d *Dialog, tx *transaction.Server) { d.Respond(tx, Answer{Code: 180}) }, func(a, b *side, la, lb *leg) {
		a.lose = func(line string) bool { return strings.HasPrefix(line, "CANCEL") }
		on(a, func() { la.d.Bye(0, "") })
		on(b, func() { lb.d.Respond(lb.d.server, Answer{Code: 200}) })
		if len(lb.ended) != 1 || lb.ended[0].Req.Method() != sip.BYE {
			t.Errorf("b ended %+v, want BYE", lb.ended)
		}
	})
}

// 13.3.1.4: a 2xx is repeated until its ACK; without one the dialog ends with BYE after 64*T1.
func TestNoACK(t *testing.T) {
	call(t, accept, func(a, b *side, la, lb *leg) {
		a.lose = func(line string) bool { return strings.HasPrefix(line, "ACK") }
		on(a, func() { la.d.Bye(0, "") })
	})
	call(t, func(d *Dialog, tx *transaction.Server) {
		d.table.tl.Stray(func(*sip.Message) {})
		accept(d, tx)
	}, func(a, b *side, la, lb *leg) {
		on(a, func() { la.d.Bye(0, "") })
	})
	call(t, func(d *Dialog, tx *transaction.Server) { d.Respond(tx, Answer{Code: 180}) }, func(a, b *side, la, lb *leg) {
		a.lose = func(line string) bool { return strings.HasPrefix(line, "ACK") }
		on(b, func() { lb.d.Respond(lb.d.server, Answer{Code: 200}) })
		sleep(a, b, 40*time.Second)
		repeats := 0
		for _, line := range b.sent {
			if line == "SIP/2.0 200 OK" {
				repeats++
			}
		}
		if repeats != 11 || len(lb.ended) != 1 || lb.ended[0].Err != roam.Timeout || len(la.ended) != 1 || la.ended[0].Req.Method() != sip.BYE {
			t.Errorf("200 sent %d times, b ended %+v, a ended %+v", repeats, lb.ended, la.ended)
		}
	})
}

func TestReinviteAndGlare(t *testing.T) {
	call(t, accept, func(a, b *side, la, lb *leg) {
		lb.on = func(tx *transaction.Server, _ *sip.Message) { lb.d.Respond(tx, Answer{Code: 200}) }
		got := 0
		on(a, func() {
			la.d.Request(sip.INVITE, Answer{}, func(res *sip.Message, err error) {
				got = res.Status()
				la.d.Ack("", nil)
			})
		})
		if got != 200 || lb.requests[len(lb.requests)-1] != sip.ACK {
			t.Errorf("re-INVITE: %d, b saw %v", got, lb.requests)
		}
		// Both at once: each refuses the other's.
		lb.on = nil
		var ga, gb int
		a.loop.Post(func() {
			la.d.Request(sip.INVITE, Answer{}, func(res *sip.Message, _ error) { ga = res.Status() })
		})
		b.loop.Post(func() {
			lb.d.Request(sip.INVITE, Answer{}, func(res *sip.Message, _ error) { gb = res.Status() })
		})
		synctest.Wait()
		if ga != 491 && gb != 491 {
			t.Errorf("glare: %d and %d, want a 491", ga, gb)
		}
		on(a, func() { la.d.Bye(0, "") })
	})
}

func TestStrangersTagIsRefused(t *testing.T) {
	call(t, accept, func(a, b *side, la, lb *leg) {
		m := &sip.Message{Flow: b.flow}
		sip.Parse([]byte("BYE sip:b@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\r\nFrom: <sip:a@example.org>;tag=no\r\nTo: <sip:b@example.org>;tag=no\r\nCall-ID: no\r\nCSeq: 9 BYE\r\n\r\n"), m)
		b.sent = nil
		b.tl.Receive([]*sip.Message{m}, func() {})
		synctest.Wait()
		if len(b.sent) != 1 || b.sent[0] != "SIP/2.0 481 Call/Transaction Does Not Exist" || len(lb.ended) != 0 {
			t.Errorf("answered %q, ended %v", b.sent, lb.ended)
		}
		on(a, func() { la.d.Bye(0, "") })
	})
}
