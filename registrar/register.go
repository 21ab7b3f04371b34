package registrar

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// serveRegister is a REGISTER: a phone's, or a partner's query or message.
func (s *Server) serveRegister(tx *transaction.Server, req *sip.Message) error {
	if req.Flow.Partner != "" {
		return s.partnerRegister(tx, req)
	}
	if o := req.Flow.Foreign; o != "" && !s.isFront(o) {
		return roam.NotAllowed
	}
	to, err := sip.BorrowAddress(req.Value(sip.To))
	if err != nil {
		return err
	}
	if sch := to.URI.Scheme; sch != "sip" && sch != "sips" && sch != "tel" {
		return roam.BadRequest // 10.3: no address-of-record of ours, nor of anybody
	}
	if u := s.find(to.URI, req.Flow); u != nil {
		return s.registerHome(tx, req, u)
	}
	if to, err = req.To(); err != nil { // a copy, for it outlasts the turn
		return err
	}
	return s.registerOther(tx, req, to.URI)
}

// registerHome is RFC 3261 10.3 for our own user (200-230).
func (s *Server) registerHome(tx *transaction.Server, req *sip.Message, u *subscriber) error {
	began := s.loop.Now()
	if err := s.askable(req.Flow.Transport); err != nil {
		s.counted("home", err, began)
		return err
	}
	again, err := s.authenticate(req.Flow, claim{user: u, name: string(u.home.User), value: s.credentials(req, sip.Authorization),
		method: "REGISTER", asked: req.RequestURI(), at: placeOf(req.Flow)}) // 3, 4: that To is the user's own is in logins
	if err != nil {
		s.counted("home", err, began)
		return err
	}
	r := &s.asked
	if *r, err = s.read(req, r.Contacts[:0]); err != nil { // 6, 7: everything that can be wrong is found before anything changes
		s.counted("home", err, began)
		return err
	}
	if err := s.able(u, r); err != nil {
		s.counted("home", err, began)
		return err
	}
	if again && !u.home.Repeats(began, r) { // a repeated answer to our challenge changes nothing
		return s.challenge(claim{user: u, at: placeOf(req.Flow)}, true)
	}
	if again || u.home.Refresh(began, r) {
		s.refreshed.Add(1)
		s.refreshing.Observe(0)
		return s.respondHome(tx, u, r) // 8
	}
	s.changeHome(tx, u, *r)
	return nil
}

// changeHome holds the request until u's core has decided and the disk has it.
func (s *Server) changeHome(tx *transaction.Server, u *subscriber, r control.Register) {
	s.own(&r)
	kind := kindOf(&r, "home")
	r.Person = s.hasCalled(r.Contacts)
	r.Tx = s.hold(tx, kind, func(w *wait, a control.Answer) error {
		if a.Why == roam.Moved {
			return registeredAt(a.By)
		}
		if a.Why != roam.OK {
			return a.Why
		}
		if a.Changed {
			s.registered(w, u.home.User, s.cfg.Card.Office, &r)
		}
		return s.respondHome(w.tx, u, &r)
	})
	if !s.change(u, func() control.Event { r.Next, r.Away = s.draw(), s.away(); return r }) {
		s.answer(control.Answer{Tx: r.Tx, Why: roam.TooBusy})
	}
}

// kindOf is what r is for, as we count it.
func kindOf(r *control.Register, kind string) string {
	for _, c := range r.Contacts {
		if c.Grant > 0 {
			return kind
		}
	}
	if r.Star || len(r.Contacts) > 0 {
		return "remove"
	}
	return "query"
}

// own makes r independent of its request and of Server.asked.
func (s *Server) own(r *control.Register) {
	r.CallID, r.Device = strings.Clone(r.CallID), roam.Device(strings.Clone(string(r.Device)))
	r.Contacts = slices.Clone(r.Contacts)
	for i := range r.Contacts {
		t := &r.Contacts[i].Target
		t.URI, t.Agent, t.Device = strings.Clone(t.URI), s.agents.name(t.Agent), r.Device
	}
}

// agents is what phones call themselves, each once: thousands of them are of few makes.
type agents map[string]string

const mostAgents = 1000

func (a agents) name(agent string) string {
	if known, found := a[agent]; found || agent == "" {
		return known
	}
	if len(a) >= mostAgents {
		clear(a)
	}
	agent = strings.Clone(agent)
	a[agent] = agent
	return agent
}

// read is steps 6 and 7 as far as they need no bindings: what r asks for. Its Contacts are appended to room,
// and its strings are pieces of req, see own.
func (s *Server) read(req *sip.Message, room []control.Contact) (r control.Register, err error) {
	r.Contacts = room
	r.CallID, r.CSeq = borrow(req.Value(sip.CallID)), req.CSeq()
	header, given := req.Seconds(sip.Expires)
	agent := clip(borrow(req.Value(sip.UserAgent)), 100)
	path := s.edge(req, &r)
	if req.Flow.Foreign != "" {
		if path, err = s.front(req); err != nil {
			return r, err
		}
	}
	var can *roam.Abilities
	n := 0
	for v := range req.Values(sip.Contact) {
		a, err := sip.BorrowAddress(v)
		if err != nil {
			return r, err
		}
		if n++; a.Star {
			r.Star = true
			continue
		}
		if n > s.cfg.Contacts+1 {
			return r, roam.TooMany
		}
		if n == 1 {
			can = s.can.of(req, a.Params)
		}
		if a.URI.Scheme != "sip" && a.URI.Scheme != "sips" || len(a.Raw) > 500 {
			return r, roam.BadRequest
		}
		c := control.Contact{Target: roam.Target{URI: a.Raw, Route: path, Flow: req.Flow.Flow, Q: quality(a.Params), Agent: agent}, Can: can}
		if c.Grant, err = s.granted(a.Params, header, given); err != nil {
			return r, err
		}
		if id, found := a.Params.Get("reg-id"); found {
			v, _ := strconv.ParseUint(id, 10, 31)
			c.RegID = uint32(v)
		}
		if d := instance(a.Params); d != "" && r.Device == "" {
			r.Device = d
		}
		r.Contacts = append(r.Contacts, c)
	}
	if r.Star && (n > 1 || !given || header != 0) { // 10.3 step 6
		return r, roam.BadRequest
	}
	if err := named(req, &r); err != nil {
		return r, err
	}
	spot := s.lease(req, &r)
	for i := range r.Contacts {
		r.Contacts[i].Target.Device, r.Contacts[i].Target.Spot = r.Device, spot
	}
	return r, nil
}

// granted chooses the expiry: the contact's own parameter, Expires, our default. A malformed one is as if it were not there.
func (s *Server) granted(p sip.Params, header uint32, given bool) (time.Duration, error) {
	ask := s.cfg.Expires.D()
	if given {
		ask = time.Duration(header) * time.Second
	}
	if text, found := p.Get("expires"); found {
		if v, err := strconv.ParseUint(text, 10, 32); err == nil {
			ask = time.Duration(v) * time.Second
		}
	}
	if ask > 0 && ask < s.cfg.Min.D() && ask < time.Hour {
		return 0, &sip.Refused{Why: roam.TooBrief, Fields: []sip.Field{{Name: sip.MinExpires, Value: strconv.Itoa(int(s.cfg.Min.D() / time.Second))}}}
	}
	return min(ask, s.cfg.Max.D()), nil
}

// quality is q in thousandths, 1000 when not given or malformed.
func quality(p sip.Params) uint16 {
	text, found := p.Get("q")
	if !found {
		return 1000
	}
	q, err := strconv.ParseFloat(text, 64)
	if err != nil || !(q >= 0 && q <= 1) {
		return 1000
	}
	return uint16(math.Round(q * 1000))
}

// instance is the device a Contact names by +sip.instance (RFC 5626 4.1), "" for none.
func instance(p sip.Params) roam.Device {
	text, _ := p.Get("+sip.instance")
	text = strings.TrimSuffix(strings.TrimPrefix(text, "<"), ">")
	if len(text) > 128 || strings.HasPrefix(text, "mac:") { // that is the name of a lease
		return ""
	}
	return roam.Device(text)
}

// borrow is b as a string, valid for as long as b is and does not change.
func borrow(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "")
	}
	return s
}

// respondHome is step 8: the 200 to r with every live binding, wherever it is.
func (s *Server) respondHome(tx *transaction.Server, u *subscriber, r *control.Register) error {
	w := tx.Start(200, "")
	acceptFlow(w, tx.Request(), r)
	for i := range u.home.At {
		s.list(w, u.home.At[i].Contacts)
	}
	if err := w.End("", nil); err != nil {
		return err
	}
	return tx.Respond(w)
}

// list writes the live ones of cs with what is left of them.
func (s *Server) list(w *sip.Writer, cs []control.Contact) {
	now := s.loop.Now()
	var stack [256]byte
	for i := range cs {
		c := &cs[i]
		left := (c.Until.Sub(now) + time.Second/2) / time.Second
		if left <= 0 {
			continue
		}
		b := append(stack[:0], '<')
		b = append(b, c.Target.URI...)
		b = append(b, ">;expires="...)
		b = strconv.AppendInt(b, int64(left), 10)
		if c.Target.Q != 1000 {
			b = append(b, ";q="...)
			b = strconv.AppendFloat(b, float64(c.Target.Q)/1000, 'f', -1, 64)
		}
		if c.RegID != 0 {
			b = append(append(b, ";+sip.instance="...), sip.Quote("<"+string(c.Target.Device)+">")...)
			b = strconv.AppendUint(append(b, ";reg-id="...), uint64(c.RegID), 10)
		}
		w.AddBytes(sip.Contact, b)
	}
}

// wait is a request whose answer a core will give.
type wait struct {
	tx    *transaction.Server
	kind  string
	began time.Time
	done  func(*wait, control.Answer) error

	stranger bool          // it counts among Server.questions
	home     roam.OfficeID // and for that one
	in       *inquiry      // of a renewal
}

// hold keeps tx until a core answers; done then answers it, or returns the refusal.
func (s *Server) hold(tx *transaction.Server, kind string, done func(*wait, control.Answer) error) uint64 {
	s.last++
	s.waits[s.last] = &wait{tx: tx.Hold(), kind: kind, began: s.loop.Now(), done: done}
	return s.last
}

// waited takes the wait that id names; nil: nobody waits.
func (s *Server) waited(id uint64) *wait {
	w := s.waits[id]
	if w == nil {
		return nil
	}
	delete(s.waits, id)
	if w.stranger {
		s.questions.end(w.home)
	}
	return w
}

// answer ends a wait. An Answer that nobody waits for is none.
func (s *Server) answer(a control.Answer) {
	w := s.waited(a.Tx)
	if w == nil {
		return
	}
	if w.tx.Answered() { // it waited too long
		return
	}
	err := w.done(w, a)
	if w.kind != "" {
		s.counted(w.kind, err, w.began)
	}
	if err != nil {
		w.tx.Refuse(err)
	}
}

// registered is the one line for a registration that has changed.
func (s *Server) registered(w *wait, user roam.UserID, home roam.OfficeID, r *control.Register) {
	contact := "*"
	if len(r.Contacts) > 0 {
		contact = r.Contacts[0].Target.URI
	}
	e := s.log.Info()
	if !e.Enabled() {
		return
	}
	f := w.tx.Flow()
	e.Str("event", "register.ok").Str("user", string(user)).Str("kind", w.kind).Str("home", string(home)).
		Str("visited", string(s.cfg.Card.Office)).Str("contact", contact).Str("device", string(r.Device)).
		Str("remote_ip", f.Remote.Addr().Unmap().String()).Int64("dur_ms", s.loop.Now().Sub(w.began).Milliseconds()).Msg("registration changed")
}
