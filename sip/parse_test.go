package sip_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
)

// invite is a good request with lines of its own instead of, or after, the usual ones.
func invite(lines ...string) []byte {
	usual := []string{
		"INVITE sip:1002@north.example SIP/2.0",
		"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1",
		"From: <sip:1001@north.example>;tag=f",
		"To: <sip:1002@north.example>",
		"Call-ID: c1@192.0.2.1",
		"CSeq: 1 INVITE",
		"Contact: <sip:1001@192.0.2.1>",
		"Content-Length: 0",
	}
	for _, l := range lines {
		name, _, _ := strings.Cut(l, ":")
		at := -1
		for i, u := range usual {
			if n, _, _ := strings.Cut(u, ":"); n == name {
				at = i
			}
		}
		switch {
		case strings.HasSuffix(l, " SIP/2.0"):
			usual[0] = l
		case strings.HasPrefix(l, "+"):
			usual = append(usual, l[1:])
		case at < 0:
			usual = append(usual, l)
		default:
			usual[at] = l
		}
	}
	return []byte(strings.Join(usual, "\r\n") + "\r\n\r\n")
}

func TestParseAccepts(t *testing.T) {
	for name, b := range map[string][]byte{
		"plain":                      invite(),
		"CRLF first":                 append([]byte("\r\n\r\n"), invite()...),
		"tel Request-URI":            invite("INVITE tel:+15550001002 SIP/2.0"),
		"sips Request-URI":           invite("INVITE sips:1002@north.example SIP/2.0"),
		"version in small letters":   bytes.Replace(invite(), []byte(" SIP/2.0"), []byte(" sip/2.0"), 1),
		"CSeq 2^31-1":                invite("CSeq: 2147483647 INVITE"),
		"CSeq 0":                     invite("CSeq: 0 INVITE"),
		"Max-Forwards 255":           invite("Max-Forwards: 255"),
		"Contact *":                  invite("Contact: *"),
		"Contact bare with instance": invite(`Contact: sip:1001@192.0.2.1;+sip.instance="<urn:uuid:1>";expires=60`),
		"Contact with comma in name": invite(`Contact: "Doe, J" <sip:1001@192.0.2.1>, <sip:1001@192.0.2.2>`),
		"Contact of another scheme":  invite("Contact: <mailto:a@example.org>"),
		"tag that ends in =":         invite("From: <sip:1001@north.example>;tag=abc=="),
		"TAG":                        invite("From: <sip:1001@north.example>;TAG=f"),
		"user with #":                invite("To: <sip:*72#@north.example>"),
		"Route twice":                invite("Route: <sip:a.example;lr>, <sip:b.example;lr>", "+Route: <sip:c.example;lr>"),
		"empty Supported":            invite("Supported:"),
		"long branch":                invite("Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK" + strings.Repeat("x", 290)),
		"Call-ID of 256 octets":      invite("Call-ID: " + strings.Repeat("x", 256)),
		"Via with [v6]:port":         invite("Via: SIP/2.0/TLS [2001:db8::1]:5061;branch=z9hG4bK1;alias"),
		"Authorization cut short":    invite(`Authorization: Digest username="1001`), // package digest refuses it
		"body without Content-Type":  append(bytes.Replace(invite(), []byte("Length: 0"), []byte("Length: 3"), 1), "abc"...),
		"octets after the body":      append(invite(), "INVITE x"...),
		"quoted NUL":                 invite("Subject: \"a\\\x00b\""),
	} {
		if err := sip.Parse(b, new(sip.Message)); err != nil {
			_, reason, _ := sip.Status(err)
			t.Errorf("%s: got %s, want it accepted", name, reason)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name string
		b    []byte
		want string // verdict and what a stream gets
	}{
		{"nothing", nil, "drop close"},
		{"CRLF only", []byte("\r\n\r\n"), "drop close"},
		{"zeros", make([]byte, 20), "drop close"},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "drop close"},
		{"bare LF in the start line", bytes.Replace(invite(), []byte("\r\n"), []byte("\n"), 1), "drop close"},
		{"bare CR in the start line", invite("INVITE sip:a@b\rc SIP/2.0"), "drop close"},
		{"NUL in the start line", invite("INVITE sip:a@b\x00 SIP/2.0"), "drop close"},
		{"no method", invite(" sip:a@b SIP/2.0"), "drop close"},
		{"method no token", invite("IN[]VITE sip:a@b SIP/2.0"), "drop close"},
		{"version 3.0", bytes.Replace(invite(), []byte(" SIP/2.0"), []byte(" SIP/3.0"), 1), "505 -"},
		{"version 2", bytes.Replace(invite(), []byte(" SIP/2.0"), []byte(" SIP/2"), 1), "505 -"},
		{"tab in the request line", invite("INVITE sip:a@b\t SIP/2.0"), "400 -"},
		{"@ twice in the Request-URI", invite("INVITE sip:a@b@c SIP/2.0"), "400 -"},
		{"no host", invite("INVITE sip:a@ SIP/2.0"), "400 -"},
		{"port 65536", invite("INVITE sip:a@b:65536 SIP/2.0"), "400 -"},
		{"OPTIONS *", invite("OPTIONS * SIP/2.0", "CSeq: 1 OPTIONS"), "400 -"},
		{"method in small letters", invite("invite sip:a@b SIP/2.0"), "400 -"}, // CSeq has the other

		{"no Via", bytes.Replace(invite(), []byte("Via: "), []byte("X: "), 1), "drop -"},
		{"no From", bytes.Replace(invite(), []byte("From: "), []byte("X: "), 1), "400 -"},
		{"no To", bytes.Replace(invite(), []byte("To: "), []byte("X: "), 1), "400 -"},
		{"no Call-ID", bytes.Replace(invite(), []byte("Call-ID: "), []byte("X: "), 1), "400 -"},
		{"no CSeq", bytes.Replace(invite(), []byte("CSeq: "), []byte("X: "), 1), "400 -"},
		{"two From", invite("+f: <sip:1003@north.example>;tag=f"), "400 -"},
		{"two Call-ID", invite("+i: c1@192.0.2.1"), "400 -"},
		{"two CSeq", invite("+CSEQ: 1 INVITE"), "400 -"},
		{"two Max-Forwards", invite("Max-Forwards: 70", "+Max-Forwards: 70"), "400 -"},
		{"two Refer-To", invite("Refer-To: <sip:a@b>", "+r: <sip:a@b>"), "400 -"},
		{"two Expires", invite("Expires: 1", "+Expires : 1"), "400 -"},
		{"two Event", invite("Event: reg", "+o: reg"), "400 -"},
		{"two Content-Length, the same", invite("+l: 0"), "400 close"},
		{"two Roam-Ticket", invite("Roam-Ticket: a", "+roam-ticket: b"), "400 -"},

		{"Via without host", invite("Via: SIP/2.0/UDP ;branch=z9hG4bK1"), "400 -"},
		{"Via without transport", invite("Via: SIP/2.0/ 192.0.2.1;branch=z9hG4bK1"), "400 -"},
		{"Via of HTTP", invite("Via: HTTP/1.1/TCP 192.0.2.1;branch=z9hG4bK1"), "400 -"},
		{"Via port 0", invite("Via: SIP/2.0/UDP 192.0.2.1:0"), "400 -"},
		{"Via port of 6 digits", invite("Via: SIP/2.0/UDP 192.0.2.1:506000"), "400 -"},
		{"Via with blanks in the host", invite("Via: SIP/2.0/UDP 192.0.2.1 192.0.2.2"), "400 -"},
		{"Via with two branches", invite("Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;branch=z9hG4bK2"), "400 -"},
		{"Via with an empty branch", invite("Via: SIP/2.0/UDP 192.0.2.1;branch="), "400 -"},
		{"second Via malformed", invite("+v: SIP/2.0/UDP"), "400 -"},
		{"Via ends in a comma", invite("Via: SIP/2.0/UDP 192.0.2.1,"), "400 -"},

		{"quoted tag", invite(`From: <sip:1001@north.example>;tag="x"`), "400 -"},
		{"two tags", invite("From: <sip:1001@north.example>;tag=a;tag=b"), "400 -"},
		{"From *", invite("From: *"), "400 -"},
		{"From without >", invite("From: <sip:1001@north.example;tag=f"), "400 -"},
		{"text after >", invite("From: <sip:1001@north.example> tag=f"), "400 -"},
		{"ends in ;", invite("From: <sip:1001@north.example>;"), "400 -"},
		{"name without <>", invite(`From: "x" sip:1001@north.example`), "400 -"},
		{"From with a bad escape", invite("From: <sip:10%0g@north.example>;tag=f"), "400 -"},
		{"Contact ends in a stray quote", invite(`Contact: <sip:1001@192.0.2.1>"`), "400 -"},
		{"Contact empty", invite("Contact:"), "400 -"},
		{"Contact * in a list", invite("Contact: <sip:1001@192.0.2.1>, *"), "400 -"},
		{"Route without <>", invite("Route: sip:a.example;lr"), "400 -"},
		{"Route open", invite("Route: <sip:a.example;lr"), "400 -"},
		{"Record-Route with a comma too many", invite("Record-Route: <sip:a.example;lr>,,<sip:b.example;lr>"), "400 -"},

		{"CSeq 2^31", invite("CSeq: 2147483648 INVITE"), "400 -"},
		{"CSeq 4294967296", invite("CSeq: 4294967296 INVITE"), "400 -"},
		{"CSeq 2^64", invite("CSeq: 18446744073709551616 INVITE"), "400 -"},
		{"CSeq without method", invite("CSeq: 1"), "400 -"},
		{"CSeq without number", invite("CSeq: INVITE"), "400 -"},
		{"CSeq with a sign", invite("CSeq: +1 INVITE"), "400 -"},
		{"CSeq of three words", invite("CSeq: 1 INVITE INVITE"), "400 -"},
		{"Call-ID empty", invite("Call-ID:"), "400 -"},
		{"Call-ID of two words", invite("Call-ID: a b"), "400 -"},
		{"Max-Forwards 256", invite("Max-Forwards: 256"), "400 -"},
		{"Max-Forwards -1", invite("Max-Forwards: -1"), "400 -"},
		{"Max-Forwards empty", invite("Max-Forwards:"), "400 -"},
		{"Date in UTC", invite("Date: Sat, 13 Nov 2010 23:29:00 UTC"), "400 -"},

		{"Content-Length +0", invite("Content-Length: +0"), "400 close"},
		{"Content-Length 0x0", invite("Content-Length: 0x0"), "400 close"},
		{"Content-Length empty", invite("Content-Length:"), "400 close"},
		{"Content-Length 2^64", invite("Content-Length: 18446744073709551616"), "400 close"},
		{"body one octet short", append(invite("Content-Length: 4"), "abc"...), "400 close"},
		{"Content-Length folded", invite("Content-Length:\r\n 0"), "400 close"},
		{"bare LF", invite("Subject: a\nl: 5"), "400 close"},
		{"bare CR", invite("Subject: a\rl: 5"), "400 close"},
		{"LF CR LF", invite("Subject: a\n\r\nX: y"), "400 close"},
		{"CR CR LF and no end", []byte("INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP a\r\r\n"), "drop close"},
		{"CR CR LF", invite("Subject: a\r\r\nX: y"), "400 close"},
		{"NUL", invite("Subject: a\x00b"), "400 close"},
		{"a line of blanks", invite("Subject: a\r\n \r\nX: y"), "400 close"},
		{"a line of blanks at the end", invite("Subject: a\r\n\t"), "400 close"},
		{"a fold of the start line", bytes.Replace(invite(), []byte("Via"), []byte(" X: y\r\nVia"), 1), "400 close"},
		{"no empty line", bytes.TrimSuffix(invite(), []byte("\r\n")), "400 close"},
		{"cut in a line", bytes.TrimSuffix(invite(), []byte("th: 0\r\n\r\n")), "400 close"},

		{"no colon", invite("Subject"), "400 close"},
		{"colon first", invite(": x"), "400 close"},
		{"blank in a name", invite("X Y: z"), "400 close"},
		{"300 fields", invite(strings.Repeat("+X: y\r\n", 300) + "+X: y"), "400 -"},

		{"ACK is never answered", invite("ACK sip:a@b SIP/2.0", "CSeq: 1 INVITE"), "drop -"},
		{"response without To", []byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a\r\n\r\n"), "drop -"},
		{"status 99", []byte("SIP/2.0 099 OK\r\n\r\n"), "drop -"},
		{"status 700", []byte("SIP/2.0 700 OK\r\n\r\n"), "drop -"},
		{"status of 4 digits", []byte("SIP/2.0 2000 OK\r\n\r\n"), "drop -"},
		{"status 2e2", []byte("SIP/2.0 2e2 OK\r\n\r\n"), "drop -"},
		{"response of SIP/1.0", []byte("SIP/1.0 200 OK\r\n\r\n"), "drop -"},
	}
	for _, tt := range tests {
		parser, stream := verdict(tt.b)
		if got := parser + " " + stream; got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	for n := range len(invite()) {
		if parser, _ := verdict(invite()[:n]); parser != "400" && parser != "drop" {
			t.Errorf("cut after %d octets: got %s", n, parser)
		}
	}
}

// A refusal names what was wrong in our words, never the sender's.
func TestRefusalTellsNothingOfTheMessage(t *testing.T) {
	for _, b := range [][]byte{invite("From: evil"), invite("evil"), invite("CSeq: 1 evil"), invite("INVITE evil:x SIP/2.0")} {
		err := sip.Parse(b, new(sip.Message))
		if _, reason, _ := sip.Status(err); err == nil || strings.Contains(reason+err.Error(), "evil") {
			t.Errorf("got %q, %v", reason, err)
		}
	}
}

// What is refused is answered with all that was there, but for what could break a line.
func TestRefusedIsAnswerable(t *testing.T) {
	b := invite("CSeq: 1 BYE", "Subject: a\nb", "To: <sip:x@y>\x00")
	var m sip.Message
	err := sip.Parse(b, &m)
	code, reason, _ := sip.Status(err)
	var w sip.Writer
	w.Response(&m, code, reason, "t")
	if err := w.End("", nil); err != nil {
		t.Fatal(err)
	}
	want := "SIP/2.0 400 Bad Request - CSeq of another method\r\n" +
		"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\nFrom: <sip:1001@north.example>;tag=f\r\n" +
		"Call-ID: c1@192.0.2.1\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
	if got := string(w.Bytes()); got != strings.Replace(want, "CSeq of another method", strings.TrimPrefix(reason, "Bad Request - "), 1) || code != 400 {
		t.Errorf("got %d:\n%s\nwant\n%s", code, got, want)
	}
}

// A blank before the colon hides nothing: X-Bypass-me : is X-Bypass-me (CVE-2020-28361).
func TestBlankBeforeColonHidesNothing(t *testing.T) {
	m := siptest.Bytes(t, invite("P-Asserted-Identity \t: <sip:boss@north.example>", "+X-Bypass-me : lol"))
	if m.Value(sip.PAssertedIdentity) == nil || string(m.Other("x-bypass-me")) != "lol" {
		t.Errorf("got %q and %q", m.Value(sip.PAssertedIdentity), m.Other("x-bypass-me"))
	}
	m.Distrust()
	if v := m.Value(sip.PAssertedIdentity); v != nil {
		t.Errorf("after Distrust: got %q", v)
	}
}

// An index is reused: nothing of the last message shows in the next.
func TestParseReuses(t *testing.T) {
	var m sip.Message
	flow := &sip.Flow{}
	m.Flow = flow
	if err := sip.Parse(invite("Subject: one", "To: <sip:1002@north.example>;tag=t", "X-A: b"), &m); err != nil {
		t.Fatal(err)
	}
	if err := sip.Parse([]byte("SIP/2.0 200 OK\r\nv: SIP/2.0/UDP a\r\nf: <sip:a@b>\r\nt: <sip:a@b>\r\ni: 1\r\nCSeq: 7 BYE\r\n\r\n"), &m); err != nil {
		t.Fatal(err)
	}
	if m.IsRequest() || m.Status() != 200 || m.Method() != sip.BYE || m.CSeq() != 7 || m.Value(sip.Subject) != nil ||
		m.ToTag() != "" || m.FromTag() != "" || m.Branch() != "" || m.Other("X-A") != nil || len(m.RequestURI()) != 0 || m.Flow != flow {
		t.Errorf("got %+v", m)
	}
	if n := testing.AllocsPerRun(100, func() { sip.Parse(register, &m) }); n != 0 {
		t.Errorf("Parse into a used Message allocates %v times, want 0", n)
	}
}

// No input takes more than time in proportion to its length.
func TestNothingIsQuadratic(t *testing.T) {
	const n = 65000
	fill := func(s string) string { return strings.Repeat(s, n/len(s)) }
	for name, b := range map[string][]byte{
		"folds without a colon":  invite("X" + fill("\r\n x")),
		"folds":                  invite("X: y" + fill("\r\n x")),
		"URI parameters":         invite("Contact: <sip:a@b" + fill(";a=b") + ">"),
		"URI headers":            invite("Contact: <sip:a@b?x=y" + fill("&a=b") + ">"),
		"header parameters":      invite("Contact: <sip:a@b>" + fill(";a=b")),
		"Vias":                   invite("Via: SIP/2.0/UDP a" + fill(",SIP/2.0/UDP a")),
		"open brackets":          invite("Contact: " + fill("<,")),
		"open quotes":            invite("Contact: " + fill(`"\",`)),
		"NULs":                   invite("X: " + fill("\x00")),
		"bare LFs":               invite("X: " + fill("\n")),
		"bare CRs":               invite("X: " + fill("\r")),
		"blanks":                 invite("X: " + fill(" ")),
		"CRLFs first":            []byte(fill("\r\n")),
		"escapes":                invite("To: <sip:" + fill("%41") + "@b>"),
		"list of empty elements": invite("Supported: " + fill(",")),
	} {
		start := time.Now()
		var m sip.Message
		sip.Parse(b, &m)
		whole(&m)
		for v := range m.Values(sip.Contact) {
			if a, err := sip.ParseAddress(v); err == nil {
				a.URI.Equal(a.URI)
			}
		}
		var f sip.Framer
		for rest := b; len(rest) > 0; {
			n := min(len(rest), 50)
			f.Feed(rest[:n])
			f.Next()
			rest = rest[n:]
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
}

// whole says of a parsed message all that the accessors give.
func whole(m *sip.Message) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %s %d %q %q %q %d %q %q %q\n", m.Method(), m.MethodText(), m.Status(), m.Reason(), m.RequestURI(), m.CallID(),
		m.CSeq(), m.FromTag(), m.ToTag(), m.Branch())
	for n := sip.Via; n < sip.OtherName; n++ {
		for v := range m.Values(n) {
			if n == sip.ContentLength {
				continue // a datagram may lack it
			}
			fmt.Fprintf(&b, "%v: %q\n", n, v)
		}
	}
	fmt.Fprintf(&b, "%q", m.Body())
	return b.String()
}

// rewrite prints m with everything we have a Name for.
func rewrite(m *sip.Message) ([]byte, error) {
	var w sip.Writer
	if m.IsRequest() {
		w.Request(m.MethodText(), string(m.RequestURI()))
	} else {
		w.Response(new(sip.Message), m.Status(), m.Reason(), "")
	}
	for n := sip.Via; n < sip.OtherName; n++ {
		if n != sip.ContentLength {
			w.Copy(m, n)
		}
	}
	if err := w.End("", m.Body()); err != nil {
		return nil, err
	}
	b := bytes.Clone(w.Bytes())
	if !m.IsRequest() && m.Reason() == "" {
		b = bytes.Replace(b, []byte(sip.Text(m.Status())), nil, 1) // the writer's words
	}
	return b, nil
}

// Whatever comes in: no panic, errors are *Refused, what is accepted reads the same once
// printed, what is refused can be answered, and a framer cuts out the same message.
func FuzzParse(f *testing.F) {
	f.Add(register)
	f.Add(invite("Contact: *", "Subject: a\r\n b", "Max-Forwards: 70"))
	f.Add([]byte("SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP a, SIP/2.0/TCP b\r\nFrom: a <sip:a@b>;tag=1\r\nTo: <tel:+1>\r\nCall-ID: 1\r\nCSeq: 7 INVITE\r\n\r\nbody"))
	for _, file := range []string{"rfc4475/wsinv.dat", "rfc4475/intmeth.dat", "rfc4475/esc01.dat", "rfc4475/badinv01.dat", "rfc4475/mcl01.dat", "rfc5118/ipv4-mapped-ipv6.dat"} {
		f.Add(read(f, file))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		came := bytes.Clone(b)
		var m sip.Message
		err := sip.Parse(b, &m)
		if !bytes.Equal(b, came) {
			t.Fatal("Parse wrote into what came")
		}
		if err != nil {
			answerable(t, err, &m)
			return
		}
		said := whole(&m)
		if kept := whole(m.Keep()); kept != said {
			t.Errorf("kept: got %s, want %s", kept, said)
		}
		printed, err := rewrite(&m)
		if err != nil {
			return // a NUL that a quoted pair may hold, say
		}
		var again sip.Message
		if err := sip.Parse(printed, &again); err != nil || whole(&again) != said {
			t.Errorf("printed: %q\ngot %s, %v\nwant %s", printed, whole(&again), err, said)
		}
		framesAlike(t, printed)
	})
}

func answerable(t *testing.T, err error, m *sip.Message) {
	var r *sip.Refused
	if !errors.As(err, &r) {
		t.Fatalf("got %v, want a *Refused", err)
	}
	if r.Code == 0 {
		return
	}
	if !m.IsRequest() || m.Method() == sip.ACK {
		t.Fatalf("a response or ACK is answered with %d", r.Code)
	}
	code, reason, fields := sip.Status(err)
	var w sip.Writer
	w.Response(m, code, reason, "t")
	w.AddFields(fields)
	if err := w.End("", nil); err != nil {
		t.Fatalf("refused with %s: %v", reason, err)
	}
	head := w.Bytes()
	if n := bytes.Count(head, []byte("\r\n")); bytes.Count(head, []byte("\n")) != n || bytes.Count(head, []byte("\r")) != n || bytes.Count(head, []byte("\r\n\r\n")) != 1 {
		t.Fatalf("the answer has a line too many: %q", head)
	}
}

// framesAlike says that the framer and Parse agree where a message ends.
func framesAlike(t *testing.T, b []byte) {
	var f sip.Framer
	f.Feed(b)
	f.Feed([]byte("OPTIONS"))
	if msg, _, err := f.Next(); err != nil || !bytes.Equal(msg, b) {
		t.Errorf("framed: got %q, %v, want %q", msg, err, b)
	}
}
