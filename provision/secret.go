package provision

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
)

// secretBytes is the office's secret from which everything of phones is derived.
const secretBytes = 32

// What is derived of it, each for itself.
const (
	forSIP  = "sip password"  // the phone registers with it
	forHTTP = "http password" // the phone fetches its settings with it, after the first time
	forURL  = "url secret"    // the phone's first fetch
)

// letters are those that no phone's keyboard, format or reader takes for anything else.
var letters = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789").WithPadding(base32.NoPadding)

// derive is what a phone has for use in a generation: 24 letters and digits, 120 bits. Nothing of it is kept: whoever has
// the office's file has what makes all of it, as he has its certificate's key.
func derive(secret []byte, use string, m MAC, generation uint64) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("siproam phone 1 " + use + "\x00"))
	mac.Write(m[:])
	var g [8]byte
	binary.BigEndian.PutUint64(g[:], generation)
	mac.Write(g[:])
	return letters.EncodeToString(mac.Sum(nil)[:15])
}

// Login is the name under which a phone registers, and fetches its settings.
func Login(m MAC) string { return "phone-" + m.String() }

// same compares secrets in a time that does not depend on where they differ; an empty one is nobody's.
func same(a, b string) bool {
	return a != "" && b != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}
