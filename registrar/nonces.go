package registrar

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/digest"
)

// challengeDoc is what home tells a visited office with its 200, so that the phone's next request need not be sent home to be
// challenged: how long the nonce that was used can be used again, and the next challenge, which is for this phone's address and the
// visited office alone. Nothing in it is a secret; only home can check an answer.
type challengeDoc struct {
	Used int64    `json:"used_s,omitempty"` // seconds
	Next []string `json:"next"`             // WWW-Authenticate
	For  int64    `json:"for_s"`            // seconds
}

// next is the challenge that goes with home's 200 to the claim l, of which used is the nonce.
func (s *Server) next(l *claim, used string) *challengeDoc {
	now := s.loop.Now()
	d := &challengeDoc{Used: int64(s.guard.Left(now, s.domain(), l.at, used) / time.Second), For: int64(s.guard.Away / time.Second)}
	for _, f := range s.guard.Challenge(now, s.domain(), l.at, s.algorithms(l.user), false, false) {
		d.Next = append(d.Next, f.Value)
	}
	return d
}

// nonces is what a visited office knows of the nonces of one device. Each nonce is handed out until it has been used: a phone
// counts its uses from one each time it is challenged.
type nonces struct {
	source netip.Addr // of the phone for which they are
	used   nonce      // of the phone's last good answer
	given  nonce      // of home's last challenge, which went to the phone as it was
	next   nonce
	values []string // of next's challenge
}

type nonce struct {
	text  string
	until time.Time
}

func (n *nonce) is(now time.Time, text string) bool { return text == n.text && n.living(now) }
func (n *nonce) living(now time.Time) bool          { return n.text != "" && now.Before(n.until) }

// nonceMargin is how long before its end a nonce is not used any more: home's clock has gone on meanwhile.
const nonceMargin = 5 * time.Second

// take keeps what home said with its 200 to an answer with the nonce used, of a phone at source.
func (n *nonces) take(now time.Time, source netip.Addr, used string, d *challengeDoc) {
	*n = nonces{source: source}
	if d.fit() {
		n.used = nonce{used, now.Add(time.Duration(d.Used)*time.Second - nonceMargin)}
		n.more(now, source, d)
	}
}

// fit says that there is a challenge in d that can go to a phone.
func (d *challengeDoc) fit() bool {
	return d != nil && len(d.Next) > 0 && len(d.Next) <= 4 && !slices.ContainsFunc(d.Next, unfit)
}

// passed notes a challenge of home's that went to the phone. With stale set, home takes none of the others any more.
func (n *nonces) passed(now time.Time, source netip.Addr, res *sip.Message) {
	value := string(res.Value(sip.WWWAuthenticate))
	if n.source != source || strings.Contains(value, "stale=true") {
		*n = nonces{source: source}
	}
	n.given = nonce{nonceIn(value), now.Add(time.Minute)}
}

// lend gives the next challenge away for a call, nil when there is none. The next REGISTER gets another.
func (n *nonces) lend(now time.Time, source netip.Addr) (values []string) {
	if n.source != source || !n.next.living(now) {
		return nil
	}
	values = n.values
	n.given, n.next, n.values = n.next, nonce{}, nil
	return values
}

// more keeps the challenge of home's 200 to a call's answer.
func (n *nonces) more(now time.Time, source netip.Addr, d *challengeDoc) {
	if n.source == source && d.fit() {
		n.next, n.values = nonce{nonceIn(d.Next[0]), now.Add(time.Duration(d.For)*time.Second - nonceMargin)}, d.Next
	}
}

// takes says that home will take an answer with the nonce text, as far as we know.
func (n *nonces) takes(now time.Time, source netip.Addr, text string) bool {
	return text != "" && n.source == source && (n.used.is(now, text) || n.next.is(now, text) || n.given.is(now, text))
}

// challenge is home's next challenge, stale when the phone has answered an older one; nil when there is none.
func (n *nonces) challenge(now time.Time, source netip.Addr, stale bool) error {
	if n.source != source || !n.next.living(now) {
		return nil
	}
	r := &sip.Refused{Why: roam.BadCredentials, Code: 401}
	for _, v := range n.values {
		if stale {
			v += ", stale=true"
		}
		r.Fields = append(r.Fields, sip.Field{Name: sip.WWWAuthenticate, Value: v})
	}
	return r
}

// unfit says that a challenge from a body cannot go into a header field.
func unfit(challenge string) bool {
	return !strings.HasPrefix(challenge, "Digest ") || len(challenge) > 500 || strings.ContainsFunc(challenge, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// nonceIn is the nonce of a challenge, "" for none.
func nonceIn(challenge string) string {
	_, rest, _ := strings.Cut(challenge, ` nonce="`)
	text, _, _ := strings.Cut(rest, `"`)
	return text
}

// nonceOf is the nonce of a phone's answer, "" for none.
func nonceOf(value []byte) string {
	c, ok, err := digest.Parse(value)
	if err != nil || !ok {
		return ""
	}
	return strings.Clone(c.Nonce)
}
