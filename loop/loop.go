// Package loop runs one office: every function given to a Loop runs on one
// goroutine, one after another, so what they share needs no lock (DESIGN 3).
package loop

import (
	"context"
	"errors"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// ErrFull says that the loop has more to do than it may hold: answer 503.
var ErrFull = errors.New("loop full")

// Loop is one event loop. Post may be called from anywhere, everything else from the loop.
type Loop struct {
	lanes   [lanes]chan func() // full: PostTo returns ErrFull, the caller answers 503 or drops
	asks    chan struct{}      // one place per question under way; full: done gets ErrFull
	stopped chan struct{}      // closed when Run has returned
	timers  timers
	began   time.Time // timers count from here
	now     time.Time
	held    int64 // nanos: until then no timer is due
	turns   []func()
	inner   []func()
	turn    func(took time.Duration)
	caught  func(v any, stack []byte)
}

// A loop that comes late by absence was not there: its process was stopped, its machine paused. What others said meanwhile is
// still in the sockets, and the time that passed is no silence of theirs, so it is heard for catchUp before a timer says so.
const (
	absence = time.Second
	catchUp = 200 * time.Millisecond
)

// Lane is a queue of posts. What waits in an earlier one goes first, however long that takes.
type Lane uint8

// The lanes. What the office itself has to do goes in Middle.
const (
	First Lane = iota
	Middle
	Last
	lanes
)

// New makes a loop that holds at most queue posts in each lane and asks questions at once.
func New(queue, asks int) *Loop {
	now := time.Now()
	l := &Loop{asks: make(chan struct{}, asks), stopped: make(chan struct{}), began: now, now: now}
	for i := range l.lanes {
		l.lanes[i] = make(chan func(), queue)
	}
	return l
}

// Watch has turn told how long each turn took, and caught given each panic with its stack. It is
// called before Run. Without caught a panic ends the process, as tests want it.
func (l *Loop) Watch(turn func(took time.Duration), caught func(v any, stack []byte)) {
	l.turn, l.caught = turn, caught
}

// Run runs the loop until ctx ends. What is queued by then is dropped.
func (l *Loop) Run(ctx context.Context) {
	defer close(l.stopped)
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	by := time.Now()
	for {
		l.tick(by)
		wait := time.Hour
		if len(l.timers) > 0 {
			wait = time.Duration(max(l.timers[0].at, l.held) - l.nanos()) // one runtime timer, however many are set
		}
		by = l.now
		fn, more := l.next(ctx, alarm, wait)
		if !more {
			return
		}
		l.tick(by.Add(max(wait, 0)))
		by = l.now // a turn takes next to no time
		if fn != nil {
			l.guard(fn)
		}
		l.finish()
	}
}

// tick reads the time, which should not be long after by.
func (l *Loop) tick(by time.Time) {
	l.now = time.Now()
	if l.now.Sub(by) > absence {
		l.held = l.nanos() + int64(catchUp)
	}
}

// next is the next post, or nil after wait; more is false when ctx has ended. Nobody else takes from the lanes,
// so that what is seen to be there can be had.
func (l *Loop) next(ctx context.Context, alarm *time.Timer, wait time.Duration) (fn func(), more bool) {
	for _, lane := range l.lanes[:Last] {
		if len(lane) > 0 {
			return <-lane, ctx.Err() == nil
		}
	}
	if wait <= 0 { // a timer is due: without the alarm, which under synctest would go off within Reset, where -race cannot follow
		select {
		case fn = <-l.lanes[Last]:
		default:
		}
		return fn, ctx.Err() == nil
	}
	alarm.Reset(wait)
	select {
	case <-ctx.Done():
		return nil, false
	case fn = <-l.lanes[First]:
	case fn = <-l.lanes[Middle]:
	case fn = <-l.lanes[Last]:
	case <-alarm.C:
	}
	return fn, true
}

// finish is the rest of a turn: due timers, what Later queued, and the ends of turns.
func (l *Loop) finish() {
	for len(l.timers) > 0 && max(l.timers[0].at, l.held) <= l.nanos() {
		t := l.timers.pop()
		on := t.on
		t.loop, t.on = nil, nil
		l.alarm(on, t)
	}
	for i := 0; i < len(l.inner); i++ { // one may add others
		l.guard(l.inner[i])
	}
	clear(l.inner)
	l.inner = l.inner[:0]
	for _, fn := range l.turns {
		l.guard(fn)
	}
	if l.turn != nil {
		l.turn(time.Since(l.now))
	}
}

// guard runs fn; the one place where a panic is caught, with alarm, which spares a timer a function.
func (l *Loop) guard(fn func()) {
	if l.caught != nil {
		defer l.catch()
	}
	fn()
}

func (l *Loop) alarm(on Alarm, t *Timer) {
	if l.caught != nil {
		defer l.catch()
	}
	on.Alarm(t)
}

func (l *Loop) catch() {
	if v := recover(); v != nil {
		l.caught(v, debug.Stack())
	}
}

// Post queues fn, from any goroutine. It never blocks: a full queue is ErrFull.
func (l *Loop) Post(fn func()) error { return l.PostTo(Middle, fn) }

// PostTo is Post in a lane.
func (l *Loop) PostTo(lane Lane, fn func()) error {
	select {
	case l.lanes[lane] <- fn:
		return nil
	default:
		return ErrFull
	}
}

// Do runs fn on the loop and waits for it, at most until ctx ends or the loop does. Never from the loop. After an error fn
// has not run and never will, so that what fn writes is the caller's again.
func (l *Loop) Do(ctx context.Context, fn func()) error {
	var taken atomic.Bool // by the loop, or by us, who gave up
	done := make(chan struct{})
	turn := func() {
		if taken.CompareAndSwap(false, true) {
			defer close(done)
			fn()
		}
	}
	var err error
	select {
	case l.lanes[Middle] <- turn:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.stopped:
		return context.Canceled
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-l.stopped:
		err = context.Canceled
	}
	if taken.CompareAndSwap(false, true) {
		return err
	}
	<-done // its turn has come, and no turn waits
	return nil
}

// Deliver queues fn from another goroutine that may wait for a place: the end of a
// question, a commit. It gives up when the loop has ended.
func (l *Loop) Deliver(fn func()) { l.DeliverTo(Middle, fn) }

// DeliverTo is Deliver in a lane.
func (l *Loop) DeliverTo(lane Lane, fn func()) {
	select {
	case l.lanes[lane] <- fn:
	case <-l.stopped:
	}
}

// Later queues fn for the end of this turn, from the loop.
func (l *Loop) Later(fn func()) { l.inner = append(l.inner, fn) }

// Now is the time of this turn, read once.
func (l *Loop) Now() time.Time { return l.now }

// EachTurn calls fn at the end of every turn: one sendmmsg for what the turn wrote.
func (l *Loop) EachTurn(fn func()) { l.turns = append(l.turns, fn) }

// Ask runs question away from the loop, at most for d, and then done on the loop, once. A question that ran out of
// time because nobody was there (absence) is asked once more, so it must be one that may be.
func Ask[T any](l *Loop, d time.Duration, question func(context.Context) (T, error), done func(T, error)) {
	select {
	case l.asks <- struct{}{}:
	default:
		l.Later(func() { var none T; done(none, ErrFull) })
		return
	}
	go func() { // ends with question, which ctx bounds
		began := time.Now()
		v, err := ask(d, question)
		if err != nil && time.Since(began) > d+absence {
			v, err = ask(d, question)
		}
		<-l.asks
		l.Deliver(func() { done(v, err) })
	}()
}

func ask[T any](d time.Duration, question func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return question(ctx)
}
