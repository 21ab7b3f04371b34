package transaction

import (
	"hash/maphash"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// When messages come faster than the loop takes them, those wait that it should take first, and the rest is refused at
// once, on the reader's goroutine, which costs a hundredth of a call. Whoever waited longer than T1 would be
// repeated while he waits, and all the work would go into repetitions (RFC 5390): so it is the wait that decides, and
// a count behind it, for memory.

// rank is who goes first; later ones do.
type rank uint8

const (
	newcomer  rank = iota // a stranger begins something
	unknown               // a stranger goes on with something: perhaps with nothing
	regular               // a partner, a flow that carries a registration, or an emergency call begins something
	underWay              // one of them goes on: ACK, CANCEL, BYE, a response
	emergency             // an emergency call
	ranks
)

// limits are, by rank, how many messages may wait when one more comes, and how long the last one that the loop
// took may have waited; 0: however long.
var limits = [ranks]struct {
	count int64
	wait  time.Duration
}{
	newcomer: {4096, 60 * time.Millisecond}, unknown: {6144, 0}, regular: {8192, 200 * time.Millisecond},
	underWay: {16384, 0}, emergency: {16384, 0},
}

// few is how many may wait without anybody looking how long.
const few = 64

// queue is what the readers know of the loop.
type queue struct {
	count atomic.Int64 // messages posted and not yet taken
	wait  atomic.Int64 // nanoseconds that the batch taken last had waited

	vouched   func(roam.Flow) bool  // the flow carries a registration
	emergency func(uri []byte) bool // the Request-URI of an emergency call
	scratch   sync.Pool             // of *scratch
}

// scratch is what a reader needs to refuse.
type scratch struct {
	w   sip.Writer
	key []byte
}

func newQueue() *queue {
	return &queue{vouched: func(roam.Flow) bool { return true }, emergency: func([]byte) bool { return false },
		scratch: sync.Pool{New: func() any { return &scratch{} }}}
}

// First says who goes first when there is too much to do, partners beside: flows that are vouched for, and
// emergency calls. Both are called from any goroutine. Until it is called everybody is vouched for.
func (l *Layer) First(vouched func(roam.Flow) bool, emergency func(uri []byte) bool) {
	l.queue.vouched, l.queue.emergency = vouched, emergency
}

// regular says that f is a partner's, or carries a registration.
func (q *queue) regular(f *sip.Flow) bool { return f.Partner != "" || q.vouched(f.Flow) }

// rank is m's.
func (q *queue) rank(m *sip.Message) rank {
	goesOn := !m.IsRequest() || m.Method() == sip.ACK || m.Method() == sip.CANCEL || m.ToTag() != ""
	switch known := q.regular(m.Flow); {
	case known && goesOn:
		return underWay
	case goesOn:
		return unknown
	case m.Method() == sip.INVITE && q.emergency(m.RequestURI()):
		return emergency
	case known:
		return regular
	}
	return newcomer
}

// full says that one of rank r has to be refused.
func (q *queue) full(r rank) bool {
	n, l := q.count.Load(), &limits[r]
	return n >= l.count || l.wait > 0 && n >= few && q.wait.Load() > int64(l.wait)
}

// began notes that the loop takes n messages that were posted at some time.
func (q *queue) began(n int, posted time.Time) {
	q.wait.Store(int64(time.Since(posted)))
	q.count.Add(int64(-n))
}

// Receive is transport.Receiver's. When there is too much to do, what goes last is answered 503 here, or
// dropped. Nothing on a connection that goes on with something is: its reader waits.
func (l *Layer) Receive(batch []*sip.Message, release func()) {
	q := l.queue
	if q.full(newcomer) { // else nobody is
		batch = l.shed(batch)
	}
	if len(batch) == 0 {
		release()
		return
	}
	n, posted := len(batch), time.Now()
	q.count.Add(int64(n))
	turn := func() {
		q.began(n, posted)
		for _, m := range batch {
			l.one(m)
		}
		l.loop.Later(release) // messages are valid until the turn ends
	}
	switch {
	case l.loop.Post(turn) == nil:
	case batch[0].Flow.Transport.Stream(): // all of a batch are of one connection then
		l.loop.Deliver(turn)
	default:
		q.count.Add(int64(-n))
		for _, m := range batch {
			l.unheard(m)
		}
		release()
	}
}

// shed refuses those of a batch that there is no room for, and gives the others. All stay in the array, which is the
// transport's.
func (l *Layer) shed(batch []*sip.Message) []*sip.Message {
	n := 0
	for i, m := range batch {
		r := l.queue.rank(m)
		if l.queue.full(r) && !(r == underWay && m.Flow.Transport.Stream()) || m.Method() == sip.ACK && l.ofUnheard(m) {
			l.unheard(m)
			continue
		}
		batch[n], batch[i] = batch[i], batch[n]
		n++
	}
	return batch[:n]
}

// unheard refuses what the loop will not see, without state: repeated, it gets the same tag (8.2.7). What goes on with
// something is dropped, and its sender repeats it: answered, he would take his call for ended. So is a REGISTER over
// UDP: Timer E repeats it, and phones ignore Retry-After on it.
func (l *Layer) unheard(m *sip.Message) {
	if m.Method() == sip.ACK { // nobody's loss: of a refusal of ours, or its 2xx comes again
		return
	}
	l.overload.Add(1, "loop")
	if !m.IsRequest() || m.Method() == sip.CANCEL || m.ToTag() != "" || m.Method() == sip.REGISTER && !m.Flow.Transport.Stream() {
		return
	}
	s := l.queue.scratch.Get().(*scratch)
	defer l.queue.scratch.Put(s)
	s.w.Response(m, 503, "", l.unheardTag(s, m))
	s.w.Add(sip.RetryAfter, retryAfter())
	if s.w.End("", nil) == nil && (!sip.Amplifies(m, s.w.Bytes()) || m.Flow.Transport.Stream() || l.queue.regular(m.Flow)) {
		_ = l.sender.Send(m.Flow, s.w.Bytes()) // leaves at the end of the loop's turn; repeated if lost
	}
}

// unheardTag is the tag of a request that is refused unheard, and of its ACK.
func (l *Layer) unheardTag(s *scratch, m *sip.Message) string {
	method := m.Method()
	if method == sip.ACK {
		method = sip.INVITE
	}
	s.key = appendServerKey(s.key[:0], m, method)
	return strconv.FormatUint(maphash.Bytes(l.seed, s.key), 36)
}

// ofUnheard says that an ACK belongs to an INVITE that was refused unheard.
func (l *Layer) ofUnheard(m *sip.Message) bool {
	s := l.queue.scratch.Get().(*scratch)
	defer l.queue.scratch.Put(s)
	return m.ToTag() == l.unheardTag(s, m)
}

// retryAfter is spread, so that they do not all come back at once.
func retryAfter() string { return strconv.Itoa(5 + rand.IntN(11)) }

// room is how many transactions there may be for m to begin one: the last eighth is for those who go first.
func (l *Layer) room(m *sip.Message) int {
	strangers := l.most - l.most/8
	if l.underWay() < strangers || l.queue.rank(m) < regular {
		return strangers
	}
	return l.most
}
