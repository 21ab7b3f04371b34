package cli

import (
	"encoding/binary"
	"io"
	"net/netip"

	"github.com/siproam/siproam/office"
)

// capture writes messages as a libpcap file of raw IP packets. Every message becomes one UDP datagram, whatever it
// travelled by, so that Wireshark reads those of TLS, too.
type capture struct{ w io.Writer }

const (
	linkRaw   = 101 // LINKTYPE_RAW: IPv4 or IPv6 from the first byte
	ipHeader  = 20
	ip6Header = 40
	udpHeader = 8
	payload   = 65535 - ip6Header - udpHeader
)

func newCapture(w io.Writer) (*capture, error) {
	var h [24]byte
	binary.LittleEndian.PutUint32(h[0:], 0xa1b2c3d4) // microseconds
	binary.LittleEndian.PutUint16(h[4:], 2)
	binary.LittleEndian.PutUint16(h[6:], 4)
	binary.LittleEndian.PutUint32(h[16:], 1<<18)
	binary.LittleEndian.PutUint32(h[20:], linkRaw)
	_, err := w.Write(h[:])
	return &capture{w}, err
}

func (c *capture) write(s office.Seen) error {
	from, err := netip.ParseAddrPort(s.Remote)
	if err != nil {
		return nil // nothing to write it from
	}
	to, err := netip.ParseAddrPort(s.Local)
	if err != nil {
		return nil
	}
	if s.Sent {
		from, to = to, from
	}
	p := packet(from, to, s.Raw[:min(len(s.Raw), payload)])
	var h [16]byte
	binary.LittleEndian.PutUint32(h[0:], uint32(s.Time.Unix()))
	binary.LittleEndian.PutUint32(h[4:], uint32(s.Time.Nanosecond()/1000))
	binary.LittleEndian.PutUint32(h[8:], uint32(len(p)))
	binary.LittleEndian.PutUint32(h[12:], uint32(len(p)))
	_, err = c.w.Write(append(h[:], p...))
	return err
}

// packet is an IP packet with one UDP datagram.
func packet(from, to netip.AddrPort, data []byte) []byte {
	src, dst := from.Addr().Unmap(), to.Addr().Unmap()
	udp := make([]byte, udpHeader, udpHeader+len(data))
	binary.BigEndian.PutUint16(udp[0:], from.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(udpHeader+len(data)))
	udp = append(udp, data...)
	pseudo := append(src.AsSlice(), dst.AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(udp)))
	pseudo = append(pseudo, 0, 0, 0, 17)
	binary.BigEndian.PutUint16(udp[6:], checksum(append(pseudo, udp...)))
	if src.Is4() && dst.Is4() {
		ip := make([]byte, ipHeader)
		ip[0], ip[8], ip[9] = 0x45, 64, 17
		binary.BigEndian.PutUint16(ip[2:], uint16(ipHeader+len(udp)))
		copy(ip[12:], src.AsSlice())
		copy(ip[16:], dst.AsSlice())
		binary.BigEndian.PutUint16(ip[10:], checksum(ip))
		return append(ip, udp...)
	}
	ip := make([]byte, ip6Header)
	ip[0], ip[6], ip[7] = 0x60, 17, 64
	binary.BigEndian.PutUint16(ip[4:], uint16(len(udp)))
	a, b := src.As16(), dst.As16()
	copy(ip[8:], a[:])
	copy(ip[24:], b[:])
	return append(ip, udp...)
}

// checksum is RFC 1071's.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
