package wire

import (
	"encoding/binary"
	"net/netip"
)

// What is known here of DHCP is as much as it takes to ask which servers there are and to hear them.

// Message types of RFC 2132 §9.6 and RFC 8415 §7.3.
const (
	discover, offer, ack, nak     = 1, 2, 5, 6
	solicit, advertise, reply     = 1, 2, 7
	optClientID6, optIANA6        = 1, 3
	optIAAddr6, optElapsed6       = 5, 8
	fixedSize                     = 236 // of a BOOTP message, before its options
	optVendorClass, optServerID   = 60, 54
	optMessageType, optEnd4, pad4 = 53, 255, 0
)

var cookie = [4]byte{99, 130, 83, 99} // RFC 2131 §3

// appendDiscover is a DHCPDISCOVER of our own, to be answered by broadcast.
func appendDiscover(b []byte, from MAC, xid [4]byte) []byte {
	at := len(b)
	b = append(b, make([]byte, fixedSize)...)
	m := b[at:]
	m[0], m[1], m[2] = 1, 1, 6 // a question, Ethernet
	copy(m[4:8], xid[:])
	m[10] = 0x80 // broadcast
	copy(m[28:34], from[:])
	b = append(b, cookie[:]...)
	b = append(b, optMessageType, 1, discover, optVendorClass, 7)
	b = append(append(b, "siproam"...), optEnd4)
	for len(b)-at < 300 { // as short as relays of BOOTP let through (RFC 1542 §2.1)
		b = append(b, pad4)
	}
	return b
}

// parseOffer is the server that sent an OFFER, ACK or NAK to a client.
func parseOffer(b []byte) (o Other, xid [4]byte, ok bool) {
	if len(b) < fixedSize+len(cookie) || b[0] != 2 || [4]byte(b[fixedSize:]) != cookie {
		return o, xid, false
	}
	xid, o.Offered = [4]byte(b[4:8]), netip.AddrFrom4([4]byte(b[16:20]))
	kind := byte(0)
	for rest := b[fixedSize+len(cookie):]; len(rest) > 1 && rest[0] != optEnd4; {
		if rest[0] == pad4 {
			rest = rest[1:]
			continue
		}
		code, size := rest[0], int(rest[1])
		if len(rest) < 2+size {
			break
		}
		switch v := rest[2 : 2+size]; {
		case code == optMessageType && size == 1:
			kind = v[0]
		case code == optServerID && size == 4:
			o.ID = netip.AddrFrom4([4]byte(v))
		}
		rest = rest[2+size:]
	}
	return o, xid, o.ID.IsValid() && (kind == offer || kind == ack || kind == nak)
}

// appendSolicit is a SOLICIT of our own.
func appendSolicit(b []byte, from MAC, xid [4]byte) []byte {
	option := func(code uint16, v ...byte) {
		b = binary.BigEndian.AppendUint16(b, code)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(v))), v...)
	}
	b = append(b, solicit, xid[1], xid[2], xid[3])
	option(optClientID6, append([]byte{0, 3, 0, 1}, from[:]...)...) // DUID-LL
	option(optElapsed6, 0, 0)
	option(optIANA6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0)
	return b
}

// parseAdvertise is the server that sent an ADVERTISE or REPLY to a client; its ID is for the caller to fill in.
func parseAdvertise(b []byte) (o Other, xid [4]byte, ok bool) {
	if len(b) < 4 || b[0] != advertise && b[0] != reply {
		return o, xid, false
	}
	copy(xid[1:], b[1:4])
	if ia := option6(b[4:], optIANA6); len(ia) >= 12 {
		if a := option6(ia[12:], optIAAddr6); len(a) >= 16 {
			o.Offered = netip.AddrFrom16([16]byte(a))
		}
	}
	return o, xid, true
}

// option6 is the first option of a code in b, nil when there is none.
func option6(b []byte, code uint16) []byte {
	for len(b) >= 4 {
		size := int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+size {
			return nil
		}
		if binary.BigEndian.Uint16(b) == code {
			return b[4 : 4+size]
		}
		b = b[4+size:]
	}
	return nil
}

// parseUDP6 is what is in an IPv6 packet with a whole datagram and no extension headers.
func parseUDP6(b []byte) (from, to netip.AddrPort, payload []byte, ok bool) {
	const headSize = 40
	if len(b) < headSize+udpSize || b[0]>>4 != 6 || b[6] != 17 {
		return from, to, nil, false
	}
	u := b[headSize:]
	size := int(binary.BigEndian.Uint16(u[4:]))
	if size < udpSize || size > len(u) {
		return from, to, nil, false
	}
	from = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), binary.BigEndian.Uint16(u))
	to = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[24:40])), binary.BigEndian.Uint16(u[2:]))
	return from, to, u[udpSize:size], true
}

// parseAdvertisement is who says in a neighbour advertisement (RFC 4861 §4.4) that it has which address; who is zero
// where it does not say.
func parseAdvertisement(b []byte) (has netip.Addr, who MAC, ok bool) {
	if len(b) < 24 || b[0] != 136 {
		return has, who, false
	}
	for rest := b[24:]; len(rest) >= 8; {
		size := int(rest[1]) * 8
		if size == 0 || size > len(rest) {
			break
		}
		if rest[0] == 2 { // target link-layer address
			who = MAC(rest[2:8])
		}
		rest = rest[size:]
	}
	return netip.AddrFrom16([16]byte(b[8:24])), who, true
}
