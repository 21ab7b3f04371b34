package sip_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// register is an 800 octet REGISTER as a desk phone sends it.
var register = []byte(strings.ReplaceAll(`REGISTER sip:north.example SIP/2.0
Via: SIP/2.0/UDP 192.0.2.17:5060;branch=z9hG4bK-524287-1---6d1e0b3ff1b0a3c2;rport
Max-Forwards: 70
Contact: <sip:1001@192.0.2.17:5060;rinstance=7b3c2c1a9f0d8e11>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000b82a1b2c3>";reg-id=1
To: "Alice" <sip:1001@north.example>
From: "Alice" <sip:1001@north.example>;tag=a73kszlfl
Call-ID: 1j9FpLxk3uxtm8tn2qzYQeXk8LQ4bgTw
CSeq: 1826 REGISTER
Expires: 3600
Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE
Supported: replaces, outbound, path
User-Agent: Example Desk Phone 1.0.4.152
Authorization: Digest username="1001",realm="north.example",nonce="AAABk0eR2sAAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhc",uri="sip:north.example",response="0f1e2d3c4b5a69788796a5b4c3d2e1f0",cnonce="6b2a",nc=00000004,qop=auth,algorithm=MD5
Content-Length: 0

`, "\n", "\r\n"))

func BenchmarkParse(b *testing.B) {
	var m sip.Message
	b.ReportAllocs()
	b.SetBytes(int64(len(register)))
	for b.Loop() {
		if err := sip.Parse(register, &m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResponse(b *testing.B) {
	var m sip.Message
	if err := sip.Parse(register, &m); err != nil {
		b.Fatal(err)
	}
	m.Flow = &sip.Flow{Flow: roam.Flow{Remote: netip.MustParseAddrPort("192.0.2.17:5060")}}
	var w sip.Writer
	b.ReportAllocs()
	for b.Loop() {
		w.Response(&m, 200, "", "as7d6f")
		w.Copy(&m, sip.Contact)
		w.AddInt(sip.Expires, 3600)
		if err := w.End("", nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKeep(b *testing.B) {
	var m sip.Message
	if err := sip.Parse(register, &m); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Keep()
	}
}

func BenchmarkParseAddress(b *testing.B) {
	v := []byte(`"Alice" <sip:1001@north.example;transport=tcp>;tag=a73kszlfl`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sip.ParseAddress(v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFramer(b *testing.B) {
	var f sip.Framer
	b.ReportAllocs()
	for b.Loop() {
		f.Feed(register)
		if msg, _, err := f.Next(); len(msg) != len(register) || err != nil {
			b.Fatal(len(msg), err)
		}
	}
}
