package sip_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
)

func from(addr string) *sip.Flow {
	return &sip.Flow{Flow: roam.Flow{Remote: netip.MustParseAddrPort(addr)}}
}

func TestResponse(t *testing.T) {
	req := siptest.Bytes(t, invite("Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1, SIP/2.0/TCP b.example", "+v: SIP/2.0/UDP c", "Record-Route: <sip:p;lr>"))
	req.Flow = from("192.0.2.1:5060")
	var w sip.Writer
	w.Response(req, 200, "", "tt")
	w.Copy(req, sip.RecordRoute)
	if err := w.End("application/sdp", []byte("v=0\r\n")); err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(`SIP/2.0 200 OK
Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1
Via: SIP/2.0/TCP b.example
Via: SIP/2.0/UDP c
From: <sip:1001@north.example>;tag=f
To: <sip:1002@north.example>;tag=tt
Call-ID: c1@192.0.2.1
CSeq: 1 INVITE
Record-Route: <sip:p;lr>
Content-Type: application/sdp
Content-Length: 5

v=0
`, "\n", "\r\n")
	if got := string(w.Bytes()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	siptest.Written(t, &w)
}

func TestResponseToTag(t *testing.T) {
	for _, tt := range []struct{ to, tag, want string }{
		{"<sip:a@b>", "x", "<sip:a@b>;tag=x"}, {"<sip:a@b>", "", "<sip:a@b>"}, {"<sip:a@b>;tag=y", "x", "<sip:a@b>;tag=y"},
		{"sip:a@b", "x", "sip:a@b;tag=x"}, {`"tag=1" <sip:a@b;tag=2>`, "x", `"tag=1" <sip:a@b;tag=2>;tag=x`}, {"sip:a@b ;\r\n tag = y", "x", "sip:a@b ; tag = y"},
	} {
		var w sip.Writer
		w.Response(siptest.Bytes(t, invite("To: "+tt.to)), 180, "", tt.tag)
		w.End("", nil)
		if got := string(siptest.Written(t, &w).Value(sip.To)); got != tt.want {
			t.Errorf("%s with %q: got %s, want %s", tt.to, tt.tag, got, tt.want)
		}
	}
}

// RFC 3261 18.2.1, RFC 3581 4, RFC 5118 4.5.
func TestResponseVia(t *testing.T) {
	for _, tt := range []struct{ via, source, want string }{
		{"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "192.0.2.1:5060", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"},
		{"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "192.0.2.1:999", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"},
		{"SIP/2.0/UDP 192.0.2.1", "[::ffff:192.0.2.1]:5060", "SIP/2.0/UDP 192.0.2.1"},
		{"SIP/2.0/UDP 10.0.0.1", "192.0.2.1:999", "SIP/2.0/UDP 10.0.0.1;received=192.0.2.1"},
		{"SIP/2.0/UDP north.example:5070 ; a = b", "192.0.2.1:999", "SIP/2.0/UDP north.example:5070;a=b;received=192.0.2.1"},
		{"SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bK1", "192.0.2.1:999", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;received=192.0.2.1;rport=999"},
		{"SIP/2.0/UDP 192.0.2.1;rport=1;received=10.9.9.9;x=\"y;z\"", "192.0.2.1:999", "SIP/2.0/UDP 192.0.2.1;x=\"y;z\";received=192.0.2.1;rport=999"},
		{"SIP/2.0/UDP 192.0.2.1;received=10.9.9.9", "192.0.2.1:999", "SIP/2.0/UDP 192.0.2.1;received=192.0.2.1"},
		{"SIP/2.0/UDP [2001:db8::1]", "[2001:db8::1]:5060", "SIP/2.0/UDP [2001:db8::1]"},
		{"SIP/2.0/UDP [2001:DB8:0::1]", "[2001:db8::1]:5060", "SIP/2.0/UDP [2001:DB8:0::1]"},
		{"SIP/2.0/UDP a;rport", "[2001:db8::2%eth0]:999", "SIP/2.0/UDP a;received=2001:db8::2;rport=999"},
		{"SIP / 2.0 / UDP a;rport, SIP/2.0/UDP b;rport", "192.0.2.1:999", "SIP / 2.0 / UDP a;received=192.0.2.1;rport=999"},
	} {
		req := siptest.Bytes(t, invite("Via: "+tt.via))
		req.Flow = from(tt.source)
		var w sip.Writer
		w.Response(req, 200, "", "")
		w.End("", nil)
		if got := values(siptest.Written(t, &w), sip.Via)[0]; got != tt.want {
			t.Errorf("%s from %s: got %s, want %s", tt.via, tt.source, got, tt.want)
		}
	}
	req := siptest.Bytes(t, invite("Via: SIP/2.0/UDP a;rport"))
	for _, req.Flow = range []*sip.Flow{nil, {}} {
		var w sip.Writer
		w.Response(req, 200, "", "")
		w.End("", nil)
		if got := values(siptest.Written(t, &w), sip.Via)[0]; got != "SIP/2.0/UDP a;rport" {
			t.Errorf("without a source: got %s", got)
		}
	}
}

func TestRequest(t *testing.T) {
	var w sip.Writer
	w.Request("OPTIONS", "sip:north.example")
	w.Add(sip.From, "<sip:a@b>;tag=1")
	w.Add(sip.To, "<sip:a@b>")
	w.Add(sip.CallID, "1")
	w.Add(sip.CSeq, "1 OPTIONS")
	w.AddInt(sip.MaxForwards, 70)
	w.AddOther("X-One", "1")
	w.AddFields([]sip.Field{{sip.Supported, ""}, {sip.Accept, "a/b"}})
	if err := w.End("", nil); err != nil {
		t.Fatal(err)
	}
	m := siptest.Bytes(t, w.AppendWithVia(nil, []byte("SIP/2.0/UDP a;branch=z9hG4bK1")))
	if !strings.HasPrefix(string(m.Bytes()), "OPTIONS sip:north.example SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: ") {
		t.Errorf("got\n%s", m.Bytes())
	}
	if m.Branch() != "z9hG4bK1" || string(m.Other("X-One")) != "1" || !m.Has(sip.Accept, "a/b") {
		t.Errorf("got\n%s", m.Bytes())
	}
	if got := string(w.AppendWithVia([]byte("x"), []byte("SIP/2.0/TCP b"))); !strings.HasPrefix(got, "xOPTIONS") || !strings.Contains(got, "TCP b") {
		t.Errorf("again: got %q", got)
	}
	w.Request("BYE", "sip:a@b")
	if w.End("", nil) != nil || strings.Contains(string(w.Bytes()), "OPTIONS") {
		t.Errorf("anew: got %q", w.Bytes())
	}
}

func TestWriterRefuses(t *testing.T) {
	req := siptest.Bytes(t, invite())
	for name, write := range map[string]func(w *sip.Writer){
		"CR in a value":      func(w *sip.Writer) { w.Add(sip.Subject, "a\rb") },
		"LF in a value":      func(w *sip.Writer) { w.Add(sip.Subject, "a\nb") },
		"NUL in a value":     func(w *sip.Writer) { w.Add(sip.Subject, "a\x00b") },
		"CRLF in a field":    func(w *sip.Writer) { w.AddFields([]sip.Field{{sip.Subject, "a\r\nX: y"}}) },
		"CRLF in a type":     func(w *sip.Writer) { w.End("a/b\r\nX: y", nil) },
		"no Name":            func(w *sip.Writer) { w.Add(sip.NoName, "a") },
		"OtherName":          func(w *sip.Writer) { w.Add(sip.OtherName, "a") },
		"name no token":      func(w *sip.Writer) { w.AddOther("X: y\r\nZ", "a") },
		"name empty":         func(w *sip.Writer) { w.AddOther("", "a") },
		"LF in another":      func(w *sip.Writer) { w.AddOther("X", "a\n") },
		"method no token":    func(w *sip.Writer) { w.Request("A B", "sip:a@b") },
		"method empty":       func(w *sip.Writer) { w.Request("", "sip:a@b") },
		"URI with a blank":   func(w *sip.Writer) { w.Request("BYE", "sip:a@b X") },
		"URI with CRLF":      func(w *sip.Writer) { w.Request("BYE", "sip:a@b\r\nX:") },
		"URI empty":          func(w *sip.Writer) { w.Request("BYE", "") },
		"CRLF in the reason": func(w *sip.Writer) { w.Response(req, 200, "O\r\nK", "") },
		"CRLF in the tag":    func(w *sip.Writer) { w.Response(req, 200, "", "a\r\nb") },
		"code 99":            func(w *sip.Writer) { w.Response(req, 99, "", "") },
		"code 700":           func(w *sip.Writer) { w.Response(req, 700, "", "") },
	} {
		var w sip.Writer
		w.Request("BYE", "sip:a@b")
		write(&w)
		w.Add(sip.Subject, "good again")
		if err := w.End("", nil); !errors.Is(err, sip.ErrValue) || w.Bytes() != nil || len(w.AppendWithVia(nil, []byte("x"))) != 0 {
			t.Errorf("%s: got %v, %q, want the error to stick", name, err, w.Bytes())
		}
		w.Request("BYE", "sip:a@b")
		if err := w.End("", nil); err != nil {
			t.Errorf("%s: started anew: got %v", name, err)
		}
	}
}

func TestWriterAllocatesNothing(t *testing.T) {
	req := siptest.Bytes(t, register)
	req.Flow = from("192.0.2.99:1024")
	var w sip.Writer
	if n := testing.AllocsPerRun(100, func() {
		w.Response(req, 200, "", "tag")
		w.Copy(req, sip.Contact)
		w.End("", nil)
	}); n != 0 {
		t.Errorf("a response allocates %v times, want 0", n)
	}
}
