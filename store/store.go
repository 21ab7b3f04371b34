// Package store is the office's one SQLite file: migrations, one writer, group
// commit. It knows no table; each role brings its own.
package store

import (
	"context"
	"database/sql"
	"errors"
)

// ErrFull says that the writer has more to do than it may hold.
var ErrFull = errors.New("store full")

// Schema is a role's tables: numbered migrations, applied once, in order.
type Schema struct {
	Role  string
	Steps []string
}

// Tx is what a change may do.
type Tx interface {
	Exec(q string, args ...any) (changed int64, err error)
	Query(q string, args ...any) (*sql.Rows, error)
}

// File is the office's file.
type File struct{}

// Open opens or makes the file, takes its lock (a second process is refused with a
// clear error), and migrates. path ":memory:" is for tests.
func Open(path string, s ...Schema) (*File, error) { panic("store: not built") }

// Run is the writer: it commits whatever queued during the last commit, until ctx ends and
// the queue is empty.
func (f *File) Run(ctx context.Context) error { panic("store: not built") }

// Write is one change for the next commit.
type Write struct {
	Change func(Tx) error
	Power  bool        // must survive power loss: its commit is FULL
	Done   func(error) // once, on the writer's goroutine: post it to your loop; may be nil
}

// Write queues w. It never waits: a full queue is ErrFull. When a commit fails its
// changes are repeated one by one, so that a bad one does not refuse its neighbours.
func (f *File) Write(w Write) error { panic("store: not built") }

// Query reads, on a connection of its own. It waits: only at start, or away from the loop.
func (f *File) Query(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	panic("store: not built")
}

// Node is the id of this file, made at the first open, then stable.
func (f *File) Node() string { panic("store: not built") }

// Boot grows by one at every open.
func (f *File) Boot() uint64 { panic("store: not built") }

// Close closes the file after Run has returned.
func (f *File) Close() error { panic("store: not built") }
