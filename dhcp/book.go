package dhcp

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/dhcp/lease"
	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/store"
)

// Schema is the tables of this package in the office's file.
var Schema = store.Schema{Role: "dhcp", Steps: []string{
	`CREATE TABLE dhcp_lease (addr BLOB PRIMARY KEY, doc BLOB NOT NULL) WITHOUT ROWID`,
}}

// together is how many rows one statement writes, the most first: what a statement costs is less by row than by itself.
var together = [...]int{32, 8, 1}

var inserts = func() (all [len(together)]string) {
	for i, n := range together {
		all[i] = `INSERT INTO dhcp_lease (addr, doc) VALUES ` + strings.Repeat(`(?, ?), `, n-1) +
			`(?, ?) ON CONFLICT (addr) DO UPDATE SET doc = excluded.doc`
	}
	return all
}()

// book keeps the leases in the office's file. What comes in while a commit is under way goes into the next one together.
type book struct {
	file   *store.File
	loop   *loop.Loop
	next   []entry // to be stored
	spare  []entry
	saving bool
	began  time.Time // the last commit
	paced  bool      // the next one waits for its time
}

// entry is a lease to be stored, and who wants to know.
type entry struct {
	lease lease.Lease
	done  func(error)
}

// pace is how far apart commits begin: one costs as much as a hundred of its rows. A lease after a quiet moment does not wait.
const pace = 5 * time.Millisecond

// mostKept is how many leases wait to be stored; then no more are taken.
const mostKept = 8192

// openBook reads what is there into t. Of what cannot be read t knows that it is in doubt: no damage keeps an office from
// its start. It waits.
func openBook(f *store.File, l *loop.Loop, t *lease.Table, log zerolog.Logger) (*book, error) {
	rows, err := f.Query(context.Background(), `SELECT addr, doc FROM dhcp_lease`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []lease.Lease
	lost := 0
	for rows.Next() {
		var addr, doc sql.RawBytes
		err := rows.Scan(&addr, &doc)
		if err == nil {
			var one lease.Lease
			if one, err = readRow(addr, doc); err == nil {
				all = append(all, one)
				continue
			}
		}
		if lost++; lost <= 10 {
			log.Warn().Str("event", "dhcp.damaged").Hex("ip", addr).Err(err).Msg("lease not read")
		}
	}
	if err := rows.Err(); err != nil { // a page of the file
		lost++
		log.Error().Str("event", "dhcp.damaged").Err(err).Msg("leases not read to their end")
	}
	errs := t.Restore(time.Now(), all, lost > 0)
	for _, err := range errs[:min(len(errs), 10)] {
		log.Warn().Str("event", "dhcp.damaged").Err(err).Msg("lease not taken")
	}
	if n := lost + len(errs); n > 0 {
		log.Error().Str("event", "dhcp.damaged").Int("lost", n).Int("kept", len(all)-len(errs)).Msg("leases lost; addresses are probed before they are given")
	}
	return &book{file: f, loop: l}, nil
}

// full says that too much waits to be stored.
func (b *book) full() bool { return len(b.next) >= mostKept }

// keep stores l with all others of this turn, and of those that come in while the disk is busy; done is called on the loop when
// it has survived a loss of power, or with the error.
func (b *book) keep(l lease.Lease, done func(error)) { b.next = append(b.next, entry{l, done}) }

// turn ends a turn of the loop.
func (b *book) turn() {
	if b.saving || b.paced || len(b.next) == 0 {
		return
	}
	now := b.loop.Now()
	if early := pace - now.Sub(b.began); early > 0 {
		b.paced = true
		b.loop.After(early, func() { b.paced = false; b.turn() })
		return
	}
	b.began = now
	all := b.next
	b.next, b.saving = b.spare[:0], true
	end := func(err error) {
		for i := range all {
			all[i].done(err)
		}
		clear(all)
		b.spare, b.saving = all, false
	}
	if err := b.file.Write(store.Write{Power: true, Done: func(err error) { b.loop.Deliver(func() { end(err) }) }, Change: func(tx store.Tx) error {
		return insert(tx, all)
	}}); err != nil {
		end(err)
	}
}

// insert writes all. Of one address that is there twice the later row counts, as they stand in order.
func insert(tx store.Tx, all []entry) error {
	docs := make([]byte, 0, 160*len(all))
	args := make([]any, 0, 2*together[0])
	for i, n := range together {
		for len(all) >= n {
			args = args[:0]
			for j := range all[:n] {
				from := len(docs)
				docs = appendRow(docs, &all[j].lease)
				args = append(args, all[j].lease.Addr.AsSlice(), docs[from:len(docs):len(docs)])
			}
			if _, err := tx.Exec(inserts[i], args...); err != nil {
				return err
			}
			all = all[n:]
		}
	}
	return nil
}
