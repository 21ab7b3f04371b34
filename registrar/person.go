package registrar

import (
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Under devices: one a phone that is not the newest takes its user back with a sign of a person (DESIGN 6): control sees
// another office, another subnet of our own phones and a restart; what follows is seen here.

// justCalled is how long after its last call a phone's REGISTER is the sign of a person.
const justCalled = 5 * time.Minute

// mostCallers bounds Server.callers: beyond, all are forgotten.
const mostCallers = 1000

// calls notes that somebody made a call down f, with good credentials.
func (s *Server) calls(f roam.Flow) {
	if len(s.callers) >= mostCallers {
		clear(s.callers)
	}
	s.callers[f] = s.loop.Now()
}

// hasCalled says that somebody has just called with the phone that has cs.
func (s *Server) hasCalled(cs []control.Contact) bool {
	for i := range cs {
		if at, found := s.callers[cs[i].Target.Flow]; found && s.loop.Now().Sub(at) < justCalled {
			return true
		}
	}
	return false
}

// person says whether there is a sign of a person that the visitor's home cannot see.
func (s *Server) person(user roam.UserID, r *control.Register) bool {
	if s.hasCalled(r.Contacts) {
		return true
	}
	v := s.findVisitor(user, r.Device)
	if v == nil {
		return !r.Plugged.IsZero()
	}
	return v.visit.PluggedIn(r.Plugged) || len(r.Contacts) > 0 && v.visit.Carried(r.Contacts[0].Target.Flow)
}

// registeredAt refuses the refresh of a phone whose user is registered by another one, and says where.
func registeredAt(o roam.OfficeID) error {
	return &sip.Refused{Why: roam.Moved, Reason: "Registered At " + string(o)}
}
