package softswitch

import (
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/softswitch/plan"
)

// Outlook is what this softswitch would do now with a call for one user.
type Outlook struct {
	Way    plan.Way
	At     roam.Location  // of plan.Office and plan.Redirect: where; of AskHome: home's softswitch
	Store  *roam.Location // what R said; nil: it was not asked
	Phones []roam.Target  // of plan.Ring

	Forward string         // where the callee's profile sends the call instead; "": it goes the Way
	Why     plan.Condition // of Forward
}

// Foresee decides a call for user as decide would, and does nothing: from a phone here, or from
// the partner from that routed by epoch. home is the user's, as the directory or R has it. done comes
// in this turn or a later one.
func (s *Switch) Foresee(user roam.UserID, home, from roam.OfficeID, epoch roam.Epoch, done func(Outlook)) {
	p, known := s.know(user)
	if known {
		home = p.home
	}
	f := plan.Facts{Here: s.cfg.Card.Office, From: from, Epoch: epoch, Known: known, Line: *p.at(), Home: home}
	var o Outlook
	if plan.Serves(f) {
		if o.Forward = plan.Forward(f.Line.Profile, plan.Always); o.Forward != "" {
			s.loop.Later(func() { done(o) })
			return
		}
	}
	decide := func() {
		if o.Way, o.At = plan.Callee(f); o.Way == plan.Offline && plan.Serves(f) {
			o.Forward, o.Why = plan.Forward(f.Line.Profile, plan.NotReachable), plan.NotReachable
		}
		switch o.Way {
		case plan.Ring:
			o.Phones = p.line.Targets
		case plan.AskHome:
			s.router.Peer(home, func(at roam.Peer, err error) {
				o.At = roam.Location{Office: home, Switch: at.Switch, Suspect: err == nil && !at.Alive}
				done(o)
			})
			return
		}
		done(o)
	}
	if way, _ := plan.Callee(f); way != plan.AskStore {
		decide()
		return
	}
	s.router.Locate(user, false, func(at roam.Location, err error) {
		if err != nil {
			at = roam.Location{}
		}
		f.Asked, f.At, o.Store = true, at, &at
		decide()
	})
}
