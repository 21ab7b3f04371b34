package seal

import (
	"crypto/hmac"
	"crypto/sha256"
)

// Marked text is the kind of seal that lasts: a payload, which anyone can read, and a MAC over it and its kind
// under a key that is kept. The same payload always gives the same text, so that a name made of it stays.
//
// The MAC is HMAC-SHA256, cut to 16 bytes (RFC 2104 5).

// Marks makes and opens marked texts. It may be used from anywhere.
type Marks struct{ key []byte }

// NewMarks has the key, of 32 bytes; another length is our bug and panics.
func NewMarks(key []byte) *Marks {
	if len(key) != sha256.Size {
		panic("seal: a key for marks has 32 bytes")
	}
	return &Marks{key}
}

// Mark is payload with its MAC as base64url text.
func (k *Marks) Mark(kind byte, payload []byte) string {
	return text.EncodeToString(append(k.mac(kind, payload), payload...))
}

// Open is the payload of s, which must be of this key and kind. It is the caller's.
func (k *Marks) Open(kind byte, s string) (payload []byte, ok bool) {
	b, ok := decode(s)
	if !ok || len(b) < macLen || !hmac.Equal(b[:macLen], k.mac(kind, b[macLen:])) {
		return nil, false
	}
	return b[macLen:], true
}

func (k *Marks) mac(kind byte, payload []byte) []byte {
	h := hmac.New(sha256.New, k.key)
	h.Write([]byte("siproam mark 1\x00"))
	h.Write([]byte{kind})
	h.Write(payload)
	return h.Sum(nil)[:macLen:macLen]
}
