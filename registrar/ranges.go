package registrar

import (
	"slices"
	"strings"

	"github.com/siproam/siproam/roam"
)

// Ranges is softswitch.Offices's: the numbers whose users each office has (M4).
func (s *Server) Ranges() map[roam.OfficeID][]string { return s.ranges }

// takeRanges keeps o's ranges, and tells once of each that another office has to the digit: calls to a number in it that
// nobody has go nowhere. One inside another is no clash: the one with more digits counts.
func (s *Server) takeRanges(o roam.OfficeID, ranges []string) {
	if len(ranges) == 0 {
		delete(s.ranges, o)
		return
	}
	s.ranges[o] = ranges
	for other, theirs := range s.ranges {
		if other == o {
			continue
		}
		for _, r := range ranges {
			pair := string(min(o, other)) + " " + string(max(o, other)) + " " + r
			if !slices.Contains(theirs, r) || s.clashes[pair] {
				continue
			}
			s.clashes[pair] = true
			s.log.Error().Str("event", "numbers.clash").Str("range", r).Str("home", string(o)).Str("peer", string(other)).
				Msg("two offices have the same range of numbers")
		}
	}
}

// ownRanges takes ours, which are about to be published.
func (s *Server) ownRanges() {
	own := s.cfg.Card.Ranges
	if was := s.ranges[s.cfg.Card.Office]; strings.Join(was, " ") != strings.Join(own, " ") {
		s.takeRanges(s.cfg.Card.Office, own)
	}
}
