package registrar

import (
	"encoding/xml"
	"strconv"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// reginfoType is the body of reg events (RFC 3680 5).
const reginfoType = "application/reginfo+xml"

// reginfo is a device's registration that is over, and in an element of our own where calls go now.
type reginfo struct {
	XMLName      xml.Name     `xml:"urn:ietf:params:xml:ns:reginfo reginfo"`
	Version      int          `xml:"version,attr"`
	State        string       `xml:"state,attr"`
	Registration registration `xml:"registration"`
}

type registration struct {
	AOR     string     `xml:"aor,attr"`
	ID      string     `xml:"id,attr"`
	State   string     `xml:"state,attr"`
	Contact regContact `xml:"contact"`
	Gone    goneTo     `xml:"urn:siproam:location location"`
}

type regContact struct {
	ID    string `xml:"id,attr"`
	State string `xml:"state,attr"`
	Event string `xml:"event,attr"`
	URI   string `xml:"uri"`
}

type goneTo struct {
	Epoch     roam.Epoch    `xml:"epoch,attr"`
	Office    roam.OfficeID `xml:"office,attr"`
	Switch    string        `xml:"softswitch,attr"`
	Registrar string        `xml:"registrar,attr"`
	Sig       string        `xml:"sig,attr,omitempty"` // home's, as in roam:loc
}

// supersede tells the office at a.To that the device has moved (250, 370). home is the user's.
func (s *Server) supersede(user roam.UserID, a control.Supersede, home roam.OfficeID, done func(control.Settled)) {
	proof := a.Proof
	if proof == "" && home == s.cfg.Card.Office { // we are home: our word is a signature of its own kind
		proof = s.sign(supersedeKind, roam.Ticket{User: user, Device: a.Device, Home: home, Epoch: a.Epoch}).Proof
	}
	b, err := xml.Marshal(reginfo{Version: 0, State: "partial", Registration: registration{AOR: "sip:" + string(user), ID: "r1", State: "terminated",
		Contact: regContact{ID: "c1", State: "terminated", Event: "deactivated", URI: a.Contact},
		Gone:    goneTo{a.Location.Epoch, a.Location.Office, a.Location.Switch, a.Location.Registrar, a.Location.Sig}}})
	if err != nil { // strings and numbers: cannot be
		panic("registrar: reginfo: " + err.Error())
	}
	settled := control.Settled{To: a.To, Device: a.Device, Epoch: a.Epoch}
	callID := transaction.NewTag()
	s.tellOffice(a.To, func(w *sip.Writer) error {
		addressed(w, "NOTIFY", a.To, s.cfg.Card.Registrar, a.To, callID, 1)
		w.Add(sip.Event, "reg")
		w.Add(sip.SubscriptionState, "terminated;reason=noresource")
		if proof != "" {
			w.Add(sip.RoamTicket, proof)
		}
		w.Add(sip.Contact, "<"+s.cfg.Card.Registrar+">")
		return w.End(reginfoType, b)
	}, func(res *sip.Message, err error) {
		settled.Err = err
		if why := refusal(res, err); err == nil && why != roam.OK {
			settled.Err = why
		}
		if settled.Err == nil {
			n, _ := strconv.ParseUint(string(res.Value(sip.RoamEpoch)), 10, 53)
			if n > 0 { // else it knows nobody of that name
				settled.Epoch = roam.Epoch(n) // what it acknowledges, whatever we asked
			}
		}
		s.supersedes.Add(1, map[bool]string{true: "acknowledged", false: "failed"}[settled.Err == nil])
		done(settled)
	})
}

// tellOffice sends to the registrar at uri, whichever partner that is.
func (s *Server) tellOffice(uri string, build func(*sip.Writer) error, done func(*sip.Message, error)) {
	u, err := sip.ParseURI([]byte(uri))
	if err != nil {
		s.loop.Later(func() { done(nil, err) })
		return
	}
	s.tl.Request(transaction.Destination{URI: u}, func(w *sip.Writer, f *sip.Flow) error {
		if f.Partner == "" {
			return errWrongOffice
		}
		return build(w)
	}, func(res *sip.Message, err error) {
		if res == nil || res.Status() >= 200 {
			done(res, err)
		}
	})
}

// serveSupersede is the notice that a visitor's device is elsewhere (260, 480). It is obeyed with
// home's signature only, and above our own ticket only; a claimed epoch alone says nothing.
func (s *Server) serveSupersede(tx *transaction.Server, req *sip.Message) error {
	from := req.Flow.Partner
	if from == "" {
		return &sip.Refused{Why: roam.NotAllowed, Code: 481}
	}
	var info reginfo
	if err := xml.Unmarshal(req.Body(), &info); err != nil {
		return roam.BadRequest
	}
	u, err := sip.ParseURI([]byte(info.Registration.AOR))
	if err != nil {
		return err
	}
	aor, err := u.AOR()
	if err != nil {
		return err
	}
	if c, err := sip.ParseURI([]byte(info.Registration.Contact.URI)); err == nil {
		if v := s.mirrored[c.User]; v != nil && v.user() == roam.UserID(aor) {
			return s.movedOn(tx, from, v)
		}
	}
	if s.users[roam.UserID(aor)] != nil { // only we say where our own are
		s.supersedes.Add(1, "refused")
		s.trespass(from, badSupersede, roam.UserID(aor))
		return roam.NotAllowed
	}
	t, v, err := s.proved(from, roam.UserID(aor), string(req.Value(sip.RoamTicket)))
	if err != nil {
		s.supersedes.Add(1, "refused")
		s.trespass(from, badSupersede, roam.UserID(aor))
		return err
	}
	if v == nil { // nothing of that device is here: it is as it should be
		return s.acknowledge(tx, t.Epoch)
	}
	g := info.Registration.Gone
	ev := control.Superseded{Epoch: t.Epoch}
	if from == t.Home || g.Office == from || g.Office == t.Home {
		ev.Location = roam.Location{Epoch: g.Epoch, Office: g.Office, Switch: g.Switch, Registrar: g.Registrar, Since: s.loop.Now(), Device: t.Device, Sig: g.Sig}
	}
	s.obey(tx, v, ev)
	return nil
}

// obey has v ended by a supersede that is proved, and acknowledges it when it has.
func (s *Server) obey(tx *transaction.Server, v *visitor, ev control.Superseded) {
	ev.Tx = s.hold(tx, "", func(w *wait, a control.Answer) error {
		if a.Why != roam.OK {
			return a.Why
		}
		s.supersedes.Add(1, "obeyed")
		return s.acknowledge(w.tx, a.Epoch)
	})
	if !s.changeVisit(v, func() control.Event { return ev }) {
		s.answer(control.Answer{Tx: ev.Tx, Why: roam.TooBusy})
	}
}

// proved opens home's word about a visitor of ours. From a third office that is the ticket of the
// visit it has now. v is nil when the user, or the device, is not here.
func (s *Server) proved(from roam.OfficeID, user roam.UserID, proof string) (t roam.Ticket, v *visitor, err error) {
	for _, o := range s.visitors[user] {
		home := &o.visit.Home
		t, ok := s.verify(home.Key, supersedeKind, proof)
		if !ok || from != home.Office {
			if t, ok = s.verify(home.Key, ticketKind, proof); !ok || t.Office != from {
				continue
			}
		}
		if t.User != user || t.Home != home.Office {
			continue
		}
		return t, s.findVisitor(user, t.Device), nil
	}
	if s.visitors[user] == nil {
		return t, nil, nil
	}
	return t, nil, roam.NotAllowed
}

// acknowledge is the 200, which names what it acknowledges.
func (s *Server) acknowledge(tx *transaction.Server, e roam.Epoch) error {
	return tx.Reply(200, sip.Field{Name: sip.RoamEpoch, Value: strconv.FormatUint(uint64(e), 10)})
}
