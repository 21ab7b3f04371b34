package office

import (
	"strings"
	"testing"
)

func TestMask(t *testing.T) {
	msg := strings.ReplaceAll(`REGISTER sip:north.example SIP/2.0
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKnonce
Authorization: Digest username="1001", realm="north.example", nonce="abc=,def", uri="sip:north.example", response="0123456789abcdef", algorithm=MD5, cnonce=xyz, nc=00000001, qop=auth,
  opaque = "folded", nonce="in
 two", cnonce
 ="quo\"ted", username="1001"
PROXY-AUTHORIZATION : Digest username="response", Response=00ff,nonce="q"
WWW-Authenticate: Digest realm="north.example", nonce="fresh", qop="auth"
Roam-Ticket: eyJ1c2VyIjoi.c2ln
Subject: response="not a secret"
Content-Type: application/sdp
Content-Length: 100

v=0
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0a2V5|2^31
a=rtpmap:0 PCMU/8000
`, "\n", "\r\n")
	want := strings.NewReplacer(`abc=,def`, "********", "0123456789abcdef", "****************", "=xyz,", "=***,", `"folded"`, `"******"`, "\"in\r\n two\"", "\"**\r\n ***\"", `"quo\"ted"`, `"********"`, "=00ff,", "=****,", `nonce="q"`, `nonce="*"`,
		"fresh", "*****", "eyJ1c2VyIjoi.c2ln", "*****************", "c2VjcmV0a2V5|2^31", "*****************").Replace(msg)
	got := []byte(msg)
	Mask(got)
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(string(got), `username="1001"`) {
		t.Error("masked more than secrets")
	}
}

// TestMaskOfNoUTF8: octets that are no letters of any alphabet move nothing. They once had the trace show the secret behind
// them, or panic.
func TestMaskOfNoUTF8(t *testing.T) {
	for _, odd := range []string{"\xb5", "\xff\xfe", "\xc3", "\u212a", "\u0130", "\x00"} {
		b := []byte("REGISTER x SIP/2.0\r\nAuthoriZAtion:" + odd + " " + odd + ", Response=\"secret\", nOnce=secret\r\n\r\n")
		Mask(b)
		if strings.Contains(string(b), "secret") || !strings.Contains(string(b), odd) {
			t.Errorf("got %q, want no secret and the rest as it was", b)
		}
		b = []byte("AuthoriZAtion:" + odd + "response")
		Mask(b)
	}
}

func FuzzMask(f *testing.F) {
	f.Add("REGISTER x SIP/2.0\r\nAuthorization: Digest response=\"a\r\n\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		b := []byte(s)
		Mask(b)
		if len(b) != len(s) {
			t.Errorf("got %d bytes, want %d", len(b), len(s))
		}
		once := string(b)
		if Mask(b); string(b) != once {
			t.Errorf("got %q, and again %q", once, b)
		}
	})
}
