// Package digest challenges and checks (RFC 7616, 8760, 3261 22). It never sees a password.
package digest

import (
	"time"

	"github.com/siproam/siproam/seal"
	"github.com/siproam/siproam/sip"
)

// Algorithms names what a domain or user is challenged with.
type Algorithms []string // "md5", "sha-256"; both: sha-256 first

// HA1 is H(login:realm:password) by algorithm: [0] MD5, [1] SHA-256; nil when not kept.
type HA1 [2][]byte

// MakeHA1 computes both from a password.
func MakeHA1(login, realm, password string) HA1 { panic("digest: not built") }

// Credentials is one Authorization or Proxy-Authorization taken apart; strings are unquoted.
type Credentials struct {
	Username, Realm, Nonce, URI, Response, Algorithm, CNonce, Opaque, QOP string
	NC                                                                    uint32
}

// Parse reads the value of an Authorization or Proxy-Authorization. ok is false for
// another scheme than Digest; a malformed one is a *sip.Refused of 400.
func Parse(value []byte) (c Credentials, ok bool, err error) { panic("digest: not built") }

// Guard makes nonces and checks answers. Nonces verify themselves, are bound to the
// realm and the visited office, and go stale after Lifetime or a restart.
type Guard struct {
	Key      *seal.Key
	Lifetime time.Duration // of a nonce; 0: 5 minutes
}

// Challenge gives the values of WWW-Authenticate (or Proxy-Authenticate), one per
// algorithm, all with the same nonce. visited is "" at home.
func (g *Guard) Challenge(now time.Time, realm, visited string, a Algorithms, stale bool) []string {
	panic("digest: not built")
}

// Result is the outcome of Check.
type Result uint8

// The results of Check.
const (
	Bad   Result = iota // wrong: challenge again, count as a failure
	Good                // right
	Again               // right, and the very same nonce count as before: a retransmission
	Old                 // right but for its nonce: challenge with stale=true
)

// Check compares c, for method, with ha1 in constant time. w is the nonce counts
// seen from this phone; nil checks none. Unknown users are checked against Dummy, so
// that they cost the same.
func (g *Guard) Check(now time.Time, method, visited string, c *Credentials, ha1 HA1, w *Window) Result {
	panic("digest: not built")
}

// Dummy is an HA1 nobody's password has.
var Dummy HA1

// Window is the nonce counts one phone has used with one nonce: the highest and a bitmap below it.
type Window struct {
	Nonce uint64 // hash of the nonce
	High  uint32
	Seen  uint64
}

// Fields gives the challenge as header fields for a 401 (proxy false) or 407.
func Fields(challenges []string, proxy bool) []sip.Field { panic("digest: not built") }
