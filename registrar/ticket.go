package registrar

import (
	"encoding/json"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/seal"
)

// The kinds of what we sign. A supersede never passes for a ticket.
const (
	ticketKind    = 't' // home's word that it has checked a device for an office (150)
	supersedeKind = 's' // home's word that a device is elsewhere
)

// ticketDoc is a ticket as it is signed.
type ticketDoc struct {
	Version int `json:"v"`
	roam.Ticket
}

// sign gives t's proof. A ticket lives as long as a visit may go unrecorded, or be remembered.
func (s *Server) sign(kind byte, t roam.Ticket) roam.Ticket {
	t.Until = s.loop.Now().Add(s.ticketLife()).Truncate(time.Millisecond)
	b, err := json.Marshal(ticketDoc{docVersion, t})
	if err != nil { // strings, numbers and a time: cannot be
		panic("registrar: ticket: " + err.Error())
	}
	t.Proof = s.signer.Sign(kind, b, t.Until)
	return t
}

// ticketLife is how long what we sign is good.
func (s *Server) ticketLife() time.Duration {
	return s.office.Ticket
}

// verify opens a proof that the owner of key has signed.
func (s *Server) verify(key []byte, kind byte, proof string) (t roam.Ticket, ok bool) {
	b, ok := seal.Verify(key, kind, proof, s.loop.Now())
	var d ticketDoc
	if !ok || json.Unmarshal(b, &d) != nil || d.Version > docVersion {
		return roam.Ticket{}, false
	}
	d.Ticket.Proof = proof
	return d.Ticket, true
}
