package softswitch

import (
	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/media"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
)

// Leg is one dialog of a call seen from us (RFC 7092): "A" came in, "B1", "B2" went out.
type Leg struct {
	call   *Call
	name   string
	d      *dialog.Dialog
	callID string
	flow   *sip.Flow     // nil: not known yet
	user   roam.UserID   // whose phone it is; "" behind another office
	office roam.OfficeID // the office at the other end, ""
	peer   media.Peer

	rang   bool   // it gave a sign of life beyond 100
	answer []byte // the SDP it gave before its 200, as the caller got it
	code   int    // what it refused with
	why    roam.Refusal
	owes   *Leg        // our ACK to it waits for the ACK of this leg, which has the answer
	try    *loop.Timer // a short try ends
	over   bool        // nothing more comes from it, or is sent on it
}

// Progress takes what the phone or office at the other end of a B leg says to our INVITE.
func (l *Leg) Progress(res *sip.Message) {
	c := l.call
	if f := l.d.Flow(); f != nil {
		l.flow, l.peer = f, peerOf(f)
	}
	ok := res.Status() >= 200
	l.rang = true
	l.try.Stop()
	switch {
	case ok && (l.over || c.over || c.b != nil): // it answered while we took our INVITE back (9.1, 15)
		l.d.Ack("", nil)
		l.over = false
		l.bye(0, elsewhere(c))
	case ok:
		c.answer(l, res)
	case !l.over && !c.over && c.b == nil:
		c.progress(l, res)
	}
}

// Ended is told once that the dialog of the leg is over.
func (l *Leg) Ended(e dialog.End) {
	if l.over {
		return
	}
	l.over = true
	l.try.Stop()
	c := l.call
	switch {
	case c.over:
	case l == c.b || l == c.a && c.b != nil:
		c.hungUp(l, e)
	case l == c.a:
		c.cancelled(e)
	default:
		c.declined(l, e)
	}
}

// bye ends the leg with a Reason, or its unanswered INVITE with code.
func (l *Leg) bye(code int, reason string) {
	l.try.Stop()
	if l.over || l.d == nil {
		return
	}
	l.over = true
	l.d.Bye(code, reason)
}

// strange says that a request in this dialog comes from neither its flow's address, nor
// its office, nor another flow of its user.
func (l *Leg) strange(f *sip.Flow) bool {
	switch {
	case f == nil || l.flow == nil || f.Flow == l.flow.Flow:
		return false
	case l.office != "" || f.Partner != "":
		return f.Partner != l.office
	case f.Remote.Addr().Unmap() == l.flow.Remote.Addr().Unmap():
		return false
	}
	user, found, _ := l.call.s.dir.Whose(f, nil)
	return !found || user != l.user
}

// other is the leg that l talks with: after the answer the other of the two, before it the one
// whose early media the caller hears.
func (c *Call) other(l *Leg) *Leg {
	b := c.b
	if b == nil {
		b = c.early
	}
	switch {
	case l == c.a:
		return b
	case l == b:
		return c.a
	}
	return nil
}

// contact is our Contact on f. The flow's address is ours as the other end sees it.
func contact(f *sip.Flow) string {
	switch f.Transport {
	case roam.TCP:
		return "<sip:" + f.Here + ";transport=tcp>"
	case roam.TLS:
		return "<sip:" + f.Here + ";transport=tls>"
	case roam.WS, roam.WSS:
		return "<sip:" + f.Here + ";transport=ws>"
	}
	return "<sip:" + f.Here + ">"
}
