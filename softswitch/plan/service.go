package plan

import (
	"strings"

	"github.com/siproam/siproam/roam"
)

// The services of a profile (M18). They are performed by the office that serves the user, by the same code at home
// and away.

// Condition is why a call goes elsewhere.
type Condition uint8

// The conditions, as Diversion names them (RFC 5806).
const (
	Always Condition = iota
	Busy
	NoAnswer
	NotReachable
)

var conditions = [...]string{"unconditional", "user-busy", "no-answer", "unavailable"}

// String is the reason of a Diversion.
func (c Condition) String() string { return conditions[c] }

// Forward is where p sends a call under a condition, "" when it does not.
func Forward(p *roam.Profile, c Condition) string {
	if p == nil || p.Forward == nil {
		return ""
	}
	switch f := p.Forward; c {
	case Always:
		return f.Always
	case Busy:
		return f.Busy
	case NoAnswer:
		return f.NoAnswer
	}
	return p.Forward.Offline
}

// Serves says that this office performs the callee's services for the call of f: home does for every call that it
// routes; the office where the user is does for those that reach it without home having done so.
func Serves(f Facts) bool {
	return f.Known && f.Line.Gone == nil && f.Line.Profile != nil && !(f.Served && f.From != "")
}

// Barred says that p forbids to call somebody of these names: what was dialled, a number, an address. Of the
// entries that fit the longest one counts; of two as long the one that forbids.
func Barred(p *roam.Profile, names ...string) bool {
	if p == nil || len(p.Bar) == 0 {
		return false
	}
	bar, found := longest(p.Bar, names)
	allow, _ := longest(p.Allow, names)
	return found && bar >= allow
}

// longest is the length of the longest of entries that one of names begins with, or has as its domain.
func longest(entries, names []string) (n int, found bool) {
	for _, e := range entries {
		for _, name := range names {
			_, host, _ := strings.Cut(name, "@")
			fits := e != "" && strings.HasPrefix(name, e)
			if e != "" && e[0] == '@' {
				fits = strings.EqualFold(host, e[1:])
			}
			if fits {
				n, found = max(n, len(e)), true
			}
		}
	}
	return n, found
}
