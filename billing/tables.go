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

// columns is what people are shown of a record.
const columns = `
	record->>'$.call' AS call, start, ended,
	CASE WHEN record->>'$.Answered' LIKE '0001-%' THEN NULL WHEN ended = '' THEN NULL
		ELSE max(0, round((julianday(ended) - julianday(record->>'$.Answered')) * 86400, 1)) END AS talk_s,
	user, record->>'$.role' AS role, record->>'$.from' AS caller, record->>'$.to' AS callee, record->>'$.kind' AS kind,
	record->>'$.roaming' AS roaming, office, home, record->>'$.status' AS status, record->>'$.by' AS ended_by,
	record->>'$.why' AS why, record->>'$.codec' AS codec, state, id`

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
	due    TEXT NOT NULL DEFAULT '',  -- when it is sent again, of a sent one; when that was acknowledged, of a kept one
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
`, `
DROP VIEW calls;
DROP INDEX cdr_open;
-- The calls that are up, with the records as a crash now would leave them; cdr has those that have ended. The views
-- are sorted arm by arm, so that the newest of many are found by cdr's index.
CREATE TABLE cdr_up (
	n       INTEGER PRIMARY KEY, -- the run of this office, and the call's number in it
	start   TEXT NOT NULL,
	records TEXT NOT NULL        -- an array of roam.CDR
) STRICT;
INSERT INTO cdr_up SELECT -rowid, start, json_array(json(record)) FROM cdr WHERE ended = '';
DELETE FROM cdr WHERE ended = '';
CREATE VIEW cdr_now AS SELECT value->>'$.id' AS id, 'up' AS state, value->>'$.office' AS office, value->>'$.home' AS home,
	value->>'$.user' AS user, start, '' AS ended, value AS record FROM cdr_up, json_each(records);
CREATE VIEW calls AS SELECT ` + columns + ` FROM cdr UNION ALL SELECT ` + columns + ` FROM cdr_now ORDER BY start DESC, id DESC;
`, `
CREATE INDEX cdr_kept ON cdr (home, due) WHERE state = 'kept';
`}}

// layout is how times stand in the tables.
const layout = "2006-01-02T15:04:05.000Z"

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(layout)
}

// row is one record of an ended call as it stands in the table.
type row struct {
	id, state, office, home, user, start, ended string
	record                                      string // roam.CDR as JSON
}

// newRow is cdr's row in the tables of office here; record is cdr as JSON.
func newRow(cdr *roam.CDR, here roam.OfficeID, record string) row {
	state := own
	if cdr.Home != here && cdr.Home != "" {
		state = outbox
	}
	return row{cdr.ID, state, string(cdr.Office), string(cdr.Home), string(cdr.User), stamp(cdr.Start), stamp(cdr.End), record}
}

// together is how many rows one statement writes while there are so many: each costs less so.
const together = 16

// bulk writes rows of width columns. A statement that may have to be taken back after half its rows has SQLite copy each
// page it touches to a journal of its own. So many says OR FAIL, and can: rows are new but for one in a million, and
// what fails is repeated row by row with one, which says what becomes of a row that is there.
type bulk struct {
	width     int
	many, one string
}

// exec writes the rows whose columns stand in args one after another.
func (s bulk) exec(tx store.Tx, args []any) error {
	for n := s.width * together; len(args) >= n; args = args[n:] {
		if _, err := tx.Exec(s.many, args[:n]...); err != nil {
			if err := s.each(tx, args[:n]); err != nil {
				return err
			}
		}
	}
	return s.each(tx, args)
}

func (s bulk) each(tx store.Tx, args []any) error {
	for ; len(args) > 0; args = args[s.width:] {
		if _, err := tx.Exec(s.one, args[:s.width]...); err != nil {
			return err
		}
	}
	return nil
}

// rows is together times row.
func rows(row string) string { return strings.Repeat(row+", ", together-1) + row }

const (
	insertRow = `INTO cdr (id, state, office, home, user, start, ended, boot, record) VALUES `
	insertUp  = `INTO cdr_up (n, start, records) VALUES `
)

var (
	putRows = bulk{9, `INSERT OR FAIL ` + insertRow + rows(`(?, ?, ?, ?, ?, ?, ?, ?, ?)`), `INSERT ` + insertRow + `(?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET state = excluded.state, home = excluded.home, user = excluded.user, start = excluded.start,
		ended = excluded.ended, boot = excluded.boot, due = '', tries = 0, record = excluded.record`}
	putUps  = bulk{3, `INSERT OR FAIL ` + insertUp + rows(`(?, ?, ?)`), `INSERT OR REPLACE ` + insertUp + `(?, ?, ?)`}
	dropUps = bulk{1, `DELETE FROM cdr_up WHERE n IN (` + rows(`?`) + `)`, `DELETE FROM cdr_up WHERE n = ?`}
)

// replaceAll writes rows, whatever stood there: our own words about our own calls.
func replaceAll(tx store.Tx, rows []row, boot uint64) error {
	args := make([]any, 0, 9*len(rows))
	for _, r := range rows {
		args = append(args, r.id, r.state, r.office, r.home, r.user, r.start, r.ended, int64(boot), r.record)
	}
	return putRows.exec(tx, args)
}

// putUp writes rows of cdr_up, given as n, start and records each; dropUp takes those with these keys away.
func putUp(tx store.Tx, rows []any) error  { return putUps.exec(tx, rows) }
func dropUp(tx store.Tx, keys []any) error { return dropUps.exec(tx, keys) }

// rowOf is the key in cdr_up of a call of run boot. A run with 4 billion calls would need 30 years at 4 a second.
func rowOf(call, boot uint64) int64 { return int64(boot<<32 | call&(1<<32-1)) }

// admit writes r, which came from another office, unless it is there: a repetition changes
// nothing. Only the same office may replace its record, by one with a later end.
func (r row) admit(tx store.Tx, boot uint64) (changed bool, err error) {
	n, err := tx.Exec(`INSERT INTO cdr (id, state, office, home, user, start, ended, boot, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET user = excluded.user, start = excluded.start, ended = excluded.ended, record = excluded.record
		WHERE office = excluded.office AND ended < excluded.ended`,
		r.id, r.state, r.office, r.home, r.user, r.start, r.ended, int64(boot), r.record)
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

// speaksFor says that from is office, or one of its softswitches ("north/1").
func speaksFor(from, office roam.OfficeID) bool {
	return from == office || strings.HasPrefix(string(from), string(office)+"/")
}

// received checks a record that came from another office for us, or from a softswitch of ours in a process of its own.
func received(receipt string, from, here roam.OfficeID, record []byte) (row, error) {
	if len(record) > maxRecord {
		return row{}, fmt.Errorf("%d bytes are too many", len(record))
	}
	var cdr roam.CDR
	if err := json.Unmarshal(record, &cdr); err != nil {
		return row{}, fmt.Errorf("no record: %w", err)
	}
	r := newRow(&cdr, here, string(appendJSON(nil, &cdr)))
	switch {
	case cdr.Home != here:
		return r, fmt.Errorf("it belongs to %q", cdr.Home)
	case !speaksFor(from, cdr.Office) || from == here:
		return r, fmt.Errorf("it is of %q, and came from %q", cdr.Office, from)
	case r.ended == "" || cdr.Start.IsZero() || cdr.End.Before(cdr.Start):
		return r, errors.New("it has no start and end")
	case r.receipt() != receipt:
		return r, errors.New("it has another id than it came with")
	}
	return r, nil
}
