package transaction

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
)

// nowhere is a Sender that sends nothing.
type nowhere struct{}

func (nowhere) Send(*sip.Flow, []byte) error                         { return nil }
func (nowhere) Find(roam.Flow) (*sip.Flow, bool)                     { return nil, false }
func (nowhere) Reach(context.Context, sip.URI) ([]sip.Hop, error)    { return nil, nil }
func (nowhere) Open(context.Context, sip.Hop) (f *sip.Flow, e error) { return nil, e }
func (nowhere) Renew(context.Context, sip.Hop, *sip.Flow, time.Time) (f *sip.Flow, e error) {
	return nil, e
}

// A REGISTER answered in its turn: what the layer adds to parsing and the handler.
func BenchmarkWithoutState(b *testing.B) {
	l := NewLayer(loop.New(10, 10), nowhere{}, nil, zerolog.Nop())
	l.Handle(HandlerFunc(func(tx *Server, _ *sip.Message) error { return tx.Reply(200) }))
	m := siptest.Message(b, request("REGISTER", "z9hG4bKr", "", ""))
	m.Flow = phone
	b.ReportAllocs()
	for b.Loop() {
		l.one(m)
	}
}

// The table is read, the answer repeated.
func BenchmarkRepetition(b *testing.B) {
	l := NewLayer(loop.New(10, 10), nowhere{}, nil, zerolog.Nop())
	l.Handle(HandlerFunc(func(tx *Server, _ *sip.Message) error { return tx.Reply(200) }))
	m := siptest.Message(b, request("BYE", "z9hG4bKr", "2", ""))
	m.Flow = phone
	l.one(m)
	b.ReportAllocs()
	for b.Loop() {
		l.one(m)
	}
}
