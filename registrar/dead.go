package registrar

import (
	"errors"
	"time"

	"github.com/siproam/siproam/roam"
)

// A home that is known to be dead costs its visitors no time: what the policy says of its silence (M9) is done at once.
// It is known by its refusing our connection a moment ago, or by the routing store, which misses its sign of life, unless
// we ourselves have heard from it since. Meanwhile it is asked for its card now and then, so that it is known to live
// before the next phone comes.
const (
	refusedFor = 3 * time.Second
	heardFor   = 12 * time.Second // a sign of life stands 9 s, and is looked at every 3 s
)

// acquaintance is what we have seen of an office ourselves. The loop's.
type acquaintance struct {
	heard   time.Time // it answered
	refused time.Time // there was no connection to it
	asking  bool      // for its card, because it is thought dead
}

func (s *Server) acquainted(o roam.OfficeID) *acquaintance {
	a := s.seen[o]
	if a == nil {
		a = &acquaintance{}
		s.seen[o] = a
	}
	return a
}

// noted keeps how a request of ours to o ended.
func (s *Server) noted(o roam.OfficeID, err error) {
	a := s.acquainted(o)
	switch {
	case err == nil:
		a.heard, a.refused = s.loop.Now(), time.Time{}
	case s.loop.Now().Sub(s.started) < refusedFor: // who starts with us does not listen yet
	case errors.Is(err, roam.NotRegistered) || errors.Is(err, roam.NoRoute):
		a.refused = s.loop.Now()
	}
}

// dead says whether o is known to be. done may come at once.
func (s *Server) dead(o roam.OfficeID, done func(bool)) {
	a, now := s.acquainted(o), s.loop.Now()
	if now.Sub(a.refused) < refusedFor {
		s.rouse(o)
		done(true)
		return
	}
	if now.Sub(a.heard) < heardFor {
		done(false)
		return
	}
	s.router.Peer(o, func(p roam.Peer, err error) {
		gone := err == nil && !p.Alive
		if gone {
			s.rouse(o)
		}
		done(gone)
	})
}

// rouse asks an office that is thought dead for its card.
func (s *Server) rouse(o roam.OfficeID) {
	a := s.acquainted(o)
	if a.asking {
		return
	}
	a.asking = true
	s.askCard(o, "", func(roam.Card, error) { a.asking = false })
}
