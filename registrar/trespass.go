package registrar

import (
	"github.com/siproam/siproam/roam"
)

// What a partner may not do, by kind: each is refused, counted, and told once a minute.
const (
	speaksForAnother = "network"   // P-Visited-Network-ID names another office than its certificate
	badTicket        = "ticket"    // a registration message without home's own word for it
	badSupersede     = "supersede" // a notice about a visitor without his home's word
	badProfile       = "profile"   // a profile from an office that is not the user's home
	notItsVisitor    = "card"      // a question for a visitor by an office that has no business with him
)

// trespass notes that partner o did what is not its to do, about user.
func (s *Server) trespass(o roam.OfficeID, kind string, user roam.UserID) {
	s.trespasses.Add(1, string(o), kind)
	if since, yes := s.seldom.Worth(s.loop.Now(), kind+" "+string(o)); yes {
		s.log.Warn().Str("event", "partner.trespass").Str("peer", string(o)).Str("reason", kind).Str("user", string(user)).
			Uint64("before", since).Msg("not this office's to say")
	}
}

// told notes that an agreement with o left out user.
func (s *Server) told(o roam.OfficeID, v verdict, user roam.UserID) {
	s.unagreed.Add(1, string(o), v.why.Error())
	if since, yes := s.seldom.Worth(s.loop.Now(), v.rule+" "+string(o)); yes {
		s.log.Info().Str("event", "roaming.refused").Str("peer", string(o)).Str("user", string(user)).Str("reason", v.why.Error()).Str("rule", v.rule).
			Uint64("before", since).Msg("agreement does not admit")
	}
}
