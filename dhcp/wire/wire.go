// Package wire is the network below the office's DHCP server: datagrams with the interface they came by, frames to
// clients that have no address yet, questions whether an address is in use, and signs of another server.
//
// It knows just enough of DHCP to notice another server; what is in the datagrams is package dhcp's. Linux only:
// elsewhere Open refuses with ErrUnsupported.
//
// Each interface has sockets of its own, bound to it (SO_BINDTODEVICE) and to every address: bound to the interface's
// address they would hear no broadcast. They are not shared (no SO_REUSEADDR, no SO_REUSEPORT), so that the system
// itself refuses a second server on the same interface, ours or another, where it would else take part of the packets.
// Port 67 and 547 need CAP_NET_BIND_SERVICE. Frames, ARP, neighbour solicitations and the search for other servers
// need CAP_NET_RAW; without it replies are broadcast, and addresses cannot be probed on a link.
//
// Implements what a server needs of RFC 2131 §4.1 (where a reply goes is package dhcp's choice), RFC 5227 §2.1.1
// (probing), RFC 4861 §7.2 (the same in IPv6) and RFC 8415 §7.1 (multicast groups).
package wire

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/metric"
)

// The ports of RFC 2131 §4.1 and RFC 8415 §7.2.
const (
	ServerPort4, ClientPort4 = 67, 68
	ServerPort6, ClientPort6 = 547, 546
)

var (
	// ErrUnsupported says that this system is not Linux.
	ErrUnsupported = errors.New("DHCP is served on Linux only")
	// ErrInUse says that another program has the port on this interface: another DHCP server, or a second office.
	ErrInUse = errors.New("another program serves DHCP there")
	// ErrNoRaw says that the process lacks CAP_NET_RAW.
	ErrNoRaw = errors.New("no CAP_NET_RAW: " + remedy)
	// ErrNoInterface says that there is no such interface now.
	ErrNoInterface = errors.New("no such interface")
)

// remedy is how a process comes by what it lacks.
const remedy = `run "setcap cap_net_bind_service,cap_net_raw=+ep" on the program, or have AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_NET_RAW in its systemd unit`

// Config is which interfaces are served.
type Config struct {
	Interfaces []string // by name; one that is not there yet is waited for
	Four, Six  bool     // DHCPv4, DHCPv6

	// Heard is told of another server that answered a client of one of our interfaces, so far as that can be
	// heard: what is broadcast, and with a bridge of ours all. At most once a minute per server, from any goroutine. May be nil.
	Heard func(Other)

	Metrics *metric.Set
	Log     zerolog.Logger

	port4, port6 int // of tests; 0: as the RFCs say, -1: any
}

// MAC is an Ethernet address; zero is none.
type MAC [6]byte

// String is as in "00:15:65:01:02:03".
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Interface is one interface as it was at some moment; it does not change.
type Interface struct {
	Index int
	Name  string
	MAC   MAC            // zero where it has none
	Addrs []netip.Prefix // its addresses of both families, each with its network; as the system orders them
	Up    bool           // with a carrier
}

// Holds is the first address of i whose network has a, invalid when there is none: then a is behind a router.
func (i *Interface) Holds(a netip.Addr) netip.Prefix {
	for _, p := range i.Addrs {
		if p.Contains(a) {
			return p
		}
	}
	return netip.Prefix{}
}

// First is its first address of IPv4, or of IPv6 beyond the link; invalid when there is none.
func (i *Interface) First(six bool) netip.Addr {
	for _, p := range i.Addrs {
		if p.Addr().Is6() == six && !p.Addr().IsLinkLocalUnicast() {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

// Datagram is what a client or relay sent to the port of a server.
type Datagram struct {
	B         []byte
	Interface *Interface
	From      netip.AddrPort // a client without an address: 0.0.0.0:68
	To        netip.Addr     // as in the packet: broadcast, a group, or ours
}

// Six says that it is of DHCPv6.
func (d *Datagram) Six() bool { return d.From.Addr().Is6() }

// Reply is one datagram to send.
type Reply struct {
	B         []byte
	Interface int            // the index of that by which the question came
	To        netip.AddrPort // a relay, a client, or broadcast
	Source    netip.Addr     // the server identifier; invalid: the interface's own choice

	// MAC set: the client has no address yet and does not answer ARP, so To goes there in a frame made by us (RFC 2131
	// §4.1). Where that cannot be done, without CAP_NET_RAW or beyond the MTU, it is broadcast to To's port.
	MAC MAC
}

// Other is a DHCP server that is not this one.
type Other struct {
	Interface string
	ID        netip.Addr // its identifier (option 54); of IPv6 the address that it answered from
	From      netip.Addr // where its packet came from: itself, or a relay
	MAC       MAC        // of it, or of the router before it
	Offered   netip.Addr // the address it gives; may be invalid
}

// Broadcast is where all on the link hear it.
var Broadcast = netip.AddrPortFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), ClientPort4)
