package dhcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/siproam/siproam/dhcp/lease"
	"github.com/siproam/siproam/dhcp/wire"
)

// question is one message of a client with what is known of it. It is read into the server's only one, so it lasts a turn.
type question struct {
	d     *wire.Datagram
	m     message
	link  link
	net   *network   // where the client gets its address; nil: no subnet works there
	here  netip.Addr // where it reaches us
	id    netip.Addr // what it knows us by: here, or what its relay wants (RFC 5107)
	set   *set       // what is told
	class int        // where in Config.Classes; one more: of none
	ask   lease.Ask
}

// result is what became of a message, for metrics.
type result string

const (
	done        result = "ok"
	refused     result = "nak"
	malformed   result = "malformed"
	badAgent    result = "option82"     // option 82 not by way of a relay, or of one that is not believed
	tooOften    result = "rate"         // more than limits.per_second of one client
	noSubnet    result = "no_subnet"    // where it came from is none of ours
	notOurs     result = "other_server" // for another server
	unknown     result = "unknown"      // of an address that is not the client's, and we are not to say so
	noAddress   result = "no_address"   // the pool is full, or a limit reached
	underWay    result = "under_way"    // what it asks for is being found out
	notServed   result = "not_served"   // proxy: another server gives addresses
	overload    result = "overload"     // too much is waiting to be stored
	spoofed     result = "spoofed"      // a RELEASE or DECLINE that is not the client's
	unwritable  result = "not_stored"   // the office's file refused it
	unknownKind result = "unknown_kind" //
	ofServer    result = "of_a_server"  // an answer of another server
)

// serve4 answers one datagram.
func (s *Server) serve4(d *wire.Datagram) {
	q := &s.q
	var r result
	if err := q.m.parse(d.B); err != nil {
		q.m.kind, r = 0, malformed
		if errors.Is(err, errForeign) {
			r = unknownKind
		}
	} else if r = s.understand(d, q); r == "" {
		r = s.answer(q)
	}
	s.count(q.m.kind, r)
	s.traced(q, d, r)
}

// understand fills in q. A result says why the message goes no further.
func (s *Server) understand(d *wire.Datagram, q *question) result {
	m := &q.m
	switch {
	case m.raw[0] != 1:
		return ofServer
	case m.kind < discover || m.kind > inform:
		return unknownKind
	case !sender(m):
		return malformed
	case !s.believed(d, m):
		return badAgent
	case !s.often.admit(s.loop.Now(), m.hardware()):
		return tooOften
	}
	q.d, q.link = d, linkOf(d, m)
	wish := m.addr(optAddress)
	if ci := m.ciaddr(); ci.IsValid() {
		wish = ci
	}
	q.net = s.subnet(q.link, wish)
	if !m.giaddr().IsValid() && m.ciaddr().IsValid() && !d.To.IsMulticast() && d.To.IsValid() && d.To != wire.Broadcast.Addr() {
		q.net = s.holding(m.ciaddr()) // straight to us, perhaps through a router (RFC 2131 4.3.2, RENEWING)
	}
	net := q.net
	if net == nil {
		net = s.elsewhere
	}
	q.here = here(d, m, net)
	q.id = q.here
	if over := m.agentAddr(subOverride); over.IsValid() && m.giaddr().IsValid() {
		q.id = over
	}
	if !q.here.IsValid() {
		return noSubnet // the interface has no address of IPv4
	}
	q.class = s.classOf(m)
	q.set = net.sets[q.class]
	q.ask = s.askOf(q)
	return ""
}

// sender says that the message names a client: a hardware address of one, or an identifier.
func sender(m *message) bool {
	hw := m.hardware()
	if len(hw) == 0 {
		return len(m.get(optClient)) > 0
	}
	return m.hardwareType() != 1 || len(hw) == 6 && hw[0]&1 == 0 && !bytes.Equal(hw, make([]byte, 6))
}

// believed says that option 82 comes from who may add it: a relay that we know, or with snooping a switch. A client cannot
// choose its port by saying one (RFC 3046 2.1).
func (s *Server) believed(d *wire.Datagram, m *message) bool {
	relay := m.giaddr()
	switch {
	case !relay.IsValid():
		return m.get(optAgent) == nil || s.cfg.Snooping
	case len(m.get(optAgent)) > 255 || m.raw[3] > 16: // it must come back whole; hops (RFC 1542 4.1.1)
		return false
	case len(s.cfg.Relays) == 0: // an answer goes to no address that anybody may write there
		return s.near(d, relay)
	}
	for _, p := range s.cfg.Relays {
		if p.Contains(relay) && p.Contains(d.From.Addr()) {
			return true
		}
	}
	return false
}

// near says that ip is in a subnet of ours, or on the interface: we answer nobody else, as who writes another's address as
// his own would have us write to that one.
func (s *Server) near(d *wire.Datagram, ip netip.Addr) bool {
	return s.holding(ip) != nil || d.Interface.Holds(ip).IsValid()
}

// holding is the subnet with ip, nil where there is none.
func (s *Server) holding(ip netip.Addr) *network {
	for _, n := range s.nets {
		if n.Network.Contains(ip) {
			return n
		}
	}
	return nil
}

// answer is RFC 2131 4.3.
func (s *Server) answer(q *question) result {
	if q.m.kind == inform {
		return s.inform(q)
	}
	if s.cfg.Mode == "proxy" {
		return s.beside(q)
	}
	if q.net == nil && q.m.kind != request { // which may be told that it is wrong
		return noSubnet
	}
	switch q.m.kind {
	case discover:
		return s.discover(q, 0)
	case request:
		return s.request(q)
	case release:
		return s.release(q)
	case decline:
		return s.decline(q)
	}
	return unknownKind
}

// begin is an answer to q with what each has: the server and the client's own identifier (RFC 6842).
func (q *question) begin(k kind) *answer {
	a := q.m.begin(k)
	a.addr(optServer, q.id)
	if id := q.m.get(optClient); len(id) > 0 {
		a.put(optClient, id...)
	}
	return a
}

// lease puts what belongs to l.
func (s *Server) lease(a *answer, q *question, l *lease.Lease) {
	left := uint32(l.Time / time.Second)
	a.yiaddr(l.Addr)
	a.number(optTime, left)
	a.put(optMask, q.net.mask[:]...)
	if list := q.m.get(optList); list != nil && bytes.IndexByte(list, optRenewal) >= 0 {
		a.number(optRenewal, left/2)
		a.number(optRebinding, left/8*7)
	}
}

// settings puts what phones read, as far as the client asks for it (RFC 2132 9.8), the weightiest first.
func (s *Server) settings(a *answer, q *question, host string) {
	m := &q.m
	if q.net != nil && q.net.Router.IsValid() && m.asks(optRouter) {
		a.addr(optRouter, q.net.Router)
	}
	for i := range q.set.options {
		o := &q.set.options[i]
		if !m.asks(o.code) {
			continue
		}
		value := o.value
		switch {
		case o.code == optSIP && value == nil:
			value = sipServers(s.servers(), q.here)
		case o.code == optOffset && q.set.zone != nil:
			_, east := s.loop.Now().In(q.set.zone).Zone()
			value = binary.BigEndian.AppendUint32(nil, uint32(int32(east)))
		case o.fill:
			value = fill(value, m.hardware(), q.here, s.secret)
		}
		if len(value) > 0 {
			a.put(o.code, value...)
		}
	}
	if host != "" && m.asks(optHost) {
		a.put(optHost, []byte(host)...)
	}
	if q.net != nil && m.asks(optBroadcast) && m.get(optList) != nil {
		a.addr(optBroadcast, q.net.last)
	}
	if a.dropped > 0 {
		s.short.Add(uint64(a.dropped))
	}
}

// reply is where an answer goes (RFC 2131 4.1).
func (q *question) reply(a *answer, k kind) wire.Reply {
	m := &q.m
	r := wire.Reply{Interface: q.d.Interface.Index, Source: q.here}
	yi := field(a.raw[16:20])
	switch relay, ci := m.giaddr(), m.ciaddr(); {
	case relay.IsValid():
		if k == nak {
			a.setBroadcast()
		}
		r.To = netip.AddrPortFrom(relay, wire.ServerPort4)
		if m.agent(subSourcePort) != nil { // RFC 8357
			r.To = netip.AddrPortFrom(relay, q.d.From.Port())
		}
	case k == nak:
		r.To = wire.Broadcast
	case ci.IsValid() && m.kind != discover: // of a DISCOVER it means nothing
		r.To = netip.AddrPortFrom(ci, wire.ClientPort4)
	case m.broadcast() || m.hardwareType() != 1 || len(m.hardware()) != 6 || !yi.IsValid():
		r.To = wire.Broadcast
	default:
		r.To, r.MAC = netip.AddrPortFrom(yi, wire.ClientPort4), wire.MAC(m.hardware())
	}
	r.B = a.seal()
	return r
}
