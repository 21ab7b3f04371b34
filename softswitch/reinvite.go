package softswitch

import (
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
	"github.com/siproam/siproam/sip/transaction"
)

// Request takes an in-dialog request of either leg: what changes the media (re-INVITE, UPDATE) and
// what carries something (INFO, MESSAGE) crosses to the other leg, the rest is answered here.
func (l *Leg) Request(tx *transaction.Server, req *sip.Message) {
	c := l.call
	if tx == nil {
		c.acked(l, req)
		return
	}
	if l.flow = tx.Flow(); l.office == "" {
		l.peer = peerOf(l.flow) // a phone may have come back by another way
	}
	switch m := req.Method(); {
	case m == sip.UPDATE && len(req.Body()) == 0: // a new Contact, which the dialog has taken (RFC 3311)
		l.reply(tx, dialog.Answer{Code: 200, Fields: []sip.Field{{Name: sip.Allow, Value: allow}}})
	case m == sip.INVITE, m == sip.UPDATE, m == sip.INFO, m == sip.MESSAGE:
		c.cross(l, tx, req)
	case m == sip.OPTIONS:
		l.reply(tx, dialog.Answer{Code: 200, Fields: []sip.Field{{Name: sip.Allow, Value: allow}, {Name: sip.Accept, Value: sdpType}}})
	default:
		tx.Refuse(notAllowed(allow))
	}
}

// reply answers an in-dialog request of l, unless the leg has ended meanwhile.
func (l *Leg) reply(tx *transaction.Server, a dialog.Answer) {
	if !tx.Answered() {
		_ = l.d.Respond(tx, a)
	}
}

// refuse answers an in-dialog request of l with what err means.
func (l *Leg) refuse(tx *transaction.Server, err error) {
	if !tx.Answered() {
		tx.Refuse(err)
	}
}

// pending says that the other leg cannot take this now: the request is repeated later (14.1, RFC 3311 5.2).
var pending = &sip.Refused{Why: roam.TooBusy, Code: 491}

// cross sends req on the other leg and brings its answer back. SDP goes through the relay both
// ways; a re-INVITE without an offer gets one in its 200, which our ACK answers (late offer).
func (c *Call) cross(l *Leg, tx *transaction.Server, req *sip.Message) {
	o := c.other(l)
	switch {
	case o == nil, o.over, o.owes != nil, l.owes != nil:
		l.refuse(tx, pending)
		return
	case !c.s.speaks(o.office).Takes(req.MethodText()) && req.Method() != sip.INVITE: // not where it would have to go (M11)
		l.refuse(tx, notAllowed(allowOutside))
		return
	}
	a := dialog.Answer{Type: plain(req.Value(sip.ContentType)), Body: req.Body()}
	offer := req.Method() == sip.INVITE || req.Method() == sip.UPDATE
	if offer && len(a.Body) > 0 {
		sdp, err := c.passBody(l, o, req)
		if err != nil {
			l.refuse(tx, err)
			return
		}
		a.Type, a.Body = sdpType, sdp
	}
	if offer {
		a.Fields = []sip.Field{{Name: sip.Allow, Value: allow}, {Name: sip.SessionID, Value: c.sessionTo(o)}}
	}
	tx.Hold()
	method, late := req.Method(), len(a.Body) == 0
	o.d.Request(method, a, func(res *sip.Message, err error) { c.crossed(l, o, tx, method, late, res, err) })
}

// passBody is pass for a message that must hold SDP if it holds anything.
func (c *Call) passBody(from, to *Leg, m *sip.Message) ([]byte, error) {
	if !isSDP(m) {
		return nil, notSDP()
	}
	return c.pass(from, to, m.Body())
}

// notSDP refuses a body that is no session description (21.4.13).
func notSDP() error {
	return &sip.Refused{Why: roam.NotAcceptable, Code: 415, Fields: []sip.Field{{Name: sip.Accept, Value: sdpType}}}
}

// sessionTo is Session-ID as l is to see it.
func (c *Call) sessionTo(l *Leg) string {
	if l == c.a {
		return c.far + ";remote=" + c.session
	}
	return c.session + ";remote=" + c.far
}

// crossed brings the answer of o to l. late says that l sent no offer.
func (c *Call) crossed(l, o *Leg, tx *transaction.Server, method sip.Method, late bool, res *sip.Message, err error) {
	switch {
	case err != nil:
		l.refuse(tx, err)
	case res.Status() < 200:
	case res.Status() >= 300:
		l.reply(tx, dialog.Answer{Code: inDialogCode(res.Status())})
	case method == sip.INVITE || method == sip.UPDATE:
		c.agreed(l, o, tx, method == sip.INVITE, late, res)
	default:
		l.reply(tx, dialog.Answer{Code: res.Status()})
	}
}

// agreed brings o's 2xx to an offer, or with an offer, to l.
func (c *Call) agreed(l, o *Leg, tx *transaction.Server, invite, late bool, res *sip.Message) {
	a := dialog.Answer{Code: res.Status(), Fields: []sip.Field{{Name: sip.Allow, Value: allow}, {Name: sip.SessionID, Value: c.sessionTo(l)}}}
	err := error(nil)
	if c.over {
		err = roam.NoDialog
	} else if len(res.Body()) > 0 {
		a.Type = sdpType
		a.Body, err = c.passBody(o, l, res)
	}
	if invite && (err != nil || !late || a.Body == nil) {
		o.d.Ack("", nil)
	} else if invite {
		o.owes = l // its offer waits for l's ACK
	}
	if err != nil {
		l.refuse(tx, err)
		return
	}
	l.reply(tx, a)
}

// inDialogCode is an error of one leg as the other may know it: a challenge is nothing it can
// answer, and 408 or 481 would end its dialog, which ours with the other leg does by BYE.
func inDialogCode(code int) int {
	switch code {
	case 401, 407:
		return 403
	case 408, 481, 503:
		return 500
	}
	return code
}
