package roam

import "strconv"

// LocationSeal is the kind of the seal that is a Location's Sig.
const LocationSeal = 'l'

// Attested is what home's signature of at, as user's location, covers.
func (at *Location) Attested(user UserID) []byte {
	b := make([]byte, 0, 160)
	for _, word := range [...]string{string(user), string(at.Office), at.Switch, at.Registrar} {
		b = append(append(b, word...), 0)
	}
	return strconv.AppendUint(b, uint64(at.Epoch), 10)
}

// OfficeKey is what an office signs with, and whose users' locations it signs.
type OfficeKey struct {
	Office  OfficeID `json:"office"`
	Domains []string `json:"domains"`
	Public  []byte   `json:"public"` // Ed25519
}
