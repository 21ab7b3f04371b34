package office_test

import (
	"net"
	"testing"
	"time"

	"github.com/siproam/siproam/phone"
)

// TestPoisonedAddress: a location that leads to somebody else than the office it names, whoever wrote it, gets no call and no
// identity, and the callee's home says where he is.
func TestPoisonedAddress(t *testing.T) {
	x := startThree(t, nil)
	at(t, x, "1001", "west")
	caller := x.phone("2001", "south", phone.Config{})
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
