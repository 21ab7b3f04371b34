package roam

import (
	"slices"
	"testing"
)

func TestCommon(t *testing.T) {
	for _, c := range []struct {
		ours, theirs []string
		want         string
		found        bool
	}{
		{[]string{"tls", "tcp"}, []string{"tcp", "tls"}, "tls", true}, {[]string{"tls", "tcp"}, []string{"udp", "tcp"}, "tcp", true},
		{[]string{"tls"}, []string{"tcp"}, "", false}, {[]string{"tls"}, nil, "tls", true}, {nil, []string{"tcp"}, "", true},
	} {
		if got, found := Common(c.ours, c.theirs); got != c.want || found != c.found {
			t.Errorf("%q and %q: got %q %v, want %q %v", c.ours, c.theirs, got, found, c.want, c.found)
		}
	}
}

func TestLacks(t *testing.T) {
	p := &Profile{Bar: []string{"+"}, Calls: 2, Forward: &Forward{}}
	for _, c := range []struct {
		a    *Attributes
		want []string
	}{{nil, nil}, {&Attributes{}, nil}, {&Attributes{Services: Known}, nil}, {&Attributes{Services: []string{"dial", "calls"}}, []string{"bar", "forward"}}} {
		if got := c.a.Lacks(p); !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %q, want %q", c.a, got, c.want)
		}
	}
	if (&Attributes{Methods: []string{"INFO"}}).Takes("UPDATE") || !(&Attributes{Methods: []string{"INFO"}}).Takes("INFO") || !(*Attributes)(nil).Takes("INFO") {
		t.Error("Takes: what is told counts, and who tells nothing takes all")
	}
}

func TestRevision(t *testing.T) {
	c := Card{Version: 1, Office: "north", Speaks: &Attributes{Transports: []string{"tls"}}}
	was := c.Revision()
	same := c
	same.Rev, same.Visitor, same.Home, same.Key = was, &Location{}, &Card{}, []byte{1}
	if same.Revision() != was {
		t.Error("what is not of the office changes its revision")
	}
	c.Speaks = &Attributes{Transports: []string{"tls", "tcp"}}
	if c.Revision() == was {
		t.Error("other attributes have the same revision")
	}
}
