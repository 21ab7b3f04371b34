package loop

import (
	"context"
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

// TestAskedAgain: a question whose time passed while the process stood still is asked once more; one that was only slow is not.
func TestAskedAgain(t *testing.T) {
	for late, want := range map[time.Duration]int{0: 1, 10 * time.Second: 2} {
		synctest.Test(t, func(t *testing.T) {
			l := New(8, 1)
			stop := run(t, l)
			asked, answered := 0, 0
			l.Post(func() {
				Ask(l, time.Second, func(ctx context.Context) (int, error) {
					asked++
					<-ctx.Done()
					if asked == 1 {
						time.Sleep(late)
					}
					return 0, ctx.Err()
				}, func(int, error) { answered++ })
			})
			time.Sleep(20 * time.Second)
			synctest.Wait()
			stop()
			if asked != want || answered != 1 {
				t.Errorf("%v late: asked %d times, answered %d times, want %d and 1", late, asked, answered, want)
			}
		})
	}
}
