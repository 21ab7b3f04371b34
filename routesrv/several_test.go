package routesrv

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
)

// process is one process of north: its registrar when n is 0, else its softswitch n.
func process(t *testing.T, addr string, n int) *rig {
	t.Helper()
	l, m, node, c := loop.New(4096, 64), &metric.Set{}, "north", card("north")
	if n > 0 {
		node, c.Switch = fmt.Sprintf("north/%d", n), fmt.Sprintf("sip:sw%d.north.example:5067;transport=tls", n)
	}
	s, err := New(as(t, addr, "north"), l, c, node, 1, m, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	stopLoop := background(t, func(ctx context.Context) error { l.Run(ctx); return nil })
	stop := background(t, s.Run)
	t.Cleanup(func() { stop(); stopLoop() })
	r := &rig{t: t, Store: s, metrics: m, stop: stop}
	r.eventually("up", s.Up)
	r.eventually("subscribed", func() (ok bool) { r.on(func() { ok = s.gen > 0 }); return ok })
	return r
}

// several is an office of a registrar and two softswitches, each a process: the softswitches are listed and give
// signs of life of their own, the registrar is not among them; a dead one is left out, and what is there is suspect.
func several(t *testing.T, addr string) {
	process(t, addr, 0)
	one, two, south := process(t, addr, 1), process(t, addr, 2), newRig(t, addr, "south")
	c, ctx := client(t, addr), t.Context()
	listed := func() []string {
		return strings.Fields(c.HGet(ctx, officeKey("north"), "softswitches").Val())
	}
	if got, want := listed(), []string{"north/1=" + one.here.Switch, "north/2=" + two.here.Switch}; !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	if got, err := south.peer("north"); err != nil || got.Switch != one.here.Switch || got.Registrar != card("north").Registrar {
		t.Errorf("got %+v, %v; want the first softswitch and the registrar", got, err)
	}
	south.report(alice, roam.Location{Epoch: 7, Office: "north", Switch: one.here.Switch, Registrar: one.here.Registrar})
	south.report("1002@north.example", roam.Location{Epoch: 7, Office: "north", Switch: two.here.Switch, Registrar: two.here.Registrar})
	one.stop()
	south.since.Store(time.Now().Add(-signOfLife - time.Second).UnixNano())
	south.on(func() { o, _ := south.offices.get("north"); o.until = time.Time{} })
	if got, err := south.peer("north"); err != nil || !got.Alive || got.Switch != two.here.Switch {
		t.Errorf("with one dead: got %+v, %v; want the other", got, err)
	}
	if at, _ := south.locate(alice); !at.Suspect {
		t.Errorf("where the dead one had the phone: got %+v, want suspect", at)
	}
	if at, _ := south.locate("1002@north.example"); at.Suspect {
		t.Errorf("where the living one has the phone: got %+v, want not suspect", at)
	}
}

// courierOfSeveral: records of a softswitch go to the registrar of its own office, and what is acknowledged to one
// softswitch the other does not take.
func courierOfSeveral(t *testing.T, addr string) {
	home, one, two := process(t, addr, 0), process(t, addr, 1), process(t, addr, 2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	kept, acked := make(chan string, 10), make(chan string, 10)
	go home.Receive(ctx, func(id string, from roam.OfficeID, _ []byte) error { kept <- id + " of " + string(from); return nil })
	for _, r := range []*rig{one, two} {
		go r.Acknowledged(ctx, []roam.OfficeID{"north"}, func(_ roam.OfficeID, ids []string) error {
			acked <- r.node + " hears of " + strings.Join(ids, ",")
			return nil
		})
	}
	for _, r := range []*rig{one, two} {
		if err := r.Send(ctx, "north", []byte("{}"), "record of "+r.node); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for range 4 {
		select {
		case s := <-kept:
			got = append(got, s)
		case s := <-acked:
			got = append(got, s)
		case <-time.After(10 * time.Second):
			t.Fatalf("waited in vain, got %q", got)
		}
	}
	slices.Sort(got)
	want := []string{"north/1 hears of record of north/1", "north/2 hears of record of north/2",
		"record of north/1 of north/1", "record of north/2 of north/2"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
