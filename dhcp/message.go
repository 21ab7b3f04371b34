package dhcp

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// This file and answer.go are the wire form of DHCPv4. They stand in for the library's codec, which loses the options in
// file and sname (RFC 2132 9.3), knows no maximum message size (9.10), and makes a map for every message: with these a
// full exchange of four messages takes the time of one of its parses (BenchmarkExchange). FuzzMessage and TestAnswer
// hold them against it.

// kind is the type of a message, option 53 (RFC 2132 9.6).
type kind byte

// The kinds of RFC 2131.
const (
	discover kind = 1 + iota
	offer
	request
	decline
	ack
	nak
	release
	inform
)

var kinds = [...]string{"", "discover", "offer", "request", "decline", "ack", "nak", "release", "inform"}

// String is the kind as metrics and logs name it.
func (k kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return "other"
}

// The options that decide something here; what phones read is in options.go.
const (
	optPad         = 0
	optMask        = 1
	optRouter      = 3
	optHost        = 12
	optAddress     = 50 // requested address
	optTime        = 51 // lease time
	optOverload    = 52
	optKind        = 53
	optServer      = 54 // server identifier
	optList        = 55 // parameter request list
	optText        = 56 // message of a NAK
	optSize        = 57 // maximum message size
	optRenewal     = 58 // T1
	optRebinding   = 59 // T2
	optVendor      = 60 // vendor class identifier
	optClient      = 61 // client identifier
	optRapid       = 80 // rapid commit (RFC 4039)
	optAgent       = 82 // relay agent information (RFC 3046)
	optEnd         = 255
	subCircuit     = 1  // RFC 3046
	subRemote      = 2  //
	subLink        = 5  // link selection (RFC 3527)
	subOverride    = 11 // server identifier override (RFC 5107)
	subSourcePort  = 19 // the relay's own port (RFC 8357)
	headerSize     = 236
	cookieSize     = 4
	snameAt        = 44
	fileAt         = 108
	broadcastFlag  = 0x8000
	hardwareMax    = 16
	leastSize      = 300 // octets of a BOOTP message: relays may drop shorter ones (RFC 1542 2.1)
	ipv4UDP        = 28  // octets of the headers of IPv4 and UDP: option 57 counts them
	leastSizeAsked = 576
	mostSize       = 1500
)

const cookie = 0x63825363

// The reasons why a message is dropped.
var (
	errShort   = errors.New("short")   // no room for a header, or an option runs over the end
	errForeign = errors.New("no dhcp") // BOOTP, or not even that
	errOption  = errors.New("option")  // an option that decides something has the wrong length
)

// message is an index over the octets of one message (RFC 2131 2), which it does not own. The zero value is ready for
// parse, and parse may be called again for the next one.
type message struct {
	raw  []byte
	kind kind

	at     [256]uint8 // code -> place in values, from 1
	codes  []byte
	values [][]byte // of several pieces joined (RFC 3396)
}

// parse indexes raw. What it refuses is answered by nobody.
func (m *message) parse(raw []byte) error {
	for _, c := range m.codes {
		m.at[c] = 0
	}
	m.raw, m.kind, m.codes, m.values = raw, 0, m.codes[:0], m.values[:0]
	if len(raw) < headerSize+cookieSize {
		return errShort
	}
	if binary.BigEndian.Uint32(raw[headerSize:]) != cookie || raw[2] > hardwareMax || raw[0] != 1 && raw[0] != 2 {
		return errForeign
	}
	if err := m.options(raw[headerSize+cookieSize:]); err != nil {
		return err
	}
	if over := m.get(optOverload); len(over) == 1 { // in the order of RFC 3396 5; an overload in there means nothing
		if over[0]&1 != 0 {
			if err := m.options(raw[fileAt:headerSize]); err != nil {
				return err
			}
		}
		if over[0]&2 != 0 {
			if err := m.options(raw[snameAt:fileAt]); err != nil {
				return err
			}
		}
	}
	return m.check()
}

// options adds those of one field. A field without an end option ends where it ends.
func (m *message) options(b []byte) error {
	for len(b) > 0 && b[0] != optEnd {
		if b[0] == optPad {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return errShort
		}
		m.add(b[0], b[2:2+int(b[1]):2+int(b[1])])
		b = b[2+int(b[1]):]
	}
	return nil
}

// add notes an option, or one more piece of it, which is copied behind the first.
func (m *message) add(code byte, value []byte) {
	if i := m.at[code]; i > 0 {
		m.values[i-1] = append(m.values[i-1], value...) // its capacity ends with it: raw stays as it is
		return
	}
	m.codes, m.values = append(m.codes, code), append(m.values, value)
	m.at[code] = uint8(len(m.codes)) // codes are 1 to 254
}

// check refuses lengths that would make us guess.
func (m *message) check() error {
	if k := m.get(optKind); k == nil {
		return errForeign // BOOTP
	} else if len(k) != 1 {
		return errOption
	}
	m.kind = kind(m.get(optKind)[0])
	for _, code := range [...]byte{optAddress, optServer} {
		if v := m.get(code); v != nil && len(v) != 4 {
			return errOption
		}
	}
	return nil
}

// get is the value of an option, nil where there is none; it may be read until the next parse.
func (m *message) get(code byte) []byte {
	if i := m.at[code]; i > 0 {
		return m.values[i-1]
	}
	return nil
}

// addr is an option that is one address; the zero Addr where there is none.
func (m *message) addr(code byte) netip.Addr {
	if v := m.get(code); len(v) == 4 {
		return netip.AddrFrom4([4]byte(v))
	}
	return netip.Addr{}
}

// seconds is an option of four octets, found when it has them.
func (m *message) seconds(code byte) (n uint32, found bool) {
	if v := m.get(code); len(v) == 4 {
		return binary.BigEndian.Uint32(v), true
	}
	return 0, false
}

// The fields of the header. An address of zeroes is the zero Addr.
func (m *message) hardwareType() byte { return m.raw[1] }
func (m *message) hardware() []byte   { return m.raw[28 : 28+int(m.raw[2])] }
func (m *message) xid() []byte        { return m.raw[4:8] }
func (m *message) broadcast() bool    { return binary.BigEndian.Uint16(m.raw[10:])&broadcastFlag != 0 }
func (m *message) ciaddr() netip.Addr { return field(m.raw[12:16]) }
func (m *message) giaddr() netip.Addr { return field(m.raw[24:28]) }

func field(b []byte) netip.Addr {
	if a := netip.AddrFrom4([4]byte(b)); !a.IsUnspecified() {
		return a
	}
	return netip.Addr{}
}

// asks says that the client wants code: it is in its list, or it gave none.
func (m *message) asks(code byte) bool {
	list := m.get(optList)
	for _, c := range list {
		if c == code {
			return true
		}
	}
	return list == nil
}

// size is how many octets an answer may have: what the client takes (option 57 counts the headers of IPv4 and UDP), else
// what everybody takes, and never more than a frame of Ethernet.
func (m *message) size() int {
	n := leastSizeAsked
	if v := m.get(optSize); len(v) == 2 {
		n = min(max(int(binary.BigEndian.Uint16(v)), leastSizeAsked), mostSize)
	}
	return n - ipv4UDP
}

// agent is a sub-option of option 82, nil where there is none or it cannot be read.
func (m *message) agent(sub byte) []byte {
	b := m.get(optAgent)
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		if b[0] == sub {
			return b[2 : 2+int(b[1])]
		}
		b = b[2+int(b[1]):]
	}
	return nil
}

// agentAddr is a sub-option that is one address.
func (m *message) agentAddr(sub byte) netip.Addr {
	if v := m.agent(sub); len(v) == 4 {
		return field(v)
	}
	return netip.Addr{}
}
