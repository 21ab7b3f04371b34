package media

import (
	"net/netip"
	"time"
)

// relatchAfter is the silence after which another port of the same phone may take a path over.
const relatchAfter = time.Second

// path is where the far end of one socket is (RFC 4961): as its SDP says until it was heard, and
// then where it was heard.
type path struct {
	signalled netip.AddrPort
	latched   netip.AddrPort
	heard     time.Time
}

// signal takes what a new SDP says. The same again, as in a refresh, keeps what was latched, so
// that a phone behind NAT does not fall silent on hold.
func (p *path) signal(to netip.AddrPort) {
	if to != p.signalled {
		p.signalled, p.latched = to, netip.AddrPort{}
	}
}

// dest is where to send; ok is false while that is not known.
func (p *path) dest() (to netip.AddrPort, ok bool) {
	if p.latched.IsValid() {
		return p.latched, true
	}
	return p.signalled, p.signalled.IsValid() && p.signalled.Port() != 0
}

// latch takes src, an acceptable address, as the far end. A port that is not the one latched must be the one
// signalled, or wait until the old one is silent: else whoever shares a NAT with the phone
// could take its sound away (RTP bleed).
func (p *path) latch(src netip.AddrPort, now time.Time) bool {
	if p.latched.IsValid() && src != p.signalled && now.Sub(p.heard) < relatchAfter {
		return false
	}
	p.latched = src
	return true
}

// origins is the addresses that a leg's packets may come from.
type origins struct {
	addrs   [3]netip.Addr // of its SDP and its signalling; n of them
	n       int
	machine bool // one of them is this machine's, so all of its are meant
}

// set takes the addresses anew, three at most; invalid ones are left out.
func (o *origins) set(m *machine, addrs ...netip.Addr) {
	*o = origins{}
	for _, a := range addrs {
		if a.IsValid() && !a.IsUnspecified() {
			o.addrs[o.n] = a
			o.n++
			o.machine = o.machine || m.has(a)
		}
	}
}

// allow says that a packet may come from a.
func (o *origins) allow(m *machine, a netip.Addr) bool {
	a = a.WithZone("")
	for _, b := range o.addrs[:o.n] {
		if a == b {
			return true
		}
	}
	return o.machine && m.has(a)
}
