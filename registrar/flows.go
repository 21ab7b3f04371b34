package registrar

import (
	"maps"
	"slices"

	"github.com/siproam/siproam/roam"
)

// mostFew is how many users of a flow are looked through one by one.
const mostFew = 8

// tenants is the users whose bindings a flow carries. Nearly every flow has one; a proxy in front of
// the office brings them all on its own.
type tenants struct {
	few  []roam.UserID            // while there are few
	many map[roam.UserID]struct{} // then all of them are here
}

func (t *tenants) len() int { return len(t.few) + len(t.many) }

func (t *tenants) has(u roam.UserID) bool {
	_, found := t.many[u]
	return found || slices.Contains(t.few, u)
}

// any is one of them; there must be one.
func (t *tenants) any() roam.UserID {
	for u := range t.many {
		return u
	}
	return t.few[0]
}

// all is a copy, in no order.
func (t *tenants) all() []roam.UserID {
	return slices.AppendSeq(slices.Clone(t.few), maps.Keys(t.many))
}

func (t *tenants) add(u roam.UserID) {
	switch {
	case t.has(u):
	case t.many != nil:
		t.many[u] = struct{}{}
	case len(t.few) < mostFew:
		t.few = append(t.few, u)
	default:
		t.many = make(map[roam.UserID]struct{}, 2*mostFew)
		for _, f := range append(t.few, u) {
			t.many[f] = struct{}{}
		}
		t.few = nil
	}
}

func (t *tenants) remove(u roam.UserID) {
	delete(t.many, u)
	t.few = slices.DeleteFunc(t.few, func(f roam.UserID) bool { return f == u })
}

// OnBound has fn told when a flow begins to carry bindings, and when it carries none any more. It is called before
// the loop runs.
func (s *Server) OnBound(fn func(f roam.Flow, carries bool)) { s.onBound = fn }

// index replaces the flows under which user is known; now is borrowed.
func (s *Server) index(user roam.UserID, old, now []roam.Flow) []roam.Flow {
	if slices.Equal(old, now) {
		return old
	}
	for _, f := range old {
		if f == (roam.Flow{}) || slices.Contains(now, f) {
			continue
		}
		t := s.flows[f]
		if t.remove(user); t.len() > 0 {
			s.flows[f] = t
		} else {
			delete(s.flows, f)
			delete(s.ended, f)
			s.onBound(f, false)
		}
	}
	for _, f := range now {
		if f != (roam.Flow{}) {
			t := s.flows[f]
			if t.len() == 0 {
				s.onBound(f, true)
			}
			t.add(user)
			s.flows[f] = t
		}
	}
	return slices.Clone(now)
}
