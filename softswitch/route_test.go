package softswitch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
	"github.com/siproam/siproam/sip/transaction"
)

// invites is who sent whom an INVITE over partner listeners, in order: "north>south".
func (net *network) invites() (hops []string) {
	net.mu.Lock()
	defer net.mu.Unlock()
	hosts := map[string]string{}
	for host, a := range net.names {
		hosts[a.String()] = strings.TrimSuffix(host, ".example")
	}
	for _, s := range net.sent {
		from, line, _ := strings.Cut(s, " ")
		if hosts[from] != "" && strings.HasPrefix(line, "INVITE ") {
			hops = append(hops, hosts[from])
		}
	}
	return hops
}

// moved makes bob of north a visitor who left south for west: south has his tombstone, and R's caches
// still say south where stale is set.
func moved(net *network, south, west *office, stale bool) (b *phone) {
	b = net.phone(bob, "198.51.100.2:5060").register(south, "north", 10)
	old := net.router.locs[bob]
	south.dir.lines[bob] = roam.Line{User: bob, Visitor: true, Home: south.dir.lines[bob].Home, Profile: south.dir.lines[bob].Profile, Epoch: 10}
	h := net.offices["north"].dir.lines[bob]
	h.Targets = nil
	net.offices["north"].dir.lines[bob] = h
	b.register(west, "north", 20)
	gone := net.router.locs[bob]
	line := south.dir.lines[bob]
	line.Gone = &gone
	south.dir.lines[bob] = line
	if stale {
		net.router.stale[bob] = old
	}
	return b
}

// A caller whose cache is old is redirected by the tombstone, reads the store again and goes on.
func TestTombstoneRedirects(t *testing.T) {
	for _, from := range []string{"home", "third"} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			b := moved(net, south, west, true)
			east := net.office("east", "192.0.2.4", Config{})
			a := net.phone("4001@east.example", "198.51.100.9:5060").register(east, "", 1)
			if from == "home" {
				a = net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
				h := north.dir.lines[bob]
				h.Targets[0].URI, h.Targets[0].Office, h.Epoch = "sip:south.example:5067;transport=tls", "south", 11 // home's table is behind, too
				north.dir.lines[bob] = h
			}
			a.call("+15550001002", "offer")
			net.pass(3 * time.Second)
			if a.last() != 200 || len(b.invited) != 1 {
				t.Errorf("%s: got %v, callee invited %d times, want 200 and once", from, a.got, len(b.invited))
			}
			if got, want := len(net.invites()), 2; got != want {
				t.Errorf("%s: %d INVITEs between offices: %v, want %d", from, got, net.invites(), want)
			}
			south.do(func() {
				if len(south.rows) != 0 {
					t.Errorf("%s: the office that only redirected wrote %v", from, south.rows)
				}
			})
			a.bye()
		})
	}
}

// A phone of the office the user left: the tombstone is followed, though R has not heard yet.
func TestTombstoneIsFollowed(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		b := moved(net, south, west, true)
		a := net.phone(carol, "198.51.100.1:5060").register(south, "", 1)
		a.call("1002", "offer")
		net.pass(3 * time.Second)
		if a.last() != 200 || len(b.invited) != 1 || len(net.invites()) != 1 {
			t.Errorf("got %v, invites %v", a.got, net.invites())
		}
		a.bye()
	})
}

// A redirect counts only when it leads to a softswitch R knows.
func TestRedirectToNobody(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		b := moved(net, south, west, true)
		net.router.locs[bob] = net.router.stale[bob] // R itself is behind: only the 302 tells
		line := south.dir.lines[bob]
		line.Gone = &roam.Location{Epoch: 30, Office: "evil", Switch: "sip:evil.example:5067;transport=tls"}
		south.dir.lines[bob] = line
		a := net.phone(dave, "198.51.100.1:5060").register(west, "", 1)
		west.dir.lines[bob] = roam.Line{}
		delete(west.dir.lines, bob)
		delete(west.dir.names, sip.AOR(bob))
		delete(west.dir.names, sip.AOR(numberOf(bob)))
		h := north.dir.lines[bob]
		h.Targets = nil
		north.dir.lines[bob] = h
		a.call("1002", "offer")
		net.pass(3 * time.Second)
		if a.last() != 480 || len(b.invited) != 0 || !strings.Contains(net.logged(), "call.redirect") {
			t.Errorf("got %v, want 480 and a warning", a.got)
		}
		for _, s := range net.sent {
			if strings.Contains(s, "evil") {
				t.Errorf("sent %q", s)
			}
		}
	})
}

// Offices that point ever further end the call after two redirects.
func TestRedirectsAreBounded(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		east := net.office("east", "192.0.2.4", Config{})
		mid := net.office("mid", "192.0.2.5", Config{})
		a := net.phone("4001@east.example", "198.51.100.9:5060").register(east, "", 1)
		net.addUser(bob)
		loc := func(o *office, e roam.Epoch) *roam.Location {
			return &roam.Location{Epoch: e, Office: o.id, Switch: o.sw.cfg.Card.Switch}
		}
		for o, to := range map[*office]*roam.Location{south: loc(west, 20), west: loc(south, 30), mid: loc(south, 60)} {
			o.dir.lines[bob] = roam.Line{User: bob, Visitor: true, Home: north.sw.cfg.Card, Gone: to}
			o.dir.names[sip.AOR(bob)] = bob
		}
		north.dir.lines[bob] = roam.Line{User: bob, Epoch: 40, Targets: []roam.Target{{Office: "mid", URI: mid.sw.cfg.Card.Switch}}}
		net.router.locs[bob] = *loc(south, 10)
		a.call("+15550001002", "offer")
		net.pass(3 * time.Second)
		n := 0
		for _, h := range net.invites() {
			if h == "east" {
				n++
			}
		}
		if a.last() != 480 || n != most {
			t.Errorf("got %v after %v, want 480 after %d INVITEs of east", a.got, net.invites(), most)
		}
	})
	// A chain that never repeats itself.
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		east := net.office("east", "192.0.2.4", Config{})
		mid := net.office("mid", "192.0.2.5", Config{})
		a := net.phone("4001@east.example", "198.51.100.9:5060").register(east, "", 1)
		net.addUser(bob)
		chain := []*office{south, west, mid, north}
		for i, o := range chain[:3] {
			to := chain[i+1]
			o.dir.lines[bob] = roam.Line{User: bob, Visitor: true, Home: north.sw.cfg.Card, Gone: &roam.Location{Epoch: roam.Epoch(20 + i), Office: to.id, Switch: to.sw.cfg.Card.Switch}}
			o.dir.names[sip.AOR(bob)] = bob
		}
		net.router.locs[bob] = roam.Location{Epoch: 10, Office: "south", Switch: south.sw.cfg.Card.Switch}
		net.phone(bob, "198.51.100.2:5060") // at home, one office too far
		a.call("+15550001002", "offer")
		net.pass(3 * time.Second)
		if a.last() != 480 || !slices.Equal(net.invites(), []string{"east", "east", "east"}) {
			t.Errorf("got %v after %v, want 480 after three INVITEs", a.got, net.invites())
		}
	})
}

// The office R's cache names has no tombstone, and home is away: reading R again finds the user.
func TestFreshRead(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		b := moved(net, south, west, true)
		delete(south.dir.lines, bob)
		delete(south.dir.names, sip.AOR(bob))
		delete(south.dir.names, sip.AOR(numberOf(bob)))
		east := net.office("east", "192.0.2.4", Config{})
		a := net.phone("4001@east.example", "198.51.100.9:5060").register(east, "", 1)
		net.down[north.addrs[1]] = "refused"
		a.call("+15550001002", "offer")
		net.pass(3 * time.Second)
		if a.last() != 200 || len(b.invited) != 1 {
			t.Errorf("got %v, callee invited %d times, want 200 and once", a.got, len(b.invited))
		}
		a.bye()
	})
}

// Two devices in one other office: one INVITE there, which forks itself.
func TestOneINVITEPerOffice(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		b1 := net.phone(bob, "198.51.100.2:5060").register(south, "north", 10)
		b2 := net.phone(bob, "198.51.100.3:5060").register(south, "north", 11)
		b3 := net.phone(bob, "198.51.100.4:5060").register(north, "", 12)
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b2.answer, b3.answer = ringOnly, ringOnly
		a.call("1002", "offer")
		net.pass(3 * time.Second)
		if a.last() != 200 || len(b1.invited) != 1 || len(b2.invited) != 1 || len(b3.invited) != 1 || len(net.invites()) != 1 {
			t.Errorf("got %v, invited %d, %d, %d times, by %v", a.got, len(b1.invited), len(b2.invited), len(b3.invited), net.invites())
		}
		a.bye()
	})
}

// A phone that rang and then failed is not rung again by way of home.
func TestNotRungTwice(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		b := net.phone(bob, "198.51.100.2:5060").register(south, "north", 10)
		a := net.phone(dave, "198.51.100.1:5060").register(west, "", 1)
		b.answer = ringOnly
		a.call("1002", "offer")
		net.pass(3 * time.Second)
		b.do(func() { b.d.Respond(b.ringing, dialog.Answer{Code: 500}) })
		net.pass(3 * time.Second)
		if a.last() != 500 || len(b.invited) != 1 {
			t.Errorf("got %v, callee invited %d times, want 500 and once", a.got, len(b.invited))
		}
	})
}

// A visitor dials under the plan of home, whatever host the phone writes.
func TestVisitorsDial(t *testing.T) {
	for _, plan := range []bool{true, false} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
			if !plan { // home has no public numbers
				cfg := north.sw.cfg
				cfg.Numbers = roam.Numbers{Country: "1", National: "1"}
				north.do(func() { north.sw.Reload(cfg) })
			}
			a := net.phone(alice, "198.51.100.1:5060").register(south, "north", 10)
			forms := []string{"sip:1002@north.example", "sip:1002@south.example", "sip:1002@192.0.2.2", "sip:15550001002@north.example", "tel:1002;phone-context=north.example"}
			for i, f := range forms {
				a.call(f, "offer")
				net.pass(3 * time.Second)
				if a.last() != 200 || len(b.invited) != i+1 {
					t.Errorf("%s: got %v, callee invited %d times", f, a.got, len(b.invited))
				}
				a.bye()
				a.got = nil
			}
		})
	}
}

// R says south, south knows nothing of him: home is asked, which knows.
func TestHomeIsAsked(t *testing.T) {
	for _, why := range []string{"wrong office", "nowhere", "store away"} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			b := net.phone(bob, "198.51.100.2:5060").register(north, "", 10)
			a := net.phone(dave, "198.51.100.1:5060").register(west, "", 1)
			switch why {
			case "wrong office":
				net.router.locs[bob] = roam.Location{Epoch: 9, Office: "south", Switch: south.sw.cfg.Card.Switch}
			case "nowhere":
				delete(net.router.locs, bob)
			}
			a.call("1002", "offer")
			net.pass(3 * time.Second)
			if a.last() != 200 || len(b.invited) != 1 {
				t.Errorf("%s: got %v, invites %v", why, a.got, net.invites())
			}
			a.bye()
		})
	}
}

// A user who is registered nowhere is 480, from his home and from elsewhere; nobody is 404.
func TestOfflineAndUnknown(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		net.addUser(bob)
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		d := net.phone(dave, "198.51.100.3:5060").register(west, "", 1)
		for _, c := range []struct {
			p    *phone
			dial string
			want int
		}{
			{a, "1002", 480}, {d, "1002", 480}, {a, "1777", 404}, {d, "1777", 404}, {a, "+15559999999", 404}, {a, "nobody", 404},
			{a, "nobody@south.example", 404}, {a, "x@elsewhere.example", 404}, {a, "100", 484}, {a, "+1555", 484}, {a, "20", 484}, {a, "1550001", 484},
		} {
			c.p.got = nil
			c.p.call(c.dial, "offer")
			net.pass(time.Second)
			if c.p.last() != c.want {
				t.Errorf("%s dials %s: got %v, want %d", c.p.user, c.dial, c.p.got, c.want)
			}
		}
		for _, r := range north.rows {
			if r.Role == "caller" && r.User != alice || r.Role == "callee" && (r.User != bob || r.Cause != 20) {
				t.Errorf("record %+v", r)
			}
		}
		if n := len(north.rows); n < 10 {
			t.Errorf("%d records, want one per attempt", n)
		}
	})
}

// A partner's call for a user who is elsewhere: home forwards it, nobody else does.
func TestOnlyHomeForwards(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		b := net.phone(bob, "198.51.100.2:5060").register(south, "north", 10)
		a := net.phone(dave, "198.51.100.1:5060").register(west, "", 1)
		delete(net.router.locs, bob) // west must ask home
		a.call("1002", "offer")
		net.pass(3 * time.Second)
		if a.last() != 200 || !slices.Equal(net.invites(), []string{"west", "north"}) {
			t.Errorf("got %v by %v, want 200 by west, north", a.got, net.invites())
		}
		from, _ := b.invited[0].From()
		if from.Raw != "sip:+15550003001@north.example" {
			t.Errorf("shown %s", from)
		}
		net.pass(5 * time.Second)
		a.bye()
		net.pass(time.Second)
		if r := north.row(bob); r.Kind != roam.Transit || r.Role != "callee" || r.Home != "north" || r.Roaming {
			t.Errorf("home's record %+v", r)
		}
		if w, n, s := west.row(dave), north.row(bob), south.row(bob); w.ICID != n.ICID || n.ICID != s.ICID || w.Session != s.Session {
			t.Errorf("icids %s %s %s", w.ICID, n.ICID, s.ICID)
		}
	})
	// A third office's user at a partner that asks the wrong office is refused there.
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		net.phone(bob, "198.51.100.2:5060").register(north, "", 10)
		a := net.phone(dave, "198.51.100.1:5060").register(west, "", 1)
		net.router.locs[bob] = roam.Location{Epoch: 12, Office: "south", Switch: south.sw.cfg.Card.Switch}
		net.down[north.addrs[1]] = "refused"
		a.call("1002", "offer")
		net.pass(3 * time.Second)
		if a.last() != 480 || slices.Contains(net.invites(), "south") {
			t.Errorf("got %v by %v, want 480, and nothing from south", a.got, net.invites())
		}
	})
}

// The office that holds the user asks home, which points back: one 302, no loop.
func TestPointedBack(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		b := net.phone(bob, "198.51.100.2:5060").register(south, "north", 10)
		a := net.phone(carol, "198.51.100.1:5060").register(south, "", 1)
		net.router.locs[bob] = roam.Location{Epoch: 99, Office: "north", Switch: north.sw.cfg.Card.Switch}
		a.call("1002", "offer")
		net.pass(3 * time.Second)
		if a.last() != 200 || len(b.invited) != 1 || !slices.Equal(net.invites(), []string{"south"}) {
			t.Errorf("got %v by %v, want 200 by south alone", a.got, net.invites())
		}
		a.bye()
	})
}

// A dead or silent office costs the caller seconds, not the whole of Timer B.
func TestOfficeAway(t *testing.T) {
	for how, limit := range map[string]time.Duration{"refused": time.Second, "silent": 4 * time.Second, "hanging": 4 * time.Second} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			net.phone(bob, "198.51.100.2:5060").register(south, "north", 10)
			a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
			net.down[south.addrs[1]] = how
			a.call("1002", "offer")
			net.pass(limit)
			if a.last() != 480 {
				t.Errorf("%s: got %v within %s, want 480", how, a.got, limit)
			}
			north.ended(alice, 480, 38, "network", "office silent")
		})
	}
}

// The caller gives up while an office is being reached, or R is being asked.
func TestCancelWhileRouting(t *testing.T) {
	for _, how := range []string{"hanging", "silent", "slow store"} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			b := net.phone(bob, "198.51.100.2:5060").register(south, "north", 10)
			a := net.phone(dave, "198.51.100.1:5060").register(west, "", 1)
			if how == "slow store" {
				net.router.slow = 3 * time.Second
			} else {
				net.down[south.addrs[1]] = how
			}
			a.call("1002", "offer")
			net.pass(time.Second)
			a.bye()
			if a.last() != 487 {
				t.Errorf("%s: got %v, want 487", how, a.got)
			}
			net.pass(20 * time.Second)
			if len(b.invited) != 0 {
				t.Errorf("%s: the callee rang", how)
			}
			west.ended(dave, 487, 16, "caller", "cancelled")
		})
	}
}

// R never answers: the attempt ends all the same.
func TestStoreHangs(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		net.addUser(bob)
		a := net.phone(dave, "198.51.100.1:5060").register(west, "", 1)
		net.router.slow = -1
		a.call("1002", "offer")
		net.pass(181 * time.Second)
		if a.last() != 480 {
			t.Errorf("got %v, want 480", a.got)
		}
	})
}

// Home is asked and knows no such user any more: that is the answer, though R says otherwise.
func TestHomeKnowsWhoExists(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		net.addUser(bob)
		delete(north.dir.lines, bob)
		delete(north.dir.names, sip.AOR(bob))
		delete(north.dir.names, sip.AOR(numberOf(bob)))
		a := net.phone(dave, "198.51.100.1:5060").register(west, "", 1)
		a.call("1002", "offer")
		net.pass(3 * time.Second)
		if a.last() != 404 {
			t.Errorf("got %v, want 404", a.got)
		}
		west.ended(dave, 404, 1, "callee", "declined")
	})
}

// What a visited office said of its phone stands in the caller's record, too.
func TestWhyCrossesOffices(t *testing.T) {
	for _, c := range []struct {
		name          string
		phone         func(b *phone)
		after         time.Duration
		status, cause int
		by, why       string
		invited       int
	}{
		{"busy", func(b *phone) { b.answer = refusing(486) }, 0, 486, 17, "callee", "busy", 1},
		{"do not disturb", func(b *phone) { b.answer = refusing(480) }, 0, 480, 18, "callee", "declined", 1},
		{"the phone redirects", func(b *phone) { b.answer = refusing(302) }, 0, 480, 23, "callee", "declined", 1},
		{"the phone says absent", func(b *phone) {
			b.answer = func(p *phone, tx *transaction.Server) {
				p.d.Respond(tx, dialog.Answer{Code: 480, Fields: []sip.Field{{Name: sip.Reason, Value: "Q.850;cause=20"}}})
			}
		}, 0, 480, 18, "callee", "declined", 1},
		{"unplugged", func(b *phone) { b.net.down[b.addrs[0]] = "silent" }, 40 * time.Second, 480, 102, "network", "not reachable", 0},
	} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			b := net.phone(bob, "198.51.100.2:5060").register(south, "north", 10)
			a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
			c.phone(b)
			a.call("1002", "offer")
			net.pass(c.after + time.Second)
			if a.last() != c.status || len(b.invited) != c.invited {
				t.Errorf("%s: got %v, callee invited %d times", c.name, a.got, len(b.invited))
			}
			north.ended(alice, c.status, c.cause, c.by, c.why)
			south.ended(bob, c.status, c.cause, c.by, c.why)
		})
	}
}

// Home was asked already, since R named it: not again.
func TestHomeIsAskedOnce(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		net.addUser(bob)
		net.router.locs[bob] = roam.Location{Epoch: 5, Office: "north", Switch: north.sw.cfg.Card.Switch}
		a := net.phone(dave, "198.51.100.1:5060").register(west, "", 1)
		a.call("1002", "offer")
		net.pass(3 * time.Second)
		if a.last() != 480 || !slices.Equal(net.invites(), []string{"west"}) {
			t.Errorf("got %v by %v, want 480 after one INVITE", a.got, net.invites())
		}
	})
}

// The user has moved to the caller's office, which has not noticed, and home's table is behind:
// home redirects by what R says, and the caller's office looks at its own table again.
func TestMovedToTheCallersOffice(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		b := net.phone(bob, "198.51.100.2:5060").register(south, "north", 10)
		table := north.dir.lines[bob]
		delete(south.dir.lines, bob)
		b.register(west, "north", 20)
		north.dir.lines[bob] = table
		late := west.dir.lines[bob]
		delete(west.dir.lines, bob)
		for _, n := range []sip.AOR{sip.AOR(bob), sip.AOR(numberOf(bob))} {
			delete(west.dir.names, n)
		}
		net.router.stale[bob] = roam.Location{Epoch: 9, Office: "north", Switch: north.sw.cfg.Card.Switch}
		a := net.phone(dave, "198.51.100.1:5060").register(west, "", 1)
		south.lose = func(line string) bool { // just before south refuses, west learns
			west.loop.Post(func() { west.dir.lines[bob] = late })
			return false
		}
		a.call("1002", "offer")
		net.pass(3 * time.Second)
		if a.last() != 200 || len(b.invited) != 1 || !slices.Equal(net.invites(), []string{"west", "north"}) {
			t.Errorf("got %v by %v, want 200 by west and north", a.got, net.invites())
		}
		a.bye()
	})
}

// What goes between offices: canonical addresses, the asserted identity, icid, epoch, one hop less.
func TestInterOfficeINVITE(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		net.phone(bob, "198.51.100.2:5060").register(south, "north", 10)
		a := net.phone(dave, "198.51.100.1:5060").register(west, "", 1)
		var seen *sip.Message
		south.tl.Handle(transaction.HandlerFunc(func(tx *transaction.Server, req *sip.Message) error {
			if req.Method() == sip.INVITE && seen == nil {
				seen = req.Keep()
			}
			return south.table.ServeSIP(tx, req)
		}))
		id := strings.Repeat("ab", 16)
		a.call("1002", "offer", sip.Field{Name: sip.SessionID, Value: id + ";remote=" + noSession}, sip.Field{Name: sip.PAssertedIdentity, Value: "<sip:king@north.example>"},
			sip.Field{Name: sip.Replaces, Value: "x;to-tag=1;from-tag=2"}, sip.Field{Name: sip.Route, Value: "<sip:192.0.2.99;lr>"}, sip.Field{Name: sip.Privacy, Value: "id"})
		net.pass(3 * time.Second)
		for n, want := range map[sip.Name]string{
			sip.PAssertedIdentity: `"User 3001" <sip:3001@west.example>, <tel:+15550003001>`,
			sip.PChargingVector:   `icid-value="node-west-1` + west.sw.run + `-1";orig-ioi=west`,
			sip.RoamEpoch:         "11",
			sip.MaxForwards:       "69",
			sip.SessionID:         id + ";remote=" + noSession,
			sip.Contact:           "<sip:west.example:5067;transport=tls>",
			sip.UserAgent:         agent,
			sip.Privacy:           "id",
			sip.Replaces:          "",
			sip.Route:             "",
		} {
			if got := string(seen.Value(n)); got != want {
				t.Errorf("%s: got %q, want %q", n, got, want)
			}
		}
		if got := string(seen.RequestURI()); got != "sip:1002@north.example" {
			t.Errorf("Request-URI %s", got)
		}
		if from, _ := seen.From(); from.Raw != "sip:3001@west.example" {
			t.Errorf("From %s", from)
		}
		a.bye()
	})
}

// A caller who asked for privacy is not shown, but known.
func TestPrivacy(t *testing.T) {
	for _, where := range []string{"north", "south"} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			home := roam.OfficeID("")
			if where == "south" {
				home = "north"
			}
			b := net.phone(bob, "198.51.100.2:5060").register(net.offices[roam.OfficeID(where)], home, 10)
			a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
			a.call("1002", "offer", sip.Field{Name: sip.Privacy, Value: "user; id"})
			net.pass(3 * time.Second)
			if from, _ := b.invited[0].From(); from.Raw != "sip:anonymous@anonymous.invalid" || strings.Contains(string(b.invited[0].Bytes()), "1001@") || strings.Contains(string(b.invited[0].Bytes()), numberOf(alice)) {
				t.Errorf("the callee was shown %s", b.invited[0].Bytes())
			}
			a.bye()
			if r := net.offices[roam.OfficeID(where)].row(bob); r.From != string(alice) {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// Redis away: calls inside the office and to known offices go on.
func TestStoreAway(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
		v := net.phone(carol, "198.51.100.3:5060").register(north, "south", 1)
		net.router.away = true
		for _, c := range []struct {
			from *phone
			dial string
			to   *phone
		}{{a, "1002", b}, {a, "2001", v}, {v, "+15550001001", a}} {
			c.from.call(c.dial, "offer")
			net.pass(3 * time.Second)
			if c.from.last() != 200 {
				t.Errorf("%s dials %s: got %v, want 200", c.from.user, c.dial, c.from.got)
			}
			c.from.bye()
		}
		for dial, want := range map[string]int{"3001": 404, "+4930123456": 503} { // west is asked whom it has; of the other only R could know
			a.got = nil
			a.call(dial, "offer")
			net.pass(time.Second)
			if a.last() != want {
				t.Errorf("%s, R away: got %v, want %d", dial, a.got, want)
			}
		}
	})
}

// The forms of one number, as people and phones write them.
func TestDialledForms(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b := net.phone(carol, "198.51.100.2:5060").register(south, "", 1)
		forms := []string{"sip:2001@north.example", "sip:2001@192.0.2.1", "sip:2001@192.0.2.1:5060;user=phone", "sip:+15550002001@north.example;user=phone", "sip:15550002001@north.example",
			"sip:5550002001@north.example", "sip:01115550002001@north.example", "sip:+1-555-000-2001@north.example", "sip:1.555.000.2001@192.0.2.1", "sip:+1(555)0002001@192.0.2.1",
			"sip:2001@south.example", "sip:2%20001@192.0.2.1", "tel:+15550002001", "tel:+1-555-000-2001", "tel:2001;phone-context=north.example", "tel:2001;phone-context=+1555000", "sip:+15550002001@south.example"}
		for i, f := range forms {
			a.call(f, "offer")
			net.pass(3 * time.Second)
			if a.last() != 200 || len(b.invited) != i+1 {
				t.Errorf("%s: got %v, callee invited %d times", f, a.got, len(b.invited))
			}
			a.bye()
			a.got = nil
		}
		for _, r := range north.rows {
			if r.To != string(carol) || r.Dialled == "" {
				t.Errorf("record %+v", r)
			}
		}
	})
}

// Roam-Epoch is a number below 2^53, or nothing.
func TestEpochOf(t *testing.T) {
	for v, want := range map[string]roam.Epoch{"17": 17, "9007199254740991": 1<<53 - 1, "9007199254740993000": 0, "x": 0, "-1": 0} {
		if e := epochOf(msg(t, "Roam-Epoch: "+v)); e != want {
			t.Errorf("%s: got %d, want %d", v, e, want)
		}
	}
}

func msg(t *testing.T, field string) *sip.Message {
	m := new(sip.Message)
	text := fmt.Sprintf("SIP/2.0 302 Moved\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\nFrom: <sip:a@example.org>;tag=1\r\nTo: <sip:b@example.org>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n%s\r\nContent-Length: 0\r\n\r\n", field)
	if err := sip.Parse([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	return m
}
