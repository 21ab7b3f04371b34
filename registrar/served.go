package registrar

import (
	"context"
	"time"

	"github.com/siproam/siproam/roam"
)

// Served says that user is ours and was at a partner then, as far as we remember. It waits.
func (s *Server) Served(ctx context.Context, user roam.UserID, at roam.OfficeID, when time.Time) (served bool, err error) {
	err = s.onLoop(ctx, func() error {
		u := s.users[user]
		served = u != nil && u.home.Served(at, when)
		return nil
	})
	return served, err
}
