package registrar

import (
	"slices"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// visitor is one device of somebody else's user, here.
type visitor struct {
	visit  control.Visit
	token  string // user part of our Contact at home
	callID string // of our registration messages since we started
	cseq   uint32
	turn   turn
	flows  []roam.Flow   // as indexed in Server.flows
	behind []roam.Target // fronts, as indexBehind gave them
	bound  int64         // bindings, as counted in Server.bound
	guest  roam.OfficeID // as counted in Server.guests
	cause  string        // of the change under way, for the log; "": the phone's own REGISTER
	number string        // as in Server.numbers
	owes   roam.OfficeID // as counted in counters.others
	mirror string        // our Contact at a foreign home
	known  string        // token, as in Server.mirrored
	aor    sip.AOR       // as in Server.called
	nonces nonces
	legal  decision
	fresh  time.Time // until then home need not sign another ticket for a refresh: most of its life is left
}

func (v *visitor) user() roam.UserID { return v.visit.User }

// newVisitor makes a visitor and makes it known.
func (s *Server) newVisitor(user roam.UserID, d roam.Device) *visitor {
	v := &visitor{visit: control.Visit{User: user, Device: d, Office: s.office}, token: transaction.NewTag(), callID: transaction.NewTag()}
	s.visitors[user] = append(s.visitors[user], v)
	return v
}

// visitor is user's device d here, known or new.
func (s *Server) visitor(user roam.UserID, d roam.Device) *visitor {
	if v := s.findVisitor(user, d); v != nil {
		return v
	}
	return s.newVisitor(user, d)
}

func (s *Server) findVisitor(user roam.UserID, d roam.Device) *visitor {
	for _, v := range s.visitors[user] {
		if v.visit.Device == d {
			return v
		}
	}
	return nil
}

// visitorOf is a device of user that is served here, nil when none is.
func (s *Server) visitorOf(user roam.UserID) *visitor {
	for _, v := range s.visitors[user] {
		if v.visit.Serving() {
			return v
		}
	}
	return nil
}

// formerly is a device of user that was here before it went elsewhere, nil for none. A call with it is no call of
// ours, but the sign of a person.
func (s *Server) formerly(user roam.UserID) *visitor {
	for _, v := range s.visitors[user] {
		if v.visit.Gone != nil && v.visit.Home.Registrar != "" {
			return v
		}
	}
	return nil
}

// changeVisit gives ev, made when its turn comes, to v's core: one change per device is under way.
func (s *Server) changeVisit(v *visitor, ev func() control.Event) (ok bool) {
	if !v.visit.Busy() {
		s.stepVisit(v, ev())
		return true
	}
	return v.turn.wait(func() { s.stepVisit(v, ev()) })
}

// stepVisit gives ev to v's core and does what it says.
func (s *Server) stepVisit(v *visitor, ev control.Event) {
	var out []control.Action
	switch ev := ev.(type) {
	case control.Legal:
		v.cause = ""
	case control.Renew:
		v.cause = ""
	case control.Recorded:
		if ev.Why != roam.OK {
			v.cause = "refused"
		}
	case control.Superseded:
		v.cause = "superseded"
	case control.Offline:
		v.cause = "offline"
	case control.Due:
		v.cause = "expired"
	}
	v.visit, out = v.visit.Step(s.loop.Now(), ev, nil)
	for _, a := range out {
		s.doVisit(v, a)
	}
	s.reindexVisit(v)
	v.turn.next(v.visit.Busy)
	if v.visit.Empty() && !v.visit.Busy() && s.findVisitor(v.user(), v.visit.Device) == v {
		s.forget(v)
	}
	s.onChanged(v.user())
}

// call notes how v's phone calls its user, "" for no more.
func (s *Server) call(v *visitor, aor sip.AOR) {
	if v.aor == aor {
		return
	}
	others := slices.ContainsFunc(s.visitors[v.user()], func(o *visitor) bool { return o != v && o.aor == v.aor })
	if v.aor != "" && !others {
		delete(s.called, v.aor)
	}
	if v.aor = aor; aor != "" {
		s.called[aor] = v.user()
	}
}

// forget drops a visitor of whom there is nothing to keep.
func (s *Server) forget(v *visitor) {
	v.turn.wake.Stop()
	s.call(v, "")
	vs := slices.DeleteFunc(s.visitors[v.user()], func(o *visitor) bool { return o == v })
	if len(vs) == 0 {
		delete(s.visitors, v.user())
		if s.numbers[v.number] == v.user() {
			delete(s.numbers, v.number)
		}
	} else {
		s.visitors[v.user()] = vs
	}
}

// doVisit takes one action of v's core.
func (s *Server) doVisit(v *visitor, a control.Action) {
	switch a := a.(type) {
	case control.Answer:
		s.answer(a)
	case control.Allocate:
		s.sw.Allocate(a.Line, func(why roam.Refusal) { s.stepVisit(v, control.Allocated{Why: why}) })
	case control.Release:
		s.sw.Release(a.User, a.Device, a.Gone)
	case control.Record:
		if !v.visit.Home.Foreign && !s.isForeign(a.Ticket.Home) { // who alone has the credentials for it
			s.record(v, a)
		}
	case control.Renewal:
		s.renewal(v, a)
	case control.SaveVisit:
		v.turn.drift = false
		s.saveVisit(v, a.Stay, func(err error) {
			if err != nil {
				s.log.Error().Str("event", "store.failed").Str("user", string(v.user())).Err(err).Msg("visit not saved")
			}
			s.stepVisit(v, control.Saved{Err: err})
		})
	case control.Drift:
		s.drift(&v.turn, func() {
			if !v.visit.Busy() && s.findVisitor(v.user(), v.visit.Device) == v {
				s.saveVisit(v, v.visit.Stay, s.drifted)
			}
		})
	case control.Report:
		if a.Location.Office == "" && v.visit.Home.Foreign && s.here(v.user()) { // by another device
			s.loop.Later(func() {
				s.stepVisit(v, control.Reported{Epoch: a.Location.Epoch, Location: a.Location})
			})
			return
		}
		s.router.Report(v.user(), a.Location, a.Why, func(now roam.Location, err error) { // 190, 260, 480, 500
			if s.cfg.Strict || a.Location.Epoch == 0 { // else nothing waits for it; home repairs what is wrong
				s.stepVisit(v, control.Reported{Epoch: a.Location.Epoch, Location: now, Err: err})
			}
		})
	case control.Supersede:
		s.supersede(v.user(), a, v.visit.Home.Office, func(control.Settled) {}) // home repeats it, we do not
	case control.Wake:
		v.turn.wakeAt(s.loop, a.At, func() { s.stepVisit(v, control.Due{}) })
	case control.Locate, control.Query, control.Save:
		panic("registrar: an action that no visit has")
	}
}

// saveVisit writes v's row, or deletes it when it says nothing any more.
func (s *Server) saveVisit(v *visitor, stay control.Stay, done func(error)) {
	var doc any
	if !stay.Empty() {
		stay.Version = docVersion
		doc = visitDoc{Stay: stay, Token: v.token, Mirror: v.mirror}
	}
	s.put(putVisit, dropVisit, doc, done, string(v.user()), string(v.visit.Device))
}

// reindexVisit keeps Server.flows and the number of bindings in step with v.
func (s *Server) reindexVisit(v *visitor) {
	var room [4]roam.Flow
	flows := room[:0]
	for _, c := range v.visit.Contacts {
		flows = append(flows, c.Target.Flow)
	}
	s.bound[boundVisitor].Add(int64(len(flows)) - v.bound)
	v.bound = int64(len(flows))
	v.flows = s.index(v.user(), v.flows, flows)
	if cs := v.visit.Contacts; v.behind != nil || isBehind(cs) {
		v.behind = s.indexBehind(v.user(), v.behind, cs)
	}
	home := roam.OfficeID("")
	if v.visit.Serving() {
		home = v.visit.Home.Office
		if p := v.visit.Profile; p != nil && p.Number != "" {
			v.number = p.Number
			s.numbers[p.Number] = v.user()
		}
	}
	s.reindexMirror(v)
	owes := roam.OfficeID("")
	if v.visit.Owes != nil {
		owes = home
	}
	if owes != v.owes {
		if v.owes != "" {
			s.others.owe(v.user(), v.owes, -1)
		}
		if owes != "" {
			s.others.owe(v.user(), owes, 1)
		}
		v.owes = owes
	}
	if home != v.guest {
		if home == "" && v.cause != "" { // register.ok is the line of what the phone said itself
			s.log.Info().Str("event", "register.ended").Str("user", string(v.user())).Str("home", string(v.guest)).
				Str("device", string(v.visit.Device)).Str("reason", v.cause).Msg("visit ended")
		}
		s.guests[v.guest]--
		s.guests[home]++
		v.guest = home
	}
}
