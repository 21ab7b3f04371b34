package routesrv

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/siproam/siproam/roam"
)

const (
	sweepEvery = 10 * time.Minute
	sweepPace  = 200 * time.Millisecond // between pages of the slow sweep
	leastPace  = 10 * time.Millisecond  // after a batch of a repair; see pause
	pageSize   = 100
)

// pages gives what R should hold of some users, a page at a time, on the loop, in order of UserID.
type pages = func(after roam.UserID, max int) []roam.Owned

// Owned has the sweep repair what R should hold of our users. ahead hears, on the loop, of a user of whom R holds a
// newer word than page said. Before Run.
func (s *Store) Owned(page pages, ahead func(roam.UserID, roam.Location)) {
	s.owned, s.ahead = page, ahead
}

// Guests has a repair after a loss write what R should hold of our visitors, too: their home may be dead. Before Run.
func (s *Store) Guests(page pages) { s.guests = page }

// OnLost has fn told, on any goroutine, when R may have lost what was sent through it. Before Run.
func (s *Store) OnLost(fn func()) { s.onLost = fn }

// lose notes that R may have lost what it held.
func (s *Store) lose() {
	s.lost.Store(true)
	s.onLost()
}

// pause waits after a batch of a repair that took so long: as long again, so that however many offices repair at once,
// half of R is left for others. It says whether ctx stands.
func pause(ctx context.Context, took, least time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(max(took, least)):
		return true
	}
}

// mend writes what R does not have: at once what failed, everything when R may have lost
// it, and now and then the sweep looks whether a write got lost on the way.
func (s *Store) mend(ctx context.Context) {
	retry := time.NewTicker(10 * time.Second)
	defer retry.Stop()
	swept := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.work:
		case <-retry.C:
		}
		if !s.Up() {
			continue
		}
		all := s.lost.Swap(false)
		err := s.mendReports(ctx)
		if err == nil {
			err = s.mendNames(ctx, all)
		}
		if err == nil && (all || time.Since(swept) > sweepEvery) {
			if all {
				err = errors.Join(s.sweep(ctx, s.owned, leastPace), s.sweep(ctx, s.guests, leastPace))
			} else {
				err = s.sweep(ctx, s.owned, sweepPace)
			}
			if err == nil {
				swept = time.Now()
			}
		}
		if err != nil && all {
			s.lost.Store(true)
		}
		s.refuse(err)
	}
}

// mendReports writes the reports that failed.
func (s *Store) mendReports(ctx context.Context) error {
	var todo []*report
	if err := s.loop.Do(ctx, func() {
		for _, r := range s.owing {
			todo = append(todo, r)
		}
	}); err != nil {
		return err
	}
	for some := range slices.Chunk(todo, pageSize) {
		began := time.Now()
		ends := s.setAll(ctx, some)
		var failed error
		if err := s.loop.Do(ctx, func() {
			for i, r := range some {
				switch err := ends[i].err; {
				case err == nil:
					s.written(r, ends[i].now, ends[i].won)
				case away(err):
					failed = err
				case s.owing[r.user] == r: // it would be refused again
					s.refuse(err)
					delete(s.owing, r.user)
					s.owed.Store(int64(len(s.owing)))
				}
			}
		}); err != nil || failed != nil {
			return errors.Join(err, failed)
		}
		pause(ctx, time.Since(began), leastPace)
	}
	return nil
}

// mendNames brings roam:id and roam:ext up to date, a batch at a time.
func (s *Store) mendNames(ctx context.Context, all bool) error {
	for {
		var put, drop []roam.Identity
		if err := s.loop.Do(ctx, func() {
			if all {
				maps.Copy(s.publish, s.ours)
			}
			put, drop = take(s.publish), take(s.gone)
			s.published.Store(len(put)+len(drop) == 0)
		}); err != nil {
			return err
		}
		if all = false; len(put)+len(drop) == 0 {
			return nil
		}
		began := time.Now()
		if err := s.putNames(ctx, put, drop); err != nil {
			s.loop.Deliver(func() { s.untake(put, drop) })
			return err
		}
		pause(ctx, time.Since(began), leastPace)
	}
}

// take moves up to a batch out of m.
func take(m map[claim]roam.Identity) (some []roam.Identity) {
	for c, id := range m {
		if len(some) == 2*pageSize {
			break
		}
		some = append(some, id)
		delete(m, c)
	}
	return some
}

// untake puts back what was not written, unless it has changed since.
func (s *Store) untake(put, drop []roam.Identity) {
	for _, id := range put {
		c := claim{id.Name, id.User}
		if now, still := s.ours[c]; still {
			s.publish[c] = now
		}
	}
	for _, id := range drop {
		c := claim{id.Name, id.User}
		if _, back := s.ours[c]; !back {
			s.gone[c] = id
		}
	}
}

func (s *Store) putNames(ctx context.Context, put, drop []roam.Identity) error {
	ctx, cancel := context.WithTimeout(ctx, 5*patience) // a few hundred at once
	defer cancel()
	pipe := s.client.Pipeline()
	for _, id := range drop { // first: a name may have changed its user
		if short(id.Name) {
			pipe.HDel(ctx, extKey(id.Name), string(id.User))
		} else {
			withdrawScript.Eval(ctx, pipe, []string{idKey(id.Name)}, string(id.User))
		}
	}
	for _, id := range put {
		if short(id.Name) {
			pipe.HSet(ctx, extKey(id.Name), string(id.User), string(id.Home))
		} else {
			pipe.HSet(ctx, idKey(id.Name), "user", string(id.User), "home", string(id.Home))
		}
	}
	cmds, err := pipe.Exec(ctx)
	if away(err) {
		return err
	}
	for _, c := range cmds {
		if err := c.Err(); err != nil { // a key of another type: of no use to repeat
			s.refuse(err)
		}
	}
	return nil
}

// sweep compares what R should hold with what it holds, a page at a time, and prolongs it. pace is the least pause
// after a page.
func (s *Store) sweep(ctx context.Context, all pages, pace time.Duration) error {
	if all == nil {
		return nil
	}
	for after := roam.UserID(""); ; {
		var page []roam.Owned
		if err := s.loop.Do(ctx, func() { page = all(after, pageSize) }); err != nil || len(page) == 0 {
			return err
		}
		began := time.Now()
		if err := s.compare(ctx, page); err != nil {
			return err
		}
		after = page[len(page)-1].User
		if !pause(ctx, time.Since(began), pace) {
			return ctx.Err()
		}
	}
}

// compare writes again what is missing or older in R. What is newer there stays: a report
// of ours may be on its way, and if not, ours is the old word.
func (s *Store) compare(ctx context.Context, page []roam.Owned) error {
	within, cancel := context.WithTimeout(ctx, 5*patience)
	defer cancel()
	type seen struct {
		is      *redis.SliceCmd
		loc, ep *redis.BoolCmd
	}
	all := make([]seen, len(page))
	pipe := s.client.Pipeline()
	for i, o := range page {
		all[i].is = pipe.HMGet(within, locKey(o.User), "epoch", "office", "sw", "reg", "sig")
		all[i].loc = pipe.Expire(within, locKey(o.User), locationTTL)
		all[i].ep = pipe.Expire(within, epKey(o.User), epochTTL)
		pipe.Expire(within, movesKey(o.User), epochTTL)
	}
	if _, err := pipe.Exec(within); away(err) {
		return err
	}
	var wrong []*report
	ahead := map[roam.UserID]roam.Location{}
	for i, o := range page {
		is := all[i].is.Val()
		if len(is) != 5 { // a key of another type, which the script could not write either
			s.refuse(all[i].is.Err())
			continue
		}
		now := readLocation(fields([]any{"epoch", is[0], "office", is[1], "sw", is[2], "reg", is[3], "sig", is[4]}))
		switch same := now.Epoch == o.At.Epoch && now.Office == o.At.Office && (o.At.Office == "" || now.Switch == o.At.Switch && now.Sig == o.At.Sig) &&
			all[i].loc.Val() && all[i].ep.Val(); {
		case now.Epoch > o.At.Epoch:
			ahead[o.User] = now
		case o.At.Epoch != 0 && !same:
			wrong = append(wrong, &report{user: o.User, at: o.At, why: "repaired"})
		}
	}
	ends := s.setAll(ctx, wrong)
	var failed error
	err := s.loop.Do(ctx, func() {
		for i, r := range wrong {
			if err := ends[i].err; err != nil {
				if s.refuse(err); away(err) {
					failed = err
				}
				continue
			}
			s.written(r, ends[i].now, ends[i].won)
			if !ends[i].won {
				ahead[r.user] = ends[i].now
			}
		}
		for user, now := range ahead {
			if s.ahead != nil {
				s.ahead(user, now)
			}
		}
	})
	return errors.Join(err, failed)
}

// Resync has everything that R should hold of our users compared and written again, paced, as after R has
// lost it. It returns at once; from any goroutine.
func (s *Store) Resync() {
	s.lost.Store(true)
	signal(s.work)
}
