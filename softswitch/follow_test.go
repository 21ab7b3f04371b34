package softswitch

import (
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// goes has bob's ringing phone b leave one office and register at another, as registrars do it: the new office and R
// know first, then home, then the office left.
func goes(net *network, b *phone, from, to *office) (there *phone) {
	home := net.offices["north"]
	there = net.phone(bob, "198.51.100.3:5060")
	here := home.dir.lines[bob]
	here.Targets = nil
	home.dir.lines[bob] = here
	if to == home {
		there.register(to, "", 20)
	} else {
		there.register(to, "north", 20)
	}
	gone := net.router.locs[bob]
	if from != home {
		from.dir.lines[bob] = roam.Line{User: bob, Visitor: true, Home: from.dir.lines[bob].Home, Profile: from.dir.lines[bob].Profile, Epoch: 10, Gone: &gone}
	}
	from.do(func() { from.sw.Release(bob, "", gone) })
	return there
}

// TestRingingFollows: a call that rings when its callee's phone goes to another office stops there and rings at the new place,
// whoever calls and wherever he goes; it is one call to the caller and to home's ledger.
func TestRingingFollows(t *testing.T) {
	for _, c := range []struct{ caller, from, to string }{
		{"alice@north", "south", "west"}, {"carol@south", "south", "west"}, {"dave@west", "south", "west"}, {"eve@east", "south", "west"},
		{"dave@west", "north", "south"}, {"carol@south", "north", "south"}, {"alice@north", "north", "south"},
		{"carol@south", "south", "north"}, {"alice@north", "south", "north"}, {"dave@west", "south", "north"},
	} {
		t.Run(c.caller+" calls, "+c.from+" to "+c.to, func(t *testing.T) {
			world(t, func(t *testing.T, net *network, north, south, west *office) {
				east := net.office("east", "192.0.2.4", Config{})
				user, at, _ := strings.Cut(c.caller, "@")
				a := net.phone(map[string]roam.UserID{"alice": alice, "carol": carol, "dave": dave, "eve": "4001@east.example"}[user], "198.51.100.1:5060")
				a.register(map[string]*office{"north": north, "south": south, "west": west, "east": east}[at], "", 1)
				b := net.phone(bob, "198.51.100.2:5060")
				home := roam.OfficeID("north")
				if c.from == "north" {
					home = ""
				}
				b.register(net.offices[roam.OfficeID(c.from)], home, 10)
				b.answer = ringOnly
				a.call("+15550001002", "offer")
				net.pass(3 * time.Second)
				if a.last() != 180 || len(b.invited) != 1 {
					t.Fatalf("before: got %v, want 180", a.got)
				}
				there := goes(net, b, net.offices[roam.OfficeID(c.from)], net.offices[roam.OfficeID(c.to)])
				net.pass(100 * time.Millisecond)
				if len(b.ended) != 1 || b.ended[0].Req == nil || b.ended[0].Req.Method() != sip.CANCEL {
					t.Errorf("the phone that left: ended %v, want by CANCEL", b.ended)
				}
				net.pass(3 * time.Second)
				if a.last() != 200 || len(there.invited) != 1 || len(b.invited) != 1 {
					t.Fatalf("got %v, want 200; invited there %d, at the old place %d times", a.got, len(there.invited), len(b.invited))
				}
				a.bye()
				net.pass(time.Second)
				if len(there.ended) != 1 {
					t.Errorf("the callee: ended %v", there.ended)
				}
				if r := net.offices[roam.OfficeID(c.to)].row(bob); r.Status != 200 || r.Role != "callee" {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}
