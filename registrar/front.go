package registrar

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// A foreign front is a proxy that is no siproam between phones and us (RFC 3327). It stands in Path, and what we send to
// the phone goes by way of it: to the topmost Path, with all of them as Route. Path is read at the front's own listener
// only, and its first hop must be the front: what a phone writes into it leads nowhere else.

const (
	mostPath = 8   // hops
	longPath = 300 // octets of one
)

// front is the way to the phone that req is of, which a front has relayed. One that leaves itself out is told
// what it lacks (21.4.15): nobody could be reached by way of it.
func (s *Server) front(req *sip.Message) (way []string, err error) {
	for v := range req.Values(sip.Path) {
		a, err := sip.ParseAddress(v)
		if err != nil {
			return nil, err
		}
		_, loose := a.URI.Params.Get("lr")
		if a.Star || a.URI.Scheme != "sip" && a.URI.Scheme != "sips" || !loose || len(v) > longPath || len(way) == mostPath {
			return nil, roam.BadRequest
		}
		if len(way) == 0 && !s.isOf(req.Flow.Foreign, a.URI.Host) {
			return nil, roam.NotAllowed
		}
		way = append(way, string(v))
	}
	if way == nil && req.Value(sip.Contact) != nil {
		return nil, &sip.Refused{Why: roam.NoAbility, Code: 421, Fields: []sip.Field{{Name: sip.Require, Value: "path"}}}
	}
	return way, nil
}

// isOf says that host is an address of the front o.
func (s *Server) isOf(o roam.OfficeID, host string) bool {
	p, found := s.partner(o)
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return found && p.Foreign != nil && err == nil &&
		slices.ContainsFunc(p.Foreign.Sources, func(n roam.Net) bool { return n.Contains(ip.Unmap()) })
}

// edgeOf is the user part of the last Path, by which the edge proxy finds the phone's flow; ob says that it is such
// a token.
func edgeOf(way []string) (token string, ob bool) {
	a, err := sip.ParseAddress([]byte(way[len(way)-1]))
	if err != nil {
		return "", false
	}
	_, ob = a.URI.Params.Get("ob")
	return a.URI.User, ob
}

// echoPath tells a phone that knows Path by what way it is reached (RFC 3327 5.3).
func echoPath(w *sip.Writer, req *sip.Message) {
	if req.Flow.Foreign != "" && req.Has(sip.Supported, "path") {
		w.Copy(req, sip.Path)
	}
}

// indexBehind keeps in step with the bindings of user what is behind fronts: whose phone a token means, and which phones
// are asked whether they live. old is what it gave before for those of now.
func (s *Server) indexBehind(user roam.UserID, old []roam.Target, now []control.Contact) (behind []roam.Target) {
	has := func(all []roam.Target, t *roam.Target) bool {
		return slices.ContainsFunc(all, func(o roam.Target) bool { return samePlace(&o, t) })
	}
	for i := range now {
		if t := &now[i].Target; t.Flow.Edge == "" && len(t.Route) > 0 && !has(behind, t) {
			behind = append(behind, *t)
		}
	}
	for i := range old {
		t := &old[i]
		if token, ob := edgeOf(t.Route); ob {
			p := s.paths[token]
			if p.remove(user); p.len() > 0 {
				s.paths[token] = p
			} else {
				delete(s.paths, token)
			}
		}
		if !has(behind, t) {
			s.onBehind(*t, false)
		}
	}
	for i := range behind {
		t := &behind[i]
		if token, ob := edgeOf(t.Route); ob && token != "" {
			p := s.paths[token]
			p.add(user)
			s.paths[token] = p
		}
		if !has(old, t) {
			s.onBehind(*t, true)
		}
	}
	return behind
}

// isBehind says that cs, of one device, may have come by a front.
func isBehind(cs []control.Contact) bool {
	return slices.ContainsFunc(cs, func(c control.Contact) bool { return len(c.Target.Route) > 0 && c.Target.Flow.Edge == "" })
}

// samePlace says that a and b are the same phone behind the same front.
func samePlace(a, b *roam.Target) bool {
	return a.Flow == b.Flow && a.URI == b.URI && slices.Equal(a.Route, b.Route)
}

// OnBehind has fn told when a phone behind a front is bound, and when no more. It is called before the loop runs.
func (s *Server) OnBehind(fn func(t roam.Target, bound bool)) { s.onBehind = fn }

// Lost ends the binding behind a front that does not answer any more (M12).
func (s *Server) Lost(t roam.Target) {
	tenants := s.flows[t.Flow]
	for _, user := range tenants.all() {
		s.offlineOn(user, t.Flow, t.URI, func(c control.Contact) bool { return samePlace(&c.Target, &t) })
	}
}

// Proven is whose phone a front means by the token in its Record-Route: the one it gave in the Path of that phone's
// registration on the same flow. The front makes it; nobody behind it can. Of several users of one phone it is the one
// that claims name.
func (s *Server) Proven(f *sip.Flow, token string, claims []sip.AOR) (roam.UserID, bool) {
	users, on := s.paths[token], s.flows[f.Flow]
	if f.Foreign == "" || users.len() == 0 {
		return "", false
	}
	if users.len() == 1 {
		user := users.any()
		return user, on.has(user)
	}
	for _, c := range claims {
		if user, ok := s.Resolve(c); ok && users.has(user) {
			return user, on.has(user)
		}
	}
	return "", false
}
