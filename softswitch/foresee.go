package softswitch

import (
	"slices"
	"time"

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

	Foreign bool          // of AskHome: it is no siproam, and answers for itself
	Dead    roam.OfficeID // an office that is not asked, for it gives no sign of life
	After   time.Duration // of Ring and Office: so long without an answer, and the call goes to Later; 0: it does not
	Later   string
}

// Foresee decides a call for user as decide would, and does nothing: from a phone here, or from
// the partner from that routed by epoch; home, when it is that, has performed the callee's services. home is the user's, as
// the directory or R has it. done comes in this turn or a later one.
func (s *Switch) Foresee(user roam.UserID, home, from roam.OfficeID, epoch roam.Epoch, done func(Outlook)) {
	p, known := s.know(user)
	if known {
		home = p.home
	}
	f := plan.Facts{Here: s.cfg.Card.Office, From: from, Epoch: epoch, Known: known, Line: *p.at(), Home: home, Served: from == home}
	var o Outlook
	if plan.Serves(f) {
		if o.Forward = plan.Forward(f.Line.Profile, plan.Always); o.Forward != "" {
			s.loop.Later(func() { done(o) })
			return
		}
	}
	decide := func() {
		o.Way, o.At = plan.Callee(f)
		if o.Way == plan.Ring {
			o.Phones = p.line.Targets
		}
		s.alive(&o, home, from)
		if plan.Serves(f) {
			o.serve(f.Line.Profile)
		}
		if o.Way != plan.AskHome {
			done(o)
			return
		}
		if is := s.cfg.Foreign[home]; is != nil {
			o.Foreign, o.At = true, roam.Location{Office: home, Switch: is.Registrar}
			done(o)
			return
		}
		s.router.Peer(home, func(at roam.Peer, err error) {
			o.At = roam.Location{Office: home, Switch: at.Switch, Suspect: err == nil && !at.Alive}
			done(o)
		})
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

// alive leaves out of o the office that would not be asked, because it is dead: then home is, or nobody.
func (s *Switch) alive(o *Outlook, home, from roam.OfficeID) {
	dead := func(at roam.Location) bool { return at.Office != s.cfg.Card.Office && s.router.Dead(at) }
	switch o.Way {
	case plan.Office:
		if !dead(o.At) {
			return
		}
		o.Dead = o.At.Office
	case plan.Ring:
		o.Phones = slices.DeleteFunc(slices.Clone(o.Phones), func(t roam.Target) bool {
			if t.Office == "" || !dead(roam.Location{Office: t.Office, Switch: t.URI}) {
				return false
			}
			o.Dead = t.Office
			return true
		})
		if len(o.Phones) > 0 {
			return
		}
	default:
		return
	}
	if o.Way = plan.Offline; home != s.cfg.Card.Office && home != o.Dead && from == "" {
		o.Way = plan.AskHome
	}
}

// serve is what the callee's profile p does with a call that goes o's way.
func (o *Outlook) serve(p *roam.Profile) {
	switch o.Way {
	case plan.Offline:
		o.Forward, o.Why = plan.Forward(p, plan.NotReachable), plan.NotReachable
	case plan.Ring, plan.Office:
		if o.Later = plan.Forward(p, plan.NoAnswer); o.Later != "" {
			o.After = ringsFor(p)
		}
	}
}
