package registrar

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/seal"
	"github.com/siproam/siproam/store"
)

// Schema is the registrar's tables. Each row's doc is one versioned JSON value; `sqlite3` reads it with ->>.
var Schema = store.Schema{Role: "registrar", Steps: []string{`
CREATE TABLE users  (user TEXT PRIMARY KEY, doc TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE homes  (user TEXT PRIMARY KEY, doc TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE visits (user TEXT NOT NULL, device TEXT NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (user, device)) STRICT, WITHOUT ROWID;
CREATE TABLE registrar_keys (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE VIEW bindings AS
 SELECT h.user, a.value->>'device' device, a.value->>'office' office, c.value->>'target'->>'uri' contact, c.value->>'grant'/1000000000 granted_s
 FROM homes h, json_each(h.doc, '$.at') a, json_each(a.value, '$.contacts') c;
`, `
CREATE TABLE offices (office TEXT PRIMARY KEY, doc TEXT NOT NULL) STRICT, WITHOUT ROWID;
`}}

const (
	putUser     = `INSERT INTO users VALUES (?, ?) ON CONFLICT DO UPDATE SET doc = excluded.doc`
	dropUser    = `DELETE FROM users WHERE user = ?`
	putHome     = `INSERT INTO homes VALUES (?, ?) ON CONFLICT DO UPDATE SET doc = excluded.doc`
	dropHome    = `DELETE FROM homes WHERE user = ?`
	putVisit    = `INSERT INTO visits VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET doc = excluded.doc`
	dropVisit   = `DELETE FROM visits WHERE user = ? AND device = ?`
	putOffice   = `INSERT INTO offices VALUES (?, ?) ON CONFLICT DO UPDATE SET doc = excluded.doc`
	dropOffice  = `DELETE FROM offices WHERE office = ?`
	putKey      = `INSERT INTO registrar_keys VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value`
	ceilingKey  = "epoch ceiling"
	seedKey     = "ticket seed"
	docVersion  = 1
	seedBytes   = 32
	selectUsers = `SELECT user, doc FROM users`
	selectHomes = `SELECT user, doc FROM homes`
)

// account is the doc of a user.
type account struct {
	Version  int      `json:"v"`
	Name     string   `json:"name,omitempty"`
	Number   string   `json:"number,omitempty"`
	Short    string   `json:"short,omitempty"`
	Aliases  []string `json:"aliases,omitempty"`
	Disabled bool     `json:"disabled,omitempty"`
	Calls    int      `json:"calls,omitempty"`
	Class    string   `json:"class,omitempty"`

	Algorithms []string `json:"algorithms,omitempty"` // none: as the domain
	Abilities  []string `json:"abilities,omitempty"`  // of the user's devices: transports, option tags

	Bar     []string      `json:"bar,omitempty"` // as in roam.Profile
	Allow   []string      `json:"allow,omitempty"`
	Forward *roam.Forward `json:"forward,omitempty"`

	Logins map[string][]string `json:"logins"`           // login name -> hex HA1: MD5, SHA-256; "" where not kept
	Phones map[string][]string `json:"phones,omitempty"` // the same of his provisioned phones, each with a login of its own
}

// visitDoc is the doc of a visit: what control keeps, and what the wire needs.
type visitDoc struct {
	control.Stay
	Token  string `json:"token"`            // user part of our Contact at home
	Mirror string `json:"mirror,omitempty"` // of a foreign home: all of our Contact there
}

// load reads users, their registrations, and visits. It waits, at start only.
func (s *Server) load(ctx context.Context) error {
	err := each(ctx, s.file, selectUsers, func(rows *sql.Rows) error {
		var id string
		var doc []byte
		if err := rows.Scan(&id, &doc); err != nil {
			return err
		}
		var a account
		if err := readDoc(doc, &a, &a.Version); err != nil {
			return fmt.Errorf("user %s: %w", id, err)
		}
		s.enter(s.newSubscriber(roam.UserID(id), a))
		return nil
	})
	if err != nil {
		return err
	}
	err = each(ctx, s.file, selectHomes, func(rows *sql.Rows) error {
		var id string
		var doc []byte
		if err := rows.Scan(&id, &doc); err != nil {
			return err
		}
		u := s.users[roam.UserID(id)]
		if u == nil {
			return nil
		}
		if err := readDoc(doc, &u.home.Kept, &u.home.Version); err != nil {
			return fmt.Errorf("registrations of %s: %w", id, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := each(ctx, s.file, `SELECT office, doc FROM offices`, s.loadCard); err != nil {
		return err
	}
	return each(ctx, s.file, `SELECT user, device, doc FROM visits`, s.loadVisit)
}

func (s *Server) loadVisit(rows *sql.Rows) error {
	var user, device string
	var doc []byte
	if err := rows.Scan(&user, &device, &doc); err != nil {
		return err
	}
	var d visitDoc
	if err := readDoc(doc, &d, &d.Version); err != nil {
		return fmt.Errorf("visit of %s: %w", user, err)
	}
	v := s.newVisitor(roam.UserID(user), roam.Device(device))
	v.visit.Stay, v.token, v.mirror = d.Stay, d.Token, d.Mirror
	return nil
}

// loadKeys reads our signing key and the epoch's ceiling, and makes the key at the first start.
func (s *Server) loadKeys(ctx context.Context) error {
	var seed []byte
	err := each(ctx, s.file, `SELECT name, value FROM registrar_keys`, func(rows *sql.Rows) error {
		var name string
		var value any
		if err := rows.Scan(&name, &value); err != nil {
			return err
		}
		switch v := value.(type) {
		case []byte:
			if name == seedKey {
				seed = v
			}
		case int64:
			if name == ceilingKey {
				s.epochs.ceiling = roam.Epoch(v)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(seed) != seedBytes {
		seed = make([]byte, seedBytes)
		rand.Read(seed) // never fails (crypto/rand)
		if err := s.file.Write(store.Write{Power: true, Change: func(tx store.Tx) error {
			_, err := tx.Exec(putKey, seedKey, seed)
			return err
		}}); err != nil {
			return err
		}
	}
	s.signer = seal.NewSigner(seed)
	s.epochs.last = s.epochs.ceiling
	return nil
}

// each gives every row of q.
func each(ctx context.Context, f *store.File, q string, fn func(*sql.Rows) error) error {
	rows, err := f.Query(ctx, q)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

var errVersion = errors.New("made by a newer version")

// readDoc reads one doc; version is where it says which it is.
func readDoc(doc []byte, into any, version *int) error {
	if err := json.Unmarshal(doc, into); err != nil {
		return err
	}
	if *version > docVersion {
		return errVersion
	}
	return nil
}

// put has one statement with a doc as its last argument run, and done told on the loop. A doc of
// nil has drop run instead.
func (s *Server) put(q, drop string, doc any, done func(error), keys ...any) {
	var change func(store.Tx) error
	if doc == nil {
		change = func(tx store.Tx) error { _, err := tx.Exec(drop, keys...); return err }
	} else {
		b, err := s.marshal(doc) // here, on the loop: doc may change later
		if err != nil {
			s.loop.Later(func() { done(err) })
			return
		}
		args := append(append([]any{}, keys...), b)
		change = func(tx store.Tx) error { _, err := tx.Exec(q, args...); return err }
	}
	if err := s.file.Write(store.Write{Change: change, Done: func(err error) { s.loop.Deliver(func() { done(err) }) }}); err != nil {
		s.loop.Later(func() { done(err) })
	}
}

// marshal is doc as a row holds it.
func (s *Server) marshal(doc any) (string, error) {
	if k, often := doc.(*control.Kept); often {
		s.row = k.AppendJSON(s.row[:0])
		return string(s.row), nil
	}
	return marshal(doc)
}

func marshal(doc any) (string, error) {
	b, err := json.Marshal(doc)
	return string(b), err
}
