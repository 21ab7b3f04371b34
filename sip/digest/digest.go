// Package digest challenges and checks (RFC 7616, 8760, 3261 22). It never sees a password.
//
// Nonces verify themselves: they are stamped with a key of this run, so nothing is
// remembered per challenge, and after a restart every nonce is stale. A nonce is
// bound to its realm and to the office the phone visits; each is another one.
//
// Of qop only auth is taken. An answer without qop (RFC 2069) carries no nonce count
// and can be replayed for as long as its nonce lives; it is Bad.
package digest

import (
	"crypto/sha256"
	"strings"
	"time"

	"github.com/siproam/siproam/seal"
	"github.com/siproam/siproam/sip"
)

// Algorithms names what a domain or user is challenged with.
type Algorithms []string // "md5", "sha-256"; both: sha-256 first; none: md5

// Guard makes nonces and checks answers. Nonces verify themselves, are bound to the
// realm and the visited office, and go stale after Lifetime or a restart. It is
// used on the loop only.
type Guard struct {
	Key      *seal.Stamps
	Lifetime time.Duration // of a nonce; 0: 5 minutes

	last  uint64 // stamp of the newest nonce
	bound bound  // the binding asked for last: nearly always the one asked for next
	a2    [len(algorithms)]a2
}

const (
	nonceKind       = 'n'
	defaultLifetime = 5 * time.Minute
)

// Challenge gives the header fields of a 401 (proxy false) or 407, one per algorithm, all with the
// same nonce. visited is "" at home. The strongest comes first (RFC 8760 2.4), since a phone takes the
// first it knows.
func (g *Guard) Challenge(now time.Time, realm, visited string, a Algorithms, stale, proxy bool) []sip.Field {
	name := sip.WWWAuthenticate
	if proxy {
		name = sip.ProxyAuthenticate
	}
	var nonce [seal.StampLen]byte
	g.nonce(nonce[:0], now, realm, visited)
	fields := make([]sip.Field, 0, len(algorithms))
	for n := len(algorithms) - 1; n >= 0; n-- {
		if a.has(algorithms[n].config) || len(a) == 0 && n == 0 {
			fields = append(fields, sip.Field{Name: name, Value: challenge(realm, nonce[:], algorithms[n].wire, stale)})
		}
	}
	return fields
}

func (a Algorithms) has(name string) bool {
	for _, s := range a {
		if s == name {
			return true
		}
	}
	return false
}

func challenge(realm string, nonce []byte, algorithm string, stale bool) string {
	var room [256]byte
	b := sip.AppendQuoted(append(room[:0], "Digest realm="...), realm)
	b = append(append(b, `, nonce="`...), nonce...)
	b = append(append(b, `", algorithm=`...), algorithm...)
	b = append(b, `, qop="auth"`...)
	if stale {
		b = append(b, ", stale=true"...)
	}
	return string(b)
}

// nonce appends one. Its stamp is when it was made, in ns. Stamps grow, so no two nonces are alike and the
// newer of two is known.
func (g *Guard) nonce(dst []byte, now time.Time, realm, visited string) []byte {
	g.last = max(g.last+1, uint64(now.UnixNano()))
	return g.Key.Append(dst, nonceKind, g.last, g.binding(realm, visited))
}

// stamp is that of a living nonce of ours for realm and visited; ours is false for any other.
func (g *Guard) stamp(now time.Time, realm, visited, nonce string) (stamp uint64, ours bool) {
	stamp, ours = g.Key.Open(nonceKind, nonce, g.binding(realm, visited))
	lifetime := g.Lifetime
	if lifetime == 0 {
		lifetime = defaultLifetime
	}
	return stamp, ours && now.UnixNano() <= int64(stamp)+int64(lifetime)
}

// bound is what a nonce is bound to, and the sum that stands for it.
type bound struct {
	realm, visited string
	sum            [8]byte
}

func (g *Guard) binding(realm, visited string) []byte {
	if b := &g.bound; b.realm != realm || b.visited != visited || b.realm == "" {
		*b = bound{strings.Clone(realm), strings.Clone(visited), binding(realm, visited)}
	}
	return g.bound.sum[:]
}

func binding(realm, visited string) [8]byte {
	var stack [128]byte
	b := append(stack[:0], realm...)
	b = append(b, 0)
	b = append(b, visited...)
	sum := sha256.Sum256(b)
	return [8]byte(sum[:8])
}
