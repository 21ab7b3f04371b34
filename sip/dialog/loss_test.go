package dialog

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// network is a side whose messages are lost, doubled and late.
type network struct {
	*side
	rnd  *rand.Rand
	loss float64
	cut  time.Time // the line is cut then
}

func (n *network) Send(_ *sip.Flow, b []byte) error {
	text := bytes.Clone(b)
	for range 1 + n.rnd.IntN(10)/9 {
		if n.rnd.Float64() < n.loss || time.Now().After(n.cut) {
			continue
		}
		time.AfterFunc(time.Duration(1+n.rnd.IntN(700))*time.Millisecond, func() {
			m := &sip.Message{Flow: n.other.flow}
			if err := sip.Parse(bytes.Clone(text), m); err != nil {
				n.t.Errorf("sent what cannot be read: %v\n%s", err, text)
				return
			}
			n.other.tl.Receive([]*sip.Message{m}, func() {})
		})
	}
	return nil
}

// Whatever is lost, doubled or late, and whoever hangs up when: each leg is told once that it is
// over, and nothing stays behind.
func TestLossyNetwork(t *testing.T) {
	answered := 0
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) { answered += lossy(t, seed) })
	}
	if answered < 150 {
		t.Errorf("%d of 300 calls were answered: the test tests little", answered)
	}
}

func lossy(t *testing.T, seed uint64) (answered int) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	ctx, stop := context.WithCancel(t.Context())
	ends := make(chan struct{}, 2)
	a, b := newSide(t, "a", "192.0.2.1:5060"), newSide(t, "b", "192.0.2.2:5060")
	a.other, b.other = b, a
	la, lb := &leg{}, &leg{}
	loss, cut := float64(seed%5)/10, time.Now().Add(time.Hour)
	if seed%4 == 3 {
		cut = time.Now().Add(time.Duration(rnd.IntN(6000)) * time.Millisecond)
	}
	for i, s := range []*side{a, b} {
		s.tl = transaction.NewLayer(s.loop, &network{s, rand.New(rand.NewPCG(seed, uint64(2+i))), loss, cut}, nil, zerolog.Nop())
		s.tl.Crash()
	}
	later := func(s *side, most int, fn func()) {
		s.loop.After(time.Duration(rnd.IntN(most))*time.Millisecond, fn)
	}
	rings, talks, who, again := 200+rnd.IntN(4000), 1+rnd.IntN(20000), rnd.IntN(3), rnd.IntN(2) == 0
	b.table = New(b.loop, b.tl, transaction.HandlerFunc(func(tx *transaction.Server, _ *sip.Message) error {
		if lb.d != nil {
			return roam.NotAllowed // the INVITE, doubled and late
		}
		lb.d = b.table.Accept(tx, "", lb)
		_ = lb.d.Respond(tx, Answer{Code: 180})
		b.loop.After(time.Duration(rings)*time.Millisecond, func() { _ = lb.d.Respond(tx, Answer{Code: 200}) })
		return nil
	}), zerolog.Nop())
	lb.on = func(tx *transaction.Server, _ *sip.Message) { _ = lb.d.Respond(tx, Answer{Code: 200}) }
	a.table = New(a.loop, a.tl, transaction.HandlerFunc(func(*transaction.Server, *sip.Message) error { return roam.NoRoute }), zerolog.Nop())
	a.tl.Handle(a.table)
	b.tl.Handle(b.table)
	la.answered = func() { later(a, 100, func() { la.d.Ack("", nil) }) }
	if who != 1 {
		a.loop.After(time.Duration(talks)*time.Millisecond, func() {
			if la.d != nil {
				la.d.Bye(0, "")
			}
		})
	}
	if who != 0 {
		b.loop.After(time.Duration(talks+rnd.IntN(300))*time.Millisecond, func() {
			if lb.d != nil {
				lb.d.Bye(0, "")
			}
		})
	}
	if again {
		a.loop.After(time.Duration(rnd.IntN(talks))*time.Millisecond, func() {
			la.d.Request(sip.INVITE, Answer{}, func(res *sip.Message, err error) {
				if err == nil && res.Status()/100 == 2 {
					la.d.Ack("", nil)
				}
			})
		})
	}
	a.loop.After(4*time.Minute, func() { la.d.Bye(0, "") }) // who was to hang up may have no call
	b.loop.After(4*time.Minute, func() {
		if lb.d != nil {
			lb.d.Bye(0, "")
		}
	})
	from, _ := sip.ParseAddress([]byte("<sip:a@example.org>"))
	a.loop.Later(func() {
		la.d = a.table.Invite(Invite{To: transaction.Destination{Flow: a.flow}, URI: "sip:b@192.0.2.2", From: from, ToAddr: from}, la)
	})
	for _, s := range []*side{a, b} {
		go func() { s.loop.Run(ctx); ends <- struct{}{} }() // ends with stop
		on(s, func() {})
	}
	sleep(a, b, 8*time.Minute)
	what := fmt.Sprintf("seed %d, loss %.1f, rings %d, talks %d, who %d, again %v", seed, loss, rings, talks, who, again)
	for _, s := range []*side{a, b} {
		on(s, func() {
			if s.table.Len() != 0 || len(s.table.dialogs) != 0 || s.table.forked.Len() != 0 || s.tl.Len() != 0 || s.loop.Timers() != 0 {
				t.Errorf("%s: %s left %d live, %d dialogs, %d invites, %d transactions, %d timers", what, s.name,
					s.table.Len(), len(s.table.dialogs), s.table.forked.Len(), s.tl.Len(), s.loop.Timers())
			}
		})
	}
	if len(la.ended) != 1 || lb.d != nil && len(lb.ended) != 1 {
		t.Errorf("%s: ended %+v and %+v, want once each", what, la.ended, lb.ended)
	}
	stop()
	<-ends
	<-ends
	for _, code := range la.progress {
		if code == 200 {
			answered = 1
		}
	}
	return answered
}
