// Package billing brings each charging record once to the ledger of its user's home (M8).
package billing

import (
	"context"

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

// Schema is the ledger's and the outbox's tables, with a view for people.
var Schema = store.Schema{Role: "billing"}

// Ledger is the office's charging records.
type Ledger struct{}

// New makes the ledger of office.
func New(office roam.OfficeID, l *loop.Loop, f *store.File, c Courier, m *metric.Set, log zerolog.Logger) *Ledger {
	panic("billing: not built")
}

// Run sends what is unsent and receives what is ours, until ctx ends.
func (b *Ledger) Run(ctx context.Context) error { panic("billing: not built") }

// Write keeps cdr: once when the call is answered (End zero), once at its end; the same
// ID replaces. done comes on the loop when it is safe from power loss.
func (b *Ledger) Write(cdr roam.CDR, done func(error)) { panic("billing: not built") }

// List is the newest records after id ("" : from the newest), for people. It waits.
func (b *Ledger) List(ctx context.Context, user roam.UserID, after string, max int) ([]roam.CDR, error) {
	panic("billing: not built")
}
