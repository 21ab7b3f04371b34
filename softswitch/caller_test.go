package softswitch

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
	"github.com/siproam/siproam/sip/transaction"
)

// A phone is who its flow says, whatever its headers say.
func TestSpoofedHeaders(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		a.callFrom(north, "1002@north.example", "1002", "offer",
			sip.Field{Name: sip.PAssertedIdentity, Value: "<sip:2001@south.example>"},
			sip.Field{Name: sip.PPreferredIdentity, Value: "<sip:2001@south.example>"},
			sip.Field{Name: sip.RoamEpoch, Value: "999"}, sip.Field{Name: sip.PChargingVector, Value: "icid-value=free"})
		net.pass(3 * time.Second)
		from, _ := b.invited[0].From()
		if a.last() != 200 || from.Raw != "sip:1001@north.example" {
			t.Errorf("got %v, shown %s", a.got, from)
		}
		a.bye()
		if r := north.row(alice); r.ICID == "free" || r.From != string(alice) {
			t.Errorf("record %+v", r)
		}
	})
}

// Many users behind one address are told apart by P-Preferred-Identity, else From; none named is refused.
func TestManyUsersOnOneFlow(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		net.addUser("1003@north.example")
		north.dir.flows[a.addrs[0]] = append(north.dir.flows[a.addrs[0]], "1003@north.example")
		b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
		for i, c := range []struct{ from, preferred, want string }{
			{"1003@north.example", "", "1003@north.example"},
			{"1001@north.example", "", "1001@north.example"},
			{"1003@192.0.2.1", "", "1003@north.example"},
			{"+15550001003@north.example", "", ""},
			{"1001@north.example", "<sip:1003@north.example>", "1003@north.example"},
			{"1003@north.example", "<tel:+15550001001>", "1001@north.example"},
			{"1002@north.example", "", ""},
			{"x@nowhere.example", "", ""},
		} {
			var fields []sip.Field
			if c.preferred != "" {
				fields = append(fields, sip.Field{Name: sip.PPreferredIdentity, Value: c.preferred})
			}
			b.invited, a.got = nil, nil
			a.callFrom(north, c.from, "1002", "offer", fields...)
			net.pass(3 * time.Second)
			if c.want == "" {
				if a.last() != 403 || len(b.invited) != 0 {
					t.Errorf("%d: got %v, want 403", i, a.got)
				}
				continue
			}
			if a.last() != 200 {
				t.Errorf("%d: got %v, want 200", i, a.got)
				continue
			}
			if from, _ := b.invited[0].From(); from.Raw != "sip:"+c.want {
				t.Errorf("%d: shown %s, want %s", i, from, c.want)
			}
			a.bye()
		}
	})
}

// A stranger reaches nobody; one who claims to be a user must prove it.
func TestStrangers(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
		net.addUser(alice)
		x := net.phone("x@north.example", "203.0.113.1:5060")
		for _, c := range []struct {
			from, auth string
			want       int
		}{
			{"x@nowhere.example", "", 403},
			{"1001@north.example", "", 407},
			{"1001@192.0.2.1", "", 407},
			{"+15550001001@192.0.2.1", "", 403},
			{"1001@north.example", "1002@north.example", 403}, // somebody else's credentials
			{"1001@north.example", "1001@north.example", 200},
		} {
			x.got = nil
			var fields []sip.Field
			if c.auth != "" {
				fields = append(fields, sip.Field{Name: sip.ProxyAuthorization, Value: c.auth})
			}
			x.callFrom(north, c.from, "1002", "offer", fields...)
			net.pass(3 * time.Second)
			if x.last() != c.want || (len(b.invited) > 0) != (c.want == 200) {
				t.Errorf("%s with %q: got %v, want %d; callee invited %d times", c.from, c.auth, x.got, c.want, len(b.invited))
			}
			if c.want == 407 && x.ended[len(x.ended)-1].Res.Value(sip.ProxyAuthenticate) == nil {
				t.Error("407 without a challenge")
			}
		}
		if b.invited[0].Value(sip.ProxyAuthorization) != nil {
			t.Error("credentials crossed to the callee")
		}
		x.bye()
		if strings.Count(net.logged(), `"event":"call.refused"`) != 2 || !strings.Contains(net.logged(), `"remote_ip":"203.0.113.1"`) {
			t.Errorf("log: %s", net.logged())
		}
	})
}

// challenge_calls: our subscriber over UDP is challenged by default, a visitor is not.
func TestChallengeCalls(t *testing.T) {
	for _, c := range []struct {
		policy  string
		tr      roam.Transport
		visitor bool
		want    int
	}{
		{"udp", roam.UDP, false, 407}, {"udp", roam.TCP, false, 200}, {"udp", roam.UDP, true, 200},
		{"always", roam.TCP, false, 407}, {"never", roam.UDP, false, 200},
	} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			cfg := north.sw.cfg
			cfg.ChallengeCalls = c.policy
			north.do(func() { north.sw.Reload(cfg) })
			net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
			user, home := alice, roam.OfficeID("")
			if c.visitor {
				user, home = carol, "south"
			}
			a := net.phone(user, "198.51.100.1:5060")
			a.tr = c.tr
			a.register(north, home, 1)
			a.call("+15550001002", "offer")
			net.pass(3 * time.Second)
			if a.last() != c.want {
				t.Errorf("%+v: got %v", c, a.got)
			}
			if c.want == 200 {
				a.bye()
			}
		})
	}
}

// CANCEL while the credentials are being checked.
func TestCancelDuringTheChallenge(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		cfg := north.sw.cfg
		cfg.ChallengeCalls = "always"
		north.do(func() { north.sw.Reload(cfg) })
		b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		a.call("1002", "offer", sip.Field{Name: sip.ProxyAuthorization, Value: string(alice)})
		a.bye()
		net.pass(time.Second)
		if a.last() != 487 || len(b.invited) != 0 {
			t.Errorf("got %v, callee invited %d times, want 487 and never", a.got, len(b.invited))
		}
	})
}

// partner sends an INVITE over the partner listener of to, as the office from.
func (net *network) partner(from, to *office, uri string, fields ...sip.Field) (code int, contact string) {
	from.do(func() {
		u, _ := sip.ParseURI([]byte(to.sw.cfg.Card.Switch))
		e := &hook{}
		e.d = from.table.Invite(dialog.Invite{To: transaction.Destination{URI: u}, URI: uri, From: sip.Address{Raw: "sip:f@from.example"}, ToAddr: sip.Address{Raw: uri}, Fields: fields, Type: sdpType, Body: []byte("offer")}, e)
		e.on = func(res *sip.Message) {
			code, contact = res.Status(), string(res.Value(sip.Contact))
			if code == 200 {
				e.d.Ack("", nil)
				e.d.Bye(0, "")
			}
		}
	})
	net.pass(3 * time.Second)
	return code, contact
}

type hook struct {
	d  *dialog.Dialog
	on func(res *sip.Message)
}

func (h *hook) Progress(res *sip.Message) { h.on(res) }
func (h *hook) Request(tx *transaction.Server, _ *sip.Message) {
	if tx != nil {
		tx.Refuse(roam.NoAbility)
	}
}
func (h *hook) Ended(e dialog.End) {
	if e.Res != nil {
		h.on(e.Res)
	}
}

// An office may assert its own users, and those who are there.
func TestPartnersIdentity(t *testing.T) {
	for _, c := range []struct {
		name, pai string
		want      int
	}{
		{"its own user", "<sip:3001@west.example>", 200},
		{"its own user, by number", "<tel:+15550003001>", 200},
		{"its own user, not published", "<sip:3777@west.example>", 200},
		{"a visitor of its", "<sip:2002@south.example>", 200},
		{"our user who visits it", "<sip:1003@north.example>", 200},
		{"our user at home", "<sip:1001@north.example>", 403},
		{"our user by number", "<tel:+15550001001>", 403},
		{"a third office's user at home", "<sip:2001@south.example>", 403},
		{"a user of nobody's domain", "<sip:x@nowhere.example>", 403},
		{"an unknown user of ours", "<sip:1777@north.example>", 403},
		{"an unknown user of a domain we share", "<sip:1778@shared.example>", 403},
		{"nobody", "", 403},
		{"no address", "<garbage>", 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			world(t, func(t *testing.T, net *network, north, south, west *office) {
				b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
				net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
				net.phone(carol, "198.51.100.3:5060").register(south, "", 1)
				net.phone(erin, "198.51.100.4:5060").register(west, "south", 1)
				net.phone("1003@north.example", "198.51.100.5:5060").register(west, "north", 1)
				net.addUser(dave)
				cfg := north.sw.cfg
				cfg.Names = append(cfg.Names, "shared.example")
				north.do(func() { north.sw.Reload(cfg) })
				p := net.router.peers["west"]
				p.Domains = []string{"west.example", "shared.example"}
				net.router.peers["west"] = p
				var fields []sip.Field
				if c.pai != "" {
					fields = append(fields, sip.Field{Name: sip.PAssertedIdentity, Value: c.pai})
				}
				code, _ := net.partner(west, north, "sip:1002@north.example", fields...)
				if code != c.want || (len(b.invited) > 0) != (c.want == 200) {
					t.Errorf("got %d, want %d; callee invited %d times", code, c.want, len(b.invited))
				}
				if c.want == 200 && north.row(bob).Status != 200 {
					t.Errorf("record %+v", north.row(bob))
				}
			})
		})
	}
}

// A number that comes with an identity is shown only when it is that user's.
func TestPartnersNumber(t *testing.T) {
	for number, want := range map[string]string{"+15550003001": "sip:+15550003001@north.example", "+15550001001": "sip:3001@west.example", "+15557777777": "sip:3001@west.example"} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
			net.addUser(alice)
			net.addUser(dave)
			net.partner(west, north, "sip:1002@north.example", sip.Field{Name: sip.PAssertedIdentity, Value: "<sip:3001@west.example>, <tel:" + number + ">"})
			if from, _ := b.invited[0].From(); from.Raw != want {
				t.Errorf("%s: shown %s, want %s", number, from.Raw, want)
			}
		})
	}
}

// The caller has just moved to the partner, which our cache does not know yet.
func TestPartnersIdentityAfterAMove(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
		net.phone(carol, "198.51.100.3:5060").register(west, "south", 1)
		net.router.stale[carol] = roam.Location{Office: "south", Epoch: 1}
		if code, _ := net.partner(west, north, "sip:1002@north.example", sip.Field{Name: sip.PAssertedIdentity, Value: "<sip:2001@south.example>"}); code != 200 {
			t.Errorf("got %d, want 200", code)
		}
	})
}

// What a partner hears of users who are not ours to ring.
func TestPartnersCallee(t *testing.T) {
	for _, c := range []struct {
		name, uri, epoch string
		want             int
		contact          string
	}{
		{"our user", "sip:1001@north.example", "", 200, ""},
		{"our user by number", "sip:+15550001001@north.example", "", 200, ""},
		{"our user by extension at our address", "sip:1001@192.0.2.1", "", 200, ""},
		{"a visitor", "sip:2001@south.example", "", 200, ""},
		{"a visitor who left", "sip:2002@south.example", "5", 302, "<sip:south.example:5067;transport=tls>;office=south"},
		{"a visitor who left, newer caller", "sip:2002@south.example", "99", 480, ""},
		{"our user who is at the partner", "sip:1003@north.example", "", 302, "<sip:west.example:5067;transport=tls>;office=west"},
		{"our user, offline", "sip:1002@north.example", "", 480, ""},
		{"nobody", "sip:1777@north.example", "", 404, ""},
		{"a third office's user", "sip:2003@south.example", "", 404, ""},
		{"the partner's own user", "sip:3001@west.example", "", 404, ""},
		{"an incomplete number", "sip:10@north.example", "", 404, ""},
		{"too many hops", "sip:1001@north.example", "hops", 483, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			world(t, func(t *testing.T, net *network, north, south, west *office) {
				net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
				net.phone(carol, "198.51.100.3:5060").register(north, "south", 1)
				net.phone("1003@north.example", "198.51.100.5:5060").register(west, "north", 1)
				net.addUser(dave)
				net.addUser(bob)
				net.addUser("2003@south.example")
				north.dir.names["2002@south.example"] = erin
				north.dir.lines[erin] = roam.Line{User: erin, Visitor: true, Home: south.sw.cfg.Card, Gone: &roam.Location{Epoch: 9, Office: "south", Switch: south.sw.cfg.Card.Switch}}
				fields := []sip.Field{{Name: sip.PAssertedIdentity, Value: "<sip:3001@west.example>"}}
				if c.epoch == "hops" {
					fields = append(fields, sip.Field{Name: sip.MaxForwards, Value: "1"})
				} else if c.epoch != "" {
					fields = append(fields, sip.Field{Name: sip.RoamEpoch, Value: c.epoch})
				}
				if c.epoch == "hops" {
					west.do(func() { westHops(west, north, c.uri, func(code int) { c.want -= code }) })
					net.pass(time.Second)
					if c.want != 0 {
						t.Errorf("not 483, off by %d", c.want)
					}
					return
				}
				code, contact := net.partner(west, north, c.uri, fields...)
				if code != c.want || c.contact != "" && contact != c.contact {
					t.Errorf("got %d %s, want %d %s", code, contact, c.want, c.contact)
				}
			})
		})
	}
}

// westHops sends an INVITE with one hop left.
func westHops(west, north *office, uri string, on func(code int)) {
	u, _ := sip.ParseURI([]byte(north.sw.cfg.Card.Switch))
	e := &hook{on: func(res *sip.Message) { on(res.Status()) }}
	west.table.Invite(dialog.Invite{To: transaction.Destination{URI: u}, URI: uri, Max: 1, From: sip.Address{Raw: "sip:f@from.example"}, ToAddr: sip.Address{Raw: uri},
		Fields: []sip.Field{{Name: sip.PAssertedIdentity, Value: "<sip:3001@west.example>"}}}, e)
}

// Emergency calls come before all rules; there is no line for them yet, and that is told loudly.
func TestEmergency(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		x := net.phone("x@north.example", "203.0.113.1:5060")
		a := net.phone(carol, "198.51.100.1:5060").register(north, "south", 1)
		southPlan := south.sw.cfg.Numbers
		southPlan.Emergency = []string{"110"}
		north.dir.lines[carol].Profile.Dial = &southPlan
		north.dir.lines[carol].Targets[0].Spot = &roam.Spot{Port: "sw1/3", Site: "1 Long Street"}
		north.sw.Spots(func(ip netip.Addr) (roam.Lease, bool) { // x is not registered, and yet DHCP knows where it is
			return roam.Lease{Port: "sw2/7"}, ip.String() == "203.0.113.1"
		})
		for _, c := range []struct {
			p   *phone
			uri string
		}{{x, "911"}, {a, "911"}, {a, "9-1-1"}, {a, "110"}} {
			c.p.got = nil
			c.p.callFrom(north, "u@north.example", c.uri, "offer")
			net.pass(time.Second)
			if c.p.last() != 503 {
				t.Errorf("%s: got %v, want 503", c.uri, c.p.got)
			}
		}
		for text, want := range map[string]int{`"level":"error","event":"call.emergency"`: 4, `"spot":"sw2/7"`: 1, `"spot":"sw1/3, 1 Long Street"`: 3} {
			if n := strings.Count(net.logged(), text); n != want {
				t.Errorf("%s: logged %d times, want %d", text, n, want)
			}
		}
	})
}

// Limits: the profile's calls, the office's calls, the media ports.
func TestLimits(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
		c := net.phone("1003@north.example", "198.51.100.3:5060").register(north, "", 1)
		north.dir.lines[bob].Profile.Calls = 1
		a.call("1002", "offer")
		net.pass(3 * time.Second)
		first := a.d
		c.call("1002", "offer")
		if c.last() != 486 || len(b.invited) != 1 {
			t.Errorf("a second call for a user with one: got %v, invited %d times, want 486", c.got, len(b.invited))
		}
		b.got = nil
		b.call("1003", "offer")
		if b.last() != 486 {
			t.Errorf("a second call by a user with one: got %v, want 486", b.got)
		}
		a.do(func() { first.Bye(0, "") })
		net.pass(time.Second)
		c.call("1002", "offer")
		net.pass(3 * time.Second)
		if c.last() != 200 {
			t.Errorf("after the first has ended: got %v, want 200", c.got)
		}
		cfg := north.sw.cfg
		cfg.Calls = 1
		north.do(func() { north.sw.Reload(cfg) })
		a.call("1001", "offer")
		if a.last() != 503 {
			t.Errorf("more than the office may have: got %v, want 503", a.got)
		}
		c.bye()
		net.pass(time.Second)
		cfg.Calls, north.limit = 0, 1
		north.do(func() { north.sw.Reload(cfg) })
		a.call("1003", "offer")
		net.pass(3 * time.Second)
		b.call("1001", "offer")
		if b.last() != 503 {
			t.Errorf("without media ports: got %v, want 503", b.got)
		}
		a.bye()
	})
}

func TestVisitorsCapacity(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		cfg := north.sw.cfg
		cfg.Visitors, cfg.Users = 2, 1
		north.do(func() { north.sw.Reload(cfg) })
		allocate := func(user roam.UserID, visitor bool, d roam.Device) (why roam.Refusal) {
			why = roam.Refusal(255)
			north.do(func() {
				line := roam.Line{User: user, Visitor: visitor, Home: south.sw.cfg.Card, Targets: []roam.Target{{Device: d}}}
				in := true
				north.sw.Allocate(line, func(r roam.Refusal) {
					if in {
						t.Error("done was called from within")
					}
					if why = r; r == roam.OK {
						north.dir.lines[user] = line
					}
				})
				in = false
			})
			return why
		}
		release := func(user roam.UserID, d roam.Device) {
			north.do(func() { north.sw.Release(user, d, roam.Location{}) })
		}
		for i, c := range []struct {
			user    roam.UserID
			visitor bool
			dev     roam.Device
			want    roam.Refusal
		}{
			{"1@south.example", true, "a", roam.OK}, {"2@south.example", true, "a", roam.OK}, {"3@south.example", true, "a", roam.NoCapacity},
			{"2@south.example", true, "b", roam.OK}, {"1@south.example", true, "a", roam.OK}, {"1001@north.example", false, "a", roam.OK},
		} {
			if got := allocate(c.user, c.visitor, c.dev); got != c.want {
				t.Errorf("%d: Allocate(%s): got %v, want %v", i, c.user, got, c.want)
			}
		}
		if got := allocate("1002@north.example", false, "a"); got != roam.NoCapacity {
			t.Errorf("a second user of ours: got %v", got)
		}
		north.do(func() { delete(north.dir.lines, alice) })
		release(alice, "a")
		if got := allocate("1002@north.example", false, "a"); got != roam.OK {
			t.Errorf("after the first has left: got %v", got)
		}
		release("2@south.example", "a")
		if got := allocate("3@south.example", true, "a"); got != roam.NoCapacity {
			t.Errorf("a second device keeps the line: got %v", got)
		}
		release("2@south.example", "b")
		if got := allocate("3@south.example", true, "a"); got != roam.OK {
			t.Errorf("after the last device has left: got %v", got)
		}
		release("nobody@south.example", "a")
		north.do(func() { north.sw.Drain(nil) })
		if got := allocate("4@south.example", true, "a"); got != roam.NoCapacity {
			t.Errorf("while draining: got %v", got)
		}
	})
}

// A released device keeps the call it is in.
func TestReleaseDuringACall(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		v := net.phone(carol, "198.51.100.2:5060").register(north, "south", 1)
		v.call("+15550001001", "offer")
		net.pass(3 * time.Second)
		gone := roam.Location{Epoch: 99, Office: "west", Switch: west.sw.cfg.Card.Switch}
		north.do(func() {
			l := north.dir.lines[carol]
			l.Gone, l.Targets = &gone, nil
			north.dir.lines[carol] = l
			north.sw.Release(carol, "", gone)
		})
		net.pass(10 * time.Second)
		if len(a.ended)+len(v.ended) != 0 {
			t.Fatalf("ended %v %v", a.ended, v.ended)
		}
		var got []string
		a.onLater = answering(200, &got)
		if code, _ := v.ask(sip.INVITE, sdpType, "hold"); code != 200 {
			t.Errorf("hold: got %d, want 200", code)
		}
		v.bye()
		if r := north.row(carol); len(a.ended) != 1 || !r.Roaming || r.Home != "south" || r.Status != 200 {
			t.Errorf("the other end %v, record %+v", a.ended, r)
		}
		v.got = nil
		v.call("+15550001001", "offer")
		net.pass(time.Second)
		if v.last() != 403 { // it calls from where it is now
			t.Errorf("a new call: got %v, want 403", v.got)
		}
	})
}

// A body that is no SDP.
func TestNotSDP(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		net.addUser(bob)
		a.do(func() {
			a.d = a.table.Invite(dialog.Invite{To: transaction.Destination{Flow: net.flow(a.tr, a.addrs[0], north.addrs[0])}, URI: "sip:1002@192.0.2.1",
				From: sip.Address{Raw: "sip:1001@north.example"}, ToAddr: sip.Address{Raw: "sip:1002@192.0.2.1"}, Type: "application/isup", Body: []byte("x")}, a)
		})
		if a.last() != 415 || string(a.ended[0].Res.Value(sip.Accept)) != sdpType {
			t.Errorf("got %v, want 415 with Accept", a.got)
		}
	})
}

// Accept without SDP leaves no answer to a call.
func TestTakesSDP(t *testing.T) {
	for accept, want := range map[string]bool{
		"": true, "Accept: application/sdp\n": true, "Accept: text/plain, application/SDP;level=1\n": true, "Accept: text/plain\nAccept: application/*\n": true,
		"Accept: */*\n": true, "Accept: text/plain\n": false, "Accept: \n": false,
	} {
		var m sip.Message
		raw := "INVITE sip:1002@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa\nFrom: <sip:a@192.0.2.9>;tag=1\nTo: <sip:1002@192.0.2.1>\n" +
			"Call-ID: a\nCSeq: 1 INVITE\n" + accept + "Content-Length: 0\n\n"
		if err := sip.Parse([]byte(strings.ReplaceAll(raw, "\n", "\r\n")), &m); err != nil {
			t.Fatal(err)
		}
		if got := takesSDP(&m); got != want {
			t.Errorf("%q: got %v, want %v", accept, got, want)
		}
	}
}

// OPTIONS to a number, INFO and MESSAGE out of the blue.
func TestOutsideDialogs(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		for m, want := range map[sip.Method]int{sip.OPTIONS: 200, sip.INFO: 481, sip.MESSAGE: 405, sip.SUBSCRIBE: 405} {
			code := 0
			a.do(func() {
				a.tl.Request(transaction.Destination{Flow: net.flow(a.tr, a.addrs[0], north.addrs[0])}, func(w *sip.Writer, f *sip.Flow) error {
					w.Request(m.String(), "sip:1002@192.0.2.1")
					w.Add(sip.MaxForwards, "70")
					w.Add(sip.From, "<sip:1001@north.example>;tag=a")
					w.Add(sip.To, "<sip:1002@north.example>")
					w.Add(sip.CallID, "c"+m.String())
					w.Add(sip.CSeq, "1 "+m.String())
					return w.End("", nil)
				}, func(res *sip.Message, err error) {
					if err == nil {
						code = res.Status()
					}
				})
			})
			if code != want {
				t.Errorf("%s: got %d, want %d", m, code, want)
			}
		}
	})
}
