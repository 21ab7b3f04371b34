package provision

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/store"
)

// Schema is the server's tables: a row for each phone, also for one that was taken away, since its generation must not come
// again. The doc is one versioned JSON value.
var Schema = store.Schema{Role: "provision", Steps: []string{`
CREATE TABLE phones (mac TEXT PRIMARY KEY, doc TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE provision_keys (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
`}}

const (
	putPhone   = `INSERT INTO phones VALUES (?, ?) ON CONFLICT DO UPDATE SET doc = excluded.doc`
	putKey     = `INSERT INTO provision_keys VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value`
	phoneKey   = "phone secret"
	docVersion = 1
)

// record is the doc of a phone.
type record struct {
	Version    int         `json:"v"`
	User       roam.UserID `json:"user,omitempty"`   // "": it was taken away
	Vendor     string      `json:"vendor,omitempty"` // as the operator has said, else as the phone has
	Generation uint64      `json:"generation"`       // of its credentials; grows
	Given      time.Time   `json:"given"`            // of this generation
	First      time.Time   `json:"first,omitzero"`   // when it has fetched the settings of this generation first
	Last       time.Time   `json:"last,omitzero"`    // when it has fetched last
	Addr       netip.Addr  `json:"addr,omitzero"`    // from where
	Agent      string      `json:"agent,omitempty"`  // what it calls itself
}

// load reads the phones and the office's secret, and makes that at the first start. It waits.
func (s *Server) load(ctx context.Context) error {
	rows, err := s.file.Query(ctx, `SELECT mac, doc FROM phones`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var text, doc string
		if err := rows.Scan(&text, &doc); err != nil {
			return err
		}
		m, ok := ParseMAC(text)
		var r record
		if err := json.Unmarshal([]byte(doc), &r); err != nil || !ok {
			return fmt.Errorf("phone %s: %w", text, err)
		}
		if r.Version > docVersion {
			return fmt.Errorf("phone %s: made by a newer version", text)
		}
		s.phones[m] = &r
	}
	if err := rows.Err(); err != nil {
		return err
	}
	keys, err := s.file.Query(ctx, `SELECT value FROM provision_keys WHERE name = ?`, phoneKey)
	if err != nil {
		return err
	}
	defer keys.Close()
	for keys.Next() {
		if err := keys.Scan(&s.secret); err != nil {
			return err
		}
	}
	if err := keys.Err(); err != nil || len(s.secret) == secretBytes {
		return err
	}
	s.secret = make([]byte, secretBytes)
	rand.Read(s.secret) // never fails (crypto/rand)
	secret := s.secret
	return s.file.Write(store.Write{Power: true, Change: func(tx store.Tx) error {
		_, err := tx.Exec(putKey, phoneKey, secret)
		return err
	}})
}

// put makes r the record of m, in memory and then on the disk; s.mu is held, so that both see changes in one order, and
// nobody else waits for the disk. wait gives how it went. power: also for one that has lost its power.
func (s *Server) put(m MAC, r *record, power bool) (wait func(context.Context) error) {
	was := s.phones[m]
	done := make(chan error, 1)
	r.Version = docVersion
	doc, err := json.Marshal(r)
	if err == nil {
		err = s.file.Write(store.Write{Power: power, Done: func(err error) { done <- err }, Change: func(tx store.Tx) error {
			_, err := tx.Exec(putPhone, m.String(), string(doc))
			return err
		}})
	}
	if err != nil {
		return func(context.Context) error { return err }
	}
	s.phones[m] = r
	return func(ctx context.Context) error {
		select {
		case err := <-done:
			if err != nil {
				s.back(m, r, was)
			}
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// back undoes put, whose write has failed, unless something came after it.
func (s *Server) back(m MAC, r, was *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.phones[m] != r:
	case was == nil:
		delete(s.phones, m)
	default:
		s.phones[m] = was
	}
}
