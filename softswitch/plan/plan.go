// Package plan says who calls, who is called and where the call goes (DESIGN 9). It is
// pure: no socket, clock or store; `explain` asks the same code.
//
// Read understands a dialled address under one dialling plan, Caller tells who a
// request comes from, Callee where it goes, Shown how the callee sees the caller.
package plan

import (
	"strings"

	"github.com/siproam/siproam/roam"
)

// Dialled is a dialled address understood under one dialling plan.
type Dialled struct {
	User      string        // "1001", "+15550001001", "alice"
	Host      string        // "": a number; else a domain
	Emergency bool          //
	Global    bool          // User is E.164 with its "+"
	Office    roam.OfficeID // other_offices named it: short dialling
	Short     string        // the extension of a Global User under this plan, "" when it has none
}

// Read understands what was dialled: blanks, dots, dashes and brackets in numbers go, national and
// international prefixes become "+", extensions their public number or stay as they are when the plan has none.
// host is the Request-URI's host, ours says whether it means this office. Too few digits is roam.Incomplete
// (yet User may be the name of somebody), more than E.164 allows roam.NoRoute. A nil plan knows no prefix.
func Read(user, host string, ours bool, n *roam.Numbers) (Dialled, error) {
	if n == nil {
		n = &roam.Numbers{}
	}
	number, ok := digits(user)
	switch {
	case user == "":
		return Dialled{Host: host}, roam.Incomplete
	case Emergency(user, n):
		return Dialled{User: number, Emergency: true}, nil
	case !ours && !ok:
		return Dialled{User: user, Host: host}, nil
	case !ours:
		return Dialled{User: number, Host: host, Global: number[0] == '+'}, nil
	case !ok:
		return Dialled{User: user}, nil
	case number[0] == '+':
		return global(number[1:], n)
	}
	return local(number, n)
}

// local reads a number without "+": extensions before prefixes, since they are exact.
func local(number string, n *roam.Numbers) (Dialled, error) {
	if public, office, found := extension(number, n); found {
		if public == "" {
			return Dialled{User: number, Office: office}, nil
		}
		return Dialled{User: public, Global: true, Short: number}, nil
	}
	in, na := n.International, n.National
	abroad, home := in != "" && strings.HasPrefix(number, in), na != "" && strings.HasPrefix(number, na)
	switch {
	case abroad && (!home || len(in) >= len(na)):
		return behind(number, number[len(in):], n)
	case home && n.Country != "":
		return behind(number, n.Country+number[len(na):], n)
	case n.Country == "1" && len(number) == 10 && number[0] >= '2' && number[0] <= '9':
		return global("1"+number, n) // North America dials its ten digits without a prefix, too
	case begins(number, n):
		return Dialled{User: number}, roam.Incomplete
	}
	return Dialled{User: number}, nil
}

// behind reads the digits behind a prefix. When they are too few, User is what was dialled: an
// office that lists no extensions may have one that begins as the prefix does.
func behind(number, rest string, n *roam.Numbers) (Dialled, error) {
	d, err := global(rest, n)
	if err == roam.Incomplete {
		d = Dialled{User: number}
	}
	return d, err
}

// most and least are the digits of an E.164 number; least is the shortest in use.
const (
	most  = 15
	least = 7
)

// global reads the digits behind "+".
func global(number string, n *roam.Numbers) (Dialled, error) {
	d := Dialled{User: "+" + number, Global: true}
	if number == "" {
		return d, roam.Incomplete
	}
	for key, public := range n.Extensions {
		if x, found := fit(d.User, public); found {
			d.Short = fill(key, x)
		} else if public != "" && prefix(d.User, public) {
			return d, roam.Incomplete
		}
	}
	switch {
	case number[0] == '0' || strings.ContainsAny(number, "*#") || len(number) > most:
		return d, roam.NoRoute
	case len(number) < least, number[0] == '1' && len(number) < 11:
		return d, roam.Incomplete
	case number[0] == '1' && len(number) > 11:
		return d, roam.NoRoute // North American numbers have ten digits behind the 1
	}
	return d, nil
}

// Emergency says that one of plans calls user an emergency number; so the plan of the
// place counts beside the caller's own.
func Emergency(user string, plans ...*roam.Numbers) bool {
	number, ok := digits(user)
	if !ok {
		return false
	}
	for _, n := range plans {
		if n == nil {
			continue
		}
		for _, e := range n.Emergency {
			if number == e {
				return true
			}
		}
	}
	return false
}

// digits is user without what people write between digits; ok says that it is a number:
// digits, "*" and "#", with a "+" at most in front. Parameters (";phone-context") go.
func digits(user string) (number string, ok bool) {
	if len(user) > 4 && strings.EqualFold(user[:4], "tel:") {
		user = user[4:]
	}
	user, _, _ = strings.Cut(user, ";")
	if i := strings.Index(user, "(0)"); i > 0 && strings.HasPrefix(strings.TrimLeft(user, " "), "+") {
		user = user[:i] + user[i+3:] // +44 (0)20: the national prefix, not to be dialled
	}
	b := make([]byte, 0, len(user))
	for i := 0; i < len(user); i++ {
		switch c := user[i]; {
		case c >= '0' && c <= '9' || c == '*' || c == '#' || c == '+' && len(b) == 0:
			b = append(b, c)
		case c == ' ' || c == '.' || c == '-' || c == '(' || c == ')' || c == '\t':
		default:
			return "", false
		}
	}
	return string(b), len(b) > 0
}
