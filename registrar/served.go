package registrar

import (
	"context"
	"time"

	"github.com/siproam/siproam/roam"
)

// Served says that user is ours and was at a partner then, as far as we remember. What was between the last writing of our
// file and our start we do not remember if that file is an old one, which a ticket of ours shows that it does not know: then the
// partner's word counts. Until partners have had the time to show one it is roam.TooBusy. It waits.
func (s *Server) Served(ctx context.Context, user roam.UserID, at roam.OfficeID, when time.Time) (served bool, err error) {
	err = s.onLoop(ctx, func() error {
		u := s.users[user]
		switch served = u != nil && u.home.Served(at, when); {
		case served || u == nil || when.Before(s.written):
		case s.old && when.Before(s.started):
			served = true
		case s.loop.Now().Sub(s.started) < believeAfter:
			return roam.TooBusy
		}
		return nil
	})
	return served, err
}
