package registrar

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
	"github.com/siproam/siproam/store"
)

// nowhere is a transport that sends nothing.
type nowhere struct{ last []byte }

func (n *nowhere) Send(_ *sip.Flow, b []byte) error                  { n.last = append(n.last[:0], b...); return nil }
func (n *nowhere) Find(roam.Flow) (*sip.Flow, bool)                  { return nil, false }
func (n *nowhere) Reach(context.Context, sip.URI) ([]sip.Hop, error) { return nil, roam.NoRoute }
func (n *nowhere) Open(context.Context, sip.Hop) (*sip.Flow, error)  { return nil, roam.NoRoute }
func (n *nowhere) Renew(context.Context, sip.Hop, *sip.Flow, time.Time) (*sip.Flow, error) {
	return nil, roam.NoRoute
}

// BenchmarkRefresh is a REGISTER with a good digest that changes nothing, from the parsed message to the
// written 200: what a registrar does all day. The message is made outside the clock.
func BenchmarkRefresh(b *testing.B) {
	w := &world{t: &testing.T{}, offices: map[roam.OfficeID]*site{}, heard: map[string][]*sip.Message{}}
	w.r = &store3{w: w, at: map[roam.UserID]roam.Location{}, floor: map[roam.UserID]roam.Epoch{}, ids: map[string]roam.Identity{}}
	o := &site{w: w, id: "north", addr: netip.MustParseAddrPort("192.0.2.1:5060"), cfg: DefaultConfig()}
	o.cfg.Names, o.cfg.Card = []string{"north.example"}, roam.Card{Office: "north"}
	w.offices["north"] = o
	file, err := store.Open(":memory:", Schema)
	if err != nil {
		b.Fatal(err)
	}
	wire := &nowhere{}
	o.loop = loop.New(1000, 10)
	o.layer = transaction.NewLayer(o.loop, wire, nil, zerolog.Nop())
	o.sw = &fakeSwitch{o: o}
	if o.reg, err = New(o.cfg, o.loop, o.layer, file, o.sw, w.r.from(o), nil, &metric.Set{}, zerolog.Nop()); err != nil {
		b.Fatal(err)
	}
	o.layer.Handle(o.reg)
	ctx, stop := context.WithCancel(context.Background())
	loopEnd, fileEnd := make(chan struct{}), make(chan struct{})
	go func() { o.loop.Run(ctx); close(loopEnd) }()
	go func() { file.Run(ctx); close(fileEnd) }()
	defer func() { stop(); <-loopEnd; <-fileEnd; file.Close() }()
	w.add("north", "1001", "alice")

	p := w.phone()
	receive := func(m *sip.Message) []byte {
		done := make(chan struct{})
		o.layer.Receive([]*sip.Message{m}, func() { close(done) })
		<-done
		return wire.last
	}
	read := func(text string) *sip.Message {
		m := &sip.Message{Flow: p.flow()}
		if err := sip.Parse([]byte(strings.ReplaceAll(text, "\n", "\r\n")), m); err != nil {
			b.Fatal(err)
		}
		return m
	}
	_, nonce, _ := strings.Cut(string(receive(read(p.text("")))), `nonce="`)
	p.nonce, _, _ = strings.Cut(nonce, `"`)
	receive(read(p.text(p.authorization())))
	for len(wire.last) == 0 || !bytes.HasPrefix(wire.last, []byte("SIP/2.0 200")) {
		o.loop.Do(ctx, func() {})
	}
	const batch = 1000
	msgs := make([]*sip.Message, batch)
	b.ReportAllocs()
	for n := 0; n < b.N; {
		b.StopTimer()
		for i := range msgs {
			msgs[i] = read(p.text(p.authorization()))
		}
		count := min(batch, b.N-n)
		done := make(chan struct{})
		b.StartTimer()
		o.layer.Receive(msgs[:count], func() { close(done) })
		<-done
		n += count
	}
	b.StopTimer()
	if got := string(wire.last[:15]); got != "SIP/2.0 200 OK\r" {
		b.Fatalf("got %q, want a 200", wire.last)
	}
	if n, _ := o.reg.refreshed.Count(); n < uint64(b.N) {
		b.Fatalf("got %d refreshes, want %d", n, b.N)
	}
}
