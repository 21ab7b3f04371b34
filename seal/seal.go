// Package seal makes short strings that only we can have made: nonces, flow and
// path tokens (MAC), tickets and the sig of a location (Ed25519 signature).
package seal

import "time"

// Key makes and checks MACs. A new nonce key is made at each boot.
type Key [32]byte

// NewKey is a random key.
func NewKey() *Key { panic("seal: not built") }

// Seal binds payload to kind and to a last moment; it is base64url text.
func (k *Key) Seal(kind byte, payload []byte, until time.Time) string { panic("seal: not built") }

// Open refuses another kind, a later moment, a changed byte.
func (k *Key) Open(kind byte, s string, now time.Time) ([]byte, bool) { panic("seal: not built") }

// Signer signs what a third office must be able to check. Its seed lives in the office's file.
type Signer struct{}

// NewSigner makes a signer from its 32 byte seed.
func NewSigner(seed []byte) *Signer { panic("seal: not built") }

// Public is the key that goes into the office card.
func (s *Signer) Public() []byte { panic("seal: not built") }

// Sign is payload with kind, until and signature as base64url text.
func (s *Signer) Sign(kind byte, payload []byte, until time.Time) string { panic("seal: not built") }

// Verify gives the payload that the owner of public signed.
func Verify(public []byte, kind byte, s string, now time.Time) ([]byte, bool) {
	panic("seal: not built")
}
