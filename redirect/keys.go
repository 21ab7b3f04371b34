package redirect

import (
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/seal"
)

// Where the routing store is not trusted a location counts when the user's home has signed it. An office learns the keys of
// its partners from their cards, over TLS; here they are in a file, a line for each office, as `siproam key` prints it.

// ReadKeys reads such a file: an office, its domains, its public key (base64url); "#" begins a comment.
func ReadKeys(path string) (keys []roam.OfficeKey, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 3 {
			return nil, fmt.Errorf("%s:%d: want an office, its domains with commas, and its key", path, n)
		}
		public, err := base64.RawURLEncoding.DecodeString(words[2])
		if err != nil || len(public) != 32 {
			return nil, fmt.Errorf("%s:%d: %q is no key of Ed25519", path, n, words[2])
		}
		keys = append(keys, roam.OfficeKey{Office: roam.OfficeID(words[0]), Domains: strings.Split(strings.ToLower(words[1]), ","), Public: public})
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: no keys", path)
	}
	return keys, nil
}

// homes is whose key may sign where user is.
func (s *Server) homes(user roam.UserID) (all []roam.OfficeKey) {
	_, domain, _ := strings.Cut(string(user), "@")
	for _, k := range s.cfg.Keys {
		if slices.Contains(k.Domains, strings.ToLower(domain)) {
			all = append(all, k)
		}
	}
	return all
}

// trusts says that a home of user's domain has said that he is there.
func (s *Server) trusts(user roam.UserID, at roam.Location, done func(bool)) {
	about := at.Attested(user)
	done(slices.ContainsFunc(s.homes(user), func(k roam.OfficeKey) bool { return seal.Attested(k.Public, roam.LocationSeal, about, at.Sig) }))
}

// home is where to ask for a user of whom the store holds nothing that home has signed; zero when that is not one office.
func (s *Server) home(user roam.UserID, done func(roam.Location)) {
	homes := s.homes(user)
	if len(homes) != 1 {
		done(roam.Location{})
		return
	}
	s.routes.Peer(homes[0].Office, func(p roam.Peer, err error) {
		if err != nil || p.Switch == "" {
			done(roam.Location{})
			return
		}
		done(roam.Location{Office: p.Office, Switch: p.Switch, Suspect: !p.Alive})
	})
}
