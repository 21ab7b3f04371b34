package softswitch

import (
	"errors"
	"slices"
	"strings"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/softswitch/plan"
)

// dial understands what our user dialled, under that user's own plan: a visitor dials the
// short numbers of home.
func (c *Call) dial(to sip.URI) {
	s := c.s
	n, domain := s.numbers(&c.caller)
	user, host, ours := s.address(to, &c.caller)
	c.dialled = user
	if !ours {
		c.dialled += "@" + host
	}
	d, err := plan.Read(user, host, ours, n)
	switch {
	case errors.Is(err, roam.Incomplete) && d.User != "" && !d.Global: // unless somebody is called just so
		c.find([]sip.AOR{sip.AOR(d.User + "@" + domain)}, err)
	case err != nil:
		c.refuse(err)
	case d.Emergency:
		c.s.log.Error().Str("event", "call.emergency").Str("user", string(c.caller.user)).Str("call_id", c.a.callID).Str("spot", s.spotOf(c.a.flow, nil).String()).Msg("emergency call refused, no outside line")
		c.refuse(noEmergencyLine())
	case d.Office != "":
		s.router.Peer(d.Office, func(p roam.Peer, err error) { // short dialling between offices
			if !c.over {
				names := []sip.AOR{sip.AOR(d.User)}
				if err == nil && len(p.Domains) > 0 { // then it is nobody else's, whoever has that extension
					names, c.short = []sip.AOR{sip.AOR(d.User + "@" + p.Domains[0])}, d.Office
				}
				c.find(names, roam.NoSuchUser)
			}
		})
	default:
		names := candidates(d, domain)
		if c.caller.at().Home.Foreign && slices.Contains(s.cfg.Card.Domains, host) { // whom home has is not known: what is written counts
			names = slices.Insert(names, 0, sip.AOR(user+"@"+host))
		}
		if plan.Barred(c.caller.at().Profile, dialled(user, d, names)...) {
			c.barred()
			return
		}
		c.find(names, roam.NoSuchUser)
	}
}

// dialled is every way to name whom the caller dialled that needs no question.
func dialled(user string, d plan.Dialled, known []sip.AOR) []string {
	names := []string{user, d.User}
	for _, a := range known {
		names = append(names, string(a))
	}
	return names
}

// address is the user and host of a Request-URI; ours says that the host means this office or, to
// a visitor, his own.
func (s *Switch) address(to sip.URI, caller *party) (user, host string, ours bool) {
	user, host = to.User, to.Host
	if to.Scheme == "tel" {
		if context, found := to.Params.Get("phone-context"); found && !strings.HasPrefix(user, "+") {
			if strings.HasPrefix(context, "+") {
				user = context + user
			} else {
				host = strings.ToLower(context)
			}
		}
	}
	return user, host, host == "" || s.names[host] || slices.Contains(caller.at().Home.Domains, host)
}

// candidates is the names under which the directories may know d, best first.
func candidates(d plan.Dialled, domain string) (names []sip.AOR) {
	if d.Host != "" {
		names = append(names, sip.AOR(d.User+"@"+d.Host))
	}
	if d.Global {
		names = append(names, sip.AOR(d.User))
		if d.Short != "" {
			names = append(names, sip.AOR(d.Short+"@"+domain))
		}
		return names
	}
	if d.Host == "" {
		names = append(names, sip.AOR(d.User+"@"+domain))
		if strings.Trim(d.User, "0123456789") == "" {
			names = append(names, sip.AOR(d.User)) // the extension of exactly one office
		}
	}
	return names
}

// find looks for the callee: for each of his names in our own directory, then in the routing store. why is the refusal when
// nobody has any of the names.
func (c *Call) find(names []sip.AOR, why error) { c.identify(names, names, why) }

// identify looks for one name after the other; why is the best reason so far. A bare extension means, to a visitor, that of
// exactly one office, not ours.
func (c *Call) identify(wanted, names []sip.AOR, why error) {
	if len(names) == 0 {
		c.nobody(wanted, why)
		return
	}
	if bare := strings.Trim(string(names[0]), "0123456789") == ""; !bare || !c.caller.visitor {
		if user, found := c.s.dir.Resolve(names[0]); found {
			c.found(user, "")
			return
		}
	}
	if c.abroad(names[0]) {
		return
	}
	c.s.router.Identify(names[0], func(user roam.UserID, home roam.OfficeID, err error) {
		switch {
		case c.over:
		case err == nil:
			c.found(user, home)
		case errors.Is(why, roam.NoSuchUser):
			c.identify(wanted, names[1:], err)
		default:
			c.identify(wanted, names[1:], why)
		}
	})
}

// found goes on with the callee's canonical address.
func (c *Call) found(user roam.UserID, home roam.OfficeID) {
	p, known := c.s.know(user)
	if c.callee = p; !known {
		c.callee.home = home
	}
	switch {
	case c.loops(user):
		c.refuse(roam.LoopDetected)
		return
	case c.from == "" && len(c.diverted) == 0 && plan.Barred(c.caller.at().Profile, c.dialled, string(user), p.Number):
		c.barred()
		return
	case c.forwards(plan.Always):
		return
	}
	c.decide(false, roam.Location{})
}

// decide goes where package plan says (METHOD 4).
func (c *Call) decide(asked bool, at roam.Location) {
	f := c.facts()
	f.Asked, f.At = asked, at
	way, at := plan.Callee(f)
	c.local = c.callee.known && (way == plan.Ring || way == plan.Offline)
	switch way {
	case plan.Ring:
		c.ring()
	case plan.Office:
		c.toOffice(at)
	case plan.AskHome:
		c.toHome()
	case plan.Redirect:
		c.redirect(at)
	case plan.AskStore:
		c.s.router.Locate(c.callee.user, false, func(at roam.Location, err error) {
			if err != nil {
				at = roam.Location{} // then the table, and home, must do
			}
			if !c.over {
				c.decide(true, at)
			}
		})
	case plan.Offline:
		c.unreached(roam.NotRegistered)
	default:
		c.refuse(roam.NoSuchUser)
	}
}
