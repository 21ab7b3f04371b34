package office_test

import (
	"errors"
	"testing"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
)

// TestCallToAQuietVisitor: a visitor is offline, and home was not told (registration.offline: keep). A call for him ends soon with 480, from
// home, from where he was and from a third office; when he is back he is called.
func TestCallToAQuietVisitor(t *testing.T) {
	x := startThree(t, func(cfg *office.Config) { cfg.Registration.Offline = "keep" })
	p := x.phone("1001", "south", phone.Config{Instance: "00000000-0000-4000-8000-000000001001"})
	unplug, err := x.plug(p)
	if err != nil {
		t.Fatal(err)
	}
	x.located("1001", "south")
	callers := []*phone.Phone{at(t, x, "1002", "north"), at(t, x, "2001", "south"), at(t, x, "3001", "west")}
	unplug() // it says so
	x.located("1001", "south")
	for _, c := range callers {
		began := time.Now()
		_, err := c.Call(within(t, 10*time.Second), "sip:1001@north.example")
		var no *phone.Refused
		if !errors.As(err, &no) || no.Code != 480 || time.Since(began) > 3*time.Second {
			t.Errorf("got %v after %v, want 480 soon", err, time.Since(began))
		}
	}
	again := x.phone("1001", "south", phone.Config{Instance: "00000000-0000-4000-8000-000000001001", Answer: phone.Talk})
	if _, err := x.plug(again); err != nil {
		t.Fatal(err)
	}
	for _, c := range callers {
		call, err := c.Call(within(t, 10*time.Second), "sip:1001@north.example")
		if err != nil {
			t.Fatal(err)
		}
		call.Hangup(within(t, 10*time.Second))
	}
}
