package routesrv

import (
	"context"
	"maps"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/siproam/siproam/roam"
)

const (
	sweepEvery = 10 * time.Minute
	pageSize   = 100
)

// Owned has the sweep repair what R should hold of our users: it asks all, a page at a
// time, on the loop; pages are in order of UserID. Before Run, or on the loop.
func (s *Store) Owned(page func(after roam.UserID, max int) []roam.Owned) { s.owned = page }

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
		if pace := 200 * time.Millisecond; err == nil && (all || time.Since(swept) > sweepEvery) {
			if all {
				pace = 10 * time.Millisecond
			}
			if err = s.sweep(ctx, pace); err == nil {
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
	for _, r := range todo {
		now, won, err := s.set(ctx, r.user, r.at, r.why)
		if away(err) {
			return err
		}
		s.refuse(err)
		if err := s.loop.Do(ctx, func() {
			if err == nil {
				s.written(r, now, won)
			} else if s.owing[r.user] == r { // it would be refused again
				delete(s.owing, r.user)
				s.owed.Store(int64(len(s.owing)))
			}
		}); err != nil {
			return err
		}
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
		if err := s.putNames(ctx, put, drop); err != nil {
			s.loop.Deliver(func() { s.untake(put, drop) })
			return err
		}
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

// sweep compares what R should hold with what it holds, a page at a time, and prolongs it.
func (s *Store) sweep(ctx context.Context, pace time.Duration) error {
	for after := roam.UserID(""); ; {
		var page []roam.Owned
		if err := s.loop.Do(ctx, func() {
			if s.owned != nil {
				page = s.owned(after, pageSize)
			}
		}); err != nil || len(page) == 0 {
			return err
		}
		if err := s.compare(ctx, page); err != nil {
			return err
		}
		after = page[len(page)-1].User
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pace):
		}
	}
}

// compare writes again what is missing or older in R. What is newer there stays: a report
// of ours may be on its way, and if not, home hears of it when it next reports.
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
		all[i].is = pipe.HMGet(within, locKey(o.User), "epoch", "office")
		all[i].loc = pipe.Expire(within, locKey(o.User), locationTTL)
		all[i].ep = pipe.Expire(within, epKey(o.User), epochTTL)
		pipe.Expire(within, movesKey(o.User), epochTTL)
	}
	if _, err := pipe.Exec(within); away(err) {
		return err
	}
	for i, o := range page {
		is := all[i].is.Val()
		if len(is) != 2 { // a key of another type, which the script could not write either
			s.refuse(all[i].is.Err())
			continue
		}
		now := readLocation(fields([]any{"epoch", is[0], "office", is[1]}))
		same := now.Epoch == o.At.Epoch && now.Office == o.At.Office && all[i].loc.Val() && all[i].ep.Val()
		if o.At.Epoch == 0 || same || now.Epoch > o.At.Epoch {
			continue
		}
		now, won, err := s.set(ctx, o.User, o.At, "repaired")
		if err != nil {
			return err
		}
		if err := s.loop.Do(ctx, func() { s.written(&report{user: o.User, at: o.At}, now, won) }); err != nil {
			return err
		}
	}
	return nil
}

// Resync has everything that R should hold of our users compared and written again, paced, as after R has
// lost it. It returns at once; from any goroutine.
func (s *Store) Resync() {
	s.lost.Store(true)
	signal(s.work)
}
