// Package billing brings each charging record once to the ledger of its user's home (M8).
//
// The office that serves a call writes its record, power-safe, when the call is answered and
// again when it ends. The record of a visitor is then sent home (Courier) until home has
// acknowledged it, which it does when the record is on its disk; its id makes it count
// once, however often it comes. What a crash leaves open is closed at the next start.
package billing

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/store"
)

// Courier carries records between offices; *routesrv.Store. It may lose and repeat them.
type Courier interface {
	Send(ctx context.Context, to roam.OfficeID, cdr []byte, id string) error
	Receive(ctx context.Context, keep func(id string, from roam.OfficeID, cdr []byte) error) error
	Acknowledged(ctx context.Context, kept func(ids []string) error) error
}

// version is roam.CDR's, in JSON.
const version = 1

// Ledger is the office's charging records.
type Ledger struct {
	office  roam.OfficeID
	loop    *loop.Loop
	file    *store.File
	courier Courier
	log     zerolog.Logger

	open  map[string]bool // calls that are up; the loop's
	calls atomic.Int64    // len(open)
	wake  chan struct{}   // one place: there is something to send

	total *metric.Counter
}

// New makes the ledger of office. f must have been opened with Schema.
func New(office roam.OfficeID, l *loop.Loop, f *store.File, c Courier, m *metric.Set, log zerolog.Logger) *Ledger {
	b := &Ledger{office: office, loop: l, file: f, courier: c, log: log.With().Str("part", "billing").Logger(),
		open: map[string]bool{}, wake: make(chan struct{}, 1)}
	b.total = m.Counter("cdrs_total", "Charging records: written, failed, sent, acknowledged, received, repeated, refused.", "result")
	m.Gauge("cdrs_pending", "Charging records that their home has not acknowledged.", []string{"home"}, b.pending)
	m.Gauge("cdr_oldest_pending_timestamp_seconds", "When the oldest of these calls ended.", []string{"home"}, b.oldest)
	return b
}

// Write keeps cdr: once when the call is answered (End zero), once at its end; the same
// ID replaces. done comes on the loop when it is safe from power loss; it may be nil.
func (b *Ledger) Write(cdr roam.CDR, done func(error)) {
	if cdr.Version == 0 {
		cdr.Version = version
	}
	state := own
	if cdr.Home != b.office && cdr.Home != "" {
		state = outbox
	}
	if cdr.End.IsZero() {
		b.open[cdr.ID] = true
	} else {
		delete(b.open, cdr.ID)
	}
	b.calls.Store(int64(len(b.open)))
	r, err := newRow(cdr, state)
	finish := func(err error) {
		switch {
		case err != nil:
			b.total.Add(1, "failed")
			b.log.Error().Str("event", "cdr.failed").Str("call", cdr.Call).Err(err).Msg("charging record not kept")
		case r.ended != "":
			b.total.Add(1, "written")
			if state == outbox {
				b.rouse()
			}
		}
		if done != nil {
			done(err)
		}
	}
	if err == nil {
		err = b.file.Write(store.Write{Power: true,
			Change: func(tx store.Tx) error { return r.replace(tx, b.file.Boot()) },
			Done:   func(err error) { b.loop.Deliver(func() { finish(err) }) }})
	}
	if err != nil {
		b.loop.Later(func() { finish(err) })
	}
}

// Run sends what is unsent and receives what is ours, until ctx ends.
func (b *Ledger) Run(ctx context.Context) error {
	if err := b.closeOpen(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("close the calls of the last run: %w", err)
	}
	var all sync.WaitGroup
	all.Go(func() { b.send(ctx) })
	all.Go(func() { b.stayAlive(ctx) })
	all.Go(func() {
		b.courier.Receive(ctx, func(id string, from roam.OfficeID, cdr []byte) error { return b.keep(ctx, id, from, cdr) })
	})
	all.Go(func() { b.courier.Acknowledged(ctx, func(ids []string) error { return b.acknowledged(ctx, ids) }) })
	all.Wait()
	return nil
}

// change commits fn and waits for it; away from the loop.
func (b *Ledger) change(ctx context.Context, power bool, fn func(store.Tx) error) error {
	done := make(chan error, 1)
	if err := b.file.Write(store.Write{Change: fn, Power: power, Done: func(err error) { done <- err }}); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// List is the newest records after id ("" : from the newest), for people; of user, or of
// all when user is "". It waits.
func (b *Ledger) List(ctx context.Context, user roam.UserID, after string, max int) ([]roam.CDR, error) {
	q, args := `SELECT record FROM cdr WHERE true`, []any{}
	if user != "" {
		q, args = q+` AND user = ?`, append(args, string(user))
	}
	if after != "" {
		q, args = q+` AND (start, id) < (SELECT start, id FROM cdr WHERE id = ?)`, append(args, after)
	}
	rows, err := b.file.Query(ctx, q+` ORDER BY start DESC, id DESC LIMIT ?`, append(args, max)...)
	if err != nil {
		return nil, fmt.Errorf("list calls: %w", err)
	}
	defer rows.Close()
	var all []roam.CDR
	for rows.Next() {
		var text []byte
		var cdr roam.CDR
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("list calls: %w", err)
		}
		if err := json.Unmarshal(text, &cdr); err != nil {
			return nil, fmt.Errorf("list calls: %w", err)
		}
		all = append(all, cdr)
	}
	return all, rows.Err()
}

func (b *Ledger) pending(emit func(v float64, labels ...string)) {
	b.perHome(func(home string, n int, _ time.Time) { emit(float64(n), home) })
}

func (b *Ledger) oldest(emit func(v float64, labels ...string)) {
	b.perHome(func(home string, _ int, oldest time.Time) { emit(float64(oldest.UnixMilli())/1000, home) })
}

// perHome gives what each home has not acknowledged; nothing when the file cannot be read now.
func (b *Ledger) perHome(fn func(home string, n int, oldest time.Time)) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	rows, err := b.file.Query(ctx, `SELECT home, count(*), min(ended) FROM cdr WHERE state IN ('outbox', 'sent') AND ended <> '' GROUP BY home`)
	if err != nil {
		return
	}
	defer rows.Close()
	for rows.Next() {
		var home, ended string
		var n int
		if rows.Scan(&home, &n, &ended) != nil {
			return
		}
		if oldest, err := time.Parse(layout, ended); err == nil {
			fn(home, n, oldest)
		}
	}
}
