package dhcp

import (
	"bytes"
	"cmp"
	"net/netip"
	"strconv"
	"strings"

	"github.com/siproam/siproam/dhcp/lease"
	"github.com/siproam/siproam/dhcp/wire"
)

// network is one subnet as the server uses it.
type network struct {
	*Subnet
	mask [4]byte
	last netip.Addr // its broadcast address
	sets []*set     // by class, the last for clients of none
}

// class is one as it is compared with a client.
type class struct {
	vendor string // in small letters
	open   bool   // anything may follow
	ouis   [][]byte
}

// prepare compiles what is told in each subnet to each class.
func (s *Server) prepare() {
	for i := range s.cfg.Classes {
		c := &s.cfg.Classes[i]
		s.names = append(s.names, c.name(i))
		one := class{}
		one.vendor, one.open = strings.CutSuffix(strings.ToLower(c.Vendor), "*")
		for _, o := range c.OUI {
			b, _ := octets(o) // Validate has read it
			one.ouis = append(one.ouis, b)
		}
		s.classes = append(s.classes, one)
	}
	s.nets = make([]*network, len(s.cfg.Subnets))
	for i := range s.cfg.Subnets {
		n := &network{Subnet: &s.cfg.Subnets[i]}
		n.sets = s.sets(&n.Subnet.Options)
		n.last = lastOf(n.Network)
		if n.Network.Addr().Is4() {
			for bit := range n.Network.Bits() {
				n.mask[bit/8] |= 0x80 >> (bit % 8)
			}
		}
		s.nets[i] = n
	}
	s.elsewhere = &network{Subnet: &Subnet{}, sets: s.sets(&Options{})}
}

// leases is the subnets as package lease wants them.
func (c *Config) leases() (all []lease.Subnet) {
	for i := range c.Subnets {
		s := &c.Subnets[i]
		t := s.Lease.over(c.Lease)
		one := lease.Subnet{
			Prefix: s.Network, Time: t.Time.D(), Min: t.Min.D(), Max: t.Max.D(), Hold: c.Limits.Hold.D(), Decline: c.Limits.Declined.D(),
			Limits: lease.Limits{Offers: c.Limits.Offers, Port: c.Limits.PerPort, OUI: c.Limits.PerOUI, Reserve: c.Limits.Reserve}, Share: lease.Share(c.Share),
		}
		if s.Router.IsValid() {
			one.Exclude = append(one.Exclude, lease.Range{First: s.Router, Last: s.Router})
		}
		for _, r := range s.Exclude {
			one.Exclude = append(one.Exclude, lease.Range(r))
		}
		one.Pools = c.pools(s)
		for _, r := range s.Reservations {
			mac, _ := octets(r.MAC) // Validate has read them
			id, _ := octets(r.ClientID)
			one.Reservations = append(one.Reservations, lease.Reservation{MAC: text16(mac), Client: string(id), Port: r.Port, Addr: r.Address, Host: r.Host})
		}
		all = append(all, one)
	}
	return all
}

// pools is those of s: what a class has for itself is cut out of what is for everybody.
func (c *Config) pools(s *Subnet) (all []lease.Pool) {
	open := make([]lease.Range, len(s.Pools))
	for i, r := range s.Pools {
		open[i] = lease.Range(r)
	}
	for i := range c.Classes {
		for _, r := range c.Classes[i].Pools {
			if own := lease.Range(r); s.Network.Contains(own.First) && s.Network.Contains(own.Last) {
				all = append(all, lease.Pool{Range: own, Classes: []string{c.Classes[i].name(i)}})
				open = without(open, own)
			}
		}
	}
	for _, r := range open {
		all = append(all, lease.Pool{Range: r})
	}
	return all
}

// without is all less cut.
func without(all []lease.Range, cut lease.Range) (left []lease.Range) {
	for _, r := range all {
		if r.Last.Less(cut.First) || cut.Last.Less(r.First) {
			left = append(left, r)
			continue
		}
		if r.First.Less(cut.First) {
			left = append(left, lease.Range{First: r.First, Last: cut.First.Prev()})
		}
		if cut.Last.Less(r.Last) {
			left = append(left, lease.Range{First: cut.Last.Next(), Last: r.Last})
		}
	}
	return left
}

// name is what leases know the i-th class by.
func (c *Class) name(i int) string { return cmp.Or(c.Name, "class "+strconv.Itoa(i+1)) }

// sets is what each class, and whoever is in none, is told where a subnet says o.
func (s *Server) sets(o *Options) (all []*set) {
	for i := range s.cfg.Classes {
		one := compile(&s.cfg.Classes[i].Options, o, &s.cfg.Options)
		all = append(all, &one)
	}
	none := compile(o, &s.cfg.Options)
	return append(all, &none)
}

// classOf is the place of the first class that the client is in, else of those in none.
func (s *Server) classOf(m *message) int {
	for i := range s.classes {
		if s.classes[i].has(m) {
			return i
		}
	}
	return len(s.classes)
}

// has says that the client is of the class: all that is given holds.
func (c *class) has(m *message) bool {
	vendor := m.get(optVendor)
	if c.vendor != "" || !c.open && c.ouis == nil {
		if len(vendor) < len(c.vendor) || !c.open && len(vendor) != len(c.vendor) || !strings.EqualFold(string(vendor[:len(c.vendor)]), c.vendor) {
			return false
		}
	}
	if c.ouis == nil {
		return true
	}
	for _, o := range c.ouis {
		if bytes.HasPrefix(m.hardware(), o) {
			return true
		}
	}
	return false
}

// link is where a client is: the subnets whose addresses work there.
type link struct {
	at   netip.Addr      // of a relay, or what it selects; zero: on the interface
	face *wire.Interface // by which the message came
}

// linkOf is where the client of m is: what the relay selects (RFC 3527), else where the relay is (RFC 2131 4.3.1), else
// the interface.
func linkOf(d *wire.Datagram, m *message) link {
	at := m.giaddr()
	if selected := m.agentAddr(subLink); at.IsValid() && selected.IsValid() {
		at = selected
	}
	return link{at, d.Interface}
}

// has says that addresses of n work there.
func (l link) has(n *network) bool {
	if l.at.IsValid() {
		return n.Network.Contains(l.at)
	}
	for _, p := range l.face.Addrs {
		if n.Network.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// subnet is where a client there gets its address: the subnet of the one that it wishes for, if that works there, else
// the first that does. It is nil where none does.
func (s *Server) subnet(l link, wish netip.Addr) (first *network) {
	for _, n := range s.nets {
		if !l.has(n) || !n.Network.Addr().Is4() {
			continue
		}
		if wish.IsValid() && n.Network.Contains(wish) {
			return n
		}
		if first == nil {
			first = n
		}
	}
	return first
}

// here is our address as clients of n, who came by d, know it: where a relay sent the message to, else that of the interface
// in the subnet, else its first.
func here(d *wire.Datagram, m *message, n *network) netip.Addr {
	if m.giaddr().IsValid() {
		for _, p := range d.Interface.Addrs {
			if p.Addr() == d.To {
				return d.To
			}
		}
	}
	for _, p := range d.Interface.Addrs {
		if n.Network.IsValid() && n.Network.Contains(p.Addr()) {
			return p.Addr()
		}
	}
	return d.Interface.First(false)
}
