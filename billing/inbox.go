package billing

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/store"
)

const (
	refusedKept = 10_000          // newest rows of cdr_refused
	aliveEvery  = 5 * time.Second // so exact is the end of a call that a crash cut off
	idleEvery   = time.Minute     // so exact is what Written says while there are no calls
	cutOff      = 41              // Q.850, temporary failure
)

// keep takes a record that came for us; nil once it is safe from power loss, or refused for
// good, so that the sender may forget it.
func (b *Ledger) keep(ctx context.Context, receipt string, from roam.OfficeID, record []byte) error {
	r, bad := received(receipt, from, b.office, record)
	switch {
	case bad != nil:
	case r.office == string(b.office):
		if !slices.Contains(b.switches, from) {
			bad = errNotOurs
		}
	default:
		var err error
		if bad, err = b.charges(ctx, &r); err != nil {
			return err
		}
	}
	if bad != nil {
		b.total.Add(1, "refused")
		name := b.sender(from)
		b.trespasses.Add(1, name, "cdr")
		if since, yes := b.seldom.Worth(time.Now(), name); yes {
			b.log.Warn().Str("event", "cdr.refused").Str("from", string(from)).Err(bad).Uint64("before", since).Msg("charging record refused")
		}
		return b.change(ctx, false, func(tx store.Tx) error { return refuse(tx, receipt, from, record, bad) })
	}
	changed := false
	err := b.change(ctx, true, func(tx store.Tx) (err error) {
		changed, err = r.admit(tx, b.file.Boot())
		return err
	})
	switch {
	case err != nil:
	case changed:
		b.total.Add(1, "received")
	default:
		b.total.Add(1, "repeated")
	}
	return err
}

// errNotOurs is a record of our own calls by somebody who is none of our softswitches.
var errNotOurs = errors.New("it is of ours, and came from no softswitch of ours")

// Softswitches says which softswitches of this office keep ledgers of their own, "north/1", and send us what is in them. It
// is called before Run.
func (b *Ledger) Softswitches(ids ...roam.OfficeID) { b.switches = ids }

// errNotServed is a charge for a user whom that office did not serve.
var errNotServed = errors.New("that office did not serve the user then")

// charges says why the office of r may not charge for it: home's own record of where its user was decides.
func (b *Ledger) charges(ctx context.Context, r *row) (bad, err error) {
	start, err := time.Parse(layout, r.start)
	if err != nil {
		return err, nil
	}
	served, err := b.served(ctx, roam.UserID(r.user), roam.OfficeID(r.office), start)
	if err == nil && !served {
		bad = errNotServed
	}
	return bad, err
}

// mostSenders is how many names of senders are counted by themselves: the store's word for who sent a record is
// anybody's who may write there.
const mostSenders = 64

// sender is from, for a label.
func (b *Ledger) sender(from roam.OfficeID) string {
	name, _, _ := strings.Cut(string(from), "/")
	if !slices.Contains(b.senders, name) {
		if len(b.senders) >= mostSenders || len(name) > 32 {
			return "others"
		}
		b.senders = append(b.senders, name)
	}
	return name
}

// refuse keeps what is no record of ours for people to look at.
func refuse(tx store.Tx, receipt string, from roam.OfficeID, record []byte, why error) error {
	record = record[:min(len(record), maxRecord)]
	if _, err := tx.Exec(`INSERT INTO cdr_refused (at, office, id, why, record) VALUES (?, ?, ?, ?, ?)`,
		stamp(time.Now()), string(from), receipt, why.Error(), string(record)); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM cdr_refused WHERE n <= (SELECT max(n) FROM cdr_refused) - ?`, refusedKept)
	return err
}

// stayAlive notes now and then that we run, more often while calls are up.
func (b *Ledger) stayAlive(ctx context.Context) {
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	var noted time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if b.calls.Load() > 0 || now.Sub(noted) >= idleEvery {
				noted = now
				b.change(ctx, false, func(tx store.Tx) error {
					_, err := tx.Exec(`INSERT INTO cdr_alive VALUES (1, ?) ON CONFLICT DO UPDATE SET at = excluded.at`, stamp(now))
					return err
				})
			}
		}
	}
}

// closeOpen ends the records that an earlier run left open: at the last time that it is
// known to have run, since nobody may be charged for more.
func (b *Ledger) closeOpen(ctx context.Context) error {
	alive, err := b.Written(ctx)
	if err != nil {
		return err
	}
	first := rowOf(0, b.file.Boot()) // of this run
	var rows []row
	if err := b.each(ctx, `SELECT records FROM cdr_up WHERE n < ?`, []any{first}, func(text []byte) error {
		var cdrs []roam.CDR
		err := json.Unmarshal(text, &cdrs)
		for _, cdr := range cdrs {
			rows = append(rows, b.cut(cdr, alive))
		}
		return err
	}); err != nil || len(rows) == 0 {
		return err
	}
	err = b.change(ctx, true, func(tx store.Tx) error {
		if err := replaceAll(tx, rows, b.file.Boot()); err != nil {
			return err
		}
		_, err := tx.Exec(`DELETE FROM cdr_up WHERE n < ?`, first)
		return err
	})
	if err == nil {
		b.total.Add(uint64(len(rows)), "written")
		b.log.Warn().Str("event", "cdr.closed").Int("calls", len(rows)).Msg("calls of the last run closed")
	}
	return err
}

// cut is cdr of a call that a crash cut off at.
func (b *Ledger) cut(cdr roam.CDR, at time.Time) row {
	cdr.End, cdr.By, cdr.Reason, cdr.Cause = at, "office", "restart", cutOff
	for _, t := range []time.Time{cdr.Start, cdr.Answered} {
		if cdr.End.Before(t) {
			cdr.End = t
		}
	}
	return newRow(&cdr, b.office, string(appendJSON(nil, &cdr)))
}

// each gives the one column of every row of q.
func (b *Ledger) each(ctx context.Context, q string, args []any, fn func(text []byte) error) error {
	rows, err := b.file.Query(ctx, q, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var text []byte
		if err := rows.Scan(&text); err != nil {
			return err
		}
		if err := fn(text); err != nil {
			return err
		}
	}
	return rows.Err()
}
