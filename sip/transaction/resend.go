package transaction

import (
	"context"
	"time"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/sip"
)

// A connection may be dead without our knowing: the other end gave it up, and what told us so got lost. The next request finds
// out: by a reset, which ends the connection, or by silence. A call must not end by that, so a request of which nothing has
// been heard is sent once more by a new connection to the same hop, as it is: its branch names the same transaction
// (17.2.3), so that who has it already takes it for a repetition and answers where it came from last (Server.follow). RFC 3261 leaves
// a lost connection to the user (17.1.4, 18.4), and RFC 5626 4.4 finds dead ones by keep-alives, which are slower than a caller.

// doubtAfter is how long nothing may be heard by a connection, of anything, until another is made: what TCP repeats three times
// has come by then, an INVITE is answered 100 at once, and there is time left for who waits 4 s (reachFor).
const doubtAfter = 4 * T1

// mayResend says that the request has not been sent twice, and may be: it goes to a hop, not down a flow.
func (a *attempt) mayResend() bool {
	return a.state == trying && !a.c.resent && !a.c.cancelled && !a.c.over && a.c.hop != (sip.Hop{})
}

// doubtLater has doubt called if no response comes.
func (a *attempt) doubtLater() {
	if a.began = time.Now(); a.mayResend() {
		a.layer.loop.Set(&a.repeat, doubtAfter, a)
	}
}

// doubt is the end of doubtAfter without a response. The connection stands: should the request have arrived, its answer does.
func (a *attempt) doubt() {
	if a.mayResend() {
		a.resend(func(error) {})
	}
}

// lost is the end of the connection.
func (a *attempt) lost() {
	if !a.mayResend() {
		a.failed(ErrClosed)
		return
	}
	a.part()
	a.resend(func(error) { a.failed(ErrClosed) })
}

// resend sends the request by another connection to the same hop and the same office. Where none comes of it, otherwise is called.
func (a *attempt) resend(otherwise func(error)) {
	a.c.resent = true
	a.repeat.Stop()
	l, hop, old, began := a.layer, a.c.hop, a.flow, a.began
	loop.Ask(l.loop, reachFor, func(ctx context.Context) (*sip.Flow, error) { return l.sender.Renew(ctx, hop, old, began) },
		func(f *sip.Flow, err error) {
			switch {
			case a.state != trying: // there has been an answer
			case err != nil:
				otherwise(err)
			case f == old: // it lives: who is asked is slow
			case f.Partner != old.Partner || f.Foreign != old.Foreign || f.Transport != old.Transport || a.c.cancelled:
				otherwise(ErrClosed)
			case l.sender.Send(f, a.req) != nil:
				otherwise(ErrClosed)
			default:
				l.repeatedOut.Add(1)
				a.part()
				a.flow = f
				a.join()
			}
		})
}

// follow has the answer go where the request came from last: its sender has given up the connection it sent it by before.
func (s *Server) follow(f *sip.Flow) {
	if !follows(s.flow, f) {
		return
	}
	if s.req.Flow == s.flow { // else it is where the request began its way, see From
		s.req.Flow = f
	}
	s.flow = f
}

// follows says that f, by which a request came again, is another connection of whom old was one. Only another office does that,
// and only it may: of others nobody knows that they are the same.
func follows(old, f *sip.Flow) bool {
	return f != old && f.Transport.Stream() && f.Office() != "" && samePeer(f, old)
}
