package transaction

import (
	"context"
	"errors"
	"fmt"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Client is a request of ours, over all the hops it may try; each try is a client
// transaction of its own.
type Client struct {
	layer *Layer
	build func(w *sip.Writer, f *sip.Flow) error
	on    func(res *sip.Message, err error)

	hops      []sip.Hop // still to try
	hop       sip.Hop   // that of try; the zero one: down a flow
	resent    bool      // see attempt.resend
	big       bool      // too long for UDP: hops has streams first (18.1.1)
	ack       bool      // an ACK to a 2xx: sent once, and that is all
	first     attempt   // most requests have but one
	try       *attempt  // the one under way, or the last
	over      bool      // on has had its last word
	heard     bool      // any response has come
	cancelled bool      // Cancel was called
	reason    string    // of the CANCEL
}

// Target is the destination of t: the first hop of its Route, else its flow while that lives, else its URI. A
// flow of a connection that is gone gives roam.NotRegistered.
func (l *Layer) Target(t roam.Target) (Destination, error) {
	if len(t.Route) > 0 && t.Flow.Edge == "" { // by way of a proxy, whichever connection it came by (RFC 3327 5.3)
		a, err := sip.ParseAddress([]byte(t.Route[0]))
		return Destination{URI: a.URI}, err
	}
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
// 100, in order, and at last for a final response or an error (roam.Timeout, ErrClosed, one
// that wraps roam.NotRegistered): then res is nil. build is called once per hop, with the flow
// it goes by, and must write everything but Via: start line, From, To, Call-ID,
// CSeq, Max-Forwards, Contact (flow.Here is our address as the other end sees it).
// Down a flow it is sent before Request returns; on is never called from within Request.
func (l *Layer) Request(to Destination, build func(w *sip.Writer, f *sip.Flow) error, on func(res *sip.Message, err error)) *Client {
	c := &Client{layer: l, build: build, on: on}
	if l.underWay() >= 2*l.most {
		l.overload.Add(1, "transactions")
		l.loop.Later(func() { c.finish(nil, roam.TooBusy) })
		return c
	}
	if to.Flow != nil {
		if err := c.send(to.Flow); err != nil {
			l.loop.Later(func() { c.finish(nil, err) })
		}
		return c
	}
	c.reach(to.URI)
	return c
}

// reach finds the hops of u and tries them.
func (c *Client) reach(u sip.URI) {
	sender := c.layer.sender
	loop.Ask(c.layer.loop, reachFor, func(ctx context.Context) ([]sip.Hop, error) { return sender.Reach(ctx, u) },
		func(hops []sip.Hop, err error) {
			if err != nil {
				c.finish(nil, unreachable(err))
				return
			}
			c.hops = hops
			c.next(roam.NoRoute)
		})
}

// unreachable is a transport's error as a refusal: the other end is away (8.1.3.1).
func unreachable(err error) error {
	var why roam.Refusal
	if errors.As(err, &why) {
		return err
	}
	return fmt.Errorf("%w: %w", roam.NotRegistered, err)
}

// next tries the next hop; without one the request has failed with err.
func (c *Client) next(err error) {
	if c.cancelled {
		err = ErrCancelled
	}
	if c.cancelled || len(c.hops) == 0 {
		c.finish(nil, err)
		return
	}
	hop := c.hops[0]
	c.hops = c.hops[1:]
	sender := c.layer.sender
	loop.Ask(c.layer.loop, c.patience(hop), func(ctx context.Context) (*sip.Flow, error) { return sender.Open(ctx, hop) },
		func(f *sip.Flow, err error) {
			switch {
			case err != nil:
				c.noStream(hop)
			case c.cancelled:
			case c.outgrows(f):
				c.preferStreams(hop)
			default:
				c.hop = hop
				if err = c.send(f); err == nil {
					c.settleOn(hop)
					return
				}
			}
			c.next(unreachable(err))
		})
}

// send begins a client transaction on f.
func (c *Client) send(f *sip.Flow) error {
	l := c.layer
	if c.ack {
		l.sendAck(f, c.build)
		c.finish(nil, nil)
		return nil
	}
	if err := c.build(&l.request, f); err != nil {
		return err
	}
	via, branch := l.newVia(f)
	b := l.request.AppendWithVia(nil, via)
	method, err := methodOf(b)
	if err != nil {
		return err
	}
	a := &c.first
	if c.try != nil {
		a = &attempt{}
	}
	*a = attempt{c: c, layer: l, flow: f, req: b, method: method, key: l.clientHash(branch, method)}
	if err := a.begin(); err != nil {
		return unreachable(err)
	}
	c.try = a
	return nil
}

// newVia is our Via on f with a new branch (18.1.1, RFC 3581 3); borrowed until the next one.
func (l *Layer) newVia(f *sip.Flow) (via, branch []byte) {
	b := append(append(l.via[:0], "SIP/2.0/"...), f.Transport.String()...)
	b = append(append(append(b, ' '), f.Here...), ";rport;branch="...)
	at := len(b)
	l.via = appendToken(append(b, sip.Cookie...), branchSize)
	return l.via, l.via[at:]
}

// mayMove says that the next hop may be tried after the one that failed.
func (c *Client) mayMove() bool { return !c.over && !c.cancelled && len(c.hops) > 0 }

// provisional passes a 101-199 on.
func (c *Client) provisional(res *sip.Message) {
	if !c.over {
		c.on(res, nil)
	}
}

// finish says the last word.
func (c *Client) finish(res *sip.Message, err error) {
	if c.over {
		return
	}
	c.over, c.hops, c.build = true, nil, nil
	c.on(res, err)
}

// Cancel sends a CANCEL for an INVITE, with reason as its Reason unless "", as soon as
// a provisional response allows it (9.1). The final response still comes to on; if
// none comes for 64*T1, on gets a 487 of our own making. An INVITE that was not sent yet
// is not sent any more: on gets ErrCancelled.
func (c *Client) Cancel(reason string) {
	if c.over || c.cancelled {
		return
	}
	c.cancelled, c.reason = true, reason
	if c.try != nil && c.try.state == proceeding {
		c.try.cancel()
	}
}

// Flow is the flow the request went by last, nil before.
func (c *Client) Flow() *sip.Flow {
	if c.try == nil {
		return nil
	}
	return c.try.flow
}

// Heard says that any response has come, 100 included: the other end is alive.
func (c *Client) Heard() bool { return c.heard }

// Ack sends an ACK to a 2xx: no transaction, a new branch, sent once per call.
func (l *Layer) Ack(to Destination, build func(w *sip.Writer, f *sip.Flow) error) {
	if to.Flow != nil {
		l.sendAck(to.Flow, build)
		return
	}
	c := &Client{layer: l, build: build, ack: true, on: func(*sip.Message, error) {}}
	c.reach(to.URI)
}

// sendAck sends an ACK; when it is lost, the 2xx comes again.
func (l *Layer) sendAck(f *sip.Flow, build func(w *sip.Writer, f *sip.Flow) error) {
	if err := build(&l.request, f); err != nil {
		l.log.Error().Str("event", "ack.failed").Err(err).Msg("ACK cannot be written")
		return
	}
	via, _ := l.newVia(f)
	if l.out = l.request.AppendWithVia(l.out[:0], via); len(l.out) > 0 {
		_ = l.sender.Send(f, l.out)
	}
}
