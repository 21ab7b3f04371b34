package softswitch

import (
	"errors"
	"strconv"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/softswitch/plan"
)

// tryFor is how long another office, or a phone that has another flow, may say nothing at all (DESIGN 9). One that is known
// to be dead is not asked. Home learns who was silent, so a caller waits this long once, and has his answer in 4 s.
const tryFor = 3500 * time.Millisecond

// most is how many offices one call asks: the first, and two more after redirects or refusals.
const most = 3

// try is an office that was asked, and the epoch of the location that named it.
type try struct {
	office roam.OfficeID
	epoch  roam.Epoch
}

// tried says that asking at would repeat a try.
func (c *Call) tried(at roam.Location) bool {
	for _, t := range c.tries {
		if t.office == at.Office && t.epoch >= at.Epoch {
			return true
		}
	}
	return false
}

// toOffice calls the softswitch of the location at.
func (c *Call) toOffice(at roam.Location) {
	c.tries = append(c.tries, try{at.Office, at.Epoch})
	if c.goesRound() {
		c.s.count.circles.Add(1, "path")
		c.s.log.Warn().Str("event", "call.circle").Str("call", c.id).Str("call_id", c.a.callID).Str("peer", string(at.Office)).
			Str("path", c.behind.text(c.s.cfg.Card.Office)).Msg("a call that goes round is sent on no more")
		c.giveUp()
		return
	}
	if c.mute(at) {
		c.dead = at.Office
		c.again(nil)
		return
	}
	switch ours := at.Office == c.s.cfg.Card.Office; { // ours: another softswitch of this office
	case ours && c.from != "":
		c.setKind(roam.Incoming)
	case ours:
		c.setKind(roam.InOffice)
	case c.from != "":
		c.setKind(roam.Transit)
	default:
		c.setKind(roam.Outgoing)
	}
	if err := c.openMedia(); err != nil {
		c.refuse(err)
		return
	}
	c.round = int32(len(c.bs))
	c.await()
	switch err := c.forkOffice(at); {
	case errors.Is(err, roam.NotAcceptable) || errors.Is(err, roam.NoCapacity) || errors.Is(err, roam.NoAbility):
		c.refuse(err)
	case err != nil: // no softswitch by that URI
		c.again(nil)
	}
}

// toHome asks the callee's home, once: it may know more than R.
func (c *Call) toHome() {
	home := c.callee.home
	if c.askHome || home == "" || home == c.s.cfg.Card.Office || len(c.tries) >= most {
		c.giveUp()
		return
	}
	c.askHome = true
	if f := c.s.cfg.Foreign[home]; f != nil {
		c.toForeign(home, f)
		return
	}
	c.s.router.Peer(home, func(p roam.Peer, err error) {
		switch {
		case c.over:
		case err != nil || p.Switch == "" || c.asked(home):
			c.giveUp()
		default:
			c.toOffice(roam.Location{Office: home, Switch: p.Switch, Suspect: !p.Alive})
		}
	})
}

// asked says that office was asked already.
func (c *Call) asked(office roam.OfficeID) bool {
	for _, t := range c.tries {
		if t.office == office {
			return true
		}
	}
	return false
}

// again goes on after an office has redirected the call, knows nothing, or is silent: R once
// past its cache, then home. res is what it answered, nil when nothing came. Of a 302 the office and
// the epoch count; where that office's softswitch is only R says.
func (c *Call) again(res *sip.Message) {
	pointed := roam.Location{}
	if res != nil && res.Status() == 302 {
		pointed = pointsTo(res)
	}
	if pointed.Office == "" {
		c.readAgain(pointed)
		return
	}
	c.s.router.Peer(pointed.Office, func(p roam.Peer, err error) {
		if c.over {
			return
		}
		if pointed.Switch, pointed.Suspect = p.Switch, !p.Alive; err != nil || p.Switch == "" {
			c.s.log.Warn().Str("event", "call.redirect").Str("call", c.id).Str("peer", string(pointed.Office)).Msg("redirected to no known softswitch")
			pointed = roam.Location{}
		}
		c.readAgain(pointed)
	})
}

// readAgain reads R past its cache and takes the newer of its answer and where a 302 pointed.
func (c *Call) readAgain(pointed roam.Location) {
	if len(c.tries) >= most {
		if pointed.Office != "" {
			c.s.count.circles.Add(1, "redirects")
		}
		c.giveUp()
		return
	}
	if c.reread {
		c.elsewhere(pointed)
		return
	}
	c.reread = true
	c.s.router.Locate(c.callee.user, true, func(at roam.Location, err error) {
		if c.over {
			return
		}
		if err != nil || at.Epoch < pointed.Epoch || at.Office == "" {
			at = pointed
		}
		c.elsewhere(at)
	})
}

// elsewhere asks the office of at if that is new; else the phones here, if our table has any; else home.
func (c *Call) elsewhere(at roam.Location) {
	here := c.s.cfg.Card.Office
	if at.Office != "" && at.Office != here && c.tried(at) && !c.mute(at) {
		c.s.count.circles.Add(1, "repeated")
	}
	switch {
	case at.Office != "" && at.Office != here && at.Office == c.facts().From:
		c.redirect(at)
	case at.Office != "" && at.Office != here && !c.tried(at):
		c.toOffice(at)
	case c.ringHere():
	default:
		c.toHome()
	}
}

// ringHere rings the callee's phones in this office after all, as our table has them now.
func (c *Call) ringHere() bool {
	line, known := c.s.dir.Line(c.callee.user)
	if !known || line.Gone != nil {
		return false
	}
	here := line.Targets[:0:0]
	for _, t := range line.Targets {
		if t.Office == "" {
			here = append(here, t)
		}
	}
	if len(here) == 0 {
		return false
	}
	line.Targets = here
	c.callee.learn(line)
	c.local = true
	c.ring()
	return true
}

// giveUp refuses the call when no office is left to ask. The user exists, so it is 480 whatever
// the last one said; the record says why.
func (c *Call) giveUp() {
	if c.forwards(plan.NotReachable) {
		return
	}
	if c.dead != "" {
		c.stop(c.unreachable())
		return
	}
	if n := len(c.bs); n > 0 {
		switch code := c.bs[n-1].code; {
		case code == 408:
			c.stop(c.unreachable())
			return
		case code >= 500:
			c.stop(ending{status: 480, cause: 41, by: "network", why: "office failed"})
			return
		}
	}
	c.refuse(roam.NotRegistered)
}

// unreachable is the end of a call to somebody whose office does not answer.
func (c *Call) unreachable() ending {
	return ending{status: 480, phrase: "Callee's Office Does Not Answer", cause: 38, by: "network", why: "office silent"}
}

// redirect answers a partner's call with where the callee went (302): the softswitch, and the epoch
// by which the caller's office can tell what is newer.
func (c *Call) redirect(at roam.Location) {
	if at.Switch == "" {
		c.refuse(roam.NotRegistered)
		return
	}
	c.refuse(&sip.Refused{Why: roam.Moved, Code: 302, Reason: sip.Text(302), Fields: []sip.Field{
		{Name: sip.Contact, Value: "<" + at.Switch + ">;office=" + string(at.Office)},
		{Name: sip.RoamEpoch, Value: strconv.FormatUint(uint64(at.Epoch), 10)},
	}})
}

// pointsTo reads a 302 of redirect's.
func pointsTo(res *sip.Message) (at roam.Location) {
	a, err := sip.ParseAddress(res.Value(sip.Contact))
	if err != nil {
		return at
	}
	office, _ := a.Params.Get("office")
	return roam.Location{Office: roam.OfficeID(office), Epoch: epochOf(res)}
}

// epochOf reads Roam-Epoch, 0 when absent or no number below 2^53.
func epochOf(m *sip.Message) roam.Epoch {
	e, err := strconv.ParseUint(string(m.Value(sip.RoamEpoch)), 10, 53)
	if err != nil {
		return 0
	}
	return roam.Epoch(e)
}

// asksAgain says that another office's answer is about where the callee is, not what the callee
// said: a 480 of ours then says that nobody is there (Q.850 cause 20). Home knows who exists.
func (c *Call) asksAgain(l *Leg) bool {
	if c.s.cfg.Foreign[l.office] != nil {
		return false // it has the last word on its users
	}
	switch l.code {
	case 404:
		return l.office != c.callee.home
	case 302, 408, 430, 500, 503, 504:
		return true
	case 480:
		return l.cause == 0 || l.cause == subscriberAbsent
	}
	return false
}

// sibling says that the call came from another softswitch of our office: that one has found out who calls, and keeps the
// records.
func (c *Call) sibling() bool { return c.from != "" && c.from == c.s.cfg.Card.Office }
