// Package seal makes short strings that only we can have made: nonces, flow and
// path tokens (MAC), tickets and the sig of a location (Ed25519 signature).
//
// A string binds a payload, which anyone can read, to a kind and to a last
// moment. The kind is one byte of the caller's choice; a string of one kind never
// passes for another.
package seal

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"
)

const (
	untilLen = 8  // Unix milliseconds
	macLen   = 16 // HMAC-SHA256, truncated (RFC 2104 5)
)

// text is strict: two texts never open to the same bytes.
var text = base64.RawURLEncoding.Strict()

// decode undoes text, and appends to dst. Line breaks, which the decoder would skip, are refused.
func decode(dst []byte, s string) ([]byte, bool) {
	if strings.IndexByte(s, '\r') >= 0 || strings.IndexByte(s, '\n') >= 0 {
		return nil, false
	}
	var room [128]byte // a nonce, which comes with every REGISTER, fits
	b, err := text.AppendDecode(dst, append(room[:0], s...))
	return b, err == nil
}

// Key makes and checks MACs. A new nonce key is made at each boot.
type Key struct {
	inner, outer [sha256.BlockSize]byte // the key as RFC 2104 2 pads it, once: a nonce is checked with every REGISTER
}

// NewKey is a random key.
func NewKey() *Key {
	var b [32]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return padded(b[:])
}

// padded is the key of at most one block.
func padded(key []byte) *Key {
	k := new(Key)
	for i := range k.inner {
		k.inner[i], k.outer[i] = 0x36, 0x5c
	}
	subtle.XORBytes(k.inner[:], k.inner[:], key)
	subtle.XORBytes(k.outer[:], k.outer[:], key)
	return k
}

// Seal binds payload to kind and to a last moment; it is base64url text. The
// moment is kept in whole milliseconds.
func (k *Key) Seal(kind byte, payload []byte, until time.Time) string {
	var room [96]byte
	b := binary.BigEndian.AppendUint64(room[:0], uint64(until.UnixMilli()))
	b = append(b, payload...)
	mac := k.mac(kind, b)
	var wide [128]byte
	return string(text.AppendEncode(wide[:0], append(b, mac[:macLen]...)))
}

// Open refuses another kind, a later moment, a changed byte. The payload is the caller's.
func (k *Key) Open(kind byte, s string, now time.Time) ([]byte, bool) {
	return k.AppendOpen(nil, kind, s, now)
}

// AppendOpen is Open into the memory of dst, an empty slice, as far as it suffices.
func (k *Key) AppendOpen(dst []byte, kind byte, s string, now time.Time) ([]byte, bool) {
	b, ok := decode(dst, s)
	if !ok || len(b) < untilLen+macLen {
		return nil, false
	}
	said, got := b[:len(b)-macLen], b[len(b)-macLen:]
	mac := k.mac(kind, said)
	if subtle.ConstantTimeCompare(mac[:macLen], got) != 1 || late(said, now) {
		return nil, false
	}
	return said[untilLen:len(said):len(said)], true
}

// mac is HMAC-SHA256 (RFC 2104) over kind and b. What fits the stack is hashed there.
func (k *Key) mac(kind byte, b []byte) [sha256.Size]byte {
	var room [sha256.BlockSize + 192]byte
	inner := append(append(append(room[:0], k.inner[:]...), kind), b...)
	sum := sha256.Sum256(inner)
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(outer[copy(outer[:], k.outer[:]):], sum[:])
	return sha256.Sum256(outer[:])
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

// Verify gives the payload that the owner of public signed. It refuses what Open refuses.
func Verify(public []byte, kind byte, s string, now time.Time) ([]byte, bool) {
	b, ok := decode(nil, s)
	if !ok || len(public) != ed25519.PublicKeySize || len(b) < 1+untilLen+ed25519.SignatureSize {
		return nil, false
	}
	said, sig := b[:len(b)-ed25519.SignatureSize], b[len(b)-ed25519.SignatureSize:]
	if said[0] != kind || !ed25519.Verify(public, signed(said), sig) || late(said[1:], now) {
		return nil, false
	}
	return said[1+untilLen : len(said) : len(said)], true
}

// signed is what the signature covers. The prefix keeps our signatures apart from
// any other use of the key.
func signed(said []byte) []byte {
	return append([]byte("siproam seal 1\x00"), said...)
}
