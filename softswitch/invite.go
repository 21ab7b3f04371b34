package softswitch

import (
	"slices"
	"strings"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
	"github.com/siproam/siproam/softswitch/plan"
)

// invite takes an INVITE outside any dialog: who calls (DESIGN 9), then whom.
func (s *Switch) invite(tx *transaction.Server, req *sip.Message) error {
	to, err := sip.ParseURI(req.RequestURI())
	if err == nil && req.Flow.Partner == "" && plan.Emergency(to.User, &s.cfg.Numbers) {
		return s.emergency(req)
	}
	switch {
	case err != nil:
		return err
	case s.draining != nil || len(s.calls) >= s.cfg.Calls:
		s.count.tried(roam.Unknown, "no capacity")
		return roam.NoCapacity
	case forwards(req) < 2: // the B leg's would be 0
		return &sip.Refused{Why: roam.LoopDetected, Code: 483}
	case len(req.Body()) > 0 && !isSDP(req):
		return notSDP()
	case !takesSDP(req):
		return &sip.Refused{Why: roam.NotAcceptable, Code: 406}
	case req.Flow.Partner != "":
		return s.fromPartner(tx, req, to)
	case req.Flow.Foreign != "":
		return s.fromForeign(tx, req, to)
	}
	return s.fromPhone(tx, req, to)
}

// fromPhone tells who calls from a phone listener.
func (s *Switch) fromPhone(tx *transaction.Server, req *sip.Message, to sip.URI) error {
	src := plan.Source{UDP: req.Flow.Transport == roam.UDP, Policy: s.cfg.ChallengeCalls}
	claims := s.claims(req)
	user, found, many := s.dir.Whose(req.Flow, claims)
	if src.Front = req.Flow.Foreign != ""; src.Front {
		if is, proven := s.proven(req); proven {
			user, found, src.Front, src.UDP = is, true, false, false
		}
	}
	var caller party
	switch {
	case found:
		caller, _ = s.know(user)
		src.Bound, src.Visitor = user, caller.visitor
	case many:
		src.Many = true
	default:
		for _, claim := range claims {
			if user, ok := s.dir.Resolve(claim); ok {
				src.Claim = user
				break
			}
		}
	}
	user, basis := plan.Caller(src)
	switch basis {
	case plan.ByFlow:
		return s.begin(tx, req, caller, to)
	case plan.Challenge:
		s.challenge(tx, user, to)
		return nil
	}
	s.log.Info().Str("event", "call.refused").Str("remote_ip", req.Flow.Remote.Addr().Unmap().String()).
		Str("call_id", req.CallID()).Bool("shared_flow", many).Msg("caller unknown")
	s.count.tried(roam.Unknown, "refused")
	return roam.NotAllowed
}

// challenge has the directory check user's credentials before the call begins.
func (s *Switch) challenge(tx *transaction.Server, user roam.UserID, to sip.URI) {
	gone := false
	tx.Hold()
	tx.OnCancel(func(*sip.Message) {
		if !tx.Answered() {
			gone = true
			_ = tx.Reply(487)
		}
	})
	s.dir.Authenticate(tx.Request(), user, func(is roam.UserID, err error) {
		switch {
		case gone:
			return
		case err == nil && is != user:
			err = roam.NotAllowed
		case err == nil:
			tx.Prove()
			caller, _ := s.know(user)
			err = s.begin(tx, tx.Request(), caller, to)
		}
		if err != nil {
			tx.Refuse(err)
		}
	})
}

// begin makes the call of a user who is here.
func (s *Switch) begin(tx *transaction.Server, req *sip.Message, caller party, to sip.URI) error {
	if !caller.known || caller.at().Gone != nil { // a visitor who has left calls from where he is
		return roam.NotAllowed
	}
	full := s.full(&caller)
	c := s.newCall(tx, req, caller, "")
	if full {
		c.refuse(&sip.Refused{Why: roam.TooBusy, Code: 486, Reason: "Too Many Calls"})
		return nil
	}
	c.dial(to)
	return nil
}

// claims is who req says to be: P-Preferred-Identity, else From; where the host is one of ours
// also under our domain, as phones that know nothing but an address write that.
func (s *Switch) claims(req *sip.Message) (aors []sip.AOR) {
	add := func(v []byte) {
		a, err := sip.ParseAddress(v)
		if err != nil {
			return
		}
		aor, err := a.URI.AOR()
		if err != nil {
			return
		}
		aors = append(aors, aor)
		if d := s.cfg.Card.Domains; a.URI.User != "" && s.names[a.URI.Host] && len(d) > 0 && !slices.Contains(d, a.URI.Host) {
			aors = append(aors, sip.AOR(a.URI.User+"@"+d[0]))
		}
	}
	for v := range req.Values(sip.PPreferredIdentity) {
		add(v)
	}
	if len(aors) == 0 {
		add(req.Value(sip.From))
	}
	return aors
}

// emergency refuses an emergency call so that the phone tries another line: no outside line
// exists yet. Somebody must see that.
func (s *Switch) emergency(req *sip.Message) error {
	from, _ := req.From()
	s.log.Error().Str("event", "call.emergency").Str("remote_ip", req.Flow.Remote.Addr().Unmap().String()).
		Str("call_id", req.CallID()).Str("user", from.URI.User).Str("spot", s.spotOf(req.Flow, s.claims(req)).String()).Msg("emergency call refused, no outside line")
	s.count.tried(roam.Trunk, "no outside line")
	return noEmergencyLine()
}

func noEmergencyLine() error {
	return &sip.Refused{Why: roam.NoRoute, Code: 503, Reason: "No Emergency Line Here"}
}

// takesSDP says that req's Accept, unless absent, has room for what a call is answered with (8.2.3, 20.1).
func takesSDP(req *sip.Message) bool {
	if req.Value(sip.Accept) == nil {
		return true
	}
	for v := range req.Values(sip.Accept) {
		kind, _, _ := strings.Cut(string(v), ";")
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case sdpType, "application/*", "*/*":
			return true
		}
	}
	return false
}

// forwards is Max-Forwards, 70 when absent (8.1.1.6).
func forwards(req *sip.Message) uint32 {
	v, found := req.Seconds(sip.MaxForwards)
	if !found {
		return 70
	}
	return v
}
