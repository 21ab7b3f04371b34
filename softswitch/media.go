package softswitch

import (
	"net/netip"

	"github.com/siproam/siproam/media"
	"github.com/siproam/siproam/sip"
)

// bridge is *media.Bridge; the tests have one without sockets.
type bridge interface {
	Pass(from, to string, sdp []byte, peer, toPeer media.Peer) ([]byte, error)
	Join(leg string)
	Drop(leg string)
	State() media.State
	Close() media.State
}

// opener begins the media of a call.
type opener func(call string, silent func()) (bridge, error)

// openFrom is relay's Open; an untyped nil relay opens nothing.
func openFrom(relay *media.Relay) opener {
	return func(call string, silent func()) (bridge, error) {
		b, err := relay.Open(call, silent)
		if err != nil {
			return nil, err
		}
		return b, nil
	}
}

// peerOf is the far end of f as media wants it. A leg without a flow yet is a partner's.
func peerOf(f *sip.Flow) media.Peer {
	if f == nil {
		return media.Peer{Partner: true}
	}
	p := media.Peer{Signal: f.Remote.Addr().Unmap(), Here: f.Local.Addr().Unmap(), Partner: f.Partner != ""}
	if !p.Here.IsValid() || p.Here.IsUnspecified() {
		p.Here = netip.Addr{}
		if a, err := netip.ParseAddrPort(f.Here); err == nil {
			p.Here = a.Addr().Unmap()
		}
	}
	return p
}

// pass hands an SDP body from one leg to another through the relay.
func (c *Call) pass(from, to *Leg, sdp []byte) ([]byte, error) {
	return c.bridge.Pass(from.name, to.name, sdp, from.peer, to.peer)
}

// silent is media's word that nobody is heard any more; it comes on a goroutine of media's.
func (s *Switch) silent(id string) func() {
	return func() {
		s.loop.Deliver(func() {
			if c := s.calls[id]; c != nil {
				c.stop(ending{status: 480, cause: 41, by: "network", why: "media timeout"})
			}
		})
	}
}
