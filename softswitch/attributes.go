package softswitch

import (
	"slices"
	"strings"

	"github.com/siproam/siproam/media"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Offices is what the registrar knows of other offices (M11): it asks for their cards, keeps them, and notices when they change.
type Offices interface {
	// OfficeCard is what o has said of itself; found is false while it is not known.
	OfficeCard(o roam.OfficeID) (card *roam.Card, found bool)
	// Ranges is the numbers of each office, ours included; the map is not the caller's to change.
	Ranges() map[roam.OfficeID][]string
}

// Knows hands over who knows the other offices, before the first request. Without, nothing is known of any.
func (s *Switch) Knows(o Offices) { s.offices = o }

// speaks is the attributes of o; nil when it has told none.
func (s *Switch) speaks(o roam.OfficeID) *roam.Attributes {
	if s.offices == nil || o == "" {
		return nil
	}
	if c, found := s.offices.OfficeCard(o); found {
		return c.Speaks
	}
	return nil
}

// headOf is what our INVITE has beside its body, at most.
const headOf = 3 << 10

// suits chooses the transport in u, the office's address at, as its card has it, and says what keeps a call with that offer away from it: no transport in common,
// no codec, a message longer than it takes, more calls than it takes.
func (c *Call) suits(at roam.Location, u *sip.URI) error {
	o := at.Office
	theirs, ours := c.s.speaks(o), c.s.cfg.Card.Speaks
	if theirs == nil || ours == nil {
		return nil
	}
	refused := func(what string, err error) error {
		c.s.log.Warn().Str("event", "call.unsuited").Str("call", c.id).Str("peer", string(o)).Str("reason", what).Msg("not what the other office takes")
		return err
	}
	t, found := roam.Common(ours.Transports, theirs.Transports)
	switch {
	case !found:
		return refused("transport", &sip.Refused{Why: roam.NoAbility, Code: 488, Reason: "No Common Transport"})
	case theirs.CallsMax > 0 && c.s.with[o] >= theirs.CallsMax:
		return refused("calls", roam.NoCapacity)
	case theirs.MessageMax > 0 && len(c.offer)+headOf > theirs.MessageMax:
		return refused("message", &sip.Refused{Why: roam.NotAcceptable, Code: 513})
	case !c.heard(theirs) || !c.heard(ours):
		return refused("codecs", roam.NotAcceptable)
	}
	if card, _ := c.s.offices.OfficeCard(o); t != "" && u.Transport() != t && card.Switch == at.Switch {
		u.Params = sip.Params("transport=" + t)
	}
	return nil
}

// heard says that a call between offices may have the caller's offer by what one of them takes. An offer to come, or
// one of which we know no codec, is not ours to judge.
func (c *Call) heard(a *roam.Attributes) bool {
	if a == nil || len(a.Codecs) == 0 || c.offer == nil {
		return true
	}
	offered := media.Codecs(c.offer)
	return len(offered) == 0 || slices.ContainsFunc(offered, func(o string) bool {
		return slices.ContainsFunc(a.Codecs, func(t string) bool { return strings.EqualFold(o, t) })
	})
}

// opened counts a leg to another office, closed marks any leg as over and takes that back.
func (l *Leg) opened() {
	if l.office != "" {
		l.counted = true
		l.call.s.with[l.office]++
	}
}

func (l *Leg) closed() {
	l.over = true
	if !l.counted {
		return
	}
	l.counted = false
	if s := l.call.s; s.with[l.office] > 1 {
		s.with[l.office]--
	} else {
		delete(s.with, l.office)
	}
}
