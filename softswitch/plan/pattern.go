package plan

import (
	"errors"
	"fmt"
	"strings"

	"github.com/siproam/siproam/roam"
)

// A pattern is literal digits and then "x", one digit each: "2xxx", "+15550002xxx".

// fit says that number is one of pattern's; x is what stands for its "x".
func fit(number, pattern string) (x string, found bool) {
	head := strings.TrimRight(pattern, "x")
	if pattern == "" || len(number) != len(pattern) || number[:len(head)] != head || !plain(number[len(head):]) {
		return "", false
	}
	return number[len(head):], true
}

// fill is pattern with x for its "x".
func fill(pattern, x string) string { return strings.TrimRight(pattern, "x") + x }

// prefix says that digits may follow number and make it one of pattern's.
func prefix(number, pattern string) bool {
	head := strings.TrimRight(pattern, "x")
	n := min(len(number), len(head))
	return len(number) < len(pattern) && number[:n] == head[:n] && plain(strings.TrimPrefix(number, "+"))
}

// plain says that s is digits alone, or nothing.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// extension finds number among the plan's patterns, the one with most literal digits
// first: its public number ("" when it has none), or the office it belongs to.
func extension(number string, n *roam.Numbers) (public string, office roam.OfficeID, found bool) {
	best := -1
	for key, to := range n.Extensions {
		if x, ok := fit(number, key); ok && len(key)-len(x) > best {
			best, found, office, public = len(key)-len(x), true, "", ""
			if to != "" {
				public = fill(to, x)
			}
		}
	}
	for key, o := range n.OtherOffices {
		if x, ok := fit(number, key); ok && len(key)-len(x) > best {
			best, found, office, public = len(key)-len(x), true, o, ""
		}
	}
	return public, office, found
}

// begins says that number is the beginning of something the plan knows.
func begins(number string, n *roam.Numbers) bool {
	for key := range n.Extensions {
		if prefix(number, key) {
			return true
		}
	}
	for key := range n.OtherOffices {
		if prefix(number, key) {
			return true
		}
	}
	for _, e := range append([]string{n.International, n.National}, n.Emergency...) {
		if prefix(number, e) {
			return true
		}
	}
	return false
}

// Validate finds mistakes of a dialling plan, all at once. A nil plan has none.
func Validate(n *roam.Numbers) error {
	if n == nil {
		return nil
	}
	var errs []error
	say := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(n.Country) > 3 || !plain(n.Country) || strings.HasPrefix(n.Country, "0") {
		say("country %q: a country code has one to three digits and no leading 0", n.Country)
	}
	if !plain(n.International) {
		say("international %q: digits only", n.International)
	}
	if !plain(n.National) {
		say("national %q: digits only", n.National)
	}
	if n.National != "" && n.Country == "" {
		say("national %q: needs country, to become an international number", n.National)
	}
	if n.National != "" && n.National == n.International {
		say("national and international are both %q", n.National)
	}
	for key, to := range n.Extensions {
		if why := mistake(key); why != "" {
			say("extensions %q: %s", key, why)
		} else if to != "" && (to[0] != '+' || mistake(to[1:]) != "" || strings.Count(to, "x") != strings.Count(key, "x")) {
			say("extensions %q: public number %q is not \"+\", digits and as many x", key, to)
		}
		if _, both := n.OtherOffices[key]; both {
			say("extensions %q: stands under other_offices, too", key)
		}
	}
	for _, r := range n.Ranges {
		if r == "" || r[0] != '+' || mistake(r[1:]) != "" {
			say("ranges %q: not \"+\", digits and x, such as +15550002xxx", r)
		}
	}
	for key, o := range n.OtherOffices {
		if why := mistake(key); why != "" {
			say("other_offices %q: %s", key, why)
		}
		if o == "" {
			say("other_offices %q: no office", key)
		}
	}
	for _, e := range n.Emergency {
		if e == "" || !plain(e) {
			say("emergency %q: digits only", e)
		} else if _, _, found := extension(e, n); found {
			say("emergency %q: is also an extension, which nobody could dial", e)
		}
	}
	return errors.Join(errs...)
}

// mistake says what is wrong with a pattern of an extension, "" when nothing is.
func mistake(pattern string) string {
	head := strings.TrimRight(pattern, "x")
	switch {
	case pattern == "":
		return "empty"
	case head == "":
		return "begins with x: every number would match"
	case !plain(head):
		return "digits and then x, one for each digit"
	}
	return ""
}
