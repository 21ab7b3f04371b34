package registrar

import (
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
)

// decision is who called a visitor's last REGISTER legal. It is for people, and not kept.
type decision struct {
	took  time.Duration // home took so long; 0: not since our start
	alone bool          // home was silent: we, by policy
}

// decided notes who has called in's REGISTER legal, unless that was known before.
func (s *Server) decided(in *inquiry) {
	v := s.findVisitor(in.q.User, in.r.Device)
	if v == nil || in.took == 0 && !in.alone {
		return
	}
	v.legal = decision{took: max(in.took, time.Microsecond), alone: in.alone}
}

// registeredSince is when the youngest of cs was last registered; zero when that was before our start.
func (s *Server) registeredSince(cs []control.Contact) (last time.Time) {
	for _, c := range cs {
		if at := c.Until.Add(-c.Grant); at.After(s.started) && at.After(last) {
			last = at
		}
	}
	return last
}

// Check is whose word made a registration legal.
type Check struct {
	By      roam.OfficeID `json:"by"`                // home; or, while home is silent, the office that serves the user
	Foreign bool          `json:"foreign,omitempty"` // home is no siproam
	Millis  float64       `json:"ms,omitempty"`      // of a visitor: how long home took to say so; 0: not since the start of the office
	At      time.Time     `json:"at,omitzero"`       // the REGISTER; zero: before the start of the office
	Rev     uint64        `json:"rev,omitempty"`     // of the profile in force here, as in roam.Profile
}

// check is v's, for people.
func (s *Server) check(v *visitor) *Check {
	st := &v.visit.Stay
	c := &Check{By: st.Home.Office, Foreign: st.Home.Foreign, Millis: float64(v.legal.took.Microseconds()) / 1000, At: s.registeredSince(st.Contacts)}
	if v.legal.alone {
		c.By = s.cfg.Card.Office
	}
	if st.Profile != nil {
		c.Rev = st.Profile.Rev
	}
	return c
}
