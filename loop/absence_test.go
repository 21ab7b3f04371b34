package loop

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestAbsence: a loop that stood still for ten seconds hears the answer that had come meanwhile before the timer that would
// have given it up; after a short delay it does not wait for anything.
func TestAbsence(t *testing.T) {
	for still, want := range map[time.Duration][]string{10 * time.Second: {"answer", "silence"}, 500 * time.Millisecond: {"silence", "answer"}} {
		synctest.Test(t, func(t *testing.T) {
			l := New(8, 1)
			stop := run(t, l)
			var got []string
			l.Post(func() {
				l.After(100*time.Millisecond, func() { got = append(got, "silence") })
				time.Sleep(still)
			})
			time.Sleep(still + 50*time.Millisecond) // the reader wakes up, too
			l.Post(func() { got = append(got, "answer") })
			time.Sleep(time.Second)
			synctest.Wait()
			stop()
			if !slices.Equal(got, want) {
				t.Errorf("stood still for %v: got %v, want %v", still, got, want)
			}
		})
	}
}

// TestLateTimers: timers that were due meanwhile go off in their order, once the loop has heard, and later ones at their time.
func TestLateTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(8, 1)
		stop := run(t, l)
		start := time.Now()
		var at []time.Duration
		note := func() { at = append(at, l.Now().Sub(start)) }
		l.Post(func() {
			l.After(3*time.Second, note)
			l.After(time.Second, note)
			l.After(12*time.Second, note)
			time.Sleep(10 * time.Second)
		})
		time.Sleep(20 * time.Second)
		synctest.Wait()
		stop()
		if want := []time.Duration{10200 * time.Millisecond, 10200 * time.Millisecond, 12 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("got %v, want %v", at, want)
		}
	})
}
