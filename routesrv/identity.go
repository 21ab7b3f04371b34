package routesrv

import (
	"context"
	"strings"
	"time"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// name is a remembered answer to Identify: nobody when user is empty.
type name struct {
	user  roam.UserID
	home  roam.OfficeID
	many  bool // a bare extension of several users
	until time.Time
}

func (n name) answer() (roam.UserID, roam.OfficeID, error) {
	switch {
	case n.many:
		return "", "", roam.Ambiguous
	case n.user == "":
		return "", "", roam.NoSuchUser
	}
	return n.user, n.home, nil
}

// Identify says whose a number or AOR is and where home is. A bare extension is found
// when exactly one user has it (else roam.Ambiguous); nobody is roam.NoSuchUser.
func (s *Store) Identify(a sip.AOR, done func(roam.UserID, roam.OfficeID, error)) {
	key := string(a)
	n, known := s.names.get(key)
	switch {
	case strings.ContainsAny(key, "{}"): // no key of ours
		s.loop.Later(func() { done("", "", roam.NoSuchUser) })
		return
	case known && s.loop.Now().Before(n.until), known && n.user != "" && !s.Up():
		s.loop.Later(func() { done(n.answer()) })
		return
	case !s.Up():
		s.loop.Later(func() { done("", "", roam.StoreAway) })
		return
	}
	waiting, asked := s.naming[key]
	s.naming[key] = append(waiting, func(n name, err error) {
		if err != nil {
			done("", "", err)
			return
		}
		done(n.answer())
	})
	if asked {
		return
	}
	loop.Ask(s.loop, patience, func(ctx context.Context) (name, error) {
		if short(key) {
			got, err := s.client.HGetAll(ctx, extKey(key)).Result()
			return among(got), err
		}
		got, err := s.client.HGetAll(ctx, idKey(key)).Result()
		return name{user: roam.UserID(got["user"]), home: roam.OfficeID(got["home"])}, err
	}, func(n name, err error) { s.named(key, n, err) })
}

// short says that key is a bare extension: neither a global number nor user@domain.
func short(key string) bool { return !strings.HasPrefix(key, "+") && !strings.Contains(key, "@") }

// among is who has a bare extension.
func among(users map[string]string) (n name) {
	for user, home := range users {
		n = name{user: roam.UserID(user), home: roam.OfficeID(home), many: len(users) > 1}
	}
	return n
}

// named is the end of a question for a name.
func (s *Store) named(key string, n name, err error) {
	waiting := s.naming[key]
	delete(s.naming, key)
	if old, known := s.names.get(key); err != nil && known && old.user != "" {
		n, err = old, nil
	} else if err != nil {
		err = s.refuse(err)
	} else {
		n.until = s.loop.Now().Add(nobodyFor)
		if n.user != "" && !n.many {
			n.until = s.loop.Now().Add(knownFor)
		}
		s.names.put(key, n)
	}
	for _, done := range waiting {
		done(n, err)
	}
}

// claim is a name of one user; a bare extension may have several.
type claim struct {
	name string
	user roam.UserID
}

// Publish makes ids known in roam:id and withdraws those of gone. It is repeated until
// done, and all is written again when R may have lost it. A name that is neither "+number" nor
// "user@domain" is a bare extension and goes into roam:ext, which holds everybody who has it.
func (s *Store) Publish(ids, gone []roam.Identity) {
	for _, id := range gone {
		c := claim{id.Name, id.User}
		delete(s.ours, c)
		delete(s.publish, c)
		s.gone[c] = id
	}
	for _, id := range ids {
		c := claim{id.Name, id.User}
		delete(s.gone, c)
		s.ours[c], s.publish[c] = id, id
	}
	s.published.Store(false)
	signal(s.work)
}

// Published says that R has every name that Publish was given.
func (s *Store) Published() bool { return s.Up() && s.published.Load() }

// Known is what helps a start without R: identities and offices, as last heard.
type Known struct {
	Identities []roam.Identity `json:"identities"`
	Peers      []roam.Peer     `json:"peers"`
}

// Known is what R was last heard to hold, for the office's file. On the loop.
func (s *Store) Known() (k Known) {
	s.names.each(func(key string, n name) {
		if n.user != "" && !n.many {
			k.Identities = append(k.Identities, roam.Identity{Name: key, User: n.user, Home: n.home})
		}
	})
	s.offices.each(func(_ roam.OfficeID, o *office) { k.Peers = append(k.Peers, s.peer(o)) })
	return k
}

// Remember has Identify and Peer answer from k until R answers. On the loop, or before it runs.
func (s *Store) Remember(k Known) {
	for _, id := range k.Identities {
		s.names.put(id.Name, name{user: id.User, home: id.Home})
	}
	for _, p := range k.Peers {
		s.offices.put(p.Office, &office{id: p.Office, domains: p.Domains, registrar: p.Registrar, switches: []softswitch{{uri: p.Switch}}})
	}
}
