package registrar

import (
	"strings"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/digest"
)

// claim is an answer to our challenge, to be checked.
type claim struct {
	user   *subscriber // nil: nobody; checked against Dummy, so that it costs the same
	name   string      // for the log
	value  []byte      // of Authorization or Proxy-Authorization; nil when absent
	method string
	at     digest.Place       // where the phone is challenged
	asked  []byte             // the Request-URI, which the digest's uri repeats
	target func(sip.URI) bool // what else it may name; nil: us, or the host that was asked
	proxy  bool               // challenge with 407
	device roam.Device        // in another office
}

// placeOf is where a phone at the other end of f is challenged by us.
func placeOf(f *sip.Flow) digest.Place { return digest.Place{Source: f.Remote.Addr().As16()} }

// authenticate checks l (RFC 3261 22). again says that it is a repetition, with which nothing
// may be changed. The error is a challenge, or a 400.
func (s *Server) authenticate(f *sip.Flow, l claim) (again bool, err error) {
	if l.value == nil {
		return false, s.challenge(l, false)
	}
	c, ok, err := digest.Parse(l.value)
	if err != nil {
		return false, err
	}
	if !ok || c.Realm != s.domain() {
		return false, s.challenge(l, false)
	}
	ha1, known := digest.Dummy, false
	var w *digest.Windows
	var by *login
	if l.user != nil {
		if by = l.user.login(c.Username); by != nil {
			ha1, known = by.ha1(), true
		}
		w = &l.user.nonces
	}
	if c.URI != string(l.asked) && !s.targeted(f, &l, c.URI) {
		ha1, known = digest.Dummy, false
	}
	res := s.guard.Check(s.loop.Now(), l.method, l.at, &c, allowed(ha1, s.algorithms(l.user)), w)
	switch {
	case !known || res == digest.Bad:
		s.failed("credentials", l.name, f)
		return false, s.challenge(l, false)
	case res == digest.Old:
		s.failures.Add(1, "stale")
		return false, s.challenge(l, true)
	}
	if l.user.Disabled {
		s.failed("disabled", l.name, f)
		return false, roam.NotAllowed
	}
	if by.phone && l.method == "REGISTER" {
		s.sighted(f, &l, by.name)
	}
	return res == digest.Again, nil
}

// targeted says that the digest's uri, which is not what was asked to the letter, means the same.
func (s *Server) targeted(f *sip.Flow, l *claim, uri string) bool {
	u, err := sip.ParseURI([]byte(uri))
	if err != nil {
		return false
	}
	if l.target != nil {
		return l.target(u)
	}
	asked, err := sip.ParseURI(l.asked)
	return s.ours(u.Host, f) || err == nil && asked.Host == u.Host
}

// algorithms is what u is challenged with: by its account, else as the domain has it.
func (s *Server) algorithms(u *subscriber) digest.Algorithms {
	if u != nil && len(u.Algorithms) > 0 {
		return u.Algorithms
	}
	return s.cfg.Algorithms
}

// allowed leaves of h what we challenge with: an answer by another algorithm is a downgrade.
func allowed(h digest.HA1, by digest.Algorithms) digest.HA1 {
	if len(by) == 0 {
		h[1] = nil
		return h
	}
	md5, sha := false, false
	for _, a := range by {
		md5, sha = md5 || a == "md5", sha || a == "sha-256"
	}
	if !md5 {
		h[0] = nil
	}
	if !sha {
		h[1] = nil
	}
	return h
}

// challenge is the 401 or 407.
func (s *Server) challenge(l claim, stale bool) error {
	fields := s.guard.Challenge(s.loop.Now(), s.domain(), l.at, s.algorithms(l.user), stale, l.proxy)
	code := 401
	if l.proxy {
		code = 407
	}
	return &sip.Refused{Why: roam.BadCredentials, Code: code, Fields: fields}
}

// credentials is the first Digest answer in n, nil when there is none. With several, that for our realm.
func (s *Server) credentials(req *sip.Message, n sip.Name) (value []byte) {
	for v := range req.Values(n) {
		if value == nil || strings.Contains(string(v), `"`+s.domain()+`"`) {
			value = v
		}
	}
	return value
}
