package billing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/store"
)

const (
	look      = 5 * time.Second  // between looks at the outbox when nothing new was written
	sendAgain = 60 * time.Second // a record sent so long ago without acknowledgement is sent again
	mostSent  = 100              // at one look
)

// Run sends what is unsent and receives what is ours, until ctx ends.
func (b *Ledger) Run(ctx context.Context) error {
	if err := b.closeOpen(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("billing: %w", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { b.send(ctx) })
	wg.Go(func() { b.courier.Receive(ctx, b.keep) })
	wg.Go(func() { b.courier.Acknowledged(ctx, b.acknowledged) })
	wg.Wait()
	return nil
}

// closeOpen ends the records of calls that were up when the process died. When they ended is not known;
// the start of this process is the latest it can have been.
func (b *Ledger) closeOpen(ctx context.Context) error {
	open, err := b.records(ctx, `SELECT record FROM cdr WHERE state = 'open' AND boot < ?`, int64(b.file.Boot()))
	if err != nil {
		return err
	}
	for _, cdr := range open {
		cdr.End, cdr.By, cdr.Reason, cdr.Cause = time.Now().UTC(), "office", "restart", 41 // Q.850 41: temporary failure
		done := make(chan error, 1)
		b.write(cdr, func(err error) { done <- err }, func(err error) { done <- err })
		select {
		case err := <-done:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// send empties the outbox, as often as something comes into it and every look.
func (b *Ledger) send(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if err := b.sendSome(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, roam.StoreAway) {
			b.log.Warn().Str("event", "cdr.unsent").Err(err).Msg("charging records wait")
		}
		b.measure(ctx)
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		case <-tick.C:
		}
	}
}

// sendSome sends the oldest records of the outbox, and those sent long ago.
func (b *Ledger) sendSome(ctx context.Context) error {
	unsent, err := b.records(ctx, `SELECT record FROM cdr WHERE state = 'outbox' OR state = 'sent' AND at < ? ORDER BY start LIMIT ?`,
		time.Now().Add(-sendAgain).Unix(), mostSent)
	if err != nil {
		return err
	}
	for _, cdr := range unsent {
		text, err := json.Marshal(cdr)
		if err != nil {
			return err
		}
		if err := b.courier.Send(ctx, cdr.Home, text, cdr.ID); err != nil {
			return err
		}
		b.counted(nil, "sent")
		if err := b.mark(ctx, "sent", []string{cdr.ID}, false); err != nil {
			return err
		}
	}
	if len(unsent) == mostSent {
		b.nudge()
	}
	return nil
}

// mark changes the state of records of ours on their way, and waits for the disk. An acknowledged one stays so.
func (b *Ledger) mark(ctx context.Context, state string, ids []string, power bool) error {
	return b.change(ctx, power, func(tx store.Tx) error {
		for _, id := range ids {
			if _, err := tx.Exec(`UPDATE cdr SET state = ?, at = ? WHERE id = ? AND state IN ('outbox', 'sent')`, state, time.Now().Unix(), id); err != nil {
				return err
			}
		}
		return nil
	})
}

// change writes and waits.
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

// acknowledged closes the records that their homes have kept.
func (b *Ledger) acknowledged(ids []string) error {
	if err := b.mark(context.Background(), "done", ids, true); err != nil {
		return err
	}
	b.count.Add(uint64(len(ids)), "acknowledged")
	b.nudge()
	return nil
}

// keep takes a record of one of our users from the office that served the call. One that we
// have is not kept again; one that is not about a user of ours is refused for ever, and dropped.
func (b *Ledger) keep(id string, from roam.OfficeID, text []byte) error {
	var cdr roam.CDR
	if err := json.Unmarshal(text, &cdr); err != nil || cdr.ID != id || cdr.Home != b.office || cdr.Office != from || cdr.End.IsZero() {
		b.log.Warn().Str("event", "cdr.refused").Str("peer", string(from)).Msg("charging record refused")
		b.counted(nil, "refused")
		return nil
	}
	row, err := b.row(cdr, "kept")
	if err != nil {
		return err
	}
	err = b.change(context.Background(), true, func(tx store.Tx) error {
		_, err := tx.Exec(`INSERT OR IGNORE INTO cdr (id, office, home, user, start, state, boot, at, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, row...)
		return err
	})
	if err == nil {
		b.counted(nil, "kept")
	}
	return err
}

// measure reads what the homes owe us an acknowledgement for.
func (b *Ledger) measure(ctx context.Context) {
	rows, err := b.file.Query(ctx, `SELECT home, count(*), min(start) FROM cdr WHERE state IN ('outbox', 'sent') GROUP BY home`)
	if err != nil {
		return
	}
	defer rows.Close()
	now := map[roam.OfficeID]pending{}
	for rows.Next() {
		var home, oldest string
		var p pending
		if rows.Scan(&home, &p.records, &oldest) != nil {
			return
		}
		p.oldest, _ = time.Parse(time.RFC3339, oldest)
		now[roam.OfficeID(home)] = p
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for home := range b.waiting { // a home without debts is shown as 0
		if _, found := now[home]; !found {
			now[home] = pending{}
		}
	}
	b.waiting = now
}
