package sip_test

import (
	"errors"
	"testing"

	"github.com/siproam/siproam/sip"
)

func TestParseAddress(t *testing.T) {
	for _, tt := range []struct {
		in, display, raw string
		params           sip.Params
		print            string
	}{
		{"<sip:a@b>", "", "sip:a@b", "", "<sip:a@b>"},
		{"sip:a@b", "", "sip:a@b", "", "<sip:a@b>"},
		{" \tsip:a@b ; tag = 1 ", "", "sip:a@b", "tag = 1", "<sip:a@b>;tag = 1"},
		{"sip:a@b;tag=1;lr", "", "sip:a@b", "tag=1;lr", "<sip:a@b>;tag=1;lr"},
		{"<sip:a@b;lr?x=y>;tag=1", "", "sip:a@b;lr?x=y", "tag=1", "<sip:a@b;lr?x=y>;tag=1"},
		{"Al Bell <sip:a@b>", "Al Bell", "sip:a@b", "", `"Al Bell" <sip:a@b>`},
		{"caller<sip:a@b>", "caller", "sip:a@b", "", `"caller" <sip:a@b>`},
		{`"Bell, \"Al\" \\" <sip:a@b>`, `Bell, "Al" \`, "sip:a@b", "", `"Bell, \"Al\" \\" <sip:a@b>`},
		{`"<sip:x@y>"<sip:a@b>`, "<sip:x@y>", "sip:a@b", "", `"<sip:x@y>" <sip:a@b>`},
		{`"" <sip:a@b>`, "", "sip:a@b", "", "<sip:a@b>"},
		{`"é" <sip:a@b>`, "é", "sip:a@b", "", `"é" <sip:a@b>`},
		{`<SIP:%61@B>;+sip.instance="<urn:uuid:1>";q=0.5`, "", "SIP:%61@B", `+sip.instance="<urn:uuid:1>";q=0.5`, `<SIP:%61@B>;+sip.instance="<urn:uuid:1>";q=0.5`},
		{`sip:a@b;methods="INVITE, BYE"`, "", "sip:a@b", `methods="INVITE, BYE"`, `<sip:a@b>;methods="INVITE, BYE"`},
		{"<tel:+1-555>", "", "tel:+1-555", "", "<tel:+1-555>"},
		{"<http://www.example.com/?a=b>;tag=1", "", "http://www.example.com/?a=b", "tag=1", "<http://www.example.com/?a=b>;tag=1"},
		{"*", "", "", "", "*"},
	} {
		a, err := sip.ParseAddress([]byte(tt.in))
		if err != nil || a.Display != tt.display || a.Raw != tt.raw || a.Params != tt.params || a.Star != (tt.in == "*") {
			t.Errorf("%s: got %+v, %v", tt.in, a, err)
		}
		if got := a.String(); got != tt.print {
			t.Errorf("%s: printed %s, want %s", tt.in, got, tt.print)
		}
	}
}

func TestParseAddressRefuses(t *testing.T) {
	for _, in := range []string{
		"", " ", "x", "<", ">", "<>", "< sip:a@b>", "<sip:a@b >", "<sip:a@b", "sip:a@b>", "<sip:a@b>x", "<sip:a@b> x", "<sip:a@b>;", "<sip:a@b>;;x", "<sip:a@b>;=x",
		"<sip:a@b>;x=", "<sip:a@b>;x y", `<sip:a@b>;x="`, `<sip:a@b>;x="y"z`, "<sip:a@b>;x=<y>", "<sip:a@b>;tag=", "<sip:a@b>;tag", `<sip:a@b>;tag="x"`, "<sip:a@b>;tag=x;TAG=y",
		`"x`, `"x"`, `"x" sip:a@b`, `"x\" <sip:a@b>`, `x"y" <sip:a@b>`, "a, b <sip:a@b>", "é <sip:a@b>", "a@b <sip:a@b>", "sip:a@b?x=y", "sip:a,b@c", "sip:a@b, sip:c@d",
		"<sip:a@b>, <sip:c@d>", "<<sip:a@b>>", "**", "<*>", "<sip:a\x00@b>", "<sip:a@b>;x=\x00", "<sip:a@b>;x\x01=y",
	} {
		a, err := sip.ParseAddress([]byte(in))
		var r *sip.Refused
		if in == "<sip:a@b>;x=" {
			continue // accepted: phones write "rport="
		}
		if !errors.As(err, &r) || r.Code != 400 || a != (sip.Address{}) {
			t.Errorf("%q: got %+v, %v, want a 400", in, a, err)
		}
	}
}

func TestParams(t *testing.T) {
	p := sip.Params(`lr ; Transport = TCP;x="a\"b;c" ;empty=;y`)
	for name, want := range map[string]string{"lr": "", "LR": "", "transport": "TCP", "X": `a"b;c`, "empty": "", "y": ""} {
		if got, found := p.Get(name); got != want || !found {
			t.Errorf("%s: got %q, %v, want %q", name, got, found, want)
		}
	}
	if v, found := sip.Params("a[b=1").Get("a{b"); found {
		t.Errorf("[ was taken for {: %q", v)
	}
	for _, name := range []string{"", "l", "lrr", "c", "tcp"} {
		if got, found := p.Get(name); found {
			t.Errorf("%q: found %q", name, got)
		}
	}
	if _, found := sip.Params("").Get("x"); found {
		t.Error("found a parameter in none")
	}
}

func TestParseVia(t *testing.T) {
	for in, want := range map[string]sip.ViaValue{
		"SIP/2.0/UDP 192.0.2.1":                                {Transport: "UDP", Host: "192.0.2.1"},
		"sip / 2.0 / tls  North.example : 5061 ; rport ;a = b": {Transport: "TLS", Host: "north.example", Port: 5061, Params: "rport ;a = b"},
		"SIP/2.0/WSS [2001:DB8::1]:443;branch=z9hG4bK1":        {Transport: "WSS", Host: "[2001:db8::1]", Port: 443, Params: "branch=z9hG4bK1"},
		"SIP/7.0/UNKNOWN a\t;x=\"y;z\"":                        {Transport: "UNKNOWN", Host: "a", Params: `x="y;z"`},
	} {
		got, err := sip.ParseVia([]byte(in))
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "SIP", "SIP/2.0", "SIP/2.0/UDP", "SIP/2.0/UDP ", "SIP/2.0/ a", "SIP//UDP a", "/2.0/UDP a", "SIP/2.0/U P a b", "SIP/2.0/UDP a:", "SIP/2.0/UDP a:b",
		"SIP/2.0/UDP :5060", "SIP/2.0/UDP a;", "SIP/2.0/UDP a;;b", "SIP/2.0/UDP a,b", "SIP/2.0/UDP a@b", "SIP/2.0/UDP [::1", "SIP/2.0/UD~PTo :::]", "SIP/2.0/UDP a;branch",
	} {
		if got, err := sip.ParseVia([]byte(in)); err == nil || got != (sip.ViaValue{}) {
			t.Errorf("%q: got %+v, want it refused", in, got)
		}
	}
}

func TestAddressOfOurOwn(t *testing.T) {
	a := sip.Address{Display: `Al "x"`, URI: sip.URI{Scheme: "sip", User: "a b", Host: "h"}, Params: "tag=1"}
	if got := a.String(); got != `"Al \"x\"" <sip:a%20b@h>;tag=1` {
		t.Errorf("got %s", got)
	}
	if got := sip.Quote("a\x07\t\x7f"); got != "\"a\\\x07\t\\\x7f\"" {
		t.Errorf("got %q", got)
	}
}

// An address that is printed reads the same.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{`"a\"\\" <sip:a@b;lr>;tag=1;x="y"`, "sip:a@b ; q = 1", "a b<tel:+1>", "*", "<isbn:1>", `"" <sips:[::1]>;a="";b`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := sip.ParseAddress([]byte(s))
		if err != nil {
			return
		}
		printed := a.String()
		b, err := sip.ParseAddress([]byte(printed))
		if err != nil || a != b || b.String() != printed {
			t.Errorf("%q: printed %q, got %+v, %v, want %+v", s, printed, b, err, a)
		}
	})
}

// A Via that is printed reads the same.
func FuzzVia(f *testing.F) {
	for _, s := range []string{"SIP/2.0/UDP a:5060;branch=z9hG4bK1;rport", "SIP / 2.0 / x  [::1] : 1 ;a = \"b\"", "SIP/1.0/TCP a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := sip.ParseVia([]byte(s))
		if err != nil {
			return
		}
		printed := v.String()
		if w, err := sip.ParseVia([]byte(printed)); err != nil || w != v {
			t.Errorf("%q: printed %q, got %+v, %v, want %+v", s, printed, w, err, v)
		}
	})
}
