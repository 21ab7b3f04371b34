package plan

import (
	"slices"
	"strings"

	"github.com/siproam/siproam/roam"
)

// Ranges is the numbers whose users belong to an office that dials by n: those that it names, else the public numbers of
// its extensions, sorted.
func Ranges(n *roam.Numbers) []string {
	if len(n.Ranges) > 0 {
		return slices.Sorted(slices.Values(n.Ranges))
	}
	var all []string
	for _, public := range n.Extensions {
		if public != "" {
			all = append(all, public)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Owner is the office in whose range a number is: that of the range with most digits that are not "x". Two offices that have
// it by ranges as exact are no owner: clash names both, smaller first.
func Owner(number string, ranges map[roam.OfficeID][]string) (owner roam.OfficeID, clash []roam.OfficeID) {
	best := -1
	for o, all := range ranges {
		for _, r := range all {
			x, found := fit(number, r)
			if exact := len(r) - len(x); found && exact > best {
				best, owner, clash = exact, o, nil
			} else if found && exact == best && o != owner && !slices.Contains(clash, o) {
				clash = append(clash, o)
			}
		}
	}
	if len(clash) == 0 {
		return owner, nil
	}
	clash = append(clash, owner)
	slices.Sort(clash)
	return "", slices.Compact(clash)
}

// Overlap says that two ranges have a number in common, and neither is the more exact one.
func Overlap(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	head := strings.TrimRight(a, "x")
	return head == strings.TrimRight(b, "x")
}
