package metric

import (
	"testing"
	"time"
)

// TestSeldom: a line a minute for each kind, which says how many came since the last.
func TestSeldom(t *testing.T) {
	var s Seldom
	now := time.Date(2026, 11, 25, 1, 0, 0, 0, time.UTC)
	lines, all := 0, uint64(0)
	for range 10_000 { // one every 50 ms for 500 s
		for _, kind := range []string{"ticket west", "ticket south"} {
			if since, yes := s.Worth(now, kind); yes {
				lines++
				all += since + 1
			}
		}
		now = now.Add(50 * time.Millisecond)
	}
	if lines != 2*9 {
		t.Errorf("got %d lines in 500 s, want 9 for each kind", lines)
	}
	if all != 2*9601 { // but for what came after the last
		t.Errorf("the lines tell of %d, want of all until the last line", all)
	}
	for i := range 3 * mostKinds {
		s.Worth(now, string(rune(i)))
	}
	if len(s.said) > mostKinds {
		t.Errorf("got %d kinds remembered, want at most %d", len(s.said), mostKinds)
	}
}
