package transaction

import (
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// most is how many transactions may be under way; what answered ones leave is bounded apart (leftoversMost). Beyond
// it what would begin something new gets 503, and a REGISTER over UDP nothing: Timer E repeats it. The last eighth
// is not for strangers.
const most = 200_000

// Errors of ours, answered 500.
var (
	errNoAnswer = errors.New("handler gave no answer")
	errTooLate  = errors.New("held for too long")
	errPanic    = errors.New("handler panicked")
	errUntimely = errors.New("an answer for INVITE alone")
)

// Layer is all transactions of one office.
type Layer struct {
	loop    *loop.Loop
	sender  Sender
	handler Handler
	log     zerolog.Logger

	servers map[uint64]*Server                  // by serverHash
	merged  map[uint64]*Server                  // those outside dialogs, by mergeHash (8.2.2.2)
	clients map[uint64]*attempt                 // by clientHash
	byFlow  map[roam.Flow]map[*attempt]struct{} // those without a final response, of connections
	noTCP   map[string]time.Time                // hops (ip:port) that took no connection, until then UDP
	most    int
	now     *Server // whose handler runs
	spare   *Server // for the next message

	answered  leftover               // Timers J and L
	confirmed leftover               // Timer I
	kept      *loop.Recent[packet]   // Timer J: of answered, what cannot be written again
	refused   *loop.Recent[packet]   // Timer D: the ACK to the refusal of an INVITE of ours
	settled   *loop.Recent[struct{}] // Timer K

	onClosed []func(*sip.Flow)
	stray    func(res *sip.Message)
	crash    bool
	queue    *queue

	answer  sip.Writer // Start's
	own     sip.Writer // for answers the layer gives itself, and ACK and CANCEL
	request sip.Writer // for build
	key     []byte     // scratch
	out     []byte     // scratch
	via     []byte     // scratch
	seed    maphash.Seed

	live, left              atomic.Int64 // Len, for the gauge
	repeatedOut, repeatedIn *metric.Value
	overload                *metric.Counter
	panics                  *metric.Value
}

// NewLayer makes a layer; Handle must be called before the first Receive.
func NewLayer(lo *loop.Loop, s Sender, m *metric.Set, log zerolog.Logger) *Layer {
	l := &Layer{loop: lo, sender: s, log: log, queue: newQueue(), most: most, seed: maphash.MakeSeed(),
		servers: map[uint64]*Server{}, merged: map[uint64]*Server{},
		clients: map[uint64]*attempt{}, byFlow: map[roam.Flow]map[*attempt]struct{}{},
		answered: newLeftover(lo, timerJ), confirmed: newLeftover(lo, timerI),
		kept: loop.NewRecent[packet](lo, timerJ, packetsMost), refused: loop.NewRecent[packet](lo, timerD, packetsMost),
		noTCP: map[string]time.Time{}, settled: loop.NewRecent[struct{}](lo, timerK, leftoversMost)}
	repeated := m.Counter("sip_retransmissions_total", "Messages sent again, or received again and absorbed.", "direction")
	l.repeatedOut, l.repeatedIn = repeated.With("out"), repeated.With("in")
	l.overload = m.Overload()
	l.panics = m.Counter("handler_panics_total", "Messages whose handling panicked; each is a bug of ours.").With()
	m.Gauge("sip_transactions", "Transactions: live ones, and answered ones that still absorb repetitions.", []string{"state"},
		func(emit func(float64, ...string)) {
			emit(float64(l.live.Load()), "live")
			emit(float64(l.left.Load()), "answered")
		})
	lo.EachTurn(l.count)
	return l
}

// Handle says who takes the requests that no transaction claims. ACKs to 2xx come
// here too, with a tx on which nothing can be answered.
func (l *Layer) Handle(h Handler) { l.handler = h }

// OnClosed has fn called on the loop when a connection has ended, after the client
// transactions on it have.
func (l *Layer) OnClosed(fn func(*sip.Flow)) { l.onClosed = append(l.onClosed, fn) }

// Stray says who takes a 2xx to INVITE that no transaction waits for any more: a
// retransmission (the dialog repeats its ACK) or another fork (RFC 6026 7.2).
func (l *Layer) Stray(fn func(res *sip.Message)) { l.stray = fn }

// Crash has a panic end the process, as tests want it, rather than cost one message.
func (l *Layer) Crash() { l.crash = true }

// Len is the number of transactions: those under way, and those answered that still absorb repetitions.
func (l *Layer) Len() int { return l.underWay() + l.leftovers() }

func (l *Layer) underWay() int { return len(l.servers) + len(l.clients) }

func (l *Layer) leftovers() int {
	return l.answered.answers.Len() + l.confirmed.answers.Len() + l.refused.Len() + l.settled.Len()
}

// count keeps the gauge, which is read from other goroutines.
func (l *Layer) count() {
	l.live.Store(int64(l.underWay()))
	l.left.Store(int64(l.leftovers()))
}

// Closed is transport.Receiver's.
func (l *Layer) Closed(f *sip.Flow) {
	l.loop.Deliver(func() {
		for _, a := range slices.Collect(maps.Keys(l.byFlow[f.Flow])) { // failed may begin others
			a.lost()
		}
		for _, fn := range l.onClosed {
			fn(f)
		}
	})
}

// one handles one message. A panic costs that message only, so that the others of its
// batch are served; a request is answered 500.
func (l *Layer) one(m *sip.Message) {
	if l.crash {
		l.receive(m)
		return
	}
	defer func() {
		if v := recover(); v != nil {
			l.panicked(m, v, debug.Stack())
		}
	}()
	l.receive(m)
}

func (l *Layer) panicked(m *sip.Message, v any, stack []byte) {
	l.panics.Add(1)
	l.log.Error().Str("event", "panic").Str("method", m.MethodText()).Str("call_id", m.CallID()).
		Str("err", fmt.Sprint(v)).Bytes("stack", stack).Msg("handler panicked")
	if l.now != nil {
		l.now.Refuse(errPanic)
	}
}

func (l *Layer) receive(m *sip.Message) {
	l.now = nil
	switch {
	case !m.IsRequest():
		l.response(m)
	case m.Method() == sip.ACK:
		l.ack(m)
	case m.Method() == sip.CANCEL:
		l.cancel(m)
	default:
		l.begin(m)
	}
}

// response gives a response to its client transaction (17.1.3). One that names
// another Via below ours was not meant for us (8.1.3.3).
func (l *Layer) response(m *sip.Message) {
	if manyVias(m) {
		return
	}
	key := l.clientHash(m.BranchText(), m.Method())
	if a := l.clients[key]; a != nil {
		a.response(m)
		return
	}
	if l.late(key, m) {
		l.repeatedIn.Add(1)
	}
	l.strayed(m)
}

// late takes a response to a request of ours that has had its final one: a refusal of an INVITE comes
// again when its ACK was lost (17.1.1.2).
func (l *Layer) late(key uint64, m *sip.Message) (found bool) {
	if ack, found := l.refused.Get(key); found {
		if m.Status() >= 300 && ack.b != nil {
			_ = l.sender.Send(ack.flow, ack.b)
		}
		return true
	}
	_, found = l.settled.Get(key)
	return found
}

func (l *Layer) strayed(m *sip.Message) {
	if m.Method() == sip.INVITE && m.Status()/100 == 2 && l.stray != nil {
		l.stray(m)
	}
}

// begin has a request handled that no transaction claims.
func (l *Layer) begin(m *sip.Message) {
	key := l.serverHash(m, m.Method())
	if tx := l.servers[key]; tx != nil {
		l.repeatedIn.Add(1)
		tx.follow(m.Flow)
		tx.again()
		return
	}
	if l.repeated(key, m) {
		l.repeatedIn.Add(1)
		return
	}
	tx := l.server(m)
	defer l.done(tx)
	tx.key = key
	if m.ToTag() == "" && l.underWay() >= l.room(m) {
		tx.Busy("transactions")
		return
	}
	if l.isMerged(m) {
		tx.Refuse(roam.LoopDetected)
		return
	}
	l.now = tx
	err := l.handler.ServeSIP(tx, m)
	switch {
	case tx.Answered():
	case err != nil:
		tx.Refuse(err)
	case !tx.held:
		tx.Refuse(errNoAnswer)
	}
}

// isMerged says that a request has come by another way already, with another branch
// (8.2.2.2). A REGISTER may well: a foreign proxy forks it to every registrar.
func (l *Layer) isMerged(m *sip.Message) bool {
	if m.Method() == sip.REGISTER || m.ToTag() != "" || len(l.merged)+l.answered.merged.Len()+l.confirmed.merged.Len() == 0 {
		return false
	}
	key := l.mergeHash(m)
	_, answered := l.answered.merged.Get(key)
	_, confirmed := l.confirmed.merged.Get(key)
	return answered || confirmed || l.merged[key] != nil
}

// ack absorbs the ACK to a refusal (17.2.1); the one to a 2xx goes to its dialog.
func (l *Layer) ack(m *sip.Message) {
	key := l.serverHash(m, sip.INVITE)
	if tx := l.servers[key]; tx != nil && tx.acked() {
		return
	}
	if _, found := l.confirmed.answers.Get(key); found {
		l.repeatedIn.Add(1)
		return
	}
	tx := l.server(m)
	defer l.done(tx)
	tx.state = terminated
	_ = l.handler.ServeSIP(tx, m) // an ACK is never answered
}

// cancel answers a CANCEL and tells the INVITE it means (9.2). It leaves nothing: a
// repeated one finds the same INVITE and gets the same answer. One from another
// address than the INVITE's is somebody else's.
func (l *Layer) cancel(m *sip.Message) {
	tx := l.server(m)
	defer l.done(tx)
	key := l.serverHash(m, sip.INVITE)
	invite := l.servers[key]
	switch {
	case invite != nil && samePeer(invite.flow, m.Flow):
		tx.tag = invite.ToTag()
	case invite != nil || !l.tooLate(tx, key):
		tx.Refuse(roam.NoDialog)
		return
	}
	_ = tx.Reply(200) // a lost one is asked for again
	if invite != nil {
		invite.cancel(m)
	}
}

// tooLate says that a CANCEL means an INVITE that is answered: it changes nothing (9.2).
func (l *Layer) tooLate(tx *Server, invite uint64) bool {
	a, found := l.answered.answers.Get(invite)
	if !found {
		a, found = l.confirmed.answers.Get(invite)
	}
	tx.tag = a.toTag()
	return found
}

func samePeer(a, b *sip.Flow) bool {
	return a.Remote.Addr().Unmap() == b.Remote.Addr().Unmap() && a.Office() == b.Office()
}
