package registrar

import (
	"github.com/siproam/siproam/roam"
)

// partly tells what a visitor's profile asks for and this office does not do, once for each profile (M18). It is kept
// and shown (Standing), and the user has it at home only.
func (s *Server) partly(user roam.UserID, home roam.OfficeID, was, is *roam.Profile) {
	cannot := is.Cannot()
	if len(cannot) == 0 || was != nil && was.Rev == is.Rev {
		return
	}
	s.log.Warn().Str("event", "profile.partly").Str("user", string(user)).Str("home", string(home)).Uint64("rev", is.Rev).
		Strs("cannot", cannot).Msg("profile asks for what this office does not do")
}
