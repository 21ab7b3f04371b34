package softswitch

import (
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// TestRanges: a number that nobody has goes to the office in whose range it is, and gets that office's 404; the more exact
// range counts, one that two offices have is refused here and named, one of nobody is 404 here. A user who moved
// keeps his number whatever the ranges say.
func TestRanges(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		known := cards{
			"north": {Office: "north", Ranges: []string{"+15550001xxx"}},
			"south": {Office: "south", Ranges: []string{"+15550002xxx", "+155500039xx", "+155500077xx"}},
			"west":  {Office: "west", Ranges: []string{"+15550003xxx", "+155500077xx"}},
		}
		for _, o := range net.offices {
			o.sw.Knows(known)
		}
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 10)
		v := net.phone(bobby, "198.51.100.2:5060").register(south, "north", 10)
		net.phone("4001@west.example", "198.51.100.4:5060").register(west, "", 10)
		net.router.ids["+15550002444"] = roam.Identity{Name: "+15550002444", User: "4001@west.example", Home: "west"} // ported
		for _, c := range []struct {
			by    *phone
			dial  string
			code  int
			asked string // the office that was asked
		}{
			{a, "+15550002999", 404, "south"}, {a, "+15550003888", 404, "west"}, {a, "+15550003999", 404, "south"}, {a, "2999", 404, "south"},
			{a, "+15550001999", 404, ""}, {a, "+15550007777", 404, ""}, {a, "+4930123456", 404, ""}, {a, "+15550002444", 200, "west"},
			{v, "+15550002999", 404, ""}, {v, "+15550001999", 404, "north"}, {v, "3888", 404, "west"},
		} {
			net.mu.Lock()
			net.reached = nil
			net.mu.Unlock()
			c.by.got = nil
			c.by.call(c.dial, "offer")
			net.pass(3 * time.Second)
			reached, _, _ := strings.Cut(strings.Join(net.reached, ", "), ".example")
			if c.by.last() != c.code || reached != c.asked {
				t.Errorf("%s dials %s: got %v from %q, want %d from %q", c.by.user, c.dial, c.by.got, net.reached, c.code, c.asked)
			}
			if c.code == 200 {
				c.by.bye()
				net.pass(time.Second)
			}
		}
		if !strings.Contains(net.logged(), `"event":"numbers.clash"`) || !strings.Contains(net.logged(), `"offices":["south","west"]`) {
			t.Errorf("the clash is not in the log: %s", net.logged())
		}
	})
}

// TestOverlappingExtensions: north and south both have a private 1001, and both visit west. Who dials 1001 reaches that of
// his own office, wherever he is; somebody who has none is told to use the full number, and never gets a wrong person.
func TestOverlappingExtensions(t *testing.T) {
	const north1, south1, caller = roam.UserID("1001@north.example"), roam.UserID("1001@south.example"), roam.UserID("1002@south.example")
	for _, away := range []bool{false, true} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			for _, o := range net.offices { // private extensions: no public number, no short dialling between offices
				o.sw.cfg.Numbers = roam.Numbers{Country: "1", Extensions: map[string]string{"1xxx": ""}}
			}
			at := func(p *phone, home *office) *phone {
				if away {
					return p.register(west, home.id, 10)
				}
				return p.register(home, "", 10)
			}
			n, s := net.phone(north1, "198.51.100.1:5060"), net.phone(south1, "198.51.100.2:5060")
			b, c := net.phone(bobby, "198.51.100.3:5060"), net.phone(caller, "198.51.100.4:5060")
			w := net.phone(wanda, "198.51.100.5:5060").register(west, "", 10)
			for p, home := range map[*phone]*office{n: north, s: south, b: north, c: south} {
				at(p, home)
				for _, o := range net.offices { // numbers of these users are no names: only the extensions are
					delete(o.dir.names, sip.AOR(numberOf(p.user)))
				}
				delete(net.router.ids, sip.AOR(numberOf(p.user)))
			}
			north.dir.names["1001"], south.dir.names["1001"] = north1, south1
			net.router.many = "1001"
			for _, call := range []struct {
				by   *phone
				dial string
				to   *phone
				code int
			}{{b, "1001", n, 200}, {c, "1001", s, 200}, {w, "1001", nil, 404}, {w, "1001@north.example", n, 200}, {w, "1001@south.example", s, 200},
				{b, "1001@south.example", s, 200}, {c, "1001@north.example", n, 200}} {
				n.invited, s.invited, call.by.got = nil, nil, nil
				call.by.call(call.dial, "offer")
				net.pass(3 * time.Second)
				right := call.to == nil && len(n.invited)+len(s.invited) == 0 || call.to != nil && len(call.to.invited) == 1 && len(n.invited)+len(s.invited) == 1
				if call.by.last() != call.code || !right {
					t.Errorf("away %v, %s dials %s: got %v, north's rang %d times, south's %d", away, call.by.user, call.dial, call.by.got, len(n.invited), len(s.invited))
				}
				if call.code == 200 {
					call.by.bye()
					net.pass(time.Second)
				} else if got := call.by.res; got != nil && got.Reason() != "Use The Full Number" && call.by.ended[len(call.by.ended)-1].Res.Reason() != "Use The Full Number" {
					t.Errorf("%s: got %s, want Use The Full Number", call.dial, got.Reason())
				}
			}
		})
	}
}

// TestVisitorsExtension: a visitor dials the extensions of home, also where the office he visits has the same ones; and an
// office that the dialling plan names for an extension is meant, whoever else has it.
func TestVisitorsExtension(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		const north1, south1 = roam.UserID("1001@north.example"), roam.UserID("1001@south.example")
		north.sw.cfg.Numbers.Extensions = map[string]string{"1xxx": ""}
		n := net.phone(north1, "198.51.100.1:5060").register(north, "", 10)
		s := net.phone(south1, "198.51.100.2:5060").register(south, "", 10)
		b := net.phone(bobby, "198.51.100.3:5060").register(south, "north", 10)
		d := net.phone(danny, "198.51.100.4:5060").register(south, "", 10) // south's plan: 1xxx is north
		south.dir.names["1001"], net.router.many = south1, "1001"
		for _, p := range []*phone{b, d} {
			p.call("1001", "offer")
			net.pass(3 * time.Second)
			if p.last() != 200 || len(n.invited) != 1 || len(s.invited) != 0 {
				t.Errorf("%s dials 1001: got %v, north's rang %d times, south's %d, want north's", p.user, p.got, len(n.invited), len(s.invited))
			}
			p.bye()
			net.pass(time.Second)
			n.invited, s.invited = nil, nil
		}
		n.d = nil
		delete(north.dir.lines, north1) // and nobody has it there any more: north says so, and south's is not rung
		delete(north.dir.names, sip.AOR(north1))
		delete(net.router.ids, sip.AOR(north1))
		d.got = nil
		d.call("1001", "offer")
		net.pass(3 * time.Second)
		if d.last() != 404 || len(s.invited) != 0 {
			t.Errorf("nobody of north: got %v, south's rang %d times, want 404 of north and no ring", d.got, len(s.invited))
		}
	})
}
