package provision

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
)

// The secret in a URL.
const (
	secretMin = 16
	secretMax = 64
)

// again is how long after the first fetch of a phone it may go on as if it were the first, from the same address: phones
// ask for several files, and ask again when the answer was lost.
const again = 2 * time.Minute

// mostStrange bounds the phones that are nobody's and are remembered.
const mostStrange = 256

// Seen is a phone that is nobody's and has asked.
type Seen struct {
	Vendor, Agent string
	Addr          netip.Addr
	At            time.Time
	Why           string // it was refused; "": it got what such phones get
}

// isSecret says that word can be the secret in a URL.
func isSecret(word string) bool {
	return len(word) >= secretMin && len(word) <= secretMax &&
		strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

// refusal is why a phone gets nothing. why is a word of a closed set, for the log and for counting.
type refusal struct {
	code int
	why  string
}

func (r *refusal) Error() string { return r.why }

// asked is one request, taken apart.
type asked struct {
	word   string // that may be the secret; "": none
	name   string // of the file
	source netip.Addr
	here   netip.Addr // that it came to
	agent  string
	login  string // Basic
	key    string
	cert   *x509.Certificate // that the phone has shown; not checked yet
	chain  []*x509.Certificate
	head   bool
	method string
}

// apart reads r. Paths are /NAME or /SECRET/NAME, with slashes doubled as phones do it; anything else is no file of ours.
func apart(r *http.Request) (a asked, no *refusal) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return a, &refusal{http.StatusBadRequest, "request"}
	}
	a.source = peer.Addr().Unmap()
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(interface{ String() string }); ok {
		if at, err := netip.ParseAddrPort(local.String()); err == nil {
			a.here = at.Addr().Unmap()
		}
	}
	a.agent = clean(r.UserAgent())
	a.login, a.key, _ = r.BasicAuth()
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		a.cert, a.chain = r.TLS.PeerCertificates[0], r.TLS.PeerCertificates[1:]
	}
	a.method, a.head = r.Method, r.Method == http.MethodHead
	if r.Method != http.MethodGet && !a.head {
		return a, &refusal{http.StatusMethodNotAllowed, "method"}
	}
	var parts []string
	for _, p := range strings.Split(r.URL.Path, "/") {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if r.URL.RawPath != "" || len(r.URL.Path) > textMax || len(parts) == 0 || len(parts) > 2 {
		return a, &refusal{http.StatusNotFound, "path"}
	}
	if len(parts) == 2 {
		if a.word = parts[0]; !isSecret(a.word) {
			return a, &refusal{http.StatusNotFound, "path"}
		}
	}
	if a.name = parts[len(parts)-1]; len(a.name) > 96 {
		return a, &refusal{http.StatusNotFound, "path"}
	}
	return a, nil
}

// clean is what a phone calls itself, for logs and lists: printable ASCII, at most textMax.
func clean(agent string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, agent[:min(len(agent), textMax)])
}

// grant is what a phone gets.
type grant struct {
	file   *file
	mac    MAC
	has    bool // mac is known
	record record
	mine   bool // the phone is somebody's
	first  bool // this is its first fetch
}

// admit decides. lease is that of the address that asks.
func (s *Server) admit(ctx context.Context, a *asked) (g grant, no *refusal) {
	s.mu.Lock()
	cfg, set := s.cfg, s.set
	s.mu.Unlock()
	found, m, has := set.find(a.name)
	if len(found) == 0 {
		return g, &refusal{http.StatusNotFound, "file"}
	}
	g.mac, g.has = m, has
	if no := s.leased(ctx, &cfg, a, &g); no != nil {
		return g, no
	}
	if !g.has { // a file for all phones of a vendor: who asks is as good as what it calls itself
		g.mac, g.has = macIn(a.agent)
	}
	g.record = s.copyOf(g.mac)
	g.mine = g.has && g.record.User != ""
	if g.file = choice(found, g.record.Vendor, a.agent, g.mac); g.file == nil {
		return g, &refusal{http.StatusNotFound, "vendor"}
	}
	if g.file.own && !g.mac.single() {
		return g, &refusal{http.StatusNotFound, "file"}
	}
	if !g.mine {
		return g, s.stranger(&cfg, a, &g)
	}
	return g, s.known(&cfg, a, &g)
}

// leased holds the address that asks against its lease, which says what MAC is there.
func (s *Server) leased(ctx context.Context, cfg *Config, a *asked, g *grant) *refusal {
	if cfg.Leases == Ignored {
		return nil
	}
	var lease roam.Lease
	var found bool
	if s.leases != nil {
		var err error
		if lease, found, err = s.leases.At(ctx, a.source); err != nil {
			return &refusal{http.StatusServiceUnavailable, "busy"}
		}
	}
	is, ok := ParseMAC(lease.MAC)
	switch {
	case !found || !ok:
		return &refusal{http.StatusNotFound, "lease"}
	case g.has && is != g.mac:
		return &refusal{http.StatusNotFound, "another"} // it asks for another phone's settings
	}
	g.mac, g.has = is, true
	return nil
}

// choice is the template of those that answer to one name: by what the operator has said of the phone, else what it calls
// itself, else whose block its MAC is of.
func choice(found []*file, vendor, agent string, m MAC) *file {
	for _, is := range []string{vendor, vendorOf(agent), m.maker()} {
		for _, f := range found {
			if is != "" && f.vendor == is {
				return f
			}
		}
	}
	if len(found) == 1 && vendor == "" {
		return found[0]
	}
	return nil
}

// stranger is the policy for a phone that is nobody's.
func (s *Server) stranger(cfg *Config, a *asked, g *grant) *refusal {
	no := s.strangerBy(cfg, a, g)
	why := ""
	if no != nil {
		why = no.why
	}
	if g.file.own {
		s.remember(a, g, why)
	}
	return no
}

func (s *Server) strangerBy(cfg *Config, a *asked, g *grant) *refusal {
	switch {
	case cfg.Unknown == Refuse && g.file.own:
		return &refusal{http.StatusNotFound, "unknown"}
	case cfg.Unknown == Only && g.file.whole:
		return &refusal{http.StatusNotFound, "whole"} // it would lose the account it has
	case cfg.First == BySecret && !s.secretFits(a.word, g):
		return &refusal{http.StatusNotFound, "secret"}
	case cfg.First == ByCertificate && !s.certified(a, g):
		return &refusal{http.StatusForbidden, "certificate"}
	}
	return nil
}

// known is who may have the settings of a phone that is somebody's.
func (s *Server) known(cfg *Config, a *asked, g *grant) *refusal {
	r := &g.record
	if a.login != "" && same(a.login, Login(g.mac)) && same(a.key, derive(s.secret, forHTTP, g.mac, r.Generation)) || s.certified(a, g) {
		return nil
	}
	now := s.now()
	fresh := r.First.IsZero()
	if !fresh && (r.Addr != a.source || now.Sub(r.First) > again) {
		if a.login != "" {
			return &refusal{http.StatusUnauthorized, "credential"}
		}
		return &refusal{http.StatusUnauthorized, "again"}
	}
	switch {
	case cfg.First == BySecret && !s.secretFits(a.word, g):
		return &refusal{http.StatusUnauthorized, "secret"}
	case cfg.First == ByCertificate:
		return &refusal{http.StatusForbidden, "certificate"}
	}
	g.first = fresh && g.file.own && !a.head
	return nil
}

// secretFits says that word is the secret of the phone, or the one for all.
func (s *Server) secretFits(word string, g *grant) bool {
	s.mu.Lock()
	shared := s.shared
	s.mu.Unlock()
	return same(word, shared) || g.has && same(word, derive(s.secret, forURL, g.mac, g.record.Generation))
}

// certified says that the phone has shown a certificate that we trust, and in whose name its MAC stands.
func (s *Server) certified(a *asked, g *grant) bool {
	s.mu.Lock()
	roots := s.roots
	s.mu.Unlock()
	if a.cert == nil || roots == nil || !g.has {
		return false
	}
	if m, found := macIn(a.cert.Subject.CommonName); !found || m != g.mac {
		return false
	}
	between := x509.NewCertPool()
	for _, c := range a.chain[:min(len(a.chain), 4)] {
		between.AddCert(c)
	}
	_, err := a.cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: s.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err == nil
}

// remember notes a phone that is nobody's; the oldest gives way.
func (s *Server) remember(a *asked, g *grant, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.strange[g.mac]; !there && len(s.strange) >= mostStrange {
		var oldest MAC
		var at time.Time
		for m, is := range s.strange {
			if at.IsZero() || is.At.Before(at) {
				oldest, at = m, is.At
			}
		}
		delete(s.strange, oldest)
	}
	s.strange[g.mac] = Seen{Vendor: g.file.vendor, Agent: a.agent, Addr: a.source, At: s.now().UTC(), Why: why}
}
