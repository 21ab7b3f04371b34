package plan

import (
	"testing"

	"github.com/siproam/siproam/roam"
)

// TestCaller is the table of DESIGN 9.
func TestCaller(t *testing.T) {
	const us, them = roam.UserID("2001@south.example"), roam.UserID("1001@north.example")
	for _, c := range []struct {
		name string
		s    Source
		user roam.UserID
		want Basis
	}{
		{"a partner's flow", Source{Partner: "north"}, "", Asserted},
		{"a partner's flow, whatever it claims", Source{Partner: "north", Claim: us, Bound: us}, "", Asserted},
		{"one binding over TCP", Source{Bound: us}, us, ByFlow},
		{"one binding over UDP", Source{Bound: us, UDP: true}, us, Challenge},
		{"one binding over UDP, udp", Source{Bound: us, UDP: true, Policy: "udp"}, us, Challenge},
		{"one binding over UDP, never", Source{Bound: us, UDP: true, Policy: "never"}, us, ByFlow},
		{"one binding over TCP, always", Source{Bound: us, Policy: "always"}, us, Challenge},
		{"a visitor's over UDP", Source{Bound: them, Visitor: true, UDP: true}, them, ByFlow},
		{"a visitor's, always", Source{Bound: them, Visitor: true, Policy: "always"}, them, ByFlow},
		{"a binding beats a claim", Source{Bound: them, Visitor: true, Claim: us}, them, ByFlow},
		{"several bindings, none named", Source{Many: true, Claim: us}, "", Refused},
		{"another flow claiming one of ours", Source{Claim: us}, us, Challenge},
		{"the same where nobody is challenged", Source{Claim: us, Policy: "never"}, us, Challenge},
		{"a stranger", Source{}, "", Refused},
	} {
		if user, got := Caller(c.s); user != c.user || got != c.want {
			t.Errorf("%s: got %v %v, want %v %v", c.name, user, got, c.user, c.want)
		}
	}
}

func TestVouch(t *testing.T) {
	for _, c := range []struct {
		name                      string
		partner, home, at, callee roam.OfficeID
		want                      bool
	}{
		{"its own user", "north", "north", "", "", true},
		{"its own user, elsewhere", "north", "north", "west", "", true},
		{"a user who is there", "west", "north", "west", "", true},
		{"a user it has nothing to do with", "west", "north", "", "", false},
		{"a user of ours who is at home", "west", "south", "south", "", false},
		{"the callee's home forwards a call", "north", "west", "west", "north", true},
		{"a phone", "", "", "", "", false},
	} {
		if got := Vouch(c.partner, c.home, c.at, c.callee); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestCallee(t *testing.T) {
	at := func(o roam.OfficeID, e roam.Epoch) roam.Location {
		return roam.Location{Office: o, Epoch: e, Switch: "sip:" + string(o)}
	}
	here := []roam.Target{{URI: "sip:2001@192.0.2.1"}}
	away := []roam.Target{{URI: "sip:north", Office: "north"}}
	line := func(visitor bool, e roam.Epoch, ts ...roam.Target) roam.Line {
		return roam.Line{Visitor: visitor, Epoch: e, Targets: ts}
	}
	gone := func(o roam.OfficeID, e roam.Epoch) roam.Line {
		l := at(o, e)
		return roam.Line{Visitor: true, Gone: &l}
	}
	stale := at("west", 9)
	stale.Stale = true
	for _, c := range []struct {
		name string
		f    Facts
		want Way
		at   roam.Location
	}{
		// our subscriber
		{"at home", Facts{Known: true, Line: line(false, 3, here...)}, Ring, at("", 0)},
		{"at home, for a partner", Facts{From: "west", Known: true, Line: line(false, 3, here...)}, Ring, at("", 0)},
		{"elsewhere by our table", Facts{Known: true, Line: line(false, 3, away...)}, Ring, at("", 0)},
		{"elsewhere by our table, transit", Facts{From: "west", Known: true, Line: line(false, 3, away...)}, Ring, at("", 0)},
		{"at the calling office", Facts{From: "north", Known: true, Line: line(false, 3, away...)}, Redirect, at("north", 3)},
		{"there and here", Facts{From: "north", Known: true, Line: line(false, 3, away[0], here[0])}, Ring, at("", 0)},
		{"not in our table", Facts{Known: true, Line: line(false, 3)}, AskStore, at("", 0)},
		{"nowhere", Facts{Known: true, Line: line(false, 3), Asked: true}, Offline, at("", 0)},
		{"here by R alone", Facts{Known: true, Line: line(false, 3), Asked: true, At: at("south", 3)}, Offline, at("south", 3)},
		{"elsewhere by R alone", Facts{Known: true, Line: line(false, 3), Asked: true, At: at("west", 4)}, Office, at("west", 4)},
		{"at the calling office by R alone", Facts{From: "west", Known: true, Line: line(false, 3), Asked: true, At: at("west", 4)}, Redirect, at("west", 4)},
		// a visitor, called from here
		{"a visitor, R not asked", Facts{Known: true, Line: line(true, 5, here...)}, AskStore, at("", 0)},
		{"a visitor", Facts{Known: true, Line: line(true, 5, here...), Asked: true, At: at("south", 6)}, Ring, at("", 0)},
		{"by another softswitch of ours", Facts{From: "south", Known: true, Line: line(false, 5, here...)}, Ring, at("", 0)},
		{"by another softswitch of ours, a visitor", Facts{From: "south", Known: true, Line: line(true, 5, here...)}, Ring, at("", 0)},
		{"by another softswitch of ours, gone meanwhile", Facts{From: "south", Known: true, Line: line(false, 5, roam.Target{URI: "sip:west", Office: "west"})}, Offline, at("", 0)},
		{"by another softswitch of ours, not known yet", Facts{From: "south"}, Offline, at("", 0)},
		{"a visitor, R empty", Facts{Known: true, Line: line(true, 5, here...), Asked: true}, Ring, at("", 0)},
		{"a visitor, R older", Facts{Known: true, Line: line(true, 5, here...), Asked: true, At: at("west", 4)}, Ring, at("", 0)},
		{"a visitor with devices in two offices", Facts{Known: true, Line: line(true, 5, here...), Asked: true, At: at("north", 7)}, Office, at("north", 7)},
		{"a visitor with devices in two offices, as home told us", Facts{Known: true, Line: line(true, 7, here...), Asked: true, At: at("north", 7)}, Office, at("north", 7)},
		{"a visitor, R away", Facts{Known: true, Line: line(true, 5, here...), Asked: true, At: stale}, Ring, at("", 0)},
		{"a visitor offline", Facts{Known: true, Line: line(true, 5), Asked: true}, Offline, at("", 0)},
		{"a visitor offline, elsewhere by R", Facts{Known: true, Line: line(true, 5), Asked: true, At: at("west", 4)}, Office, at("west", 4)},
		// a visitor, called by a partner
		{"a visitor, for a partner", Facts{From: "west", Known: true, Line: line(true, 5, here...), Epoch: 9}, Ring, at("", 0)},
		{"a visitor offline, for a partner", Facts{From: "west", Known: true, Line: line(true, 5)}, Offline, at("", 0)},
		// a visitor who left
		{"left, for a partner", Facts{From: "north", Known: true, Line: gone("west", 8), Epoch: 7}, Redirect, at("west", 8)},
		{"left, for a partner without epoch", Facts{From: "north", Known: true, Line: gone("west", 8)}, Redirect, at("west", 8)},
		{"left and on the way back", Facts{From: "north", Known: true, Line: gone("west", 8), Epoch: 9}, Offline, at("west", 8)},
		{"left for nowhere, for a partner", Facts{From: "north", Known: true, Line: gone("", 8)}, Offline, at("", 8)},
		{"left, for a phone", Facts{Known: true, Line: gone("west", 8)}, AskStore, at("", 0)},
		{"left, R has not heard", Facts{Known: true, Line: gone("west", 8), Asked: true, At: at("south", 7)}, Office, at("west", 8)},
		{"left, and moved on", Facts{Known: true, Line: gone("west", 8), Asked: true, At: at("north", 9)}, Office, at("north", 9)},
		{"left, R knows nothing", Facts{Known: true, Line: gone("west", 8), Asked: true}, Office, at("west", 8)},
		{"left for nowhere", Facts{Known: true, Line: gone("", 8), Asked: true, Home: "north"}, AskHome, at("", 0)},
		// somebody else's user
		{"elsewhere", Facts{Home: "north"}, AskStore, at("", 0)},
		{"at home", Facts{Home: "north", Asked: true, At: at("north", 2)}, Office, at("north", 2)},
		{"at a third office", Facts{Home: "north", Asked: true, At: at("west", 2)}, Office, at("west", 2)},
		{"here by R alone", Facts{Home: "north", Asked: true, At: at("south", 2)}, AskHome, at("", 0)},
		{"nowhere by R", Facts{Home: "north", Asked: true}, AskHome, at("", 0)},
		{"of ours, yet unknown", Facts{Home: "south"}, Nobody, at("", 0)},
		{"nobody", Facts{}, Nobody, at("", 0)},
		{"somebody else's, for a partner", Facts{From: "west", Home: "north"}, Nobody, at("", 0)},
		{"nobody, for a partner", Facts{From: "west"}, Nobody, at("", 0)},
	} {
		c.f.Here = "south"
		if way, loc := Callee(c.f); way != c.want || way != Offline && (loc.Office != c.at.Office || loc.Epoch != c.at.Epoch || c.at.Switch != "" && c.at.Office != "" && loc.Switch != c.at.Switch) {
			t.Errorf("%s: got %v %+v, want %v %+v", c.name, way, loc, c.want, c.at)
		}
	}
}

func TestShown(t *testing.T) {
	alice := Identity{User: "1001@north.example", Name: "Alice", Number: "+15550001001"}
	for _, c := range []struct {
		c          Identity
		callee     roam.UserID
		user, host string
	}{
		{alice, "1002@north.example", "1001", "north.example"},
		{alice, "2001@south.example", "+15550001001", "south.example"},
		{Identity{User: "alice@north.example"}, "2001@south.example", "alice", "north.example"},
		{Identity{Number: "+4930123456"}, "2001@south.example", "+4930123456", "south.example"},
	} {
		if user, host := Shown(c.c, c.callee); user != c.user || host != c.host {
			t.Errorf("Shown(%v, %s): got %s@%s, want %s@%s", c.c, c.callee, user, host, c.user, c.host)
		}
	}
}
