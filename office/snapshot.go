package office

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/siproam/siproam/registrar"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/softswitch"
	"github.com/siproam/siproam/web"
)

// lately is of how many users, moved last, the page shows the moves.
const lately = 20

// Snapshot is web.Source's.
func (o *Office) Snapshot(ctx context.Context, what, after string, max int) (any, error) {
	if max <= 0 {
		max = 500
	}
	switch what {
	case web.AskHealth:
		return o.Health(ctx)
	case web.AskPlace:
		return o.place(ctx, max)
	case web.AskPeople:
		list, err := o.list(ctx, roam.UserID(after), max)
		return people(list), err
	case web.AskCalls:
		return o.calls(ctx)
	case web.AskMoves:
		return o.moves(ctx, max)
	}
	return nil, fmt.Errorf("snapshot of %q: unknown", what)
}

// Health says whether phones are served, and what of the rest is away. It fails when the loop does not turn.
func (o *Office) Health(ctx context.Context) (web.Health, error) {
	serving := o.health.serving.Load()
	h := web.Health{Office: o.Name(), Ready: serving, Parts: []web.Part{{Name: "listeners", OK: serving}, {Name: "state", OK: serving}}}
	if !serving {
		return h, nil
	}
	if err := o.loop.Do(ctx, func() {}); err != nil {
		return h, err
	}
	if o.dhcp != nil {
		p, serves := o.dhcpPart()
		h.Parts, h.Ready = append(h.Parts, p), h.Ready && serves
	}
	store := web.Part{Name: "routing store", OK: o.routes.Up()}
	if !store.OK {
		store.Detail = "away: calls and refreshes go on from memory"
	}
	h.Parts = append(h.Parts, store)
	if err := o.loop.Do(ctx, func() { h.Parts = append(h.Parts, o.otherProcesses()...) }); err != nil {
		return h, err
	}
	for _, p := range o.Config().Partners {
		one := web.Part{Name: "partner " + string(p.Office)}
		peer, err := await(ctx, o.loop, func(done func(roam.Peer, error)) { o.routes.Peer(p.Office, done) })
		switch {
		case err != nil:
			one.Detail = "unknown to the routing store"
		case !peer.Alive:
			one.Detail = "gives no sign of life"
		default:
			one.OK = true
		}
		h.Parts = append(h.Parts, one)
	}
	return h, nil
}

// place is the office in numbers. Users beyond max are not counted.
func (o *Office) place(ctx context.Context, max int) (web.Place, error) {
	cfg := o.Config()
	p := web.Place{
		Office: o.Name(), Domain: cfg.Domain, Listen: o.transport.Addrs(), Partner: cfg.URI, Store: "away", Uptime: time.Since(o.made).Seconds(),
	}
	if o.routes.Up() {
		p.Store = "up"
	}
	if o.far != nil {
		if err := o.loop.Do(ctx, func() { p.Softswitches = o.softswitches() }); err != nil {
			return p, err
		}
	}
	var err error
	if p.DHCP, err = o.addresses(ctx); err != nil {
		return p, err
	}
	list, err := o.list(ctx, "", max)
	if err != nil {
		return p, err
	}
	for _, st := range list {
		switch {
		case st.Visitor:
			p.Visits++
		case st.Location.Office == cfg.Office:
			p.Home++
		case st.Location.Office != "":
			p.Away++
		}
	}
	calls, err := o.inProgress(ctx)
	p.Calls = len(calls)
	return p, err
}

func people(list []registrar.Status) []web.Person {
	all := make([]web.Person, 0, len(list))
	for _, st := range list {
		p := web.Person{
			User: string(st.User.ID), Name: st.User.Name, Number: st.User.Number, Home: string(st.Home), At: string(st.Location.Office),
			Visitor: st.Visitor, Since: st.Location.Since, Move: st.Location.Move,
		}
		for _, d := range st.Devices {
			at := phoneAt(d)
			p.Phones = append(p.Phones, web.Phone{Office: string(d.Office), Agent: d.Agent, Addr: at.Addr, Transport: at.Transport, Until: d.Until, Spot: d.Spot})
		}
		all = append(all, p)
	}
	return all
}

func (o *Office) calls(ctx context.Context) ([]web.Call, error) {
	list, err := o.inProgress(ctx)
	all := make([]web.Call, 0, len(list))
	for _, c := range list {
		all = append(all, web.Call{
			ID: c.ID, Office: o.Name(), Start: c.Start, Answered: c.Answered, From: c.From, To: c.To, Kind: string(c.Kind),
			State: c.State, Codec: c.Codec, ICID: c.ICID, Lost: Lost(c),
		})
	}
	return all, err
}

// Lost is how much of what A and B sent was lost on its way to us, in per cent.
func Lost(c softswitch.CallView) (pct [2]float64) {
	for i, t := range c.Media {
		if sent := t.Packets + t.Lost; sent > 0 {
			pct[i] = 100 * float64(t.Lost) / float64(sent)
		}
	}
	return pct
}

// moves is what R remembers of our own users who moved last.
func (o *Office) moves(ctx context.Context, max int) ([]web.Move, error) {
	list, err := o.list(ctx, "", max)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(st registrar.Status) bool { return st.Visitor || st.Location.Epoch == 0 })
	slices.SortFunc(list, func(a, b registrar.Status) int { return cmp.Compare(b.Location.Epoch, a.Location.Epoch) })
	all := []web.Move{}
	for _, st := range list[:min(len(list), lately)] {
		moves, err := o.routes.Moves(ctx, st.User.ID, 5)
		if err != nil {
			return all, err
		}
		for _, m := range moves {
			at, err := time.Parse(time.RFC3339Nano, m.At)
			if err != nil {
				continue // a stranger's entry; people lose one line
			}
			all = append(all, web.Move{User: string(st.User.ID), Time: at, From: string(m.From), To: string(m.To), Move: m.Move, Why: m.Why})
		}
	}
	return all, nil
}
