package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"time"

	"github.com/siproam/siproam/dhcp/lease"
)

// A row of the file is one lease: its version, a sum over all the rest and the address, and the fields in the order of
// appendRow. Texts have their length before them, times are microseconds of Unix, 0 for none. The sum is there so that a bit
// that the disk has lost ends no lease early: a row that does not sum up says only that its address is in doubt.

const rowVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendRow appends l as version 1.
func appendRow(b []byte, l *lease.Lease) []byte {
	start := len(b)
	b = append(b, rowVersion, 0, 0, 0, 0)
	known := byte(0)
	if l.Known {
		known = 1
	}
	b = append(b, byte(l.State), known)
	for _, t := range [...]time.Time{l.Plugged, l.Since, l.Until} {
		micros := int64(0)
		if !t.IsZero() {
			micros = t.UnixMicro()
		}
		b = binary.AppendVarint(b, micros)
	}
	subnet, _ := l.Subnet.MarshalBinary() // never fails
	for _, text := range [...]string{string(subnet), l.Client, l.MAC, l.Port, l.Host, l.Vendor} {
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	binary.BigEndian.PutUint32(b[start+1:], sumOf(l.Addr.AsSlice(), b[start+5:]))
	return b
}

func sumOf(addr, fields []byte) uint32 {
	return crc32.Update(crc32.Checksum(addr, castagnoli), castagnoli, fields)
}

var errRow = errors.New("does not sum up")

// readRow is the lease of a row.
func readRow(addr, b []byte) (l lease.Lease, err error) {
	ip, ok := netip.AddrFromSlice(addr)
	switch {
	case !ok:
		return l, fmt.Errorf("an address of %d octets", len(addr))
	case len(b) < 7:
		return lease.Lease{Addr: ip}, errRow
	case b[0] != rowVersion:
		return lease.Lease{Addr: ip}, fmt.Errorf("version %d is not known here", b[0])
	case binary.BigEndian.Uint32(b[1:]) != sumOf(addr, b[5:]):
		return lease.Lease{Addr: ip}, errRow
	}
	l.Addr, l.State, l.Known = ip, lease.State(b[5]), b[6] == 1
	r := reader(b[7:])
	l.Plugged, l.Since, l.Until = r.time(), r.time(), r.time()
	subnet := r.text()
	l.Client, l.MAC, l.Port, l.Host, l.Vendor = r.text(), r.text(), r.text(), r.text(), r.text()
	if r == nil || len(r) > 0 {
		return lease.Lease{Addr: ip}, errRow
	}
	return l, l.Subnet.UnmarshalBinary([]byte(subnet))
}

// reader reads fields; nil when one was not there.
type reader []byte

func (r *reader) time() time.Time {
	micros, n := binary.Varint(*r)
	if n <= 0 {
		*r = nil
		return time.Time{}
	}
	*r = (*r)[n:]
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros)
}

func (r *reader) text() string {
	n, used := binary.Uvarint(*r)
	if used <= 0 || n > uint64(len(*r)-used) {
		*r = nil
		return ""
	}
	text := string((*r)[used : used+int(n)])
	*r = (*r)[used+int(n):]
	if *r == nil {
		*r = reader{}
	}
	return text
}
