package routesrv

import (
	"context"
	"time"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
)

const (
	freshFor   = 2 * time.Second
	nobodyFor  = time.Second // nowhere, unknown: sooner worth another question
	knownFor   = 10 * time.Second
	answersFor = renewEvery + time.Second // an office's card; watch renews it in time
)

// place is a remembered location.
type place struct {
	at    roam.Location
	until time.Time // then it is asked for again; with R away it is still served
	gen   uint64
}

// flight is a question for a location under way, and who waits for it.
type flight struct {
	gen     uint64
	floor   roam.Epoch // invalidated meanwhile: an answer below this is not kept as fresh
	waiting []func(roam.Location, error)
}

// Locate gives user's location: from the cache, or Redis. A Location without Office is
// nowhere. fresh goes past the cache (once, after a redirect). done comes in a later turn;
// with R away it gets what is remembered, Stale, or roam.StoreAway.
func (s *Store) Locate(user roam.UserID, fresh bool, done func(roam.Location, error)) {
	p, known := s.places.get(user)
	if known && !fresh && s.good(p) {
		s.lookups.Add(1, "hit")
		at := s.judge(p.at)
		s.loop.Later(func() { done(at, nil) })
		return
	}
	if !s.Up() {
		s.loop.Later(func() { done(s.remembered(user)) })
		return
	}
	s.lookups.Add(1, "miss")
	if f := s.flights[user]; f != nil && !fresh {
		f.waiting = append(f.waiting, done)
		return
	}
	f := &flight{gen: s.gen, waiting: []func(roam.Location, error){done}}
	s.flights[user] = f
	loop.Ask(s.loop, patience, func(ctx context.Context) (roam.Location, error) {
		got, err := s.client.HGetAll(ctx, locKey(user)).Result()
		return readLocation(got), err
	}, func(at roam.Location, err error) { s.land(user, f, at, err) })
}

func (s *Store) good(p *place) bool { return p.gen == s.gen && s.loop.Now().Before(p.until) }

// land is the end of a question.
func (s *Store) land(user roam.UserID, f *flight, at roam.Location, err error) {
	if s.flights[user] == f {
		delete(s.flights, user)
	}
	if err != nil {
		s.refuse(err)
		for _, done := range f.waiting {
			done(s.remembered(user))
		}
		return
	}
	s.vet(user, at, func(at roam.Location) { s.landed(user, f, at) })
}

// landed is the end of a question that R has answered.
func (s *Store) landed(user roam.UserID, f *flight, at roam.Location) {
	if p, known := s.places.get(user); known && p.at.Epoch > at.Epoch {
		at = p.at // R has lost something; the higher epoch is the newer truth
		at.Stale = true
	} else {
		s.remember(user, at, f.gen == s.gen && at.Epoch >= f.floor)
	}
	s.withOffice(at.Office, func() {
		at = s.judge(at)
		for _, done := range f.waiting {
			done(at, nil)
		}
	})
}

// remember keeps at, whether R's answer is fresh or was overtaken.
func (s *Store) remember(user roam.UserID, at roam.Location, fresh bool) {
	p := &place{at: at, gen: s.gen}
	switch {
	case !fresh:
	case at.Office == "":
		p.until = s.loop.Now().Add(nobodyFor)
	default:
		p.until = s.loop.Now().Add(freshFor)
	}
	s.places.put(user, p)
}

// remembered is the answer while R is away. That somebody was nowhere a while ago says
// nothing, unless an epoch stands behind it.
func (s *Store) remembered(user roam.UserID) (roam.Location, error) {
	p, known := s.places.get(user)
	if !known || p.at.Epoch == 0 {
		s.lookups.Add(1, "miss")
		return roam.Location{}, roam.StoreAway
	}
	s.lookups.Add(1, "stale")
	at := s.judge(p.at)
	at.Stale = true
	return at, nil
}

// judge sets Suspect: the location's softswitch is dead (silence.go).
func (s *Store) judge(at roam.Location) roam.Location {
	if at.Office == "" || at.Office == s.here.Office {
		return at
	}
	at.Suspect = s.dead(at.Switch)
	if o, known := s.offices.get(at.Office); known && !at.Suspect {
		at.Suspect = o.gone(at.Switch, func(w softswitch) bool { return s.dead(w.uri) })
	}
	return at
}

// forget makes user's location doubtful when epoch is newer (roam:ev); the echo of what
// is in memory already is not.
func (s *Store) forget(user roam.UserID, epoch roam.Epoch) {
	if f := s.flights[user]; f != nil {
		f.floor = max(f.floor, epoch)
	}
	if p, known := s.places.get(user); known && p.at.Epoch < epoch {
		p.until = time.Time{}
	}
}
