package registrar

import (
	"github.com/rs/zerolog"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
)

// change gives ev, made when its turn comes, to u's core: one change per user is under way, later
// ones queue (DESIGN 6). ok is false when too many wait.
func (s *Server) change(u *subscriber, ev func() control.Event) (ok bool) {
	if !u.home.Busy() {
		s.step(u, ev())
		return true
	}
	return u.turn.wait(func() { s.step(u, ev()) })
}

// step gives ev to u's core and does what it says.
func (s *Server) step(u *subscriber, ev control.Event) {
	var out []control.Action
	u.home, out = u.home.Step(s.loop.Now(), ev, nil)
	for _, a := range out {
		s.do(u, a)
	}
	s.reindex(u)
	u.turn.next(u.home.Busy)
	s.onChanged(u.home.User)
}

// do takes one action of u's core.
func (s *Server) do(u *subscriber, a control.Action) {
	switch a := a.(type) {
	case control.Answer:
		s.answer(a)
	case control.Allocate:
		s.sw.Allocate(a.Line, func(why roam.Refusal) { s.step(u, control.Allocated{Why: why}) })
	case control.Release:
		s.sw.Release(a.User, a.Device, a.Gone)
	case control.Save:
		u.turn.drift = false
		a.Kept.Version = docVersion
		doc := any(&a.Kept)
		if u.removed {
			doc = nil
		}
		s.put(putHome, dropHome, doc, func(err error) { s.saved(u, err) }, string(u.home.User))
	case control.Drift:
		s.drift(&u.turn, func() {
			if !u.home.Busy() && !u.removed {
				kept := u.home.Kept
				kept.Version = docVersion
				s.put(putHome, dropHome, &kept, s.drifted, string(u.home.User))
			}
		})
	case control.Report:
		s.report(u, a)
	case control.Supersede:
		s.supersede(u.home.User, a, s.cfg.Card.Office, func(ev control.Settled) { s.step(u, ev) })
	case control.Wake:
		u.turn.wakeAt(s.loop, a.At, func() { s.step(u, control.Due{Next: s.draw()}) })
	case control.Locate, control.Query, control.Record, control.SaveVisit:
		panic("registrar: an action of a visit at home")
	}
}

func (s *Server) saved(u *subscriber, err error) {
	if err != nil {
		s.log.Error().Str("event", "store.failed").Str("user", string(u.home.User)).Err(err).Msg("registration not saved")
	}
	s.step(u, control.Saved{Err: err})
}

func (s *Server) drifted(err error) {
	if err != nil {
		s.log.Warn().Str("event", "store.failed").Err(err).Msg("drift not saved")
	}
}

// drift has write called once, some time soon.
func (s *Server) drift(t *turn, write func()) {
	if t.drift {
		return
	}
	t.drift = true
	s.loop.After(driftAfter, func() {
		if t.drift { // else it went with a change
			t.drift = false
			write()
		}
	})
}

// report tells R where u is (180, 240, 490), and what R holds to the core.
func (s *Server) report(u *subscriber, a control.Report) {
	from := u.at
	u.at = a.Location.Office
	if from != a.Location.Office {
		s.moves.Add(1, office(from), office(a.Location.Office))
		level := zerolog.InfoLevel
		if a.Why == "registered" || a.Why == "de-registered" {
			level = zerolog.DebugLevel // register.ok is the line of that change
		}
		s.log.WithLevel(level).Str("event", "register.moved").Str("user", string(u.home.User)).Str("from", string(from)).Str("to", string(a.Location.Office)).
			Str("reason", a.Why).Uint64("epoch", uint64(a.Location.Epoch)).Msg("location changed")
	}
	s.router.Report(u.home.User, a.Location, a.Why, func(now roam.Location, err error) {
		s.step(u, control.Reported{Epoch: a.Location.Epoch, Location: now, Err: err})
	})
}

// away says that a move cannot be acknowledged now: it would wait for R, which does not answer.
func (s *Server) away() bool { return s.cfg.Strict && !s.router.Up() }

// office is o for a label.
func office(o roam.OfficeID) string {
	if o == "" {
		return "none"
	}
	return string(o)
}

// reindex keeps Server.flows and the numbers of bindings in step with u.
func (s *Server) reindex(u *subscriber) {
	var here, away int64
	var room [4]roam.Flow
	var behind []control.Contact // fronts
	flows := room[:0]
	for i := range u.home.At {
		p := &u.home.At[i]
		if p.Office != s.cfg.Card.Office {
			away++
			continue
		}
		for _, c := range p.Contacts {
			here++
			flows = append(flows, c.Target.Flow)
		}
		if isBehind(p.Contacts) {
			behind = append(behind, p.Contacts...)
		}
	}
	if behind != nil || u.behind != nil {
		u.behind = s.indexBehind(u.home.User, u.behind, behind)
	}
	s.bound[boundHome].Add(here - u.counts[0])
	s.bound[boundAway].Add(away - u.counts[1])
	u.counts = [2]int64{here, away}
	u.flows = s.index(u.home.User, u.flows, flows)
}
