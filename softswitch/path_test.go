package softswitch

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
	"github.com/siproam/siproam/sip/transaction"
)

// The callee's office, or his home, does not answer: the caller has his 480 within 4 s the first time, however many
// offices must be asked, and at once from then on; nobody is asked who is known to be dead.
func TestDeadOffice(t *testing.T) {
	for _, c := range []struct {
		name, how string
		dead      []string
		home      bool // the caller is at the callee's home, not in a third office
		first     time.Duration
	}{
		{"visited office silent", "silent", []string{"south"}, false, 4 * time.Second},
		{"visited office silent, from home", "silent", []string{"south"}, true, 4 * time.Second},
		{"visited office hangs before there is a connection", "hanging", []string{"south"}, false, 4 * time.Second},
		{"visited office killed", "refused", []string{"south"}, false, 50 * time.Millisecond},
		{"home silent, too", "silent", []string{"south", "north"}, false, 8 * time.Second},
	} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			b := net.phone(bob, "198.51.100.2:5060").register(south, "north", 10)
			a := net.phone(dave, "198.51.100.1:5060")
			if c.home {
				a = net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
			} else {
				a.register(west, "", 1)
			}
			for _, o := range c.dead {
				net.down[net.offices[roam.OfficeID(o)].addrs[1]] = c.how
			}
			for i, limit := range []time.Duration{c.first, 50 * time.Millisecond} {
				began, before := time.Now(), len(net.invites())
				var took time.Duration
				a.onEnd = func() { took = time.Since(began) }
				a.call("1002", "offer")
				net.pass(40 * time.Second)
				if a.last() != 480 || took > limit {
					t.Errorf("%s, call %d: got %v after %v, want 480 within %v", c.name, i+1, a.got, took, limit)
				}
				if n := len(net.invites()) - before; i == 1 && len(c.dead) == 2 && n != 0 {
					t.Errorf("%s: %d INVITEs to offices known to be dead", c.name, n)
				}
			}
			for _, r := range a.at.rows {
				if r.User == a.user && (r.Status != 480 || r.Cause != 38 || r.Reason != "office silent") {
					t.Errorf("%s: got %+v, want 480, 38, office silent", c.name, r)
				}
			}
			for _, o := range c.dead { // it is back
				delete(net.down, net.offices[roam.OfficeID(o)].addrs[1])
				net.router.mu.Lock()
				delete(net.router.doubted, roam.OfficeID(o))
				net.router.mu.Unlock()
			}
			a.call("1002", "offer")
			net.pass(3 * time.Second)
			if a.last() != 200 || len(b.invited) != 1 {
				t.Errorf("%s, it is back: got %v, want 200", c.name, a.got)
			}
			a.bye()
		})
	}
}

// However wrong the tables are, no call goes round: it ends soon, after a few INVITEs; with 480, or with 403 where the one that
// sends it on may not speak for the caller.
func TestNoCircles(t *testing.T) {
	at := func(o *office, e roam.Epoch) roam.Location {
		return roam.Location{Epoch: e, Office: o.id, Switch: o.sw.cfg.Card.Switch}
	}
	gone := func(net *network, o, to *office, e roam.Epoch) { // o remembers that bob went to another
		l := at(to, e)
		o.dir.lines[bob] = roam.Line{User: bob, Visitor: true, Home: net.offices["north"].sw.cfg.Card, Gone: &l}
		o.dir.names[sip.AOR(bob)] = bob
	}
	claims := func(o, to *office) { // o takes bob for its own user, who is at another
		o.dir.lines[bob] = roam.Line{User: bob, Profile: profileOf(bob), Epoch: 5, Targets: []roam.Target{{Office: to.id, URI: to.sw.cfg.Card.Switch}}}
		o.dir.names[sip.AOR(bob)], o.dir.names[sip.AOR(numberOf(bob))] = bob, bob
	}
	for _, c := range []struct {
		name    string
		tables  func(net *network, north, south, west *office)
		invites int // at most
	}{
		{"opposite tombstones", func(net *network, north, south, west *office) {
			gone(net, south, west, 20)
			gone(net, west, south, 20)
			net.router.locs[bob] = at(south, 9)
		}, 3},
		{"opposite tombstones, each newer than the other's caller knows", func(net *network, north, south, west *office) {
			gone(net, south, west, 30)
			gone(net, west, south, 20)
			net.router.locs[bob], net.router.stale[bob] = at(west, 9), at(south, 8)
		}, 5},
		{"home and visited office each take him for the other's", func(net *network, north, south, west *office) {
			claims(north, south)
			gone(net, south, north, 50)
			net.router.locs[bob] = at(south, 9)
		}, 4},
		{"two take him for their own user, at the other", func(net *network, north, south, west *office) {
			claims(north, south)
			claims(south, north)
			net.router.locs[bob] = at(south, 9)
		}, 4},
		{"three in a ring", func(net *network, north, south, west *office) {
			claims(north, south)
			claims(south, west)
			claims(west, north)
		}, 6},
		{"three in a ring, and a fourth calls", func(net *network, north, south, west *office) {
			claims(north, south)
			claims(south, west)
			claims(west, north)
			net.router.locs[bob] = at(north, 9)
		}, 6},
	} {
		for _, from := range []string{"south", "west", "east"} {
			world(t, func(t *testing.T, net *network, north, south, west *office) {
				east := net.office("east", "192.0.2.4", Config{})
				net.addUser(bob)
				c.tables(net, north, south, west)
				a := net.phone(map[string]roam.UserID{"south": carol, "west": dave, "east": "4001@east.example"}[from], "198.51.100.9:5060")
				a.register(map[string]*office{"south": south, "west": west, "east": east}[from], "", 1)
				a.call("+15550001002", "offer")
				net.pass(20 * time.Second)
				refused := a.last() == 480 || a.last() == 403
				if n := len(net.invites()); !refused || n > c.invites {
					t.Errorf("%s, from %s: got %v after %d INVITEs %v, want 480 after %d at most", c.name, from, a.got, n, net.invites(), c.invites)
				}
			})
		}
	}
}

// A call that has been here before, or has come through too many offices, is sent on no more; phones here it may ring.
func TestPathStops(t *testing.T) {
	for _, c := range []struct {
		path      string
		here      bool // bob is at home, not in west
		want      int
		wentRound uint64
	}{
		{"south", false, 200, 0}, {"west, south", false, 200, 0}, {"north, south", false, 480, 1}, {"a, b, c, south", false, 480, 1},
		{"north, south", true, 200, 0}, {"south, west;silent", false, 480, 0},
	} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			m := &metric.Set{}
			north.sw.count.circles = m.Counter("call_circles_total", "", "why")
			b := net.phone(bob, "198.51.100.2:5060")
			if c.here {
				b.register(north, "", 10)
			} else {
				b.register(west, "north", 10)
			}
			net.addUser(carol)
			a := &phone{node: south.node, user: carol}
			a.do(func() {
				a.d = a.table.Invite(dialog.Invite{To: transaction.Destination{URI: sip.URI{Scheme: "sip", Host: "north.example"}}, URI: "sip:1002@north.example",
					From: sip.Address{Raw: "sip:2001@south.example"}, ToAddr: sip.Address{Raw: "sip:1002@north.example"}, Type: sdpType, Body: []byte("offer"),
					Fields: []sip.Field{{Name: sip.PAssertedIdentity, Value: "<sip:2001@south.example>"}, {Name: sip.RoamPath, Value: c.path}}}, a)
			})
			net.pass(3 * time.Second)
			counted, _ := north.sw.count.circles.With("path").Count()
			if a.last() != c.want || counted != c.wentRound || strings.Contains(net.logged(), "call.circle") != (c.wentRound > 0) {
				t.Errorf("%s, at home %v: got %v, counted %d times, want %d and %d", c.path, c.here, a.got, counted, c.want, c.wentRound)
			}
			a.do(func() { a.d.Bye(0, "") })
		})
	}
}

func TestPath(t *testing.T) {
	for text, want := range map[string]struct{ path, silent []roam.OfficeID }{
		"":                        {},
		"west":                    {path: []roam.OfficeID{"west"}},
		" west , north; silent=1": {path: []roam.OfficeID{"west"}, silent: []roam.OfficeID{"north"}},
		"a, b;silent, c":          {path: []roam.OfficeID{"a", "c"}, silent: []roam.OfficeID{"b"}},
		strings.Repeat("x, ", 40): {path: slices.Repeat([]roam.OfficeID{"x"}, 17)},
	} {
		var m sip.Message
		raw := "INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/TLS x;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n"
		if text != "" {
			raw += "Roam-Path: " + strings.TrimSuffix(text, ", ") + "\r\n"
		}
		if err := sip.Parse([]byte(raw+"Content-Length: 0\r\n\r\n"), &m); err != nil {
			t.Fatal(err)
		}
		got := readPath(&m)
		if !slices.Equal(got.path, want.path) || !slices.Equal(got.silent, want.silent) {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
	b := behind{path: []roam.OfficeID{"west"}, silent: []roam.OfficeID{"south"}}
	if got, want := b.text("north"), "west, north, south;silent"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
