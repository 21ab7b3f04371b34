package seal

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

var now = time.UnixMilli(1_800_000_000_123)

// sealer is a Signer, and what opens what it makes.
type sealer struct {
	name string
	seal func(kind byte, payload []byte, until time.Time) string
	open func(kind byte, s string, now time.Time) ([]byte, bool)
}

func sealers() []sealer {
	s := NewSigner(bytes.Repeat([]byte{7}, 32))
	return []sealer{
		{"signer", s.Sign, func(kind byte, t string, now time.Time) ([]byte, bool) {
			return Verify(s.Public(), kind, t, now)
		}},
	}
}

func TestOpensWhatItSealed(t *testing.T) {
	for _, s := range sealers() {
		for _, n := range []int{0, 1, 16, 175, 176, 183, 184, 191, 192, 193, 1000} {
			payload := bytes.Repeat([]byte{0xa5}, n)
			text := s.seal('n', payload, now)
			got, ok := s.open('n', text, now)
			if !ok || !bytes.Equal(got, payload) {
				t.Errorf("%s of %d bytes: got %x, %v", s.name, n, got, ok)
			}
		}
	}
}

func TestRefuses(t *testing.T) {
	for _, s := range sealers() {
		text := s.seal('n', []byte("payload"), now)
		for _, c := range []struct {
			what, text string
			kind       byte
			now        time.Time
		}{
			{"another kind", text, 'm', now},
			{"a later moment", text, 'n', now.Add(time.Millisecond)},
			{"nothing", "", 'n', now},
			{"cut short", text[:len(text)-1], 'n', now},
			{"one more letter", text + "A", 'n', now},
			{"padding", text + "=", 'n', now},
			{"a line break", text[:4] + "\n" + text[4:], 'n', now},
		} {
			if got, ok := s.open(c.kind, c.text, c.now); ok {
				t.Errorf("%s, %s: opened to %q", s.name, c.what, got)
			}
		}
	}
}

// Every letter counts: no text but the one that was sealed opens.
func TestRefusesEveryChangedLetter(t *testing.T) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for _, s := range sealers() {
		text := s.seal('n', []byte("payload!"), now.Add(time.Hour))
		for i := range len(text) {
			for _, c := range letters {
				if byte(c) == text[i] {
					continue
				}
				changed := text[:i] + string(c) + text[i+1:]
				if _, ok := s.open('n', changed, now); ok {
					t.Fatalf("%s: letter %d of %s changed to %c: opened", s.name, i, text, c)
				}
				if s.name == "signer" {
					break // one change a letter: a signature takes 50 us
				}
			}
		}
	}
}

func TestAnotherKeyOpensNothing(t *testing.T) {
	text := NewSigner(make([]byte, 32)).Sign('n', nil, now)
	if _, ok := Verify(NewSigner(bytes.Repeat([]byte{1}, 32)).Public(), 'n', text, now); ok {
		t.Error("another signer's key verified it")
	}
	if _, ok := Verify(nil, 'n', text, now); ok {
		t.Error("no key verified it")
	}
}

// What is sealed travels in SIP fields and URIs.
func TestTextNeedsNoQuoting(t *testing.T) {
	for _, s := range sealers() {
		text := s.seal('n', bytes.Repeat([]byte{0xff, 0xfe}, 40), now)
		if i := strings.IndexFunc(text, func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
		}); i >= 0 {
			t.Errorf("%s: %q at %d of %s", s.name, text[i], i, text)
		}
	}
}

// Nothing opens but what was sealed.
func FuzzOpen(f *testing.F) {
	k, s := NewStamps(), NewSigner(make([]byte, 32))
	public := s.Public()
	sealed, signed := string(k.Append(nil, 'n', 1, nil)), s.Sign('n', []byte("x"), now)
	f.Add(sealed)
	f.Add(signed)
	f.Fuzz(func(t *testing.T, text string) {
		if _, ok := k.Open('n', text, nil); ok && text != sealed {
			t.Errorf("the key opened %q", text)
		}
		if _, ok := Verify(public, 'n', text, now); ok && text != signed {
			t.Errorf("the signer's key verified %q", text)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	s := NewSigner(make([]byte, 32))
	text, public := s.Sign('t', make([]byte, 100), now), s.Public()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := Verify(public, 't', text, now); !ok {
			b.Fatal("not verified")
		}
	}
}
