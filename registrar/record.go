package registrar

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// locationBody is a user's location as home records it (170).
type locationBody struct {
	Version int `json:"v"`
	roam.Location
	Held bool `json:"held,omitempty"` // R has acknowledged it to home
}

// record sends v's registration message (160): our own REGISTER, with home's ticket and no digest of the phone.
func (s *Server) record(v *visitor, a control.Record) {
	home := v.visit.Home.Office
	if home == "" { // a new visit: its home is not saved yet
		home = a.Ticket.Home
	}
	proof := sip.Field{Name: sip.RoamTicket, Value: a.Ticket.Proof}
	s.ask(home, a.At, s.message(v, a, s.network(a.Ticket.Device, a.CallID, false, a.Can), proof), func(res *sip.Message, err error) {
		ev := control.Recorded{Why: refusal(res, err), Confirms: a.Confirms}
		var doc locationBody
		if ev.Why == roam.OK {
			if !body(res, locationType, &doc) || doc.Version > docVersion {
				ev.Why = roam.HomeSilent
			}
			granted, _ := res.Seconds(sip.Expires)
			ev.Location, ev.Grant, ev.Held = doc.Location, time.Duration(granted)*time.Second, doc.Held
		}
		if s.stepVisit(v, ev); ev.Why == roam.OK {
			s.records(home)
		}
	})
}

// message writes v's registration message: network is its P-Visited-Network-ID, proofs say why home should believe it.
func (s *Server) message(v *visitor, a control.Record, network string, proofs ...sip.Field) func(w *sip.Writer) error {
	v.cseq++
	here, cseq := s.cfg.Card, v.cseq
	here.Switch = s.switchOf(a.Edge)
	return func(w *sip.Writer) error {
		contact, err := s.contact(v, here.Switch)
		if err != nil {
			return err
		}
		card, err := json.Marshal(here)
		if err != nil {
			return err
		}
		aor := "sip:" + string(a.Ticket.User)
		_, domain, _ := strings.Cut(string(a.Ticket.User), "@")
		addressed(w, "REGISTER", "sip:"+domain, aor, aor, v.callID, cseq)
		w.Add(sip.PVisitedNetworkID, network)
		for _, p := range proofs {
			w.Add(p.Name, p.Value)
		}
		w.Add(sip.Contact, "<"+contact+">;expires="+strconv.FormatInt(seconds(a.Grant), 10))
		w.AddInt(sip.Expires, seconds(a.Grant))
		return w.End(officeType, card)
	}
}

// contact is <sip:token@S1>.
func (s *Server) contact(v *visitor, softswitch string) (string, error) {
	u, err := sip.ParseURI([]byte(softswitch))
	u.User = v.token
	return u.String(), err
}

// recordVisit is home's side of the registration message (170, 490): the ticket, which we signed, proves that we checked.
func (s *Server) recordVisit(tx *transaction.Server, req *sip.Message, u *subscriber, n network) error {
	began := s.loop.Now()
	t, ok := s.verify(s.signer.Public(), ticketKind, string(req.Value(sip.RoamTicket)))
	if !ok || u == nil || t.User != u.home.User || t.Office != n.office || t.Device != n.device || t.Home != s.cfg.Card.Office {
		who := roam.UserID("")
		if u != nil {
			who = u.home.User
		}
		s.trespass(n.office, badTicket, who)
		s.counted("visited", roam.NotAllowed, began)
		return roam.NotAllowed
	}
	s.issued(&t)
	r, err := s.readMessage(req, u, n)
	if err == nil && r.Contact.Grant > 0 {
		err = s.lacking(string(u.home.User), n.device, u.home.Profile.Device.Compare(n.can, u.home.Profile.Declared))
	}
	if err != nil {
		s.counted("visited", err, began)
		return err
	}
	r.Ticket = t
	s.changeVisited(tx, u, r, s.recorded)
	return nil
}

// changeVisited holds a visited office's message until u's core has decided; done writes the 200.
func (s *Server) changeVisited(tx *transaction.Server, u *subscriber, r control.Registration, done func(*transaction.Server, control.Answer) error) {
	kind := "visited"
	if r.Contact.Grant == 0 {
		kind = "remove"
	} else if i := u.visitAt(r.Ticket.Device, r.Ticket.Office); i >= 0 && u.home.At[i].Epoch == r.Ticket.Epoch {
		kind = "refresh"
	}
	r.Tx = s.hold(tx, kind, func(w *wait, a control.Answer) error {
		if a.Why != roam.OK {
			return a.Why
		}
		if a.Changed {
			s.log.Info().Str("event", "register.ok").Str("user", string(u.home.User)).Str("kind", kind).Str("home", string(s.cfg.Card.Office)).
				Str("visited", string(r.Ticket.Office)).Str("contact", r.Contact.Target.URI).Str("device", string(r.Ticket.Device)).
				Int64("dur_ms", s.loop.Now().Sub(w.began).Milliseconds()).Msg("registration changed")
		}
		return done(w.tx, a)
	})
	if !s.change(u, func() control.Event { r.Next, r.Away = s.draw(), s.away(); return r }) {
		s.answer(control.Answer{Tx: r.Tx, Why: roam.TooBusy})
	}
}

// readMessage reads a registration message but for what proves it, and holds it against the agreement.
func (s *Server) readMessage(req *sip.Message, u *subscriber, n network) (r control.Registration, err error) {
	var card roam.Card
	if !body(req, officeType, &card) || card.Office != n.office || card.Version > docVersion {
		return r, roam.BadRequest
	}
	card.Foreign = false
	s.takeCard(card)
	a, err := sip.ParseAddress(req.Value(sip.Contact))
	if err != nil || a.Star {
		return r, roam.BadRequest
	}
	ask, _ := req.Seconds(sip.Expires)
	c := control.Contact{Target: roam.Target{URI: a.Raw, Q: 1000}, CallID: n.callID, Can: n.can, Grant: min(time.Duration(ask)*time.Second, s.cfg.Max.D())}
	if v := s.mayRoam(u, n.office); c.Grant > 0 && v.why != roam.OK { // to end a visit no agreement is needed
		s.told(n.office, v, u.home.User)
		return r, v.err()
	}
	if c.Grant > 0 && u.Disabled {
		return r, roam.NotAllowed
	}
	return control.Registration{Switch: card.Switch, Registrar: card.Registrar, CallID: string(req.Value(sip.CallID)), CSeq: req.CSeq(), Contact: c}, nil
}

// recorded is the 200 with the whole location (170).
func (s *Server) recorded(tx *transaction.Server, a control.Answer) error {
	b, err := json.Marshal(locationBody{docVersion, a.Location, a.Held})
	if err != nil {
		return err
	}
	w := tx.Start(200, "")
	w.AddInt(sip.Expires, seconds(a.Grant))
	if err := w.End(locationType, b); err != nil {
		return err
	}
	return tx.Respond(w)
}
