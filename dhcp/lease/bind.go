package lease

import (
	"net/netip"
	"time"
)

// Bind gives or renews addr's lease: the answer to a REQUEST, in whatever state the client is (RFC 2131 4.3.2). When it is
// Granted, the lease is to be stored before the client hears of it; Lease.Time is what it is told.
func (t *Table) Bind(now time.Time, q Ask, addr netip.Addr) (Lease, Verdict) {
	t.tick(now)
	s := t.find(q.Link)
	if s == nil || q.Client == "" {
		return Lease{}, Unknown
	}
	if !s.Prefix.Contains(addr) {
		return Lease{}, WrongNet
	}
	e, r := t.entries[addr], s.reservation(q)
	mine := r != nil && r.Addr == addr
	switch {
	case mine:
		if e = t.entry(s, nil, addr); !e.mayHave(q, r) {
			return Lease{}, NotYours
		}
	case s.reserved[addr] != nil:
		return Lease{}, NotYours
	case e == nil || e.client == "" && e.state == Free:
		return Lease{}, Unknown
	case e.client != q.Client && e.state == Free:
		return Lease{}, Unknown
	case e.client != q.Client || e.state == Declined || !e.mayKeep(q):
		return Lease{}, NotYours
	case r != nil && t.entry(s, nil, r.Addr).mayHave(q, r): // what is reserved for it waits
		return Lease{}, NotYours
	}
	return t.bind(e, q, r != nil), Granted
}

// bind makes e the client's. An address is kept as long as its client has ever been told, even if it is told less now: the
// answer may be lost. One in doubt stays so: what the client was told before may be what was lost.
func (t *Table) bind(e *entry, q Ask, reserved bool) Lease {
	s := e.sub
	renews := e.state == Bound && e.client == q.Client
	told := s.granted(q.Time)
	until := t.at + told
	if e.state == Bound {
		until = max(until, e.until)
	}
	known := e.known && e.client == q.Client || q.Known || reserved || renews && t.at-e.since >= min(told, s.Time)/2
	plugged := e.plugged
	if !renews {
		e.since = never
	}
	t.take(e, q, known)
	e.state, e.until, e.before, e.plugged = Bound, until, nil, plugged
	if e.since == never {
		e.since = t.at
	}
	e.use(1)
	t.due.set(e)
	l := t.lease(e)
	l.Time = told
	return l
}
