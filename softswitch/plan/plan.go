// Package plan says who calls, who is called and where the call goes (DESIGN 9). It is
// pure: no socket, clock or store; `explain` asks the same code.
package plan

import "github.com/siproam/siproam/roam"

// Dialled is a dialled address understood under one dialling plan.
type Dialled struct {
	User      string        // "1001", "+15550001001", "alice"
	Host      string        // "": a number; else a domain
	Emergency bool          //
	Global    bool          // User is E.164 with its "+"
	Office    roam.OfficeID // other_offices named it: short dialling
}

// Read understands what was dialled: blanks, dots, dashes and brackets in numbers go, national and
// international prefixes become "+", extensions their public number or stay as they are when the plan has none.
// host is the Request-URI's host, ours says whether it means this office. Too few digits is roam.Incomplete.
func Read(user, host string, ours bool, n *roam.Numbers) (Dialled, error) { panic("plan: not built") }

// Validate finds mistakes of a dialling plan.
func Validate(n *roam.Numbers) error { panic("plan: not built") }
