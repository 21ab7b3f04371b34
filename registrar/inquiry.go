package registrar

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// inquiry is a phone's REGISTER for somebody else's user, until home has called it legal.
type inquiry struct {
	q     control.Inquiry
	home  roam.OfficeID
	asked string              // the user, as the phone has it
	aor   sip.AOR             // likewise
	tx    *transaction.Server // held; its request owns its bytes
	r     control.Register
	by    time.Time // then home's silence is decided on (M9)

	learnt bool          // R was asked for domains we lacked
	next   *challengeDoc // of home's 200
	has    *roam.Ticket  // of a renewal: the visit's, which is good for long

	sent  time.Time     // home was asked
	took  time.Duration // it took so long to answer; 0: it was not asked, or has not
	alone bool          // nobody but us has called this legal: home is silent

	token, mirror string // of a foreign home: the user part of our Contact there, and all of it
	left          string // and the Contact there of the office that had the device
}

// registerOther is a REGISTER for nobody of ours (110-150, 310-360).
func (s *Server) registerOther(tx *transaction.Server, req *sip.Message, u sip.URI) error {
	began := s.loop.Now()
	if u.User == "" {
		return roam.NoSuchUser
	}
	own := u.Scheme != "tel" && s.ours(u.Host, req.Flow)
	switch named := own && s.ownName(u.Host); {
	case named && s.shared(): // nobody of ours, so it may be the other office's
		own = false
	case named:
		if s.ignorant() {
			s.learn(func() {}) // for the next try
		}
		return s.nobody(req)
	case own && !number(u.User):
		return s.nobody(req)
	}
	aor := sip.AOR(u.User) // a number at our address is a number anywhere
	if !own {
		var err error
		if aor, err = u.AOR(); err != nil {
			return err
		}
	}
	r, err := s.read(req, nil)
	if err != nil {
		s.counted("visited", err, began)
		return err
	}
	s.own(&r)
	in := &inquiry{r: r, asked: u.User, aor: aor}
	in.q.User = roam.UserID(aor)
	if err := s.receives(in, nil); err != nil {
		s.counted("visited", err, began)
		return err
	}
	if taken, err := s.renew(tx, req, in); taken {
		return err
	}
	stranger := s.stranger(req.Flow)
	if stranger && !s.questions.begin() {
		tx.Busy("questions")
		return nil
	}
	in.r.Tx = s.hold(tx, kindOf(&r, "visited"), func(w *wait, a control.Answer) error { return s.inquired(w, in, a) })
	in.tx = s.waits[in.r.Tx].tx
	s.waits[in.r.Tx].stranger = stranger
	if p := s.foreignHome(u.Host); p != nil && !own && u.Scheme != "tel" {
		s.registerForeign(in, p, u, roam.UserID(aor))
		return nil
	}
	s.router.Identify(aor, func(user roam.UserID, home roam.OfficeID, err error) { s.identified(in, u, user, home, err) })
	return nil
}

// number says that a user part is a telephone number or an extension.
func number(user string) bool {
	return user != "" && strings.Trim(user, "+0123456789") == ""
}

// nobody treats an unknown user of our domain like a wrong password: the same work, the same words.
func (s *Server) nobody(req *sip.Message) error {
	err := s.askable(req.Flow.Transport)
	if err == nil {
		_, err = s.authenticate(req.Flow, claim{value: s.credentials(req, sip.Authorization), method: "REGISTER", asked: req.RequestURI(), at: placeOf(req.Flow)})
	}
	s.counted("home", err, s.loop.Now())
	return err
}

// identified goes on once R has said whose the address is (120, 320).
func (s *Server) identified(in *inquiry, u sip.URI, user roam.UserID, home roam.OfficeID, err error) {
	req := in.tx.Request()
	if err != nil && !in.learnt && s.ignorant() {
		in.learnt = true
		s.learn(func() { s.identified(in, u, user, home, err) })
		return
	}
	if o := s.officeOf(u.Host); err != nil && o != "" && u.Scheme != "tel" { // R does not know, but the domain is a partner's
		if aor, bad := u.AOR(); bad == nil {
			user, home, err = roam.UserID(aor), o, nil
		}
	}
	if err == nil && home == s.cfg.Card.Office || err != nil && s.ownName(u.Host) {
		w := s.waited(in.r.Tx)
		if w == nil {
			return
		}
		err := error(nil)
		if known := s.users[user]; known != nil {
			err = s.registerHome(w.tx, req, known)
		} else {
			err = s.nobody(req)
		}
		if err != nil {
			w.tx.Refuse(err)
		}
		return
	}
	if err == nil {
		err = s.agreed(in, user, home)
	}
	if err != nil {
		s.refuse(in.r.Tx, err)
		return
	}
	if w := s.waits[in.r.Tx]; w != nil && w.stranger {
		if !s.questions.about(home) {
			s.waited(in.r.Tx).tx.Busy("questions")
			return
		}
		w.home = home
	}
	in.q.User, in.home, in.by = user, home, s.loop.Now().Add(s.silent(home).After.D())
	if in.r.Device == "" {
		in.r.Device = s.deviceOf(user, &in.r)
	}
	in.r.Person = s.person(user, &in.r)
	if v := s.findVisitor(user, in.r.Device); v != nil && v.visit.Repeats(s.loop.Now(), &in.r) { // home takes no answer twice
		s.answer(control.Answer{Tx: in.r.Tx})
		return
	}
	s.stepInquiry(in, in.r)
}

// deviceOf is the device of user that has one of r's Contacts here: a phone may leave its name out when it goes.
func (s *Server) deviceOf(user roam.UserID, r *control.Register) roam.Device {
	for _, v := range s.visitors[user] {
		for _, c := range r.Contacts {
			if slices.ContainsFunc(v.visit.Contacts, func(e control.Contact) bool { return equalURI(e.Target.URI, c.Target.URI) }) {
				return v.visit.Device
			}
		}
	}
	return ""
}

// agreed holds the visitor against our side of the agreement with home, as far as that can be done before home is asked.
func (s *Server) agreed(in *inquiry, user roam.UserID, home roam.OfficeID) error {
	v := s.mayVisit(home, user, in.asked, nil)
	if p, found := s.partner(home); found && v.why == roam.OK {
		v = s.room(p, user, in.r.Device)
	}
	return s.barred(v, user, home)
}

// barred is v's refusal, which is told. What a user has here who may not be here any more ends.
func (s *Server) barred(v verdict, user roam.UserID, other roam.OfficeID) error {
	if v.why == roam.OK {
		return nil
	}
	s.told(other, v, user)
	if v.why != roam.NoCapacity {
		s.endVisits(user)
	}
	return v.err()
}

// endVisits ends all that user has here.
func (s *Server) endVisits(user roam.UserID) {
	for _, v := range slices.Clone(s.visitors[user]) {
		if v.visit.Serving() {
			s.changeVisit(v, func() control.Event { return control.Offline{Device: v.visit.Device} })
		}
	}
}

// refuse ends a wait with an error that is more than a Refusal.
func (s *Server) refuse(id uint64, err error) {
	w := s.waited(id)
	if w == nil {
		return
	}
	s.counted(w.kind, err, w.began)
	w.tx.Refuse(err)
}

// stepInquiry gives ev to the inquiry and does what it says.
func (s *Server) stepInquiry(in *inquiry, ev control.Event) {
	var out []control.Action
	var legal *control.Legal
	in.q, out, legal = in.q.Step(s.loop.Now(), ev, nil)
	for _, a := range out {
		switch a := a.(type) {
		case control.Answer:
			s.answer(a)
		case control.Locate:
			s.locate(in)
		case control.Query:
			s.query(in, a.At)
		default:
			panic("registrar: an action that no inquiry has")
		}
	}
	if legal == nil || s.waits[in.r.Tx] == nil { // nobody waits any more
		return
	}
	if legal.Star {
		s.clear(legal)
		return
	}
	err := s.admit(in, legal)
	if err == nil {
		err = s.receives(in, cmp.Or(legal.Profile, &roam.Profile{})) // a foreign home gives none
	}
	if err != nil {
		s.refuse(in.r.Tx, err)
		return
	}
	v := s.visitor(legal.Ticket.User, in.r.Device)
	if in.mirror != "" {
		v.token, v.mirror = in.token, in.mirror
	}
	s.partly(legal.Ticket.User, in.home, v.visit.Profile, legal.Profile)
	if !s.changeVisit(v, func() control.Event { legal.Away = s.away(); return *legal }) {
		s.answer(control.Answer{Tx: in.r.Tx, Why: roam.TooBusy})
	}
}

// admit holds the visitor against our side of the agreement once more: home has said who it is, and others came meanwhile.
// Who leaves needs no agreement.
func (s *Server) admit(in *inquiry, legal *control.Legal) error {
	if !slices.ContainsFunc(legal.Contacts, func(c control.Contact) bool { return c.Grant > 0 }) {
		return nil
	}
	v := s.mayVisit(in.home, legal.Ticket.User, in.asked, cmp.Or(legal.Profile, &roam.Profile{}))
	if p, found := s.partner(in.home); found && v.why == roam.OK {
		v = s.room(p, legal.Ticket.User, in.r.Device)
	}
	return s.barred(v, legal.Ticket.User, in.home)
}

// clear is Contact: *, which ends all that the user has here (10.2.2); what he has elsewhere is not ours to end.
func (s *Server) clear(legal *control.Legal) {
	tx := legal.Tx
	for _, v := range slices.Clone(s.visitors[legal.Ticket.User]) {
		if !v.visit.Serving() {
			continue
		}
		ev := control.Offline{Tx: tx, Device: v.visit.Device}
		if s.changeVisit(v, func() control.Event { return ev }) {
			tx = 0 // one of them answers
		}
	}
	s.answer(control.Answer{Tx: tx})
}

// locate finds home's card, and who had the user before (130, 330-340). A stranger without credentials makes us ask
// nobody but home; a home that is known to be dead nobody asks.
func (s *Server) locate(in *inquiry) {
	if p, found := s.partner(in.home); found && p.Foreign != nil {
		s.locateForeign(in, p)
		return
	}
	s.dead(in.home, func(dead bool) {
		if dead {
			s.stepInquiry(in, s.known(in))
			return
		}
		s.card(in.home, func(home roam.Card, err error) {
			switch {
			case errors.Is(err, roam.NoAgreement): // home does not list us
				s.stepInquiry(in, control.Located{Why: roam.NoAgreement})
			case err != nil:
				s.stepInquiry(in, s.known(in))
			default:
				s.former(in, home)
			}
		})
	})
}

// former finds who had the user before (330-340).
func (s *Server) former(in *inquiry, home roam.Card) {
	if s.credentials(in.tx.Request(), sip.Authorization) == nil || s.here(in.q.User) {
		s.stepInquiry(in, control.Located{Card: home})
		return
	}
	s.router.Locate(in.q.User, false, func(at roam.Location, err error) {
		if err != nil || at.Office == "" || at.Office == in.home || at.Office == s.cfg.Card.Office || at.Suspect {
			s.stepInquiry(in, control.Located{Card: home})
			return
		}
		s.askCard(at.Office, in.q.User, func(card roam.Card, err error) {
			l := control.Located{Card: home}
			if err == nil && card.Visitor != nil && card.Visitor.Office == at.Office {
				l.Former = card.Visitor
			}
			s.stepInquiry(in, l)
		})
	})
}

// here says that user is a visitor of ours now.
func (s *Server) here(user roam.UserID) bool {
	for _, v := range s.visitors[user] {
		if v.visit.Serving() {
			return true
		}
	}
	return false
}

// query sends the identity query (140, 350) and takes home's answer (150, 360).
func (s *Server) query(in *inquiry, at string) {
	if p, found := s.partner(in.home); found && p.Foreign != nil {
		s.mirror(in, p)
		return
	}
	req := in.tx.Request()
	value := s.credentials(req, sip.Authorization)
	q := identity{home: in.home, at: at, user: in.q.User, method: "REGISTER", uri: string(req.RequestURI()), value: string(value),
		device: in.r.Device, source: in.tx.Flow().Remote.Addr(), callID: in.r.CallID, person: in.r.Person}
	if comes(&in.r) {
		q.can = in.r.Contacts[0].Can
	}
	in.sent = s.loop.Now()
	s.identityQuery(in.by.Sub(s.loop.Now()), q, func(res *sip.Message, err error) {
		in.took = s.loop.Now().Sub(in.sent)
		if err != nil {
			s.stepInquiry(in, s.known(in))
			return
		}
		if res.Status()/100 != 2 {
			if v := s.findVisitor(in.q.User, in.r.Device); v != nil {
				v.nonces.passed(s.loop.Now(), q.source, res)
			}
			s.passOn(in, value, res)
			s.stepInquiry(in, control.Queried{Passed: true})
			return
		}
		legal, _ := s.welcome(in, res)
		s.stepInquiry(in, legal)
	})
}

// known is what we do without home (M9): refuse, or by policy admit the device that is here
// already, on the flow it had, while its ticket is good. That is local: home has not said so.
func (s *Server) known(in *inquiry) control.Queried {
	v := s.findVisitor(in.q.User, in.r.Device)
	if s.silent(in.home).Policy != "admit-known" || v == nil || !v.visit.Serving() || !s.loop.Now().Before(v.visit.Ticket.Until) ||
		!slices.Contains(v.flows, in.tx.Flow().Flow) {
		return control.Queried{Why: roam.HomeSilent}
	}
	in.alone = true
	silence := s.unrecorded(in.home)
	if v.visit.Home.Foreign { // nothing is owed: only the phone can tell it
		return control.Queried{Ticket: v.visit.Ticket, Silence: silence, Granted: silence.Grant}
	}
	return control.Queried{Ticket: v.visit.Ticket, Profile: v.visit.Profile, Silence: silence, Silent: true}
}

// unrecorded is the policy for a visitor of home's that home does not record.
func (s *Server) unrecorded(home roam.OfficeID) control.Silence {
	p := s.silent(home)
	return control.Silence{Refuse: p.Policy == "refuse-unrecorded", Grant: p.Expires.D(), Resend: p.ResendFor.D()}
}

// welcome reads home's 200: the user's canonical address, his profile and the ticket. The
// ticket is home's to check later; that it is for us, and for this device, is ours to check now.
func (s *Server) welcome(in *inquiry, res *sip.Message) (q control.Queried, doc visitBody) {
	proof := string(res.Value(sip.RoamTicket))
	if !body(res, visitType, &doc) || doc.Version > docVersion {
		return control.Queried{Why: roam.HomeSilent}, doc
	}
	t, ok := roam.Ticket{}, false
	if proof == "" && in.has != nil { // what we have is as good
		t, ok = *in.has, true
	} else {
		t, ok = s.verify(s.keyOf(in), ticketKind, proof)
	}
	if !ok || t.User != doc.User || t.Home != in.home || t.Office != s.cfg.Card.Office || t.Device != in.r.Device {
		s.log.Error().Str("event", "ticket.bad").Str("home", string(in.home)).Str("user", string(in.q.User)).Msg("home's ticket is not for this visit")
		if c := s.cards[in.home]; c != nil {
			c.known = false // a new key?
		}
		return control.Queried{Why: roam.HomeSilent}, doc
	}
	in.q.User, in.next = t.User, doc.Challenge // R, or the phone, may have used another of his names
	return control.Queried{Ticket: t, Profile: doc.Profile, Silence: s.unrecorded(in.home)}, doc
}

// keyOf is what home signs with: as its card says or, before we have asked for that, as it was when the visit began.
func (s *Server) keyOf(in *inquiry) []byte {
	if c := s.cards[in.home]; c != nil && c.card.Key != nil {
		return c.card.Key
	}
	if v := s.findVisitor(in.q.User, in.r.Device); v != nil {
		return v.visit.Home.Key
	}
	return nil
}

// inquired answers the phone.
func (s *Server) inquired(w *wait, in *inquiry, a control.Answer) error {
	if a.Why != roam.OK {
		if p, found := s.partner(in.home); found && in.mirror != "" && p.Foreign != nil && !s.here(in.q.User) {
			s.takeBack(in, p)
		}
		return a.Why
	}
	if a.Changed {
		s.registered(w, in.q.User, in.home, &in.r)
	}
	s.decided(in)
	if v := s.findVisitor(in.q.User, in.r.Device); v != nil && in.next != nil {
		if in.has == nil || in.has.Proof != v.visit.Ticket.Proof { // a new one
			v.fresh = s.loop.Now().Add(v.visit.Ticket.Until.Sub(s.loop.Now()) / 4)
		}
		v.nonces.take(s.loop.Now(), w.tx.Flow().Remote.Addr(), nonceOf(s.credentials(w.tx.Request(), sip.Authorization)), in.next)
		s.call(v, in.aor)
	}
	out := w.tx.Start(200, "")
	acceptFlow(out, w.tx.Request(), &in.r)
	for _, v := range s.visitors[in.q.User] {
		s.list(out, v.visit.Contacts)
	}
	if err := out.End("", nil); err != nil {
		return err
	}
	return w.tx.Respond(out)
}
