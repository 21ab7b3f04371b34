package store

import (
	"database/sql"
	"errors"
	"fmt"
)

// tables is the store's own: which migrations were done, and who this file is.
const tables = `
CREATE TABLE IF NOT EXISTS migration (
	role TEXT NOT NULL, step INTEGER NOT NULL, at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ')),
	PRIMARY KEY (role, step)) STRICT;
CREATE TABLE IF NOT EXISTS node (
	one INTEGER PRIMARY KEY CHECK (one = 1), node TEXT NOT NULL, boot INTEGER NOT NULL) STRICT`

// migrate brings every role's tables up to date and counts the boot, each step in one
// transaction with its mark.
func (f *File) migrate(all []Schema) error {
	if err := f.tx.atomically(func() error { return f.tx.exec(tables) }); err != nil {
		return err
	}
	for _, s := range all {
		if err := f.migrateRole(s); err != nil {
			return err
		}
	}
	return f.tx.atomically(func() error {
		if _, err := f.tx.Exec(`INSERT INTO node VALUES (1, ?, 1) ON CONFLICT DO UPDATE SET boot = boot + 1`, newNode()); err != nil {
			return err
		}
		return f.tx.one(`SELECT node, boot FROM node`, &f.node, &f.boot)
	})
}

func (f *File) migrateRole(s Schema) error {
	var done int
	if err := f.tx.one(fmt.Sprintf(`SELECT coalesce(max(step), 0) FROM migration WHERE role = '%s'`, s.Role), &done); err != nil {
		return err
	}
	if done > len(s.Steps) {
		return fmt.Errorf("written by a newer siproam: %s is at step %d, this one knows %d", s.Role, done, len(s.Steps))
	}
	for i := done; i < len(s.Steps); i++ {
		err := f.tx.atomically(func() error {
			if err := f.tx.exec(s.Steps[i]); err != nil {
				return err
			}
			_, err := f.tx.Exec(`INSERT INTO migration (role, step) VALUES (?, ?)`, s.Role, i+1)
			return err
		})
		if err != nil {
			return fmt.Errorf("migrate %s to step %d: %w", s.Role, i+1, err)
		}
	}
	return nil
}

// one reads the only row of q.
func (t *tx) one(q string, into ...any) error {
	rows, err := t.Query(q)
	if err != nil {
		return err
	}
	if !rows.Next() {
		return errors.Join(sql.ErrNoRows, rows.Close())
	}
	return errors.Join(rows.Scan(into...), rows.Close())
}
