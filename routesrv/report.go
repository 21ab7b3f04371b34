package routesrv

import (
	"context"
	"sync"

	"github.com/siproam/siproam/roam"
)

// report is a location to be written.
type report struct {
	user roam.UserID
	at   roam.Location
	why  string
	done func(roam.Location, error)
}

// Report writes at as user's location if its epoch wins (location.lua), and gives what R
// holds now: a refusal is no error, but a now with a higher epoch, or the same and another
// office. A Location without office but with an epoch removes. Epoch 0 has R draw one, for
// a user whose home is no siproam. With R away it is roam.StoreAway, soon, and is written
// when R is back.
func (s *Store) Report(user roam.UserID, at roam.Location, why string, done func(now roam.Location, err error)) {
	r := &report{user, at, why, done}
	if s.Up() && s.queue.put(r) {
		return
	}
	s.owe(r)
	s.loop.Later(func() { done(roam.Location{}, roam.StoreAway) })
}

// queue is what waits for the writer.
type queue struct {
	sync.Mutex // guards all
	all        []*report
	wake       chan struct{} // one place: all is not empty
}

// put says that r found a place: R takes reports faster than they come.
func (q *queue) put(r *report) bool {
	q.Lock()
	defer q.Unlock()
	if len(q.all) >= maxReports {
		return false
	}
	q.all = append(q.all, r)
	signal(q.wake)
	return true
}

// take empties the queue.
func (q *queue) take() []*report {
	q.Lock()
	defer q.Unlock()
	all := q.all
	q.all = nil
	return all
}

// write is the one writer of reports: what has queued during one round trip goes with the next, as one
// pipeline, and its ends are one post to the loop.
func (s *Store) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.queue.wake:
		}
		batch := s.queue.take()
		var ends []end
		if s.Up() {
			ends = s.setAll(ctx, batch)
		} else { // what queued behind those that failed need not wait again
			ends = make([]end, len(batch))
			for i := range ends {
				ends[i].err = roam.StoreAway
			}
		}
		s.loop.Deliver(func() {
			for i, r := range batch {
				s.reported(r, ends[i].now, ends[i].won, ends[i].err)
			}
		})
	}
}

// reported is the end of a report, on the loop.
func (s *Store) reported(r *report, now roam.Location, won bool, err error) {
	if err != nil {
		if away(err) { // else it is refused as it is, and would be again
			s.owe(r)
		}
		r.done(roam.Location{}, s.refuse(err))
		return
	}
	s.written(r, now, won)
	r.done(now, nil)
}

// written notes R's answer to a report.
func (s *Store) written(r *report, now roam.Location, won bool) {
	if o := s.owing[r.user]; o != nil && o.at.Epoch <= now.Epoch {
		delete(s.owing, r.user)
		s.owed.Store(int64(len(s.owing)))
	}
	if !won {
		s.stale.Add(1)
	}
	keep := func(now roam.Location) {
		if p, known := s.places.get(r.user); !known || p.at.Epoch <= now.Epoch {
			s.remember(r.user, now, true)
		}
	}
	if won { // they are our own words
		keep(now)
		return
	}
	s.vet(r.user, now, keep)
}

// owe keeps what R did not take. What finds no place here is for the sweep.
func (s *Store) owe(r *report) {
	if old := s.owing[r.user]; old == nil && len(s.owing) >= maxOwing || old != nil && old.at.Epoch > r.at.Epoch {
		return
	}
	at := r.at
	if at.Epoch == 0 { // drawn now, not when it is written: somebody may have moved since
		at.Epoch = roam.Epoch(s.loop.Now().UnixMicro())
	}
	s.owing[r.user] = &report{user: r.user, at: at, why: r.why}
	s.owed.Store(int64(len(s.owing)))
	signal(s.work)
}

// abandon answers what is still queued when Run ends.
func (s *Store) abandon() {
	for _, r := range s.queue.take() {
		r.done(roam.Location{}, roam.StoreAway)
	}
}
