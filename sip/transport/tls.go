package transport

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/siproam/siproam/sip"
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
// of the URI). Without PartnerTLS the system's authorities vouch for it. Package tls knows
// neither SIP identities in URIs nor that wildcards are none, so the check is ours.
func (t *Transport) dialTLS(name string) *tls.Config {
	c := &tls.Config{}
	if p := t.cfg.PartnerTLS; p != nil {
		c = p.Clone()
		if c.RootCAs == nil {
			c.RootCAs = c.ClientCAs
		}
	}
	unchecked := c.InsecureSkipVerify
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.ServerName = name
	c.InsecureSkipVerify = true // VerifyConnection is called all the same, after a resumption too
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if unchecked {
			return errors.New("certificates must be checked")
		}
		return checked(s.PeerCertificates, c.RootCAs, name)
	}
	return c
}

// checked verifies the other end's certificates: roots vouch for them, and they have name.
func checked(certs []*x509.Certificate, roots *x509.CertPool, name string) error {
	if len(certs) == 0 {
		return errors.New("no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	if _, err := certs[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil { // of a server
		return err
	}
	if names := identities(certs[0]); !slices.Contains(names, identity(name)) {
		return fmt.Errorf("certificate has the names %q, want %q", names, name)
	}
	return nil
}

// identities is whom a certificate is of (RFC 5922 7.1): the hosts of its sip: URIs without a user, its DNS
// names and, where a hop is known by nothing else, its addresses. The common name counts only where there
// is no alternative name of any kind. A wildcard is nobody's name (7.2).
func identities(cert *x509.Certificate) (names []string) {
	add := func(n string) {
		if n = identity(n); n != "" && !strings.Contains(n, "*") && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for _, u := range cert.URIs {
		if id, err := sip.ParseURI([]byte(u.String())); err == nil && id.Scheme == "sip" && id.User == "" && !strings.Contains(u.String(), "@") {
			add(id.Host)
		}
	}
	for _, n := range cert.DNSNames {
		add(n)
	}
	for _, ip := range cert.IPAddresses {
		add(ip.String())
	}
	if !slices.ContainsFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(alternativeNames) }) {
		if u, err := sip.ParseURI([]byte("sip:" + cert.Subject.CommonName)); err == nil && u == (sip.URI{Scheme: "sip", Host: u.Host}) { // a host name
			add(u.Host)
		}
	}
	return names
}

// alternativeNames is subjectAltName (RFC 5280 4.2.1.6).
var alternativeNames = asn1.ObjectIdentifier{2, 5, 29, 17}

// identity is a name as it is compared: in full, in small letters, without the root's dot (RFC 5922 7.2).
func identity(name string) string {
	if ip, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return ip.String()
	}
	return strings.TrimSuffix(strings.ToLower(name), ".")
}

// provenNames is the names of the other end's certificate; none when nobody vouched for it.
func provenNames(s tls.ConnectionState, dialled bool) []string {
	if len(s.PeerCertificates) == 0 || !dialled && len(s.VerifiedChains) == 0 { // dialTLS has checked the dialled ones
		return nil
	}
	return identities(s.PeerCertificates[0])
}
