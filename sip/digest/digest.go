// Package digest challenges and checks (RFC 7616, 8760, 3261 22). It never sees a password.
//
// Nonces verify themselves: they are stamped with a key of this run, so nothing is
// remembered per challenge, and after a restart every nonce is stale. A nonce is
// bound to its realm, to the office the phone visits and to the address it came from: an
// answer that somebody has seen on the wire is no good to him anywhere else.
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

// Place is where a phone was challenged, and where alone the nonce is good.
type Place struct {
	Visited string   // the office it visits; "": at home
	Source  [16]byte // its address, without the port, which a NAT may change; away, what the visited office calls that
}

// Guard makes nonces and checks answers. Nonces verify themselves, are bound to the
// realm and the phone's Place, and go stale after Lifetime or a restart. It is
// used on the loop only.
type Guard struct {
	Key      *seal.Stamps
	Lifetime time.Duration // of a nonce; 0: 5 minutes
	Away     time.Duration // of one for a phone at another office, which may hand it out later; 0: as Lifetime

	last  uint64 // stamp of the newest nonce
	bound bound  // realm and office asked for last: nearly always those asked for next
	a2    [len(algorithms)]a2
}

const (
	nonceKind       = 'n'
	defaultLifetime = 5 * time.Minute
)

// Challenge gives the header fields of a 401 (proxy false) or 407, one per algorithm, all with the
// same nonce. The strongest comes first (RFC 8760 2.4), since a phone takes the
// first it knows.
func (g *Guard) Challenge(now time.Time, realm string, at Place, a Algorithms, stale, proxy bool) []sip.Field {
	name := sip.WWWAuthenticate
	if proxy {
		name = sip.ProxyAuthenticate
	}
	var nonce [seal.StampLen]byte
	g.nonce(nonce[:0], now, realm, &at)
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
func (g *Guard) nonce(dst []byte, now time.Time, realm string, at *Place) []byte {
	g.last = max(g.last+1, uint64(now.UnixNano()))
	return g.Key.Append(dst, nonceKind, g.last, g.binding(realm, at))
}

// stamp is that of a living nonce of ours for realm and at; ours is false for any other.
func (g *Guard) stamp(now time.Time, realm string, at *Place, nonce string) (stamp uint64, ours bool) {
	stamp, ours = g.Key.Open(nonceKind, nonce, g.binding(realm, at))
	return stamp, ours && now.UnixNano() <= int64(stamp)+int64(g.lives(at))
}

// lives is how long a nonce for at does.
func (g *Guard) lives(at *Place) time.Duration {
	switch {
	case at.Visited != "" && g.Away != 0:
		return g.Away
	case g.Lifetime != 0:
		return g.Lifetime
	}
	return defaultLifetime
}

// Left is for how long a nonce can still be used, 0 for one that is not ours.
func (g *Guard) Left(now time.Time, realm string, at Place, nonce string) time.Duration {
	stamp, ours := g.stamp(now, realm, &at, nonce)
	if !ours {
		return 0
	}
	return time.Duration(int64(stamp) + int64(g.lives(&at)) - now.UnixNano())
}

// bound is the realm and office that nonces are bound to, the sum that stands for them, and room for a source.
type bound struct {
	realm, visited string
	sum            [8 + 16]byte
}

func (g *Guard) binding(realm string, at *Place) []byte {
	b := &g.bound
	if b.realm != realm || b.visited != at.Visited || b.realm == "" {
		b.realm, b.visited = strings.Clone(realm), strings.Clone(at.Visited)
		sum := binding(realm, at.Visited)
		copy(b.sum[:], sum[:])
	}
	copy(b.sum[8:], at.Source[:])
	return b.sum[:]
}

func binding(realm, visited string) [8]byte {
	var stack [128]byte
	b := append(stack[:0], realm...)
	b = append(b, 0)
	b = append(b, visited...)
	sum := sha256.Sum256(b)
	return [8]byte(sum[:8])
}
