package dhcp

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/siproam/siproam/dhcp/lease"
	"github.com/siproam/siproam/dhcp/wire"
	"github.com/siproam/siproam/loop"
)

const (
	maxProbes = 64                     // under way; more are offered without one: clients look, too (RFC 2131 2.2)
	maxTries  = 4                      // addresses that are found in use for one DISCOVER
	goodbye   = 500 * time.Millisecond // a phone that gives its address back has this long to drop it
)

// discover is RFC 2131 4.3.1. tries is how many addresses were found in use.
func (s *Server) discover(q *question, tries int) result {
	l, err := s.table.Offer(s.loop.Now(), q.ask)
	if err != nil {
		return s.without(q, err)
	}
	if _, asking := s.probing[l.Addr]; asking {
		return underWay
	}
	if !l.Anew && !l.Doubt || s.cfg.Probe == 0 || len(s.probing) >= maxProbes {
		return s.offer(q, &l)
	}
	d := *q.d // ours to keep: its octets are not read into again
	s.probe(d.Interface.Index, l.Addr, macOf(q.m.hardware()), func(busy bool) {
		if busy {
			s.log.Warn().Str("event", "dhcp.conflict").Stringer("ip", l.Addr).Msg("somebody has an address that we have not given")
			s.change(s.table.Busy(s.loop.Now(), l.Addr))
		}
		q := &s.q
		if q.m.parse(d.B) != nil || s.understand(&d, q) != "" {
			return // the configuration has changed meanwhile
		}
		r := noAddress
		if !busy {
			r = s.offer(q, &l)
		} else if tries < maxTries {
			r = s.discover(q, tries+1)
		}
		s.count(discover, r)
		s.traced(q, &d, r)
	})
	return underWay
}

// without says why a client gets no address: once a minute for each reason, as it may be a flood.
func (s *Server) without(q *question, err error) result {
	if since, worth := s.seldom.Worth(s.loop.Now(), err.Error()); worth {
		s.log.Warn().Str("event", "dhcp.none").Str("mac", q.ask.MAC).Stringer("link", q.ask.Link).Err(err).Uint64("since", since).Msg("no address for a client")
	}
	return noAddress
}

// probe asks whether somebody has ip, but for the owner of not, and then done, with false where it cannot be known.
func (s *Server) probe(index int, ip netip.Addr, not wire.MAC, done func(busy bool)) {
	s.probing[ip] = struct{}{}
	loop.Ask(s.loop, s.cfg.Probe.D(), func(ctx context.Context) (bool, error) {
		return s.wire.Probe(ctx, index, ip, not)
	}, func(busy bool, err error) {
		delete(s.probing, ip)
		if !busy && err == nil && not == (wire.MAC{}) { // else the one who was left out may be there
			s.table.Clear(ip)
		}
		if err != nil && !errors.Is(err, loop.ErrFull) {
			s.log.Debug().Str("event", "dhcp.probe").Stringer("ip", ip).Err(err).Msg("address not probed")
		}
		s.probes.Add(1, probed(busy, err))
		done(busy)
	})
}

func probed(busy bool, err error) string {
	switch {
	case err != nil:
		return "error"
	case busy:
		return "busy"
	}
	return "free"
}

// offer answers a DISCOVER, with an ACK where the client wants it at once (RFC 4039).
func (s *Server) offer(q *question, l *lease.Lease) result {
	if s.cfg.RapidCommit && q.m.get(optRapid) != nil {
		return s.bind(q, l.Addr, true)
	}
	a := q.begin(offer)
	s.lease(a, q, l)
	s.settings(a, q, l.Host)
	s.send(q.reply(a, offer))
	return done
}

// request is RFC 2131 4.3.2: which address the client means, and whether it may have it.
func (s *Server) request(q *question) result {
	m := &q.m
	server, wish, ci := m.addr(optServer), m.addr(optAddress), m.ciaddr()
	switch {
	case server.IsValid() && !s.isUs(q, server): // SELECTING, another one
		s.table.Withdraw(s.loop.Now(), q.ask)
		s.heard(q.d.Interface.Name, server, q.d.From.Addr())
		return notOurs
	case ci.IsValid(): // RENEWING, REBINDING
		wish = ci
	case !wish.IsValid():
		return malformed
	}
	if q.net == nil || !q.net.Network.Contains(wish) { // INIT-REBOOT or REBINDING in another office
		if !s.cfg.Authoritative || q.net == nil && !s.linked(q) {
			return unknown
		}
		return s.nak(q, wish, "wrong network")
	}
	return s.bind(q, wish, false)
}

// linked says that the subnet where the client is is one of ours, so that we know what is wrong there.
func (s *Server) linked(q *question) bool { return s.subnet(q.link, netip.Addr{}) != nil }

// isUs says that a client means us by server.
func (s *Server) isUs(q *question, server netip.Addr) bool {
	if server == q.id || server == q.here {
		return true
	}
	for _, i := range s.wire.Interfaces() {
		for _, p := range i.Addrs {
			if p.Addr() == server {
				return true
			}
		}
	}
	return false
}

// bind gives the client ip and says so when that is stored.
func (s *Server) bind(q *question, ip netip.Addr, rapid bool) result {
	if s.book.full() {
		s.overloads.Add(1, "dhcp_store")
		return overload
	}
	before, _ := s.table.At(ip)
	l, verdict := s.table.Bind(s.loop.Now(), q.ask, ip)
	if verdict != lease.Granted {
		if chosen := q.m.addr(optServer).IsValid(); verdict == lease.Unknown && !chosen && (!s.cfg.Authoritative || s.cfg.Share.Of > 1) {
			return unknown // another server may know it (RFC 2131 4.3.2)
		}
		return s.nak(q, ip, verdict.String())
	}
	a := q.begin(ack)
	if ci := q.m.ciaddr(); ci.IsValid() {
		a.ciaddr(ci)
	}
	s.lease(a, q, &l)
	if rapid {
		a.put(optRapid)
	}
	s.settings(a, q, l.Host)
	s.keep(l, before, q.reply(a, ack))
	return done
}

// nak tells a client that it may not have ip, so that it asks anew at once (RFC 2131 4.3.2).
func (s *Server) nak(q *question, ip netip.Addr, why string) result {
	a := q.begin(nak)
	a.put(optText, []byte(why)...)
	s.send(q.reply(a, nak))
	s.log.Info().Str("event", "dhcp.nak").Str("mac", q.ask.MAC).Stringer("ip", ip).Str("reason", why).Msg("address refused")
	return refused
}

// release is RFC 2131 4.3.4. It counts from the client and its address alone, and when nobody answers at the address any
// more: who has seen a phone's messages could send one in its name.
func (s *Server) release(q *question) result {
	ip, from := q.m.ciaddr(), q.d.From.Addr()
	l, found := s.table.At(ip)
	switch {
	case !found || l.State != lease.Bound || l.Client != q.ask.Client || l.MAC != q.ask.MAC:
		return spoofed
	case from != ip && (!q.m.giaddr().IsValid() || from != q.m.giaddr()):
		return spoofed
	case q.m.addr(optServer).IsValid() && !s.isUs(q, q.m.addr(optServer)):
		return notOurs
	}
	s.used(q.d, l, goodbye, wire.MAC{}, func(busy bool) {
		if busy {
			s.suspicious(&l, "address given back, but in use")
			return
		}
		s.log.Info().Str("event", "dhcp.release").Str("mac", l.MAC).Stringer("ip", ip).Msg("address given back")
		s.change(s.table.Release(s.loop.Now(), whose(&l), ip))
	})
	return done
}

// decline is RFC 2131 4.3.3: the client has found somebody else at its address. It is believed unless the client itself, and
// nobody else, is there.
func (s *Server) decline(q *question) result {
	ip := q.m.addr(optAddress)
	l, found := s.table.At(ip)
	switch {
	case !found || l.State != lease.Bound && l.State != lease.Offered || l.Client != q.ask.Client || l.MAC != q.ask.MAC:
		return spoofed
	case !s.isUs(q, q.m.addr(optServer)):
		return notOurs
	}
	leave := func() {
		s.log.Warn().Str("event", "dhcp.decline").Str("mac", l.MAC).Stringer("ip", ip).Msg("somebody else has the address")
		s.change(s.table.Decline(s.loop.Now(), whose(&l), ip))
	}
	d := *q.d
	s.used(&d, l, 0, macOf(q.m.hardware()), func(others bool) {
		if others {
			leave()
			return
		}
		s.used(&d, l, 0, wire.MAC{}, func(itself bool) {
			if itself {
				s.suspicious(&l, "address declined by its user, who has it")
				return
			}
			leave()
		})
	})
	return done
}

func (s *Server) suspicious(l *lease.Lease, what string) {
	s.spoofs.Add(1)
	if since, worth := s.seldom.Worth(s.loop.Now(), "spoofed"); worth {
		s.log.Warn().Str("event", "dhcp.spoofed").Str("mac", l.MAC).Stringer("ip", l.Addr).Uint64("since", since).Msg(what)
	}
}

// used asks after wait whether somebody but the owner of not has the address of l, and tells done if its lease is still the
// same. Where addresses are not probed, nobody has it.
func (s *Server) used(d *wire.Datagram, l lease.Lease, wait time.Duration, not wire.MAC, done func(busy bool)) {
	if _, asking := s.probing[l.Addr]; asking {
		return
	}
	if s.cfg.Probe == 0 || len(s.probing) >= maxProbes {
		done(false)
		return
	}
	s.probing[l.Addr] = struct{}{}
	index := d.Interface.Index
	s.loop.After(wait, func() {
		s.probe(index, l.Addr, not, func(busy bool) {
			if now, found := s.table.At(l.Addr); found && now.Client == l.Client && now.State == l.State && now.Until.Equal(l.Until) {
				done(busy)
			}
		})
	})
}

// whose is the client of l; where its message came from has been looked at.
func whose(l *lease.Lease) lease.Ask { return lease.Ask{Client: l.Client, MAC: l.MAC} }

// macOf is an Ethernet address as wire has it; zero for any other.
func macOf(hardware []byte) (m wire.MAC) {
	if len(hardware) == len(m) {
		copy(m[:], hardware)
	}
	return m
}
