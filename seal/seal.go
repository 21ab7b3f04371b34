// Package seal makes short strings that only we can have made: nonces and the names of flows (MAC), tickets
// and the sig of a location (Ed25519 signature).
//
// A signed string binds a payload, which anyone can read, to a kind and to a last
// moment, a stamped one a number to a kind. The kind is one byte of the caller's
// choice; a string of one kind never passes for another.
package seal

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"
)

const untilLen = 8 // Unix milliseconds

// text is strict: two texts never open to the same bytes.
var text = base64.RawURLEncoding.Strict()

// decode undoes text. Line breaks, which the decoder would skip, are refused.
func decode(s string) ([]byte, bool) {
	if strings.IndexByte(s, '\r') >= 0 || strings.IndexByte(s, '\n') >= 0 {
		return nil, false
	}
	b, err := text.DecodeString(s)
	return b, err == nil
}

// late says that the moment said begins with has passed.
func late(said []byte, now time.Time) bool {
	return now.UnixMilli() > int64(binary.BigEndian.Uint64(said))
}

// Signer signs what a third office must be able to check. Its seed lives in the office's file.
type Signer struct {
	key ed25519.PrivateKey
}

// NewSigner makes a signer from its 32 byte seed; another length is our bug and panics.
func NewSigner(seed []byte) *Signer { return &Signer{ed25519.NewKeyFromSeed(seed)} }

// Public is the key that goes into the office card.
func (s *Signer) Public() []byte { return []byte(s.key.Public().(ed25519.PublicKey)) }

// Sign is payload with kind, until and signature as base64url text. The moment is kept
// in whole milliseconds.
func (s *Signer) Sign(kind byte, payload []byte, until time.Time) string {
	b := make([]byte, 1+untilLen, 1+untilLen+len(payload)+ed25519.SignatureSize)
	b[0] = kind
	binary.BigEndian.PutUint64(b[1:], uint64(until.UnixMilli()))
	b = append(b, payload...)
	return text.EncodeToString(append(b, ed25519.Sign(s.key, signed(b))...))
}

// Attest is our signature of what its reader has anyway: kind and signature alone, as base64url text. It holds for ever.
func (s *Signer) Attest(kind byte, about []byte) string {
	return text.EncodeToString(ed25519.Sign(s.key, attested(kind, about)))
}

// Attested says that the owner of public has signed about, as kind.
func Attested(public []byte, kind byte, about []byte, sig string) bool {
	b, ok := decode(sig)
	return ok && len(public) == ed25519.PublicKeySize && len(b) == ed25519.SignatureSize && ed25519.Verify(public, attested(kind, about), b)
}

// attested is what such a signature covers.
func attested(kind byte, about []byte) []byte {
	return append(append(make([]byte, 0, 24+len(about)), "siproam attest 1\x00"...), append([]byte{kind}, about...)...)
}

// Verify gives the payload that the owner of public signed. It refuses another kind, a later
// moment, a changed byte. The payload is the caller's.
func Verify(public []byte, kind byte, s string, now time.Time) ([]byte, bool) {
	b, ok := decode(s)
	if !ok || len(public) != ed25519.PublicKeySize || len(b) < 1+untilLen+ed25519.SignatureSize {
		return nil, false
	}
	said, sig := b[:len(b)-ed25519.SignatureSize], b[len(b)-ed25519.SignatureSize:]
	if said[0] != kind || !ed25519.Verify(public, signed(said), sig) || late(said[1:], now) {
		return nil, false
	}
	return said[1+untilLen : len(said) : len(said)], true
}

// Mark is a short text of payload that nobody without the seed can make: always the same one, so that nothing need be
// kept of it.
func (s *Signer) Mark(kind byte, payload []byte) string {
	mac := hmac.New(sha256.New, s.key.Seed())
	mac.Write([]byte("siproam mark 1\x00"))
	mac.Write([]byte{kind})
	mac.Write(payload)
	return text.EncodeToString(mac.Sum(nil)[:18])
}

// signed is what the signature covers. The prefix keeps our signatures apart from
// any other use of the key.
func signed(said []byte) []byte {
	return append([]byte("siproam seal 1\x00"), said...)
}
