package plan

import "github.com/siproam/siproam/roam"

// Source is the way a request came, and what is known of it before anything it says is
// believed (DESIGN 9).
type Source struct {
	Partner roam.OfficeID // the office whose flow it is; "": a phone listener
	Bound   roam.UserID   // whose binding the flow is; "": nobody's
	Front   bool          // the flow is a foreign front's: many phones', and Bound is whom From names
	Many    bool          // several bindings share the flow and none of them was named
	Claim   roam.UserID   // who it says to be, when that is a subscriber or visitor here
	Visitor bool          // Bound is a visitor
	UDP     bool          // the source address of a datagram proves little
	Policy  string        // challenge_calls: never, udp (also ""), always
}

// Basis is why we believe who calls.
type Basis uint8

// The bases.
const (
	Refused   Basis = iota // nobody we know: 403
	Asserted               // a partner says so; Vouch decides whether it may
	ByFlow                 // the flow is the user's; what From says does not count
	Challenge              // credentials decide: 407
)

// Caller is the table of DESIGN 9: who calls, and on what ground. With Challenge, user is
// whom the credentials must belong to.
func Caller(s Source) (user roam.UserID, b Basis) {
	switch {
	case s.Partner != "":
		return "", Asserted
	case s.Many:
		return "", Refused
	case s.Bound != "" && s.Front:
		return s.Bound, Challenge
	case s.Bound != "" && !s.Visitor && (s.Policy == "always" || s.Policy != "never" && s.UDP):
		return s.Bound, Challenge
	case s.Bound != "":
		return s.Bound, ByFlow
	case s.Claim != "":
		return s.Claim, Challenge
	}
	return "", Refused
}

// Vouch says whether partner may assert a user whose home is home and who is at the
// office at: an office speaks for its own users and for those who are there. The
// home of the callee may assert anybody: it forwards calls to its roaming users,
// and has checked the caller itself.
func Vouch(partner, home, at, calleeHome roam.OfficeID) bool {
	return partner != "" && (partner == home || partner == at || partner == calleeHome)
}
