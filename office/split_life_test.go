package office_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/sip"
)

// line is a phone of raw messages, by TCP at softswitch n.
func (x *split) line(n int) *wire {
	x.t.Helper()
	c, err := net.Dial("tcp", x.door(n, "tcp"))
	return newWire(x.t, c, err)
}

// talking has a call b up, with tones both ways.
func (x *split) talking(a, b *phone.Phone, uri string, hzA, hzB float64) (hears func(what string, more time.Duration), hangup func()) {
	x.t.Helper()
	call, err := a.Call(within(x.t, 10*time.Second), uri)
	if err != nil {
		x.t.Fatalf("%s: %v", uri, err)
	}
	there := b.Current()
	if there == nil {
		x.t.Fatalf("%s: somebody else answered", uri)
	}
	hears = func(what string, more time.Duration) {
		x.t.Helper()
		h, g := call.Heard(hzB)+more, there.Heard(hzA)+more
		x.eventually(what, func() error {
			if call.Heard(hzB) < h || there.Heard(hzA) < g {
				return fmt.Errorf("the caller heard %v, the callee %v; want %v and %v", call.Heard(hzB), there.Heard(hzA), h, g)
			}
			return nil
		})
	}
	hears(uri+": tones both ways", 200*time.Millisecond)
	return hears, func() {
		x.t.Helper()
		if err := call.Hangup(within(x.t, 5*time.Second)); err != nil {
			x.t.Errorf("%s: hang up: %v", uri, err)
		}
	}
}

// TestRegistrarAway: without their registrar the softswitches go on with the calls there are, carry new ones between the
// phones they know, confirm a binding to the flow that has it, and refuse whoever is new; when it is back all is as it was.
func TestRegistrarAway(t *testing.T) {
	x := startSplit(t, nil)
	alice, bob := x.handset("1001", 1, 440, true), x.handset("1002", 2, 550, true)
	dora := x.talker("2001", "south", "udp", 880)
	raw := x.line(1)
	contact := "Call-ID: one\nContact: <sip:1003@" + raw.conn.LocalAddr().String() + ";transport=tcp>\n"
	if res := raw.register("1003", "CSeq: 1 REGISTER\n"+contact); res.Status() != 200 {
		t.Fatalf("got %d %s, want 200", res.Status(), res.Reason())
	}
	hears, hangup := x.talking(alice, bob, "1002", 440, 550)
	x.halt[0]()
	hears("a second after the registrar has gone", time.Second)
	hangup()
	x.converse("a new call between softswitches", bob, alice, "1001", 550, 440)
	x.converse("to another office", alice, dora, "sip:2001@south.example", 440, 880)
	x.converse("from another office", dora, bob, "sip:1002@north.example", 880, 550)

	to := "To: <sip:1003@north.example>\nAuthorization: Digest username=\"1003\", realm=\"north.example\", nonce=\"x\", uri=\"sip:north.example\", response=\"00000000000000000000000000000000\"\n"
	res := raw.ask("REGISTER sip:north.example", "CSeq: 2 REGISTER\n"+contact+to, "")
	if got := string(res.Value(sip.Contact)); res.Status() != 200 || !strings.Contains(got, "expires=60") {
		t.Errorf("a binding that is known: got %d %s with %q, want it confirmed for a minute", res.Status(), res.Reason(), got)
	}
	for what, headers := range map[string]string{
		"another Contact":        strings.Replace(contact, "sip:1003@", "sip:other@", 1) + to,
		"another user":           contact + strings.ReplaceAll(to, "1003", "1001"),
		"a removal":              contact + to + "Expires: 0\n",
		"a removal by Contact":   strings.Replace(contact, ">", ">;expires=0", 1) + to,
		"a removal of all":       "Call-ID: one\nContact: *\nExpires: 0\n" + to,
		"two Contacts":           contact + "Contact: <sip:1003@192.0.2.9>\n" + to,
		"nothing but a question": "Call-ID: one\n" + to,
	} {
		if res := raw.ask("REGISTER sip:north.example", "CSeq: 3 REGISTER\n"+headers, ""); res.Status() != 503 || res.Value(sip.RetryAfter) == nil {
			t.Errorf("%s: got %d %s, want 503 with Retry-After", what, res.Status(), res.Reason())
		}
	}
	if res := x.line(1).ask("REGISTER sip:north.example", "CSeq: 4 REGISTER\n"+contact+to, ""); res.Status() != 503 {
		t.Errorf("the same by another flow: got %d %s, want 503", res.Status(), res.Reason())
	}

	x.start(0)
	x.eventually("registrations go on", func() error {
		if res := raw.register("1003", "CSeq: 9 REGISTER\n"+contact); res.Status() != 200 {
			return fmt.Errorf("got %d %s", res.Status(), res.Reason())
		}
		return nil
	})
	x.locatedBy("1001", 1)
	x.locatedBy("1002", 2)
	x.converse("a call afterwards", alice, bob, "1002", 440, 550)
	x.converse("one from another office", dora, alice, "sip:1001@north.example", 880, 440)
}

// TestSwitchAway: a softswitch that dies takes its own calls along and no others; its phones are at once reachable, from
// here and from another office, when they have come to the other one; and it is left out until it lives again.
func TestSwitchAway(t *testing.T) {
	x := startSplit(t, nil)
	alice, bob, carla := x.handset("1001", 1, 440, true), x.handset("1002", 2, 550, true), x.handset("1003", 2, 660, false)
	dora := x.talker("2001", "south", "udp", 880)
	hears, hangup := x.talking(bob, carla, "1003", 550, 660)
	x.halt[1]()
	began := time.Now()
	if _, err := bob.Call(within(t, 10*time.Second), "1001"); err == nil {
		t.Error("alice was reached by a softswitch that is gone")
	} else if took := time.Since(began); took > 2*time.Second {
		t.Errorf("that alice cannot be reached was known after %v", took)
	}
	if err := alice.Move(within(t, 10*time.Second), x.door(2, "tcp")); err != nil {
		t.Fatal(err)
	}
	registered := time.Now()
	hears("a call by the softswitch that lives", 200*time.Millisecond)
	hangup()
	x.converse("from another office", dora, alice, "sip:1001@north.example", 880, 440)
	x.converse("from the same softswitch", bob, alice, "1001", 550, 440)
	if took := time.Since(registered); took > 2*time.Second+800*time.Millisecond { // 4 times 200 ms of tones
		t.Errorf("two calls were through after %v", took)
	}
	x.eventually("the registrar knows", func() error {
		h, err := x.parts[0].Health(t.Context())
		if s := fmt.Sprint(h.Parts); err != nil || !strings.Contains(s, "{softswitch north/1 false") || !strings.Contains(s, "{softswitch north/2 true") {
			return fmt.Errorf("%v, %v", s, err)
		}
		return nil
	})
	x.start(1)
	if err := alice.Move(within(t, 10*time.Second), x.door(1, "tcp")); err != nil {
		t.Fatal(err)
	}
	x.locatedBy("1001", 1)
	x.converse("when it is back", bob, alice, "1001", 550, 440)
}

// TestSwitchFull: what a softswitch cannot take is refused (d, h), and once it says that it is full new phones are sent to
// the other one, while those that it has stay.
func TestSwitchFull(t *testing.T) {
	x := startSplit(t, func(c *office.Config) { c.Capacity.Users, c.Capacity.Visitors = 1, 1 })
	register := func(w *wire, user, id string) *sip.Message {
		contact := fmt.Sprintf("Call-ID: %s\nContact: <sip:%s@%s;transport=tcp>\n", id, user, w.conn.LocalAddr())
		return w.register(user, contact)
	}
	first, second := x.line(1), x.line(1)
	if res := register(first, "1001", "a"); res.Status() != 200 {
		t.Fatalf("the first: got %d %s, want 200", res.Status(), res.Reason())
	}
	if res := register(second, "1002", "b"); res.Status() != 503 || res.Value(sip.RetryAfter) == nil {
		t.Errorf("the second: got %d %s, want 503 with Retry-After", res.Status(), res.Reason())
	}
	x.eventually("new phones are sent elsewhere", func() error {
		res := x.line(1).ask("REGISTER sip:north.example", "To: <sip:1003@north.example>\nContact: <sip:1003@192.0.2.9>\n", "")
		if got := string(res.Value(sip.Contact)); res.Status() != 302 || got != "<sip:sw2.north.example>" {
			return fmt.Errorf("got %d %s to %q, want 302 to softswitch 2", res.Status(), res.Reason(), got)
		}
		return nil
	})
	if res := register(first, "1001", "c"); res.Status() != 200 {
		t.Errorf("one that is here: got %d %s, want 200", res.Status(), res.Reason())
	}
	if res := register(x.line(2), "1003", "d"); res.Status() != 200 {
		t.Errorf("by the other softswitch: got %d %s, want 200", res.Status(), res.Reason())
	}
}
