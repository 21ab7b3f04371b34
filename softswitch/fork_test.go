package softswitch

import (
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
	"github.com/siproam/siproam/sip/transaction"
)

// desk gives alice of north as caller, and n devices of bob that ring only.
func desk(net *network, north *office, n int) (a *phone, bs []*phone) {
	a = net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
	for i := range n {
		b := net.phone(bob, "198.51.100.2:506"+string(rune('0'+i))).register(north, "", 1)
		b.answer = ringOnly
		bs = append(bs, b)
	}
	return a, bs
}

// All devices ring, one wins, the others are told where the call went.
func TestForkOneWins(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a, bs := desk(net, north, 3)
		a.call("1002", "offer")
		net.pass(time.Second)
		for _, b := range bs {
			if len(b.invited) != 1 {
				t.Fatalf("a phone was invited %d times, want once", len(b.invited))
			}
		}
		bs[1].do(func() { bs[1].answerNow("mine") })
		if a.last() != 200 || a.bodies[len(a.bodies)-1] != "north>B>A:mine" {
			t.Errorf("the caller got %v %q", a.got, a.bodies)
		}
		for _, i := range []int{0, 2} {
			if e := bs[i].ended; len(e) != 1 || string(e[0].Req.Value(sip.Reason)) != `SIP;cause=200;text="Call completed elsewhere"` {
				t.Errorf("phone %d ended %+v, want CANCEL: completed elsewhere", i, e)
			}
		}
		north.do(func() {
			for _, c := range north.sw.calls {
				if j := c.bridge.(*fakeBridge).joined; j != "B2" {
					t.Errorf("media joined %q, want B2", j)
				}
			}
		})
		bs[1].bye()
	})
}

// Two answer at once: the second is acknowledged and ended.
func TestForkTwoAnswer(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a, bs := desk(net, north, 2)
		a.call("1002", "offer")
		north.lose = func(line string) bool { return strings.HasPrefix(line, "CANCEL") }
		bs[0].do(func() { bs[0].answerNow("first") })
		bs[1].do(func() { bs[1].answerNow("second") })
		net.pass(time.Second)
		if len(bs[0].ended) != 0 || len(bs[1].ended) != 1 || bs[1].ended[0].Req == nil || bs[1].ended[0].Req.Method() != sip.BYE || len(bs[1].acks) != 1 {
			t.Errorf("first ended %+v, second %+v, ACKs %q", bs[0].ended, bs[1].ended, bs[1].acks)
		}
		a.bye()
	})
}

// The best refusal is the caller's (RFC 3261 16.7 step 6).
func TestForkBestResponse(t *testing.T) {
	for _, c := range []struct {
		codes []int
		want  int
	}{
		{[]int{486, 480}, 486}, {[]int{480, 486}, 486}, {[]int{404, 486}, 486}, {[]int{503, 480}, 480}, {[]int{486, 603}, 603},
		{[]int{488, 480}, 480}, {[]int{484, 480}, 484}, {[]int{503, 503}, 500},
	} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			a, bs := desk(net, north, len(c.codes))
			for i, b := range bs {
				b.answer = func(p *phone, tx *transaction.Server) {
					d := p.d
					p.loop.After(time.Duration(i+1)*time.Second, func() { d.Respond(tx, dialog.Answer{Code: c.codes[i]}) })
				}
			}
			a.call("1002", "offer")
			net.pass(5 * time.Second)
			if a.last() != c.want {
				t.Errorf("%v: got %v, want %d", c.codes, a.got, c.want)
			}
		})
	}
}

// 6xx: nobody else is to be rung (16.7 step 5).
func TestForkDeclinedForAll(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a, bs := desk(net, north, 3)
		a.call("1002", "offer")
		bs[0].do(func() { bs[0].d.Respond(bs[0].ringing, dialog.Answer{Code: 603}) })
		net.pass(time.Second)
		if a.last() != 603 || len(bs[1].ended) != 1 || len(bs[2].ended) != 1 {
			t.Errorf("the caller got %v, others ended %v %v, want 603 and CANCELs", a.got, bs[1].ended, bs[2].ended)
		}
	})
}

// One device is gone: the other still rings.
func TestForkOneIsGone(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a, bs := desk(net, north, 2)
		delete(net.nodes, bs[0].addrs[0])
		a.call("1002", "offer")
		bs[1].do(func() { bs[1].answerNow("here") })
		if a.last() != 200 {
			t.Errorf("got %v, want 200", a.got)
		}
		a.bye()
	})
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a, bs := desk(net, north, 1)
		delete(net.nodes, bs[0].addrs[0])
		a.call("1002", "offer")
		if a.last() != 480 {
			t.Errorf("got %v, want 480", a.got)
		}
	})
}

// flowsOf makes the addresses of one phone of bob's its flows, best first (RFC 5626).
func flowsOf(o *office, bs []*phone) {
	line := o.dir.lines[bs[0].user]
	for i := range line.Targets {
		line.Targets[i].Device, line.Targets[i].RegID = "urn:uuid:bob", uint32(i+1)
	}
	o.dir.lines[bs[0].user] = line
}

// Several flows of one phone are tried one after the other (RFC 5626 6): a broken one is passed over, one that is silent
// is left after a while, and one that answers is the only one asked.
func TestFlowsOneAfterTheOther(t *testing.T) {
	for name, c := range map[string]struct {
		breaks func(net *network, first *phone)
		want   []int // invitations by flow
		status int
	}{
		"the first lives":                {func(*network, *phone) {}, []int{1, 0, 0}, 200},
		"the first's connection is gone": {func(net *network, first *phone) { delete(net.nodes, first.addrs[0]) }, []int{0, 1, 0}, 200},
		"the first is silent":            {func(net *network, first *phone) { net.down[first.addrs[0]] = "silent" }, []int{0, 1, 0}, 200},
		"the first says 430":             {func(_ *network, first *phone) { first.answer = refusing(430) }, []int{1, 1, 0}, 200},
		"the first is busy":              {func(_ *network, first *phone) { first.answer = refusing(486) }, []int{1, 0, 0}, 486},
	} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			a, bs := desk(net, north, 3)
			flowsOf(north, bs)
			for _, b := range bs {
				b.answer = func(p *phone, tx *transaction.Server) { p.answerNow("here") }
			}
			c.breaks(net, bs[0])
			a.call("1002", "offer")
			net.pass(10 * time.Second)
			for i, b := range bs {
				if len(b.invited) != c.want[i] {
					t.Errorf("%s: flow %d was asked %d times, want %d", name, i+1, len(b.invited), c.want[i])
				}
			}
			if a.last() != c.status {
				t.Errorf("%s: got %v, want %d", name, a.got, c.status)
			}
			a.bye()
		})
	}
}

// Every flow is broken: another office is told so (RFC 5626 5.3.1), and its caller that nobody is there.
func TestFlowFailed(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b := net.phone(bob, "198.51.100.2:5060").register(south, "north", 1)
		var said []string
		south.lose = func(line string) bool {
			if strings.HasPrefix(line, "SIP/2.0 4") {
				said = append(said, line)
			}
			return false
		}
		delete(net.nodes, b.addrs[0])
		a.call("1002", "offer")
		net.pass(10 * time.Second)
		if a.last() != 480 || len(said) == 0 || !strings.HasPrefix(said[0], "SIP/2.0 430 Flow Failed") {
			t.Errorf("the caller got %v and south said %q, want 480 and 430", a.got, said)
		}
	})
}

// A cancels: every phone stops ringing.
func TestForkCancelled(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a, bs := desk(net, north, 3)
		a.call("1002", "offer")
		a.bye()
		for i, b := range bs {
			if len(b.ended) != 1 || b.ended[0].Req.Method() != sip.CANCEL {
				t.Errorf("phone %d ended %+v, want CANCEL", i, b.ended)
			}
		}
	})
}

// Early media is the first leg's that has any; the caller has one dialog.
func TestEarlyMedia(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a, bs := desk(net, north, 2)
		for _, b := range bs {
			b.answer = func(*phone, *transaction.Server) {}
		}
		a.call("1002", "offer")
		for _, b := range bs {
			b.do(func() {
				b.d.Respond(b.ringing, dialog.Answer{Code: 183, Type: sdpType, Body: []byte("early " + b.addrs[0].String())})
			})
		}
		if len(a.got) != 1 || a.got[0] != 183 || a.bodies[0] != "north>B>A:early 198.51.100.2:5060" {
			t.Errorf("the caller got %v %q, want one 183 with the first phone's SDP", a.got, a.bodies)
		}
		bs[0].do(func() { bs[0].d.Respond(bs[0].ringing, dialog.Answer{Code: 180}) })
		bs[0].do(func() { bs[0].answerNow("") }) // its answer was in the 183
		if a.last() != 200 || a.bodies[len(a.bodies)-1] != "north>B>A:early 198.51.100.2:5060" || a.got[1] != 180 {
			t.Errorf("the caller got %v %q, want 180, and 200 with the early answer", a.got, a.bodies)
		}
		a.bye()
	})
}

// Who calls the own number rings the own other devices, and is busy when there are none.
func TestOwnNumber(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		a.call("1001", "offer")
		if a.last() != 486 {
			t.Errorf("got %v, want 486", a.got)
		}
		b := net.phone(alice, "198.51.100.2:5060").register(north, "", 1)
		a.call("1001", "offer")
		net.pass(2 * time.Second)
		if a.last() != 200 || len(b.invited) != 1 || len(a.invited) != 0 {
			t.Errorf("got %v, the other device was invited %d times, the calling one %d", a.got, len(b.invited), len(a.invited))
		}
		a.bye()
	})
}

// Devices in two offices: home rings both, whoever calls from wherever; one wins.
func TestDevicesInTwoOffices(t *testing.T) {
	for _, from := range []string{"home", "an office that has one", "a third office"} {
		t.Run(from, func(t *testing.T) {
			world(t, func(t *testing.T, net *network, north, south, west *office) {
				b1 := net.phone(bob, "198.51.100.1:5060").register(north, "", 10)
				b2 := net.phone(bob, "198.51.100.2:5060").register(south, "north", 10)
				b1.answer, b2.answer = ringOnly, ringOnly
				net.router.locs[bob] = roam.Location{Office: "north", Switch: north.sw.cfg.Card.Switch, Epoch: 12}
				var a *phone
				switch from {
				case "home":
					a = net.phone(alice, "198.51.100.3:5060").register(north, "", 1)
				case "a third office":
					a = net.phone(dave, "198.51.100.3:5060").register(west, "", 1)
				default:
					a = net.phone(carol, "198.51.100.3:5060").register(south, "", 1)
				}
				a.call("+15550001002", "offer")
				net.pass(time.Second)
				if len(b1.invited) != 1 || len(b2.invited) != 1 {
					t.Fatalf("invited %d and %d times, want each once", len(b1.invited), len(b2.invited))
				}
				b2.do(func() { b2.answerNow("south") })
				net.pass(time.Second)
				if a.last() != 200 || len(b1.ended) != 1 {
					t.Errorf("the caller got %v, the phone at home ended %v", a.got, b1.ended)
				}
				net.pass(5 * time.Second)
				a.bye()
				if len(b2.ended) != 1 {
					t.Errorf("the phone that answered: %v", b2.ended)
				}
			})
		})
	}
}
