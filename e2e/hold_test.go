//go:build endpoints

package e2e

import (
	"path/filepath"
	"testing"
	"time"
)

// TestHoldBetweenOffices: a baresip at one office holds and resumes its call with one at another, from either end. Both
// send while they talk, nobody meanwhile, and both again afterwards, as the office between them counts.
func TestHoldBetweenOffices(t *testing.T) {
	up := start(t, "up", "--state", filepath.Join(t.TempDir(), "up"))
	up.ready(upHTTP)
	bob := newBaresip(t, 440, demoAccount("1002", "north.example", northProxy)).start().registered()
	carol := newBaresip(t, 660, demoAccount("2001", "south.example", southProxy)).start().registered()
	for name, ends := range map[string][2]*baresip{"the caller holds": {bob, carol}, "the callee holds": {carol, bob}} {
		holder, other := ends[0], ends[1]
		bob.forget()
		carol.forget()
		bob.must("dial", "sip:2001@south.example")
		eventually(t, 8*time.Second, name+": answered", func() error {
			if err := bob.inCall(); err != nil {
				return err
			}
			return carol.inCall()
		})
		// relayed is the packets that passed north within two seconds; each end sends 50 a second.
		relayed := func() float64 {
			const passed = `siproam_media_packets_total{direction="out",office="north"}`
			before := metricOf(t, upHTTP, passed)
			time.Sleep(2 * time.Second)
			return metricOf(t, upHTTP, passed) - before
		}
		if got := relayed(); got < 150 {
			t.Errorf("%s: %v packets before, want about 200", name, got)
		}
		holder.must("hold", "")
		time.Sleep(300 * time.Millisecond) // what is on its way
		if got := relayed(); got > 20 {
			t.Errorf("%s: %v packets on hold, want none but RTCP", name, got)
		}
		holder.must("resume", "")
		if got := relayed(); got < 150 {
			t.Errorf("%s: %v packets after, want about 200", name, got)
		}
		bob.must("hangup", "")
		bob.idle()
		carol.idle()
		for _, b := range ends { // a baresip records one side of a hold only
			tone := holder.tone
			if b == holder {
				tone = other.tone
			}
			if got := b.heard(tone); got < time.Second {
				t.Errorf("%s: %s heard %v of %v Hz, want 1s", name, b.accounts[0].aor, got, tone)
			}
		}
	}
}
