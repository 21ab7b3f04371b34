package registrar

import (
	"cmp"
	"slices"
	"strings"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Line is the softswitch's question: who is user to us. found is false for somebody
// who is neither our subscriber nor a visitor, now or lately. A device in another office is a
// target that names the softswitch there.
func (s *Server) Line(user roam.UserID) (line roam.Line, found bool) {
	if u := s.users[user]; u != nil {
		return s.lineOf(u), true
	}
	vs := s.visitors[user]
	if len(vs) == 0 {
		return line, false
	}
	line = roam.Line{User: user, Visitor: true}
	var cs []control.Contact
	newest := roam.Epoch(0) // of the tickets
	for _, v := range vs {
		st := &v.visit.Stay
		switch {
		case st.Serving():
			line.Epoch = max(line.Epoch, st.Known())
			if st.Ticket.Epoch >= newest {
				newest, line.Home, line.Profile = st.Ticket.Epoch, st.Home, st.Profile
			}
			cs = append(cs, st.Contacts...)
		case st.Gone != nil && (line.Gone == nil || st.Gone.Location.Epoch > line.Gone.Epoch):
			line.Gone = &st.Gone.Location
			if len(cs) == 0 {
				line.Home = st.Home
			}
		}
	}
	if len(cs) > 0 {
		line.Gone = nil
	}
	line.Targets = s.best(cs)
	return line, len(cs) > 0 || line.Gone != nil
}

func (s *Server) lineOf(u *subscriber) roam.Line {
	line := roam.Line{User: u.home.User, Epoch: u.home.Location.Epoch, Profile: u.home.Profile}
	var here []control.Contact
	var away []roam.Target
	for i := range u.home.At {
		p := &u.home.At[i]
		if p.Office == s.cfg.Card.Office {
			here = append(here, p.Contacts...)
			continue
		}
		if !slices.ContainsFunc(away, func(t roam.Target) bool { return t.Office == p.Office }) {
			away = append(away, roam.Target{Office: p.Office, URI: p.Switch, Q: 1000, Device: p.Device})
		}
	}
	if at := s.maybe(u); at != nil && !slices.ContainsFunc(away, func(t roam.Target) bool { return t.Office == at.Office }) {
		away = append(away, roam.Target{Office: at.Office, URI: at.Switch, Q: 1000})
	}
	line.Targets = append(s.best(here), away...)
	return line
}

// EachServed gives the line of everybody who has a phone here.
func (s *Server) EachServed(each func(roam.Line)) {
	for user := range s.visitors {
		if line, found := s.Line(user); found && line.Gone == nil {
			each(line)
		}
	}
	for _, u := range s.users {
		if u.counts[0] > 0 {
			each(s.lineOf(u))
		}
	}
}

// best is cs as targets, best first: connections that live, then q, then the most recently refreshed (10.2.1.2).
func (s *Server) best(cs []control.Contact) []roam.Target {
	now := s.loop.Now()
	cs = slices.DeleteFunc(cs, func(c control.Contact) bool { return !c.Live(now) })
	slices.SortStableFunc(cs, func(a, b control.Contact) int {
		if d := s.rank(&a) - s.rank(&b); d != 0 {
			return d
		}
		return cmp.Or(cmp.Compare(b.Target.Q, a.Target.Q), b.Until.Compare(a.Until))
	})
	ts := make([]roam.Target, len(cs))
	for i := range cs {
		ts[i] = cs[i].Target
		ts[i].RegID = cs[i].RegID
	}
	return ts
}

func (s *Server) rank(c *control.Contact) int {
	if s.ended[c.Target.Flow] {
		return 1
	}
	return 0
}

// Resolve is whose aor is, among our subscribers and visitors: canonical, alias or number.
func (s *Server) Resolve(a sip.AOR) (roam.UserID, bool) {
	if u := s.named(string(a)); u != nil {
		return u.home.User, true
	}
	user, host, _ := strings.Cut(string(a), "@")
	if s.hosts[host] {
		if u := s.named(user); u != nil {
			return u.home.User, true
		}
		if u := s.named(user + "@" + s.domain()); u != nil {
			return u.home.User, true
		}
	}
	if s.knows(roam.UserID(a)) {
		return roam.UserID(a), true
	}
	if host == "" || s.hosts[host] {
		id := s.numbers[user]
		return id, s.knows(id)
	}
	return "", false
}

// knows says that user is a visitor here, or was lately; what we still owe home about one does not count.
func (s *Server) knows(user roam.UserID) bool {
	return slices.ContainsFunc(s.visitors[user], func(v *visitor) bool { return v.visit.Serving() || v.visit.Gone != nil })
}

// Whose is the user on whose flow a request came (DESIGN 9): the one binding's, or of several the one
// claims names. many says that the flow has several bindings and none was named.
func (s *Server) Whose(f *sip.Flow, claims []sip.AOR) (user roam.UserID, found, many bool) {
	users := s.flows[f.Flow]
	switch users.len() {
	case 0:
		return "", false, false
	case 1:
		return users.any(), true, false
	}
	for _, c := range claims {
		if id, ok := s.Resolve(c); ok && users.has(id) {
			return id, true, false
		}
	}
	return "", false, true
}

// Owned is routesrv's sweep: what R should hold of our subscribers, and of visitors whose home is foreign, in order of
// UserID.
func (s *Server) Owned(after roam.UserID, most int) []roam.Owned {
	var page []roam.Owned
	for _, id := range s.after(after, most) {
		page = append(page, roam.Owned{User: id, At: s.users[id].home.Location})
	}
	if len(s.mirrored) > 0 {
		page = s.withForeign(page, after, most)
	}
	return page
}

// Guests is routesrv's repair: what R should hold of our visitors, in order of UserID, as their homes told us.
func (s *Server) Guests(after roam.UserID, most int) (page []roam.Owned) {
	ids := make([]roam.UserID, 0, len(s.visitors))
	for id := range s.visitors {
		if id > after {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		at := roam.Location{}
		for _, v := range s.visitors[id] {
			if st := &v.visit.Stay; st.Serving() && st.Owes == nil && st.Location.Epoch > at.Epoch {
				at = st.Location
			}
		}
		if page = append(page, roam.Owned{User: id, At: at}); len(page) == most {
			break
		}
	}
	return page
}

// after is up to most of our users after one, in order.
func (s *Server) after(after roam.UserID, most int) []roam.UserID {
	i, found := slices.BinarySearch(s.sorted(), after)
	if found {
		i++
	}
	ids := s.sorted()[i:]
	return ids[:min(most, len(ids))]
}

// sorted is every subscriber in order; it is made anew when accounts have changed.
func (s *Server) sorted() []roam.UserID {
	if len(s.order) != len(s.users) {
		s.order = s.order[:0]
		for id := range s.users {
			s.order = append(s.order, id)
		}
		slices.Sort(s.order)
	}
	return s.order
}
