package lease

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Subnet is one link's addresses and its rules. Zero durations and counts mean the defaults named here.
type Subnet struct {
	Prefix  netip.Prefix
	Pools   []Pool
	Exclude []Range       // the router's own, and whatever is configured by hand
	Time    time.Duration // granted when a client asks for nothing; 8h
	Min     time.Duration // shortest granted; 1m
	Max     time.Duration // longest granted; 24h
	Hold    time.Duration // an offer is held so long; 45s
	Decline time.Duration // a declined address is given to nobody for so long; 1h

	Reservations []Reservation
	Limits       Limits
	Share        Share
}

// Range is addresses from First to Last, both included.
type Range struct{ First, Last netip.Addr }

// Contains says that a is in r.
func (r Range) Contains(a netip.Addr) bool {
	return a.BitLen() == r.First.BitLen() && r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0
}

// Pool is addresses that are given to whoever asks; with Classes only to clients of one of them, who look here first.
type Pool struct {
	Range
	Classes []string
}

// Reservation gives Addr to one client, and to nobody else. One of MAC, Client and Port says whose it is; a port's goes to
// whoever asks there first, and to the next one when that lease is over.
type Reservation struct {
	MAC    string
	Client string
	Port   string
	Addr   netip.Addr
	Host   string // its name, whatever it says
}

// Limits are against clients that ask for more than they need. They bind strangers; known clients only Port.
type Limits struct {
	Offers  int // held by strangers at a time, per pool; then the oldest goes. Never above a quarter of the pool, or 8. 0: so many
	Port    int // addresses at one relay port; 0: no limit
	OUI     int // addresses of one maker, all locally administered MACs being one; 0: no limit
	Reserve int // percent of each pool that strangers do not get while known clients who had addresses of it are away. 0: nothing
}

// Share splits the pools among several servers: this one gives every Of-th address, beginning with Part (from 1). Zero: all.
type Share struct{ Part, Of int }

// most is how many addresses of a pool are ever used; DHCPv6 pools are larger than any memory.
const most = 1 << 18

// Problems says what is wrong with s, as far as one subnet shows.
func (s Subnet) Problems() (all []error) {
	bad := func(format string, args ...any) {
		all = append(all, fmt.Errorf("subnet %s: "+format, append([]any{s.Prefix}, args...)...))
	}
	if !s.Prefix.IsValid() || s.Prefix.Masked() != s.Prefix {
		bad("is no network")
		return all
	}
	in := func(what string, r Range) bool {
		switch {
		case !r.First.IsValid() || !r.Last.IsValid() || r.Last.Less(r.First):
			bad("%s %s-%s is no range", what, r.First, r.Last)
		case !s.Prefix.Contains(r.First) || !s.Prefix.Contains(r.Last):
			bad("%s %s-%s is outside", what, r.First, r.Last)
		default:
			return true
		}
		return false
	}
	good := []Pool{}
	for _, p := range s.Pools {
		if !in("pool", p.Range) {
			continue
		}
		good = append(good, p)
		for _, q := range good[:len(good)-1] {
			if p.Contains(q.First) || q.Contains(p.First) {
				bad("pools %s-%s and %s-%s overlap", q.First, q.Last, p.First, p.Last)
			}
		}
	}
	for _, r := range s.Exclude {
		in("exclude", r)
	}
	taken := map[netip.Addr]bool{}
	whose := map[Reservation]bool{}
	for _, r := range s.Reservations {
		in("reservation", Range{r.Addr, r.Addr})
		if taken[r.Addr] {
			bad("%s is reserved twice", r.Addr)
		}
		taken[r.Addr] = true
		who := Reservation{MAC: r.MAC, Client: r.Client, Port: r.Port}
		if whose[who] {
			bad("one client has two reservations, one of them %s", r.Addr)
		}
		whose[who] = true
		if n := len(nonempty(r.MAC, r.Client, r.Port)); n != 1 {
			bad("reservation of %s names %d of mac, client id and port, want one", r.Addr, n)
		}
	}
	if s.Share.Of < 0 || s.Share.Of > 0 && (s.Share.Part < 1 || s.Share.Part > s.Share.Of) {
		bad("part %d of %d", s.Share.Part, s.Share.Of)
	}
	if s.Min > 0 && s.Max > 0 && s.Min > s.Max {
		bad("shortest lease %s is above the longest, %s", s.Min, s.Max)
	}
	return all
}

func nonempty(all ...string) []string {
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

// subnet is a Subnet at work.
type subnet struct {
	Subnet
	pools    []*pool
	exclude  []Range // sorted, apart
	clients  map[string]*entry
	reserved map[netip.Addr]*Reservation
	byMAC    map[string]*Reservation
	byClient map[string]*Reservation
	byPort   map[string]*Reservation
	ports    map[string]int // addresses in use, by port
	makers   map[string]int // of strangers, by OUI
}

// pool is a Pool at work. An address has an entry from its first offer on.
type pool struct {
	Pool
	next   netip.Addr // the first that has no entry, or before it; invalid: there is none left
	fresh  int        // how many have no entry
	size   int        // how many there are
	blank  list       // free, nobody had them
	free   list       // free, strangers had them; the longest ago first
	known  list       // free, known clients had them
	doubt  list       // free, but to be probed
	holds  list       // offered to strangers, the oldest first
	offers int        // most of those
}

func newSubnet(c Subnet) *subnet {
	s := &subnet{Subnet: c, clients: map[string]*entry{}, reserved: map[netip.Addr]*Reservation{}, byMAC: map[string]*Reservation{},
		byClient: map[string]*Reservation{}, byPort: map[string]*Reservation{}, ports: map[string]int{}, makers: map[string]int{}}
	s.Time, s.Min, s.Max = cmp.Or(s.Time, 8*time.Hour), cmp.Or(s.Min, time.Minute), cmp.Or(s.Max, 24*time.Hour)
	s.Max = max(s.Max, s.Min)
	s.Hold, s.Decline = cmp.Or(s.Hold, 45*time.Second), cmp.Or(s.Decline, time.Hour)
	s.exclude = apart(append(edges(c.Prefix), c.Exclude...))
	for i := range s.Reservations {
		r := &s.Reservations[i]
		s.reserved[r.Addr] = r
		for key, in := range map[string]map[string]*Reservation{r.MAC: s.byMAC, r.Client: s.byClient, r.Port: s.byPort} {
			if key != "" {
				in[key] = r
			}
		}
	}
	for _, p := range c.Pools {
		one := &pool{Pool: p, next: p.First}
		one.size = s.count(p.Range)
		one.fresh = one.size
		if one.offers = max(8, one.size/4); s.Limits.Offers > 0 {
			one.offers = min(one.offers, s.Limits.Offers)
		}
		s.pools = append(s.pools, one)
	}
	return s
}

// edges is what of an IPv4 network names no host: its first and last address.
func edges(p netip.Prefix) []Range {
	if !p.Addr().Is4() || p.Bits() > 30 {
		return nil
	}
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	last := netip.AddrFrom4(b)
	return []Range{{p.Addr(), p.Addr()}, {last, last}}
}

// apart is all in order, with those that overlap joined.
func apart(all []Range) (joined []Range) {
	slices.SortFunc(all, func(a, b Range) int { return a.First.Compare(b.First) })
	for _, r := range all {
		if n := len(joined); n > 0 && joined[n-1].Contains(r.First) {
			if joined[n-1].Last.Less(r.Last) {
				joined[n-1].Last = r.Last
			}
			continue
		}
		joined = append(joined, r)
	}
	return joined
}

// excluded is the range that forbids a.
func (s *subnet) excluded(a netip.Addr) (Range, bool) {
	i, found := slices.BinarySearchFunc(s.exclude, a, func(r Range, a netip.Addr) int {
		if r.Last.Less(a) {
			return -1
		}
		return r.First.Compare(a)
	})
	if found || i < len(s.exclude) && s.exclude[i].Contains(a) {
		return s.exclude[i], true
	}
	return Range{}, false
}

// ours says that a is in this server's part. Reservations are in everybody's.
func (s *subnet) ours(a netip.Addr) bool {
	return s.Share.Of <= 1 || int(low(a)%uint64(s.Share.Of)) == s.Share.Part-1
}

// low is the last 32 bits of an IPv4 address, the last 64 of an IPv6 one.
func low(a netip.Addr) (n uint64) {
	b := a.As16()
	from := 8
	if a.Is4() {
		from = 12
	}
	for _, x := range b[from:] {
		n = n<<8 | uint64(x)
	}
	return n
}

// pooled is the pool that a is in and may be given from.
func (s *subnet) pooled(a netip.Addr) *pool {
	if _, no := s.excluded(a); no || s.reserved[a] != nil || !s.ours(a) {
		return nil
	}
	for _, p := range s.pools {
		if p.Contains(a) {
			return p
		}
	}
	return nil
}

// count is how many addresses of r may be given, at most most.
func (s *subnet) count(r Range) (n int) {
	for a := r.First; n < most && r.Contains(a); a = a.Next() {
		if ex, no := s.excluded(a); no {
			a = ex.Last
		} else if s.reserved[a] == nil && s.ours(a) {
			n++
		}
	}
	return n
}

// reservation is what is reserved for who asks; the client's own word goes before its MAC, and that before its place.
func (s *subnet) reservation(q Ask) *Reservation {
	if r := s.byClient[q.Client]; r != nil {
		return r
	}
	if r := s.byMAC[q.MAC]; r != nil && q.MAC != "" {
		return r
	}
	return s.byPort[q.Port]
}

// admits says that clients of classes may have addresses of p; first that they look there first.
func (p *pool) admits(classes []string) (ok, first bool) {
	if len(p.Classes) == 0 {
		return true, false
	}
	for _, c := range classes {
		if slices.Contains(p.Classes, c) {
			return true, true
		}
	}
	return false, false
}

// left is how many free addresses p has, offers not counted.
func (p *pool) left() int { return p.fresh + p.blank.n + p.free.n + p.known.n + p.doubt.n }

// kept is how many of those strangers do not get.
func (s *subnet) kept(p *pool) int {
	return min(p.known.n, p.size*s.Limits.Reserve/100)
}

// granted is the time a client is told.
func (s *subnet) granted(wanted time.Duration) time.Duration {
	return min(max(cmp.Or(wanted, s.Time), s.Min), s.Max)
}
