package registrar

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// cardFor is how long a card is believed without asking again.
const cardFor = 5 * time.Minute

// cached is what we know of an office, and who waits to know it.
type cached struct {
	card  roam.Card
	known bool
	at    time.Time
	waits []func(roam.Card, error)
}

// serveOptions is the question for our office card (130, 330-340), or a phone's keep-alive.
func (s *Server) serveOptions(tx *transaction.Server, req *sip.Message) error {
	if req.Flow.Partner == "" {
		if s.endedMirror(req) {
			return roam.NoSuchUser
		}
		return tx.Reply(200, sip.Field{Name: sip.Allow, Value: allow}, sip.Field{Name: sip.Accept, Value: "application/sdp"})
	}
	u, err := sip.ParseURI(req.RequestURI())
	if err != nil {
		return err
	}
	card := s.cfg.Card
	if u.User != "" {
		card.Visitor, card.Home = s.visiting(u)
		if aor, err := u.AOR(); err == nil && card.Visitor != nil {
			card.Mirrors = s.mirrorsOf(roam.UserID(aor))
		}
	}
	b, err := json.Marshal(card)
	if err != nil {
		return err
	}
	w := tx.Start(200, "")
	w.Add(sip.Allow, allow)
	if err := w.End(officeType, b); err != nil {
		return err
	}
	return tx.Respond(w)
}

const allow = "INVITE,ACK,BYE,CANCEL,OPTIONS,REGISTER,NOTIFY,INFO,UPDATE,MESSAGE"

// visiting is what we know of a visitor of ours: a hint for the office that has him now (340).
func (s *Server) visiting(u sip.URI) (*roam.Location, *roam.Card) {
	aor, err := u.AOR()
	if err != nil {
		return nil, nil
	}
	for _, v := range s.visitors[roam.UserID(aor)] {
		if v.visit.Serving() {
			here, home := s.office.Here, v.visit.Home
			here.Switch = s.switchOf(v.visit.Contacts[0].Target.Flow.Edge)
			here.Epoch = v.visit.Ticket.Epoch
			home.Visitor, home.Home = nil, nil
			return &here, &home
		}
	}
	return nil, nil
}

// card gives o's card: what we know, or what it says when asked. done may come at once.
func (s *Server) card(o roam.OfficeID, done func(roam.Card, error)) {
	c := s.cards[o]
	if c == nil {
		c = &cached{}
		s.cards[o] = c
	}
	if c.known && s.loop.Now().Sub(c.at) < cardFor {
		done(c.card, nil)
		return
	}
	c.waits = append(c.waits, done)
	if len(c.waits) > 1 {
		return
	}
	s.askCard(o, "", func(card roam.Card, err error) {
		if err == nil {
			s.takeCard(card)
		} else if c.known { // better than nothing: addresses seldom change
			card, err = c.card, nil
		}
		waits := c.waits
		c.waits = nil
		for _, w := range waits {
			w(card, err)
		}
	})
}

// hintFor is how long an office may take to say what it knows of a user: that is a help, and nothing depends on it.
const hintFor = time.Second

// askCard asks o's softswitch, which R knows, for its card; with user, also what it knows of him.
func (s *Server) askCard(o roam.OfficeID, user roam.UserID, done func(roam.Card, error)) {
	patience := s.silent(o).After.D()
	if user != "" {
		patience = min(patience, hintFor)
	}
	s.router.Peer(o, func(p roam.Peer, err error) {
		if err != nil {
			done(roam.Card{}, err)
			return
		}
		uri := p.Switch
		if user != "" {
			uri = "sip:" + string(user)
		}
		s.askFor(patience, o, p.Switch, func(w *sip.Writer, _ *sip.Flow) error {
			addressed(w, "OPTIONS", uri, s.cfg.Card.Registrar, uri, transaction.NewTag(), 1)
			w.Add(sip.Accept, officeType)
			return w.End("", nil)
		}, func(res *sip.Message, err error) {
			card, err := readCard(o, res, err)
			done(card, err)
		})
	})
}

// readCard is the card in o's answer. What it says of another office is not believed.
func readCard(o roam.OfficeID, res *sip.Message, err error) (card roam.Card, _ error) {
	if err != nil {
		return card, err
	}
	if why := refusal(res, nil); why != roam.OK {
		return card, why
	}
	if !body(res, officeType, &card) || card.Office != o || card.Version > docVersion {
		return roam.Card{}, roam.NoAgreement
	}
	card.Foreign = false // an office that answers so is none
	return card, nil
}

// learn asks R for every partner's domains; done comes when all are answered.
func (s *Server) learn(done func()) {
	offices := slices.DeleteFunc(slices.Clone(s.cfg.Partners), func(p roam.Partner) bool { return p.Foreign != nil })
	left := len(offices)
	for _, p := range offices {
		s.router.Peer(p.Office, func(peer roam.Peer, err error) {
			if err == nil {
				s.peered(peer)
			}
			if left--; left == 0 {
				done()
			}
		})
	}
}

// ignorant says that R has not told us a partner's domains yet, as when all offices start together.
func (s *Server) ignorant() bool {
	return slices.ContainsFunc(s.cfg.Partners, func(p roam.Partner) bool { return p.Foreign == nil && len(s.domains[p.Office]) == 0 })
}

// has says that partner o has the domain host.
func (s *Server) has(o roam.OfficeID, host string) bool {
	return slices.ContainsFunc(s.domains[o], func(d string) bool { return strings.EqualFold(d, host) })
}

// officeOf is the one partner that has the domain host, "" when none is known, or several.
func (s *Server) officeOf(host string) (found roam.OfficeID) {
	for o := range s.domains {
		if s.has(o, host) && found != "" {
			return ""
		} else if s.has(o, host) {
			found = o
		}
	}
	return found
}

// shared says that a partner has our domain as well: an unknown user may be theirs.
func (s *Server) shared() bool {
	for o := range s.domains {
		if s.has(o, s.domain()) {
			return true
		}
	}
	return false
}

// sequence is a CSeq's value.
func sequence(n uint32, method string) string {
	return strconv.FormatUint(uint64(n), 10) + " " + method
}
