package office_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/sip"
)

// TestPoisonedAddress: a location that leads to somebody else than the office it names, whoever wrote it, gets no call and no
// identity, and the callee's home says where he is.
func TestPoisonedAddress(t *testing.T) {
	x := startThree(t, nil)
	at(t, x, "1001", "west")
	caller := x.phone("2001", "south", phone.Config{Answer: phone.Talk})
	if _, err := x.plug(caller); err != nil {
		t.Fatal(err)
	}
	sink, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	for name, uri := range map[string]string{
		"a stranger":     "sip:" + sink.LocalAddr().String(),
		"another office": x.office("north").Config().URI,
	} {
		x.redis("HSET", "roam:loc:{1001@north.example}", "sw", uri)
		if w, err := x.office("south").Where(t.Context(), "1001"); err != nil || w.Switch != uri { // past what it remembers
			t.Fatalf("%s: south believes %q, %v", name, w.Switch, err)
		}
		call, err := caller.Call(within(t, 15*time.Second), "sip:1001@north.example")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := call.Hangup(within(t, 10*time.Second)); err != nil {
			t.Error(err)
		}
	}
	sink.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	b := make([]byte, 4096)
	if n, _, err := sink.ReadFromUDP(b); err == nil {
		t.Errorf("sent to a stranger:\n%s", b[:n])
	}
}

// TestSignedStore: where locations must be signed, what somebody writes into the routing store moves nobody's calls and gives
// nobody another's identity, however new it looks; what home has said is followed as straight as ever.
func TestSignedStore(t *testing.T) {
	x := startThree(t, func(c *office.Config) { c.Routes.Trust = "signed" })
	heard := x.tapped()
	alice := at(t, x, "1001", "north")
	at(t, x, "1002", "west")
	caller := x.phone("2001", "south", phone.Config{Answer: phone.Talk})
	if _, err := x.plug(caller); err != nil {
		t.Fatal(err)
	}
	call := func(p *phone.Phone, to string) {
		t.Helper()
		c, err := p.Call(within(t, 15*time.Second), "sip:"+to)
		if err != nil {
			t.Fatalf("to %s: %v", to, err)
		}
		if err := c.Hangup(within(t, 10*time.Second)); err != nil {
			t.Error(err)
		}
	}
	call(caller, "1002@north.example")
	between := 0 // INVITEs from office to office
	heard.last(func(m *sip.Message) bool {
		if m.IsRequest() && m.Method() == sip.INVITE && m.Value(sip.PAssertedIdentity) != nil {
			between++
		}
		return false
	})
	if between != 1 {
		t.Errorf("a call to a signed place: got %d INVITEs between offices, want it to go there straight", between)
	}
	// West writes that alice has come to it, as new as can be: more than a year ahead nobody would heed it.
	west, epoch := x.office("west").Config().URI, fmt.Sprint(time.Now().Add(364*24*time.Hour).UnixMicro())
	x.redis("HSET", "roam:loc:{1001@north.example}", "office", "west", "sw", west, "reg", west, "epoch", epoch)
	x.redis("SET", "roam:ep:{1001@north.example}", epoch)
	if w, err := x.office("south").Where(t.Context(), "1001"); err != nil || w.At == "west" {
		t.Errorf("south believes that alice is at %q, %v", w.At, err)
	}
	call(caller, "1001@north.example")
	for _, f := range x.office("south").Metrics().Families() {
		if f.Name == "routes_untrusted_total" {
			if n, _ := f.With().Count(); n == 0 {
				t.Error("west's word was not counted")
			}
		}
	}
	rogue := x.dialAs("south", "west") // and in her name
	if res := rogue.ask("INVITE sip:2001@south.example", "P-Asserted-Identity: <sip:1001@north.example>\nContact: <sip:a@b>\nTo: <sip:2001@south.example>\nContent-Type: application/sdp\n", claimedSDP); res.Status() != 403 {
		t.Errorf("a call in alice's name by west: got %d %s, want 403", res.Status(), res.Reason())
	}
	call(alice, "2001@south.example")
	x.house.Resync("north")
	x.eventually("home has gone above it", func() error {
		w, err := x.office("south").Where(t.Context(), "1001")
		if err == nil && w.At != "north" {
			err = fmt.Errorf("at %q", w.At)
		}
		return err
	})
}
