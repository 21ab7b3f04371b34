// Package billing brings each charging record once to the ledger of its user's home (M8).
//
// The office that serves a call writes its records, power-safe, when the call is answered (one row of cdr_up) and
// again when it ends (a row of cdr each); those of many calls in one change, so a crash loses what is younger than
// gatherFor and a commit. The record of a visitor is then sent home (Courier) until home has
// acknowledged it, which it does when the record is on its disk; its id makes it count
// once, however often it comes. What a crash leaves open is closed at the next start.
package billing

import (
	"context"
	"encoding/json"
	"errors"
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
	Acknowledged(ctx context.Context, from []roam.OfficeID, kept func(home roam.OfficeID, ids []string) error) error
}

// Served says whether a user of ours was at another office at a time, by what we know ourselves; *registrar.Server's. It waits.
type Served func(ctx context.Context, user roam.UserID, at roam.OfficeID, when time.Time) (bool, error)

// version is roam.CDR's, in JSON.
const version = 1

// spareGroups is how many written groups are kept, with their buffers, for the next.
const spareGroups = 2

// Ledger is the office's charging records.
type Ledger struct {
	office  roam.OfficeID
	loop    *loop.Loop
	file    *store.File
	courier Courier
	served  Served

	switches []roam.OfficeID // of this office, see Softswitches
	homes    []roam.OfficeID // see Homes
	log      zerolog.Logger
	held     func(roam.UserID) bool // see Hold

	filling *group         // the loop's, as the next four
	handed  int            // entries given to the store so far
	open    map[uint64]int // calls that are up: which entry since the start, counted as handed, tells of it
	spare   []*group       // to be filled again
	ended   bool           // Run has returned: nothing is gathered any more

	calls atomic.Int64  // len(open)
	wake  chan struct{} // one place: there is something to send

	total      *metric.Counter
	trespasses *metric.Counter
	seldom     metric.Seldom // for lines about these
	senders    []string      // as they are counted; of the goroutine that receives
}

// New makes the ledger of office. f must have been opened with Schema.
func New(office roam.OfficeID, l *loop.Loop, f *store.File, c Courier, served Served, m *metric.Set, log zerolog.Logger) *Ledger {
	b := &Ledger{office: office, loop: l, file: f, courier: c, served: served, log: log.With().Str("part", "billing").Logger(),
		held: func(roam.UserID) bool { return false }, filling: &group{}, open: map[uint64]int{}, wake: make(chan struct{}, 1)}
	b.total = m.Counter("cdrs_total", "Charging records: written, failed, sent, acknowledged, received, repeated, refused.", "result")
	b.trespasses = m.Trespasses()
	m.Gauge("cdrs_pending", "Charging records that their home has not acknowledged.", []string{"home"}, b.pending)
	m.Gauge("cdr_oldest_pending_timestamp_seconds", "When the oldest of these calls ended.", []string{"home"}, b.oldest)
	return b
}

// Write keeps the records of one call: once when it is answered (End zero), once at its end. call numbers the call since
// the start. cdrs stays the caller's. done comes on the loop when they are safe from power loss; it may be nil.
func (b *Ledger) Write(call uint64, cdrs []roam.CDR, done func(error)) {
	if len(cdrs) == 0 {
		if done != nil {
			b.loop.Later(func() { done(nil) })
		}
		return
	}
	if len(b.filling.entries) >= maxCalls {
		lost := &group{}
		lost.add(entry{call: call, done: done}, cdrs)
		b.loop.Later(func() { b.finish(lost, store.ErrFull) })
		return
	}
	g := b.filling
	e := entry{call: call, up: cdrs[0].End.IsZero(), done: done}
	at, was := b.open[call]
	switch {
	case was && at < b.handed: // an entry of an earlier group
		e.was = true
	case was:
		old := &g.entries[at-b.handed]
		e.was, old.void = old.was, true
	}
	at = b.handed + g.add(e, cdrs)
	for i := range cdrs {
		if kept := &g.cdrs[len(g.cdrs)-len(cdrs)+i]; kept.Version == 0 {
			kept.Version = version
		}
	}
	if e.up {
		b.open[call] = at
	} else {
		delete(b.open, call)
	}
	b.calls.Store(int64(len(b.open)))
	switch {
	case b.ended || len(g.entries) == groupCalls:
		b.hand()
	case g.timer == nil:
		g.timer = b.loop.After(gatherFor, b.hand)
	}
}

// hand gives the store what was gathered. While it takes nothing more that waits.
func (b *Ledger) hand() {
	g := b.filling
	if len(g.entries) == 0 {
		return
	}
	g.timer.Stop()
	switch err := b.commit(g); {
	case errors.Is(err, store.ErrFull):
		g.timer = b.loop.After(gatherFor, b.hand)
		return
	case err != nil:
		b.loop.Later(func() { b.finish(g, err) })
	}
	b.handed += len(g.entries)
	b.filling = &group{}
	if n := len(b.spare); n > 0 {
		b.filling, b.spare = b.spare[n-1], b.spare[:n-1]
	}
}

// commit queues g for the store.
func (b *Ledger) commit(g *group) error {
	return b.file.Write(store.Write{Power: true,
		Change: func(tx store.Tx) error { return g.change(tx, b.office, b.file.Boot()) },
		Done:   func(err error) { b.loop.Deliver(func() { b.finish(g, err) }) }})
}

// finish tells the calls of g how it went. When a group fails each of its calls is tried alone, so that a bad one does
// not lose its neighbours' records.
func (b *Ledger) finish(g *group, err error) {
	if err != nil && len(g.entries) > 1 {
		for i := range g.entries {
			one := g.alone(i)
			if e := &one.entries[0]; e.up { // unless it has ended since: that is told already, or will be
				_, up := b.open[e.call]
				e.void = e.void || !up
			}
			if err := b.commit(one); err != nil {
				b.finish(one, err)
			}
		}
		return
	}
	var written uint64
	visitors := false
	for i := range g.entries {
		e := &g.entries[i]
		if !e.up && err == nil {
			written += uint64(e.n)
			for _, cdr := range g.cdrs[e.first : e.first+e.n] {
				visitors = visitors || cdr.Home != b.office && cdr.Home != ""
			}
		}
		if err != nil {
			cdr := &g.cdrs[e.first]
			b.total.Add(uint64(e.n), "failed")
			b.log.Error().Str("event", "cdr.failed").Str("call", cdr.Call).Err(err).Msg("charging records not kept")
		}
		if e.done != nil {
			e.done(err)
		}
	}
	b.total.Add(written, "written")
	if visitors {
		b.rouse()
	}
	if g.reset(); len(b.spare) < spareGroups {
		b.spare = append(b.spare, g)
	}
}

// Written is when the file of this office was last known to be written; before Run. Zero: never.
func (b *Ledger) Written(ctx context.Context) (at time.Time, err error) {
	err = b.each(ctx, `SELECT at FROM cdr_alive`, nil, func(text []byte) (err error) {
		at, err = time.Parse(layout, string(text))
		return err
	})
	return at, err
}

// Run sends what is unsent and receives what is ours, until ctx ends.
func (b *Ledger) Run(ctx context.Context) error {
	if err := b.closeOpen(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("close the calls of the last run: %w", err)
	}
	homes := b.homes
	if err := b.each(ctx, `SELECT DISTINCT home FROM cdr WHERE state = 'sent'`, nil, func(home []byte) error {
		homes = append(homes, roam.OfficeID(home))
		return nil
	}); err != nil && ctx.Err() == nil {
		return fmt.Errorf("charging records on their way: %w", err)
	}
	var all sync.WaitGroup
	all.Go(func() { b.send(ctx) })
	all.Go(func() { b.stayAlive(ctx) })
	all.Go(func() {
		b.courier.Receive(ctx, func(id string, from roam.OfficeID, cdr []byte) error { return b.keep(ctx, id, from, cdr) })
	})
	all.Go(func() {
		b.courier.Acknowledged(ctx, homes, func(home roam.OfficeID, ids []string) error { return b.acknowledged(ctx, home, ids) })
	})
	all.Wait()
	last, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	b.loop.Do(last, func() { // what comes later, from calls that ended with the office, goes at once
		b.ended = true
		b.hand()
	})
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
	q, args := listQuery(user, after, max)
	rows, err := b.file.Query(ctx, q, args...)
	if err != nil {
		return nil, fmt.Errorf("list calls: %w", err)
	}
	defer rows.Close()
	var all []roam.CDR
	for rows.Next() {
		var text []byte
		var start, id string
		var cdr roam.CDR
		if err := rows.Scan(&text, &start, &id); err != nil {
			return nil, fmt.Errorf("list calls: %w", err)
		}
		if err := json.Unmarshal(text, &cdr); err != nil {
			return nil, fmt.Errorf("list calls: %w", err)
		}
		all = append(all, cdr)
	}
	return all, rows.Err()
}

// listQuery is List's question. Each arm is sorted by itself and the two are merged, so that cdr is read by an index.
func listQuery(user roam.UserID, after string, max int) (q string, args []any) {
	where := ` WHERE true`
	if user != "" {
		where += ` AND user = ?1`
	}
	if after != "" {
		where += ` AND (start, id) < (SELECT start, id FROM cdr WHERE id = ?2 UNION ALL SELECT start, id FROM cdr_now WHERE id = ?2)`
	}
	return `SELECT record, start, id FROM cdr` + where + ` UNION ALL SELECT record, start, id FROM cdr_now` + where +
		` ORDER BY start DESC, id DESC LIMIT ?3`, []any{string(user), after, max}
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
	rows, err := b.file.Query(ctx, `SELECT home, count(*), min(ended) FROM cdr WHERE state IN ('outbox', 'sent') GROUP BY home`)
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
