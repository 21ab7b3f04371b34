package office_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/routesrv"
)

// TestSplitCallOutlivesRegistrar (I7): two softswitches carry a call while the registrar's process, the other offices and the routing
// store are away. Both phones hear each other, BYE ends it, and each of the two records is at the registrar, once, when that is back.
func TestSplitCallOutlivesRegistrar(t *testing.T) {
	x := startSplit(t, nil)
	alice, bob := x.handset("1001", 1, 440, false), x.handset("1002", 2, 550, true)
	x.locatedBy("1001", 1)
	x.locatedBy("1002", 2)
	call, err := alice.Call(within(t, 10*time.Second), "sip:1002@north.example")
	if err != nil {
		t.Fatal(err)
	}
	there := bob.Current()
	if there == nil {
		t.Fatal("bob has no call")
	}
	x.eventually("they hear each other", func() error {
		if a, b := call.Heard(550), there.Heard(440); a < 200*time.Millisecond || b < 200*time.Millisecond {
			return fmt.Errorf("%v and %v", a, b)
		}
		return nil
	})
	x.halt[0]()
	x.stop() // all but the softswitches
	a, b := call.Heard(550), there.Heard(440)
	const alone = 3 * time.Second
	time.Sleep(alone)
	a, b = call.Heard(550)-a, there.Heard(440)-b
	if most := alone - 500*time.Millisecond; a < most || b < most {
		t.Errorf("heard %v and %v of each other in %v without a registrar", a, b, alone)
	}
	select {
	case <-there.Done():
		t.Fatal("the call has ended")
	default:
	}
	if err := call.Hangup(within(t, 5*time.Second)); err != nil {
		t.Error(err)
	}
	select {
	case <-there.Done():
	case <-time.After(5 * time.Second):
		t.Error("BYE did not reach the other phone")
	}

	if x.store, err = routesrv.StartEmbedded(x.store.Addr(), ""); err != nil {
		t.Fatal(err)
	}
	back := &office.House{State: x.dir, Version: "test", Log: splitLog()}
	for _, was := range x.house.Offices {
		o, err := office.New(was.Config(), splitLog())
		if err != nil {
			t.Fatal(err)
		}
		back.Offices = append(back.Offices, o)
	}
	x.house = back
	x.run()
	x.start(0)
	began := time.Now()
	for {
		n := map[string]int{}
		list, err := x.desk.Records(t.Context(), "", "north", "", 100)
		for _, r := range list {
			n[r.Role+" "+string(r.User)]++
		}
		if err == nil && len(n) == 2 && n["caller 1001@north.example"] == 1 && n["callee 1002@north.example"] == 1 {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("got %v, %v, want one record of each", n, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := alice.Move(within(t, 10*time.Second), x.door(2, "udp")); err != nil {
		t.Errorf("a move after it all: %v", err)
	}
}
