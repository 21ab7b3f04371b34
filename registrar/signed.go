package registrar

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/seal"
	"github.com/siproam/siproam/sip"
)

// A location carries home's signature (Location.Sig), made when home decides that the user has moved: whoever else can
// write the routing store cannot say that a user is where home did not say. Who reads it checks that where the store is not
// trusted (routes.trust: signed), with the key that home's card has, which came from home itself over TLS.

// renewKey is how long after home gave its card a signature that is not its key's is not worth another question.
const renewKey = time.Minute

// signLocation is control.Office.Sign.
func (s *Server) signLocation(user roam.UserID, at *roam.Location) string {
	return s.signer.Attest(roam.LocationSeal, at.Attested(user))
}

// Trusts says whether the user's home has said that he is there: at is what the routing store holds. done may come at once.
func (s *Server) Trusts(user roam.UserID, at roam.Location, done func(ok bool)) {
	about := at.Attested(user)
	if u := s.users[user]; u != nil {
		done(at.Epoch >= u.home.Location.Epoch && seal.Attested(s.signer.Public(), roam.LocationSeal, about, at.Sig))
		return
	}
	if at.Sig == "" {
		done(false)
		return
	}
	s.homeOf(user, func(home roam.OfficeID) {
		if home == "" || home == s.cfg.Card.Office {
			done(false)
			return
		}
		c := s.cards[home] // kept over restarts: a home that is dead still vouches for where its users are
		switch known := c != nil && len(c.card.Key) > 0; {
		case known && seal.Attested(c.card.Key, roam.LocationSeal, about, at.Sig):
			done(true)
			return
		case known && c.known && s.loop.Now().Sub(c.at) < renewKey:
			done(false)
			return
		case known:
			c.known = false // it may have a new key
		}
		s.card(home, func(card roam.Card, err error) {
			done(err == nil && seal.Attested(card.Key, roam.LocationSeal, about, at.Sig))
		})
	})
}

// homeOf is whose a user is: by the domains that our configuration gives to partners, else by those that they say they
// have; where several have one, as the routing store says. "" for nobody that we have an agreement with.
func (s *Server) homeOf(user roam.UserID, done func(roam.OfficeID)) {
	if v := s.visitorOf(user); v != nil {
		done(v.visit.Home.Office)
		return
	}
	_, domain, _ := strings.Cut(string(user), "@")
	if len(s.owners(domain)) == 0 && s.ignorant() { // as at the start
		s.learn(func() { s.owned(user, s.owners(domain), done) })
		return
	}
	s.owned(user, s.owners(domain), done)
}

// owned is which of owners, who all have the user's domain, is his home.
func (s *Server) owned(user roam.UserID, owners []roam.OfficeID, done func(roam.OfficeID)) {
	switch len(owners) {
	case 0:
		done("")
		return
	case 1:
		done(owners[0])
		return
	}
	s.router.Identify(sip.AOR(user), func(is roam.UserID, home roam.OfficeID, err error) {
		if err != nil || is != user || !slices.Contains(owners, home) {
			home = ""
		}
		done(home)
	})
}

// owners is the partners that have domain.
func (s *Server) owners(domain string) (all []roam.OfficeID) {
	for _, p := range s.cfg.Partners {
		if slices.ContainsFunc(p.Domains, func(d string) bool { return strings.EqualFold(d, domain) }) {
			all = append(all, p.Office)
		}
	}
	if all != nil {
		return all
	}
	for _, p := range s.cfg.Partners {
		if len(p.Domains) == 0 && s.has(p.Office, domain) {
			all = append(all, p.Office)
		}
	}
	return all
}

// Key is what checks our signatures, for those who have no office card of ours. It waits.
func (s *Server) Key(ctx context.Context) (k roam.OfficeKey, err error) {
	err = s.onLoop(ctx, func() error {
		k = roam.OfficeKey{Office: s.cfg.Card.Office, Domains: slices.Clone(s.cfg.Card.Domains), Public: s.signer.Public()}
		return nil
	})
	return k, err
}
