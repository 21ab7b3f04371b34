package office_test

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
)

// TestStartWithoutStore: offices that start while the routing store is away still know who lives where, from what
// they had written down: a visitor registers, and is called by a neighbour of his.
func TestStartWithoutStore(t *testing.T) {
	x := startThree(t, nil)
	if _, err := x.plug(x.phone("1001", "south", phone.Config{})); err != nil {
		t.Fatal(err)
	}
	x.located("1001", "south")
	x.again()
	alice := x.phone("1001", "south", phone.Config{Answer: phone.Talk, Tone: 440})
	carol := x.phone("2001", "south", phone.Config{})
	for _, p := range []*phone.Phone{alice, carol} {
		if _, err := x.plug(p); err != nil {
			t.Fatalf("without the routing store: %v", err)
		}
	}
	call, err := carol.Call(within(t, 10*time.Second), "sip:1001@north.example")
	if err != nil {
		t.Fatal(err)
	}
	if err := call.Hangup(within(t, 5*time.Second)); err != nil {
		t.Error(err)
	}
	health, err := x.office("south").Health(within(t, 5*time.Second))
	if err != nil || !health.Ready {
		t.Errorf("got %+v %v, want ready all the same", health, err)
	}
}

// again stops the offices and their routing store, and starts the offices from their files.
func (x *three) again() {
	x.t.Helper()
	x.stop()
	h := &office.House{State: x.dir, Version: "test", Log: zerolog.Nop()}
	for _, was := range x.house.Offices {
		o, err := office.New(was.Config(), zerolog.Nop()) // its routing store is the one that has gone
		if err != nil {
			x.t.Fatal(err)
		}
		h.Offices = append(h.Offices, o)
	}
	x.house = h
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- h.Run(ctx, func() { close(ready) }) }()
	x.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			x.t.Error(err)
		}
	})
	select {
	case <-ready:
	case <-time.After(10 * time.Second):
		x.t.Fatal("not ready while the routing store is away")
	}
}
