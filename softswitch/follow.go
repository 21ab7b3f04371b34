package softswitch

import (
	"slices"
	"time"

	"github.com/siproam/siproam/roam"
)

// settling is how long a call waits before it follows its callee to another office: the office has admitted the phone, but
// may still be writing so, and the phone has yet to hear its 200.
const settling = 500 * time.Millisecond

// follow has calls that ring at a phone which has gone to another office go there, too: nobody is at the old place any more.
// A call that was answered goes on where it is, for as long as the phone stays in it.
func (s *Switch) follow(user roam.UserID, device roam.Device, gone roam.Location) {
	if gone.Office == "" || s.busy[user] == 0 {
		return
	}
	for _, c := range s.calls {
		if c.callee.user == user && c.b == nil && !c.over && c.unring(device) {
			s.loop.After(settling, c.goAfter)
		}
	}
}

// unring stops ringing at device; rang is false when the call did not ring there.
func (c *Call) unring(device roam.Device) (rang bool) {
	for _, l := range c.bs[c.round:] {
		if l.office != "" || l.device != device || l.over {
			continue
		}
		rang = true
		l.replaced = true
		l.bye(0, "")
		c.bridge.Drop(l.name)
		if c.early == l {
			c.early = nil
		}
	}
	return rang
}

// goAfter asks the directory anew where the callee is, and rings there: beside what rings still, or as a call that is new.
func (c *Call) goAfter() {
	if c.over || c.b != nil {
		return
	}
	p, _ := c.s.know(c.callee.user)
	if p.counted = c.callee.counted; p.home == "" {
		p.home = c.callee.home
	}
	c.callee = p
	ringing := c.bs[c.round:]
	if !slices.ContainsFunc(ringing, func(l *Leg) bool { return !l.over }) {
		c.decide(false, roam.Location{})
		return
	}
	_, offices := c.targets()
	for _, t := range offices {
		if t.Office != c.from && !slices.ContainsFunc(ringing, func(l *Leg) bool { return l.office == t.Office && !l.over }) {
			_ = c.forkOffice(roam.Location{Office: t.Office, Switch: t.URI, Epoch: c.callee.at().Epoch}) // the others ring all the same
		}
	}
}
