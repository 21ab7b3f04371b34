package office

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// partners is who other offices are, by the names in their certificates, and our own certificate, which
// phones see, too. What can change on reload is swapped whole; connections that are up stay up.
type partners struct {
	known atomic.Pointer[map[string]roam.OfficeID]
	cert  atomic.Pointer[tls.Certificate] // nil: nothing here speaks TLS
	roots *x509.CertPool                  // set once; nil: no partner listener
	keys  io.Writer                       // nil, or where SSLKEYLOGFILE has TLS secrets go: it lets captures be read
}

// newPartners reads the files.
func newPartners(cfg Config) (*partners, error) {
	p := &partners{}
	if cfg.PartnerListen != "" {
		pem, err := os.ReadFile(cfg.TLS.PartnerCA)
		if err != nil {
			return nil, fmt.Errorf("tls.partner_ca: %w", err)
		}
		p.roots = x509.NewCertPool()
		if !p.roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.partner_ca: %s: no certificate in it", cfg.TLS.PartnerCA)
		}
	}
	return p, p.reload(cfg)
}

// keyLog has the secrets of TLS written to the file that the environment names, for captures of tests.
func (p *partners) keyLog(log zerolog.Logger) error {
	path := os.Getenv("SSLKEYLOGFILE")
	if path == "" || p.cert.Load() == nil {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("SSLKEYLOGFILE: %w", err)
	}
	p.keys = f // until the process ends, as connections do
	log.Warn().Str("event", "tls.keylog").Str("file", path).Msg("TLS secrets are written down")
	return nil
}

// reload takes our certificate from its files again, and the partners of cfg. On an error nothing changes.
func (p *partners) reload(cfg Config) error {
	if cfg.speaksTLS() {
		cert, err := tls.LoadX509KeyPair(cfg.TLS.Cert, cfg.TLS.Key)
		if err != nil {
			return fmt.Errorf("tls.cert, tls.key: %w", err)
		}
		if time.Now().After(cert.Leaf.NotAfter) {
			return fmt.Errorf("tls.cert: %s: expired on %s", cfg.TLS.Cert, cert.Leaf.NotAfter.Format(time.DateOnly))
		}
		p.cert.Store(&cert)
	}
	known := make(map[string]roam.OfficeID, len(cfg.Partners))
	for _, name := range cfg.siblings() {
		known[name] = cfg.Office
	}
	for _, one := range cfg.Partners {
		if one.Foreign != nil {
			continue
		}
		known[strings.ToLower(one.Certificate)] = one.Office
	}
	p.known.Store(&known)
	return nil
}

// identify names the partner whose certificate f has shown; "" for a stranger. It is
// called once per connection, so a removed partner is one from its next connection on.
func (p *partners) identify(f *sip.Flow) roam.OfficeID {
	known := *p.known.Load()
	for _, name := range f.Names {
		if office := known[strings.ToLower(name)]; office != "" {
			return office
		}
	}
	return ""
}

// tls is mutual TLS for both directions; nil without a partner listener.
func (p *partners) tls() *tls.Config {
	if p.roots == nil {
		return nil
	}
	c := p.phones()
	c.ClientAuth, c.ClientCAs, c.RootCAs = tls.RequireAndVerifyClientCert, p.roots, p.roots
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.cert.Load(), nil }
	return c
}

// phones is TLS for phones, which show no certificate; nil without one of ours. Each connection gets the
// certificate that was read last.
func (p *partners) phones() *tls.Config {
	if p.cert.Load() == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		KeyLogWriter:   p.keys,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.cert.Load(), nil },
	}
}

// expiry is when our certificate ends; zero without one.
func (p *partners) expiry() time.Time {
	if c := p.cert.Load(); c != nil {
		return c.Leaf.NotAfter
	}
	return time.Time{}
}
