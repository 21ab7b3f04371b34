package lease

import (
	"net/netip"
	"time"
)

// Release ends the lease of addr, if who asks has it: the same client, and from that address (RFC 2131 4.3.4). The lease is
// returned as it is now, free, to be stored; a loss of that costs nothing but time. Whoever can see the wire can forge this,
// so the caller probes first and lets a lease be whose client still answers.
func (t *Table) Release(now time.Time, q Ask, addr netip.Addr) (l Lease, done bool) {
	t.tick(now)
	e := t.theirs(q, addr)
	if e == nil {
		return Lease{}, false
	}
	e.until = t.at
	t.free(e)
	return t.lease(e), true
}

// Decline takes addr out of use, if who asks has its lease or its offer: somebody else uses it (RFC 2131 4.3.3). The lease is
// returned as it is now, to be stored.
func (t *Table) Decline(now time.Time, q Ask, addr netip.Addr) (l Lease, done bool) {
	t.tick(now)
	e := t.theirs(q, addr)
	if e == nil {
		return Lease{}, false
	}
	t.decline(e)
	return t.lease(e), true
}

// Busy takes addr out of use, since a probe was answered there by somebody who has no lease of it.
func (t *Table) Busy(now time.Time, addr netip.Addr) (l Lease, done bool) {
	t.tick(now)
	e := t.entries[addr]
	if e == nil || e.state == Bound || e.state == Declined {
		return Lease{}, false
	}
	t.decline(e)
	return t.lease(e), true
}

// Clear says that nobody at all has answered a probe of addr, so that it is not in doubt any more.
func (t *Table) Clear(addr netip.Addr) {
	e := t.entries[addr]
	if e == nil || e.doubt == never {
		return
	}
	e.doubt = never
	if e.state == Free {
		t.rest(e)
	}
}

// Withdraw ends the offer of a client that has taken another server's (RFC 2131 3.1, 4).
func (t *Table) Withdraw(now time.Time, q Ask) {
	t.tick(now)
	if s := t.find(q.Link); s != nil {
		if e := s.clients[q.Client]; e != nil && e.state == Offered {
			e.out()
			t.unoffer(e)
		}
	}
}

// theirs is addr's entry, if who asks has it by all that they say of themselves.
func (t *Table) theirs(q Ask, addr netip.Addr) *entry {
	e := t.entries[addr]
	switch {
	case e == nil || q.Client == "" || e.client != q.Client || e.mac != q.MAC:
		return nil
	case e.state != Bound && e.state != Offered:
		return nil
	case e.port != "" && q.Port != "" && e.port != q.Port:
		return nil
	case q.Source.IsValid() && !q.Source.IsUnspecified() && q.Source != addr:
		return nil
	}
	return e
}

// decline takes e out of use. Its port stays counted, so that one place cannot decline a whole pool.
func (t *Table) decline(e *entry) {
	if e.used() {
		e.use(-1)
	}
	if e.sub.clients[e.client] == e {
		delete(e.sub.clients, e.client)
	}
	e.out()
	e.client, e.host, e.vendor, e.known, e.before = "", "", "", false, nil
	e.state, e.since, e.until = Declined, t.at, t.at+e.sub.Decline
	e.use(1)
	t.due.set(e)
}
