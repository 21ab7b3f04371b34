package registrar

import (
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/store"
)

// ahead is how far the persisted ceiling stands above the newest epoch: an office that starts again
// with its clock set back goes on above what it gave before.
const ahead = roam.Epoch(10 * time.Minute / time.Microsecond)

// epochs issues epochs: max(last+1, the clock in microseconds), below 2^53.
type epochs struct {
	last, ceiling roam.Epoch
}

// issued has every epoch from now on be above that of t, which we have signed: our file may be older than that. It is, if
// we signed it before this start and nothing so new is in it.
func (s *Server) issued(t *roam.Ticket) {
	signed := t.Until.Add(-s.ticketLife())
	s.old = s.old || t.Epoch > s.newest && signed.Before(s.started)
	s.epochs.last = max(s.epochs.last, t.Epoch)
}

// newestKnown is the newest epoch that our file knows.
func (s *Server) newestKnown() (newest roam.Epoch) {
	for _, u := range s.users {
		newest = max(newest, u.home.Location.Epoch)
		for i := range u.home.At {
			newest = max(newest, u.home.At[i].Epoch)
		}
		for i := range u.home.Left {
			newest = max(newest, u.home.Left[i].Epoch)
		}
	}
	return newest
}

// draw is the next epoch. The ceiling is written before the row of any move that uses
// it, since the store keeps the order.
func (s *Server) draw() roam.Epoch {
	e := &s.epochs
	e.last = max(e.last+1, roam.Epoch(s.loop.Now().UnixMicro()))
	if e.last+ahead/2 > e.ceiling {
		e.ceiling = e.last + ahead
		ceiling := int64(e.ceiling)
		err := s.file.Write(store.Write{Power: true, Change: func(tx store.Tx) error {
			_, err := tx.Exec(putKey, ceilingKey, ceiling)
			return err
		}})
		if err != nil { // the move's own row will be refused as well; try again with the next
			e.ceiling = 0
		}
	}
	return e.last
}
