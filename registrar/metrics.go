package registrar

import (
	"sync"
	"time"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// counters is what the registrar counts (FACE.md).
type counters struct {
	requests   *metric.Counter
	durations  *metric.Histogram
	failures   *metric.Counter
	moves      *metric.Counter
	supersedes *metric.Counter
	profiles   *metric.Counter
	trespasses *metric.Counter
	unagreed   *metric.Counter
	seldom     metric.Seldom // for lines about these two
	partners   *metric.Histogram
	others     partners
	refreshed  *metric.Value // requests of kind refresh that went well
	refreshing *metric.Value // their durations
}

// partners is what we know of each, for the gauges, which read it from elsewhere.
type partners struct {
	mu          sync.Mutex // guards the maps
	up          map[roam.OfficeID]bool
	provisional map[roam.OfficeID]int64 // visits that home has not recorded yet (M9)
	owed        map[roam.UserID]int     // and whose they are
}

func (p *partners) answered(o roam.OfficeID, up bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up[o] = up
}

// owe counts a visit of user that o has not recorded: n is 1, or -1 when it is one no more.
func (p *partners) owe(user roam.UserID, o roam.OfficeID, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.provisional[o] += int64(n)
	if p.owed[user] += n; p.owed[user] == 0 {
		delete(p.owed, user)
	}
}

// Provisional says that home has called user's credentials legal and has not recorded the visit yet (M9): charging records wait
// until it has. It may be asked from anywhere.
func (s *Server) Provisional(user roam.UserID) bool {
	s.others.mu.Lock()
	defer s.others.mu.Unlock()
	return s.others.owed[user] > 0
}

// owes says that o has not recorded a visitor who is served here.
func (s *Server) owes(o roam.OfficeID) bool {
	s.others.mu.Lock()
	defer s.others.mu.Unlock()
	return s.others.provisional[o] > 0
}

func (s *Server) count(m *metric.Set) {
	s.others.up, s.others.provisional, s.others.owed = map[roam.OfficeID]bool{}, map[roam.OfficeID]int64{}, map[roam.UserID]int{}
	m.Gauge("partner_up", "Whether the office answered the last request of ours.", []string{"partner"}, func(emit func(float64, ...string)) {
		s.others.mu.Lock()
		defer s.others.mu.Unlock()
		for o, up := range s.others.up {
			emit(map[bool]float64{true: 1}[up], string(o))
		}
	})
	m.Gauge("visitors_provisional", "Visitors served whose home has not recorded them yet.", []string{"partner"}, func(emit func(float64, ...string)) {
		s.others.mu.Lock()
		defer s.others.mu.Unlock()
		for o, n := range s.others.provisional {
			emit(float64(n), string(o))
		}
	})
	s.partners = m.Histogram("partner_request_duration_seconds", "How long a partner's registrar took to answer.", metric.Durations, "partner", "method")
	m.Gauge("bindings", "Bindings: of our users here (home), of visitors here (visitor), and our users' devices elsewhere (away).", []string{"kind"},
		func(emit func(float64, ...string)) {
			for i, kind := range [...]string{boundHome: "home", boundAway: "away", boundVisitor: "visitor"} {
				emit(float64(s.bound[i].Load()), kind)
			}
		})
	s.requests = m.Counter("register_requests_total", "REGISTERs answered, by kind and result.", "kind", "result")
	s.durations = m.Histogram("register_duration_seconds", "How long a REGISTER waited for its answer.", metric.Durations, "kind")
	s.failures = m.Counter("auth_failures_total", "Credentials that were refused.", "reason")
	s.moves = m.Counter("moves_total", "Our users' moves from office to office.", "from", "to")
	s.profiles = m.Counter("profile_notices_total", "Notices that a user's profile has changed, sent or received.", "result")
	s.supersedes = m.Counter("supersedes_total", "Notices that a device has moved, sent or received.", "result")
	s.trespasses = m.Trespasses()
	s.unagreed = m.Counter("roaming_refusals_total", "Users whom the agreement with a partner does not admit, here or there.", "partner", "reason")
	s.refreshed = s.requests.With("refresh", "ok")
	if s.durations != nil {
		s.refreshing = s.durations.With("refresh")
	}
}

// counted counts one answered REGISTER.
func (s *Server) counted(kind string, err error, began time.Time) {
	s.requests.Add(1, kind, result(err))
	s.durations.Observe(s.loop.Now().Sub(began).Seconds(), kind)
}

// result is err for a label: "ok", "challenged", or the class of its code.
func result(err error) string {
	if err == nil {
		return "ok"
	}
	switch code, _, _ := sip.Status(err); {
	case code == 401 || code == 407:
		return "challenged"
	case code < 500:
		return "refused"
	default:
		return "failed"
	}
}

// failed logs and counts refused credentials. The log stands for fail2ban; it names no secret, and no address
// of a partner who asked for a visitor: that one's own log has the phone's, and each line.
func (s *Server) failed(reason string, user string, f *sip.Flow) {
	s.failures.Add(1, reason)
	if f.Partner != "" {
		if since, yes := s.seldom.Worth(s.loop.Now(), "login "+reason+" "+string(f.Partner)); yes {
			s.log.Warn().Str("event", "auth.failed").Str("user", user).Str("reason", reason).Str("partner", string(f.Partner)).Uint64("before", since).Msg("login refused")
		}
		return
	}
	e := s.log.Warn().Str("event", "auth.failed").Str("user", user).Str("reason", reason)
	e.Str("remote_ip", f.Remote.Addr().Unmap().String()).Uint16("remote_port", f.Remote.Port()).Msg("login refused")
	s.onFailed(f.Flow)
}
