package office_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/sip"
)

// talker is a registered phone of user n that comes to a listener of an office, whose place begins with prefix; it plays hz.
func (x *three) talker(n, at, prefix string, hz float64) *phone.Phone {
	x.t.Helper()
	i := slices.IndexFunc(x.office(at).Addrs(), func(a string) bool { return strings.HasPrefix(a, prefix) })
	if i < 0 {
		x.t.Fatalf("%s has no listener %s: %v", at, prefix, x.office(at).Addrs())
	}
	network, addr, _ := strings.Cut(x.office(at).Addrs()[i], ":")
	to := netip.MustParseAddrPort(addr)
	own := to.Addr()
	switch {
	case own == netip.IPv6Unspecified():
		own = netip.IPv6Loopback()
	case own.Is4():
		own = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if to.Addr().IsUnspecified() {
		to = netip.AddrPortFrom(own, to.Port())
	}
	p := x.phone(n, at, phone.Config{Answer: phone.Talk, Tone: hz, TCP: network == "tcp", Listen: netip.AddrPortFrom(own, 0).String()}, to.String())
	if _, err := x.plug(p); err != nil {
		x.t.Fatalf("%s by %s: %v", n, to, err)
	}
	x.located(n, at)
	return p
}

// converse has a call uri, which rings b, until each has heard the other.
func (x *three) converse(what string, a, b *phone.Phone, uri string, hzA, hzB float64) {
	x.t.Helper()
	call, err := a.Call(within(x.t, 10*time.Second), uri)
	if err != nil {
		x.t.Errorf("%s: %v", what, err)
		return
	}
	there := b.Current()
	if there == nil {
		x.t.Fatalf("%s: somebody else answered", what)
	}
	x.eventually(what+": tones both ways", func() error {
		if h, g := call.Heard(hzB), there.Heard(hzA); h < 200*time.Millisecond || g < 200*time.Millisecond {
			return fmt.Errorf("the caller heard %v, the callee %v", h, g)
		}
		return nil
	})
	if err := call.Hangup(within(x.t, 5*time.Second)); err != nil {
		x.t.Errorf("%s: hang up: %v", what, err)
	}
	x.eventually(what+": over", func() error {
		if b.Current() != nil {
			return fmt.Errorf("the callee still talks")
		}
		return nil
	})
}

// addressing looks at what offices say of themselves until stop: Via of requests, Contact and SDP have the address that
// the other end reaches them at, and received is where it sent from.
func (x *three) addressing() (stop func() (messages int)) {
	var mu sync.Mutex
	n := 0
	var wrong []string
	var stops []func()
	for _, o := range x.house.Offices {
		stops = append(stops, o.Tap(func(f *sip.Flow, sent bool, b []byte) {
			if !sent {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			n++
			if bad := misaddressed(f, b); bad != "" {
				wrong = append(wrong, fmt.Sprintf("%s to %s: %s in\n%s", o.Name(), f.Remote, bad, b))
			}
		}))
	}
	return func() int {
		for _, s := range stops {
			s()
		}
		mu.Lock()
		defer mu.Unlock()
		for _, w := range wrong[:min(len(wrong), 3)] {
			x.t.Error(w)
		}
		return n
	}
}

// misaddressed says what in a message of ours is not our address on f.
func misaddressed(f *sip.Flow, b []byte) string {
	var m sip.Message
	if err := sip.Parse(slices.Clone(b), &m); err != nil {
		return err.Error()
	}
	here, _, _ := strings.Cut(f.Here, "]:")
	here = strings.TrimPrefix(here, "[")
	if !strings.Contains(f.Here, "]") {
		here, _, _ = strings.Cut(f.Here, ":")
	}
	via, err := sip.ParseVia(m.Value(sip.Via))
	switch {
	case err != nil:
		return err.Error()
	case m.IsRequest() && strings.Trim(via.Host, "[]") != here:
		return "Via " + via.Host
	case !m.IsRequest():
		if got, _ := via.Params.Get("received"); got != "" && got != f.Remote.Addr().Unmap().String() {
			return "received " + got
		}
	}
	dialog := m.Method() == sip.INVITE || m.Method() == sip.ACK
	if c := m.Value(sip.Contact); dialog && c != nil && m.Status()/100 != 3 {
		a, err := sip.ParseAddress(c)
		if err != nil || !strings.Contains(a.Raw+a.URI.Host, here) {
			return "Contact " + string(c)
		}
	}
	for line := range bytes.Lines(m.Body()) {
		if !bytes.HasPrefix(line, []byte("c=")) {
			continue
		}
		family := "IP4"
		if strings.Contains(here, ":") {
			family = "IP6"
		}
		if want := "c=IN " + family + " " + here; string(bytes.TrimSpace(line)) != want {
			return string(bytes.TrimSpace(line))
		}
	}
	return ""
}

// TestIPv6 is north on both families with a listener for each, south on [::] for both, and offices that reach each
// other by IPv6: phones of each family call phones of each, with sound.
func TestIPv6(t *testing.T) {
	if c, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Logf("no IPv6 here: %v", err)
		return
	} else {
		c.Close()
	}
	x := startThree(t, func(c *office.Config) {
		c.Listen = []string{"udp:127.0.0.1:0", "udp:[::1]:0", "tcp:[::1]:0", "tls:[::1]:0"}
		if c.Office == "south" {
			c.Listen = []string{"udp:[::]:0", "tcp:[::]:0"}
		}
		c.PartnerListen = strings.Replace(c.PartnerListen, "127.0.0.1", "[::1]", 1)
		c.URI = strings.Replace(c.URI, "127.0.0.1", "[::1]", 1)
	})
	seen := x.addressing()
	six, sixTCP := x.talker("1001", "north", "udp:[::1]", 440), x.talker("1002", "north", "tcp:[::1]", 550)
	four := x.talker("1003", "north", "udp:127", 660)
	x.converse("IPv6 UDP -> IPv6 TCP", six, sixTCP, "sip:1002@north.example", 440, 550)
	x.converse("IPv6 TCP -> IPv4", sixTCP, four, "sip:1003@north.example", 550, 660)
	x.converse("IPv4 -> IPv6", four, six, "sip:1001@north.example", 660, 440)

	south := x.addr("south", "udp") // [::]: IPv4 comes there, too
	port := netip.MustParseAddrPort(south).Port()
	away := x.talker("2001", "south", "udp:[::]", 770)
	mapped := x.phone("2002", "south", phone.Config{Answer: phone.Talk, Tone: 880}, fmt.Sprintf("127.0.0.1:%d", port))
	if _, err := x.plug(mapped); err != nil {
		t.Fatal(err)
	}
	x.located("2002", "south")
	x.converse("both families on one socket", away, mapped, "sip:2002@south.example", 770, 880)
	x.converse("IPv4 north -> IPv6 south", four, away, "sip:2001@south.example", 660, 770)
	x.converse("IPv4 south -> IPv6 north", mapped, six, "sip:1001@north.example", 880, 440)

	secure := newWire(t, secureConn(t, x.addr("north", "tls"), tls.VersionTLS13), nil)
	if res := secure.register("1001", fmt.Sprintf("Contact: <sip:1001@%s;transport=tls>\n", secure.conn.LocalAddr())); res.Status() != 200 {
		t.Errorf("REGISTER over TLS: got %d, want 200", res.Status())
	}
	if n := seen(); n < 60 {
		t.Errorf("looked at %d messages only", n)
	}
}

// TestSeveralAddresses: an office with two addresses answers from the one that it was asked at, and names each side the
// one that this side reaches; the caller's call goes on from another address than it came to.
func TestSeveralAddresses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Log("127.0.0.2 is not ours here")
		return
	}
	x := startThree(t, func(c *office.Config) {
		switch c.Office {
		case "north":
			c.Listen = []string{"udp:127.0.0.1:0", "udp:127.0.0.2:0", "tcp:127.0.0.3:0"}
		case "south":
			c.Listen = []string{"udp:0.0.0.0:0", "tcp:0.0.0.0:0"}
		}
	})
	seen := x.addressing()
	one, two, three := x.talker("1001", "north", "udp:127.0.0.1", 440), x.talker("1002", "north", "udp:127.0.0.2", 550), x.talker("1003", "north", "tcp:127.0.0.3", 660)
	x.converse("first address -> second", one, two, "sip:1002@north.example", 440, 550)
	x.converse("second -> third, TCP", two, three, "sip:1003@north.example", 550, 660)
	x.converse("third -> first", three, one, "sip:1001@north.example", 660, 440)
	port := netip.MustParseAddrPort(x.addr("south", "udp")).Port()
	wild := x.phone("2001", "south", phone.Config{Answer: phone.Talk, Tone: 770}, fmt.Sprintf("127.0.0.9:%d", port))
	if _, err := x.plug(wild); err != nil {
		t.Fatal(err)
	}
	x.located("2001", "south")
	x.converse("to another office", two, wild, "sip:2001@south.example", 550, 770)
	if n := seen(); n < 40 {
		t.Errorf("looked at %d messages only", n)
	}
}
