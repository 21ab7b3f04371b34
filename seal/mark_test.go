package seal

import (
	"bytes"
	"testing"
)

func marks(b byte) *Marks { return NewMarks(bytes.Repeat([]byte{b}, 32)) }

func TestMarksOpenWhatTheyMade(t *testing.T) {
	k := marks(7)
	for _, n := range []int{0, 1, 15, 16, 17, 500} {
		payload := bytes.Repeat([]byte{0xa5}, n)
		text := k.Mark('f', payload)
		got, ok := k.Open('f', text)
		if !ok || !bytes.Equal(got, payload) {
			t.Errorf("%d bytes: got %x, %v", n, got, ok)
		}
		if again := marks(7).Mark('f', payload); again != text {
			t.Errorf("%d bytes: got %q, then %q, want a name that stays", n, text, again)
		}
	}
}

func TestMarksRefuse(t *testing.T) {
	k := marks(7)
	text := k.Mark('f', []byte("payload"))
	for what, s := range map[string]string{
		"nothing": "", "cut short": text[:len(text)-1], "one more letter": text + "A", "padding": text + "=", "a line break": text[:4] + "\n" + text[4:],
		"another key": marks(8).Mark('f', []byte("payload")), "another kind": k.Mark('g', []byte("payload")), "a MAC alone": text[:21],
	} {
		if got, ok := k.Open('f', s); ok {
			t.Errorf("%s: opened to %q", what, got)
		}
	}
	for i := range len(text) {
		changed := []byte(text)
		if changed[i]++; changed[i] == '[' || changed[i] == '{' || changed[i] == ':' {
			changed[i] = '-'
		}
		if _, ok := k.Open('f', string(changed)); ok {
			t.Fatalf("letter %d changed: opened", i)
		}
	}
}
