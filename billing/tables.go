package billing

import "github.com/siproam/siproam/store"

// Schema is the ledger's tables, with a view for people.
//
// state: open (the call is up), own (ours, finished), outbox (to be sent home), sent (on its way), done (home
// has kept it), kept (it came from the office that served the call). at is when state last changed.
var Schema = store.Schema{Role: "billing", Steps: []string{`
CREATE TABLE cdr (
	id TEXT PRIMARY KEY, office TEXT NOT NULL, home TEXT NOT NULL, user TEXT NOT NULL, start TEXT NOT NULL,
	state TEXT NOT NULL, boot INTEGER NOT NULL, at INTEGER NOT NULL, record TEXT NOT NULL) STRICT;
CREATE INDEX cdr_state ON cdr (state, at);
CREATE INDEX cdr_user ON cdr (user, start);
CREATE INDEX cdr_start ON cdr (start)`, `
CREATE VIEW calls AS SELECT
	id, office, home, user, record->>'role' AS role, record->>'from' AS caller, record->>'to' AS callee, record->>'kind' AS kind,
	record->>'roaming' AS roaming, start, record->>'Answered' AS answered, record->>'End' AS ended,
	record->>'status' AS status, record->>'q850' AS q850, record->>'by' AS ended_by, record->>'why' AS reason, state
FROM cdr`}}

const upsert = `
INSERT INTO cdr (id, office, home, user, start, state, boot, at, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, at = excluded.at, record = excluded.record WHERE cdr.state = 'open'`
