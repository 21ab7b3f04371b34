package softswitch

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
	"github.com/siproam/siproam/sip/transaction"
	"github.com/siproam/siproam/softswitch/plan"
)

// openMedia begins the call's media, once.
func (c *Call) openMedia() (err error) {
	if c.bridge == nil {
		c.bridge, err = c.s.open(c.id, c.s.silent(c.id))
	}
	return err
}

// ring forks to all the callee's targets: phones here, and offices where more devices are. One
// that is elsewhere altogether is an inter-office call by our own table.
func (c *Call) ring() {
	s := c.s
	targets, offices := c.targets()
	switch {
	case len(targets) == 0 && len(offices) == 1:
		t := offices[0]
		c.local = t.Office == s.cfg.Card.Office // another softswitch of ours, which keeps no record
		c.toOffice(roam.Location{Office: t.Office, Switch: t.URI, Epoch: c.callee.at().Epoch})
		return
	case len(targets)+len(offices) == 0: // only the calling phone itself
		c.refuse(&sip.Refused{Why: roam.TooBusy, Code: 486})
		return
	case s.full(&c.callee):
		if !c.forwards(plan.Busy) {
			c.refuse(&sip.Refused{Why: roam.TooBusy, Code: 486})
		}
		return
	}
	s.take(&c.callee)
	if c.from != "" && !c.sibling() {
		c.setKind(roam.Incoming)
	} else {
		c.setKind(roam.InOffice)
	}
	if err := c.openMedia(); err != nil {
		c.refuse(err)
		return
	}
	c.round = int32(len(c.bs))
	c.await()
	var why error
	for _, flows := range targets {
		if err := c.forkPhone(flows); err != nil {
			why = err
			s.log.Debug().Str("call", c.id).Str("contact", flows[0].URI).Err(err).Msg("cannot ring")
		}
	}
	for _, t := range offices {
		at := roam.Location{Office: t.Office, Switch: t.URI, Epoch: c.callee.at().Epoch}
		if c.mute(at) {
			why = roam.NotRegistered
		} else if err := c.forkOffice(at); err != nil {
			why = err
		}
	}
	if len(c.bs) == int(c.round) {
		if c.from != "" && errors.Is(why, roam.NotRegistered) { // bound here, but each flow is broken (RFC 5626 5.3.1)
			why = &sip.Refused{Why: roam.NotRegistered, Code: 430}
		}
		if errors.Is(why, roam.NotRegistered) {
			c.unreached(why)
		} else {
			c.refuse(why)
		}
	}
}

// targets is the callee's, phones here, each with its flows, and one per other office, which forks itself, or per
// other softswitch of ours. The phone that calls its own number is left out.
func (c *Call) targets() (phones [][]roam.Target, offices []roam.Target) {
	seen := map[string]bool{}
	for _, t := range c.callee.at().Targets {
		key := string(t.Office)
		if t.Office == c.s.cfg.Card.Office {
			key = t.URI
		}
		switch {
		case t.Office == "":
			if c.callee.user != c.caller.user || t.Flow != c.a.flow.Flow {
				phones = appendFlow(phones, t)
			}
		case c.sibling(): // which rings all others itself
		case !seen[key]:
			seen[key] = true
			offices = append(offices, t)
		}
	}
	return phones, offices
}

// appendFlow adds t to phones, behind the flows that lead to the same one (RFC 5626 6).
func appendFlow(phones [][]roam.Target, t roam.Target) [][]roam.Target {
	if t.RegID != 0 && t.Device != "" {
		for i, p := range phones {
			if p[0].RegID != 0 && p[0].Device == t.Device {
				phones[i] = append(p, t)
				return phones
			}
		}
	}
	return append(phones, []roam.Target{t})
}

// forkPhone rings a phone down the first of its flows that lives; the others are for when that fails.
func (c *Call) forkPhone(flows []roam.Target) (err error) {
	for i, t := range flows {
		if err = c.forkFlow(t, flows[i+1:]); err == nil {
			return nil
		}
	}
	return err
}

// forkFlow rings a phone down one flow.
func (c *Call) forkFlow(t roam.Target, others []roam.Target) error {
	to, err := c.s.tl.Target(t)
	if err != nil {
		return err
	}
	l := c.newLeg(c.callee.user, "")
	l.flows, l.device = others, t.Device
	if l.flow = to.Flow; l.flow != nil {
		l.peer = peerOf(l.flow)
	} else {
		l.peer.Signal, l.peer.Here = t.Flow.Remote.Addr().Unmap(), t.Flow.Local.Addr().Unmap()
	}
	var limit time.Duration
	if len(others) > 0 {
		limit = tryFor
	}
	return c.fork(l, dialog.Invite{To: to, URI: t.URI, Route: t.Route, From: c.shown(c.callee.user)}, limit)
}

// errWrongOffice says that an address leads to somebody else than the office that is said to be there.
var errWrongOffice = errors.New("the other end is not that office")

// forkOffice calls the callee at another office's softswitch.
func (c *Call) forkOffice(at roam.Location) error {
	u, err := sip.ParseURI([]byte(at.Switch))
	if err != nil {
		return fmt.Errorf("softswitch of %s: %w", at.Office, err)
	}
	if err := c.suits(at, &u); err != nil {
		return err
	}
	l := c.newLeg("", at.Office)
	l.peer.Partner, l.at = true, at.Switch
	in := dialog.Invite{To: transaction.Destination{URI: u}, URI: uriOf(string(c.callee.user)), From: c.canonical(), Fields: c.toPartner(at)}
	in.Allow = func(f *sip.Flow) error { // whatever the store says of its address, it is who its certificate says
		if f.Office() != at.Office {
			l.stray = true
			return fmt.Errorf("%w: %s at %s", errWrongOffice, at.Office, f.Remote)
		}
		return nil
	}
	return c.fork(l, in, tryFor)
}

// newLeg is the next B leg.
func (c *Call) newLeg(user roam.UserID, office roam.OfficeID) *Leg {
	return &Leg{call: c, name: "B" + strconv.Itoa(len(c.bs)+1), user: user, office: office}
}

// fork sends the INVITE of one B leg. When limit is not 0, the other end must give any sign of life by then.
func (c *Call) fork(l *Leg, in dialog.Invite, limit time.Duration) error {
	in.ToAddr = sip.Address{Raw: uriOf(string(c.callee.user))}
	in.Max = c.max
	in.Fields = append(in.Fields, c.across(l)...)
	if offer := c.offer; offer != nil {
		sdp, err := c.pass(c.a, l, offer)
		if err != nil {
			c.bridge.Drop(l.name)
			return err
		}
		in.Type, in.Body = sdpType, sdp
		if l.flow == nil { // our address towards another office is known when there is a way to it
			in.Offer = func(f *sip.Flow) ([]byte, error) {
				l.peer = peerOf(f)
				return c.pass(c.a, l, offer)
			}
		}
	}
	c.bs = append(c.bs, l)
	l.opened()
	l.d = c.s.dialogs.Invite(in, l)
	l.callID, _, _ = l.d.ID()
	if limit > 0 {
		l.try = c.s.loop.After(limit, func() {
			if !l.over && !l.d.Heard() {
				l.bye(0, "")
				l.code = 408
				c.lost(l, nil)
			}
		})
	}
	return nil
}

// canonical is the caller as offices name him.
func (c *Call) canonical() sip.Address {
	p := c.speaker()
	return sip.Address{Display: p.Name, Raw: uriOf(p.shown())}
}

// shown is the caller as the callee's phone shows him: what calls back when it is dialled.
func (c *Call) shown(callee roam.UserID) sip.Address {
	if c.private {
		return sip.Address{Display: "Anonymous", Raw: "sip:anonymous@anonymous.invalid"} // RFC 3323 4.1
	}
	user, host := plan.Shown(c.caller.Identity, callee)
	return sip.Address{Display: c.caller.Name, URI: sip.URI{Scheme: "sip", User: user, Host: host}}
}

// uriOf is a canonical address as a SIP URI, or a number as a tel URI.
func uriOf(address string) string {
	a := sip.AOR(address)
	if a.Host() == "" {
		return sip.URI{Scheme: "tel", User: address}.String()
	}
	return sip.URI{Scheme: "sip", User: strings.TrimSuffix(address, "@"+a.Host()), Host: a.Host()}.String()
}
