package registrar

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/digest"
	"github.com/siproam/siproam/store"
)

// User is an account as people see it. No secret is in it.
type User struct {
	ID       roam.UserID `json:"user"`
	Name     string      `json:"name,omitempty"`
	Number   string      `json:"number,omitempty"`  // E.164
	Short    string      `json:"short,omitempty"`   // extension
	Aliases  []string    `json:"aliases,omitempty"` // "alice@north.example", "+15550001001"
	Disabled bool        `json:"disabled,omitempty"`
	Calls    int         `json:"calls,omitempty"`
	Class    string      `json:"class,omitempty"` // which roaming agreements may name: "guest"

	Algorithms []string `json:"algorithms,omitempty"` // what the user is challenged with: md5, sha-256, or both; none: as the domain
	Abilities  []string `json:"abilities,omitempty"`  // of the user's devices: the transports they may come by, and option tags they have without saying so

	Bar     []string      `json:"bar,omitempty"` // as in roam.Profile
	Allow   []string      `json:"allow,omitempty"`
	Forward *roam.Forward `json:"forward,omitempty"`
}

// Account is what user add, import and passwd give: one of Password and HA1.
type Account struct {
	User
	Password string              // never kept: HA1s are computed for every login name
	HA1      map[string][]string // login name -> hex HA1 (MD5, then SHA-256)
}

// Change is a change of one account: nil leaves it.
type Change struct {
	Password *string
	Disabled *bool
	Name     *string

	Algorithms *[]string         // none: as the domain
	Set        map[string]string // see User.Set
	AddAlias   []string          // refused without Password unless the account keeps HA1 for it: digest covers the login name
	DelAlias   []string
}

// The errors of accounts.
var (
	ErrTaken    = errors.New("name taken")
	ErrName     = errors.New("not a name of this office")
	ErrPassword = errors.New("needs a password or HA1")
	ErrCapacity = errors.New("more accounts than allowed")

	ErrClass     = errors.New("a class is small letters, digits and dashes, at most 32")
	ErrCalls     = errors.New("calls below 0")
	ErrAlgorithm = errors.New("want md5, sha-256 or both")
	ErrAbility   = errors.New("want udp, tcp, tls, ws, wss, or option tags such as outbound")
)

// Add makes users, all or none. Errors name the user. It waits for the disk.
func (s *Server) Add(ctx context.Context, as []Account) error {
	done, err := s.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	docs := make(map[roam.UserID]account, len(as))
	for i := range as {
		doc, err := s.document(&as[i])
		if err != nil {
			return fmt.Errorf("user %s: %w", as[i].ID, err)
		}
		if _, twice := docs[as[i].ID]; twice {
			return fmt.Errorf("user %s: %w", as[i].ID, ErrTaken)
		}
		docs[as[i].ID] = doc
	}
	var made []*subscriber
	if err := s.onLoop(ctx, func() (err error) {
		made, err = s.free(docs)
		return err
	}); err != nil {
		return err
	}
	if err := s.commit(ctx, func(tx store.Tx) error { return putUsers(tx, docs) }); err != nil {
		return err
	}
	return s.onLoop(ctx, func() error {
		var ids []roam.Identity
		for _, u := range made {
			s.enter(u)
			ids = append(ids, s.identities(u)...)
		}
		s.order = nil
		s.router.Publish(ids, nil)
		return nil
	})
}

// free makes subscribers of docs, if all their names are free.
func (s *Server) free(docs map[roam.UserID]account) (made []*subscriber, err error) {
	if most := s.cfg.UserCapacity; most > 0 && len(s.users)+len(docs) > most {
		return nil, ErrCapacity
	}
	taken := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(docs)) {
		u := s.newSubscriber(id, docs[id])
		for _, one := range s.identities(u) {
			if taken[one.Name] || s.named(one.Name) != nil {
				return nil, fmt.Errorf("user %s: %s: %w", id, one.Name, ErrTaken)
			}
			taken[one.Name] = true
		}
		made = append(made, u)
	}
	return made, nil
}

func putUsers(tx store.Tx, docs map[roam.UserID]account) error {
	for id, a := range docs {
		b, err := marshal(a)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(putUser, string(id), b); err != nil {
			return err
		}
	}
	return nil
}

// document is what is kept of a.
func (s *Server) document(a *Account) (account, error) {
	doc := account{Version: docVersion, Number: a.Number, Short: a.Short, Aliases: slices.Clone(a.Aliases), Disabled: a.Disabled,
		Logins: map[string][]string{}}
	var err error
	if doc.Algorithms, err = algorithms(a.Algorithms); err != nil {
		return doc, err
	}
	if err := doc.take(&a.User); err != nil {
		return doc, err
	}
	for _, n := range append([]string{string(a.ID)}, a.Aliases...) {
		if err := s.name(n); err != nil {
			return doc, err
		}
	}
	if !strings.HasSuffix(string(a.ID), "@"+s.domain()) {
		return doc, ErrName
	}
	if a.Number != "" && (a.Number[0] != '+' || !number(a.Number)) || a.Short != "" && !number(a.Short) {
		return doc, ErrName
	}
	for login, texts := range a.HA1 {
		for i, t := range texts {
			if b, err := hex.DecodeString(t); err != nil || i > 1 || t != "" && len(b) != [...]int{16, 32}[i] {
				return doc, fmt.Errorf("login %s: %w", login, ErrPassword)
			}
		}
		doc.Logins[login] = slices.Clone(texts)
	}
	if a.Password != "" {
		s.logins(a.ID, &doc, a.Password)
	}
	if len(doc.Logins) == 0 {
		return doc, ErrPassword
	}
	return doc, nil
}

// algorithms is names as they are kept: "both" is sha-256 and md5.
func algorithms(names []string) (all []string, err error) {
	for _, n := range names {
		switch n {
		case "md5", "sha-256":
			all = append(all, n)
		case "both":
			all = append(all, "sha-256", "md5")
		default:
			return nil, fmt.Errorf("algorithm %q: %w", n, ErrAlgorithm)
		}
	}
	return all, nil
}

// name says whether n can be a user's name: "+15550001001" or a canonical AOR.
func (s *Server) name(n string) error {
	if number(n) {
		return nil
	}
	u, err := sip.ParseURI([]byte("sip:" + n))
	if err != nil {
		return fmt.Errorf("%s: %w", n, ErrName)
	}
	if aor, err := u.AOR(); err != nil || string(aor) != n || u.User == "" {
		return fmt.Errorf("%s: %w", n, ErrName)
	}
	return nil
}

// logins gives doc the HA1s of password for every name the user may log in under: digest covers the name.
func (s *Server) logins(id roam.UserID, doc *account, password string) {
	names := []string{string(id), doc.Number, doc.Short, strings.TrimPrefix(doc.Number, "+")}
	names = append(names, doc.Aliases...)
	for _, n := range slices.Clone(names) {
		if user, host, found := strings.Cut(n, "@"); found && host == s.domain() {
			names = append(names, user)
		} else if !found && n != "" {
			names = append(names, n+"@"+s.domain())
		}
	}
	for _, n := range names {
		if n == "" {
			continue
		}
		h := digest.MakeHA1(n, s.domain(), password)
		doc.Logins[n] = []string{hex.EncodeToString(h[0]), hex.EncodeToString(h[1])}
	}
}

// Change changes what is given of one user. roam.NoSuchUser when there is none.
func (s *Server) Change(ctx context.Context, id roam.UserID, c Change) error {
	done, err := s.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	var doc account
	if err := s.onLoop(ctx, func() error {
		u := s.users[id]
		if u == nil {
			return roam.NoSuchUser
		}
		doc = u.document()
		for _, n := range c.AddAlias {
			if o := s.named(n); o != nil && o != u {
				return fmt.Errorf("user %s: %s: %w", id, n, ErrTaken)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if err := s.changed(id, &doc, c); err != nil {
		return fmt.Errorf("user %s: %w", id, err)
	}
	if err := s.commit(ctx, func(tx store.Tx) error { return putUsers(tx, map[roam.UserID]account{id: doc}) }); err != nil {
		return err
	}
	return s.onLoop(ctx, func() error {
		u := s.users[id]
		old := s.identities(u)
		s.leave(u)
		s.use(u, doc)
		s.enter(u)
		now := s.identities(u)
		gone := slices.DeleteFunc(old, func(i roam.Identity) bool { return slices.Contains(now, i) })
		s.router.Publish(now, gone)
		s.tellProfile(u)
		if doc.Disabled {
			s.change(u, func() control.Event { return control.Offline{All: true, Next: s.draw()} })
		}
		return nil
	})
}

// changed makes c in doc.
func (s *Server) changed(id roam.UserID, doc *account, c Change) error {
	doc.Aliases, doc.Logins = slices.Clone(doc.Aliases), maps.Clone(doc.Logins)
	if c.Disabled != nil {
		doc.Disabled = *c.Disabled
	}
	if c.Name != nil {
		doc.Name = *c.Name
	}
	if c.Algorithms != nil {
		var err error
		if doc.Algorithms, err = algorithms(*c.Algorithms); err != nil {
			return err
		}
	}
	if len(c.Set) > 0 {
		u := doc.settings()
		for _, key := range slices.Sorted(maps.Keys(c.Set)) {
			if err := u.Set(key, c.Set[key]); err != nil {
				return err
			}
		}
		if err := doc.take(&u); err != nil {
			return err
		}
	}
	for _, n := range c.AddAlias {
		if err := s.name(n); err != nil {
			return err
		}
		if _, kept := doc.Logins[n]; !kept && c.Password == nil {
			return fmt.Errorf("alias %s: %w", n, ErrPassword)
		}
		if !slices.Contains(doc.Aliases, n) {
			doc.Aliases = append(doc.Aliases, n)
		}
	}
	for _, n := range c.DelAlias {
		doc.Aliases = slices.DeleteFunc(doc.Aliases, func(a string) bool { return a == n })
		delete(doc.Logins, n)
		if user, host, _ := strings.Cut(n, "@"); host == s.domain() && user+"@"+host != string(id) {
			delete(doc.Logins, user)
		}
	}
	if c.Password != nil {
		if *c.Password == "" {
			return ErrPassword
		}
		doc.Logins = map[string][]string{}
		s.logins(id, doc, *c.Password)
	}
	return nil
}

// Remove deletes an account and ends its registrations.
func (s *Server) Remove(ctx context.Context, id roam.UserID) error {
	done, err := s.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := s.onLoop(ctx, func() error {
		u := s.users[id]
		if u == nil {
			return roam.NoSuchUser
		}
		s.leave(u) // nobody logs in any more
		u.removed = true
		s.change(u, func() control.Event { return control.Offline{All: true, Next: s.draw()} })
		return nil
	}); err != nil {
		return err
	}
	if err := s.commit(ctx, func(tx store.Tx) error {
		if _, err := tx.Exec(dropHome, string(id)); err != nil { // also what Offline has saved
			return err
		}
		_, err := tx.Exec(dropUser, string(id))
		return err
	}); err != nil {
		return err
	}
	return s.onLoop(ctx, func() error {
		u := s.users[id]
		delete(s.users, id)
		s.forgetPhones(id)
		s.order = nil
		s.onChanged(id)
		s.router.Publish(nil, s.identities(u))
		return nil
	})
}

// alone waits until no other account changes.
func (s *Server) alone(ctx context.Context) (done func(), err error) {
	select {
	case s.accounts <- struct{}{}:
		return func() { <-s.accounts }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// onLoop runs fn on the loop and gives its error.
func (s *Server) onLoop(ctx context.Context, fn func() error) error {
	var err error
	if waited := s.loop.Do(ctx, func() { err = fn() }); waited != nil {
		return waited
	}
	return err
}

// commit has change written, and waits for the disk.
func (s *Server) commit(ctx context.Context, change func(store.Tx) error) error {
	done := make(chan error, 1)
	if err := s.file.Write(store.Write{Change: change, Power: true, Done: func(err error) { done <- err }}); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
