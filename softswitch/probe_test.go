package softswitch

import (
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

// asked is how many OPTIONS went out since the list was cleared.
func (net *network) asked() (n int) {
	net.mu.Lock()
	defer net.mu.Unlock()
	for _, line := range net.sent {
		if strings.Contains(line, " OPTIONS ") {
			n++
		}
	}
	net.sent = nil
	return n
}

// TestProbe: a phone that answers anything lives; one that answers nothing for the whole of a transaction is gone,
// once; one that carries nothing any more is not asked.
func TestProbe(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
		fa, fb := net.flow(roam.UDP, north.addrs[0], a.addrs[0]).Flow, net.flow(roam.UDP, north.addrs[0], b.addrs[0]).Flow
		var gone []roam.Flow
		north.do(func() {
			north.sw.cfg.Probe = time.Minute
			north.sw.OnSilent(func(f roam.Flow) { gone = append(gone, f) })
			north.sw.Watch(fa, true)
			north.sw.Watch(fb, true)
		})
		net.asked()
		net.pass(10 * time.Minute)
		if n := net.asked(); n < 18 || n > 26 || len(gone) != 0 { // every 48 to 61 s each
			t.Errorf("got %d questions and %v gone, want about 22 and none", n, gone)
		}
		net.down[b.addrs[0]] = "silent"
		net.pass(2 * time.Minute)
		if len(gone) != 1 || gone[0] != fb {
			t.Errorf("got %v gone, want %v", gone, fb)
		}
		north.do(func() { north.sw.Watch(fa, false) })
		net.pass(2 * time.Minute) // what was in the queue is over
		net.asked()
		net.pass(10 * time.Minute)
		if n := net.asked(); n != 0 || len(gone) != 1 {
			t.Errorf("got %d questions and %v gone after nothing is registered, want none and one", n, gone)
		}
		north.do(func() { // back before its old turn came up: asked at the new one's pace, not twice
			for range 10 {
				north.sw.Watch(fa, true)
				north.sw.Watch(fa, false)
			}
			north.sw.Watch(fa, true)
		})
		net.pass(10 * time.Minute)
		if n := net.asked(); n < 9 || n > 13 {
			t.Errorf("got %d questions to a flow that came and went, want about 11", n)
		}
		north.do(func() {
			north.sw.Watch(fa, false)
			if len(north.sw.probes.flows) != 0 {
				t.Errorf("%d flows are still to be asked", len(north.sw.probes.flows))
			}
		})
	})
}
