package lease

import (
	"fmt"
	"slices"
	"time"
)

// Restore takes the rows of an earlier start into an empty table. What makes no sense is not taken; errs says what, and its
// address is in doubt: it is offered last, and only after a probe. With damaged, as when a row was lost, that holds for every
// address as long as a lease may last: one that a row says is free may have had a later row.
func (t *Table) Restore(now time.Time, rows []Lease, damaged bool) (errs []error) {
	t.tick(now)
	for _, l := range byEnd(rows) {
		if err := t.restore(l); err != nil {
			errs = append(errs, fmt.Errorf("lease of %s: %w", l.Addr, err))
		}
	}
	if damaged || len(errs) > 0 {
		longest := time.Duration(0)
		for _, s := range t.subnets {
			longest = max(longest, s.Max)
		}
		t.doubt = t.at + longest
		for _, e := range t.entries {
			e.doubt = t.doubt
			if e.state == Free {
				t.rest(e)
			}
		}
	}
	return errs
}

func (t *Table) restore(l Lease) error {
	switch {
	case !l.Addr.IsValid() || l.Addr.Zone() != "":
		return fmt.Errorf("no address")
	case t.entries[l.Addr] != nil && t.entries[l.Addr].client != "":
		return fmt.Errorf("there twice")
	}
	s := t.find(l.Addr)
	if s == nil {
		t.parked[l.Addr] = l
		return nil
	}
	e := t.entry(s, s.pooled(l.Addr), l.Addr)
	e.doubt = never
	if err := sound(l); err != nil {
		e.doubt = t.at + s.Max
		t.rest(e)
		return err
	}
	e.client, e.mac, e.port, e.host, e.vendor, e.known = l.Client, l.MAC, l.Port, l.Host, l.Vendor, l.Known
	e.plugged, e.since, e.until = t.from(l.Plugged), t.from(l.Since), t.from(l.Until)
	if e.since > t.at { // the clock was put back, or is not right yet: then the lease has begun now
		e.until += t.at - e.since
		e.since = t.at
		e.until = max(e.until, t.at)
	}
	if e.plugged > t.at {
		e.plugged = t.at
	}
	e.state = l.State
	if e.state == Free || e.until <= t.at {
		e.state = Free
		if l.State == Declined { // whoever was there may be there still; see Expire
			e.doubt = e.until + s.Max
			t.blank(e)
		}
	} else {
		e.use(1)
		t.due.set(e)
	}
	if e.client != "" {
		if old := s.clients[e.client]; old == nil || old.state != Bound && (e.state == Bound || old.until < e.until) {
			s.clients[e.client] = e
		}
	}
	if e.state == Free {
		t.rest(e)
	}
	return nil
}

// byEnd puts rows in the order in which their leases end, so that the one that is free longest is given first.
func byEnd(rows []Lease) []Lease {
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b Lease) int { return a.Until.Compare(b.Until) })
	return rows
}

// sound says what is wrong with a row.
func sound(l Lease) error {
	switch {
	case l.State != Bound && l.State != Free && l.State != Declined:
		return fmt.Errorf("is in state %d", l.State)
	case l.State == Bound && l.Client == "":
		return fmt.Errorf("without a client")
	case l.Until.IsZero() || l.Until.Before(l.Since):
		return fmt.Errorf("ends %s, before it began", l.Until.Format(time.RFC3339))
	}
	return nil
}

// Configure makes t serve other subnets. Leases of subnets that are no more are over, and returned; should their subnet come
// back, they are there again. What is no longer in a pool is not renewed. With an error nothing has changed.
func (t *Table) Configure(now time.Time, subnets []Subnet) (over []Lease, err error) {
	t.tick(now)
	next, err := New(subnets)
	if err != nil {
		return nil, err
	}
	rows := make([]Lease, 0, len(t.entries))
	for l := range t.All {
		if s := next.find(l.Addr); s == nil && l.State == Bound && t.parked[l.Addr].Addr != l.Addr {
			over = append(over, l)
		}
		if l.State != Offered {
			rows = append(rows, l)
		}
	}
	next.base = t.base
	next.tick(now)
	next.doubt = t.doubt
	for _, l := range byEnd(rows) {
		next.restore(l)
	}
	for a, e := range t.entries {
		s := next.find(a)
		if s == nil || e.doubt <= t.at {
			continue
		}
		n := next.entry(s, s.pooled(a), a)
		n.doubt = e.doubt
		if n.state == Free {
			next.rest(n)
		}
	}
	*t = *next
	return over, nil
}
