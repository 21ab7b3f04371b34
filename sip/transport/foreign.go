package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Foreign is a partner that is no siproam (DESIGN 5): it shows no certificate, so it has a listener of ours for
// itself, UDP and TCP on one port, where only its own addresses are heard. Whatever goes to one of these, and is not
// TLS, leaves from there: answers, and the requests they lead to, come back to where it is known.
type Foreign struct {
	Office  roam.OfficeID
	Listen  netip.AddrPort
	Sources []netip.Prefix
}

// has says that a is one of its addresses.
func (f *Foreign) has(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(f.Sources, func(p netip.Prefix) bool { return p.Contains(a) })
}

// knows says that a is to be heard here: anybody where f is nil, a phone listener.
func (f *Foreign) knows(a netip.Addr) bool { return f == nil || f.has(a) }

// name is flow, of the listener of f.
func (f *Foreign) name(flow *sip.Flow) *sip.Flow {
	if f != nil {
		flow.Foreign = f.Office
	}
	return flow
}

// foreignAt is the partner that has the address a, nil for none.
func (t *Transport) foreignAt(a netip.Addr) *Foreign {
	for i := range t.cfg.Foreign {
		if f := &t.cfg.Foreign[i]; f.has(a) {
			return f
		}
	}
	return nil
}

// samePort is how often another port 0 is tried whose TCP port is free, too.
const samePort = 10

// listenForeign binds both of each.
func (t *Transport) listenForeign() error {
	for i := range t.cfg.Foreign {
		f := &t.cfg.Foreign[i]
		err := error(nil)
		for range samePort {
			if err = t.bindForeign(f); !errors.Is(err, syscall.EADDRINUSE) || f.Listen.Port() != 0 {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("partner %s: %w", f.Office, err)
		}
	}
	return nil
}

func (t *Transport) bindForeign(f *Foreign) error {
	p := place{roam.UDP, f.Listen}
	s, err := t.bindUDP(p, network(p, []place{p}))
	if err != nil {
		return err
	}
	s.foreign = f
	p = place{roam.TCP, netip.AddrPortFrom(f.Listen.Addr(), s.local.Port())}
	if err := t.bindStream(p, network(p, []place{p}), foreignConn, nil); err != nil {
		s.c.Close()
		return err
	}
	t.doors[len(t.doors)-1].foreign = f
	last := len(t.places) - 1
	t.sockets, t.places = append(t.sockets, s), append(t.places[:last], place{roam.UDP, s.local}, t.places[last])
	return nil
}

// OfForeign says that f is a flow of a foreign partner.
func (t *Transport) OfForeign(f roam.Flow) bool {
	p := t.foreignAt(f.Remote.Addr())
	if p == nil {
		return false
	}
	return slices.ContainsFunc(t.doors, func(d *door) bool { return d.foreign == p && d.place.at.Port() == f.Local.Port() })
}

// dialledForeign makes flow, a connection of ours without TLS, one with the partner that has its other end, which
// reaches us by its own listener.
func (t *Transport) dialledForeign(flow *sip.Flow) {
	f := t.foreignAt(flow.Remote.Addr())
	if f == nil || flow.Transport != roam.TCP {
		return
	}
	flow.Foreign = f.Office
	for _, d := range t.doors {
		if d.foreign == f {
			flow.Here = t.here(flow.Remote.Addr(), netip.AddrPortFrom(flow.Local.Addr(), d.place.at.Port()))
		}
	}
}

// notFrom counts what came to the listener of f from somewhere else.
func (t *Transport) notFrom(f *Foreign, from netip.Addr) {
	t.count.refused("source")
	t.noisy.Warn().Str("event", "foreign.refused").Str("partner", string(f.Office)).Stringer("remote_ip", from).Msg("not an address of this partner")
}
