package loop

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Timers set and stopped at random are due in the order of their times, each once, and the rest never.
func TestTimersInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(8, 1)
		stop := run(t, l)
		start := time.Now()
		var got, want []time.Duration
		l.Post(func() {
			var all [500]Timer
			at := make([]time.Duration, len(all))
			for range 5000 {
				i := rand.IntN(len(all))
				if rand.IntN(3) == 0 {
					all[i].Stop()
					at[i] = 0
					continue
				}
				at[i] = time.Duration(1+rand.IntN(1000)) * time.Millisecond
				l.Set(&all[i], at[i], Func(func() { got = append(got, l.Now().Sub(start)) }))
			}
			for i := range all {
				if all[i].IsSet() != (at[i] != 0) {
					t.Errorf("timer %d is set: %v", i, all[i].IsSet())
				}
				if at[i] != 0 {
					want = append(want, at[i])
				}
			}
			if l.Timers() != len(want) {
				t.Errorf("%d timers, want %d", l.Timers(), len(want))
			}
		})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		stop()
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("due at %v, want %v", got, want)
		}
	})
}

// BenchmarkTimers sets and stops one, as a transaction does, among a thousand others.
func BenchmarkTimers(b *testing.B) {
	l := New(1, 1)
	for range 1000 {
		l.After(time.Duration(rand.IntN(1000))*time.Millisecond, func() {})
	}
	var t Timer
	none := Func(func() {})
	b.ReportAllocs()
	for b.Loop() {
		l.Set(&t, 500*time.Millisecond, none)
		t.Stop()
	}
}
