package softswitch

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/media"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
	"github.com/siproam/siproam/sip/transaction"
)

// What is counted: attempts by result, calls in progress, setup and talk.
func TestMetrics(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		m := &metric.Set{}
		north.do(func() { north.sw.count.make(m) })
		gauge := func() (n float64) {
			for _, f := range m.Families() {
				if f.Name == "calls" {
					f.Read(func(v float64, labels ...string) { n += v })
				}
			}
			return n
		}
		a, bs := desk(net, north, 1)
		b := bs[0]
		net.addUser("1003@north.example")
		b.answer = ringAnswer
		a.call("1002", "offer")
		if got := gauge(); got != 1 {
			t.Errorf("%v calls in progress, want 1", got)
		}
		net.pass(5 * time.Second)
		a.bye()
		for code, dial := range map[int]string{486: "1002", 603: "1002"} {
			b.answer = refusing(code)
			a.call(dial, "offer")
			net.pass(time.Second)
		}
		b.answer = ringOnly
		a.call("1002", "offer")
		a.bye()
		a.call("1003", "offer")
		a.call("1999", "offer")
		a.call("1002", "offer")
		net.pass(200 * time.Second)
		got := map[string]uint64{}
		for _, f := range m.Families() {
			f.Each(func(v *metric.Value) { n, _ := v.Count(); got[f.Name+" "+strings.Join(v.Labels, " ")] += n })
		}
		for want, n := range map[string]uint64{
			"call_attempts_total in-office answered": 1, "call_attempts_total in-office busy": 1, "call_attempts_total in-office declined": 1,
			"call_attempts_total in-office cancelled": 1, "call_attempts_total in-office no answer": 1,
			"call_attempts_total not-connected offline": 1, "call_attempts_total not-connected no such number": 1,
			"call_setup_duration_seconds in-office": 3, "call_duration_seconds in-office": 1,
		} {
			if got[want] != n {
				t.Errorf("%s: got %d, want %d; all %v", want, got[want], n, got)
			}
		}
		if g := gauge(); g != 0 {
			t.Errorf("%v calls in progress, want 0", g)
		}
	})
}

// A phone that progresses in several ways: what adds nothing is not repeated to the caller.
func TestProgress(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a, bs := desk(net, north, 1)
		b := bs[0]
		b.answer = func(p *phone, tx *transaction.Server) {
			for _, code := range []int{183, 180, 180, 181, 182} {
				p.d.Respond(tx, dialog.Answer{Code: code})
			}
		}
		a.call("1002", "offer")
		net.pass(time.Second)
		b.do(func() { b.d.Respond(b.ringing, dialog.Answer{Code: 486}) })
		want := []int{180, 181, 182, 486}
		if len(a.got) != len(want) {
			t.Fatalf("got %v, want %v", a.got, want)
		}
		for i := range want {
			if a.got[i] != want[i] {
				t.Errorf("got %v, want %v", a.got, want)
			}
		}
	})
}

// The caller answers a late offer with what cannot be joined.
func TestLateOfferUnusable(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a, bs := desk(net, north, 1)
		bs[0].answer = ringAnswer
		a.onOK = func() { a.d.Ack(sdpType, []byte("unusable")) }
		a.call("1002", "")
		net.pass(3 * time.Second)
		if len(a.ended) != 1 || len(bs[0].ended) != 1 || len(bs[0].acks) != 1 {
			t.Errorf("ended %v and %v, ACKs %q", a.ended, bs[0].ended, bs[0].acks)
		}
		north.ended(alice, 200, 88, "office", "media not acceptable")
	})
}

// A binding without a flow, such as one by Path from a foreign proxy, is reached by its URI.
func TestTargetWithoutFlow(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a, bs := desk(net, north, 1)
		bs[0].answer = ringAnswer
		l := north.dir.lines[bob]
		l.Targets[0].Flow = roam.Flow{}
		l.Targets[0].Route = []string{"<sip:198.51.100.2:5060;lr>"}
		a.call("1002", "offer")
		net.pass(3 * time.Second)
		if a.last() != 200 || string(bs[0].invited[0].Value(sip.Route)) != "<sip:198.51.100.2:5060;lr>" {
			t.Errorf("got %v, Route %q", a.got, bs[0].invited[0].Value(sip.Route))
		}
		a.bye()
	})
}

// R holds nonsense as a softswitch, or nothing.
func TestBadSwitchURI(t *testing.T) {
	for _, uri := range []string{"nonsense", "", "tel:1"} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			b := net.phone(bob, "198.51.100.2:5060").register(north, "", 10)
			a := net.phone(dave, "198.51.100.1:5060").register(west, "", 1)
			net.router.locs[bob] = roam.Location{Epoch: 20, Office: "south", Switch: uri}
			a.call("1002", "offer")
			net.pass(20 * time.Second)
			if a.last() != 200 || len(b.invited) != 1 { // home knows better
				t.Errorf("%q: got %v, want 200", uri, a.got)
			}
			a.bye()
		})
	}
}

// No media port for a call between offices; a tombstone that names no softswitch.
func TestInterOfficeRefusals(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		net.phone(bob, "198.51.100.2:5060").register(south, "north", 10)
		a := net.phone(dave, "198.51.100.1:5060").register(west, "", 1)
		west.limit, west.bridges = 1, 1
		a.call("1002", "offer")
		if a.last() != 503 {
			t.Errorf("without ports: got %v, want 503", a.got)
		}
		west.bridges, west.limit = 0, 0
		a.call("1002", "unusable")
		if a.last() != 488 {
			t.Errorf("unusable offer: got %v, want 488", a.got)
		}
		l := south.dir.lines[bob]
		l.Gone, l.Targets = &roam.Location{Office: "east", Epoch: 99}, nil
		south.dir.lines[bob] = l
		code, _ := net.partner(west, south, "sip:1002@north.example", sip.Field{Name: sip.PAssertedIdentity, Value: "<sip:3001@west.example>"})
		if code != 480 {
			t.Errorf("tombstone without softswitch: got %d, want 480", code)
		}
	})
}

func TestPeerOf(t *testing.T) {
	ap := netip.MustParseAddrPort
	for _, c := range []struct {
		f    *sip.Flow
		want media.Peer
	}{
		{nil, media.Peer{Partner: true}},
		{&sip.Flow{Flow: roam.Flow{Local: ap("192.0.2.1:5060"), Remote: ap("[::ffff:198.51.100.1]:5060")}}, media.Peer{Signal: netip.MustParseAddr("198.51.100.1"), Here: netip.MustParseAddr("192.0.2.1")}},
		{&sip.Flow{Flow: roam.Flow{Local: ap("0.0.0.0:5060"), Remote: ap("198.51.100.1:5060")}, Here: "192.0.2.7:5060"}, media.Peer{Signal: netip.MustParseAddr("198.51.100.1"), Here: netip.MustParseAddr("192.0.2.7")}},
		{&sip.Flow{Flow: roam.Flow{Local: ap("[::]:5060"), Remote: ap("198.51.100.1:5060")}, Here: "sip.example.org", Partner: "north"}, media.Peer{Signal: netip.MustParseAddr("198.51.100.1"), Partner: true}},
	} {
		if got := peerOf(c.f); got != c.want {
			t.Errorf("peerOf(%+v): got %+v, want %+v", c.f, got, c.want)
		}
	}
}

func TestURIOf(t *testing.T) {
	for address, want := range map[string]string{"1001@north.example": "sip:1001@north.example", "+15550001001": "tel:+15550001001", "a b@north.example": "sip:a%20b@north.example"} {
		if got := uriOf(address); got != want {
			t.Errorf("uriOf(%q): got %q, want %q", address, got, want)
		}
	}
}

// Session-ID (RFC 7989): the caller's end, or one made for a phone that has none; never a forged form.
func TestSession(t *testing.T) {
	id := strings.Repeat("0f", 16)
	for v, want := range map[string]string{id: id, id + ";remote=" + noSession: id, strings.ToUpper(id): id, noSession + ";remote=" + id: "", "xyz": "", id + "0": "", strings.Repeat("g", 32): ""} {
		if got := session(msg(t, "Session-ID: "+v)); got != want {
			t.Errorf("session(%q): got %q, want %q", v, got, want)
		}
	}
	if got := newSession(); len(got) != 32 || got == noSession || got == newSession() {
		t.Errorf("newSession: got %q", got)
	}
}

// Reason (RFC 3326) crosses by protocol; the Q.850 cause is read when it is one.
func TestReason(t *testing.T) {
	for _, c := range []struct {
		fields, crosses string
		cause           int
	}{
		{`Reason: Q.850;cause=17;text="User busy"`, `Q.850;cause=17;text="User busy"`, 17},
		{`Reason: SIP;cause=200, Q.850 ;cause=16`, `SIP;cause=200, Q.850 ;cause=16`, 16},
		{`Reason: X;cause=1`, "", 0},
		{`Reason: Q.850;cause=900`, `Q.850;cause=900`, 0},
		{`Reason: Q.850;cause=-1`, `Q.850;cause=-1`, 0},
		{`Subject: none`, "", 0},
		{"Reason: SIP;cause=200;text=\"a\\\x00\"", `SIP;cause=200;text="a\ "`, 0}, // else our BYE could not be written
		{"Reason: SIP;cause=200;text=\"\x1b[2J\xc0\x8aé\"", `SIP;cause=200;text=" [2J é"`, 0},
	} {
		m := msg(t, c.fields)
		cause, found := causeOf(m)
		if got := reasonOf(m); got != c.crosses || cause != c.cause || found != (c.cause != 0) {
			t.Errorf("%s: got %q, %d, want %q, %d", c.fields, got, cause, c.crosses, c.cause)
		}
	}
	if causeFor(199) != 31 || causeFor(486) != 17 {
		t.Error("causeFor")
	}
}

// An icid that is too long, or no plain text, is not taken over from a partner.
func TestICID(t *testing.T) {
	for icid, taken := range map[string]bool{"abc": true, strings.Repeat("x", 129): false, "": false, "a\tb": false} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
			net.addUser(dave)
			net.partner(west, north, "sip:1002@north.example", sip.Field{Name: sip.PAssertedIdentity, Value: "<sip:3001@west.example>"},
				sip.Field{Name: sip.PChargingVector, Value: `icid-value="` + icid + `";orig-ioi=west`})
			if r := north.row(bob); (r.ICID == icid) != taken {
				t.Errorf("%q: icid %q", icid, r.ICID)
			}
		})
	}
}

// The caller's connection ends while it rings: the callee stops ringing. While they talk it may come back.
func TestConnectionLost(t *testing.T) {
	for _, answered := range []bool{false, true} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
			if !answered {
				b.answer = ringOnly
			}
			a := net.phone(alice, "198.51.100.1:5060")
			a.tr = roam.TCP
			a.register(north, "", 1)
			a.call("1002", "offer")
			net.pass(3 * time.Second)
			net.nodes[a.addrs[0]].lose = func(string) bool { return true }
			north.tl.Closed(net.flow(roam.TCP, north.addrs[0], a.addrs[0]))
			net.pass(time.Second)
			if (len(b.ended) == 1) == answered {
				t.Errorf("answered %v: the callee ended %v", answered, b.ended)
			}
			a.do(func() { a.lose = nil })
			if answered {
				a.bye()
			} else {
				a.do(func() { a.d.Bye(0, "") })
				north.ended(alice, 487, 41, "network", "lost")
			}
		})
	}
}

// A call on hold is shown so.
func TestOnHold(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a, bs := desk(net, north, 1)
		bs[0].answer = ringAnswer
		a.call("1002", "offer")
		net.pass(3 * time.Second)
		north.do(func() {
			for _, c := range north.sw.calls {
				c.bridge.(*fakeBridge).held = true
			}
		})
		if v, err := north.sw.Calls(t.Context()); err != nil || len(v) != 1 || v[0].State != "on hold" || v[0].Codec != "PCMA" {
			t.Errorf("got %+v, %v, want one call on hold", v, err)
		}
		a.bye()
	})
}

func TestShortID(t *testing.T) {
	for n, want := range map[uint64]string{1: "0001", 0xabc: "0abc", 0xffff: "ffff", 0x12345: "12345", 1<<64 - 1: "ffffffffffffffff"} {
		if got := shortID(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}
