package registrar

import (
	"database/sql"
	"fmt"
	"reflect"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
)

// Cards of other offices are kept (M11): they came with an answer to our question, or with a registration message. R says
// which revision each office has, so that a changed one is asked for, whoever is where; within 15 s every office that knows it
// has the new one: a sign of life of the office (3 s), a look of routesrv at R (3 s), and ours.
const watchCards = 5 * time.Second

// OfficeCard is softswitch.Offices's.
func (s *Server) OfficeCard(o roam.OfficeID) (card *roam.Card, found bool) {
	if c := s.cards[o]; c != nil && c.card.Office != "" {
		return &c.card, true
	}
	return nil, false
}

// takeCard keeps what an office has said of itself.
func (s *Server) takeCard(card roam.Card) {
	card.Visitor, card.Home, card.Mirrors = nil, nil, nil
	c := s.cards[card.Office]
	if c == nil {
		c = &cached{}
		s.cards[card.Office] = c
	}
	was := c.card
	c.card, c.known, c.at = card, true, s.loop.Now()
	if reflect.DeepEqual(was, card) {
		return
	}
	s.put(putOffice, dropOffice, &card, s.drifted, string(card.Office))
	if was.Office == "" {
		return
	}
	s.log.Info().Str("event", "partner.card").Str("peer", string(card.Office)).Str("rev", card.Rev).Msg("another office has a new card")
	for _, vs := range s.visitors {
		for _, v := range vs {
			if v.visit.Serving() && v.visit.Home.Office == card.Office && !v.visit.Home.Foreign {
				s.changeVisit(v, func() control.Event { return control.Carded{Card: card} })
			}
		}
	}
}

// loadCard reads one row; the card is asked for again before it is next relied on.
func (s *Server) loadCard(rows *sql.Rows) error {
	var office string
	var doc []byte
	if err := rows.Scan(&office, &doc); err != nil {
		return err
	}
	c := &cached{known: true}
	if err := readDoc(doc, &c.card, &c.card.Version); err != nil {
		return fmt.Errorf("card of %s: %w", office, err)
	}
	s.cards[roam.OfficeID(office)] = c
	return nil
}

// stale has every card asked for again when it is next needed.
func (s *Server) stale() {
	for _, c := range s.cards {
		c.at = time.Time{}
	}
}

// watch asks R which domains and ranges partners have, and which revision the cards have of which we know one: for those that
// have changed we ask again. While R has not told us of all, as when all offices start together, it asks more often, for a while.
func (s *Server) watch() {
	for _, p := range s.cfg.Partners {
		if p.Foreign == nil {
			s.router.Peer(p.Office, func(peer roam.Peer, err error) {
				if err == nil {
					s.peered(peer)
				}
			})
		}
	}
	every := watchCards
	if s.watched++; s.watched < 20 && s.ignorant() {
		every = watchCards / 10
	}
	s.loop.After(every, s.watch)
}

// peered takes what R says of a partner.
func (s *Server) peered(p roam.Peer) {
	s.domains[p.Office] = p.Domains
	s.takeRanges(p.Office, p.Ranges)
	c := s.cards[p.Office]
	if c == nil || c.card.Office == "" || p.Rev == "" || c.known && p.Rev == c.card.Rev || len(c.waits) > 0 {
		return
	}
	c.at = time.Time{}
	s.card(p.Office, func(roam.Card, error) {})
}
