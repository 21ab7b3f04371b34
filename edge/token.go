package edge

import (
	"encoding/binary"
	"net/netip"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/seal"
)

// tokenKind is the kind of the marks that name flows.
const tokenKind = 'f'

// tokenVersion is the first byte of what is marked.
const tokenVersion = 1

// tokenOf names f, which is a flow of this process: version, transport, connection, local and remote address.
func tokenOf(k *seal.Marks, f roam.Flow) string {
	b := append(make([]byte, 0, 64), tokenVersion, byte(f.Transport))
	b = binary.BigEndian.AppendUint64(b, f.Conn)
	for _, a := range [...]netip.AddrPort{f.Local, f.Remote} {
		text, _ := a.MarshalBinary() // never fails
		b = append(append(b, byte(len(text))), text...)
	}
	return k.Mark(tokenKind, b)
}

// flowOf is the flow that token names, if we have named it.
func flowOf(k *seal.Marks, token string) (f roam.Flow, ok bool) {
	b, ok := k.Open(tokenKind, token)
	if !ok || len(b) < 10 || b[0] != tokenVersion || b[1] > byte(roam.WSS) {
		return roam.Flow{}, false
	}
	f.Transport, f.Conn = roam.Transport(b[1]), binary.BigEndian.Uint64(b[2:])
	b = b[10:]
	for _, a := range [...]*netip.AddrPort{&f.Local, &f.Remote} {
		if len(b) == 0 || len(b) < 1+int(b[0]) || a.UnmarshalBinary(b[1:1+b[0]]) != nil {
			return roam.Flow{}, false
		}
		b = b[1+b[0]:]
	}
	return f, len(b) == 0
}
