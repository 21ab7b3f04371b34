package registrar

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Leases is DHCP, asked when it matters: which phone is at ip, when was it plugged in, and where.
type Leases interface {
	At(ip netip.Addr) (roam.Lease, bool)
}

// justPlugged is how long after its DISCOVER a phone's REGISTER may be the sign of a person.
const justPlugged = 5 * time.Minute

// mostSpots bounds Server.spots: beyond, all are forgotten.
const mostSpots = 10_000

// lease takes from DHCP what the phone does not say: which device it is, that somebody has plugged it in, and where it stands.
// A phone behind somebody else's proxy has no address of its own that we know.
func (s *Server) lease(req *sip.Message, r *control.Register) *roam.Spot {
	if s.leases == nil || req.Flow.Foreign != "" {
		return nil
	}
	l, found := s.leases.At(req.Flow.Remote.Addr())
	if !found {
		return nil
	}
	if r.Device == "" && l.MAC != "" {
		r.Device = roam.Device("mac:" + l.MAC)
	}
	if s.loop.Now().Sub(l.Plugged) < justPlugged {
		r.Plugged = l.Plugged
	}
	return s.spot(l.Spot())
}

// spot is one Spot for all phones that stand there; nil for none.
func (s *Server) spot(at roam.Spot) *roam.Spot {
	if at == (roam.Spot{}) {
		return nil
	}
	if p := s.spots[at]; p != nil {
		return p
	}
	if len(s.spots) >= mostSpots || s.spots == nil {
		s.spots = map[roam.Spot]*roam.Spot{}
	}
	p := &at
	s.spots[at] = p
	return p
}

// LeaseOver is DHCP's word that whoever had ip has it no more, or that somebody else has it now: the flows of that address end.
// Leases end in crowds, and flows are not kept by address: all that end in one turn are looked for at once.
func (s *Server) LeaseOver(ip netip.Addr) {
	if s.leasesOver == nil {
		s.leasesOver = map[netip.Addr]bool{}
		s.loop.Later(s.endLeases)
	}
	s.leasesOver[ip.Unmap()] = true
}

func (s *Server) endLeases() {
	var gone []roam.Flow
	for f := range s.flows {
		if s.leasesOver[f.Remote.Addr().Unmap()] {
			gone = append(gone, f)
		}
	}
	s.leasesOver = nil
	for _, f := range gone {
		s.Silent(f)
	}
}

// ByAddr is who is registered from each address.
func (s *Server) ByAddr(ctx context.Context) (map[netip.Addr][]roam.UserID, error) {
	all := map[netip.Addr][]roam.UserID{}
	err := s.loop.Do(ctx, func() {
		for f := range s.flows {
			at := f.Remote.Addr().Unmap()
			t := s.flows[f]
			for _, u := range t.all() {
				if !slices.Contains(all[at], u) {
					all[at] = append(all[at], u)
				}
			}
		}
	})
	return all, err
}
