package registrar

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// profileEvent is the event package of a user's profile (RFC 6080). Home sends its NOTIFY without a subscription,
// to every office where the user has a device, and only on the partner listener.
const profileEvent = "ua-profile"

// A notice that is not acknowledged is repeated; what is lost after that the next refresh brings.
const (
	profileTries  = 6
	profilePause  = 2 * time.Second // doubles
	profilesAtOne = 200             // users told in one turn, when the office's numbering has changed for all
	profilesPause = 100 * time.Millisecond
)

func isProfile(req *sip.Message) bool {
	event, _, _ := strings.Cut(string(req.Value(sip.Event)), ";")
	return strings.EqualFold(strings.TrimSpace(event), profileEvent)
}

// tellProfile tells the offices where u has devices that its profile has changed (M18).
func (s *Server) tellProfile(u *subscriber) {
	told := map[string]bool{}
	for i := range u.home.At {
		if at := u.home.At[i].Registrar; u.home.At[i].Office != s.cfg.Card.Office && !told[at] {
			told[at] = true
			s.sendProfile(u, at, u.home.Profile, 1)
		}
	}
}

// tellProfiles is tellProfile for every user who is away, paced.
func (s *Server) tellProfiles() {
	var away []*subscriber
	for _, u := range s.users {
		if u.counts[1] > 0 {
			away = append(away, u)
		}
	}
	var some func()
	some = func() {
		n := min(profilesAtOne, len(away))
		for _, u := range away[:n] {
			s.tellProfile(u)
		}
		if away = away[n:]; len(away) > 0 {
			s.loop.After(profilesPause, some)
		}
	}
	some()
}

// sendProfile tells the registrar at, and again, without waiting for the end of a request that may hang for
// 32 s, until it answers, has no such visitor, or there is a newer profile to tell.
func (s *Server) sendProfile(u *subscriber, at string, p *roam.Profile, try int) {
	b, err := json.Marshal(visitBody{Version: docVersion, User: u.home.User, Profile: p})
	if err != nil { // strings and numbers: cannot be
		panic("registrar: profile: " + err.Error())
	}
	again := s.loop.After(profilePause<<(try-1), func() {
		switch {
		case u.removed || u.home.Profile != p || !s.hasDeviceAt(u, at):
		case try == profileTries:
			s.profiles.Add(1, "failed")
		default:
			s.sendProfile(u, at, p, try+1)
		}
	})
	callID := transaction.NewTag()
	s.tellOffice(at, func(w *sip.Writer) error {
		addressed(w, "NOTIFY", at, s.cfg.Card.Registrar, at, callID, 1)
		w.Add(sip.Event, profileEvent)
		w.Add(sip.SubscriptionState, "terminated;reason=noresource")
		w.Add(sip.Contact, "<"+s.cfg.Card.Registrar+">")
		return w.End(visitType, b)
	}, func(res *sip.Message, err error) {
		switch {
		case err != nil:
		case refusal(res, nil) == roam.OK:
			again.Stop()
			s.profiles.Add(1, "acknowledged")
		case res.Status() == 481: // the user has left there
			again.Stop()
		}
	})
}

// hasDeviceAt says that one of u's devices is registered at that registrar.
func (s *Server) hasDeviceAt(u *subscriber, registrar string) bool {
	for i := range u.home.At {
		if u.home.At[i].Registrar == registrar {
			return true
		}
	}
	return false
}

// serveProfile is home's notice that a visitor's profile has changed. Home is whose certificate the connection
// has: nobody else's word about the user counts.
func (s *Server) serveProfile(tx *transaction.Server, req *sip.Message) error {
	from := req.Flow.Partner
	var doc visitBody
	if from == "" {
		return &sip.Refused{Why: roam.NotAllowed, Code: 481}
	}
	if !body(req, visitType, &doc) || doc.Version > docVersion || doc.Profile == nil {
		return roam.BadRequest
	}
	last := (*visitor)(nil)
	for _, v := range s.visitors[doc.User] {
		if !v.visit.Serving() {
			continue
		}
		if v.visit.Home.Office != from {
			s.profiles.Add(1, "refused")
			s.trespass(from, badProfile, doc.User)
			return roam.NotAllowed
		}
		if last != nil {
			s.changeVisit(last, func() control.Event { return control.Profiled{Profile: doc.Profile} })
		}
		last = v
	}
	if last == nil {
		return roam.NoDialog // 481: home need not repeat it
	}
	ev := control.Profiled{Profile: doc.Profile}
	ev.Tx = s.hold(tx, "", func(w *wait, a control.Answer) error {
		if a.Why != roam.OK {
			return a.Why
		}
		if a.Changed {
			s.profiles.Add(1, "taken")
			s.partly(doc.User, from, nil, doc.Profile)
		}
		return w.tx.Reply(200)
	})
	if !s.changeVisit(last, func() control.Event { return ev }) {
		s.answer(control.Answer{Tx: ev.Tx, Why: roam.TooBusy})
	}
	return nil
}
