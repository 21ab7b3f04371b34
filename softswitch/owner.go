package softswitch

import (
	"errors"
	"strings"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/softswitch/plan"
)

// errClash refuses a number that two offices have by ranges as exact: whose it is only they can say.
var errClash = &sip.Refused{Why: roam.Ambiguous, Code: 404, Reason: "In The Ranges Of Two Offices"}

// nobody goes on with a call for a name that neither our directory nor the routing store knows: the office in whose range
// the number is, or that the dialling plan names, knows best whom it has, and says 404. why is what is said otherwise.
func (c *Call) nobody(wanted []sip.AOR, why error) {
	home := &c.caller.at().Home
	switch foreign := c.caller.visitor && home.Foreign && c.dialled != ""; {
	case !errors.Is(why, roam.NoSuchUser) && !errors.Is(why, roam.StoreAway) || len(wanted) == 0 || c.from != "":
		c.refuse(why)
		return
	case foreign && errors.Is(why, roam.NoSuchUser): // what nobody knows here his home may
		user, _, _ := strings.Cut(c.dialled, "@")
		c.found(roam.UserID(user+"@"+home.Domains[0]), home.Office)
		return
	}
	owner, clash := c.short, []roam.OfficeID(nil)
	if owner == "" && c.s.offices != nil {
		owner, clash = plan.Owner(string(wanted[0]), c.s.offices.Ranges())
	}
	switch {
	case len(clash) > 0:
		c.s.log.Error().Str("event", "numbers.clash").Str("call", c.id).Str("to", string(wanted[0])).Any("offices", clash).Msg("number in the ranges of two offices")
		c.refuse(errClash)
	case owner == "" || owner == c.s.cfg.Card.Office || c.s.cfg.Foreign[owner] != nil:
		c.refuse(why)
	default:
		c.callee = party{user: roam.UserID(wanted[0]), home: owner}
		c.toHome()
	}
}
