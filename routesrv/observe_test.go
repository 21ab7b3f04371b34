package routesrv

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
)

// observes is a store of no office: it reads what all read, gives no sign of life, and repairs what an old write
// could have used.
func observes(t *testing.T, addr string) {
	south := newRig(t, addr, "south")
	at := roam.Location{Epoch: 41, Office: "south", Switch: card("south").Switch, Registrar: "sip:r", Since: time.Now()}
	if _, err := ask(south, func(done func(roam.Location, error)) { south.Report("1001@north.example", at, "registered", done) }); err != nil {
		t.Fatal(err)
	}
	l := loop.New(64, 16)
	s, err := New(as(t, addr, "south"), l, roam.Card{}, "", 0, &metric.Set{}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	stopLoop := background(t, func(ctx context.Context) error { l.Run(ctx); return nil })
	stop := background(t, s.Run)
	t.Cleanup(func() { stop(); stopLoop() })
	r := &rig{t: t, Store: s, stop: stop}
	r.eventually("up", s.Up)

	offices, err := s.Offices(t.Context())
	if err != nil || len(offices) != 1 || offices[0].Office != "south" || offices[0].Switch != at.Switch {
		t.Errorf("got %+v %v, want south alone", offices, err)
	}
	c := client(t, addr)
	if n, err := c.Exists(t.Context(), swKey(""), officeKey("")).Result(); err != nil || n != 0 {
		t.Errorf("got %d keys of no office, %v, want none", n, err)
	}
	for _, lost := range []string{"", "7"} { // gone, and behind
		if lost == "" {
			err = c.Del(t.Context(), epKey("1001@north.example")).Err()
		} else {
			err = c.Set(t.Context(), epKey("1001@north.example"), lost, 0).Err()
		}
		if err != nil {
			t.Fatal(err)
		}
		a, err := s.Audit(t.Context())
		if err != nil || a != (Audited{Users: 1, Raised: 1}) {
			t.Errorf("epoch %q: got %+v %v, want one raised", lost, a, err)
		}
		if ep, err := c.Get(t.Context(), epKey("1001@north.example")).Result(); err != nil || ep != "41" {
			t.Errorf("epoch %q: got %q %v, want 41", lost, ep, err)
		}
	}
	if err := c.Set(t.Context(), epKey("1001@north.example"), "99", 0).Err(); err != nil { // removed since, by a newer word
		t.Fatal(err)
	}
	if a, err := s.Audit(t.Context()); err != nil || a.Raised != 0 {
		t.Errorf("a newer epoch: got %+v %v, want it left", a, err)
	}
}

// TestGuarded: an embedded store with a password serves who knows it, and nobody else.
func TestGuarded(t *testing.T) {
	path := t.TempDir() + "/routes"
	for range 2 { // the second time from the snapshot
		e, err := StartGuarded("127.0.0.1:0", path, "secret")
		if err != nil {
			t.Fatal(err)
		}
		stop := background(t, e.Run)
		if err := client(t, e.Addr()).Get(t.Context(), "x").Err(); err == nil || errors.Is(err, redis.Nil) {
			t.Errorf("without the password: got %v, want a refusal", err)
		}
		c := redis.NewClient(&redis.Options{Addr: e.Addr(), Password: "secret", DisableIdentity: true})
		if err := c.Set(t.Context(), "roam:ep:{x}", "1", 0).Err(); err != nil {
			t.Error(err)
		}
		c.Close()
		stop()
	}
}
