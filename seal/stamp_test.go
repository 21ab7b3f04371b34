package seal

import (
	"strings"
	"testing"
)

func TestStamp(t *testing.T) {
	k := NewStamps()
	for _, n := range []uint64{0, 1, 1 << 40, 1<<64 - 1} {
		text := string(k.Append([]byte("x"), 'n', n, []byte("about")))[1:]
		if len(text) != StampLen {
			t.Errorf("%d: got %d octets, want %d", n, len(text), StampLen)
		}
		if got, ok := k.Open('n', text, []byte("about")); !ok || got != n {
			t.Errorf("%s: got %d, %v, want %d", text, got, ok, n)
		}
	}
}

func TestStampRefuses(t *testing.T) {
	k := NewStamps()
	text := string(k.Append(nil, 'n', 7, []byte("about")))
	for _, c := range []struct {
		what, text string
		kind       byte
		about      string
	}{
		{"another kind", text, 'm', "about"},
		{"about something else", text, 'n', "abouT"},
		{"about nothing", text, 'n', ""},
		{"nothing", "", 'n', "about"},
		{"cut short", text[:StampLen-1], 'n', "about"},
		{"one more letter", text + "A", 'n', "about"},
		{"a line break", text[:StampLen-1] + "\n", 'n', "about"},
		{"a line break more", text + "\n", 'n', "about"},
		{"another alphabet", strings.Repeat("+", StampLen), 'n', "about"},
		{"of another key", string(NewStamps().Append(nil, 'n', 7, []byte("about"))), 'n', "about"},
	} {
		if n, ok := k.Open(c.kind, c.text, []byte(c.about)); ok {
			t.Errorf("%s: got %d, want none", c.what, n)
		}
	}
	for i := range text {
		for _, c := range []byte("A_") {
			if changed := text[:i] + string(c) + text[i+1:]; changed != text {
				if n, ok := k.Open('n', changed, []byte("about")); ok {
					t.Errorf("octet %d changed: got %d, want none", i, n)
				}
			}
		}
	}
}

func BenchmarkStamp(b *testing.B) {
	k, about := NewStamps(), make([]byte, 8)
	text := string(k.Append(nil, 'n', 1, about))
	b.Run("make", func(b *testing.B) {
		b.ReportAllocs()
		var room [StampLen]byte
		for n := uint64(2); b.Loop(); n++ {
			k.Append(room[:0], 'n', n, about)
		}
	})
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := k.Open('n', text, about); !ok {
				b.Fatal("refused")
			}
		}
	})
}
