// Package billing brings each charging record once to the ledger of its user's home (M8).
//
// A record is one row of the office that served the call: written when the call is answered, so that a crash leaves
// one, and again at its end. A visitor's finished record goes to the home office through the routing store and
// stays in the outbox until home has acknowledged it; the record's id makes it count once, however often it is sent.
package billing

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/store"
)

// Courier carries records between offices; *routesrv.Store.
type Courier interface {
	Send(ctx context.Context, to roam.OfficeID, cdr []byte, id string) error
	Receive(ctx context.Context, keep func(id string, from roam.OfficeID, cdr []byte) error) error
	Acknowledged(ctx context.Context, kept func(ids []string) error) error
}

// Ledger is the office's charging records.
type Ledger struct {
	office  roam.OfficeID
	loop    *loop.Loop
	file    *store.File
	courier Courier
	log     zerolog.Logger
	wake    chan struct{} // one place: the outbox has something new
	count   *metric.Counter

	mu      sync.Mutex // guards waiting
	waiting map[roam.OfficeID]pending
}

// pending is what one home has not acknowledged yet.
type pending struct {
	records int
	oldest  time.Time
}

// New makes the ledger of office.
func New(office roam.OfficeID, l *loop.Loop, f *store.File, c Courier, m *metric.Set, log zerolog.Logger) *Ledger {
	b := &Ledger{office: office, loop: l, file: f, courier: c, log: log, wake: make(chan struct{}, 1)}
	b.count = m.Counter("cdrs_total", "charging records by what became of them", "result")
	m.Gauge("cdrs_pending", "charging records that their home has not acknowledged", []string{"home"}, func(emit func(float64, ...string)) {
		b.eachPending(func(home roam.OfficeID, p pending) { emit(float64(p.records), string(home)) })
	})
	m.Gauge("cdr_oldest_pending_timestamp_seconds", "when the oldest unacknowledged call began", []string{"home"}, func(emit func(float64, ...string)) {
		b.eachPending(func(home roam.OfficeID, p pending) { emit(float64(p.oldest.Unix()), string(home)) })
	})
	return b
}

func (b *Ledger) eachPending(fn func(roam.OfficeID, pending)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for home, p := range b.waiting {
		fn(home, p)
	}
}

// Write keeps cdr: once when the call is answered (End zero), once at its end; the same
// ID replaces. done comes on the loop when it is safe from power loss.
func (b *Ledger) Write(cdr roam.CDR, done func(error)) {
	cdr.Version = 1
	b.write(cdr, func(err error) { b.loop.Deliver(func() { done(err) }) }, func(err error) { b.loop.Later(func() { done(err) }) })
}

// write queues cdr's row; saved comes on the store's writer, or refused at once.
func (b *Ledger) write(cdr roam.CDR, saved, refused func(error)) {
	state := "own"
	switch {
	case cdr.End.IsZero():
		state = "open"
	case cdr.Home != b.office:
		state = "outbox"
	}
	row, err := b.row(cdr, state)
	if err == nil {
		err = b.file.Write(store.Write{Power: true,
			Change: func(tx store.Tx) error { _, err := tx.Exec(upsert, row...); return err },
			Done: func(err error) {
				b.counted(err, "written")
				if state == "outbox" {
					b.nudge()
				}
				saved(err)
			}})
	}
	if err != nil {
		b.counted(err, "written")
		refused(err)
	}
}

func (b *Ledger) counted(err error, result string) {
	if err != nil {
		b.log.Error().Str("event", "cdr.failed").Err(err).Msg("charging record not kept")
		result = "failed"
	}
	b.count.Add(1, result)
}

func (b *Ledger) row(cdr roam.CDR, state string) ([]any, error) {
	record, err := json.Marshal(cdr)
	if err != nil {
		return nil, fmt.Errorf("cdr %s: %w", cdr.ID, err)
	}
	return []any{cdr.ID, string(cdr.Office), string(cdr.Home), string(cdr.User), stamp(cdr.Start), state, int64(b.file.Boot()), time.Now().Unix(), string(record)}, nil
}

// stamp is t as text that sorts by time.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func (b *Ledger) nudge() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// List is the newest records, those that began before the one called after ("": from the
// newest), of user ("": of everybody). It waits.
func (b *Ledger) List(ctx context.Context, user roam.UserID, after string, max int) ([]roam.CDR, error) {
	return b.records(ctx, `SELECT record FROM cdr WHERE (? = '' OR user = ?)
		AND (? = '' OR (start, id) < (SELECT start, id FROM cdr WHERE id = ?)) ORDER BY start DESC, id DESC LIMIT ?`,
		string(user), string(user), after, after, max)
}

// records reads the records that a query names.
func (b *Ledger) records(ctx context.Context, query string, args ...any) ([]roam.CDR, error) {
	rows, err := b.file.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []roam.CDR
	for rows.Next() {
		var text string
		var cdr roam.CDR
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(text), &cdr); err != nil {
			return nil, err
		}
		all = append(all, cdr)
	}
	return all, rows.Err()
}
