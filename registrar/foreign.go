package registrar

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// A foreign home is a registrar that is no siproam, as Kamailio or Asterisk (DESIGN 6). Each REGISTER of its user's phone
// becomes one of ours to it: the phone's From, To, Call-ID, CSeq and credentials as they came, and instead of the phone's
// Contacts one of ours for the device, <sip:token@listener>, which leads home's calls to us. Two phones behind two
// offices may have one private address: their tokens differ. No Path goes out, so it does not matter whether home knows Path.
// What home answers, challenge or refusal, goes back to the phone; the 200 lists the phone's own Contacts.

// mirrorKind is the kind of the user part of our Contact at a foreign home.
const mirrorKind = 'm'

// mirrorToken is that user part: of one device at this office always the same, and nobody else can make it.
func (s *Server) mirrorToken(user roam.UserID, d roam.Device) string {
	return s.signer.Mark(mirrorKind, []byte(string(user)+"\x00"+string(d)))
}

// foreignHome is the foreign partner whose users have the domain host, nil when none has.
func (s *Server) foreignHome(host string) *roam.Partner {
	for i := range s.cfg.Partners {
		if p := &s.cfg.Partners[i]; p.Foreign != nil && p.Foreign.Domain != "" && strings.EqualFold(p.Foreign.Domain, host) {
			return p
		}
	}
	return nil
}

// foreignCard is what we know of p by configuration.
func foreignCard(p *roam.Partner) roam.Card {
	f := p.Foreign
	return roam.Card{Version: docVersion, Office: p.Office, Domains: []string{f.Domain}, Switch: f.Registrar, Registrar: f.Registrar, Foreign: true}
}

// registerForeign is a REGISTER for a user of the foreign home p.
func (s *Server) registerForeign(in *inquiry, p *roam.Partner, u sip.URI, user roam.UserID) {
	longest := max(p.Foreign.Longest(), s.mins[p.Office])
	for i := range in.r.Contacts {
		in.r.Contacts[i].Grant = min(in.r.Contacts[i].Grant, longest)
	}
	switch {
	case in.tx.Flow().Foreign == p.Office: // it would go round
		s.refuse(in.r.Tx, &sip.Refused{Why: roam.LoopDetected, Code: 482})
	case s.away() && !s.here(user):
		s.refuse(in.r.Tx, roam.StoreAway) // before home has recorded what we could not keep
	default:
		s.identified(in, u, user, p.Office, nil)
	}
}

// locateForeign finds out whether another office of ours has the device, so that home drops the Contact it had there
// with the same REGISTER. A stranger without credentials makes us ask nobody but home.
func (s *Server) locateForeign(in *inquiry, p *roam.Partner) {
	l := control.Located{Card: foreignCard(p)}
	if s.credentials(in.tx.Request(), sip.Authorization) == nil || s.here(in.q.User) {
		s.stepInquiry(in, l)
		return
	}
	s.router.Locate(in.q.User, false, func(at roam.Location, err error) {
		if err != nil || at.Office == "" || at.Office == s.cfg.Card.Office {
			s.stepInquiry(in, l)
			return
		}
		s.askCard(at.Office, in.q.User, func(card roam.Card, err error) {
			if err == nil && card.Visitor != nil && card.Visitor.Office == at.Office {
				for _, m := range card.Mirrors {
					if control.Same(m.Device, in.r.Device) && isMirror(m.Contact) {
						l.Former, l.Left = card.Visitor, m.Contact
					}
				}
			}
			in.left = l.Left
			s.stepInquiry(in, l)
		})
	})
}

// isMirror says that uri looks like a Contact of an office at a foreign home. It is all that one office may have another
// one take away there.
func isMirror(uri string) bool {
	u, err := sip.ParseURI([]byte(uri))
	return err == nil && len(u.User) == mirrorLen && len(uri) < 200
}

// mirrorLen is the length of a token.
const mirrorLen = 24

// mirrors is how u is bound at his foreign home by us, for the office that has him now.
func (s *Server) mirrorsOf(user roam.UserID) (all []roam.Mirror) {
	for _, v := range s.visitors[user] {
		if v.visit.Serving() && v.visit.Home.Foreign && v.mirror != "" {
			all = append(all, roam.Mirror{Device: v.visit.Device, Contact: v.mirror})
		}
	}
	return all
}

// mirror sends the one REGISTER to a foreign home (140 to 180).
func (s *Server) mirror(in *inquiry, p *roam.Partner) {
	req := in.tx.Request()
	hops, given := req.Seconds(sip.MaxForwards)
	if !given {
		hops = 70
	}
	if hops < 2 {
		s.refuse(in.r.Tx, &sip.Refused{Why: roam.LoopDetected, Code: 483})
		s.stepInquiry(in, control.Queried{Passed: true})
		return
	}
	in.token = s.mirrorToken(in.q.User, in.r.Device)
	asked := s.toMirror(in)
	in.sent = s.loop.Now()
	s.askFor(s.silent(p.Office).After.D(), p.Office, p.Foreign.Registrar, func(w *sip.Writer, f *sip.Flow) error {
		s.writeMirror(w, f, in, p, int64(hops)-1, asked)
		return w.End("", nil)
	}, func(res *sip.Message, err error) {
		in.took = s.loop.Now().Sub(in.sent)
		if err != nil {
			s.stepInquiry(in, s.known(in))
			return
		}
		if res.Status()/100 != 2 {
			s.mirrorRefused(in, p, res)
			return
		}
		granted := grantedBy(res, in.token, asked)
		t := roam.Ticket{User: in.q.User, Device: in.r.Device, Office: s.cfg.Card.Office, Home: p.Office, Until: s.loop.Now().Add(granted)}
		s.stepInquiry(in, control.Queried{Ticket: t, Silence: s.unrecorded(p.Office), Granted: granted})
	})
}

// writeMirror writes it: asked is for how long, -1 to ask what is bound.
func (s *Server) writeMirror(w *sip.Writer, f *sip.Flow, in *inquiry, p *roam.Partner, hops int64, asked time.Duration) {
	req := in.tx.Request()
	w.Request("REGISTER", requestURI(req, p))
	w.AddInt(sip.MaxForwards, hops)
	w.Add(sip.From, "<sip:"+string(in.q.User)+">;tag="+transaction.NewTag())
	w.Add(sip.To, "<sip:"+string(in.q.User)+">")
	w.Add(sip.CallID, in.r.CallID)
	w.Add(sip.CSeq, sequence(in.r.CSeq, "REGISTER"))
	for _, n := range [...]sip.Name{sip.Authorization, sip.ProxyAuthorization} {
		for v := range req.Values(n) {
			w.AddBytes(n, v)
		}
	}
	in.mirror = "sip:" + in.token + "@" + f.Here
	if f.Transport == roam.TCP {
		in.mirror += ";transport=tcp"
	}
	switch {
	case in.r.Star:
		for _, m := range s.mirrorsOf(in.q.User) {
			w.Add(sip.Contact, "<"+m.Contact+">;expires=0")
		}
	case asked >= 0:
		w.Add(sip.Contact, "<"+in.mirror+">;expires="+strconv.FormatInt(seconds(asked), 10))
		if in.left != "" {
			w.Add(sip.Contact, "<"+in.left+">;expires=0")
		}
	}
	if agent := req.Value(sip.UserAgent); agent != nil {
		w.AddBytes(sip.UserAgent, agent)
	}
}

// requestURI is home's domain, as the phone wrote it: its digest covers that.
func requestURI(req *sip.Message, p *roam.Partner) string {
	if u, err := sip.ParseURI(req.RequestURI()); err == nil && strings.EqualFold(u.Host, p.Foreign.Domain) {
		return string(req.RequestURI())
	}
	return "sip:" + p.Foreign.Domain
}

// toMirror is for how long the device is to be bound at home after the phone's REGISTER: as long as the last of its
// Contacts here; -1 when the phone only asks.
func (s *Server) toMirror(in *inquiry) time.Duration {
	if len(in.r.Contacts) == 0 {
		return -1
	}
	ask, now := time.Duration(0), s.loop.Now()
	for _, c := range in.r.Contacts {
		ask = max(ask, c.Grant)
	}
	v := s.findVisitor(in.q.User, in.r.Device)
	if v == nil || !v.visit.Serving() {
		return ask
	}
	for _, c := range v.visit.Contacts {
		named := slices.ContainsFunc(in.r.Contacts, func(n control.Contact) bool { return equalURI(n.Target.URI, c.Target.URI) })
		if !named { // another phone
			ask = max(ask, c.Until.Sub(now))
		}
	}
	return ask
}

// grantedBy is for how long home's 200 binds token.
func grantedBy(res *sip.Message, token string, asked time.Duration) time.Duration {
	if asked <= 0 {
		return 0
	}
	for v := range res.Values(sip.Contact) {
		a, err := sip.ParseAddress(v)
		if err != nil || a.URI.User != token {
			continue
		}
		if text, found := a.Params.Get("expires"); found {
			if n, err := strconv.ParseUint(text, 10, 32); err == nil && n > 0 {
				return min(time.Duration(n)*time.Second, asked)
			}
		}
	}
	if n, found := res.Seconds(sip.Expires); found && n > 0 {
		return min(time.Duration(n)*time.Second, asked)
	}
	return asked
}

// mirrorRefused gives the phone home's challenge or refusal. Home's shortest interval may be above our longest: it
// decides.
func (s *Server) mirrorRefused(in *inquiry, p *roam.Partner, res *sip.Message) {
	if n, found := res.Seconds(sip.MinExpires); found && res.Status() == 423 {
		s.mins[p.Office] = min(time.Duration(n)*time.Second, s.cfg.Max.D())
	}
	if res.Status() == 401 && s.credentials(in.tx.Request(), sip.Authorization) != nil && !strings.Contains(strings.ToLower(string(res.Value(sip.WWWAuthenticate))), "stale=true") {
		s.failed("credentials", string(in.q.User), in.tx.Flow())
	}
	err := relayed(res, false)
	if r, full := err.(*sip.Refused); full {
		for v := range res.Values(sip.ProxyAuthenticate) {
			r.Fields = append(r.Fields, sip.Field{Name: sip.ProxyAuthenticate, Value: string(v)})
		}
	}
	s.refuse(in.r.Tx, err)
	s.stepInquiry(in, control.Queried{Passed: true})
}

// takeBack ends at home what we could not keep, with the credentials it has just taken. If it does not take them twice,
// what it has ends soon by itself.
func (s *Server) takeBack(in *inquiry, p *roam.Partner) {
	in.r.CSeq++
	s.askFor(s.silent(p.Office).After.D(), p.Office, p.Foreign.Registrar, func(w *sip.Writer, f *sip.Flow) error {
		s.writeMirror(w, f, in, p, 70, 0)
		return w.End("", nil)
	}, func(*sip.Message, error) {})
}

// Mirrored is whose phone a foreign home means by the user part of a Contact that we gave it.
func (s *Server) Mirrored(home roam.OfficeID, token string) (user roam.UserID, d roam.Device, found bool) {
	v := s.mirrored[token]
	if v == nil || v.visit.Home.Office != home || !v.visit.Serving() {
		return "", "", false
	}
	return v.user(), v.visit.Device, true
}

// endedMirror says that a foreign home asks a Contact that we gave it and that rings nobody any more.
func (s *Server) endedMirror(req *sip.Message) bool {
	if req.Flow.Foreign == "" {
		return false
	}
	u, err := sip.ParseURI(req.RequestURI())
	if err != nil || len(u.User) != mirrorLen {
		return false
	}
	_, _, found := s.Mirrored(req.Flow.Foreign, u.User)
	return !found
}

// movedOn is a notice without home's word (370 to 480): of a foreign home's user the word of the office that has him
// counts, when R says the same and it is newer than ours.
func (s *Server) movedOn(tx *transaction.Server, from roam.OfficeID, v *visitor) error {
	tx.Hold()
	s.router.Locate(v.user(), true, func(at roam.Location, err error) {
		if err != nil || at.Office != from || at.Epoch <= v.visit.Ticket.Epoch {
			s.supersedes.Add(1, "refused")
			tx.Refuse(roam.NotAllowed)
			return
		}
		if s.findVisitor(v.user(), v.visit.Device) != v { // it has ended meanwhile
			if err := s.acknowledge(tx, at.Epoch); err != nil {
				tx.Refuse(err)
			}
			return
		}
		s.obey(tx, v, control.Superseded{Epoch: at.Epoch, Location: at})
	})
	return nil
}

// isForeign says that o is a foreign home.
func (s *Server) isForeign(o roam.OfficeID) bool {
	p, found := s.partner(o)
	return found && p.Foreign != nil
}

// reindexMirror keeps Server.mirrored in step with v.
func (s *Server) reindexMirror(v *visitor) {
	token := ""
	if v.visit.Serving() && v.visit.Home.Foreign {
		token = v.token
	}
	if token == v.known {
		return
	}
	if s.mirrored[v.known] == v {
		delete(s.mirrored, v.known)
	}
	if v.known = token; token != "" {
		s.mirrored[token] = v
	}
}

// withForeign adds to page, our subscribers behind after, the users of foreign homes who are here: their locations nobody
// else repairs.
func (s *Server) withForeign(page []roam.Owned, after roam.UserID, most int) []roam.Owned {
	for _, v := range s.mirrored {
		if at := v.visit.Location; at.Epoch > 0 && at.Office == s.cfg.Card.Office && v.user() > after {
			page = append(page, roam.Owned{User: v.user(), At: at})
		}
	}
	slices.SortFunc(page, func(a, b roam.Owned) int {
		return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(b.At.Epoch, a.At.Epoch))
	})
	page = slices.CompactFunc(page, func(a, b roam.Owned) bool { return a.User == b.User })
	return page[:min(most, len(page))]
}

// isFront says that o relays our users' REGISTERs to us.
func (s *Server) isFront(o roam.OfficeID) bool {
	p, found := s.partner(o)
	return found && p.Foreign != nil && p.Foreign.Front
}
