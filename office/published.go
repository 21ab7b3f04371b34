package office

import (
	"time"

	"github.com/siproam/siproam/roam"
)

// published is what a softswitch without a registrar in its process knows of other offices (softswitch.Offices): what they
// have published in the routing store. The registrar has their own cards; this is how to call them, and no more.
type published struct {
	o      *Office
	cards  map[roam.OfficeID]*roam.Card
	ranges map[roam.OfficeID][]string
}

// lookEvery is how often the routing store is read; what it says is in routesrv's memory.
const lookEvery = 5 * time.Second

// readPublished has them read from the loop's first turn on.
func (o *Office) readPublished(own []string) *published {
	p := &published{o: o, cards: map[roam.OfficeID]*roam.Card{}, ranges: map[roam.OfficeID][]string{}}
	if len(own) > 0 {
		p.ranges[o.cfg.Office] = own
	}
	o.loop.After(0, p.look)
	return p
}

func (p *published) look() {
	for _, a := range p.o.Config().Partners {
		if a.Foreign != nil {
			continue
		}
		p.o.routes.Peer(a.Office, func(is roam.Peer, err error) {
			if err != nil {
				return
			}
			p.cards[a.Office] = &roam.Card{Office: a.Office, Switch: is.Switch, Registrar: is.Registrar, Domains: is.Domains, Rev: is.Rev, Speaks: is.Speaks, Ranges: is.Ranges}
			if p.ranges[a.Office] = is.Ranges; len(is.Ranges) == 0 {
				delete(p.ranges, a.Office)
			}
		})
	}
	p.o.loop.After(lookEvery, p.look)
}

// OfficeCard is softswitch.Offices's.
func (p *published) OfficeCard(o roam.OfficeID) (card *roam.Card, found bool) {
	card, found = p.cards[o]
	return card, found
}

// Ranges is softswitch.Offices's.
func (p *published) Ranges() map[roam.OfficeID][]string { return p.ranges }
