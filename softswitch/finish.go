package softswitch

import (
	"errors"
	"strconv"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
)

// ending is how a call ended.
type ending struct {
	status     int    // SIP status of the attempt; what an unanswered caller is told
	phrase     string // "": the standard one
	cause      int    // Q.850
	by         string // "caller", "callee", "office", "network"
	why        string // a stable word
	fields     []sip.Field
	reason     string // Reason for the legs; "": made of cause and why
	unanswered bool   // the callee answered but the caller was not told
	challenge  bool   // the caller is to call again, with credentials: no attempt to be charged
}

// hungUp ends an answered call whose leg l is over: a BYE, or a connection or ACK that was lost.
func (c *Call) hungUp(l *Leg, e dialog.End) {
	end := ending{status: 200, cause: 16, by: "callee", why: "normal"}
	if l == c.a {
		end.by = "caller"
	}
	if e.Req != nil {
		end.reason = reasonOf(e.Req)
		if cause, found := causeOf(e.Req); found {
			end.cause = cause
		}
	} else {
		end.by, end.cause, end.why = "network", 41, "lost"
	}
	c.stop(end)
}

// cancelled ends a call whose caller gave up before the answer.
func (c *Call) cancelled(e dialog.End) {
	end := ending{status: 487, cause: 16, by: "caller", why: "cancelled"}
	if e.Req != nil {
		if end.reason = reasonOf(e.Req); end.reason == "" {
			end.reason = "-"
		}
		c.taken = c.from != "" && takenElsewhere(e.Req)
	} else {
		end.by, end.why = "network", "lost"
	}
	c.stop(end)
}

// closed ends the calls whose caller waits for an answer on a connection that is gone: none can
// reach it any more (18.2.2). Answered calls go on, since phones come back by another connection.
func (s *Switch) closed(f *sip.Flow) {
	for _, c := range s.calls {
		if c.invite != nil && c.a.flow.Flow == f.Flow {
			c.stop(ending{status: 487, cause: 41, by: "network", why: "lost"})
		}
	}
}

// refuse ends an unanswered call with what err means.
func (c *Call) refuse(err error) {
	code, phrase, fields := sip.Status(err)
	var why roam.Refusal
	words := "refused"
	if errors.As(err, &why) {
		words = why.Error()
	}
	end := ending{status: code, phrase: phrase, fields: fields, cause: causeFor(code), by: "office", why: words}
	switch why {
	case roam.NotRegistered:
		end.cause = subscriberAbsent
	case roam.TooBusy:
		end.why = "busy"
	}
	c.stop(end)
}

// refuseWith ends the call with what the leg l said.
func (c *Call) refuseWith(l *Leg) {
	end := ending{status: l.code, cause: l.cause, by: "callee", why: "declined"}
	if end.cause == 0 {
		end.cause = causeFor(l.code)
	}
	switch { // another office says more than a phone
	case l.office != "" && l.cause == 38:
		end = c.unreachable()
	case l.code == 486 || l.code == 600:
		end.why = "busy"
	case l.office != "" && l.cause == 19:
		end.by, end.why = "office", "no answer"
	case l.office != "" && l.cause == subscriberAbsent:
		end.by, end.why = "office", "not registered"
	case l.code == 408 || l.code == 430 || l.office != "" && l.cause == 102:
		end.by, end.why, end.status = "network", "not reachable", 480
	}
	switch { // what the caller cannot answer, or is about our own leg (16.7 step 6)
	case len(l.challenge) > 0 && (l.code == 401 || l.code == 407):
		end.fields, end.by, end.why, end.challenge = l.challenge, "office", "challenged", true
	case l.code == 401 || l.code == 407 || l.code == 481 || l.code == 482 || l.code == 483 || l.code/100 == 3:
		end.status = 480
	case l.code == 503:
		end.status = 500
	}
	c.stop(end)
}

// stop ends the call whatever its state: each leg is told, media closed, the records written.
func (c *Call) stop(e ending) {
	if c.over {
		return
	}
	c.over, c.ended = true, &e
	c.timer.Stop()
	c.unanswered.Stop()
	if e.reason == "" {
		e.reason = "Q.850;cause=" + strconv.Itoa(e.cause) + ";text=" + sip.Quote(e.why)
	} else if e.reason == "-" {
		e.reason = ""
	}
	for _, l := range c.bs {
		l.bye(0, e.reason)
	}
	c.closeA(e)
	c.finish()
}

// closeA ends the A leg: BYE when it was answered, else the final response.
func (c *Call) closeA(e ending) {
	if c.a.over {
		return
	}
	if c.invite == nil {
		c.a.bye(0, e.reason)
		return
	}
	c.a.over = true
	fields := e.fields
	if e.status != 302 {
		fields = append(fields, sip.Field{Name: sip.Reason, Value: e.reason})
	}
	c.respond(dialog.Answer{Code: e.status, Reason: e.phrase, Fields: fields})
	c.invite = nil
}
