package billing

import (
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/store"
)

// margin is by how much the clocks of two offices may differ, and how long a file may not have been written.
const margin = 10 * time.Minute

// Again sends home the records that it has acknowledged since its file was written at: it has started from an old
// one. What it has all the same counts once. On the loop.
func (b *Ledger) Again(home roam.OfficeID, at time.Time) {
	since := ""
	if !at.IsZero() {
		since = stamp(at.Add(-margin))
	}
	b.due(`UPDATE cdr SET state = 'outbox', due = '', tries = 0 WHERE home = ? AND state = 'kept' AND due >= ?`, string(home), since)
}

// Lost sends at once what is on its way: the courier may have lost it. From any goroutine.
func (b *Ledger) Lost() { b.due(`UPDATE cdr SET due = '' WHERE state = 'sent'`) }

// due has q make records due, and sends them. What cannot be written now is due in time anyhow.
func (b *Ledger) due(q string, args ...any) {
	var n int64
	err := b.file.Write(store.Write{
		Change: func(tx store.Tx) (err error) { n, err = tx.Exec(q, args...); return err },
		Done: func(err error) {
			switch {
			case err != nil:
				b.log.Warn().Str("event", "cdr.again").Err(err).Msg("charging records not sent again")
			case n > 0:
				b.log.Info().Str("event", "cdr.again").Int64("records", n).Msg("charging records are sent again")
				b.rouse()
			}
		}})
	if err != nil {
		b.log.Warn().Str("event", "cdr.again").Err(err).Msg("charging records not sent again")
	}
}
