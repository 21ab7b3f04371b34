package billing

import (
	"context"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/store"
)

const (
	sendAtOnce  = 100
	patience    = time.Minute   // for an acknowledgement; doubled each time
	maxPatience = 6 * time.Hour // a home that is away for days is not drowned
	look        = 5 * time.Second
	holdFor     = 3 * time.Second // a record that waits for its user's home to have recorded the visit (M9) is looked at again after it
)

// Hold says whose records wait: fn is asked from anywhere, before one is first sent. It is called before Run.
func (b *Ledger) Hold(fn func(user roam.UserID) bool) { b.held = fn }

func (b *Ledger) rouse() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// send brings the outbox onto its way, until ctx ends: new records at once, unacknowledged
// ones again after a while. While the courier cannot, it looks now and then.
func (b *Ledger) send(ctx context.Context) {
	for ctx.Err() == nil {
		more, err := b.sendSome(ctx)
		if more {
			continue
		}
		wake := b.wake
		if err != nil {
			wake = nil // one more record is no reason to try sooner
			b.log.Debug().Str("event", "cdr.waiting").Err(err).Msg("charging records wait")
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-time.After(look):
		}
	}
}

// sendSome sends one batch; more says that there may be another.
func (b *Ledger) sendSome(ctx context.Context) (more bool, err error) {
	some, err := b.unsent(ctx)
	if err != nil || len(some) == 0 {
		return false, err
	}
	var gone, waits []row
	for _, r := range some {
		if r.state == outbox && b.held(roam.UserID(r.user)) {
			waits = append(waits, r)
			continue
		}
		if err = b.courier.Send(ctx, roam.OfficeID(r.home), []byte(r.record), r.receipt()); err != nil {
			break
		}
		gone = append(gone, r)
	}
	if len(gone)+len(waits) == 0 {
		return false, err
	}
	b.total.Add(uint64(len(gone)), "sent")
	marked := b.change(ctx, false, func(tx store.Tx) error {
		for _, r := range waits {
			if _, err := tx.Exec(`UPDATE cdr SET due = ? WHERE id = ? AND state = 'outbox'`, stamp(time.Now().Add(holdFor)), r.id); err != nil {
				return err
			}
		}
		return markSent(tx, gone, time.Now())
	})
	if err == nil {
		err = marked
	}
	return err == nil && len(some) == sendAtOnce, err
}

// unsent is what should be on its way and is not, or has been for too long; oldest first.
func (b *Ledger) unsent(ctx context.Context) (some []row, err error) {
	rows, err := b.file.Query(ctx, `SELECT id, state, home, user, ended, record FROM cdr
		WHERE state IN ('outbox', 'sent') AND due <= ? ORDER BY due, ended LIMIT ?`, stamp(time.Now()), sendAtOnce)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.id, &r.state, &r.home, &r.user, &r.ended, &r.record); err != nil {
			return nil, err
		}
		some = append(some, r)
	}
	return some, rows.Err()
}

// markSent notes when each is to be sent again. One that was acknowledged, or written
// anew, meanwhile is left alone.
func markSent(tx store.Tx, gone []row, now time.Time) error {
	for _, r := range gone {
		rows, err := tx.Query(`SELECT tries FROM cdr WHERE id = ?`, r.id)
		if err != nil {
			return err
		}
		tries := 0
		for rows.Next() {
			err = rows.Scan(&tries)
		}
		if rows.Close(); err != nil {
			return err
		}
		wait := maxPatience
		if tries < 16 {
			wait = min(patience<<tries, maxPatience)
		}
		if _, err := tx.Exec(`UPDATE cdr SET state = 'sent', due = ?, tries = tries + 1 WHERE id = ? AND ended = ? AND state <> 'kept'`,
			stamp(now.Add(wait)), r.id, r.ended); err != nil {
			return err
		}
	}
	return nil
}

// Homes says who will have to acknowledge records of ours: whoever is not among them is heard a second later, the first time. It
// is called before Run.
func (b *Ledger) Homes(ids ...roam.OfficeID) { b.homes = ids }

// acknowledged closes what home has kept of its users' records.
func (b *Ledger) acknowledged(ctx context.Context, home roam.OfficeID, receipts []string) error {
	var closed int64
	now := stamp(time.Now())
	err := b.change(ctx, true, func(tx store.Tx) error {
		closed = 0
		for _, text := range receipts {
			id, ended := readReceipt(text)
			n, err := tx.Exec(`UPDATE cdr SET state = 'kept', due = ? WHERE id = ? AND ended = ? AND home = ? AND state IN ('outbox', 'sent')`,
				now, id, ended, string(home))
			if err != nil {
				return err
			}
			closed += n
		}
		return nil
	})
	if err == nil {
		b.total.Add(uint64(closed), "acknowledged")
	}
	return err
}
