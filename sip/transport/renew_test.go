package transport

import (
	"context"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// TestRenew: a connection by which nothing was heard is replaced, once for all who ask; the old one is nobody's any more, and
// ends. One by which something was heard stays.
func TestRenew(t *testing.T) {
	there := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}})
	e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}})
	h := sip.Hop{Transport: roam.TCP, Addr: there.at(0)}
	open := func() *sip.Flow {
		t.Helper()
		f, err := e.t.Open(context.Background(), h)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	renew := func(old *sip.Flow, since time.Time) *sip.Flow {
		t.Helper()
		f, err := e.t.Renew(context.Background(), h, old, since)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	old, began := open(), time.Now()
	if err := e.t.Send(old, []byte(request("OPTIONS", "1"))); err != nil {
		t.Fatal(err)
	}
	there.hear(t)
	e.hear(t) // its answer
	if got := renew(old, began); got != old {
		t.Errorf("a connection that lives was replaced by %v", got.Flow)
	}
	now := time.Now()
	all := make(chan *sip.Flow, 5)
	for range cap(all) {
		go func() {
			f, _ := e.t.Renew(context.Background(), h, old, now)
			all <- f
		}()
	}
	fresh := <-all
	for range cap(all) - 1 {
		if f := <-all; f != fresh {
			t.Errorf("got %v and %v, want one for all", f, fresh)
		}
	}
	if fresh == nil || fresh == old || open() != fresh || renew(old, now) != fresh {
		t.Fatalf("got %v for %v, want a new one, which is everybody's", fresh, old)
	}
	e.t.mu.Lock()
	c := e.t.conns[old.Conn]
	e.t.mu.Unlock()
	c.mu.Lock()
	until := time.Until(c.retired)
	c.mu.Unlock()
	if until <= 0 || until > retiredFor {
		t.Errorf("the old one lives for %v, want an end within %v", until, retiredFor)
	}
	there.stop()
	e.waitClosed(t)
	e.waitClosed(t)
	if f, err := e.t.Renew(context.Background(), h, fresh, now); err == nil {
		t.Errorf("got %v from nobody", f.Flow)
	}
}
