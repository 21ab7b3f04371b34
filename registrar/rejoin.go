package registrar

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/seal"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// An office that starts may have an old file: restored after a disk was lost, or from before it was stopped for a day.
// Then it does not know where its users are now, and its visitors may have gone. So it tells every partner that it
// has started (NOTIFY, Event: roam-start), and each repeats to it what it would not know: the registration messages of its users,
// the supersedes it was not there to hear, and the charging records that it acknowledged since its file was
// written. It repeats the registration messages of its own visitors to their homes. Whatever was known is so confirmed,
// and changes nothing. Who has not answered, because it is dead or cut off, is told again until it does.

// startEvent is the event package of an office's start, between offices only.
const (
	startEvent = "roam-start"
	startType  = "application/vnd.siproam.start+json"
)

// The registration messages of one home's visitors are sent within repeatIn, one in leastRepeat at the fastest. After
// believeAfter from its start home holds what it knows for the truth, whatever R says.
const (
	repeatIn     = 30 * time.Second
	leastRepeat  = 2 * time.Millisecond
	mostRepeat   = 10 * time.Millisecond
	believeAfter = 40 * time.Second
	startPause   = 250 * time.Millisecond // until the next try to tell it; doubles to mostPause
	mostPause    = 30 * time.Second
	heedEvery    = 5 * time.Second // a partner's start, at most
)

// startDoc is the body of the notice.
type startDoc struct {
	Version int       `json:"v"`
	Written time.Time `json:"written"` // when the file that it has started from was written last, by its clock
}

// rejoining is what is under way between us and one partner.
type rejoining struct {
	told    bool // it knows that we have started
	tries   int
	waiting *loop.Timer
	repeats []*visitor // of its users: whose message is still to be repeated
	owing   time.Time  // when what is owed to it was said again last; see recorded

	heeding bool      // it has started, and has been heard so not long ago
	heeded  time.Time // when that was
	written time.Time // its file, before that start
}

// Since says when our file was written last, before this start; before the loop runs.
func (s *Server) Since(t time.Time) { s.written = t }

// OnStarted has fn told that a partner has started from a file that was written last at t. Before the loop runs.
func (s *Server) OnStarted(fn func(o roam.OfficeID, t time.Time)) { s.onStarted = fn }

// rejoin tells every partner that we have started, and every home which visitors of it we have.
func (s *Server) rejoin() {
	for _, p := range s.cfg.Partners {
		if p.Foreign == nil { // who knows nothing of such things: its users are found again by their refreshes
			s.tellStart(p.Office)
			s.repeat(p.Office)
		}
	}
}

// rejoins is what is under way with o.
func (s *Server) rejoins(o roam.OfficeID) *rejoining {
	r := s.rejoined[o]
	if r == nil {
		r = &rejoining{}
		s.rejoined[o] = r
	}
	return r
}

// tellStart tells o until it answers; any answer will do but that it has no time.
func (s *Server) tellStart(o roam.OfficeID) {
	r := s.rejoins(o)
	again := func() {
		pause := min(startPause<<min(r.tries, 7), mostPause)
		r.tries++
		r.waiting = s.loop.After(pause, func() { s.tellStart(o) })
	}
	if _, found := s.partner(o); !found {
		return
	}
	b, err := json.Marshal(startDoc{docVersion, s.written})
	if err != nil { // a number and a time: cannot be
		panic("registrar: start: " + err.Error())
	}
	s.router.Peer(o, func(p roam.Peer, err error) {
		if err != nil {
			again()
			return
		}
		s.ask(o, p.Registrar, func(w *sip.Writer) error {
			addressed(w, "NOTIFY", p.Registrar, s.cfg.Card.Registrar, p.Registrar, transaction.NewTag(), 1)
			w.Add(sip.Event, startEvent)
			w.Add(sip.SubscriptionState, "terminated;reason=noresource")
			w.Add(sip.Contact, "<"+s.cfg.Card.Registrar+">")
			return w.End(startType, b)
		}, func(res *sip.Message, err error) {
			if err != nil || res.Status() == 408 || res.Status() >= 500 && res.Status() != 501 {
				again()
				return
			}
			r.told = true
		})
	})
}

// Returned says that o lives again, after it was thought dead: what it must hear need not wait for its next try.
func (s *Server) Returned(o roam.OfficeID) {
	if p, found := s.partner(o); !found || p.Foreign != nil {
		return
	}
	if r := s.rejoins(o); !r.told && r.waiting.IsSet() {
		r.waiting.Stop()
		r.tries = 0
		s.tellStart(o)
	}
	s.recall(o)
	s.repeat(o)
}

// Answers asks whether the softswitch of o at uri answers at all (OPTIONS). done comes once.
func (s *Server) Answers(o roam.OfficeID, uri string, done func(bool)) {
	s.tl.Answers(s.cfg.Card.Registrar, o, uri, done)
}

func isStart(req *sip.Message) bool {
	event, _, _ := strings.Cut(string(req.Value(sip.Event)), ";")
	return strings.EqualFold(strings.TrimSpace(event), startEvent)
}

// serveStart is a partner's notice that it has started.
func (s *Server) serveStart(tx *transaction.Server, req *sip.Message) error {
	from := req.Flow.Partner
	if _, found := s.partner(from); !found {
		return &sip.Refused{Why: roam.NotAllowed, Code: 481}
	}
	var doc startDoc
	if !body(req, startType, &doc) || doc.Version > docVersion {
		return roam.BadRequest
	}
	s.heed(from, doc.Written)
	return tx.Reply(200)
}

// heed does what the start of o from a file that was written last at written asks for. A partner that says so again and
// again is heeded now and then.
func (s *Server) heed(o roam.OfficeID, written time.Time) {
	r := s.rejoins(o)
	if !r.heeding || written.Before(r.written) {
		r.written = written
	}
	if r.heeding {
		return
	}
	r.heeding = true
	now := func() {
		r.heeding, r.heeded = false, s.loop.Now()
		s.log.Info().Str("event", "office.started").Str("peer", string(o)).Time("written", r.written).Msg("another office has started")
		if c := s.cards[o]; c != nil {
			c.known = false // it may have another key
		}
		s.recall(o)
		s.repeat(o)
		s.onStarted(o, r.written)
	}
	if wait := heedEvery - s.loop.Now().Sub(r.heeded); wait > 0 {
		s.loop.After(wait, now)
	} else {
		now()
	}
}

// recall sends what is owed to o now.
func (s *Server) recall(o roam.OfficeID) {
	s.router.Peer(o, func(p roam.Peer, err error) {
		if err != nil {
			return
		}
		for _, u := range s.users {
			if slices.ContainsFunc(u.home.Owed, func(d control.Debt) bool { return d.To == p.Registrar }) {
				s.change(u, func() control.Event { return control.Recall{To: p.Registrar} })
			}
		}
	})
}

// records says that home o has just recorded a visit: it lives, so what is owed to it need not wait for its next try, which may
// be minutes away. Until it is told, calls from here go to visitors of whom it knows better.
func (s *Server) records(o roam.OfficeID) {
	if !s.owes(o) {
		return
	}
	if r := s.rejoins(o); len(r.repeats) == 0 && s.loop.Now().Sub(r.owing) >= heedEvery {
		r.owing = s.loop.Now()
		s.repeatWhich(o, func(v *visitor) bool { return v.visit.Owes != nil })
	}
}

// repeat repeats the registration messages of o's users here, paced. One that is under way begins anew.
func (s *Server) repeat(o roam.OfficeID) {
	s.repeatWhich(o, func(v *visitor) bool { return v.visit.Serving() || v.visit.Owes != nil })
}

func (s *Server) repeatWhich(o roam.OfficeID, which func(*visitor) bool) {
	r := s.rejoins(o)
	idle := len(r.repeats) == 0
	r.repeats = r.repeats[:0]
	for _, vs := range s.visitors {
		for _, v := range vs {
			if v.visit.Home.Office == o && which(v) {
				r.repeats = append(r.repeats, v)
			}
		}
	}
	if len(r.repeats) == 0 {
		return
	}
	pace := max(leastRepeat, min(mostRepeat, repeatIn/time.Duration(len(r.repeats))))
	var next func()
	next = func() {
		n := len(r.repeats)
		if n == 0 {
			return
		}
		v := r.repeats[n-1]
		if r.repeats = r.repeats[:n-1]; s.findVisitor(v.user(), v.visit.Device) == v {
			s.changeVisit(v, func() control.Event { return control.Confirm{} })
		}
		s.loop.After(pace, next)
	}
	if idle {
		next()
	}
}

// Ahead is routesrv's: R holds a newer word about user than our file. Until believeAfter visited offices may
// know better, and calls ring at the office that R names, too; then ours is said again, above it. An office that has
// not heard yet that we have started may still be the one that is right.
func (s *Server) Ahead(user roam.UserID, now roam.Location) {
	u := s.users[user]
	if u != nil && now.Epoch == u.home.Location.Epoch && now.Office != u.home.Location.Office && !u.home.Busy() {
		s.step(u, control.Reported{Epoch: now.Epoch, Location: now}) // no word of ours
		return
	}
	if u == nil || now.Epoch <= u.home.Location.Epoch {
		return
	}
	if s.cfg.Signed && !seal.Attested(s.signer.Public(), roam.LocationSeal, now.Attested(user), now.Sig) {
		s.step(u, control.Reported{Location: now}) // no word of ours, and nobody else's counts
		return
	}
	u.elsewhere = now
	p, partner := s.partner(now.Office)
	switch wait := believeAfter - s.loop.Now().Sub(s.started); {
	case wait > 0:
		s.loop.After(wait, func() { s.Ahead(user, now) })
	case partner && !s.rejoins(p.Office).told:
		s.router.Peer(p.Office, func(peer roam.Peer, err error) {
			if err == nil && peer.Alive {
				s.loop.After(mostPause, func() { s.Ahead(user, now) })
			} else {
				s.step(u, control.Reported{Location: now})
			}
		})
	default:
		s.step(u, control.Reported{Location: now})
	}
}

// maybe is where R says that u is, as long as our file knows less; nil when that is here or nowhere.
func (s *Server) maybe(u *subscriber) *roam.Location {
	at := &u.elsewhere
	if at.Epoch <= u.home.Location.Epoch || at.Office == "" || at.Office == s.cfg.Card.Office || at.Switch == "" {
		return nil
	}
	return at
}
