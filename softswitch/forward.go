package softswitch

import (
	"strconv"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
	"github.com/siproam/siproam/softswitch/plan"
)

// The services of the two profiles of a call (M18): barring of the caller's, forwarding of the callee's. The office that
// serves the user performs them; home tells the office where its user is by Roam-Service that it has.

// mostForwards is how often a call may be forwarded, over all offices; each that did is named in Diversion (RFC 5806).
const mostForwards = 5

// noAnswerFor is how long phones ring before a call is forwarded, when the profile does not say.
const noAnswerFor = 20 * time.Second

// forwarded says on an INVITE between offices that the callee's forwarding has been seen to.
const forwarded = "forward"

// diversion is one who has forwarded the call: by a profile here, or as a partner tells it.
type diversion struct {
	by     party
	own    bool      // here: a record is due
	at     time.Time // when
	reason string    // of RFC 5806
	to     string    // where to, of an own one
}

// facts is what plan is asked with. A call that was forwarded here is a call of ours: it comes from nobody else.
func (c *Call) facts() plan.Facts {
	f := plan.Facts{Here: c.s.cfg.Card.Office, Known: c.callee.known, Line: *c.callee.at(), Home: c.callee.home}
	if len(c.diverted) == c.before {
		f.From, f.Epoch, f.Served = c.from, c.epoch, c.served
	}
	return f
}

// forwards sends the call where the callee's profile says under a condition; false when it says nothing, or when it is not
// for us to do.
func (c *Call) forwards(cond plan.Condition) bool {
	if c.over || !plan.Serves(c.facts()) {
		return false
	}
	to := plan.Forward(c.callee.line.Profile, cond)
	if to == "" {
		return false
	}
	by := c.callee
	c.leaveCallee()
	c.diverted = append(c.diverted, diversion{by: by, own: true, at: c.s.loop.Now(), reason: cond.String(), to: to})
	c.s.log.Info().Str("event", "call.forwarded").Str("call", c.id).Str("icid", c.icid).Str("user", by.shown()).Str("to", to).
		Str("reason", cond.String()).Msg("call forwarded")
	switch {
	case len(c.diverted) > mostForwards:
		c.refuse(roam.LoopDetected)
	case plan.Barred(by.at().Profile, to):
		c.barred()
	default:
		if c.told < 180 {
			c.told = 181
			c.respond(dialog.Answer{Code: 181, Fields: c.toCaller()})
		}
		c.find([]sip.AOR{sip.AOR(to)}, roam.NotRegistered)
	}
	return true
}

// leaveCallee takes back what rings, and forgets where the callee was looked for.
func (c *Call) leaveCallee() {
	c.unanswered.Stop()
	for _, l := range c.bs[c.round:] {
		if !l.over {
			l.bye(0, "")
			c.bridge.Drop(l.name)
		}
	}
	c.s.give(&c.callee)
	c.round = int32(len(c.bs))
	c.callee, c.early, c.tries, c.epoch, c.unanswered = party{}, nil, nil, 0, nil
	c.reread, c.askHome, c.local = false, false, false
	c.behind.path, c.dead = nil, "" // it is a call to somebody else from here on
}

// loops says that user has forwarded this call already.
func (c *Call) loops(user roam.UserID) bool {
	for i := range c.diverted {
		if c.diverted[i].by.shown() == string(user) {
			return true
		}
	}
	return false
}

// barred refuses what the caller's, or the forwarding user's, profile forbids.
func (c *Call) barred() {
	c.stop(ending{status: 403, phrase: "Barred", cause: outgoingBarred, by: "office", why: "barred"})
}

// outgoingBarred is Q.850 cause 52.
const outgoingBarred = 52

// await forwards the call when it has rung long enough, if the callee's profile says so.
func (c *Call) await() {
	if c.unanswered != nil || !plan.Serves(c.facts()) || plan.Forward(c.callee.line.Profile, plan.NoAnswer) == "" && plan.Forward(c.callee.line.Profile, plan.NotReachable) == "" {
		return
	}
	c.unanswered = c.s.loop.After(ringsFor(c.callee.line.Profile), func() {
		if c.b == nil {
			c.forwards(c.silence())
		}
	})
}

// ringsFor is how long phones ring until a call is forwarded by p, which does.
func ringsFor(p *roam.Profile) time.Duration {
	if s := p.Forward.After; s > 0 {
		return time.Duration(s) * time.Second
	}
	return noAnswerFor
}

// silence is why nobody has answered: nobody was there, or a phone rang.
func (c *Call) silence() plan.Condition {
	for _, l := range c.bs[c.round:] {
		if l.rang {
			return plan.NoAnswer
		}
	}
	return plan.NotReachable
}

// failing is the condition that the refusal of l means; false when it is the callee's own word, or about the call.
func (c *Call) failing(l *Leg) (cond plan.Condition, is bool) {
	switch l.code {
	case 486, 600:
		return plan.Busy, true
	case 404, 408, 410, 430, 480, 500, 502, 503, 504:
		if l.rang || l.cause == 19 {
			return plan.NoAnswer, true
		}
		return plan.NotReachable, true
	}
	return 0, false
}

// unreached ends a call that reaches no phone, unless the callee's profile knows more.
func (c *Call) unreached(why error) {
	if !c.forwards(plan.NotReachable) {
		c.refuse(why)
	}
}

// divertedBefore reads who has forwarded the call, as a partner tells it; a counter stands for others that it leaves out.
func (c *Call) divertedBefore(req *sip.Message) {
	for v := range req.Values(sip.Diversion) {
		a, err := sip.ParseAddress(v)
		if err != nil {
			continue
		}
		aor, err := a.URI.AOR()
		if err != nil {
			continue
		}
		reason, _ := a.Params.Get("reason")
		counter, _ := a.Params.Get("counter")
		n, _ := strconv.Atoi(counter)
		if len(reason) > 32 || strings.Trim(reason, "abcdefghijklmnopqrstuvwxyz-") != "" { // it goes on to phones
			reason = "unknown"
		}
		d := diversion{by: party{address: string(aor)}, reason: reason}
		for range min(max(n, 1), mostForwards+1) {
			c.diverted = append([]diversion{d}, c.diverted...) // the newest stands first in the message
		}
		if len(c.diverted) > mostForwards {
			break
		}
	}
	c.before = len(c.diverted)
	for service := range req.Values(sip.RoamService) {
		c.served = c.served || string(service) == forwarded
	}
}

// diversions is who has forwarded the call, the newest first.
func (c *Call) diversions() (fields []sip.Field) {
	for i := len(c.diverted) - 1; i >= 0; i-- {
		d := &c.diverted[i]
		v := "<" + uriOf(d.by.shown()) + ">"
		if d.reason != "" {
			v += ";reason=" + d.reason
		}
		fields = append(fields, sip.Field{Name: sip.Diversion, Value: v + ";counter=1"})
	}
	return fields
}

// speaker is whom another office is told that the call is from. Of a partner's call that our user forwards to somebody
// of a third office, that is our user: who has called him is not ours to assert there.
func (c *Call) speaker() *party {
	if c.from == "" || c.callee.home == c.s.cfg.Card.Office {
		return &c.caller
	}
	for i := len(c.diverted) - 1; i >= 0; i-- {
		if c.diverted[i].own {
			return &c.diverted[i].by
		}
	}
	return &c.caller
}

// meant is whom the caller called.
func (c *Call) meant() string {
	for i := range c.diverted {
		if c.diverted[i].own {
			return c.diverted[i].by.shown()
		}
	}
	return c.toShown()
}

// forwarders is a record for each of our users, and visitors, who has forwarded the call: what came of it is theirs.
func (c *Call) forwarders(record func(p *party, role string) roam.CDR) (all []roam.CDR) {
	n := 0
	for i := range c.diverted {
		d := &c.diverted[i]
		if !d.own {
			continue
		}
		r := record(&d.by, "forwarder")
		if n++; n > 1 {
			r.ID += strconv.Itoa(n)
		}
		r.From, r.To, r.Dialled, r.Start = d.by.shown(), c.toShown(), d.to, d.at
		if i+1 < len(c.diverted) {
			r.To = c.diverted[i+1].by.shown()
		}
		all = append(all, r)
	}
	return all
}
