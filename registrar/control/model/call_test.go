package model

import (
	"slices"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/softswitch/plan"
)

// call is a call for a user as the softswitches would bring it there (package softswitch, decided by
// package plan), in no time.
type call struct {
	*world
	u                 *user
	from              *office
	rang              []*phone
	code              int
	asked             []roam.OfficeID
	deep              int // offices behind one another
	tries             []roam.Location
	reread, askedHome bool
}

// call calls u from an office.
func (w *world) call(from *office, u *user) *call {
	c := &call{world: w, u: u, from: from, code: 480}
	w.stats.calls++
	line, known := from.line(u)
	home := roam.OfficeID("")
	if !u.gone {
		home = officeID(u.home)
	}
	f := plan.Facts{Here: from.id, Known: known, Line: line, Home: home}
	c.decide(f)
	w.called(u, c)
	return c
}

// decide is softswitch's, for a phone of the office.
func (c *call) decide(f plan.Facts) {
	way, at := plan.Callee(f)
	switch way {
	case plan.Ring:
		c.ring(c.from, f.Line, "")
	case plan.Office:
		c.toOffice(at)
	case plan.AskHome:
		c.toHome()
	case plan.AskStore:
		f.Asked, f.At = true, c.from.lookup(c.u.id, false)
		c.decide(f)
	case plan.Offline:
		c.code = 480
	default:
		c.code = 404
	}
}

// ring rings the phones at o and asks the other offices on the line.
func (c *call) ring(o *office, line roam.Line, from roam.OfficeID) {
	for _, t := range line.Targets {
		if t.Office != "" {
			if o == c.from && len(line.Targets) == 1 {
				c.toOffice(roam.Location{Office: t.Office, Epoch: line.Epoch})
				return
			}
			c.ask(o, roam.Location{Office: t.Office, Epoch: line.Epoch}, 2)
			continue
		}
		for _, u := range c.users {
			for _, p := range u.phones {
				if p.at == o.n && p.flowAt(o.n) == t.Flow && !slices.Contains(c.rang, p) {
					c.rang = append(c.rang, p)
				}
			}
		}
	}
}

// toOffice asks the office of at, and goes on if that knows nothing.
func (c *call) toOffice(at roam.Location) {
	c.tries = append(c.tries, at)
	c.asked = append(c.asked, at.Office)
	pointed := c.ask(c.from, at, 1)
	if len(c.rang) > 0 {
		return
	}
	if len(c.tries) >= 3 {
		c.code = 480
		return
	}
	if !c.reread {
		c.reread = true
		if now := c.from.lookup(c.u.id, true); now.Epoch >= pointed.Epoch && now.Office != "" {
			pointed = now
		}
	}
	line, known := c.from.line(c.u)
	switch {
	case pointed.Office != "" && pointed.Office != c.from.id && !slices.ContainsFunc(c.tries, func(t roam.Location) bool { return t.Office == pointed.Office && t.Epoch >= pointed.Epoch }):
		c.toOffice(pointed)
	case known && line.Gone == nil && slices.ContainsFunc(line.Targets, func(t roam.Target) bool { return t.Office == "" }):
		line.Targets = slices.DeleteFunc(line.Targets, func(t roam.Target) bool { return t.Office != "" })
		c.ring(c.from, line, "")
	default:
		c.toHome()
	}
}

// toHome asks the callee's home, once.
func (c *call) toHome() {
	home := officeID(c.u.home)
	c.code = 480
	if c.askedHome || home == c.from.id || len(c.tries) >= 3 || slices.ContainsFunc(c.tries, func(t roam.Location) bool { return t.Office == home }) {
		return
	}
	c.askedHome = true
	c.toOffice(roam.Location{Office: home})
}

// ask is an INVITE from one office to another, which rings, redirects or refuses; home forwards.
func (c *call) ask(from *office, at roam.Location, deep int) (pointed roam.Location) {
	o := c.office(at.Office)
	c.deep = max(c.deep, deep)
	c.code = 480
	if !c.reached(from, o.n) {
		return pointed
	}
	line, known := o.line(c.u)
	f := plan.Facts{Here: o.id, From: from.id, Epoch: at.Epoch, Known: known, Line: line}
	way, to := plan.Callee(f)
	if way == plan.AskStore {
		f.Asked, f.At = true, o.lookup(c.u.id, false)
		way, to = plan.Callee(f)
	}
	switch way {
	case plan.Ring:
		c.ring(o, line, from.id)
	case plan.Redirect:
		return to
	case plan.Office:
		if o.n == c.u.home && deep < 2 {
			c.ask(o, to, deep+1)
		}
	}
	return pointed
}

// line is who the user is to this office (registrar's Line).
func (o *office) line(u *user) (line roam.Line, found bool) {
	if s := o.subscriber(u.id); s != nil {
		line = roam.Line{User: u.id, Epoch: s.home.Location.Epoch}
		for _, p := range s.home.At {
			if p.Office == o.id {
				line.Targets = append(line.Targets, o.live(p.Contacts)...)
			} else if !slices.ContainsFunc(line.Targets, func(t roam.Target) bool { return t.Office == p.Office }) {
				line.Targets = append(line.Targets, roam.Target{Office: p.Office, URI: p.Switch})
			}
		}
		return line, true
	}
	line = roam.Line{User: u.id, Visitor: true}
	for _, v := range o.visitors {
		st := &v.visit.Stay
		switch {
		case v.visit.User != u.id:
		case st.Serving():
			line.Epoch = max(line.Epoch, st.Known())
			line.Targets = append(line.Targets, o.live(st.Contacts)...)
		case st.Gone != nil && (line.Gone == nil || st.Gone.Location.Epoch > line.Gone.Epoch):
			line.Gone = &st.Gone.Location
		}
	}
	if len(line.Targets) > 0 {
		line.Gone = nil
	}
	return line, len(line.Targets) > 0 || line.Gone != nil
}

func (o *office) live(cs []control.Contact) (ts []roam.Target) {
	for _, c := range cs {
		if c.Live(o.now) {
			ts = append(ts, c.Target)
		}
	}
	return ts
}

// lookup is where R, or our memory of it, has the user.
func (o *office) lookup(user roam.UserID, fresh bool) roam.Location {
	p, known := o.places[user]
	if known && !fresh && o.now.Before(p.until) {
		return p.at
	}
	if !o.reached(o, theStore) {
		p.at.Stale = true
		return p.at
	}
	at := o.r.read(user)
	if at.Epoch < p.at.Epoch {
		return p.at
	}
	o.places[user] = place{at, o.now.Add(2 * time.Second)}
	return at
}
