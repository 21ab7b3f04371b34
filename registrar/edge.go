package registrar

import (
	"slices"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// A softswitch in a process of its own hands us the REGISTERs of its phones (M16): the request's Flow is the
// phone's, with Edge the softswitch that holds it, and Path is the name that it has given the flow (RFC 3327,
// RFC 5626 5.1). Everything else is as if the phone had come to us.

// edge notes in r which softswitch has the phone, and gives the Path that it wrote; none when the phone is here.
func (s *Server) edge(req *sip.Message, r *control.Register) (path []string) {
	if req.Flow.Edge == "" {
		return nil
	}
	r.Switch = s.switchOf(req.Flow.Edge)
	for v := range req.Values(sip.Path) {
		path = append(path, string(v))
	}
	return path
}

// switchOf is the SIP URI of a softswitch of ours.
func (s *Server) switchOf(id roam.SwitchID) string {
	if uri := s.cfg.Edges[id]; uri != "" {
		return uri
	}
	return s.cfg.Card.Switch
}

// direct says that no proxy stands between the phone and the softswitch that holds its flow: there is one Via, the
// phone's, or that softswitch says so by "ob" in its Path (RFC 5626 5.1), or the phone's first hop before a front.
func direct(req *sip.Message) bool {
	if req.Flow.Edge != "" {
		a, err := sip.ParseAddress(req.Value(sip.Path))
		_, ob := a.URI.Params.Get("ob")
		return err == nil && ob
	}
	if req.Flow.Foreign != "" {
		var way []string
		for v := range req.Values(sip.Path) {
			way = append(way, string(v))
		}
		if len(way) == 0 {
			return false
		}
		_, ob := edgeOf(way)
		return ob
	}
	hops := 0
	for range req.Values(sip.Via) {
		hops++
	}
	return hops == 1
}

// OnChanged has fn told of each user whose Line or Names may be others now. It is called before the loop runs.
func (s *Server) OnChanged(fn func(roam.UserID)) { s.onChanged = fn }

// Names is what our own user is called besides his canonical name; none for anybody else.
func (s *Server) Names(user roam.UserID) (names []string) {
	u := s.users[user]
	if u == nil || u.removed {
		return nil
	}
	for _, id := range s.identities(u) {
		if id.Name != string(user) {
			names = append(names, id.Name)
		}
	}
	return names
}

// Everybody is up to most of those who have a Line, after one, in order.
func (s *Server) Everybody(after roam.UserID, most int) []roam.UserID {
	ids := slices.Clone(s.after(after, min(most, len(s.users))))
	for id := range s.visitors {
		if id > after && s.users[id] == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids[:min(most, len(ids))]
}

// Card is what we say of ourselves.
func (s *Server) Card() roam.Card { return s.cfg.Card }
