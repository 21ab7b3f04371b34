package transaction

import (
	"strings"
	"sync"
	"testing"
)

// Names are as long as they should be, of letters a token may have, and no two are alike, whoever asks.
func TestTokens(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	count := map[rune]int{}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 5000 {
				tag, id := NewTag(), NewCallID()
				mu.Lock()
				if len(tag) != tagSize || len(id) != callIDSize || seen[tag] || seen[id[:tagSize]] || seen[id[tagSize:]] {
					t.Errorf("got %q and %q", tag, id)
				}
				seen[tag], seen[id[:tagSize]], seen[id[tagSize:]] = true, true, true
				for _, c := range id {
					count[c]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" {
		if n := count[c]; n < 19000 || n > 21000 { // 20,000 expected, 140 is one standard deviation
			t.Errorf("%c came %d times in 640,000", c, n)
		}
		delete(count, c)
	}
	if len(count) != 0 || strings.ContainsFunc(NewTag(), func(r rune) bool { return r == 0 }) {
		t.Errorf("other letters: %v", count)
	}
}

func BenchmarkTag(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		NewTag()
	}
}
