package registrar

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// A visitor's refresh is at most one round trip between offices, and no command to the routing store: we challenge with the nonce
// that home gave for it, and the phone's answer goes home in the message that renews home's record. What is not as it was, or what we do not
// know how to challenge, goes the long way (inquiry.go).

// renew takes in's REGISTER when it refreshes a visit, or challenges it; taken is false for any other.
func (s *Server) renew(tx *transaction.Server, req *sip.Message, in *inquiry) (taken bool, err error) {
	v := s.renewed(in.aor, &in.r)
	if v == nil {
		return false, nil
	}
	began, source := s.loop.Now(), req.Flow.Remote.Addr()
	in.q.User, in.home = v.user(), v.visit.Home.Office
	if err := s.receives(in, cmp.Or(v.visit.Profile, &roam.Profile{})); err != nil { // nobody is challenged who may not come like this
		s.counted("refresh", err, began)
		return true, err
	}
	value := s.credentials(req, sip.Authorization)
	if !v.nonces.takes(began, source, nonceOf(value)) {
		err := v.nonces.challenge(began, source, value != nil)
		if err != nil {
			s.counted("refresh", err, began)
		}
		return err != nil, err
	}
	in.by = began.Add(s.silent(in.home).After.D())
	if err := s.agreed(in, v.user(), in.home); err != nil {
		s.counted("refresh", err, began)
		return true, err
	}
	stranger := s.stranger(req.Flow)
	if stranger && !s.questions.ask(in.home) {
		tx.Busy("questions")
		return true, nil
	}
	in.r.Tx = s.hold(tx, "refresh", func(w *wait, a control.Answer) error { return s.inquired(w, in, a) })
	w := s.waits[in.r.Tx]
	in.tx, w.in = w.tx, in
	if stranger {
		w.stranger, w.home = true, in.home
	}
	s.stepVisit(v, control.Renew{Register: in.r, Silence: s.unrecorded(in.home)})
	return true, nil
}

// renewed is the visit that r refreshes, nil when it does more, or less.
func (s *Server) renewed(aor sip.AOR, r *control.Register) *visitor {
	user, known := s.called[aor]
	if !known {
		return nil
	}
	if r.Device == "" {
		r.Device = s.deviceOf(user, r)
	}
	v := s.findVisitor(user, r.Device)
	if v == nil || !v.visit.Renews(s.loop.Now(), r) {
		return nil
	}
	return v
}

// renewal sends home what the phone said, in a registration message (140, 160).
func (s *Server) renewal(v *visitor, a control.Renewal) {
	w := s.waits[a.Tx]
	if w == nil {
		s.loop.Later(func() { s.stepVisit(v, control.Renewed{Passed: true}) })
		return
	}
	in, req := w.in, w.in.tx.Request()
	value := s.credentials(req, sip.Authorization)
	s.dead(in.home, func(dead bool) {
		if dead {
			s.stepVisit(v, s.unheard(in))
			return
		}
		s.freshen(in.home)
		network := s.network(in.r.Device, in.r.CallID, in.r.Person, a.Can) + s.from(in.tx.Flow().Remote.Addr())
		if s.loop.Now().Before(v.fresh) { // now, not when the answer comes
			has := v.visit.Ticket
			in.has = &has
			network += ";ticket=" + strconv.FormatUint(uint64(v.visit.Ticket.Epoch), 10)
		}
		in.sent = s.loop.Now()
		build := s.message(v, a.Record, network, sip.Field{Name: sip.RoamDigest, Value: "REGISTER;uri=" + sip.Quote(string(req.RequestURI()))},
			sip.Field{Name: sip.Authorization, Value: string(value)})
		s.askFor(in.by.Sub(s.loop.Now()), in.home, a.At, func(w *sip.Writer, _ *sip.Flow) error { return build(w) }, func(res *sip.Message, err error) {
			in.took = s.loop.Now().Sub(in.sent)
			ev := s.renewalAnswered(v, in, value, res, err)
			if s.stepVisit(v, ev); ev.Ticket.User != "" {
				s.records(in.home)
			}
		})
	})
}

// unheard is what we do when home did not answer a renewal (M9).
func (s *Server) unheard(in *inquiry) control.Renewed {
	k := s.known(in)
	return control.Renewed{Why: k.Why, Silent: k.Silent}
}

// renewalAnswered reads home's answer (150, 170).
func (s *Server) renewalAnswered(v *visitor, in *inquiry, value []byte, res *sip.Message, err error) control.Renewed {
	if err != nil {
		return s.unheard(in)
	}
	if res.Status()/100 != 2 {
		s.passOn(in, value, res)
		v.nonces.passed(s.loop.Now(), in.tx.Flow().Remote.Addr(), res)
		return control.Renewed{Passed: true}
	}
	q, doc := s.welcome(in, res)
	if q.Why != roam.OK || doc.Location == nil {
		return control.Renewed{Why: roam.HomeSilent}
	}
	err = s.admit(in, &control.Legal{Register: in.r, Ticket: q.Ticket, Profile: q.Profile})
	if err == nil && q.Profile != nil {
		err = s.receives(in, q.Profile)
	}
	if err != nil {
		s.refuse(in.r.Tx, err)
		return control.Renewed{Passed: true}
	}
	if q.Profile != nil {
		s.partly(v.user(), in.home, v.visit.Profile, q.Profile)
	}
	granted, _ := res.Seconds(sip.Expires)
	ev := control.Renewed{Ticket: q.Ticket, Profile: q.Profile, Location: *doc.Location, Grant: time.Duration(granted) * time.Second, Held: doc.Held}
	if c := s.cards[in.home]; c != nil && c.known {
		ev.Card = c.card
	}
	return ev
}

// freshen has home's card asked for when it is old; nobody waits for it.
func (s *Server) freshen(home roam.OfficeID) {
	if c := s.cards[home]; c == nil || !c.known || s.loop.Now().Sub(c.at) >= cardFor {
		s.card(home, func(roam.Card, error) {})
	}
}

// passOn gives the phone home's refusal of its credentials.
func (s *Server) passOn(in *inquiry, value []byte, res *sip.Message) {
	if res.Status() == 401 && value != nil && !strings.Contains(string(res.Value(sip.WWWAuthenticate)), "stale=true") {
		s.failed("credentials", string(in.q.User), in.tx.Flow())
	}
	if why := refusal(res, nil); why == roam.Barred || why == roam.NoAgreement { // home's side of it
		s.endVisits(in.q.User)
	}
	s.refuse(in.r.Tx, relayed(res, false))
}

// renewVisit is home's side of a renewal: the check of the credentials and the record at once.
func (s *Server) renewVisit(tx *transaction.Server, req *sip.Message, u *subscriber, n network) error {
	began := s.loop.Now()
	c, err := s.checked(req, u, n)
	if err == nil && c.ticket.User == "" { // of another request's credentials no record comes
		err = roam.BadRequest
	}
	var r control.Registration
	if err == nil {
		r, err = s.readMessage(req, u, n)
	}
	if err != nil {
		s.counted("query", err, began)
		return err
	}
	r.Ticket = c.ticket
	s.changeVisited(tx, u, r, func(tx *transaction.Server, a control.Answer) error {
		doc := visitBody{Version: docVersion, User: u.home.User, Profile: u.home.Profile, Challenge: c.next, Location: &a.Location, Held: a.Held}
		return s.legal(tx, &doc, c.ticket.Proof, sip.Field{Name: sip.Expires, Value: strconv.FormatInt(seconds(a.Grant), 10)})
	})
	return nil
}
