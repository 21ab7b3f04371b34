package transaction

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// limit is how many server transactions there may be; more get 503, a UDP REGISTER nothing.
const limit = 200_000

// Layer is all transactions of one office.
type Layer struct {
	loop    *loop.Loop
	sender  Sender
	handler Handler
	log     zerolog.Logger

	servers map[string]*Server // by serverKey
	merged  map[string]*Server // INVITEs and other requests under way, by mergeKey (8.2.2.2)
	clients map[string]*Client // by branch and method

	onClosed []func(*sip.Flow)
	stray    func(res *sip.Message)

	w    sip.Writer // for the answer being written
	key  []byte     // scratch
	out  []byte     // scratch
	live atomic.Int64

	repeatedOut, repeatedIn *metric.Value
	overload                *metric.Counter
	panics                  *metric.Value
}

// NewLayer makes a layer; Handle must be called before the first Receive.
func NewLayer(l *loop.Loop, s Sender, m *metric.Set, log zerolog.Logger) *Layer {
	t := &Layer{loop: l, sender: s, log: log, servers: map[string]*Server{}, merged: map[string]*Server{}, clients: map[string]*Client{}}
	repeated := m.Counter("sip_retransmissions_total", "messages sent again, or received again and absorbed", "direction")
	t.repeatedOut, t.repeatedIn = repeated.With("out"), repeated.With("in")
	t.overload = m.Counter("overload_rejections_total", "requests refused or dropped because too much was under way", "reason")
	t.panics = m.Counter("handler_panics_total", "requests whose handler panicked; each is a bug of ours").With()
	m.Gauge("sip_transactions", "transactions under way", nil, func(emit func(float64, ...string)) { emit(float64(t.live.Load())) })
	return t
}

// Handle says who takes the requests that no transaction claims. ACKs to 2xx come
// here too, with a tx on which nothing can be answered.
func (l *Layer) Handle(h Handler) { l.handler = h }

// OnClosed has fn called on the loop when a connection has ended.
func (l *Layer) OnClosed(fn func(*sip.Flow)) { l.onClosed = append(l.onClosed, fn) }

// Stray says who takes a 2xx to INVITE that no transaction claims any more: a
// retransmission (the dialog repeats its ACK) or another fork.
func (l *Layer) Stray(fn func(res *sip.Message)) { l.stray = fn }

// Len is the number of transactions.
func (l *Layer) Len() int { return len(l.servers) + len(l.clients) }

// Receive is transport.Receiver's. When the loop is full the batch is dropped: UDP
// repeats it, and a stream's sender times out.
func (l *Layer) Receive(batch []*sip.Message, release func()) {
	err := l.loop.Post(func() {
		defer release()
		for _, m := range batch {
			l.one(m)
		}
		l.live.Store(int64(l.Len()))
	})
	if err != nil {
		release()
		l.overload.Add(uint64(len(batch)), "loop")
	}
}

// Closed is transport.Receiver's.
func (l *Layer) Closed(f *sip.Flow) {
	l.loop.Deliver(func() {
		for _, c := range l.clients {
			if c.flow == f {
				c.failed(ErrClosed)
			}
		}
		for _, fn := range l.onClosed {
			fn(f)
		}
	})
}

// one handles one message; a panic in a handler costs that request only (500).
func (l *Layer) one(m *sip.Message) {
	if !m.IsRequest() {
		l.response(m)
		return
	}
	var tx *Server
	defer func() {
		if v := recover(); v != nil {
			l.panics.Add(1)
			l.log.Error().Str("event", "panic").Str("method", m.MethodText()).Str("err", fmt.Sprint(v)).Bytes("stack", debug.Stack()).Msg("handler panicked")
			if tx != nil && !tx.answered {
				tx.Refuse(ErrPanic)
			}
		}
	}()
	tx = l.request(m)
}

// ErrPanic is what a request gets whose handler panicked.
var ErrPanic = fmt.Errorf("handler panicked")

// response gives a response to its client transaction (17.1.3, 8.1.3.3).
func (l *Layer) response(m *sip.Message) {
	vias := 0
	for range m.Values(sip.Via) {
		vias++
	}
	branch := m.Branch()
	if vias != 1 || branch == "" {
		return
	}
	l.key = append(append(l.key[:0], branch...), m.MethodText()...)
	if c := l.clients[string(l.key)]; c != nil {
		c.response(m)
		return
	}
	if m.Method() == sip.INVITE && m.Status()/100 == 2 && l.stray != nil {
		l.stray(m)
	}
}

// serverKey names a request's server transaction (17.2.3): branch, sent-by, method; ACK
// and CANCEL name the INVITE's. An RFC 2543 request is named by what identifies it there.
func (l *Layer) serverKey(m *sip.Message, method string) []byte {
	k := l.key[:0]
	via, err := m.TopVia()
	if branch := m.Branch(); branch != "" && err == nil {
		k = append(k, branch...)
		k = append(append(k, '|'), via.Host...)
		k = append(append(k, ':', byte(via.Port>>8), byte(via.Port)), method...)
	} else {
		k = append(k, m.CallID()...)
		k = append(append(k, '|'), m.FromTag()...)
		k = append(append(k, '|'), m.RequestURI()...)
		k = append(append(k, '|'), m.Value(sip.Via)...)
		k = fmt.Appendf(k, "|%d%s", m.CSeq(), method)
	}
	l.key = k
	return k
}

// request finds or makes the server transaction of m and has it handled.
func (l *Layer) request(m *sip.Message) *Server {
	switch m.Method() {
	case sip.ACK:
		if tx := l.servers[string(l.serverKey(m, "INVITE"))]; tx == nil || !tx.ack() {
			l.handle(&Server{layer: l, req: m, flow: m.Flow, answered: true})
		}
		return nil
	case sip.CANCEL:
		return l.cancel(m)
	}
	key := l.serverKey(m, m.MethodText())
	if tx := l.servers[string(key)]; tx != nil {
		l.repeatedIn.Add(1)
		tx.again()
		return nil
	}
	tx := &Server{layer: l, req: m, flow: m.Flow, tag: NewTag()}
	if len(l.servers) >= limit {
		l.overload.Add(1, "transactions")
		if m.Method() != sip.REGISTER || m.Flow.Transport.Stream() {
			tx.Refuse(roam.TooBusy)
		}
		return tx
	}
	if m.Method() == sip.REGISTER || m.Method() == sip.OPTIONS {
		l.handle(tx) // 8.2.7: no state unless held
		return tx
	}
	tx.key = string(key)
	if m.ToTag() == "" { // 8.2.2.2
		tx.mergeKey = fmt.Sprintf("%s|%d|%s|%s", m.CallID(), m.CSeq(), m.FromTag(), m.MethodText())
		if l.merged[tx.mergeKey] != nil {
			tx.mergeKey = ""
			tx.Refuse(roam.LoopDetected)
			return tx
		}
		l.merged[tx.mergeKey] = tx
	}
	l.servers[tx.key] = tx
	l.handle(tx)
	return tx
}

// handle calls the handler and holds it to its promise.
func (l *Layer) handle(tx *Server) {
	err := l.handler.ServeSIP(tx, tx.req)
	switch {
	case err != nil && !tx.answered:
		tx.Refuse(err)
	case !tx.answered && !tx.kept:
		tx.Refuse(errors500)
	}
}

var errors500 = fmt.Errorf("handler did not answer")

// cancel answers a CANCEL and tells the INVITE it means (9.2).
func (l *Layer) cancel(m *sip.Message) *Server {
	invite := l.servers[string(l.serverKey(m, "INVITE"))]
	tx := &Server{layer: l, req: m, flow: m.Flow, tag: NewTag()}
	if invite == nil {
		tx.Refuse(roam.NoDialog)
		return tx
	}
	tx.tag = invite.tag
	if fn := invite.onCancel; fn != nil && !invite.answered {
		invite.onCancel = nil
		tx.Reply(200)
		fn(m)
		return tx
	}
	tx.Reply(200)
	return tx
}
