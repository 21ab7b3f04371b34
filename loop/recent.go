package loop

import "time"

// Recent remembers a value by each key for a fixed time, and no more than a number of them: when there are
// too many the oldest go first. It is for what a procedure leaves behind by the hundred thousand: since all
// stay equally long, they go in the order they came, and a queue does for a heap of timers. Without a pointer in
// V the garbage collector looks into none of it. Keys are hashes under a seed of the process.
// Everything runs on the loop.
type Recent[V any] struct {
	loop  *Loop
	keep  time.Duration
	most  int
	at    map[uint64]V
	queue queue
	next  Timer // to the first of queue
}

// coalesce is how much later than due a value may go when many do, so that there is a timer's turn for all
// of them, not one for each.
const coalesce = int64(20 * time.Millisecond)

// NewRecent remembers at most most values, each for keep.
func NewRecent[V any](l *Loop, keep time.Duration, most int) *Recent[V] {
	return &Recent[V]{loop: l, keep: keep, most: most, at: map[uint64]V{}}
}

// Len is how many are remembered.
func (r *Recent[V]) Len() int { return len(r.at) }

// Get is the value of key; found is false when there was none, or not lately.
func (r *Recent[V]) Get(key uint64) (v V, found bool) {
	v, found = r.at[key]
	return v, found
}

// Put remembers v. A key that is there takes v and is forgotten no later.
func (r *Recent[V]) Put(key uint64, v V) {
	if _, found := r.at[key]; !found {
		if len(r.at) >= r.most {
			delete(r.at, r.queue.pop().key)
		}
		r.queue.push(passing{key, r.loop.nanos() + int64(r.keep)})
		if !r.next.IsSet() {
			r.loop.Set(&r.next, r.keep, r)
		}
	}
	r.at[key] = v
}

// Alarm forgets what is due.
func (r *Recent[V]) Alarm(*Timer) {
	now := r.loop.nanos()
	for r.queue.n > 0 && r.queue.first().until <= now {
		delete(r.at, r.queue.pop().key)
	}
	if r.queue.n == 0 {
		r.at = map[uint64]V{} // a map keeps the room it had at its fullest
		return
	}
	r.loop.Set(&r.next, time.Duration(max(r.queue.first().until-now, coalesce)), r)
}

// passing is a key and when it goes.
type passing struct {
	key   uint64
	until int64 // as Loop.nanos
}

// block is a piece of a queue: a queue that grows copies nothing.
type block struct {
	all  [1024]passing
	next *block
}

// queue is first in, first out. The zero queue is empty.
type queue struct {
	n          int
	head, tail *block
	from, to   int    // in head the first, in tail the place after the last
	spare      *block // the last that was emptied
}

func (q *queue) first() passing { return q.head.all[q.from] }

func (q *queue) push(p passing) {
	if q.n == 0 && q.tail == nil || q.to == len(block{}.all) {
		b := q.spare
		if q.spare = nil; b == nil {
			b = new(block)
		}
		if q.tail == nil {
			q.head, q.from = b, 0
		} else {
			q.tail.next = b
		}
		q.tail, q.to = b, 0
	}
	q.tail.all[q.to] = p
	q.to++
	q.n++
}

// pop takes the first out, which there must be.
func (q *queue) pop() passing {
	p := q.first()
	q.from++
	q.n--
	switch {
	case q.n == 0:
		*q = queue{spare: q.head}
		q.spare.next = nil
	case q.from == len(block{}.all):
		b := q.head
		q.head, q.from = b.next, 0
		b.next, q.spare = nil, b
	}
	return p
}
