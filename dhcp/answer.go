package dhcp

import (
	"encoding/binary"
	"net/netip"
)

// answer is a message to a client while it is written. Options are put in the order of their weight: what does not fit
// any more is left out (RFC 2131 4.1).
type answer struct {
	raw     []byte // header, cookie, options so far
	most    int    // octets that the client takes, less what seal adds
	agent   []byte // option 82 of the question
	used    [2]int // octets in file and sname
	dropped int    // options that had no room
}

// begin is an answer to m: its header with nothing filled in, and the type. It is in memory of its own, so it may be kept
// after m has gone.
func (m *message) begin(k kind) *answer {
	a := &answer{raw: make([]byte, headerSize+cookieSize, 384), agent: m.get(optAgent)}
	copy(a.raw, m.raw[:headerSize][:12]) // op to flags
	a.raw[0], a.raw[3] = 2, 0            // BOOTREPLY, hops
	a.raw[8], a.raw[9] = 0, 0            // secs
	copy(a.raw[24:44], m.raw[24:44])     // giaddr, chaddr
	binary.BigEndian.PutUint32(a.raw[headerSize:], cookie)
	a.most = m.size() - 1 - 3 - pieces(len(a.agent)) // the end, an overload, and what the relay said
	a.put(optKind, byte(k))
	return a
}

// pieces is how many octets an option of n takes (RFC 3396).
func pieces(n int) int {
	if n == 0 {
		return 0
	}
	return n + 2*((n+254)/255)
}

// The addresses of the header.
func (a *answer) ciaddr(ip netip.Addr) { a.field(12, ip) }
func (a *answer) yiaddr(ip netip.Addr) { a.field(16, ip) }

func (a *answer) field(at int, ip netip.Addr) {
	if ip.Is4() {
		four := ip.As4()
		copy(a.raw[at:], four[:])
	}
}

// setBroadcast has the relay send it to everybody: a NAK's client may have no address (RFC 2131 4.3.2).
func (a *answer) setBroadcast() { a.raw[10] |= broadcastFlag >> 8 }

// put adds an option, if need be in pieces (RFC 3396), where there is room: among the options, in file, or in sname
// (RFC 2132 9.3); ok says that there was some.
func (a *answer) put(code byte, value ...byte) (ok bool) {
	need := max(pieces(len(value)), 2)
	switch {
	case len(a.raw)+need <= a.most:
		a.raw = appendOption(a.raw, code, value)
	case a.used[0]+need < headerSize-fileAt: // one is left for the end
		a.over(fileAt, &a.used[0], code, value)
	case a.used[1]+need < fileAt-snameAt:
		a.over(snameAt, &a.used[1], code, value)
	default:
		a.dropped++
		return false
	}
	return true
}

// over writes an option into a field of the header.
func (a *answer) over(at int, used *int, code byte, value []byte) {
	*used += len(appendOption(a.raw[at+*used:at+*used], code, value))
}

func appendOption(b []byte, code byte, value []byte) []byte {
	for {
		n := min(len(value), 255)
		b = append(append(b, code, byte(n)), value[:n]...)
		if value = value[n:]; len(value) == 0 {
			return b
		}
	}
}

// number and addr are put for values of four octets.
func (a *answer) number(code byte, n uint32) { a.put(code, binary.BigEndian.AppendUint32(nil, n)...) }

func (a *answer) addr(code byte, ip netip.Addr) {
	four := ip.As4()
	a.put(code, four[:]...)
}

// seal ends the message and gives its octets: the overload, option 82 as it came and last (RFC 3046 2.2), the end, and
// as much padding as BOOTP relays want.
func (a *answer) seal() []byte {
	var over byte
	for i, at := range [...]int{fileAt, snameAt} {
		if a.used[i] > 0 {
			over |= 1 << i
			a.raw[at+a.used[i]] = optEnd
		}
	}
	if over != 0 {
		a.raw = append(a.raw, optOverload, 1, over)
	}
	if len(a.agent) > 0 {
		a.raw = appendOption(a.raw, optAgent, a.agent)
	}
	a.raw = append(a.raw, optEnd)
	for len(a.raw) < leastSize {
		a.raw = append(a.raw, optPad)
	}
	return a.raw
}
