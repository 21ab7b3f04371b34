package transaction

import (
	"bytes"
	"context"
	"time"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Client is a client transaction, over all the hops it may try.
type Client struct {
	layer *Layer
	build func(w *sip.Writer, f *sip.Flow) error
	on    func(res *sip.Message, err error)

	hops   []sip.Hop // still to try
	flow   *sip.Flow
	branch string
	method string
	key    string // in layer.clients; "": not there
	last   []byte

	proceeding bool // a provisional response came
	cancelled  bool
	cancelSent bool
	reason     string // of the CANCEL
	over       bool   // on has had its last word
	ack        []byte // to a refusal, for its repetitions

	repeat *loop.Timer // A, E
	end    *loop.Timer // B, F, D, or the wait after CANCEL
}

// Target is the destination of t: its flow while that lives, else its URI. A
// flow of a connection that is gone gives roam.NotRegistered.
func (l *Layer) Target(t roam.Target) (Destination, error) {
	if t.Flow != (roam.Flow{}) {
		f, found := l.sender.Find(t.Flow)
		if !found {
			return Destination{}, roam.NotRegistered
		}
		return Destination{Flow: f}, nil
	}
	u, err := sip.ParseURI([]byte(t.URI))
	return Destination{URI: u}, err
}

// Request sends the request that build writes and calls on for each response but
// 100, in order, and at last for a final response or an error (roam.Timeout, a
// transport error): then res is nil. build is called once per hop, with the flow
// it goes by, and must write everything but Via: start line, From, To, Call-ID,
// CSeq, Max-Forwards, Contact (flow.Here is our address as the other end sees it).
// on is never called from within Request.
func (l *Layer) Request(to Destination, build func(w *sip.Writer, f *sip.Flow) error, on func(res *sip.Message, err error)) *Client {
	c := &Client{layer: l, build: build, on: on}
	if to.Flow != nil {
		if err := c.send(to.Flow); err != nil {
			l.loop.Later(func() { c.failed(err) })
		}
		return c
	}
	loop.Ask(l.loop, reachFor, func(ctx context.Context) ([]sip.Hop, error) { return l.sender.Reach(ctx, to.URI) },
		func(hops []sip.Hop, err error) {
			if c.hops = hops; err != nil {
				c.failed(err)
				return
			}
			c.next(roam.NoRoute)
		})
	return c
}

// next tries the next hop; without one the request has failed with err.
func (c *Client) next(err error) {
	if c.over {
		return
	}
	if c.cancelled && c.last == nil {
		c.finish(nil, ErrCancelled)
		return
	}
	if len(c.hops) == 0 {
		c.finish(nil, err)
		return
	}
	hop := c.hops[0]
	c.hops = c.hops[1:]
	loop.Ask(c.layer.loop, reachFor, func(ctx context.Context) (*sip.Flow, error) { return c.layer.sender.Open(ctx, hop) },
		func(f *sip.Flow, err error) {
			if err == nil && !c.cancelled {
				err = c.send(f)
			}
			if err != nil || c.cancelled {
				c.next(err)
			}
		})
}

// send makes a new transaction on f and sends the request (17.1.1.2, 17.1.2.2).
func (c *Client) send(f *sip.Flow) error {
	l := c.layer
	if err := c.build(&l.w, f); err != nil {
		return err
	}
	c.flow, c.branch, c.proceeding = f, newBranch(), false
	c.last = l.w.AppendWithVia(nil, "SIP/2.0/"+f.Transport.String()+" "+f.Here+";branch="+c.branch+";rport")
	c.method = string(c.last[:bytes.IndexByte(c.last, ' ')])
	if err := l.sender.Send(f, c.last); err != nil {
		return err
	}
	c.key = c.branch + c.method
	l.clients[c.key] = c
	c.end = l.loop.After(timerB, func() { c.failed(roam.Timeout) })
	if !f.Transport.Stream() {
		c.repeatAfter(T1)
	}
	return nil
}

// repeatAfter is Timer A, which doubles until a response; E doubles to T2 until the final one.
func (c *Client) repeatAfter(d time.Duration) {
	c.repeat = c.layer.loop.After(d, func() {
		c.layer.repeatedOut.Add(1)
		c.layer.sender.Send(c.flow, c.last)
		switch {
		case c.method == "INVITE":
			c.repeatAfter(2 * d)
		case c.proceeding:
			c.repeatAfter(T2)
		default:
			c.repeatAfter(min(2*d, T2))
		}
	})
}

// leave takes the transaction out of the table.
func (c *Client) leave() {
	c.repeat.Stop()
	c.end.Stop()
	delete(c.layer.clients, c.key)
}

// failed ends this hop: the next one is tried.
func (c *Client) failed(err error) {
	c.leave()
	if c.over {
		return
	}
	if c.cancelled && c.last != nil {
		c.finish(c.made(487), nil)
		return
	}
	c.next(err)
}

// finish says the last word.
func (c *Client) finish(res *sip.Message, err error) {
	if !c.over {
		c.over = true
		c.on(res, err)
	}
}

// response takes a response to this transaction.
func (c *Client) response(m *sip.Message) {
	code := m.Status()
	switch {
	case c.over: // Completed: a repeated refusal is acknowledged again (17.1.1.2)
		if code >= 300 && c.ack != nil {
			c.layer.repeatedIn.Add(1)
			c.layer.sender.Send(c.flow, c.ack)
		}
	case code < 200:
		c.provisional(m)
	case code < 300 || c.method != "INVITE":
		c.leave()
		if code == 503 && len(c.hops) > 0 && !c.cancelled { // RFC 3263 4.3
			c.next(roam.NoCapacity)
			return
		}
		c.finish(m, nil)
	default:
		c.refused(m)
	}
}

func (c *Client) provisional(m *sip.Message) {
	if c.method == "INVITE" {
		c.repeat.Stop()
		if !c.proceeding && !c.cancelled {
			c.end.Stop() // Timer C is the caller's
		}
	}
	c.proceeding = true
	if c.cancelled && !c.cancelSent {
		c.sendCancel()
	}
	if m.Status() != 100 {
		c.on(m, nil)
	}
}

// refused acknowledges a 300-699 to INVITE, and stays for its repetitions (Timer D).
func (c *Client) refused(m *sip.Message) {
	c.ack = c.ackFor(m)
	c.layer.sender.Send(c.flow, c.ack)
	c.repeat.Stop()
	c.end.Stop()
	if m.Status() == 503 && len(c.hops) > 0 && !c.cancelled {
		c.leave()
		c.next(roam.NoCapacity)
		return
	}
	if c.flow.Transport.Stream() {
		c.leave()
	} else {
		c.end = c.layer.loop.After(timerD, c.leave)
	}
	c.finish(m, nil)
}

// request is our own request, read again.
func (c *Client) request() *sip.Message {
	var m sip.Message
	if sip.Parse(c.last, &m) != nil {
		return nil
	}
	return &m
}

// ackFor is the ACK to a refusal: same branch, To of the response (17.1.1.3).
func (c *Client) ackFor(res *sip.Message) []byte {
	return c.sibling("ACK", func(w *sip.Writer) {
		w.Copy(res, sip.To)
	})
}

// sibling writes an ACK or CANCEL for our request: same URI, branch, From, Call-ID, CSeq number and Route.
func (c *Client) sibling(method string, to func(w *sip.Writer)) []byte {
	req := c.request()
	if req == nil {
		return nil
	}
	w := &c.layer.w
	w.Request(method, string(req.RequestURI()))
	w.AddInt(sip.MaxForwards, 70)
	for _, n := range [...]sip.Name{sip.Route, sip.From, sip.CallID} {
		w.Copy(req, n)
	}
	to(w)
	w.Add(sip.CSeq, cseq(req.CSeq(), method))
	if w.End("", nil) != nil {
		return nil
	}
	return w.AppendWithVia(nil, string(req.Value(sip.Via)))
}

// Cancel sends a CANCEL for an INVITE, with reason as its Reason unless "", as soon as
// a provisional response allows it (9.1). The final response still comes to on; if
// none comes for 64*T1, on gets a 487 of our own making.
func (c *Client) Cancel(reason string) {
	if c.over || c.cancelled {
		return
	}
	c.cancelled, c.reason = true, reason
	if c.proceeding {
		c.sendCancel()
	}
}

func (c *Client) sendCancel() {
	c.cancelSent = true
	b := c.sibling("CANCEL", func(w *sip.Writer) {
		w.Copy(c.request(), sip.To)
		if c.reason != "" {
			w.Add(sip.Reason, c.reason)
		}
	})
	if b == nil {
		return
	}
	l := c.layer
	k := &Client{layer: l, flow: c.flow, branch: c.branch, method: "CANCEL", last: b, key: c.branch + "CANCEL", on: func(*sip.Message, error) {}}
	l.clients[k.key] = k
	k.end = l.loop.After(timerB, func() { k.failed(roam.Timeout) })
	l.sender.Send(c.flow, b)
	if !c.flow.Transport.Stream() {
		k.repeatAfter(T1)
	}
	c.end.Stop()
	c.end = l.loop.After(timerB, func() { c.failed(roam.Timeout) })
}

// made is a response to our own request that nobody sent.
func (c *Client) made(code int) *sip.Message {
	req := c.request()
	if req == nil {
		return nil
	}
	c.layer.w.Response(req, code, "", NewTag())
	c.layer.w.End("", nil)
	var m sip.Message
	if sip.Parse(bytes.Clone(c.layer.w.Bytes()), &m) != nil {
		return nil
	}
	m.Flow = c.flow
	return &m
}

// Heard says that any response has come, 100 included: the other end is alive.
func (c *Client) Heard() bool { return c.proceeding || c.over }

// Flow is the flow the request went by last, nil before.
func (c *Client) Flow() *sip.Flow { return c.flow }

// Ack sends an ACK to a 2xx: no transaction, a new branch, sent once per call.
func (l *Layer) Ack(to Destination, build func(w *sip.Writer, f *sip.Flow) error) {
	send := func(f *sip.Flow) error {
		if err := build(&l.w, f); err != nil {
			return err
		}
		l.out = l.w.AppendWithVia(l.out[:0], "SIP/2.0/"+f.Transport.String()+" "+f.Here+";branch="+newBranch()+";rport")
		return l.sender.Send(f, l.out)
	}
	if to.Flow != nil {
		send(to.Flow)
		return
	}
	loop.Ask(l.loop, 2*reachFor, func(ctx context.Context) (*sip.Flow, error) {
		hops, err := l.sender.Reach(ctx, to.URI)
		if err != nil || len(hops) == 0 {
			return nil, err
		}
		return l.sender.Open(ctx, hops[0])
	}, func(f *sip.Flow, err error) {
		if err == nil && f != nil {
			send(f)
		}
	})
}
