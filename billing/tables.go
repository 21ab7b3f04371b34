package billing

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/store"
)

// The states of a record.
const (
	own    = "own"    // it belongs here: the ledger
	outbox = "outbox" // of another home; to be sent when the call has ended
	sent   = "sent"   // on its way, not acknowledged
	kept   = "kept"   // home has it on its disk
)

// Schema is the ledger's and the outbox's tables, with a view for people. Times are UTC
// texts of one length, so that they sort; ” is none.
var Schema = store.Schema{Role: "billing", Steps: []string{`
CREATE TABLE cdr (
	id     TEXT PRIMARY KEY,
	state  TEXT NOT NULL,             -- own, outbox, sent, kept
	office TEXT NOT NULL,             -- who served the call
	home   TEXT NOT NULL,             -- whose ledger it belongs to
	user   TEXT NOT NULL,
	start  TEXT NOT NULL,
	ended  TEXT NOT NULL,             -- '' while the call is up
	boot   INTEGER NOT NULL,          -- which run of this office wrote it
	due    TEXT NOT NULL DEFAULT '',  -- when it is sent again, of a sent one
	tries  INTEGER NOT NULL DEFAULT 0,
	record TEXT NOT NULL              -- roam.CDR as JSON
) STRICT;
CREATE INDEX cdr_start ON cdr (start, id);
CREATE INDEX cdr_user ON cdr (user, start, id);
CREATE INDEX cdr_pending ON cdr (state, due) WHERE state IN ('outbox', 'sent');
CREATE INDEX cdr_open ON cdr (boot) WHERE ended = '';
-- What came from other offices and is no record of ours; for people to look at.
CREATE TABLE cdr_refused (
	n INTEGER PRIMARY KEY, at TEXT NOT NULL, office TEXT NOT NULL, id TEXT NOT NULL, why TEXT NOT NULL, record TEXT NOT NULL
) STRICT;
-- When this office was last known to run, while calls were up.
CREATE TABLE cdr_alive (one INTEGER PRIMARY KEY CHECK (one = 1), at TEXT NOT NULL) STRICT;
CREATE VIEW calls AS SELECT
	record->>'$.call' AS call, start, ended,
	CASE WHEN record->>'$.Answered' LIKE '0001-%' THEN NULL WHEN ended = '' THEN NULL
		ELSE max(0, round((julianday(ended) - julianday(record->>'$.Answered')) * 86400, 1)) END AS talk_s,
	user, record->>'$.role' AS role, record->>'$.from' AS caller, record->>'$.to' AS callee, record->>'$.kind' AS kind,
	record->>'$.roaming' AS roaming, office, home, record->>'$.status' AS status, record->>'$.by' AS ended_by,
	record->>'$.why' AS why, record->>'$.codec' AS codec, state, id
FROM cdr ORDER BY start DESC, id DESC;
`}}

// layout is how times stand in the tables.
const layout = "2006-01-02T15:04:05.000Z"

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(layout)
}

// row is one record as it stands in the table.
type row struct {
	id, state, office, home, user, start, ended string
	record                                      []byte
}

func newRow(cdr roam.CDR, state string) (row, error) {
	record, err := json.Marshal(cdr)
	return row{cdr.ID, state, string(cdr.Office), string(cdr.Home), string(cdr.User), stamp(cdr.Start), stamp(cdr.End), record}, err
}

// replace writes r, whatever stood there: our own words about our own call.
func (r row) replace(tx store.Tx, boot uint64) error {
	_, err := tx.Exec(`INSERT INTO cdr (id, state, office, home, user, start, ended, boot, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET state = excluded.state, home = excluded.home, user = excluded.user, start = excluded.start,
		ended = excluded.ended, boot = excluded.boot, due = '', tries = 0, record = excluded.record`,
		r.id, r.state, r.office, r.home, r.user, r.start, r.ended, int64(boot), string(r.record))
	return err
}

// admit writes r, which came from another office, unless it is there: a repetition changes
// nothing. Only the same office may replace its record, by one with a later end.
func (r row) admit(tx store.Tx, boot uint64) (changed bool, err error) {
	n, err := tx.Exec(`INSERT INTO cdr (id, state, office, home, user, start, ended, boot, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET user = excluded.user, start = excluded.start, ended = excluded.ended, record = excluded.record
		WHERE office = excluded.office AND ended < excluded.ended`,
		r.id, r.state, r.office, r.home, r.user, r.start, r.ended, int64(boot), string(r.record))
	return n > 0, err
}

// receipt names one version of a record, so that an acknowledgement says what it acknowledges.
func (r row) receipt() string { return r.id + " " + r.ended }

func readReceipt(text string) (id, ended string) {
	i := strings.LastIndexByte(text, ' ')
	if i < 0 {
		return text, ""
	}
	return text[:i], text[i+1:]
}

// maxRecord is more than a record can need, in bytes.
const maxRecord = 64 << 10

// received checks a record that came from another office for us.
func received(receipt string, from, here roam.OfficeID, record []byte) (row, error) {
	if len(record) > maxRecord {
		return row{}, fmt.Errorf("%d bytes are too many", len(record))
	}
	var cdr roam.CDR
	if err := json.Unmarshal(record, &cdr); err != nil {
		return row{}, fmt.Errorf("no record: %w", err)
	}
	r, err := newRow(cdr, own)
	switch {
	case err != nil:
		return r, err
	case cdr.Home != here:
		return r, fmt.Errorf("it belongs to %q", cdr.Home)
	case cdr.Office != from || from == here:
		return r, fmt.Errorf("it is of %q, and came from %q", cdr.Office, from)
	case r.ended == "" || cdr.Start.IsZero() || cdr.End.Before(cdr.Start):
		return r, errors.New("it has no start and end")
	case r.receipt() != receipt:
		return r, errors.New("it has another id than it came with")
	}
	return r, nil
}
