package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"strings"
)

// Stamped text is the short kind of seal: a number that never comes twice, and a MAC over it and over
// what both sides know anyway, which is not in the text. A nonce is one. It is made with every
// challenge and checked with every REGISTER, where HMAC-SHA256 over all that the nonce is bound to, all of it in the
// text (two hashes of two blocks, and more for the phone to hash and to send), was a sixteenth of all
// that a REGISTER cost, and a fifth of that now (BenchmarkStamp).
//
// The MAC is GMAC (NIST SP 800-38D): AES-GCM of nothing, with kind and number as its nonce.

// StampLen is the length of a stamped text.
const StampLen = (stampLen + macLen) / 3 * 4

const (
	stampLen = 8
	macLen   = 16
)

// Stamps makes and checks stamped texts, on one goroutine at a time.
type Stamps struct {
	gcm   cipher.AEAD
	nonce [12]byte // scratch, which would escape to the heap
	room  [stampLen + macLen]byte
	in    [StampLen]byte
}

// NewStamps has a random key: what another run made is not ours.
func NewStamps() *Stamps {
	var key [16]byte
	rand.Read(key[:]) // never fails (crypto/rand)
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // a key of 16 bytes is one
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // of AES always
	}
	return &Stamps{gcm: gcm}
}

// Append appends the text of n, bound to kind and about. No n may be given twice with one kind:
// two MACs of one nonce would give the key away (SP 800-38D 8).
func (k *Stamps) Append(dst []byte, kind byte, n uint64, about []byte) []byte {
	binary.BigEndian.PutUint64(k.room[:], n)
	k.name(kind, n)
	return text.AppendEncode(dst, k.gcm.Seal(k.room[:stampLen], k.nonce[:], nil, about))
}

// Open is the number in s, which must be of this key, kind and about.
func (k *Stamps) Open(kind byte, s string, about []byte) (n uint64, ok bool) {
	if len(s) != StampLen || strings.IndexByte(s, '\r') >= 0 || strings.IndexByte(s, '\n') >= 0 {
		return 0, false // the decoder would skip line breaks
	}
	copy(k.in[:], s)
	b, err := text.AppendDecode(k.room[:0], k.in[:])
	if err != nil || len(b) != len(k.room) {
		return 0, false
	}
	n = binary.BigEndian.Uint64(b)
	k.name(kind, n)
	_, err = k.gcm.Open(nil, k.nonce[:], b[stampLen:], about)
	return n, err == nil
}

// name makes GCM's nonce.
func (k *Stamps) name(kind byte, n uint64) {
	k.nonce[0] = kind
	binary.BigEndian.PutUint64(k.nonce[4:], n)
}
