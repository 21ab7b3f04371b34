package registrar

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

// TestRelease: home ends a registration wherever it is, and a visited office its own; nothing is left of it, and
// the phone's next refresh begins anew.
func TestRelease(t *testing.T) {
	for _, c := range []struct{ at, by roam.OfficeID }{{"north", "north"}, {"south", "north"}, {"south", "south"}} {
		inWorld(t, func(w *world) {
			p := w.phone().carry(c.at)
			p.want(200)
			w.agree(c.at)
			n, err := w.offices[c.by].reg.Release(context.Background(), alice)
			if err != nil || n != 1 {
				t.Errorf("%v: got %d %v, want 1 device", c, n, err)
			}
			settle(time.Second)
			w.agree("")
			if n, err := w.offices["north"].reg.Release(context.Background(), alice); err != nil || n != 0 {
				t.Errorf("%v, once more: got %d %v, want none", c, n, err)
			}
			p.want(200)
			w.agree(c.at)
			if _, err := w.offices[c.by].reg.Release(context.Background(), "nobody@north.example"); !errors.Is(err, roam.NoSuchUser) {
				t.Errorf("%v, nobody: got %v", c, err)
			}
		})
	}
}
