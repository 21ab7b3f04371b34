package routesrv

import (
	"testing"

	"github.com/siproam/siproam/roam"
)

// onlySigned: what the user's home has not signed is as if it were not there, whatever its epoch and however it came to be
// known, and does not stand in the way of what home signs.
func onlySigned(t *testing.T, addr string) {
	north := newRig(t, addr, "north")
	west, trusting := newRig(t, addr, "west"), newRig(t, addr, "west")
	trusting.loop.Do(t.Context(), func() {
		trusting.Trusting(func(_ roam.UserID, at roam.Location, done func(bool)) {
			ok := at.Sig == "good"
			if at.Office == "south" { // some answers come later, as when home must be asked for its key
				trusting.loop.Later(func() { done(ok) })
				return
			}
			done(ok)
		})
	})
	put := func(epoch roam.Epoch, o roam.OfficeID, sig string) {
		t.Helper()
		l := at(epoch, o)
		l.Sig = sig
		north.report("u@north.example", l)
	}
	sees := func(r *rig, want roam.OfficeID) {
		t.Helper()
		if got, err := r.fresh("u@north.example"); err != nil || got.Office != want {
			t.Errorf("got %+v, %v; want %q", got, err, want)
		}
	}
	put(10, "south", "good")
	sees(west, "south")
	sees(trusting, "south")
	put(20, "south", "") // a newer place without a word of home's: as south itself might write
	sees(west, "south")
	put(30, "west", "forged")
	sees(west, "west")
	c := client(t, addr)
	c.HSet(t.Context(), locKey("v@north.example"), "epoch", uint64(nextYear()), "office", "west", "sw", "sip:evil.example", "ver", "1")
	if got, err := trusting.fresh("v@north.example"); err != nil || got.Office != "" || got.Epoch != 0 {
		t.Errorf("got %+v, %v; want nowhere", got, err)
	}
	if got, err := west.fresh("v@north.example"); err != nil || got.Switch != "sip:evil.example" {
		t.Errorf("got %+v, %v; want what the store says where it is trusted", got, err)
	}
	// A report of ours that loses to a forged one.
	trusting.report("v@north.example", at(40, "west"))
	if got, err := trusting.locate("v@north.example"); err != nil || got.Office != "" {
		t.Errorf("got %+v, %v; want nowhere", got, err)
	}
	c.Del(t.Context(), locKey("v@north.example"), epKey("v@north.example"))
	good := at(50, "north")
	good.Sig = "good"
	north.report("v@north.example", good)
	if got, err := trusting.fresh("v@north.example"); err != nil || got.Office != "north" {
		t.Errorf("got %+v, %v; want north: what was forged must not stand in the way", got, err)
	}
	if n, _ := trusting.untrusted.With().Count(); n < 2 {
		t.Errorf("got %d counted, want each", n)
	}
}
