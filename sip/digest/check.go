package digest

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
	"time"
)

// algorithms is what we can check, by index in HA1; the later the stronger.
var algorithms = [...]struct{ config, wire string }{
	{"md5", "MD5"},
	{"sha-256", "SHA-256"},
}

// HA1 is H(login:realm:password) by algorithm: [0] MD5, [1] SHA-256; nil when not
// kept or not allowed. The bytes are raw, not hexadecimal.
type HA1 [2][]byte

// MakeHA1 computes both from a password.
func MakeHA1(login, realm, password string) HA1 {
	a1 := []byte(login + ":" + realm + ":" + password)
	m, s := md5.Sum(a1), sha256.Sum256(a1)
	return HA1{m[:], s[:]}
}

// Dummy is an HA1 nobody's password has. It is random, since whoever knows an HA1
// can answer for it.
var Dummy = random()

func random() HA1 {
	h := HA1{make([]byte, md5.Size), make([]byte, sha256.Size)}
	rand.Read(h[0]) // never fails (crypto/rand)
	rand.Read(h[1])
	return h
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
// seen of this user, which a Good answer moves; nil checks none. Unknown users are checked
// against Dummy, so that they cost the same.
//
// That c.Realm is one of ours and c.URI names the request's target is the caller's to check.
func (g *Guard) Check(now time.Time, method string, at Place, c *Credentials, ha1 HA1, w *Windows) Result {
	n := index(c.Algorithm)
	if n < 0 || !strings.EqualFold(c.QOP, "auth") || c.NC == 0 {
		return Bad
	}
	if len(ha1[n]) == 0 {
		ha1 = Dummy
	}
	if !g.answers(n, method, c, ha1[n]) {
		return Bad
	}
	stamp, ours := g.stamp(now, c.Realm, &at, c.Nonce)
	if !ours {
		return Old
	}
	if w == nil {
		return Good
	}
	return w.use(stamp, c.NC)
}

// index is an algorithm's place in HA1, -1 for one we do not check. None named is MD5 (RFC 7616 3.3).
func index(algorithm string) int {
	if algorithm == "" {
		return 0
	}
	for n := range algorithms {
		if strings.EqualFold(algorithm, algorithms[n].wire) {
			return n
		}
	}
	return -1
}

// answers says that c.Response is H(H(A1):nonce:nc:cnonce:qop:H(method:uri)) (RFC 7616 3.4.1).
func (g *Guard) answers(n int, method string, c *Credentials, ha1 []byte) bool {
	var want [sha256.Size]byte
	var stack [512]byte
	b := hex.AppendEncode(stack[:0], ha1)
	for _, s := range [...]string{c.Nonce, c.count(), c.CNonce, c.QOP} {
		b = append(b, ':')
		b = append(b, s...)
	}
	b = append(b, ':')
	last := &g.a2[n]
	if last.method == method && last.uri == c.URI {
		b = append(b, last.hash[:last.size]...)
		return equalHex(hash(n, &want, b), c.Response)
	}
	now := makeA2(n, method, c.URI)
	b = append(b, now.hash[:now.size]...)
	if !equalHex(hash(n, &want, b), c.Response) {
		return false
	}
	now.method, now.uri = strings.Clone(method), strings.Clone(c.URI)
	*last = now
	return true
}

// a2 is H(method:uri) of the last good answer, in hexadecimal: phones all ask for the same domain.
type a2 struct {
	method, uri string
	hash        [2 * sha256.Size]byte
	size        int
}

func makeA2(n int, method, uri string) (a a2) {
	var sum [sha256.Size]byte
	var stack [256]byte
	b := append(append(append(stack[:0], method...), ':'), uri...)
	a.size = hex.Encode(a.hash[:], hash(n, &sum, b))
	return a
}

// hash is H(b) by algorithm n, in to.
func hash(n int, to *[sha256.Size]byte, b []byte) []byte {
	if n == 0 {
		sum := md5.Sum(b)
		return to[:copy(to[:], sum[:])]
	}
	*to = sha256.Sum256(b)
	return to[:]
}

// equalHex compares in constant time.
func equalHex(want []byte, text string) bool {
	if len(text) != 2*len(want) {
		return false
	}
	var got [sha256.Size]byte
	var stack [2 * sha256.Size]byte
	copy(stack[:], text)
	if _, err := hex.Decode(got[:], stack[:len(text)]); err != nil {
		return false
	}
	return subtle.ConstantTimeCompare(want, got[:len(want)]) == 1
}
