package dhcp

import (
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/siproam/siproam/dhcp/lease"
	"github.com/siproam/siproam/dhcp/wire"
)

// DHCPv6 (RFC 8415): addresses (IA_NA), what phones read (RFC 3319, 3646, 4075) with them or alone, and relays. Leaves out prefixes
// (IA_PD), temporary addresses (IA_TA), Reconfigure, and authentication. What is offered anew is not probed: clients do that
// themselves before they use it (RFC 8415 18.2.10.1), and decline.

// mostIAs is how many addresses one message asks for; more are not read.
const mostIAs = 4

// question6 is one message of a client.
type question6 struct {
	d    *wire.Datagram
	whom dhcpv6.DHCPv6   // as it came, perhaps of a relay
	m    *dhcpv6.Message // of the client
	net  *network        // nil: no subnet of ours works there
	ask  lease.Ask       // but for the IAID
	kept []lease.Lease   // to be stored before the answer
	a    *dhcpv6.Message // the answer
}

// Six says that some subnet is of IPv6.
func (c *Config) Six() bool {
	for i := range c.Subnets {
		if c.Subnets[i].Network.Addr().Is6() {
			return true
		}
	}
	return false
}

// serve6 answers one datagram.
func (s *Server) serve6(d *wire.Datagram) {
	q := question6{d: d}
	kind, r := "other", malformed
	if s.read6(&q) {
		kind = strings.ToLower(q.m.MessageType.String())
		r = s.answer6(&q)
	}
	s.messages.With(kind, string(r)).Add(1)
}

// read6 fills in q; false says that it is no message of a client that names itself.
func (s *Server) read6(q *question6) bool {
	var err error
	if q.whom, err = dhcpv6.FromBytes(q.d.B); err != nil {
		return false
	}
	link, peer, port := netip.Addr{}, q.d.From.Addr().WithZone(""), ""
	for at, hops := q.whom, 0; at.IsRelay(); hops++ {
		relay, ok := at.(*dhcpv6.RelayMessage)
		if !ok || relay.MessageType != dhcpv6.MessageTypeRelayForward || hops > 8 {
			return false
		}
		if ip, _ := netip.AddrFromSlice(relay.LinkAddr); !ip.IsUnspecified() {
			link = ip // of the one next to the client, if it says any
		}
		peer, _ = netip.AddrFromSlice(relay.PeerAddr)
		port = word(relay.Options.InterfaceID())
		if at, err = dhcpv6.DecapsulateRelay(relay); err != nil {
			return false
		}
	}
	if q.m, err = q.whom.GetInnerMessage(); err != nil || q.whom.IsRelay() && !link.IsValid() {
		return false
	}
	for _, n := range s.nets {
		if n.Network.Addr().Is6() && q.net == nil && (link.IsValid() && n.Network.Contains(link) || !link.IsValid() && onLink(q.d.Interface, n)) {
			q.net = n
		}
	}
	q.ask = lease.Ask{Port: port, MAC: mac6(q.m.Options.ClientID(), peer)}
	if id := q.m.Options.ClientID(); id != nil {
		q.ask.Client = string(id.ToBytes())
	}
	if q.net != nil {
		q.ask.Link = q.net.Network.Addr()
	}
	if s.known != nil {
		q.ask.Known = s.known(q.ask.MAC)
	}
	return q.ask.Client != "" || q.m.MessageType == dhcpv6.MessageTypeInformationRequest
}

func onLink(i *wire.Interface, n *network) bool {
	for _, p := range i.Addrs {
		if n.Network.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// mac6 is the hardware address in a client's identifier, else in its own address (RFC 4291 A); "": neither has one.
func mac6(id dhcpv6.DUID, peer netip.Addr) string {
	switch d := id.(type) {
	case *dhcpv6.DUIDLL:
		return text16(d.LinkLayerAddr)
	case *dhcpv6.DUIDLLT:
		return text16(d.LinkLayerAddr)
	}
	if b := peer.As16(); b[11] == 0xff && b[12] == 0xfe {
		return text16([]byte{b[8] ^ 2, b[9], b[10], b[13], b[14], b[15]})
	}
	return ""
}

// duid is who we are: the office's file, which stays when a network card goes.
func (s *Server) duid() dhcpv6.DUID {
	d := &dhcpv6.DUIDUUID{}
	copy(d.UUID[:], s.book.file.Node())
	return d
}

// answer6 is RFC 8415 18.3.
func (s *Server) answer6(q *question6) result {
	m, us := q.m, s.duid()
	server := m.Options.ServerID()
	mine := server != nil && server.Equal(us)
	key := []byte(q.ask.Client)
	if len(key) == 0 {
		key = q.d.From.Addr().AsSlice()
	}
	switch {
	case q.net == nil:
		return noSubnet
	case !s.often.admit(s.loop.Now(), key):
		return tooOften
	case server != nil && !mine:
		return notOurs
	case s.book.full():
		return overload
	}
	q.a = &dhcpv6.Message{MessageType: dhcpv6.MessageTypeReply, TransactionID: m.TransactionID}
	q.a.AddOption(dhcpv6.OptServerID(us))
	if id := m.Options.ClientID(); id != nil {
		q.a.AddOption(dhcpv6.OptClientID(id))
	}
	ias := m.Options.IANA()
	ias = ias[:min(len(ias), mostIAs)]
	addresses := s.cfg.Mode == "server"
	switch kind := m.MessageType; {
	case kind == dhcpv6.MessageTypeInformationRequest:
	case !addresses:
		return notServed
	case kind == dhcpv6.MessageTypeSolicit && server == nil:
		rapid := s.cfg.RapidCommit && m.GetOneOption(dhcpv6.OptionRapidCommit) != nil
		if rapid {
			q.a.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit})
		} else {
			q.a.MessageType = dhcpv6.MessageTypeAdvertise
		}
		for _, ia := range ias {
			s.solicited(q, ia, rapid)
		}
	case kind == dhcpv6.MessageTypeRequest && mine, kind == dhcpv6.MessageTypeRenew && mine, kind == dhcpv6.MessageTypeRebind && server == nil:
		for _, ia := range ias {
			s.requested(q, ia)
		}
	case kind == dhcpv6.MessageTypeConfirm && server == nil:
		if !s.confirm(q, ias) {
			return malformed
		}
	case (kind == dhcpv6.MessageTypeRelease || kind == dhcpv6.MessageTypeDecline) && mine:
		for _, ia := range ias {
			s.givenUp(q, ia)
		}
		q.a.AddOption(status(iana.StatusSuccess))
	default:
		return malformed
	}
	s.settings6(q)
	s.reply6(q)
	return done
}

func status(code iana.StatusCode) dhcpv6.Option { return &dhcpv6.OptStatusCode{StatusCode: code} }

// of is who asks for ia.
func (q *question6) of(ia *dhcpv6.OptIANA) lease.Ask {
	ask := q.ask
	ask.Client += string(ia.IaId[:])
	for _, a := range ia.Options.Addresses() {
		ask.Addr, _ = netip.AddrFromSlice(a.IPv6Addr)
		ask.Time = a.ValidLifetime
	}
	return ask
}

// put tells of ia the lease, or why there is none.
func (q *question6) put(ia *dhcpv6.OptIANA, l *lease.Lease, code iana.StatusCode) {
	one := &dhcpv6.OptIANA{IaId: ia.IaId}
	if l != nil {
		preferred := (l.Time * 5 / 8).Truncate(time.Second)
		one.T1, one.T2 = (preferred / 2).Truncate(time.Second), (preferred * 4 / 5).Truncate(time.Second)
		one.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: net.IP(l.Addr.AsSlice()), PreferredLifetime: preferred, ValidLifetime: l.Time})
	} else {
		one.Options.Add(status(code))
	}
	q.a.AddOption(one)
}

// solicited offers an address for ia, or gives it at once (18.3.1, 18.3.9).
func (s *Server) solicited(q *question6, ia *dhcpv6.OptIANA, rapid bool) {
	ask := q.of(ia)
	l, err := s.table.Offer(s.loop.Now(), ask)
	if err != nil {
		q.put(ia, nil, iana.StatusNoAddrsAvail)
		return
	}
	if rapid {
		ask.Addr = l.Addr
		var verdict lease.Verdict
		if l, verdict = s.table.Bind(s.loop.Now(), ask, l.Addr); verdict != lease.Granted {
			q.put(ia, nil, iana.StatusNoAddrsAvail)
			return
		}
		q.kept = append(q.kept, l)
	}
	q.put(ia, &l, 0)
}

// requested gives or renews the address of ia (18.3.2, 18.3.4, 18.3.5).
func (s *Server) requested(q *question6, ia *dhcpv6.OptIANA) {
	ask := q.of(ia)
	if !ask.Addr.IsValid() { // it wishes for none: any
		s.solicited(q, ia, true)
		return
	}
	l, verdict := s.table.Bind(s.loop.Now(), ask, ask.Addr)
	switch verdict {
	case lease.Granted:
		q.kept = append(q.kept, l)
		q.put(ia, &l, 0)
	case lease.WrongNet:
		if q.m.MessageType == dhcpv6.MessageTypeRequest {
			q.put(ia, nil, iana.StatusNotOnLink)
		} else {
			q.put(ia, &lease.Lease{Addr: ask.Addr}, 0) // for no time: it is to be dropped
		}
	default:
		q.put(ia, nil, iana.StatusNoBinding)
	}
}

// confirm says whether the addresses of ias work where the client is (18.3.3); false: there is none.
func (s *Server) confirm(q *question6, ias []*dhcpv6.OptIANA) bool {
	code, any := iana.StatusSuccess, false
	for _, ia := range ias {
		for _, a := range ia.Options.Addresses() {
			any = true
			if ip, _ := netip.AddrFromSlice(a.IPv6Addr); !q.net.Network.Contains(ip) {
				code = iana.StatusNotOnLink
			}
		}
	}
	q.a.AddOption(status(code))
	return any
}

// givenUp takes an address back, or out of use (18.3.7, 18.3.8), when nobody answers there, or somebody does.
func (s *Server) givenUp(q *question6, ia *dhcpv6.OptIANA) {
	ask := q.of(ia)
	l, found := s.table.At(ask.Addr)
	if !found || l.State != lease.Bound || l.Client != ask.Client {
		q.put(ia, nil, iana.StatusNoBinding)
		return
	}
	declined := q.m.MessageType == dhcpv6.MessageTypeDecline
	s.used(q.d, l, goodbye, wire.MAC{}, func(busy bool) {
		switch {
		case declined:
			s.log.Warn().Str("event", "dhcp.decline").Str("mac", l.MAC).Stringer("ip", l.Addr).Msg("somebody else has the address")
			s.change(s.table.Decline(s.loop.Now(), whose(&l), l.Addr))
		case busy:
			s.suspicious(&l, "address given back, but in use")
		default:
			s.log.Info().Str("event", "dhcp.release").Str("mac", l.MAC).Stringer("ip", l.Addr).Msg("address given back")
			s.change(s.table.Release(s.loop.Now(), whose(&l), l.Addr))
		}
	})
}

// settings6 puts what phones read, as far as they ask for it: 21 or 22, never both (RFC 3319), 23, 24 (RFC 3646), 31 (RFC 4075).
func (s *Server) settings6(q *question6) {
	all := []*Options{&q.net.Subnet.Options, &s.cfg.Options}
	put := func(code dhcpv6.OptionCode, value []byte) {
		if len(value) > 0 && q.m.IsOptionRequested(code) && q.a.GetOneOption(code) == nil {
			q.a.AddOption(&dhcpv6.OptionGeneric{OptionCode: code, OptionData: value})
		}
	}
	servers := s.servers()
	if len(servers.Names) > 0 {
		put(dhcpv6.OptionSIPServersDomainNameList, names(servers.Names))
	} else {
		put(dhcpv6.OptionSIPServersIPv6AddressList, addresses6(servers.Addrs, q.d.Interface.First(true)))
	}
	for _, o := range all {
		put(dhcpv6.OptionDNSRecursiveNameServer, addresses6(o.DNS, netip.Addr{}))
		put(dhcpv6.OptionDomainSearchList, names(o.Search))
		put(dhcpv6.OptionSNTPServerList, addresses6(o.NTP, netip.Addr{}))
	}
}

// addresses6 is the IPv6 ones of all; an unspecified one is here.
func addresses6(all []netip.Addr, here netip.Addr) (b []byte) {
	for _, ip := range all {
		if ip.IsUnspecified() {
			ip = here
		}
		if ip.Is6() && !ip.Is4In6() {
			b = append(b, ip.AsSlice()...)
		}
	}
	return b
}

// reply6 sends the answer back by the way that the question came, when its leases are stored.
func (s *Server) reply6(q *question6) {
	var out dhcpv6.DHCPv6 = q.a
	if relay, ok := q.whom.(*dhcpv6.RelayMessage); ok {
		wrapped, err := dhcpv6.NewRelayReplFromRelayForw(relay, q.a)
		if err != nil {
			return // it has been read as one
		}
		out = wrapped
	}
	r := wire.Reply{B: out.ToBytes(), Interface: q.d.Interface.Index, To: q.d.From}
	left, failed := len(q.kept), false
	if left == 0 {
		s.send(r)
	}
	for _, l := range q.kept {
		s.book.keep(l, func(err error) {
			if left--; err != nil {
				failed = true
				s.log.Error().Str("event", "dhcp.store").Stringer("ip", l.Addr).Err(err).Msg("lease not stored")
			}
			if left == 0 && !failed {
				s.send(r)
				s.log.Info().Str("event", "dhcp.ack").Str("mac", l.MAC).Stringer("ip", l.Addr).Dur("lease_ms", l.Time).Msg("address given")
			}
		})
	}
}
