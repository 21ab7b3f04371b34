package dhcp

import (
	"net/netip"

	"github.com/siproam/siproam/dhcp/wire"
)

// inform is RFC 2131 4.3.5: options for a client that has its address already, and no lease.
func (s *Server) inform(q *question) result {
	ip := q.m.ciaddr()
	if !ip.IsValid() { // some leave it out
		ip = q.d.From.Addr()
	}
	if !ip.Is4() || ip.IsUnspecified() {
		return malformed
	}
	if !s.near(q.d, ip) {
		return noSubnet
	}
	if q.net == nil && s.cfg.Mode == "server" {
		return noSubnet
	}
	a := q.begin(ack)
	a.ciaddr(ip)
	s.settings(a, q, "")
	r := q.reply(a, ack)
	if !q.m.giaddr().IsValid() {
		r.To, r.MAC = netip.AddrPortFrom(ip, wire.ClientPort4), wire.MAC{}
	}
	s.send(r)
	return done
}

// beside is what mode proxy does with what is no INFORM. Another server gives the addresses, so nothing is said of any: a DISCOVER
// of a client in a class with `proxy: true` gets an OFFER without an address that holds the options, as PXE has it
// (PXE 2.1, 2.2.3: such clients take the address from one server and the rest from the other), and its REQUEST to us an ACK of
// the same kind. Everybody else would take that for an offer of nothing, so nobody else is answered.
func (s *Server) beside(q *question) result {
	i := s.classOf(&q.m)
	if i == len(s.classes) || !s.cfg.Classes[i].Proxy {
		return notServed
	}
	k := offer
	if q.m.kind == request {
		if !s.isUs(q, q.m.addr(optServer)) {
			return notServed
		}
		k = ack
	} else if q.m.kind != discover {
		return notServed
	}
	a := q.begin(k)
	s.settings(a, q, "")
	s.send(q.reply(a, k))
	return done
}
