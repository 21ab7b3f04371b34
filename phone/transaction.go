package phone

import (
	"context"
	"fmt"
	"time"

	"github.com/emiago/sipgo/sip"
)

// The timers of RFC 3261 17.1.1.1.
const (
	timerT1 = 500 * time.Millisecond
	timerT2 = 4 * time.Second
	timerB  = 64 * timerT1
)

// served is one request we were sent, kept so that it is served once (RFC 3261 17.2).
type served struct {
	req   *sip.Request
	from  hop
	last  *sip.Response // what to send again; nil: nothing yet
	call  *Call         // of an INVITE outside a dialog
	acked chan struct{} // closed by the ACK of a refusal
	until time.Time
}

// linger is how long a finished transaction answers what comes again.
const linger = timerB

// key names a transaction on both sides; ACK and CANCEL name the INVITE's with method INVITE.
func key(msg sip.Message, method sip.RequestMethod) string {
	via := msg.Via()
	branch, _ := via.Params.Get("branch")
	return branch + " " + via.SentBy() + " " + string(method)
}

// ask sends a request and waits for its final answer; each is called for every provisional one. When
// ctx ends, an INVITE is cancelled and its end waited for: the answer comes with ctx's error.
func (l *line) ask(ctx context.Context, req *sip.Request, to hop, each func(*sip.Response)) (*sip.Response, error) {
	k := key(req, req.Method)
	answers := make(chan *sip.Response, 16) // full: it is dropped, and comes again
	l.mu.Lock()
	l.sweep()
	l.asked[k] = answers
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.asked, k)
		l.mu.Unlock()
	}()
	if err := l.send(req, to); err != nil {
		return nil, err
	}
	w := waiter{l: l, req: req, to: to, each: each}
	return w.wait(ctx, answers)
}

// waiter is a client transaction (RFC 3261 17.1).
type waiter struct {
	l         *line
	req       *sip.Request
	to        hop
	each      func(*sip.Response)
	heard     bool // a provisional answer
	cancelled bool
	sent      bool // the CANCEL
}

func (w *waiter) wait(ctx context.Context, answers <-chan *sip.Response) (*sip.Response, error) {
	invite := w.req.IsInvite()
	interval := timerT1
	again, timeout := time.NewTimer(interval), time.NewTimer(timerB)
	defer again.Stop()
	defer timeout.Stop()
	if w.to.stream != nil {
		again.Stop()
	}
	over := ctx.Done()
	for {
		select {
		case res := <-answers:
			if !res.IsProvisional() {
				if invite && !res.IsSuccess() {
					w.l.ackRefusal(w.req, res, w.to)
				}
				return res, ctx.Err()
			}
			w.heard = true
			if invite {
				again.Stop()
				if !w.cancelled {
					timeout.Stop() // it may ring for as long as the caller likes
				}
			}
			if w.each != nil {
				w.each(res)
			}
			w.cancel()
		case <-again.C:
			if err := w.l.send(w.req, w.to); err != nil {
				return nil, err
			}
			if interval *= 2; !invite && (interval > timerT2 || w.heard) {
				interval = timerT2
			}
			again.Reset(interval)
		case <-timeout.C:
			if w.cancelled {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("%s: no answer", w.req.Method)
		case <-over:
			if !invite {
				return nil, ctx.Err()
			}
			over, w.cancelled = nil, true
			timeout.Reset(timerT2 + timerT1)
			w.cancel()
		case <-w.l.done:
			return nil, ErrNotRunning
		}
	}
}

// cancel sends the CANCEL when one is due: not before a provisional answer (RFC 3261 9.1).
func (w *waiter) cancel() {
	if !w.cancelled || !w.heard || w.sent {
		return
	}
	w.sent = true
	c := follow(w.req, sip.CANCEL)
	c.AppendHeader(sip.HeaderClone(w.req.To()))
	c.SetBody(nil)
	w.l.spawn(func() {
		ctx, stop := context.WithTimeout(context.Background(), timerT2)
		defer stop()
		_, _ = w.l.ask(ctx, c, w.to, nil) // the INVITE's own end is what counts
	})
}

// follow is a request in the transaction of an INVITE: same branch, Route, From, Call-ID and number. To and body
// are left to the caller.
func follow(invite *sip.Request, method sip.RequestMethod) *sip.Request {
	req := sip.NewRequest(method, invite.Recipient)
	req.AppendHeader(sip.HeaderClone(invite.Via()))
	for _, h := range invite.GetHeaders("route") {
		req.AppendHeader(sip.HeaderClone(h))
	}
	req.AppendHeader(sip.NewHeader("Max-Forwards", "70"))
	req.AppendHeader(sip.HeaderClone(invite.From()))
	req.AppendHeader(sip.HeaderClone(invite.CallID()))
	req.AppendHeader(&sip.CSeqHeader{SeqNo: invite.CSeq().SeqNo, MethodName: method})
	return req
}

// ackRefusal acknowledges a final answer that is not 2xx (RFC 3261 17.1.1.3).
func (l *line) ackRefusal(invite *sip.Request, res *sip.Response, to hop) {
	ack := follow(invite, sip.ACK)
	ack.AppendHeader(sip.HeaderClone(res.To()))
	ack.SetBody(nil)
	l.mu.Lock()
	l.acks[key(invite, sip.INVITE)] = ack
	l.mu.Unlock()
	_ = l.send(ack, to) // lost: the answer comes again
}

// receive takes one message from a reader, in the order they came.
func (l *line) receive(msg sip.Message, from hop, source string) {
	if msg.Via() == nil || msg.From() == nil || msg.To() == nil || msg.CallID() == nil || msg.CSeq() == nil {
		return
	}
	l.p.log(msg, "in")
	switch m := msg.(type) {
	case *sip.Response:
		l.receiveAnswer(m, from)
	case *sip.Request:
		m.SetTransport(l.transport())
		m.SetSource(source)
		l.receiveRequest(m, from)
	}
}

func (l *line) receiveAnswer(res *sip.Response, from hop) {
	method := res.CSeq().MethodName
	k := key(res, method)
	l.mu.Lock()
	answers, ack := l.asked[k], l.acks[k]
	l.mu.Unlock()
	switch {
	case answers != nil:
		select {
		case answers <- res:
		default:
		}
	case method != sip.INVITE || res.IsProvisional():
	case res.IsSuccess(): // our ACK was lost (RFC 3261 13.2.2.4)
		tag, _ := res.From().Params.Get("tag")
		if c := l.p.find(tag); c != nil {
			c.ackAgain(res.CSeq().SeqNo, from)
		}
	case ack != nil:
		_ = l.send(ack, from)
	}
}

// receiveRequest serves a request once, and repeats the answer when it comes again.
func (l *line) receiveRequest(req *sip.Request, from hop) {
	if req.IsAck() {
		l.receiveAck(req)
		return
	}
	k := key(req, req.Method)
	l.mu.Lock()
	l.sweep()
	if s := l.served[k]; s != nil {
		last := s.last
		l.mu.Unlock()
		if last != nil {
			_ = l.send(last, from)
		}
		return
	}
	s := &served{req: req, from: from, acked: make(chan struct{}), until: time.Now().Add(10 * time.Minute)}
	l.served[k] = s
	l.mu.Unlock()
	l.serve(s)
}

// receiveAck is the end of a refused INVITE, or of the three-way handshake.
func (l *line) receiveAck(ack *sip.Request) {
	l.mu.Lock()
	s := l.served[key(ack, sip.INVITE)]
	l.mu.Unlock()
	if s != nil {
		s.ack()
		return
	}
	tag, _ := ack.To().Params.Get("tag")
	if c := l.p.find(tag); c != nil {
		c.receiveAck(ack)
	}
}

// ack is called by the reader alone.
func (s *served) ack() {
	select {
	case <-s.acked:
	default:
		close(s.acked)
	}
}

// respond sends an answer and keeps it to be sent again.
func (l *line) respond(s *served, res *sip.Response) {
	l.mu.Lock()
	s.last = res
	if !res.IsProvisional() {
		s.until = time.Now().Add(linger)
	}
	l.mu.Unlock()
	_ = l.send(res, s.from) // lost: the request comes again, or repeat sends it
	if s.req.IsInvite() && !res.IsProvisional() && !res.IsSuccess() {
		l.repeat(res, s.from, s.acked)
	}
}

// repeat sends a final answer to an INVITE again until it is acknowledged (RFC 3261 13.3.1.4, 17.2.1).
func (l *line) repeat(res *sip.Response, to hop, acked <-chan struct{}) {
	l.spawn(func() {
		interval := timerT1
		end := time.NewTimer(timerB)
		defer end.Stop()
		for {
			again := time.NewTimer(interval)
			select {
			case <-again.C:
				if to.stream == nil || res.IsSuccess() {
					_ = l.send(res, to)
				}
			case <-acked:
				again.Stop()
				return
			case <-end.C:
				again.Stop()
				return
			case <-l.done:
				again.Stop()
				return
			}
			interval = min(2*interval, timerT2)
		}
	})
}

// sweep forgets transactions that are long over; l.mu is held.
func (l *line) sweep() {
	now := time.Now()
	if now.Sub(l.swept) < linger {
		return
	}
	l.swept = now
	for k, s := range l.served {
		if now.After(s.until) {
			delete(l.served, k)
		}
	}
	clear(l.acks)
}
