package transaction

import (
	"hash/maphash"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// When messages come faster than the loop takes them, those go first that should (loop.Lane), and of the rest what
// waits too long is refused at once, on the reader's goroutine, which costs a hundredth of a call. Whoever waits longer than
// T1 is repeated while he waits, and all the work would go into repetitions (RFC 5390): so it is the wait that
// decides, and a count behind it, for memory.

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

// limits are, by rank, how many messages may wait in its lane when one more comes, and how long the last ones may have
// waited there that the loop took; 0: however long.
var limits = [ranks]struct {
	lane  loop.Lane
	count int64
	wait  time.Duration
}{
	newcomer: {loop.Last, 4096, 60 * time.Millisecond}, unknown: {loop.Last, 6144, 0},
	regular: {loop.Middle, 8192, 150 * time.Millisecond}, underWay: {loop.First, 16384, 0}, emergency: {loop.First, 16384, 0},
}

// few is how many may wait without anybody asking who they are, and how long they do.
const few = 64

// queue is what the readers know of the loop.
type queue struct {
	lanes [loop.Last + 1]lane

	vouched   func(roam.Flow) bool  // the flow carries a registration
	emergency func(uri []byte) bool // the Request-URI of an emergency call
	scratch   sync.Pool             // of *scratch
}

// lane is what waits in one of the loop's.
type lane struct {
	count atomic.Int64 // messages posted and not yet taken
	wait  atomic.Int64 // nanoseconds; the shortest wait of the last window, or of this one if that is shorter

	ends  time.Time // of this window; the loop's alone, as the next
	least int64     // wait in it
}

// window is how long a lane must be slow for its wait to count (RFC 8289 has the same): one long turn is
// made up for by itself.
const window = 100 * time.Millisecond

// scratch is what a reader needs to sort a batch, and to refuse.
type scratch struct {
	w       sip.Writer
	key     []byte
	sorted  [loop.Last + 1][]*sip.Message
	refused []*sip.Message
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
func (q *queue) regular(f *sip.Flow) bool { return f.Office() != "" || q.vouched(f.Flow) }

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
	l := &limits[r]
	at := &q.lanes[l.lane]
	n := at.count.Load()
	return n >= l.count || l.wait > 0 && n >= few && at.wait.Load() > int64(l.wait)
}

// pressed says that it matters who somebody is.
func (q *queue) pressed() bool {
	for i := range q.lanes {
		if q.lanes[i].count.Load() >= few {
			return true
		}
	}
	return false
}

// began notes that the loop takes n messages that were posted at some time.
func (l *lane) began(n int, posted time.Time) {
	now := time.Now()
	waited := int64(now.Sub(posted))
	if now.After(l.ends) {
		l.wait.Store(l.least)
		l.ends, l.least = now.Add(window), waited
	}
	l.least = min(l.least, waited)
	if l.least < l.wait.Load() {
		l.wait.Store(l.least)
	}
	l.count.Add(int64(-n))
}

// Receive is transport.Receiver's. When there is too much to do, what goes last is answered 503 here, or
// dropped. Nothing on a connection that goes on with something is: its reader waits.
func (l *Layer) Receive(batch []*sip.Message, release func()) {
	if l.queue.pressed() {
		l.receivePressed(batch, release)
	} else {
		l.post(loop.Middle, batch, release)
	}
}

// post has the loop take messages that are given back with release.
func (l *Layer) post(to loop.Lane, batch []*sip.Message, release func()) {
	at, n, posted := &l.queue.lanes[to], len(batch), time.Now()
	at.count.Add(int64(n))
	turn := func() {
		at.began(n, posted)
		for _, m := range batch {
			l.one(m)
		}
		l.loop.Later(release) // messages are valid until the turn ends
	}
	switch {
	case l.loop.PostTo(to, turn) == nil:
	case batch[0].Flow.Transport.Stream(): // all of a batch are of one connection then
		l.loop.DeliverTo(to, turn)
	default:
		at.count.Add(int64(-n))
		for _, m := range batch {
			l.unheard(m)
		}
		release()
	}
}

// receivePressed sorts a batch into lanes, and refuses whom there is no room for. The order in a lane stays, and so
// does the array, which is the transport's.
func (l *Layer) receivePressed(batch []*sip.Message, release func()) {
	s := l.queue.scratch.Get().(*scratch)
	l.sort(s, batch)
	var parts [loop.Last + 1][]*sip.Message
	rest, left := batch, int32(0)
	for i, ms := range s.sorted {
		parts[i], rest = rest[:copy(rest, ms)], rest[len(ms):]
		if len(ms) > 0 {
			left++
		}
	}
	copy(rest, s.refused)
	for _, m := range rest {
		l.unheard(m)
	}
	l.queue.scratch.Put(s)
	done := release
	switch left {
	case 0:
		release()
	case 1:
	default: // the last one of them gives the batch back
		var begun atomic.Int32
		done = func() {
			if begun.Add(1) == left {
				release()
			}
		}
	}
	for i, ms := range parts {
		if len(ms) > 0 {
			l.post(loop.Lane(i), ms, done)
		}
	}
}

// sort says in s which lane each takes. A CANCEL must not overtake its INVITE.
func (l *Layer) sort(s *scratch, batch []*sip.Message) {
	for i := range s.sorted {
		s.sorted[i] = s.sorted[i][:0]
	}
	s.refused = s.refused[:0]
	for _, m := range batch {
		r := l.queue.rank(m)
		to := limits[r].lane
		switch {
		case l.queue.full(r) && !(r == underWay && m.Flow.Transport.Stream()), m.Method() == sip.ACK && l.ofUnheard(m):
			s.refused = append(s.refused, m)
			continue
		case r == underWay && m.Method() == sip.CANCEL && m.IsRequest():
			to = loop.Middle
		}
		s.sorted[to] = append(s.sorted[to], m)
	}
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
	s.w.Add(sip.RetryAfter, sip.Spread(busyFor))
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

// busyFor is after how many seconds, about, a request that there was no time for is worth another try.
const busyFor = 10

// room is how many transactions there may be for m to begin one: the last eighth is for those who go first.
func (l *Layer) room(m *sip.Message) int {
	strangers := l.most - l.most/8
	if l.underWay() < strangers || l.queue.rank(m) < regular {
		return strangers
	}
	return l.most
}
