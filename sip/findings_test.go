package sip_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/siproam/siproam/sip"
)

// swap is a good INVITE in which old is new.
func swap(old, new string) []byte {
	b := invite()
	if !bytes.Contains(b, []byte(old)) {
		panic(old + " is not in it")
	}
	return bytes.Replace(b, []byte(old), []byte(new), 1)
}

// with is a good INVITE with a body of that type.
func with(contentType, body string) []byte {
	return append(invite("Content-Type: "+contentType, fmt.Sprintf("Content-Length: %d", len(body))), body...)
}

// findings is what broke other SIP servers, as messages of our own; named after the finding.
var findings = []struct {
	name string
	b    []byte
	want string // parser and stream, as in verdicts.tsv
}{
	// Lengths.
	{"CVE-2018-8828, Kamailio: From tag of 290", invite("From: <sip:1001@north.example>;tag=" + strings.Repeat("x", 290)), "accept -"},
	{"CVE-2018-8828, Kamailio: branch of 290", invite("Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK" + strings.Repeat("x", 290)), "accept -"},
	{"CVE-2016-2385, Kamailio: a message of the largest size", invite("Subject: " + strings.Repeat("x", 65000)), "accept -"},
	{"CVE-2016-2385, Kamailio: and larger", invite("Subject: " + strings.Repeat("x", 66000)), "drop close"},
	{"Kamailio d7a7f22b: Call-ID of 256", invite("Call-ID: " + strings.Repeat("x", 256)), "accept -"},
	{"CVE-2026-106803, Kamailio: alias with a port of 7 digits", invite("Contact: <sip:1001@192.0.2.1;alias=192.0.2.1~5060000~1>"), "accept -"}, // a parameter; we take its word for nothing
	{"CVE-2026-106803, Kamailio: port of 7 digits", invite("Contact: <sip:1001@192.0.2.1:5060000>"), "400 -"},
	{"CVE-2017-9372, PJSIP: CSeq method of 300", invite("CSeq: 1 " + strings.Repeat("A", 300)), "400 -"},
	{"CVE-2017-9372, PJSIP: a method of 300 and its CSeq", swap("INVITE sip", strings.Repeat("A", 300)+" sip"), "400 -"},
	{"CVE-2018-7284, Asterisk: 50 Accept fields", invite(strings.Repeat("+Accept: "+strings.Repeat("a", 100)+"\r\n", 49) + "+Accept: a"), "accept -"},
	{"CVE-2026-45537, OpenSIPS: a URI of 30,000", invite("Contact: <sip:" + strings.Repeat("u", 10000) + ":" + strings.Repeat("p", 10000) + "@" + strings.Repeat("h", 10000) + ">"), "accept -"},
	{"CVE-2026-45538, OpenSIPS: a field name of 10,000", invite(strings.Repeat("N", 10000) + ": x"), "accept -"},
	{"CVE-2026-74569, Linux: 1,000 contacts in one field", invite("Contact: <sip:a@b>" + strings.Repeat(",<sip:a@b>", 999)), "accept -"}, // package registrar says how many are too many
	{"CVE-2026-74569, Linux: 1,000 fields of contacts", invite(strings.Repeat("+Contact: <sip:a@b>\r\n", 999) + "+m: <sip:a@b>"), "400 -"},

	// Numbers.
	{"Kamailio 24030e58: CSeq 2^31", invite("CSeq: 2147483648 INVITE"), "400 -"},
	{"Kamailio issue 4920: CSeq 2^32-1", invite("CSeq: 4294967295 INVITE"), "400 -"},
	{"Kamailio issue 4920: CSeq 2^32", invite("CSeq: 4294967296 INVITE"), "400 -"},
	{"CVE-2023-28097, OpenSIPS: Content-Length near 2^31", invite("Content-Length: 2147483647"), "400 close"},
	{"CVE-2023-28097, OpenSIPS: and a crafted Request-URI", bytes.Replace(invite("Content-Length: 2147483640"), []byte("sip:1002@"), []byte("sip:"+strings.Repeat("%", 3)+"1002@"), 1), "400 close"},
	{"CVE-2026-45103, OpenSIPS: Content-Length 2^32", invite("Content-Length: 4294967296"), "400 close"},
	{"CVE-2026-45103, OpenSIPS: Content-Length 2^64", invite("Content-Length: 18446744073709551616"), "400 close"},
	{"CVE-2023-28099, OpenSIPS: an address that is none", invite("Via: SIP/2.0/UDP 192.0.2.999999999999;branch=z9hG4bK1"), "accept -"}, // a name that nobody has
	{"CVE-2023-28099, OpenSIPS: an IPv6 address that is none", invite("Contact: <sip:1001@[2001:db8:::::::::::::1]>"), "400 -"},

	// Doubled, half and missing.
	{"CVE-2018-14767, Kamailio: two To, one with an empty tag", invite("+t: <sip:1002@north.example>;tag="), "400 -"},
	{"CVE-2023-28095, OpenSIPS: two To, one long", invite("+To: <sip:1002@north.example>;x=" + strings.Repeat("y", 5000)), "400 -"},
	{"CVE-2018-16657, Kamailio: a Via without its parts", invite("Via: SIP/2.0/UDP"), "400 -"},
	{"CVE-2018-16657, Kamailio: a Via of separators", invite("Via: //;=,"), "400 -"},
	{"CVE-2018-16657, Kamailio: an empty Via", invite("Via:"), "400 -"},
	{"CVE-2023-27597, OpenSIPS: urn: without a host", invite("INVITE urn:service:sos SIP/2.0"), "416 -"},
	{"CVE-2023-27597, OpenSIPS: tel: without a number", invite("INVITE tel: SIP/2.0"), "400 -"},
	{"CVE-2023-27597, OpenSIPS: tel: with a number alone", invite("INVITE tel:1;phone-context= SIP/2.0"), "accept -"},
	{"CVE-2023-27598, OpenSIPS: a Via of pieces and a bare LF", invite("Via: SIP/2.0/UD~PTo :::]\nX: y"), "drop close"},
	{"CVE-2023-27599, OpenSIPS: To with an open quote at its end", invite(`To: <sip:1002@north.example>;tag="`), "400 -"},
	{"CVE-2023-27599, OpenSIPS: an open quote in the last octet", bytes.TrimSuffix(invite("Content-Length: 0", `To: <sip:1002@north.example>;x="`), []byte("\r\n\r\n")), "400 close"},
	{"OpenSIPS issue 2285: Contact that ends in a stray quote", invite(`Contact: <sip:1001@192.0.2.1>"`), "400 -"},
	{"OpenSIPS issue 734: a body without Content-Type", append(invite("Content-Length: 3"), "abc"...), "accept -"},
	{"CVE-2023-28098, OpenSIPS: Authorization cut short", swap("Contact:", "Authorization: Digest username=\"1001\r\nContact:"), "accept -"}, // package digest refuses it

	// Bodies, which package media or nobody reads.
	{"CVE-2026-46334, OpenSIPS: parts without bodies", with("multipart/mixed;boundary=x", "--x\r\n\r\n--x\r\nContent-Type: a/b\r\n--x--"), "accept -"},
	{"CVE-2026-46334, OpenSIPS: no part at all", with("multipart/mixed;boundary=x", "--x--"), "accept -"},
	{"AST-2017-003, PJSIP: boundary ++", with("multipart/mixed;boundary=++", "--++\r\n\r\n--++--\r\n"), "accept -"},
	{"AST-2017-003, PJSIP: LF alone", bytes.ReplaceAll(invite(), []byte("\r\n"), []byte("\n")), "drop close"},
	{"CVE-2026-110658, Sofia: a boundary longer than the body", with("multipart/mixed;boundary="+strings.Repeat("x", 500), "--x"), "accept -"},
	{"CVE-2026-110658, Sofia: an open boundary", with(`multipart/mixed;boundary="`, "--"), "accept -"},

	// Two readers that disagree.
	{"CVE-2020-28361, Kamailio: a blank before the colon", invite("X-Bypass-me : lol"), "accept -"}, // see TestBlankBeforeColonHidesNothing
	{"CVE-2020-28361, Kamailio: hiding a second Content-Length", invite("+Content-Length : 0"), "400 close"},
	{"GHSA-4h4c-qgxg-p3qv, Asterisk: Contact^A", invite("Contact\x01: <sip:1001@192.0.2.1>"), "400 close"},
	{"CVE-2023-51443, FreeSWITCH: a DTLS hello", []byte("\x16\xfe\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x36\x01\x00\x00\x2a\x00\x00\x00\x00\x00\x00\x00\x2a\xfe\xfd\x00\x00\x00\x02\x00\x00\x01\x00"), "drop close"},
	{"CVE-2021-41105, FreeSWITCH: 12 octets of RTP", []byte("\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01"), "drop close"},
	{"CVE-2026-116574, FreeSWITCH: nested JSON", []byte(strings.Repeat(`{"a":[`, 5000)), "drop close"},
	{"CVE-2026-116779, FreeSWITCH: a command", []byte("api status\n\n"), "drop close"},
	{"GHSA-5743-x3p5-3rg7, Asterisk: a line of log", []byte("\n[Nov 24 12:00:00] NOTICE[1]: Registration from 'x' failed for '192.0.2.66'\n"), "drop close"},
}

// TestFindings: each has its verdict, whole and in pieces, once and many times, and what is refused can be answered.
func TestFindings(t *testing.T) {
	names := map[string]bool{}
	for _, f := range findings {
		t.Run(f.name, func(t *testing.T) {
			if names[f.name] {
				t.Error("the name stands twice")
			}
			names[f.name] = true
			var m sip.Message
			for range 100 { // some needed the same message again
				parser, stream := verdict(f.b)
				if got := parser + " " + stream; got != f.want {
					t.Fatalf("got %s, want %s", got, f.want)
				}
				if err := sip.Parse(f.b, &m); err != nil {
					answerable(t, err, &m)
				} else if whole(&m) != whole(m.Keep()) {
					t.Fatal("kept, it reads otherwise")
				}
			}
			stream := append(bytes.Clone(f.b), after...)
			want := streamed(stream, nil)
			for range 20 {
				at := rand.IntN(len(stream))
				if got := streamed(stream, []int{at}); got != want {
					t.Errorf("cut at %d: got %s, want %s", at, got, want)
				}
			}
		})
	}
}
