package lease

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Table is which address is whose, of all subnets of one server.
type Table struct {
	subnets map[netip.Prefix]*subnet
	lengths []int // of prefixes, the longest first
	entries map[netip.Addr]*entry
	parked  map[netip.Addr]Lease // of subnets that are no more: kept in case that they return
	due     heap
	base    time.Time     // times are counted from here, so that a step of the clock ends no lease
	now     time.Time     // of the last call
	at      time.Duration // the same, from base
	doubt   time.Duration // until then what nobody is known to have is to be probed first
}

// entry is one address that has been offered at least once.
type entry struct {
	addr   netip.Addr
	sub    *subnet
	pool   *pool // nil: reserved, or not to be given any more
	client string
	mac    string
	port   string
	host   string
	vendor string
	state  State
	known  bool

	plugged, since, until time.Duration // plugged and since: never is the zero
	doubt                 time.Duration // to be probed first until then
	due                   time.Duration // when the heap looks at it: until, or before
	index                 int           // in the heap, -1: not in it

	before     *entry // of an offer: who had it last, in case that it comes to nothing
	in         *list
	prev, next *entry
}

// never is no time.
const never = time.Duration(-1 << 63)

// New makes the table of subnets, or says everything that is wrong with them.
func New(subnets []Subnet) (*Table, error) {
	t := &Table{entries: map[netip.Addr]*entry{}, parked: map[netip.Addr]Lease{}, doubt: never}
	return t, t.use(subnets)
}

// use makes t serve subnets.
func (t *Table) use(subnets []Subnet) error {
	var errs []error
	t.subnets, t.lengths = map[netip.Prefix]*subnet{}, nil
	for i, c := range subnets {
		if problems := c.Problems(); problems != nil {
			errs = append(errs, problems...)
			continue
		}
		for _, other := range subnets[:i] {
			if other.Prefix.Overlaps(c.Prefix) {
				errs = append(errs, &overlap{other.Prefix, c.Prefix})
			}
		}
		t.subnets[c.Prefix] = newSubnet(c)
		if !slices.Contains(t.lengths, c.Prefix.Bits()) {
			t.lengths = append(t.lengths, c.Prefix.Bits())
		}
	}
	slices.SortFunc(t.lengths, func(a, b int) int { return cmp.Compare(b, a) })
	return errors.Join(errs...)
}

// overlap says which two subnets do.
type overlap struct{ a, b netip.Prefix }

func (e *overlap) Error() string {
	return "subnets " + e.a.String() + " and " + e.b.String() + " overlap"
}

// tick notes the time.
func (t *Table) tick(now time.Time) {
	if t.base.IsZero() {
		t.base = now
	}
	t.now, t.at = now, now.Sub(t.base)
}

// time is d as people read it now.
func (t *Table) time(d time.Duration) time.Time {
	if d == never {
		return time.Time{}
	}
	return t.now.Add(d - t.at)
}

// from is at, counted as times are here.
func (t *Table) from(at time.Time) time.Duration {
	if at.IsZero() {
		return never
	}
	return t.at + at.Sub(t.now)
}

// find is the subnet of link.
func (t *Table) find(link netip.Addr) *subnet {
	for _, n := range t.lengths {
		if p, err := link.Prefix(n); err == nil {
			if s := t.subnets[p]; s != nil {
				return s
			}
		}
	}
	return nil
}

// Subnet is the subnet that a is in.
func (t *Table) Subnet(a netip.Addr) (s Subnet, found bool) {
	if at := t.find(a); at != nil {
		return at.Subnet, true
	}
	return Subnet{}, false
}

// Reservation is what is reserved for who asks.
func (t *Table) Reservation(q Ask) (r Reservation, found bool) {
	if s := t.find(q.Link); s != nil {
		if r := s.reservation(q); r != nil {
			return *r, true
		}
	}
	return Reservation{}, false
}

// At is what is known of addr; a free address may still say who had it last.
func (t *Table) At(addr netip.Addr) (l Lease, found bool) {
	e := t.entries[addr]
	if e == nil || e.client == "" && e.state == Free {
		return Lease{}, false
	}
	return t.lease(e), true
}

// Of is the addresses that client has, has been offered, or had last, by subnet.
func (t *Table) Of(client string) (all []Lease) {
	for _, s := range t.subnets {
		if e := s.clients[client]; e != nil {
			all = append(all, t.lease(e))
		}
	}
	slices.SortFunc(all, func(a, b Lease) int { return a.Addr.Compare(b.Addr) })
	return all
}

// All is every address that somebody has or had, in no order, those of former subnets with it. It may end early.
func (t *Table) All(yield func(Lease) bool) {
	for _, e := range t.entries {
		if (e.client != "" || e.state != Free) && !yield(t.lease(e)) {
			return
		}
	}
	for _, l := range t.parked {
		if !yield(l) {
			return
		}
	}
}

// Count is how many addresses of one subnet are in each state. Free has those that nobody has had yet.
type Count struct {
	Subnet                         netip.Prefix
	Free, Offered, Bound, Declined int
}

// Counts counts, by subnet.
func (t *Table) Counts() (all []Count) {
	at := map[*subnet]int{}
	for p, s := range t.subnets {
		at[s] = len(all)
		c := Count{Subnet: p}
		for _, p := range s.pools {
			c.Free += p.left()
		}
		all = append(all, c)
	}
	for _, e := range t.entries {
		c := &all[at[e.sub]]
		switch e.state {
		case Offered:
			c.Offered++
		case Bound:
			c.Bound++
		case Declined:
			c.Declined++
		}
	}
	slices.SortFunc(all, func(a, b Count) int { return a.Subnet.Addr().Compare(b.Subnet.Addr()) })
	return all
}

// lease is e as others see it.
func (t *Table) lease(e *entry) Lease {
	return Lease{Addr: e.addr, Subnet: e.sub.Prefix, Client: e.client, MAC: e.mac, Port: e.port, Host: e.host, Vendor: e.vendor,
		State: e.state, Known: e.known, Plugged: t.time(e.plugged), Since: t.time(e.since), Until: t.time(e.until)}
}

// entry is addr's, made when there is none. p is its pool.
func (t *Table) entry(s *subnet, p *pool, addr netip.Addr) *entry {
	e := t.entries[addr]
	if e == nil {
		e = &entry{addr: addr, sub: s, pool: p, plugged: never, since: never, until: never, doubt: t.doubt, index: -1}
		t.entries[addr] = e
		if p != nil {
			p.fresh--
		}
	}
	return e
}

// maker is what Limits.OUI counts by.
func maker(mac string) string {
	if len(mac) < 8 {
		return mac
	}
	if strings.ContainsRune("2367abefABEF", rune(mac[1])) {
		return "local" // made up by software
	}
	return mac[:8]
}

// use counts e as in use at its port and of its maker, by n.
func (e *entry) use(n int) {
	add := func(m map[string]int, key string) {
		if m[key] += n; m[key] <= 0 {
			delete(m, key)
		}
	}
	if e.port != "" {
		add(e.sub.ports, e.port)
	}
	if !e.known && e.mac != "" {
		add(e.sub.makers, maker(e.mac))
	}
}

// used says that e is in use: its port and its maker are counted.
func (e *entry) used() bool { return e.state != Free }
