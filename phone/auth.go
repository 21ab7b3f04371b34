package phone

import (
	"strings"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// credentials answers challenges (RFC 7616), and goes on answering with the last one.
type credentials struct {
	login, password string
	challenge       *digest.Challenge
	header          string // Authorization or Proxy-Authorization
	count           int    // nc
}

// retry takes the challenge of a 401 or 407: the first whose algorithm we know (RFC 8760 2.4). It is worth
// another try when it is the first to a request, or says that only the nonce was stale.
func (c *credentials) retry(res *sip.Response, tries int) bool {
	from, header := "WWW-Authenticate", "Authorization"
	switch res.StatusCode {
	case sip.StatusUnauthorized:
	case sip.StatusProxyAuthRequired:
		from, header = "Proxy-Authenticate", "Proxy-Authorization"
	default:
		return false
	}
	for _, h := range res.GetHeaders(from) {
		challenge, err := digest.ParseChallenge(h.Value())
		if err != nil {
			continue
		}
		for i, q := range challenge.QOP {
			challenge.QOP[i] = strings.TrimSpace(q)
		}
		if digest.CanDigest(challenge) {
			c.challenge, c.header, c.count = challenge, header, 0
			return tries == 0 || challenge.Stale
		}
	}
	return false
}

// apply puts our answer to the challenge in hand into req, in place of an older one.
func (c *credentials) apply(req *sip.Request) error {
	if c.challenge == nil {
		return nil
	}
	c.count++
	answer, err := digest.Digest(c.challenge, digest.Options{
		Method: string(req.Method), URI: req.Recipient.String(),
		Username: c.login, Password: c.password, Count: c.count,
	})
	if err != nil {
		return err
	}
	req.RemoveHeader(c.header)
	req.AppendHeader(sip.NewHeader(c.header, answer.String()))
	return nil
}
