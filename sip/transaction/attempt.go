package transaction

import (
	"bytes"
	"errors"
	"time"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// attempt is a client transaction (17.1): one request down one flow. There is no
// Accepted state (RFC 6026 7.2): a 2xx ends the attempt, and the 2xx of Timer M's 64*T1
// go to the dialog as strays.
type attempt struct {
	c       *Client
	layer   *Layer
	flow    *sip.Flow
	method  sip.Method
	key     uint64 // clientHash
	req     []byte
	state   state // trying (Calling), proceeding, completed, terminated
	waiting bool  // for the final response after a CANCEL

	began  time.Time
	repeat loop.Timer // A, E; of a connection: see doubt
	wait   time.Duration
	end    loop.Timer // B, F, or the wait after CANCEL
}

// begin sends the request and sets its timers.
func (a *attempt) begin() error {
	l := a.layer
	if err := l.sender.Send(a.flow, a.req); err != nil {
		return err
	}
	l.clients[a.key] = a
	if a.flow.Transport.Stream() {
		a.join()
		a.doubtLater()
	} else {
		a.repeatAfter(T1)
	}
	l.loop.Set(&a.end, max(timerB, timerF), a)
	return nil
}

func (a *attempt) repeatAfter(d time.Duration) {
	a.wait = d
	a.layer.loop.Set(&a.repeat, d, a)
}

// Alarm is loop.Alarm's: one of the timers is due. Timer A doubles until there is any response, Timer E
// doubles to T2 until there is a final one and is T2 after a provisional one.
func (a *attempt) Alarm(t *loop.Timer) {
	if t == &a.end {
		a.failed(roam.Timeout)
		return
	}
	if a.flow.Transport.Stream() {
		a.doubt()
		return
	}
	a.layer.repeat(packet{a.flow, a.req}) // timer B or F ends what is lost
	switch {
	case a.method == sip.INVITE:
		a.repeatAfter(2 * a.wait)
	case a.state == proceeding:
		a.repeatAfter(T2)
	default:
		a.repeatAfter(min(2*a.wait, T2))
	}
}

// settled ends what waits for a final response.
func (a *attempt) settled() {
	a.repeat.Stop()
	a.end.Stop()
	a.part()
}

// join and part have Closed find a by its connection, or no more.
func (a *attempt) join() {
	set := a.layer.byFlow[a.flow.Flow]
	if set == nil {
		set = map[*attempt]struct{}{}
		a.layer.byFlow[a.flow.Flow] = set
	}
	set[a] = struct{}{}
}

func (a *attempt) part() {
	if set := a.layer.byFlow[a.flow.Flow]; set != nil {
		if delete(set, a); len(set) == 0 {
			delete(a.layer.byFlow, a.flow.Flow)
		}
	}
}

// gone ends the transaction.
func (a *attempt) gone() {
	a.settled()
	a.state = terminated
	delete(a.layer.clients, a.key)
}

// complete ends the transaction and leaves what absorbs repetitions, over UDP only: Timer K, or Timer D with the
// ACK to the refusal of an INVITE.
func (a *attempt) complete(ack []byte) {
	a.gone()
	switch l := a.layer; {
	case a.flow.Transport.Stream():
		return
	case a.method == sip.INVITE:
		l.refused.Put(a.key, packet{a.flow, ack})
	default:
		l.settled.Put(a.key, struct{}{})
	}
}

// failed ends the attempt without a final response. The next hop is tried unless the
// other end is known to work on it.
func (a *attempt) failed(err error) {
	began := a.state == proceeding && a.method == sip.INVITE
	var made *sip.Message
	if a.waiting {
		made = a.made(487)
	}
	a.gone()
	switch {
	case made != nil:
		a.c.finish(made, nil)
	case !began && a.c.mayMove():
		a.c.next(err)
	default:
		a.c.finish(nil, err)
	}
}

// response takes a response to this transaction.
func (a *attempt) response(m *sip.Message) {
	code := m.Status()
	a.c.heard = true
	switch {
	case code < 200:
		a.provisional(m)
	case a.method != sip.INVITE:
		a.complete(nil)
		a.final(m)
	case code < 300:
		a.gone()
		a.c.finish(m, nil)
	default:
		a.complete(a.acknowledge(m))
		a.final(m)
	}
}

// final passes a final response on, or moves on after 503 (RFC 3263 4.3).
func (a *attempt) final(m *sip.Message) {
	if m.Status() == 503 && a.c.mayMove() {
		a.c.next(roam.TooBusy)
		return
	}
	a.c.finish(m, nil)
}

// provisional stops Timers A and B; Timer C is the caller's.
func (a *attempt) provisional(m *sip.Message) {
	a.state = proceeding
	if a.method == sip.INVITE {
		a.repeat.Stop()
		if !a.waiting {
			a.end.Stop()
		}
		if a.c.cancelled {
			a.cancel()
		}
	}
	if m.Status() != 100 {
		a.c.provisional(m)
	}
}

// cancel sends the CANCEL, a transaction with the INVITE's branch (9.1).
func (a *attempt) cancel() {
	if a.waiting {
		return
	}
	a.waiting = true
	a.layer.loop.Set(&a.end, cancelWait, a)
	req, b := a.cancelling(a.c.reason)
	if b == nil {
		return
	}
	none := &Client{layer: a.layer, on: func(*sip.Message, error) {}} // its outcome is the INVITE's
	k := &none.first
	*k = attempt{c: none, layer: a.layer, flow: a.flow, method: sip.CANCEL, req: b,
		key: a.layer.clientHash(req.BranchText(), sip.CANCEL)}
	if k.begin() == nil {
		none.try = k
	}
}

// methodOf is the method of a request we wrote.
func methodOf(b []byte) (sip.Method, error) {
	text, _, found := bytes.Cut(b, []byte(" "))
	for m := sip.REGISTER; found && m < sip.Other; m++ {
		if m.String() == string(text) {
			return m, nil
		}
	}
	return sip.NoMethod, errors.New("request was not finished")
}
