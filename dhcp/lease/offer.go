package lease

import (
	"net/netip"
	"time"
)

// Offer holds an address for who asks and says which; asked again, it says the same one. A client that has a lease is offered
// that and keeps it. The error says why there is none: ErrNoSubnet, ErrNoClient, ErrNoPool, ErrFull, ErrReserved, ErrPort, ErrOUI.
// The caller probes what is Anew, and calls Busy when somebody answers.
func (t *Table) Offer(now time.Time, q Ask) (Lease, error) {
	t.tick(now)
	s := t.find(q.Link)
	switch {
	case q.Client == "":
		return Lease{}, ErrNoClient
	case s == nil:
		return Lease{}, ErrNoSubnet
	}
	r := s.reservation(q)
	known := q.Known || r != nil
	own := s.clients[q.Client]
	if r != nil {
		if e := t.entry(s, s.pooled(r.Addr), r.Addr); e.mayHave(q, r) {
			return t.offer(e, q, true), nil
		}
	}
	if own != nil {
		known = known || own.known
		if own.state != Declined && own.mayKeep(q) {
			return t.offer(own, q, known), nil
		}
	}
	e, err := t.choose(s, q, known)
	if err != nil {
		return Lease{}, err
	}
	return t.offer(e, q, known), nil
}

// mayHave says that the reserved address e is free for who asks, or theirs already; a card whose client id has changed, by
// another system that it starts, is still the card that r names.
func (e *entry) mayHave(q Ask, r *Reservation) bool {
	return e.state == Free || e.state != Declined && (e.client == q.Client || r.MAC != "" && e.mac == q.MAC)
}

// mayKeep says that e, which is the client's, is to be had by it as things stand now.
func (e *entry) mayKeep(q Ask) bool {
	if e.sub.reserved[e.addr] != nil { // for somebody else: Offer has looked
		return false
	}
	if e.pool == nil {
		return false
	}
	ok, _ := e.pool.admits(q.Classes)
	return ok
}

// offer holds e for who asks, unless the address is theirs.
func (t *Table) offer(e *entry, q Ask, known bool) Lease {
	anew := e.client != q.Client
	if e.state != Bound { // a lease stays until Bind, even if its card calls itself otherwise now
		t.take(e, q, known)
		e.state, e.until = Offered, t.at+e.sub.Hold
		e.use(1)
		t.due.set(e)
		if e.pool != nil && !known {
			e.pool.holds.push(e)
		}
	}
	e.plugged = t.at
	l := t.lease(e)
	l.Client = q.Client
	l.State, l.Time = Offered, e.sub.granted(q.Time)
	l.Anew, l.Doubt = anew || e.before != nil, e.doubt > t.at && e.state != Bound
	return l
}

// take makes e who asks', for whatever state follows.
func (t *Table) take(e *entry, q Ask, known bool) {
	e.out()
	if e.used() {
		e.use(-1)
	}
	if e.client != q.Client {
		before := e.before
		if e.state == Free && e.client != "" {
			kept := *e
			before = &kept
			before.in, before.prev, before.next, before.before = nil, nil, nil, nil
		}
		if e.sub.clients[e.client] == e {
			delete(e.sub.clients, e.client)
		}
		e.client, e.before, e.since, e.plugged = q.Client, before, never, never
	}
	t.leave(e, q)
	e.mac, e.port, e.vendor, e.known = q.MAC, q.Port, q.Vendor, known
	e.host = q.Host
	if r := e.sub.reserved[e.addr]; r != nil && r.Host != "" {
		e.host = r.Host
	}
	e.sub.clients[q.Client] = e
}

// leave ends what else the client was offered in e's subnet, and forgets what it had there before.
func (t *Table) leave(e *entry, q Ask) {
	old := e.sub.clients[q.Client]
	if old == nil || old == e {
		return
	}
	switch old.state {
	case Offered:
		delete(e.sub.clients, q.Client)
		t.unoffer(old)
	case Free:
		old.out()
		t.blank(old)
		t.rest(old)
	}
	// A lease stays: it was promised, and is over in time.
}

// choose finds an address for a client that has none.
func (t *Table) choose(s *subnet, q Ask, known bool) (*entry, error) {
	if n := s.Limits.Port; n > 0 && q.Port != "" && s.ports[q.Port] >= n {
		return nil, ErrPort
	}
	if n := s.Limits.OUI; n > 0 && !known && q.MAC != "" && s.makers[maker(q.MAC)] >= n {
		return nil, ErrOUI
	}
	err := ErrNoPool
	if e := t.wish(s, q, known); e != nil {
		return e, nil
	}
	for _, first := range []bool{true, false} {
		for _, p := range s.pools {
			if ok, here := p.admits(q.Classes); !ok || here != first {
				continue
			}
			e, why := t.pick(s, p, known)
			if e != nil {
				return e, nil
			}
			err = why
		}
	}
	return nil, err
}

// wish is the address that was asked for, when it is free for who asks.
func (t *Table) wish(s *subnet, q Ask, known bool) *entry {
	if !s.Prefix.Contains(q.Addr) {
		return nil
	}
	p := s.pooled(q.Addr)
	if p == nil {
		return nil
	}
	if ok, _ := p.admits(q.Classes); !ok {
		return nil
	}
	if e := t.entries[q.Addr]; e != nil && (e.state != Free || !known && e.known) {
		return nil
	}
	if !known && (p.left() <= s.kept(p) || p.holds.n >= p.offers) {
		return nil
	}
	if t.entries[q.Addr] == nil && p.fresh <= 0 {
		return nil
	}
	return t.entry(s, p, q.Addr)
}

// pick is an address of p: one that nobody has had, else the one that is free longest, else what a stranger was offered.
func (t *Table) pick(s *subnet, p *pool, known bool) (*entry, error) {
	if !known {
		if p.left() <= s.kept(p) {
			if p.holds.first != nil {
				return t.reclaim(p), nil
			}
			if p.left() > 0 {
				return nil, ErrReserved
			}
			return nil, ErrFull
		}
		if p.holds.n >= p.offers {
			return t.reclaim(p), nil
		}
	}
	if e := p.blank.first; e != nil {
		return e, nil
	}
	if a, found := t.advance(s, p); found {
		return t.entry(s, p, a), nil
	}
	for _, l := range []*list{&p.free, &p.known, &p.doubt} {
		if l.first != nil {
			return l.first, nil
		}
	}
	if p.holds.first != nil {
		return t.reclaim(p), nil
	}
	return nil, ErrFull
}

// reclaim takes the oldest offer to a stranger back, for another client. A REQUEST for it will be told that it is not theirs.
func (t *Table) reclaim(p *pool) *entry {
	e := p.holds.first
	e.out()
	t.unoffer(e)
	return e
}

// advance is the next address of p without an entry.
func (t *Table) advance(s *subnet, p *pool) (netip.Addr, bool) {
	if p.fresh <= 0 {
		return netip.Addr{}, false
	}
	for a := p.next; p.Contains(a); a = a.Next() {
		if ex, no := s.excluded(a); no {
			a = ex.Last
			continue
		}
		if s.reserved[a] == nil && s.ours(a) && t.entries[a] == nil {
			p.next = a.Next()
			return a, true
		}
	}
	p.next = netip.Addr{}
	return netip.Addr{}, false
}
