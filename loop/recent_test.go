package loop

import (
	"testing"
	"testing/synctest"
	"time"
)

// Each key is there for its time and not longer, also when another value was put under it, and nothing is left.
func TestRecent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(8, 1)
		defer run(t, l)()
		do := func(fn func()) {
			t.Helper()
			if err := l.Do(t.Context(), fn); err != nil {
				t.Fatal(err)
			}
		}
		r := NewRecent[int](l, 5*time.Second, 1<<20)
		const n = 3000
		do(func() {
			for i := range n {
				r.Put(uint64(i), i)
			}
		})
		time.Sleep(3 * time.Second)
		do(func() {
			r.Put(n, n)
			r.Put(7, -7)
			if v, found := r.Get(7); !found || v != -7 || r.Len() != n+1 {
				t.Errorf("got %d, %v of %d, want -7 of %d", v, found, r.Len(), n+1)
			}
		})
		time.Sleep(2 * time.Second)
		do(func() {
			if _, found := r.Get(7); found || r.Len() != 1 {
				t.Errorf("%d are left, want the one put later", r.Len())
			}
		})
		time.Sleep(3 * time.Second)
		do(func() {
			if r.Len() != 0 || l.Timers() != 0 || r.queue.n != 0 {
				t.Errorf("left %d values, %d timers", r.Len(), l.Timers())
			}
			r.Put(7, 1) // the queue's memory is used again
			if v, found := r.Get(7); !found || v != 1 {
				t.Errorf("got %d, %v", v, found)
			}
		})
	})
}

// When there are too many the oldest go.
func TestRecentIsBounded(t *testing.T) {
	r := NewRecent[struct{}](New(1, 1), time.Minute, 2000)
	for i := range uint64(10_000) {
		r.Put(i, struct{}{})
		if r.Len() != min(int(i)+1, 2000) || r.queue.n != r.Len() {
			t.Fatalf("%d, %d in the queue after %d", r.Len(), r.queue.n, i+1)
		}
	}
	_, old := r.Get(7999)
	_, young := r.Get(8000)
	if old || !young {
		t.Errorf("the oldest is there: %v, a young one: %v", old, young)
	}
}

// BenchmarkRecent puts a key among a quarter of a million, one of which goes for it.
func BenchmarkRecent(b *testing.B) {
	r := NewRecent[[3]uint64](New(1, 1), time.Minute, 1<<18)
	key := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		key += 0x9e3779b97f4a7c15
		r.Put(key, [3]uint64{})
	}
}
