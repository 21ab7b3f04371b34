package transport

import (
	"encoding/binary"
	"net/netip"
)

// STUN as RFC 5626 4.4.2 needs it (RFC 5389 6, 15.2): a Binding request asks which
// address we see, and is how some phones keep their NAT open.
const (
	stunCookie    = 0x2112A442
	stunHeader    = 20
	stunRequest   = 0x0001
	stunSuccess   = 0x0101
	stunXORMapped = 0x0020
	stunOptional  = 0x8000 // attributes from here on may be ignored
)

// isSTUN tells STUN from SIP: no SIP message begins with an octet below 4.
func isSTUN(b []byte) bool {
	return len(b) >= stunHeader && b[0] < 4 && binary.BigEndian.Uint32(b[4:]) == stunCookie
}

// appendSTUN appends the answer to request to dst; nothing when it deserves none: no
// Binding request, or an attribute that one for keep-alive has no use for.
func appendSTUN(dst, request []byte, from netip.AddrPort) []byte {
	if binary.BigEndian.Uint16(request) != stunRequest || int(binary.BigEndian.Uint16(request[2:])) != len(request)-stunHeader {
		return dst
	}
	for rest := request[stunHeader:]; len(rest) > 0; {
		if len(rest) < 4 || binary.BigEndian.Uint16(rest) < stunOptional {
			return dst
		}
		size := 4 + (int(binary.BigEndian.Uint16(rest[2:]))+3)&^3
		if size > len(rest) {
			return dst
		}
		rest = rest[size:]
	}
	addr := from.Addr().AsSlice()
	dst = binary.BigEndian.AppendUint16(dst, stunSuccess)
	dst = binary.BigEndian.AppendUint16(dst, uint16(8+len(addr)))
	mask := request[4:stunHeader] // cookie and transaction id
	dst = append(dst, mask...)
	dst = binary.BigEndian.AppendUint16(dst, stunXORMapped)
	dst = binary.BigEndian.AppendUint16(dst, uint16(4+len(addr)))
	dst = append(dst, 0, byte(1+len(addr)/16)) // family: 1 is IPv4, 2 is IPv6
	dst = binary.BigEndian.AppendUint16(dst, from.Port()^stunCookie>>16)
	for i, c := range addr {
		dst = append(dst, c^mask[i])
	}
	return dst
}
