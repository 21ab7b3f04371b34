package loop

import "time"

// Timer is a call to come. The zero Timer is one that is not set; it is made to be a field of what it
// belongs to, so that setting it allocates nothing: a call through the office sets some twelve, and
// stops nearly all of them before they are due (BenchmarkTimers). It must not be copied while it is set.
type Timer struct {
	loop *Loop // nil: not set
	on   Alarm
	i    int32 // where in loop.timers
}

// Alarm is told when a Timer of its own is due; t says which. By then t is not set any more.
type Alarm interface{ Alarm(t *Timer) }

// Func is an Alarm for what has but one Timer, or none to keep.
type Func func()

// Alarm calls f.
func (f Func) Alarm(*Timer) { f() }

// Set has on told on the loop when d has passed, instead of what t was set for. From the loop, or before Run.
func (l *Loop) Set(t *Timer, d time.Duration, on Alarm) {
	t.Stop()
	t.loop, t.on = l, on
	l.timers.push(due{l.nanos() + int64(d), t})
}

// After calls fn on the loop when d has passed. From the loop, or before Run.
func (l *Loop) After(d time.Duration, fn func()) *Timer {
	t := new(Timer)
	l.Set(t, d, Func(fn))
	return t
}

// Stop forgets the call. It may be called on nil, on a Timer that is not set, and more than once.
func (t *Timer) Stop() {
	if t == nil || t.loop == nil {
		return
	}
	t.loop.timers.remove(int(t.i))
	t.loop, t.on = nil, nil
}

// IsSet says that the call is to come.
func (t *Timer) IsSet() bool { return t.loop != nil }

// Timers is how many calls are to come.
func (l *Loop) Timers() int { return len(l.timers) }

// nanos is the time of this turn as timers count it.
func (l *Loop) nanos() int64 { return int64(l.now.Sub(l.began)) }

// due is when a timer is due.
type due struct {
	at int64 // nanoseconds since Loop.began
	t  *Timer
}

// timers is a heap of four children a node: the next due is the first. Times stand beside the
// pointers, so that looking for a place reads no Timer.
type timers []due

func (h *timers) push(d due) {
	*h = append(*h, d)
	h.up(len(*h)-1, d)
}

// pop takes the first out, which there must be.
func (h *timers) pop() *Timer {
	t := (*h)[0].t
	h.remove(0)
	return t
}

func (h *timers) remove(i int) {
	all := *h
	last := all[len(all)-1]
	all[len(all)-1] = due{}
	*h = all[:len(all)-1]
	if i == len(all)-1 {
		return
	}
	if i > 0 && last.at < all[(i-1)/4].at {
		h.up(i, last)
	} else {
		h.down(i, last)
	}
}

// up puts d in at i or further up.
func (h timers) up(i int, d due) {
	for i > 0 {
		parent := (i - 1) / 4
		if h[parent].at <= d.at {
			break
		}
		h.put(i, h[parent])
		i = parent
	}
	h.put(i, d)
}

// down puts d in at i or further down.
func (h timers) down(i int, d due) {
	for {
		first := 4*i + 1
		if first >= len(h) {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, len(h)); c++ {
			if h[c].at < h[least].at {
				least = c
			}
		}
		if d.at <= h[least].at {
			break
		}
		h.put(i, h[least])
		i = least
	}
	h.put(i, d)
}

func (h timers) put(i int, d due) { h[i], d.t.i = d, int32(i) }
