package dialog

import (
	"encoding/binary"
	"net/netip"

	"github.com/siproam/siproam/seal"
	"github.com/siproam/siproam/sip"
)

// Proof is what a request that comes by another flow than its dialog's so far shows for itself.
type Proof uint8

const (
	// Unnamed: our Contact named no flow, since another run of this office has written it.
	Unnamed Proof = iota
	// NotShown: the Request-URI is not the Contact that the other end was given.
	NotShown
	// Shown: it is. Only who was sent that Contact knows it.
	Shown
)

// A flow token (RFC 5626 5.2) names the flow that our Contact was sent down: it is the user part, and what
// the other end writes into the Request-URI of all it asks for in the dialog (12.2.1.1). It is a
// stamp over the dialog and all that makes the flow this one: transport, connection with its
// boot, both addresses. No other office has the key, and no restart survives it. Call-ID and tags are in
// records, traces and in every phone that was transferred to; a token is where it was sent.
const flowKind = 'f'

// flowContact is our Contact on f, a phone's flow, with a token. It is valid until the next call.
func (d *Dialog) flowContact(f *sip.Flow) []byte {
	t := d.table
	t.tokens++
	b := append(t.room[:0], "<sip:"...)
	b = t.stamps.Append(b, flowKind, t.tokens, d.about(f))
	b = append(append(b, '@'), f.Here...)
	b = append(append(b, transportOf(f)...), '>')
	t.room = b
	d.named = f
	return b
}

// about is what a token binds.
func (d *Dialog) about(f *sip.Flow) []byte {
	b := append(d.table.bound[:0], byte(f.Transport))
	b = binary.BigEndian.AppendUint64(b, f.Conn)
	for _, at := range [...]netip.AddrPort{f.Local, f.Remote} {
		ip := at.Addr().As16()
		b = binary.BigEndian.AppendUint16(append(b, ip[:]...), at.Port())
	}
	b = append(append(append(b, d.callID...), 0), d.local...)
	d.table.bound = b
	return b
}

// proof is what req shows.
func (d *Dialog) proof(req *sip.Message) Proof {
	if d.named == nil {
		return Unnamed
	}
	u, err := sip.ParseURI(req.RequestURI())
	if err != nil || len(u.User) != seal.StampLen {
		return NotShown
	}
	if _, ours := d.table.stamps.Open(flowKind, u.User, d.about(d.named)); !ours {
		return NotShown
	}
	return Shown
}
