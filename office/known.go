package office

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/siproam/siproam/routesrv"
	"github.com/siproam/siproam/store"
)

// schema is the office's own table: what the routing store was last heard to hold, so that a start without
// it still knows whose numbers are whose (DESIGN 7).
var schema = store.Schema{Role: "office", Steps: []string{
	`CREATE TABLE known (one INTEGER PRIMARY KEY CHECK (one = 1), value TEXT NOT NULL) STRICT`,
}}

// knownEvery is how often what is known is written down.
const knownEvery = time.Minute

// document is what the table holds, with its version.
type document struct {
	Version int `json:"v"`
	routesrv.Known
}

// recall has routesrv remember what was written down.
func (o *Office) recall(ctx context.Context) error {
	rows, err := o.file.Query(ctx, `SELECT value FROM known`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		var d document
		if err := json.Unmarshal([]byte(text), &d); err != nil || d.Version != 1 {
			continue // of another version: it is only a memory
		}
		o.routes.Remember(d.Known)
	}
	return rows.Err()
}

// remember writes down what is known, every knownEvery and once at the end.
func (o *Office) remember(ctx context.Context) error {
	tick := time.NewTicker(knownEvery)
	defer tick.Stop()
	var was string
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopFor/2)
		text, err := o.known(last)
		cancel()
		if err == nil && text != was {
			was = text
			err = o.file.Write(store.Write{Change: func(tx store.Tx) error {
				_, err := tx.Exec(`INSERT INTO known VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET value = excluded.value`, text)
				return err
			}})
		}
		if err != nil {
			o.log.Warn().Str("event", "office.known").Err(err).Msg("what is known of others not kept")
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

func (o *Office) known(ctx context.Context) (string, error) {
	d := document{Version: 1}
	if err := o.loop.Do(ctx, func() { d.Known = o.routes.Known() }); err != nil {
		return "", fmt.Errorf("known: %w", err)
	}
	b, err := json.Marshal(d)
	return string(b), err
}
