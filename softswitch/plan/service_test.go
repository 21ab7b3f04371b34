package plan

import (
	"testing"

	"github.com/siproam/siproam/roam"
)

func TestForward(t *testing.T) {
	p := &roam.Profile{Forward: &roam.Forward{Always: "a", Busy: "b", NoAnswer: "c", Offline: "d"}}
	for c, want := range map[Condition]string{Always: "a", Busy: "b", NoAnswer: "c", NotReachable: "d"} {
		if got := Forward(p, c); got != want {
			t.Errorf("%s: got %q, want %q", c, got, want)
		}
		if got := Forward(nil, c) + Forward(&roam.Profile{}, c); got != "" {
			t.Errorf("%s without services: got %q", c, got)
		}
	}
}

func TestServes(t *testing.T) {
	line := roam.Line{Profile: &roam.Profile{}}
	for _, c := range []struct {
		name string
		f    Facts
		want bool
	}{
		{"our subscriber", Facts{Known: true, Line: line}, true},
		{"our subscriber, for a partner", Facts{Known: true, Line: line, From: "west"}, true},
		{"a visitor, called here", Facts{Known: true, Line: roam.Line{Visitor: true, Profile: line.Profile}}, true},
		{"a visitor, for a third office", Facts{Known: true, Line: roam.Line{Visitor: true, Profile: line.Profile}, From: "west"}, true},
		{"a visitor, home has done it", Facts{Known: true, Line: roam.Line{Visitor: true, Profile: line.Profile}, From: "north", Served: true}, false},
		{"a phone's word counts for nothing", Facts{Known: true, Line: line, Served: true}, true},
		{"one who has left", Facts{Known: true, Line: roam.Line{Visitor: true, Profile: line.Profile, Gone: &roam.Location{}}}, false},
		{"one without a profile", Facts{Known: true, Line: roam.Line{Visitor: true}}, false},
		{"somebody else's", Facts{}, false},
	} {
		if got := Serves(c.f); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestBarred(t *testing.T) {
	p := &roam.Profile{Bar: []string{"+", "0900", "@west.example", "+15550002666"}, Allow: []string{"+1555000", "+44"}}
	for _, c := range []struct {
		names []string
		want  bool
	}{
		{[]string{"+15550002001", "2001"}, false},
		{[]string{"+15550002666", "2666"}, true},
		{[]string{"+442079460018"}, false},
		{[]string{"+4930123456"}, true},
		{[]string{"09001234"}, true},
		{[]string{"alice"}, false},
		{[]string{"alice@west.example"}, true},
		{[]string{"alice@WEST.example"}, true},
		{[]string{"alice@north.example"}, false},
		{[]string{"3001@west.example", "+15550003001"}, true}, // "@west.example" is the longer entry
		{nil, false},
	} {
		if got := Barred(p, c.names...); got != c.want {
			t.Errorf("%q: got %v, want %v", c.names, got, c.want)
		}
	}
	if Barred(nil, "+1") || Barred(&roam.Profile{Allow: []string{"+44"}}, "+1") {
		t.Error("barred by a profile that bars nothing")
	}
	if !Barred(&roam.Profile{Bar: []string{"+49"}, Allow: []string{"+49"}}, "+4930") {
		t.Error("of two as long the one that forbids counts")
	}
}
