package wire

import (
	"encoding/binary"
	"net/netip"
)

// Sizes of headers.
const (
	etherSize = 14
	ipSize    = 20
	udpSize   = 8
	arpSize   = 28
)

// Types of Ethernet frames.
const (
	typeIP  = 0x0800
	typeARP = 0x0806
)

// everyone is the Ethernet address of all.
var everyone = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// appendEther begins a frame.
func appendEther(b []byte, to, from MAC, kind uint16) []byte {
	b = append(append(b, to[:]...), from[:]...)
	return binary.BigEndian.AppendUint16(b, kind)
}

// appendUDP4 appends an IPv4 packet with one datagram; its identification is 0, which nobody needs as it is never
// split (RFC 6864 §4.1).
func appendUDP4(b []byte, from, to netip.AddrPort, payload []byte) []byte {
	at, src, dst := len(b), from.Addr().As4(), to.Addr().As4()
	b = append(b, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0) // no options, do not fragment, 64 hops, UDP
	b = append(append(b, src[:]...), dst[:]...)
	binary.BigEndian.PutUint16(b[at+2:], uint16(ipSize+udpSize+len(payload)))
	binary.BigEndian.PutUint16(b[at+10:], ^fold(sum(0, b[at:at+ipSize])))

	u, size := len(b), udpSize+len(payload)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(size))
	b = append(append(b, 0, 0), payload...)
	check := ^fold(sum(sum(uint32(17+size), b[at+12:at+ipSize]), b[u:])) // with the pseudo header (RFC 768)
	if check == 0 {
		check = 0xffff // 0 would say that there is none
	}
	binary.BigEndian.PutUint16(b[u+6:], check)
	return b
}

// sum adds b's words of 16 bits to acc (RFC 1071).
func sum(acc uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		acc += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		acc += uint32(b[0]) << 8
	}
	return acc
}

// fold adds the carries.
func fold(acc uint32) uint16 {
	for acc > 0xffff {
		acc = acc>>16 + acc&0xffff
	}
	return uint16(acc)
}

// parseUDP4 is what is in an IPv4 packet with a whole datagram. Lengths are believed no further than they fit.
func parseUDP4(b []byte) (from, to netip.AddrPort, payload []byte, ok bool) {
	if len(b) < ipSize || b[0]>>4 != 4 || b[9] != 17 || binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
		return from, to, nil, false // a part of one is none
	}
	head, whole := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if head < ipSize || whole > len(b) || whole < head+udpSize {
		return from, to, nil, false
	}
	u := b[head:whole]
	size := int(binary.BigEndian.Uint16(u[4:]))
	if size < udpSize || size > len(u) {
		return from, to, nil, false
	}
	from = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), binary.BigEndian.Uint16(u))
	to = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), binary.BigEndian.Uint16(u[2:]))
	return from, to, u[udpSize:size], true
}

// appendARPProbe appends the question who has a, from one who has no address yet (RFC 5227 §2.1.1), so that nobody
// writes us into a table.
func appendARPProbe(b []byte, from MAC, a netip.Addr) []byte {
	target := a.As4()
	b = append(b, 0, 1, 8, 0, 6, 4, 0, 1) // Ethernet, IPv4, their sizes, request
	b = append(append(b, from[:]...), 0, 0, 0, 0)
	b = append(b, 0, 0, 0, 0, 0, 0)
	return append(b, target[:]...)
}

// parseARP is who says in an ARP packet that it has which address; ok is false of a packet that says no such thing.
func parseARP(b []byte) (who MAC, has netip.Addr, ok bool) {
	if len(b) < arpSize || [6]byte(b[:6]) != [6]byte{0, 1, 8, 0, 6, 4} || b[6] != 0 || b[7] != 1 && b[7] != 2 {
		return who, has, false
	}
	has = netip.AddrFrom4([4]byte(b[14:18]))
	return MAC(b[8:14]), has, !has.IsUnspecified()
}
