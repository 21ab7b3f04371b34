package loop

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func run(t *testing.T, l *Loop) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	end := make(chan struct{})
	go func() { l.Run(ctx); close(end) }()
	return func() { cancel(); <-end }
}

// Timer G of RFC 3261 17.2.1 doubles to T2; Ask's question is bounded and answered once.
func TestTimersAndQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(8, 1)
		stop := run(t, l)
		start := time.Now()
		var at []time.Duration
		answered, full := 0, 0
		l.Post(func() {
			var g func(d time.Duration)
			g = func(d time.Duration) {
				l.After(d, func() {
					if at = append(at, l.Now().Sub(start)); len(at) < 6 {
						g(min(2*d, 4*time.Second))
					}
				})
			}
			g(500 * time.Millisecond)
			Ask(l, time.Second, func(ctx context.Context) (int, error) { <-ctx.Done(); return 7, ctx.Err() },
				func(v int, err error) {
					if v != 7 || err == nil || l.Now().Sub(start) != time.Second {
						t.Errorf("got %d, %v after %v", v, err, l.Now().Sub(start))
					}
					answered++
				})
			Ask(l, time.Second, func(context.Context) (int, error) { return 0, nil },
				func(_ int, err error) {
					if err == ErrFull {
						full++
					}
				})
		})
		time.Sleep(40 * time.Second)
		synctest.Wait()
		stop()
		want := []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 3500 * time.Millisecond, 7500 * time.Millisecond, 11500 * time.Millisecond, 15500 * time.Millisecond}
		if len(at) != len(want) {
			t.Fatalf("fired at %v, want %v", at, want)
		}
		for i := range want {
			if at[i] != want[i] {
				t.Errorf("fired at %v, want %v", at, want)
			}
		}
		if answered != 1 || full != 1 {
			t.Errorf("answered %d, full %d, want 1 and 1", answered, full)
		}
	})
}

func TestStoppedTimerLeavesNothing(t *testing.T) {
	l := New(1, 1)
	fired := false
	a := l.After(time.Second, func() { fired = true })
	b := l.After(2*time.Second, func() {})
	a.Stop()
	a.Stop()
	if got := l.Timers(); got != 1 {
		t.Errorf("timers %d, want 1", got)
	}
	b.Stop()
	(*Timer)(nil).Stop()
	if got := l.Timers(); got != 0 || fired {
		t.Errorf("timers %d, fired %v", got, fired)
	}
}

func TestPanicEndsOneTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(8, 1)
		var caught any
		l.Watch(nil, func(v any, _ []byte) { caught = v })
		stop := run(t, l)
		after := false
		l.Post(func() { panic("ours") })
		l.Post(func() { after = true })
		synctest.Wait()
		stop()
		if caught != "ours" || !after {
			t.Errorf("caught %v, served after it %v", caught, after)
		}
	})
}

// TestDoGivenUp: what Do gave up is not run behind its back; what runs by then is waited for.
func TestDoGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(8, 1)
		defer run(t, l)()
		for _, c := range []struct {
			name           string
			before, inside time.Duration // how long the loop is busy until fn's turn, and with it
			ran            bool
		}{{"waits for its turn", 2 * time.Second, 0, false}, {"has its turn", 0, 2 * time.Second, true}} {
			l.Post(func() { time.Sleep(c.before) })
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			ran := false // no lock: that is the promise
			err := l.Do(ctx, func() { time.Sleep(c.inside); ran = true })
			if got := ran; got != c.ran || (err == nil) != c.ran {
				t.Errorf("%s: ran %v, %v, want %v", c.name, got, err, c.ran)
			}
			cancel()
			time.Sleep(3 * time.Second)
			if ran != c.ran {
				t.Errorf("%s: ran %v once Do had returned %v", c.name, ran, err)
			}
		}
	})
}

func TestFullIsSaid(t *testing.T) {
	l := New(1, 1)
	if err := l.Post(func() {}); err != nil {
		t.Fatal(err)
	}
	if err := l.Post(func() {}); err != ErrFull {
		t.Errorf("got %v, want ErrFull", err)
	}
}

// What waits in an earlier lane goes first; the end is seen however much waits.
func TestLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(3, 1)
		var order []int
		for i, lane := range []Lane{Last, Middle, First, Last, Middle, First} {
			if err := l.PostTo(lane, func() { order = append(order, i) }); err != nil {
				t.Fatal(err)
			}
		}
		stop := run(t, l)
		synctest.Wait()
		if want := []int{2, 5, 1, 4, 0, 3}; !slices.Equal(order, want) {
			t.Errorf("ran %v, want %v", order, want)
		}
		var again func()
		again = func() { l.PostTo(First, again) }
		again()
		stop()
		for l.PostTo(First, func() {}) == nil {
		}
		if err := l.Post(func() {}); err != nil {
			t.Errorf("a full lane fills another: %v", err)
		}
	})
}
