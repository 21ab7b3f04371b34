package routesrv

import (
	"time"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
)

// A softswitch without a sign of life in R is dead, or only cut off from R; one that has a sign may have died a
// moment ago, or stand still. So R's word alone ends nobody: the softswitch is asked, and is dead while it does not
// answer. A call that has found it silent says so, which counts at once, and with R away too. What is
// dead is asked again, ever less often, until it answers or gives a sign of life.

const mostSuspects = 1000 // softswitches under suspicion; others are taken for alive

// suspect is one softswitch that may be dead.
type suspect struct {
	office   roam.OfficeID
	lifeless bool // R has no sign of life of it
	silent   bool // and it did not answer, or a call has found it so: it is dead
	asked    int  // how often in a row it did not answer
	asking   bool
	again    *loop.Timer
}

// Probe has ask find out whether the softswitch of an office at uri answers; ask calls done on the loop, and may call it once more
// with true, for an answer that was late.
// Without it whoever gives no sign of life is dead. Before Run.
func (s *Store) Probe(ask func(o roam.OfficeID, uri string, done func(answered bool))) { s.probe = ask }

// Doubt says that the softswitch at uri did not answer: it is dead until it does.
func (s *Store) Doubt(o roam.OfficeID, uri string) {
	if uri == "" || o == s.here.Office {
		return
	}
	if x := s.suspected(o, uri); x != nil {
		s.silence(x, uri)
		s.examine(x, uri)
	}
}

// Dead says that nobody answers at the softswitch of at.
func (s *Store) Dead(at roam.Location) bool { return s.judge(at).Suspect }

// dead says that nobody answers at uri.
func (s *Store) dead(uri string) bool {
	x := s.suspects[uri]
	return x != nil && x.silent
}

// suspected is the suspicion of uri, a new one when there was none; nil when there are too many.
func (s *Store) suspected(o roam.OfficeID, uri string) *suspect {
	x := s.suspects[uri]
	if x == nil && len(s.suspects) < mostSuspects {
		x = &suspect{office: o}
		s.suspects[uri] = x
	}
	return x
}

// signs takes R's word about the softswitches of o.
func (s *Store) signs(o *office) {
	for _, w := range o.switches {
		x := s.suspects[w.uri]
		switch {
		case !w.alive && o.judged:
			if x = s.suspected(o.id, w.uri); x != nil && !x.lifeless {
				x.lifeless = true
				s.examine(x, w.uri)
			}
		case x != nil && x.lifeless && w.alive:
			s.clear(x, w.uri) // a sign of life that was not there before
		case x != nil:
			x.lifeless = false // R has lost too much to say so
		}
	}
}

// examine asks the softswitch at uri, unless that is under way.
func (s *Store) examine(x *suspect, uri string) {
	if s.probe == nil {
		x.silent = true
		return
	}
	if x.asking {
		return
	}
	x.asking = true
	x.again.Stop()
	s.probe(x.office, uri, func(answered bool) {
		if s.suspects[uri] != x { // cleared meanwhile
			return
		}
		x.asking = false
		x.again.Stop() // of a late answer: it need not be asked again so soon
		pause := renewEvery
		switch {
		case answered && !x.lifeless:
			s.clear(x, uri)
			return
		case answered:
			s.revive(x, uri)
		default:
			s.silence(x, uri)
			if pause = min(renewEvery<<min(x.asked, 4), 30*time.Second); !x.lifeless && x.asked > 20 && !s.listed(uri) {
				delete(s.suspects, uri) // nobody has that address any more
				return
			}
			x.asked++
		}
		x.again = s.loop.After(pause, func() { s.examine(x, uri) })
	})
}

// listed says that an office in memory has a softswitch at uri.
func (s *Store) listed(uri string) (found bool) {
	s.offices.each(func(_ roam.OfficeID, o *office) {
		for _, w := range o.switches {
			found = found || w.uri == uri
		}
	})
	return found
}

// silence makes it dead.
func (s *Store) silence(x *suspect, uri string) {
	if !x.silent {
		x.silent = true
		s.log.Warn().Str("event", "office.dead").Str("peer", string(x.office)).Str("uri", uri).Bool("sign_of_life", !x.lifeless).Msg("softswitch does not answer")
	}
}

// revive makes it alive, still under suspicion.
func (s *Store) revive(x *suspect, uri string) {
	was := x.silent
	x.silent, x.asked = false, 0
	if was {
		s.log.Info().Str("event", "office.back").Str("peer", string(x.office)).Str("uri", uri).Msg("softswitch answers again")
	}
	if was && s.returned != nil {
		s.returned(x.office)
	}
}

// clear ends the suspicion.
func (s *Store) clear(x *suspect, uri string) {
	x.again.Stop()
	s.revive(x, uri)
	delete(s.suspects, uri)
}

// OnReturn has fn told, on the loop, when a softswitch of another office that was dead lives. Before Run.
func (s *Store) OnReturn(fn func(roam.OfficeID)) { s.returned = fn }
