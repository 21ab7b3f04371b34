package sip_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

func uri(t testing.TB, s string) sip.URI {
	t.Helper()
	u, err := sip.ParseURI([]byte(s))
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return u
}

func TestParseURI(t *testing.T) {
	for _, tt := range []struct {
		in    string
		want  sip.URI
		print string // "": as in
	}{
		{"sip:north.example", sip.URI{Scheme: "sip", Host: "north.example"}, ""},
		{"sip:1001@north.example", sip.URI{Scheme: "sip", User: "1001", Host: "north.example"}, ""},
		{"SIP:Al@NORTH.example:5070", sip.URI{Scheme: "sip", User: "Al", Host: "north.example", Port: 5070}, "sip:Al@north.example:5070"},
		{"sips:a:b@c;lr;transport=tcp?x=y&z=", sip.URI{Scheme: "sips", User: "a", Password: "b", Host: "c", Params: "lr;transport=tcp", Headers: "x=y&z="}, ""},
		{"sip:a:@c", sip.URI{Scheme: "sip", User: "a", Host: "c"}, "sip:a@c"},
		{"sip:[2001:DB8::1]:5060", sip.URI{Scheme: "sip", Host: "[2001:db8::1]", Port: 5060}, "sip:[2001:db8::1]:5060"},
		{"sip:%31001@h", sip.URI{Scheme: "sip", User: "1001", Host: "h"}, "sip:1001@h"},
		{"sip:a%40b%3ac@h", sip.URI{Scheme: "sip", User: "a@b:c", Host: "h"}, "sip:a%40b%3Ac@h"},
		{"sip:+1-555;phone-context=x@h;user=phone", sip.URI{Scheme: "sip", User: "+1-555;phone-context=x", Host: "h", Params: "user=phone"}, ""},
		{"sip:*72#@h", sip.URI{Scheme: "sip", User: "*72#", Host: "h"}, "sip:*72%23@h"},
		{"sip:h;l%72;a=%2c%41", sip.URI{Scheme: "sip", Host: "h", Params: "lr;a=%2CA"}, "sip:h;lr;a=%2CA"},
		{"sip:h?to=sip:bob%40biloxi.com", sip.URI{Scheme: "sip", Host: "h", Headers: "to=sip:bob%40biloxi.com"}, ""},
		{"sip:lab_1.example", sip.URI{Scheme: "sip", Host: "lab_1.example"}, ""},
		{"tel:+1-555-000-1001", sip.URI{Scheme: "tel", User: "+15550001001"}, "tel:+15550001001"},
		{"tel:+1(555)000.1001;ext=7", sip.URI{Scheme: "tel", User: "+15550001001", Params: "ext=7"}, "tel:+15550001001;ext=7"},
		{"Tel:7042;phone-context=north.example", sip.URI{Scheme: "tel", User: "7042", Params: "phone-context=north.example"}, "tel:7042;phone-context=north.example"},
		{"tel:*72#;phone-context=+1", sip.URI{Scheme: "tel", User: "*72#", Params: "phone-context=+1"}, ""},
	} {
		u, err := sip.ParseURI([]byte(tt.in))
		if err != nil || u != tt.want {
			t.Errorf("%s: got %+v, %v, want %+v", tt.in, u, err, tt.want)
		}
		if tt.print == "" {
			tt.print = tt.in
		}
		if got := u.String(); got != tt.print {
			t.Errorf("%s: printed %s, want %s", tt.in, got, tt.print)
		}
	}
}

func TestParseURIRefuses(t *testing.T) {
	for in, code := range map[string]int{
		"sip:h" + strings.Repeat(";a", 65): 400, "sip:h?a=b" + strings.Repeat("&a=b", 64): 400,
		"": 400, "sip": 400, "sip:": 400, ":x": 400, "urn:": 400, "1sip:x": 400, "s ip:x": 400, "<sip:x>": 400, `x:"`: 400, "x:a b": 400, "x:\x00": 400, "x:é": 400,
		"sip:@h": 400, "sip::p@h": 400, "sip:a@": 400, "sip:a@b@c": 400, "sip:h;a=b@c@d": 400, "sip:a b@h": 400, "sip:a\"@h": 400, "sip:a:b:c@h": 400,
		"sip:h:": 400, "sip:h:0": 400, "sip:h:65536": 400, "sip:h:5o60": 400, "sip:h:99999999999999999999": 400, "sip:h:-1": 400,
		"sip:[::1": 400, "sip:[::1]x": 400, "sip:[192.0.2.1]": 400, "sip:[fe80::1%25eth0]": 400, "sip:[]": 400, "sip:2001:db8::10": 400, "sip:h/x": 400, "sip:a@.": 400, "sip:.h": 400, "sip:a..b": 400, "sip:é": 400,
		"sip:h;": 400, "sip:h;;lr": 400, "sip:h;=x": 400, "sip:h; lr": 400, "sip:h;a=\"b\"": 400, "sip:h;a=b,c": 400, "sip:h;a=%zz": 400, "sip:h;a=%4": 400,
		"sip:h?": 400, "sip:h?a=b c": 400, "sip:h?a=%": 400, "sip:%@h": 400, "sip:%4@h": 400, "sip:%4g@h": 400, "sip:a%00\x00@h": 400, "sip:h\r\nX: y": 400,
		"tel:": 400, "tel:+": 400, "tel:-": 400, "tel:x": 400, "tel:+1a": 400, "tel:1+": 400, "tel:1;": 400, "tel:1@h": 400, "tel:++1": 400, "tel:+*": 400,
		"http://x": 416, "urn:service:sos": 416, "mailto:a@b": 416, "soap.beep://192.0.2.1": 416, "isbn:1": 416,
	} {
		u, err := sip.ParseURI([]byte(in))
		var r *sip.Refused
		if !errors.As(err, &r) || r.Code != code || code == 400 && u != (sip.URI{}) {
			t.Errorf("%q: got %+v, %v, want %d", in, u, err, code)
		}
	}
}

// The pairs are those of RFC 3261 19.1.4 and RFC 3966 5, and ours.
func TestURIEqual(t *testing.T) {
	for _, p := range [][2]string{
		{"sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"},
		{"sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"},
		{"sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com", "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"},
		{"sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x"},
		{"sip:a@h;l%72", "sip:a@h;lr"},
		{"sip:%2B1555@h", "sip:+1555@h"},
		{"sip:[2001:db8::1]", "sip:[2001:DB8:0:0::1]"},
		{"sip:[::ffff:192.0.2.2]", "sip:192.0.2.2"},
		{"tel:+1-555", "tel:+1(555)"},
		{"tel:7a;phone-context=A.example", "tel:7A;phone-context=a.example"},
		{"tel:+1;a=b;c=d", "tel:+1;c=d;a=b"},
	} {
		a, b := uri(t, p[0]), uri(t, p[1])
		if !a.Equal(b) || !b.Equal(a) || !a.Equal(a) {
			t.Errorf("%s and %s: got different, want equal", p[0], p[1])
		}
	}
	for _, p := range [][2]string{
		{"SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"},
		{"sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"},
		{"sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"},
		{"sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"},
		{"sip:a@h", "sips:a@h"}, {"sip:a@h", "sip:h"}, {"sip:a:b@h", "sip:a@h"}, {"sip:a@h", "sip:a@h;user=phone"}, {"sip:a@h", "sip:a@h;maddr=h"},
		{"sip:a@h", "sip:a@h;ttl=1"}, {"sip:a@h", "sip:a@h;METHOD=INVITE"}, {"sip:a@h?a=b", "sip:a@h?a=B"}, {"sip:a@h?a=b&c=d", "sip:a@h?a=b"},
		{"tel:+1", "tel:+1;a=b"}, {"tel:1;phone-context=a", "tel:1;phone-context=b"}, {"tel:+1", "sip:+1@h"},
	} {
		a, b := uri(t, p[0]), uri(t, p[1])
		if a.Equal(b) || b.Equal(a) {
			t.Errorf("%s and %s: got equal, want different", p[0], p[1])
		}
	}
}

func TestAOR(t *testing.T) {
	for in, want := range map[string]sip.AOR{
		"sip:1001@NORTH.example":                       "1001@north.example",
		"sips:1001@north.example:5061;lr?x=y":          "1001@north.example",
		"sip:%31001@north.example.":                    "1001@north.example",
		"sip:Al@north.example":                         "Al@north.example",
		"sip:north.example:5070":                       "north.example",
		"sip:a%40b@h":                                  "a%40b@h",
		"sip:%00@h":                                    "%00@h",
		"sip:+1-555-0001@h;user=phone":                 "+15550001@h",
		"sip:+1-555-0001@h":                            "+1-555-0001@h",
		"sip:a-b@h;user=phone":                         "a-b@h",
		"tel:+1-555-000-1001":                          "+15550001001",
		"tel:1001;phone-context=North.example":         "1001@north.example",
		"sip:sips%3Auser%40example.com@example.net":    "sips%3Auser%40example.com@example.net",
		"sip:[2001:DB8::1]":                            "[2001:db8::1]",
		"sip:1001:secret@north.example;transport=tcp":  "1001@north.example",
		"tel:+1555;phone-context=ignored.when.global":  "+1555",
		"sip:*72#@h":                                   "*72%23@h",
		"sip:user;par=u%40example.net@example.com;a=b": "user;par=u%40example.net@example.com",
	} {
		got, err := uri(t, in).AOR()
		if err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", in, got, err, want)
		}
		if back := string(got); strings.Contains(back, "@") && got.User()+"@"+got.Host() != back {
			t.Errorf("%s: taken apart %s and %s", got, got.User(), got.Host())
		}
	}
	for _, in := range []string{"tel:1001", "tel:1001;phone-context=+1", "tel:1001;phone-context=a%40b"} {
		if got, err := uri(t, in).AOR(); !errors.Is(err, roam.Incomplete) {
			t.Errorf("%s: got %s, %v, want Incomplete", in, got, err)
		}
	}
	if got, err := (sip.URI{Scheme: "isbn"}).AOR(); err == nil {
		t.Errorf("isbn: got %s", got)
	}
	if a := sip.AOR("+15550001001"); a.User() != "+15550001001" || a.Host() != "" {
		t.Errorf("number: got %s and %s", a.User(), a.Host())
	}
}

func TestTransport(t *testing.T) {
	for in, want := range map[string]string{"sip:h": "", "sip:h;transport=TCP": "tcp", "sips:h;transport=tcp": "tls", "sip:h;Transport": "", "tel:+1": ""} {
		if got := uri(t, in).Transport(); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}

// A URI that is printed reads the same, equals itself, and has the same AOR.
func FuzzURI(f *testing.F) {
	for _, s := range []string{"sip:a:b@h:5060;lr;x=%41%2c?y=z", "sips:%00@[2001:db8::1]", "tel:+1-555;ext=1", "tel:*;phone-context=a", "sip:a%40;b@h;user=phone", "urn:x"} {
		f.Add(s, "sip:a@h")
	}
	f.Fuzz(func(t *testing.T, s, other string) {
		u, err := sip.ParseURI([]byte(s))
		if err != nil {
			return
		}
		printed := u.String()
		v, err := sip.ParseURI([]byte(printed))
		if err != nil || v != u || v.String() != printed {
			t.Fatalf("%q: printed %q, got %+v, %v, want %+v", s, printed, v, err, u)
		}
		if !u.Equal(v) {
			t.Errorf("%q does not equal itself", s)
		}
		aor, err1 := u.AOR()
		again, err2 := v.AOR()
		if aor != again || (err1 == nil) != (err2 == nil) || strings.Count(string(aor), "@") > 1 || strings.ContainsAny(string(aor), "\x00\r\n \"<>") {
			t.Errorf("%q: AOR %q, %v, then %q, %v", s, aor, err1, again, err2)
		}
		if aor != "" && strings.Contains(string(aor), "@") {
			if w, err := sip.ParseURI([]byte("sip:" + aor)); err != nil {
				t.Errorf("%q: AOR %q is no URI: %v", s, aor, err)
			} else if back, _ := w.AOR(); back != aor {
				t.Errorf("%q: AOR %q of AOR %q", s, back, aor)
			}
		}
		if o, err := sip.ParseURI([]byte(other)); err == nil && u.Equal(o) != o.Equal(u) {
			t.Errorf("%q and %q: equal one way only", s, other)
		}
	})
}
