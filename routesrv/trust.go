package routesrv

import (
	"fmt"

	"github.com/siproam/siproam/roam"
)

// With routes.trust: signed a location counts when the user's home has signed it. What is not is as if it were not there: the
// caller asks home. It is checked once, when it comes from R; what is remembered has been.

// Trusting has fn say whether the user's home has said that he is at the place R holds; done may come at once or in a later
// turn. Before Run.
func (s *Store) Trusting(fn func(user roam.UserID, at roam.Location, done func(ok bool))) {
	s.trusts = fn
}

// vet gives at, or nowhere when nobody vouches for it.
func (s *Store) vet(user roam.UserID, at roam.Location, done func(roam.Location)) {
	switch {
	case s.trusts == nil:
		done(at)
	case at.Office == "": // nobody signs that; its epoch may be anybody's
		done(roam.Location{})
	default:
		s.trusts(user, at, func(ok bool) {
			if !ok {
				s.untrusted.Add(1)
				s.complain("routes.untrusted", fmt.Errorf("%s at %s: not by the word of his home", user, at.Office))
				at = roam.Location{}
			}
			done(at)
		})
	}
}
