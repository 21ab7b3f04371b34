package transport

import (
	"crypto/tls"
	"errors"
	"strings"
)

// phoneTLS is c for the phone listener. Phones show no certificate: they have digest.
func phoneTLS(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	return c
}

// partnerServerTLS is c for the partner listener: whoever has no certificate of our
// authority does not get in.
func partnerServerTLS(c *tls.Config) (*tls.Config, error) {
	if c == nil {
		return nil, errors.New("no certificate for partners")
	}
	c = phoneTLS(c)
	if c.ClientCAs == nil {
		c.ClientCAs = c.RootCAs
	}
	if c.ClientCAs == nil && c.GetConfigForClient == nil {
		return nil, errors.New("no certificate authority for partners")
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	return c, nil
}

// dialTLS is how to dial a hop whose certificate must have name (RFC 5922 7.3: the host
// of the URI). Without PartnerTLS the system's authorities vouch for it.
func (t *Transport) dialTLS(name string) *tls.Config {
	c := &tls.Config{}
	if p := t.cfg.PartnerTLS; p != nil {
		c = p.Clone()
		if c.RootCAs == nil {
			c.RootCAs = c.ClientCAs
		}
	}
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.ServerName = name
	return c
}

// verifiedNames is the names of the other end's certificate; none when it was not verified.
func verifiedNames(s tls.ConnectionState) (names []string) {
	if len(s.VerifiedChains) == 0 {
		return nil
	}
	leaf := s.VerifiedChains[0][0]
	for _, n := range leaf.DNSNames {
		names = append(names, strings.ToLower(n))
	}
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}
