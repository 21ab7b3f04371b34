// Package lease decides which address is whose: subnets, pools, reservations, offers, leases and their ends, for DHCPv4 and
// DHCPv6 alike (RFC 2131 3.1 and 4.3, RFC 8415 18.3).
//
// A Table is pure: it is given the time, has no clock, no socket and no file, and is not safe for several goroutines; it
// lives on the office's loop. Its first rule stands above every other: no address is valid for two clients at a time.
// Whoever keeps the table says Expire when Next has come, stores each Lease that Bind, Release, Decline and Busy return
// before the client hears of it, and gives the rows back to Restore at the next start.
//
// How an address is chosen: the client's reservation; else what it has or had last; else what it asks for; else, in its pools,
// one that nobody has had, and then the one that has been free longest. All of that is O(1), however large the pool.
//
// Known clients are those with a reservation, those that have renewed a lease here, and those that the caller says are known.
// In a flood of strangers they always find an address: strangers hold few offers at a time, the oldest of which go first, known
// clients take those over, and what known clients had last is not given away below the pool's reserve.
package lease

import (
	"errors"
	"net/netip"
	"time"
)

// State is what an address is at the moment.
type State uint8

// The states of an address.
const (
	Free     State = iota // may be given; Client is who had it last, and gets it back
	Offered               // held for Client until Until, promised to nobody
	Bound                 // Client's until Until
	Declined              // somebody uses it whom we do not know: given to nobody until Until (RFC 2131 4.3.3)
)

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

var stateNames = [...]string{"free", "offered", "bound", "declined"}

// Lease is one address and whose it is. It is a value: the row that is stored, and what is shown to people.
type Lease struct {
	Addr    netip.Addr
	Subnet  netip.Prefix
	Client  string // raw bytes; see Ask.Client
	MAC     string
	Port    string // relay agent's words for the place where the client is plugged in; empty: not behind a relay
	Host    string
	Vendor  string
	State   State
	Known   bool      // has a reservation, has renewed, or was said to be known
	Plugged time.Time // last DISCOVER or SOLICIT; zero: none seen
	Since   time.Time // the client has had it without a break
	Until   time.Time // the address is kept for the client until then, never shorter than what it was once told

	Time  time.Duration // what the client is told now, by Offer and Bind; not stored
	Anew  bool          // of an offer: the client did not have it before, so that it should be probed first
	Doubt bool          // of an offer: it must be probed first, since what was stored about it is lost, or it was declined
}

// Ask is what a client says of itself in one message.
type Ask struct {
	Client  string     // raw bytes: option 61, else hardware type and address; DUID and IAID in DHCPv6
	MAC     string     // "00:15:65:01:02:03"; may be empty in DHCPv6
	Port    string     // option 82 circuit and remote id as one text, interface-id in DHCPv6; empty: no relay said any
	Link    netip.Addr // an address of the client's link: link selection, giaddr, or the interface's own
	Addr    netip.Addr // requested; zero: none
	Source  netip.Addr // where RELEASE or DECLINE came from; zero: the client has no address, or a relay sent it
	Host    string
	Vendor  string
	Classes []string // of the configuration's classes, those that it is in
	Time    time.Duration
	Known   bool // the caller knows this phone: it is somebody's
}

// The reasons why a client is offered nothing.
var (
	ErrNoSubnet = errors.New("no subnet for its link")
	ErrNoClient = errors.New("client without an identifier")
	ErrNoPool   = errors.New("no pool for its classes")
	ErrFull     = errors.New("no free address")
	ErrReserved = errors.New("free addresses are kept for known phones")
	ErrPort     = errors.New("too many addresses at its port")
	ErrOUI      = errors.New("too many addresses for its maker")
)

// Verdict is how a REQUEST ends (RFC 2131 4.3.2).
type Verdict uint8

// The verdicts of Bind.
const (
	Granted  Verdict = iota // ACK, when the lease is stored
	Unknown                 // nothing is known of this client and address: silence, or NAK if the client has chosen us
	NotYours                // NAK: it is another's, or not to be had any more
	WrongNet                // NAK: no address of this link
)

func (v Verdict) String() string {
	return [...]string{"granted", "unknown", "not yours", "wrong network"}[v]
}
