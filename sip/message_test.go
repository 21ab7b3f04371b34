package sip_test

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
)

func TestNames(t *testing.T) {
	seen := map[string]sip.Name{}
	for n := sip.Via; n < sip.OtherName; n++ {
		name := n.String()
		if name == "" || seen[name] != sip.NoName {
			t.Errorf("name %d is %q, as is %d", n, name, seen[name])
		}
		seen[name] = n
		for _, written := range []string{name, strings.ToLower(name), strings.ToUpper(name), name + " \t"} {
			var m sip.Message
			b := "SIP/2.0 200 OK\r\n" + written + ": x\r\n\r\n"
			sip.Parse([]byte(b), &m) // refused for what lacks, but indexed
			if got := string(m.Value(n)); got != "x" {
				t.Errorf("%q: got %q, want it read as %v", written, got, n)
			}
		}
	}
	for letter, n := range map[string]sip.Name{
		"v": sip.Via, "f": sip.From, "t": sip.To, "m": sip.Contact, "i": sip.CallID, "l": sip.ContentLength, "c": sip.ContentType,
		"e": sip.ContentEncoding, "s": sip.Subject, "k": sip.Supported, "r": sip.ReferTo, "b": sip.ReferredBy, "o": sip.Event,
		"u": sip.AllowEvents, "x": sip.SessionExpires,
	} {
		for _, written := range []string{letter, strings.ToUpper(letter)} {
			var m sip.Message
			sip.Parse([]byte("SIP/2.0 200 OK\r\n"+written+": x\r\n\r\n"), &m)
			if got := string(m.Value(n)); got != "x" {
				t.Errorf("%q: got %q, want it read as %v", written, got, n)
			}
		}
	}
	if sip.OtherName.String() != "" || sip.NoName.String() != "" || sip.Name(200).String() != "" {
		t.Error("OtherName, NoName and what is no Name have no text")
	}
}

// A "K" that is no ASCII K, and control characters that differ from letters by one bit,
// are not taken for letters.
func TestNamesAreASCII(t *testing.T) {
	for _, written := range []string{"\u212a", "Record\rRoute", "Call\x0dID", "To\x00", "\x14\x0f", "Vıa", "[ia"} {
		var m sip.Message
		sip.Parse([]byte("SIP/2.0 200 OK\r\n"+written+": x\r\n\r\n"), &m)
		for n := sip.Via; n < sip.OtherName; n++ {
			if v := m.Value(n); v != nil {
				t.Errorf("%q was read as %v", written, n)
			}
		}
	}
}

func TestMethods(t *testing.T) {
	for m := sip.REGISTER; m < sip.Other; m++ {
		msg := siptest.Bytes(t, invite(m.String()+" sip:a@b SIP/2.0", "CSeq: 1 "+m.String()))
		if msg.Method() != m || msg.MethodText() != m.String() || m.String() == "" {
			t.Errorf("got %v %s, want %v", msg.Method(), msg.MethodText(), m)
		}
	}
	small := siptest.Bytes(t, invite("invite sip:a@b SIP/2.0", "CSeq: 1 invite"))
	if small.Method() != sip.Other || small.MethodText() != "invite" {
		t.Errorf("got %v %s, want Other: methods are case-sensitive", small.Method(), small.MethodText())
	}
	if sip.NoMethod.String() != "" || sip.Other.String() != "" || sip.Method(99).String() != "" {
		t.Error("NoMethod and Other have no text")
	}
	res := siptest.Message(t, "SIP/2.0 200 OK\nv: SIP/2.0/UDP a\nf: <sip:a@b>\nt: <sip:a@b>\ni: 1\nCSeq: 1 X\n")
	if res.Method() != sip.Other || res.MethodText() != "X" {
		t.Errorf("response: got %v %s, want CSeq's", res.Method(), res.MethodText())
	}
}

func TestValues(t *testing.T) {
	m := siptest.Bytes(t, invite(
		`Contact: "a, b" <sip:a,b@c>;q=1 ,<sip:c@d>`, "+m: <sip:e@f>", "Supported: 100rel ,, timer,", "+k: path", "Subject: a, b",
		`Authorization: Digest a="1", b="2"`, "+Authorization: Digest c=3", "Require: ", "Allow: INVITE\r\n ,\r\n\tBYE"))
	for n, want := range map[sip.Name][]string{
		sip.Contact:       {`"a, b" <sip:a,b@c>;q=1`, "<sip:c@d>", "<sip:e@f>"},
		sip.Supported:     {"100rel", "timer", "path"},
		sip.Subject:       {"a, b"},
		sip.Authorization: {`Digest a="1", b="2"`, "Digest c=3"},
		sip.Require:       nil,
		sip.Route:         nil,
		sip.Allow:         {"INVITE", "BYE"},
		sip.NoName:        nil,
	} {
		if got := values(m, n); !slices.Equal(got, want) {
			t.Errorf("%v: got %q, want %q", n, got, want)
		}
	}
	if v := m.Value(sip.Require); v == nil || len(v) != 0 {
		t.Errorf("Require: got %v, want it there and empty", v)
	}
	for range m.Values(sip.Contact) {
		break // stops when told
	}
	if n := testing.AllocsPerRun(100, func() {
		for v := range m.Values(sip.Contact) {
			_ = v
		}
	}); n != 0 {
		t.Errorf("Values allocates %v times, want 0", n)
	}
}

func TestHas(t *testing.T) {
	m := siptest.Bytes(t, invite("Supported: 100rel, Path ", "Accept: application/sdp;level=1, text/plain"))
	for _, tt := range []struct {
		n     sip.Name
		token string
		want  bool
	}{
		{sip.Supported, "path", true}, {sip.Supported, "100REL", true}, {sip.Supported, "100", false}, {sip.Supported, "", false},
		{sip.Accept, "application/sdp", true}, {sip.Accept, "text/html", false}, {sip.Require, "path", false},
	} {
		if got := m.Has(tt.n, tt.token); got != tt.want {
			t.Errorf("Has(%v, %q): got %v", tt.n, tt.token, got)
		}
	}
}

func TestSeconds(t *testing.T) {
	for value, want := range map[string]int64{
		"0": 0, "60": 60, "0060": 60, "4294967295": math.MaxUint32, "4294967296": math.MaxUint32, strings.Repeat("9", 100): math.MaxUint32,
		"1800;refresher=uac": 1800, "120 (in a meeting)": 120, "90 ;x": 90,
		"": -1, "x": -1, "-1": -1, "+1": -1, "60s": -1, "6 0": -1, "1.5": -1, "0x10": -1,
	} {
		m := siptest.Bytes(t, invite("Session-Expires: "+value))
		v, found := m.Seconds(sip.SessionExpires)
		if found != (want >= 0) || found && int64(v) != want {
			t.Errorf("%q: got %d, %v, want %d", value, v, found, want)
		}
	}
	if _, found := siptest.Bytes(t, invite()).Seconds(sip.Expires); found {
		t.Error("found an Expires that is not there")
	}
}

func TestBranch(t *testing.T) {
	for via, want := range map[string]string{
		"SIP/2.0/UDP a;branch=z9hG4bKx": "z9hG4bKx", "SIP/2.0/UDP a ; rport ; BRANCH = z9hG4bKx": "z9hG4bKx",
		"SIP/2.0/UDP a": "", "SIP/2.0/UDP a;branch=1": "", "SIP/2.0/UDP a;branch=z9hG4bK": "", "SIP/2.0/UDP a;branch=Z9HG4BKx": "",
		"SIP/2.0/UDP a;branch=z9hG4bK1, SIP/2.0/UDP b;branch=z9hG4bK2": "z9hG4bK1", "SIP/2.0/UDP a, SIP/2.0/UDP b;branch=z9hG4bK2": "",
	} {
		if got := siptest.Bytes(t, invite("Via: "+via)).Branch(); got != want {
			t.Errorf("%s: got %q, want %q", via, got, want)
		}
	}
}

func TestKeepOwnsItsBytes(t *testing.T) {
	for name, b := range map[string][]byte{"plain": invite(), "folded": invite("Subject: a\r\n b")} {
		var m sip.Message
		if err := sip.Parse(b, &m); err != nil {
			t.Fatal(err)
		}
		m.Flow = &sip.Flow{}
		said, kept := whole(&m), m.Keep()
		came := bytes.Clone(b)
		for i := range b {
			b[i] = 'x'
		}
		sip.Parse(register, &m) // overwrites the index
		if got := whole(kept); got != said || kept.Flow == nil || !bytes.Equal(kept.Bytes(), came) {
			t.Errorf("%s: got %s, want %s", name, got, said)
		}
	}
}

func TestDistrust(t *testing.T) {
	lines := []string{"P-Asserted-Identity: <sip:a@b>", "P-Visited-Network-ID: x", "P-Charging-Vector: icid-value=1", "Path: <sip:a@b;lr>",
		"Roam-Ticket: x", "Roam-Epoch: 1", "Roam-Digest: x", "Roam-Service: x", "ROAM-Anything: x", "P-Preferred-Identity: <sip:a@b>", "X-Roam-: x"}
	m := siptest.Bytes(t, invite(append(lines, "+P-Asserted-Identity: <tel:+1>")...))
	if got := len(values(m, sip.PAssertedIdentity)); got != 2 {
		t.Fatalf("before: got %d identities, want 2", got)
	}
	before := len(values(m, sip.Via)) + len(values(m, sip.Contact))
	m.Distrust()
	for _, l := range lines {
		name, _, _ := strings.Cut(l, ":")
		left := name == "P-Preferred-Identity" || name == "X-Roam-"
		if got := m.Other(name) != nil; got != left {
			t.Errorf("%s: there %v, want %v", name, got, left)
		}
	}
	var w sip.Writer
	w.Request("INVITE", "sip:a@b")
	w.Copy(m, sip.PAssertedIdentity)
	w.Copy(m, sip.Path)
	if err := w.End("", nil); err != nil || bytes.Contains(w.Bytes(), []byte("sip:a@b>")) {
		t.Errorf("copied what is distrusted: %q", w.Bytes())
	}
	if after := len(values(m, sip.Via)) + len(values(m, sip.Contact)); after != before || m.CallID() != "c1@192.0.2.1" {
		t.Errorf("the rest: got %d values, want %d", after, before)
	}
}

func TestOther(t *testing.T) {
	m := siptest.Bytes(t, invite("X-One: 1", "+x-one: 2", "Subject: s"))
	if got := string(m.Other("x-ONE")); got != "1" {
		t.Errorf("got %q, want the first", got)
	}
	if got := string(m.Other("subject")); got != "s" {
		t.Errorf("got %q, want named fields as well", got)
	}
	if m.Other("X-Two") != nil || m.Other("") != nil || m.Other("X One") != nil {
		t.Error("found what is not there")
	}
}

func TestZeroMessage(t *testing.T) {
	var m sip.Message
	if m.Value(sip.To) != nil || m.CallID() != "" || m.Body() == nil && len(m.Body()) != 0 || m.Branch() != "" {
		t.Error("a zero Message is not empty")
	}
	if _, err := m.TopVia(); err == nil {
		t.Error("a zero Message has a Via")
	}
	if _, err := m.From(); err == nil {
		t.Error("a zero Message has a From")
	}
	m.Distrust()
	m.Keep()
}
