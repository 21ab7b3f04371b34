package softswitch

import (
	"bytes"
	"slices"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
)

const (
	sdpType       = "application/sdp"
	tookElsewhere = `SIP;cause=200;text="Call completed elsewhere"`
)

// progress passes a 101-199 of one B leg. Early media is the first leg's that has any: the
// caller's is one dialog, in which only one answer may come (13.2.1).
func (c *Call) progress(l *Leg, res *sip.Message) {
	if c.rang.IsZero() {
		c.rang = c.s.loop.Now()
	}
	code := res.Status()
	var sdp []byte
	if c.offer != nil && (c.early == nil || c.early == l) && isSDP(res) {
		var err error
		if sdp, err = c.pass(l, c.a, res.Body()); err == nil {
			c.early, l.answer = l, sdp
		}
	}
	switch {
	case sdp == nil && code == int(c.told):
		return // it rings already
	case sdp == nil && code == 183:
		return // nothing to hear, nothing to say
	case sdp == nil && c.early != nil && c.early != l:
		return // the caller hears another leg
	}
	c.told = int32(code)
	c.farEnd(res)
	a := dialog.Answer{Code: code, Fields: c.toCaller(), Body: sdp}
	if sdp != nil {
		a.Type = sdpType
	}
	c.respond(a)
}

// answer joins the caller with the first leg that answered; the others are told so (16.7 step 10).
func (c *Call) answer(l *Leg, res *sip.Message) {
	c.b, c.answered = l, c.s.loop.Now()
	c.timer.Stop()
	c.unanswered.Stop()
	for _, other := range c.bs {
		if other != l {
			other.bye(0, tookElsewhere)
		}
	}
	if c.rang.IsZero() {
		c.rang = c.answered
	}
	c.settleKind(l)
	sdp := l.answer
	if isSDP(res) {
		var err error
		if sdp, err = c.pass(l, c.a, res.Body()); err != nil {
			c.stop(ending{status: 488, cause: 88, by: "office", why: "media not acceptable", unanswered: true})
			return
		}
	}
	c.bridge.Join(l.name)
	c.farEnd(res)
	if c.offer == nil && sdp != nil {
		l.owes = c.a // its offer is answered in the caller's ACK
	} else {
		l.d.Ack("", nil)
	}
	a := dialog.Answer{Code: 200, Fields: c.toCaller(), Body: sdp}
	if sdp != nil {
		a.Type = sdpType
	}
	c.respond(a)
	c.settle()
	c.writeOpen()
}

// settleKind makes the kind that of the leg that won: a fork may have rung phones here and elsewhere.
func (c *Call) settleKind(l *Leg) {
	k, away := roam.InOffice, l.office != "" && l.office != c.s.cfg.Card.Office // not with another softswitch of ours
	switch {
	case away && c.from != "":
		k = roam.Transit
	case away:
		k = roam.Outgoing
	case c.from != "" && !c.sibling():
		k = roam.Incoming
	}
	c.local = !away
	if k != c.kind {
		c.setKind(k)
	}
}

// respond answers the caller's INVITE.
func (c *Call) respond(a dialog.Answer) {
	if err := c.a.d.Respond(c.invite, a); err != nil {
		c.s.log.Warn().Str("event", "call.answer").Str("call", c.id).Int("code", a.Code).Err(err).Msg("cannot answer the caller")
	}
}

// acked takes the ACK to a 2xx of ours: it holds the answer when the 2xx held the offer.
func (c *Call) acked(l *Leg, ack *sip.Message) {
	o := c.other(l)
	if o == nil || o.owes != l {
		return
	}
	o.owes = nil
	if !isSDP(ack) {
		o.d.Ack("", nil)
		return
	}
	sdp, err := c.pass(l, o, ack.Body())
	if err != nil {
		c.stop(ending{status: 488, cause: 88, by: "office", why: "media not acceptable"})
		return
	}
	o.d.Ack(sdpType, sdp)
}

// declined takes the final refusal, or the silence, of one B leg.
func (c *Call) declined(l *Leg, e dialog.End) {
	l.code = 408
	if e.Res != nil {
		l.code = e.Res.Status()
		if l.office != "" { // a phone's word on it could send the call round once more
			l.cause, _ = causeOf(e.Res)
			c.challenged(l, e.Res)
		}
	}
	c.lost(l, e.Res)
}

// lost goes on after one B leg is over: wait for the others, ask another office, or refuse (16.7).
func (c *Call) lost(l *Leg, res *sip.Message) {
	c.bridge.Drop(l.name)
	if res == nil {
		c.deaf(l)
	}
	if c.early == l {
		c.early = nil
	}
	if res == nil && l.code == 408 || l.code == 430 { // the flow is broken, or looks so (RFC 5626 6)
		flows := l.flows
		if l.flows = nil; len(flows) > 0 && c.forkPhone(flows) == nil {
			l.replaced = true
			return
		}
	}
	if l.code >= 600 { // 16.7 step 5: nobody else is to be rung
		for _, other := range c.bs {
			other.bye(0, "")
		}
	}
	if slices.ContainsFunc(c.bs, func(o *Leg) bool { return !o.over }) {
		return
	}
	if c.alone(l) && (!l.rang || l.code == 302) && c.asksAgain(l) { // 302: it rang, and the phone went elsewhere
		c.again(res)
		return
	}
	best := c.best()
	if cond, is := c.failing(best); is && c.forwards(cond) {
		return
	}
	c.refuseWith(best)
}

// alone says that the call rings nowhere but at the office of l.
func (c *Call) alone(l *Leg) bool {
	return len(c.tries) > 0 && c.tries[len(c.tries)-1].office == l.office && l == c.bs[len(c.bs)-1]
}

// best is the leg whose refusal the caller gets: a 6xx, else the lowest class, and of
// those what the caller can do something about (16.7 step 6).
func (c *Call) best() *Leg {
	weight := func(l *Leg) int {
		switch {
		case l.replaced: // another flow of the same phone has the word
			return 3000
		case l.code >= 600:
			return l.code - 600
		case l.code == 415 || l.code == 420 || l.code == 484:
			return 400
		case l.code == 486:
			return 401 // before "no answer" of another phone
		}
		return 1000 + l.code
	}
	return slices.MinFunc(c.bs[c.round:], func(a, b *Leg) int { return weight(a) - weight(b) })
}

// isSDP says that m has a session description.
func isSDP(m *sip.Message) bool {
	kind, _, _ := bytes.Cut(m.Value(sip.ContentType), []byte(";"))
	return len(m.Body()) > 0 && bytes.EqualFold(bytes.TrimSpace(kind), []byte(sdpType))
}
