package media

import (
	"net"
	"net/netip"
	"sync/atomic"
)

// machine is the addresses of this machine, which all count as one source: a phone on the same
// machine may signal from its LAN address and send RTP from 127.0.0.1.
type machine struct {
	addrs atomic.Pointer[map[netip.Addr]bool]
}

// look reads the interfaces anew; addresses come and go with DHCP.
func (m *machine) look() {
	found := map[netip.Addr]bool{}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return // what was known stays true enough
	}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			found[p.Addr().Unmap().WithZone("")] = true
		}
	}
	m.addrs.Store(&found)
}

// has says that a is an address of this machine.
func (m *machine) has(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	known := m.addrs.Load()
	return known != nil && (*known)[a]
}
