package registrar

import (
	"fmt"
	"slices"
	"strings"

	"github.com/siproam/siproam/roam"
)

// This file is the one place that says who may roam where (`partners:` of office.yaml). Home asks it for its users at
// a partner, before it looks at a visited office's word; the visited office asks it for a partner's users here, by name
// before it asks home, and again with home's profile, which says the class.

// verdict is what an agreement says of one user.
type verdict struct {
	why  roam.Refusal // OK: admitted
	rule string       // the key and entry that decided, for people
}

// String is v for people.
func (v verdict) String() string {
	if v.why == roam.OK {
		return "admitted, " + v.rule
	}
	return v.why.Error() + ", " + v.rule
}

func (v verdict) err() error {
	if v.why == roam.OK {
		return nil
	}
	return v.why
}

// partner is the agreement with o.
func (s *Server) partner(o roam.OfficeID) (p *roam.Partner, found bool) {
	for i := range s.cfg.Partners {
		if s.cfg.Partners[i].Office == o {
			return &s.cfg.Partners[i], true
		}
	}
	return nil, false
}

// mayRoam says whether u may be served at a partner.
func (s *Server) mayRoam(u *subscriber, at roam.OfficeID) verdict {
	p, found := s.partner(at)
	if !found {
		return verdict{roam.NoAgreement, "not a partner"}
	}
	names := append([]string{u.Short, u.Number}, u.Aliases...)
	return admits("roamers", p.Roamers.Allow, p.Roamers.Deny, u.Class, user(u.home.User, names...))
}

// mayVisit says whether home's user, whom the phone calls asked, may be served here. Without a profile, which home gives
// with its word, only what its names can decide is decided.
func (s *Server) mayVisit(home roam.OfficeID, id roam.UserID, asked string, profile *roam.Profile) verdict {
	p, found := s.partner(home)
	switch {
	case !found:
		return verdict{roam.NoAgreement, "not a partner"}
	case profile == nil:
		return admits("visitors", nil, p.Visitors.Deny, "", user(id, asked))
	}
	return admits("visitors", p.Visitors.Allow, p.Visitors.Deny, profile.Class, user(id, asked, profile.Short, profile.Number))
}

// room says whether one more device of p's users may be here.
func (s *Server) room(p *roam.Partner, id roam.UserID, d roam.Device) verdict {
	rule := fmt.Sprintf("visitors.max %d", p.Visitors.Max)
	v := s.findVisitor(id, d)
	if here := v != nil && v.visit.Serving(); !here && s.guests[p.Office] >= p.Visitors.Max {
		return verdict{roam.NoCapacity, rule}
	}
	return verdict{rule: rule}
}

// user is every name of id.
func user(id roam.UserID, others ...string) []string {
	local, _, _ := strings.Cut(string(id), "@")
	return append(others, string(id), local)
}

// admits reads the two lists of one side of an agreement, list is its key: deny wins; where there is an allow, nobody
// else is admitted.
func admits(list string, allow, deny []string, class string, names []string) verdict {
	if d, found := listed(deny, class, names); found {
		return verdict{roam.Barred, fmt.Sprintf("%s.deny %q", list, d)}
	}
	switch {
	case len(allow)+len(deny) == 0:
		return verdict{rule: list + ": no lists"}
	case len(allow) == 0:
		return verdict{rule: "not in " + list + ".deny"}
	}
	if a, found := listed(allow, class, names); found {
		return verdict{rule: fmt.Sprintf("%s.allow %q", list, a)}
	}
	return verdict{roam.Barred, "not in " + list + ".allow"}
}

// listed is the first entry that names the user or the class.
func listed(entries []string, class string, names []string) (entry string, found bool) {
	i := slices.IndexFunc(entries, func(e string) bool {
		if name, is := strings.CutPrefix(e, roam.ClassOf); is {
			return class != "" && name == class
		}
		return e != "" && slices.Contains(names, e)
	})
	if i < 0 {
		return "", false
	}
	return entries[i], true
}
