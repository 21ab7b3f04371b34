//go:build endpoints

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// ringing is nil while the phone rings, or is called.
func (b *baresip) ringing() error {
	out, err := b.command("listcalls", "")
	if err != nil {
		return err
	}
	if !strings.Contains(out, "INCOMING") && !strings.Contains(out, "RINGING") {
		return fmt.Errorf("does not ring: %s", strings.TrimSpace(out))
	}
	return nil
}

// said is everything the phone has said and heard, and what it did.
func (b *baresip) said() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

// charged waits until home has as many records of user as calls were made: each answered, and each once. What home notes of a
// call that it only handed on has a kind of its own.
func charged(t *testing.T, state, user string, want int) {
	t.Helper()
	eventually(t, 15*time.Second, fmt.Sprintf("%d calls of %s at home", want, user), func() error {
		var all []entry
		ask(t, &all, "cdr", "--office", "north", "--user", user, "--state", state)
		calls, icids := 0, map[string]bool{}
		for _, r := range all {
			if r.Kind == "via-home" {
				continue
			}
			if calls++; icids[r.ICID] || r.Status != 200 || r.Home != "north" {
				return fmt.Errorf("record %+v", r)
			}
			icids[r.ICID] = true
		}
		if calls != want {
			return fmt.Errorf("%d calls: %+v", calls, all)
		}
		return nil
	})
}

// TestManyDevices (devices: many) has a desk phone at home and a softphone in another office ring together. Whichever
// answers, the other is told why it stops, there is one record of the call for the user, and when the softphone has gone
// the desk phone rings alone.
func TestManyDevices(t *testing.T) {
	redisServer(t, "6391")
	o := startOffices(t, "6391")
	account := func(proxy string) account {
		a := demoAccount("1001", "north.example", proxy)
		a.answer = "manual"
		return a
	}
	desk, soft := newBaresip(t, 440, account(northProxy)), newBaresip(t, 660, account(southProxy))
	desk.start().registered()
	soft.start().registered()
	dave := newBaresip(t, 1000, demoAccount("3001", "west.example", westProxy)).start().registered()
	bob := newBaresip(t, 880, demoAccount("1002", "north.example", northProxy)).start().registered()
	eventually(t, 5*time.Second, "both devices are known at home", func() error {
		var w whereabouts
		ask(t, &w, "where", "1001", "--state", o.state("north"))
		if len(w.Phones) != 2 {
			return fmt.Errorf("%+v", w.Phones)
		}
		return nil
	})
	calls := 0
	for _, c := range []struct {
		what            string
		caller          *baresip
		answers, others *baresip
	}{
		{"from west, the desk phone answers", dave, desk, soft}, {"from west, the softphone answers", dave, soft, desk},
		{"from home, the softphone answers", bob, soft, desk}, {"from home, the desk phone answers", bob, desk, soft},
	} {
		c.answers.forget()
		c.caller.forget()
		before := len(c.others.said())
		c.caller.must("dial", "sip:1001@north.example")
		for _, p := range []*baresip{desk, soft} {
			eventually(t, 8*time.Second, c.what+": "+p.accounts[0].proxy+" rings", p.ringing)
		}
		c.answers.must("accept", "")
		eventually(t, 8*time.Second, c.what+": answered", func() error { return errors.Join(c.caller.inCall(), c.answers.inCall()) })
		c.others.idle()
		if told := c.others.said()[before:]; !strings.Contains(told, "CANCEL sip:") || !strings.Contains(told, `Reason: SIP;cause=200;text="Call completed elsewhere"`) {
			t.Errorf("%s: the other one was told\n%s\nwant a CANCEL: Call completed elsewhere", c.what, tail(told, 2000))
		}
		time.Sleep(1500 * time.Millisecond)
		c.caller.must("hangup", "")
		c.caller.idle()
		c.answers.idle()
		if got := c.answers.heard(c.caller.tone); got < 500*time.Millisecond {
			t.Errorf("%s: heard %v of the caller", c.what, got)
		}
		calls++
		charged(t, o.state("north"), "1001", calls)
	}
	soft.command("quit", "") // it says so
	eventually(t, 10*time.Second, "the softphone has gone", func() error {
		var w whereabouts
		ask(t, &w, "where", "1001", "--state", o.state("north"))
		if len(w.Phones) != 1 || w.At != "north" {
			return fmt.Errorf("at %s: %+v", w.At, w.Phones)
		}
		return nil
	})
	soft.kill()
	dave.must("dial", "sip:1001@north.example")
	eventually(t, 8*time.Second, "the desk phone rings alone", desk.ringing)
	desk.must("accept", "")
	eventually(t, 8*time.Second, "answered", dave.inCall)
	dave.must("hangup", "")
	dave.idle()
	desk.idle()
	charged(t, o.state("north"), "1001", calls+1)
}

// TestCallsOutliveControl (I7): the visited office carries a call between two phones there while Redis and the visitor's
// home are killed. Both hear each other all the time, the call is ended as usual, and its record arrives at home, once, when
// home is back.
func TestCallsOutliveControl(t *testing.T) {
	r := newBrokenRedis(t)
	o := startOffices(t, "6391")
	alice := newBaresip(t, 440, demoAccount("1001", "north.example", southProxy)).start().registered()
	carol := newBaresip(t, 660, demoAccount("2001", "south.example", southProxy)).start().registered()
	alice.must("dial", "sip:2001@south.example")
	eventually(t, 8*time.Second, "they talk", func() error { return errors.Join(alice.inCall(), carol.inCall()) })
	time.Sleep(time.Second)
	r.kill()
	o.process["north"].kill()
	a, c := alice.heard(660), carol.heard(440)
	time.Sleep(12 * time.Second)
	if err := errors.Join(alice.inCall(), carol.inCall()); err != nil {
		t.Fatalf("the call has ended: %v", err)
	}
	for p, heard := range map[*baresip]time.Duration{alice: alice.heard(660) - a, carol: carol.heard(440) - c} {
		if heard < 10*time.Second {
			t.Errorf("%s heard the other for %v of 12 s without Redis and home", p.accounts[0].aor, heard)
		}
	}
	carol.must("hangup", "")
	alice.idle()
	carol.idle()
	r.start()
	o.start(t, "north")
	o.process["north"].ready(officeHTTP["north"])
	recorded(t, o.state("north"), "1001", 1)
	time.Sleep(2 * time.Second)
	recorded(t, o.state("north"), "1001", 1)
	talk(t, "after it all", alice, carol, "sip:2001@south.example", false)
	recorded(t, o.state("north"), "1001", 2)
}
