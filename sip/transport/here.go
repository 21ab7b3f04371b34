package transport

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/siproam/siproam/roam"
)

// here is our host:port as remote sees it, when the packet met us at local (DESIGN 5):
// Advertise to the world, the interface's address to our own networks and this machine.
func (t *Transport) here(remote netip.Addr, local netip.AddrPort) string {
	a := t.cfg.Advertise
	if a.IsValid() && a.Is4() == remote.Is4() && !t.near(remote) {
		local = netip.AddrPortFrom(a, local.Port())
	}
	return netip.AddrPortFrom(local.Addr().WithZone(""), local.Port()).String()
}

func (t *Transport) near(remote netip.Addr) bool {
	plain := remote.WithZone("")
	return t.machine.has(remote) ||
		slices.ContainsFunc(t.cfg.LocalNetworks, func(p netip.Prefix) bool { return p.Contains(plain) })
}

// partnerHere is how other offices reach us: URI. A partner listener on port 0 knows
// its port only now.
func (t *Transport) partnerHere() string {
	port := t.cfg.URI.Port
	if port == 0 {
		port = defaultPort(roam.TLS)
		for _, d := range t.doors {
			if d.kind == partnerConn && strings.HasSuffix(t.cfg.PartnerListen, ":0") {
				port = d.place.at.Port()
			}
		}
	}
	return t.cfg.URI.Host + ":" + strconv.Itoa(int(port))
}

func defaultPort(t roam.Transport) uint16 {
	if t == roam.TLS {
		return 5061
	}
	return 5060
}

// machine knows the addresses of this machine.
type machine struct {
	mu    sync.Mutex // guards what follows
	addrs map[netip.Addr]bool
	read  time.Time
}

const machineStale = 10 * time.Second // addresses come and go; asking costs a system call or two

func (m *machine) has(a netip.Addr) bool {
	if a.IsLoopback() {
		return true // 127.0.0.2 stands at no interface
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.read) > machineStale {
		m.addrs, m.read = interfaceAddrs(), time.Now()
	}
	return m.addrs[a.WithZone("")]
}

func interfaceAddrs() map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	found, _ := net.InterfaceAddrs() // none: every remote is another machine
	for _, a := range found {
		if n, isNet := a.(*net.IPNet); isNet {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				all[ip.Unmap()] = true
			}
		}
	}
	return all
}

// routeTo is our address on the way to remote, invalid when there is none. Connecting
// a UDP socket sends nothing.
func routeTo(remote netip.AddrPort) netip.Addr {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(remote))
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return addrPort(c.LocalAddr()).Addr()
}
