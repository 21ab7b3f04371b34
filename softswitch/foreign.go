package softswitch

import (
	"fmt"
	"slices"
	"strings"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
	"github.com/siproam/siproam/sip/transaction"
	"github.com/siproam/siproam/softswitch/plan"
)

// A foreign partner (DESIGN 5, 6) is known by its listener and speaks for the users of its own domain alone. As a home it
// sends the calls for its users who are here to the Contacts that we gave it, and takes the calls that they, or ours, make to
// its domain; whether it challenges its own users is its matter: the challenge goes to the phone, and the phone's answer
// back. As a front it brings calls of phones that have registered through it.

// fromForeign takes an INVITE from a foreign partner's listener.
func (s *Switch) fromForeign(tx *transaction.Server, req *sip.Message, to sip.URI) error {
	home := req.Flow.Foreign
	f := s.cfg.Foreign[home]
	if f == nil {
		return roam.NoAgreement
	}
	if f.Front && s.relayed(req) {
		return s.fromPhone(tx, req, to)
	}
	caller, err := foreignCaller(req)
	if err != nil {
		return err
	}
	own := f.Domain != "" && sip.AOR(caller.address).Host() == f.Domain
	if own {
		caller.home = home
	}
	c := s.newCall(tx, req, caller, home)
	c.dialled = to.User
	user, device, mirrored := s.dir.Mirrored(home, to.User)
	switch {
	case mirrored: // 4: for its user who is here
		c.dialled = string(user)
		c.callee, _ = s.know(user)
		c.callee.keep(device)
		c.stranger(own)
	case !own:
		s.spoofed(req.Flow, req.CallID(), caller.address)
		c.refuse(roam.NotAllowed)
	default:
		c.callForeign(to)
	}
	return nil
}

// relayed says that req is of a phone that has registered through the front it came by.
func (s *Switch) relayed(req *sip.Message) bool {
	if _, proven := s.proven(req); proven {
		return true
	}
	claims := s.claims(req)
	user, found, _ := s.dir.Whose(req.Flow, claims)
	return found && slices.ContainsFunc(claims, func(a sip.AOR) bool { is, known := s.dir.Resolve(a); return known && is == user })
}

// proven is whose phone a front says that req is of, by the flow token in its Record-Route (METHOD M14, RFC 5626 5.3): the
// topmost, which is the front's own.
func (s *Switch) proven(req *sip.Message) (user roam.UserID, found bool) {
	for v := range req.Values(sip.RecordRoute) {
		if a, err := sip.ParseAddress(v); err == nil && a.URI.User != "" {
			return s.dir.Proven(req.Flow, a.URI.User, s.claims(req))
		}
		break
	}
	return "", false
}

// foreignCaller is who calls, as a foreign partner says: P-Asserted-Identity where there is one, else From.
func foreignCaller(req *sip.Message) (party, error) {
	if p, found := asserted(req); found {
		p.Identity.User = roam.UserID(p.address)
		return p, nil
	}
	from, err := req.From()
	if err != nil {
		return party{}, err
	}
	aor, err := from.URI.AOR()
	if err != nil {
		return party{}, err
	}
	p := party{address: string(aor)}
	p.Identity = plan.Identity{User: roam.UserID(aor), Name: plain(from.Display)}
	return p, nil
}

// keep leaves of p's phones here the device that was meant: home forks itself.
func (p *party) keep(d roam.Device) {
	if p.line == nil {
		return
	}
	line := *p.line
	line.Targets = slices.DeleteFunc(slices.Clone(line.Targets), func(t roam.Target) bool { return t.Office != "" || t.Device != d })
	p.line = &line
}

// stranger rings a user of a foreign home, whoever calls him there, unless it is somebody for whom another office
// would have to speak.
func (c *Call) stranger(own bool) {
	aor := sip.AOR(c.caller.address)
	if own {
		c.decide(false, roam.Location{})
		return
	}
	spoofed := func() {
		c.s.spoofed(c.a.flow, c.a.callID, c.caller.address)
		c.refuse(roam.NotAllowed)
	}
	if _, ours := c.s.dir.Resolve(aor); ours || c.s.names[aor.Host()] || c.s.foreignHome(aor.Host()) != "" {
		spoofed()
		return
	}
	c.caller.Number = ""
	c.s.router.Identify(aor, func(_ roam.UserID, _ roam.OfficeID, err error) {
		switch {
		case c.over:
		case err == nil:
			spoofed()
		default:
			c.decide(false, roam.Location{})
		}
	})
}

// callForeign is a call of a foreign partner's user for one of ours. Nobody else's user is forwarded.
func (c *Call) callForeign(to sip.URI) {
	user, host, ours := c.s.address(to, &c.caller)
	names := []sip.AOR{sip.AOR(user + "@" + host)}
	if d, err := plan.Read(user, host, ours, &c.s.cfg.Numbers); ours && (err == nil || !d.Global) {
		_, domain := c.s.numbers(&c.callee)
		names = append(names, candidates(d, domain)...)
	}
	for _, name := range names {
		if user, found := c.s.dir.Resolve(name); found {
			if p, known := c.s.know(user); known {
				c.callee = p
				c.called()
				return
			}
		}
	}
	c.refuse(roam.NoSuchUser)
}

// foreignHome is the foreign home whose users have the domain host, "" when none has.
func (s *Switch) foreignHome(host string) roam.OfficeID {
	for o, f := range s.cfg.Foreign {
		if f.Domain != "" && strings.EqualFold(f.Domain, host) {
			return o
		}
	}
	return ""
}

// abroad takes the callee for a user of a foreign home that nobody here knows; false: it is none.
func (c *Call) abroad(name sip.AOR) bool {
	home := c.s.foreignHome(name.Host())
	if home != "" {
		c.found(roam.UserID(name), home)
	}
	return home != ""
}

// toForeign calls the callee at his foreign home, which knows him, and all his phones.
func (c *Call) toForeign(home roam.OfficeID, f *roam.Foreign) {
	if c.from == home {
		c.giveUp()
		return
	}
	c.tries = append(c.tries, try{office: home})
	c.setKind(roam.Outgoing)
	if err := c.openMedia(); err != nil {
		c.refuse(err)
		return
	}
	c.round = int32(len(c.bs))
	if err := c.forkForeign(home, f); err != nil {
		c.refuse(err)
	}
}

// forkForeign sends the INVITE to a foreign home. Its own user it is told whatever he hides, and his credentials.
func (c *Call) forkForeign(home roam.OfficeID, f *roam.Foreign) error {
	u, err := sip.ParseURI([]byte(f.Registrar))
	if err != nil {
		return fmt.Errorf("registrar of %s: %w", home, err)
	}
	l := c.newLeg("", home)
	in := dialog.Invite{To: transaction.Destination{URI: u}, URI: uriOf(string(c.callee.user)), From: c.canonical()}
	if its := c.caller.home == home; its {
		for _, v := range c.credentials {
			in.Fields = append(in.Fields, sip.Field{Name: sip.ProxyAuthorization, Value: v})
		}
	} else if c.private {
		in.From = c.shown(c.callee.user)
	}
	if !c.private {
		in.Fields = append(in.Fields, sip.Field{Name: sip.PAssertedIdentity, Value: c.canonical().String()})
	}
	return c.fork(l, in, tryFor)
}

// challenged keeps what a foreign home asks of its own user, who alone can answer.
func (c *Call) challenged(l *Leg, res *sip.Message) {
	if c.s.cfg.Foreign[l.office] == nil || l.office != c.caller.home {
		return
	}
	for _, n := range [...]sip.Name{sip.ProxyAuthenticate, sip.WWWAuthenticate} {
		for v := range res.Values(n) {
			l.challenge = append(l.challenge, sip.Field{Name: n, Value: string(v)})
		}
	}
}
