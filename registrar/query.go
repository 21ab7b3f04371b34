package registrar

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/digest"
	"github.com/siproam/siproam/sip/transaction"
)

// identity is what an identity query asks (140, 350): are these credentials good?
type identity struct {
	home   roam.OfficeID
	at     string // home's registrar
	user   roam.UserID
	method string // of the request that carried value
	uri    string // its Request-URI
	value  string // Authorization, untouched; "": challenge him
	device roam.Device
	source netip.Addr // of the phone
	callID string     // of its registration
	person bool
	can    *roam.Abilities // nil: nothing is to be bound
}

// visitBody is what home says of a visitor whose credentials are good (150).
type visitBody struct {
	Version int           `json:"v"`
	User    roam.UserID   `json:"user"`
	Profile *roam.Profile `json:"profile,omitempty"`

	Challenge *challengeDoc  `json:"challenge,omitempty"`
	Location  *roam.Location `json:"location,omitempty"` // as home records it; of a renewal
	Held      bool           `json:"held,omitempty"`     // and as R has acknowledged it to home
}

// identityQuery is a REGISTER without Contact (RFC 3261 10.2.3) to q's home.
func (s *Server) identityQuery(patience time.Duration, q identity, done func(*sip.Message, error)) {
	_, domain, _ := strings.Cut(string(q.user), "@")
	s.askFor(patience, q.home, q.at, func(w *sip.Writer, _ *sip.Flow) error {
		aor := "sip:" + string(q.user)
		addressed(w, "REGISTER", "sip:"+domain, aor, aor, transaction.NewTag(), 1)
		w.Add(sip.PVisitedNetworkID, s.network(q.device, q.callID, q.person, q.can)+s.from(q.source))
		w.Add(sip.RoamDigest, q.method+";uri="+sip.Quote(q.uri))
		if q.value != "" {
			w.Add(sip.Authorization, q.value)
		}
		return w.End("", nil)
	}, done)
}

// network is our P-Visited-Network-ID (RFC 7315 4.3), with what we saw of the device.
func (s *Server) network(d roam.Device, callID string, person bool, can *roam.Abilities) string {
	var room [256]byte
	v := append(room[:0], s.cfg.Card.Office...)
	if d != "" {
		v = sip.AppendQuoted(append(v, ";device="...), string(d))
	}
	if callID != "" {
		v = sip.AppendQuoted(append(v, ";call="...), callID)
	}
	if person {
		v = append(v, ";person"...)
	}
	return string(appendAbilities(v, can))
}

// from is our word for the address of a phone, to which home binds its nonces. It says which are the same, and not
// what they are: it holds for this run.
func (s *Server) from(a netip.Addr) string {
	b := a.As16()
	mac := hmac.New(sha256.New, s.sources[:])
	mac.Write(b[:])
	return `;from="` + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:12]) + `"`
}

// network is a partner's P-Visited-Network-ID, read.
type network struct {
	office roam.OfficeID
	device roam.Device
	callID string
	person bool
	from   [16]byte
	can    *roam.Abilities // nil: it does not say
	ticket roam.Epoch      // of a ticket that it has, good for long
}

func (s *Server) readNetwork(req *sip.Message) (n network) {
	office, params, _ := strings.Cut(string(req.Value(sip.PVisitedNetworkID)), ";")
	p := sip.Params(params)
	device, _ := p.Get("device")
	n.office, n.device = roam.OfficeID(strings.TrimSpace(office)), roam.Device(device)
	n.callID, _ = p.Get("call")
	_, n.person = p.Get("person")
	from, _ := p.Get("from")
	copy(n.from[:], from)
	ticket, _ := p.Get("ticket")
	has, _ := strconv.ParseUint(ticket, 10, 53)
	n.ticket = roam.Epoch(has)
	n.can = s.can.told(p)
	return n
}

// partnerRegister is a partner's identity query, or with a Contact its registration message. An
// office speaks for itself only: the flow's certificate says who it is.
func (s *Server) partnerRegister(tx *transaction.Server, req *sip.Message) error {
	began := s.loop.Now()
	n := s.readNetwork(req)
	if _, found := s.partner(req.Flow.Partner); !found || n.office != req.Flow.Partner || len(n.device) > 128 {
		s.trespass(req.Flow.Partner, speaksForAnother, "")
		s.counted("query", roam.NoAgreement, began)
		return roam.NoAgreement
	}
	to, err := req.To()
	if err != nil {
		return err
	}
	u := s.find(to.URI, nil)
	if req.Value(sip.Contact) != nil {
		if req.Value(sip.Authorization) != nil {
			return s.renewVisit(tx, req, u, n)
		}
		return s.recordVisit(tx, req, u, n)
	}
	err = s.identify(tx, req, u, n)
	s.counted("query", err, began)
	return err
}

// identify is home's side of the identity query (150, 360): it checks, draws the ticket, and answers.
func (s *Server) identify(tx *transaction.Server, req *sip.Message, u *subscriber, n network) error {
	c, err := s.checked(req, u, n)
	if err != nil {
		return err
	}
	doc := visitBody{Version: docVersion, User: u.home.User, Profile: u.home.Profile, Challenge: c.next}
	return s.legal(tx, &doc, c.ticket.Proof)
}

// checkup is what home says of a phone's credentials, which are good.
type checkup struct {
	ticket roam.Ticket // of a REGISTER; with a Proof, unless the visited office has one
	next   *challengeDoc
}

// checked is home's check of the credentials in req (150, 360), and of who may roam. It draws the ticket.
func (s *Server) checked(req *sip.Message, u *subscriber, n network) (c checkup, err error) {
	method, asked := digestOf(req)
	uri, _ := sip.ParseURI([]byte(asked))
	l := claim{user: u, name: string(req.Value(sip.To)), value: s.credentials(req, sip.Authorization), method: method, asked: []byte(asked),
		at: digest.Place{Visited: string(n.office), Source: n.from}, device: n.device}
	l.target = func(d sip.URI) bool {
		return s.hosts[d.Host] || d.Equal(uri) || method == "REGISTER" && d.Host == uri.Host
	}
	if u != nil {
		l.name = string(u.home.User)
	}
	if n.can != nil {
		if err := s.askable(n.can.Transport); err != nil {
			return c, err
		}
	}
	again, err := s.authenticate(req.Flow, l)
	if err != nil {
		return c, err
	}
	id := u.home.User
	if v := s.mayRoam(u, n.office); v.why != roam.OK {
		s.told(n.office, v, id)
		return c, v.err()
	}
	if again { // no answer serves twice: a repetition is the visited office's to see, which has the flow that it came by
		return c, s.challenge(l, true)
	}
	c.next = s.next(&l, nonceOf(l.value))
	if method != "REGISTER" { // a call's credentials: no visit comes of them
		return c, nil
	}
	if p := u.home.Profile; n.can != nil && p.Device != nil {
		if err := s.lacking(string(id), n.device, p.Device.Compare(n.can, p.Declared)); err != nil {
			return c, err
		}
	}
	now := s.loop.Now()
	if by, is := u.home.Superseded(now, n.device, n.office, n.callID, n.person); is {
		return c, registeredAt(by)
	}
	epoch := u.home.Ticket(now, n.device, n.office, 0)
	if epoch == 0 {
		epoch = u.home.Above(s.draw())
	}
	c.ticket = roam.Ticket{User: id, Device: n.device, Office: n.office, Home: s.cfg.Card.Office, Epoch: epoch}
	if epoch != n.ticket {
		c.ticket = s.sign(ticketKind, c.ticket)
	}
	return c, nil
}

// visitAt is the presence of d at the visited office o, or -1.
func (u *subscriber) visitAt(d roam.Device, o roam.OfficeID) int {
	for i, p := range u.home.At {
		if p.Device == d && p.Office == o && len(p.Contacts) == 1 {
			return i
		}
	}
	return -1
}

// legal is home's 200: who it is, his profile, and the ticket.
func (s *Server) legal(tx *transaction.Server, doc *visitBody, proof string, more ...sip.Field) error {
	b, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	w := tx.Start(200, "")
	if proof != "" {
		w.Add(sip.RoamTicket, proof)
	}
	for _, f := range more {
		w.Add(f.Name, f.Value)
	}
	if err := w.End(visitType, b); err != nil {
		return err
	}
	return tx.Respond(w)
}

// digestOf is the method and Request-URI of the request whose credentials a query carries.
func digestOf(req *sip.Message) (method, uri string) {
	method, params, _ := strings.Cut(string(req.Value(sip.RoamDigest)), ";")
	if method = strings.TrimSpace(method); method == "" {
		method = "REGISTER"
	}
	uri, _ = sip.Params(params).Get("uri")
	return method, uri
}

// Authenticate checks the Proxy-Authorization of req: here for a subscriber, by the identity query for a
// visitor. Without credentials, or with wrong ones, err is a *sip.Refused with the challenge (407).
func (s *Server) Authenticate(req *sip.Message, user roam.UserID, done func(roam.UserID, error)) {
	value := s.credentials(req, sip.ProxyAuthorization)
	method, uri := req.MethodText(), string(req.RequestURI())
	asked, _ := sip.ParseURI(req.RequestURI())
	if u := s.users[user]; u != nil {
		again, err := s.authenticate(req.Flow, claim{user: u, name: string(user), value: value, method: method, proxy: true, asked: req.RequestURI(), at: placeOf(req.Flow),
			target: func(d sip.URI) bool { // SIPp names the server alone
				return d.Equal(asked) || (d.User == asked.User || d.User == "") && s.ours(d.Host, req.Flow)
			}})
		if again {
			err = s.challenge(claim{user: u, proxy: true, at: placeOf(req.Flow)}, true)
		}
		if err == nil {
			s.calls(req.Flow.Flow)
		}
		s.loop.Later(func() { done(user, err) })
		return
	}
	v := s.visitorOf(user)
	if v == nil {
		v = s.formerly(user)
	}
	if v == nil || v.visit.Home.Foreign { // nobody but the phone's flow says who it is
		s.loop.Later(func() { done(user, roam.NotAllowed) })
		return
	}
	q := identity{home: v.visit.Home.Office, at: v.visit.Home.Registrar, user: user, method: method, uri: uri, value: string(value), device: v.visit.Device,
		source: req.Flow.Remote.Addr()}
	if value == nil {
		if c := v.nonces.lend(s.loop.Now(), q.source); c != nil {
			r := &sip.Refused{Why: roam.BadCredentials, Code: 407}
			for _, text := range c {
				r.Fields = append(r.Fields, sip.Field{Name: sip.ProxyAuthenticate, Value: text})
			}
			s.loop.Later(func() { done(user, r) })
			return
		}
	}
	f, counted := req.Flow, s.stranger(req.Flow)
	if counted && !s.questions.ask(q.home) {
		s.loop.Later(func() { done(user, roam.TooBusy) })
		return
	}
	s.identityQuery(s.silent(q.home).After.D(), q, func(res *sip.Message, err error) {
		if counted {
			s.questions.end(q.home)
		}
		switch {
		case err != nil:
			err = roam.HomeSilent
		case res.Status()/100 != 2:
			if value != nil && res.Status() == 401 && !strings.Contains(string(res.Value(sip.WWWAuthenticate)), "stale=true") {
				s.failed("credentials", string(user), f)
			}
			err = relayed(res, true)
		default:
			var doc visitBody
			if body(res, visitType, &doc) && doc.Version <= docVersion {
				v.nonces.more(s.loop.Now(), q.source, doc.Challenge)
			}
			s.calls(f.Flow)
		}
		done(user, err)
	})
}

// seconds is d for a header.
func seconds(d time.Duration) int64 { return int64((d + time.Second/2) / time.Second) }
