package softswitch

import (
	"net/netip"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Spots has at asked which phone DHCP has given an address, and so where a phone stands that is not registered. Before Serve.
func (s *Switch) Spots(at func(netip.Addr) (roam.Lease, bool)) { s.leaseAt = at }

// spotOf is where the phone at the other end of f stands, as its registration says, else its lease; nil: nobody knows. It is for
// emergency calls (RFC 6881 asks of phones what only DHCP knows here).
func (s *Switch) spotOf(f *sip.Flow, claims []sip.AOR) *roam.Spot {
	if f == nil {
		return nil
	}
	if s.leaseAt != nil { // where it is plugged in now
		if l, found := s.leaseAt(f.Remote.Addr()); found && l.Spot() != (roam.Spot{}) {
			spot := l.Spot()
			return &spot
		}
	}
	user, found, _ := s.dir.Whose(f, claims)
	if !found {
		return nil
	}
	line, _ := s.dir.Line(user)
	for i := range line.Targets {
		if line.Targets[i].Flow == f.Flow {
			return line.Targets[i].Spot
		}
	}
	return nil
}
