package transaction

import (
	"time"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/sip"
)

// An answered transaction must absorb or answer repetitions for up to 32 s (Timers D, I, J, K, L), and at
// 4,000 calls a second a third of a million of them wait for that. So none keeps its Server or attempt, its
// request or a timer: a hash of its name stays, and what a repetition is answered with, in queues
// that cost no timer and that the garbage collector does not look into (loop.Recent). Two names
// meet in 64 bits under a seed of the process about once in the lifetime of an office; a request is lost then.

// leftoversMost is how many of each kind are kept; it bounds them at some 30 MB a kind. Beyond, the oldest go first, which
// have been quiet longest: who sent the request has had the answer long ago, or has given up. A repetition
// that comes all the same is a new request: a BYE gets 481, which ends as much as 200 does (15.1.2), and an INVITE
// is not repeated once its 100 has arrived (17.1.1.2).
const leftoversMost = 1 << 19

// packetsMost is how many answers and ACKs are kept as they were, some 30 MB; few are.
const packetsMost = 1 << 16

// answer is what a repetition of an answered request gets: nothing when code is 0, else what the first one got,
// written again from the repetition, which is the same request. tag is our To tag, unless it has one.
type answer struct {
	tag  [tagSize]byte
	code uint16
}

// packet is an answer, or an ACK, that cannot be written again from what is answered with it.
type packet struct {
	flow *sip.Flow
	b    []byte
}

// leftover is what server transactions leave for one time: by serverKey, and by mergeKey (8.2.2.2).
type leftover struct {
	answers *loop.Recent[answer]
	merged  *loop.Recent[struct{}]
}

func newLeftover(l *loop.Loop, keep time.Duration) leftover {
	return leftover{loop.NewRecent[answer](l, keep, leftoversMost), loop.NewRecent[struct{}](l, keep, leftoversMost)}
}

// put keeps what s, which has ended, leaves: an answer with code, 0 for none.
func (o *leftover) put(s *Server, code int) {
	a := answer{code: uint16(code)}
	copy(a.tag[:], s.tag)
	o.answers.Put(s.key, a)
	if s.merge != 0 {
		o.merged.Put(s.merge, struct{}{})
	}
}

// repeated takes a request whose transaction is answered; found is false when there is none.
func (l *Layer) repeated(key uint64, m *sip.Message) (found bool) {
	a, found := l.answered.answers.Get(key)
	if !found {
		_, found = l.confirmed.answers.Get(key)
		return found
	}
	if a.code != 0 {
		w := &l.own
		w.Response(m, int(a.code), "", a.toTag())
		if w.End("", nil) == nil {
			l.repeat(packet{m.Flow, w.Bytes()})
		}
	} else if p, kept := l.kept.Get(key); kept {
		if follows(p.flow, m.Flow) {
			p.flow = m.Flow
		}
		l.repeat(p)
	}
	return true
}

// toTag is the tag, "" for none.
func (a *answer) toTag() string {
	if a.tag[0] == 0 {
		return ""
	}
	return string(a.tag[:])
}

// repeat sends what was sent already.
func (l *Layer) repeat(p packet) {
	l.repeatedOut.Add(1)
	_ = l.sender.Send(p.flow, p.b) // a lost connection ends by its timers
}

// leave takes an answered s out of the tables and keeps what must be kept for Timer J or L.
func (s *Server) leave(code int, b []byte) {
	l := s.layer
	s.name()
	s.delist()
	switch {
	case s.method == sip.INVITE: // accepted: absorbed, its dialog repeats the 2xx
		l.answered.put(s, 0)
	case s.plain && (s.tag == "" || len(s.tag) == tagSize):
		l.answered.put(s, code)
	default:
		l.answered.put(s, 0)
		l.kept.Put(s.key, packet{s.flow, append([]byte(nil), b...)})
	}
}
