package softswitch

import (
	"slices"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
	"github.com/siproam/siproam/softswitch/plan"
)

// fromPartner takes a call from another office: the identity it asserts (RFC 3325), if it may.
func (s *Switch) fromPartner(tx *transaction.Server, req *sip.Message, to sip.URI) error {
	caller, found := asserted(req)
	if !found {
		s.spoofed(req.Flow, req.CallID(), "")
		s.count.tried(roam.Incoming, "refused")
		return roam.NotAllowed
	}
	c := s.newCall(tx, req, caller, req.Flow.Partner)
	c.epoch, c.behind = epochOf(req), readPath(req)
	c.divertedBefore(req)
	if !c.heard(s.cfg.Card.Speaks) {
		c.refuse(roam.NotAcceptable)
		return nil
	}
	user, host, ours := s.address(to, &c.caller)
	c.dialled = user
	names := []sip.AOR{sip.AOR(user + "@" + host)}
	if ours { // a foreign partner dials our numbers as we do
		d, err := plan.Read(user, host, true, &s.cfg.Numbers)
		if err == nil || !d.Global {
			_, domain := s.numbers(&c.callee)
			names = append(names, candidates(d, domain)...)
		}
	}
	for _, name := range names {
		if user, found := s.dir.Resolve(name); found {
			if p, known := s.know(user); known {
				c.callee = p
				break
			}
		}
	}
	if c.callee.user == "" { // nobody else's user is forwarded
		c.refuse(roam.NoSuchUser)
	} else {
		c.vouch()
	}
	return nil
}

// asserted reads P-Asserted-Identity: a SIP URI, and a number as a second, tel URI.
func asserted(req *sip.Message) (p party, found bool) {
	for v := range req.Values(sip.PAssertedIdentity) {
		a, err := sip.ParseAddress(v)
		if err != nil {
			return p, false
		}
		aor, err := a.URI.AOR()
		if err != nil {
			return p, false
		}
		if name := plain(a.Display); name != "" {
			p.Name = name
		}
		if a.URI.Scheme == "tel" {
			p.Number = a.URI.User
		}
		if p.address == "" || a.URI.Scheme != "tel" {
			p.address = string(aor)
		}
	}
	return p, p.address != ""
}

// vouch goes on when the partner may assert the caller: it is the caller's home, or the caller is
// there, by R (asked once past its cache: the caller may have just moved), or it is the callee's home.
func (c *Call) vouch() {
	aor := sip.AOR(c.caller.address)
	if user, found := c.s.dir.Resolve(aor); found {
		p, _ := c.s.know(user)
		c.caller.user, c.caller.Identity, c.caller.home = user, p.Identity, p.home // what we know counts
		at := roam.OfficeID("")
		if slices.ContainsFunc(p.at().Targets, func(t roam.Target) bool { return t.Office == c.from }) {
			at = c.from
		}
		c.vouched(at, false)
		return
	}
	c.s.router.Identify(aor, func(user roam.UserID, home roam.OfficeID, err error) {
		if c.over {
			return
		}
		if err == nil {
			c.caller.user, c.caller.Identity.User, c.caller.home = user, user, home
			c.vouched("", false)
			return
		}
		c.s.router.Peer(c.from, func(p roam.Peer, err error) { // not published yet, or R is away: a domain of its own
			if !c.over {
				c.caller.Identity.User = roam.UserID(c.caller.address)
				own := err == nil && slices.Contains(p.Domains, aor.Host()) && !c.s.names[aor.Host()]
				if own {
					c.caller.home = c.from
				} else if home := c.s.foreignHome(aor.Host()); home != "" { // whose names R does not know
					c.caller.user, c.caller.home = roam.UserID(aor), home
				}
				c.vouched("", own || c.caller.user == "")
			}
		})
	})
}

// vouched decides, or asks where the caller is; last says that asking is of no more use.
func (c *Call) vouched(at roam.OfficeID, last bool) {
	calleeHome := roam.OfficeID("")
	if c.callee.visitor {
		calleeHome = c.callee.home
	}
	switch {
	case c.sibling() || plan.Vouch(c.from, c.caller.home, at, calleeHome):
		c.checkNumber()
	case last:
		c.s.spoofed(c.a.flow, c.a.callID, c.caller.address)
		c.refuse(roam.NotAllowed)
	default:
		c.locateCaller(false)
	}
}

func (c *Call) locateCaller(fresh bool) {
	c.s.router.Locate(c.caller.user, fresh, func(at roam.Location, err error) {
		switch {
		case c.over:
		case err == nil && at.Office == c.from || fresh:
			c.vouched(at.Office, true)
		default:
			c.locateCaller(true)
		}
	})
}

// checkNumber drops a number that came with the identity unless it is that user's: phones show it.
func (c *Call) checkNumber() {
	if _, ours := c.s.dir.Resolve(sip.AOR(c.caller.address)); ours || c.caller.Number == "" {
		c.called()
		return
	}
	c.s.router.Identify(sip.AOR(c.caller.Number), func(user roam.UserID, _ roam.OfficeID, err error) {
		if c.over {
			return
		}
		if err != nil || user != c.caller.Identity.User {
			c.caller.Number = ""
		}
		c.called()
	})
}

// called goes on with a partner's call whose caller is who the partner says.
func (c *Call) called() {
	switch {
	case c.loops(c.callee.user) || len(c.diverted) > mostForwards:
		c.refuse(roam.LoopDetected)
	case c.forwards(plan.Always):
	default:
		c.decide(false, roam.Location{})
	}
}

// spoofed tells that a partner asserts somebody it may not speak for: once a minute.
func (s *Switch) spoofed(f *sip.Flow, callID, who string) {
	s.count.trespasses.Add(1, string(f.Office()), "identity")
	since, yes := s.seldom.Worth(s.loop.Now(), string(f.Office()))
	if !yes {
		return
	}
	s.log.Warn().Str("event", "call.refused").Str("peer", string(f.Office())).Str("remote_ip", f.Remote.Addr().Unmap().String()).
		Str("call_id", callID).Str("user", who).Uint64("before", since).Msg("identity not the partner's to assert")
}
