// Package store is the office's one SQLite file: migrations, one writer, group
// commit. It knows no table; each role brings its own.
//
// The file is in WAL mode. A commit survives kill -9 of the process; one that holds a
// Power write survives power loss as well (DESIGN 8). One process at a time may have the
// file open; Query reads beside the writer and sees what was committed before it began.
package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	_ "modernc.org/sqlite" // the driver "sqlite", without cgo

	"github.com/siproam/siproam/metric"
)

// The errors a caller may have to tell apart.
var (
	// ErrFull says that the writer has more to do than it may hold.
	ErrFull = errors.New("store full")
	// ErrClosed says that the writer has ended.
	ErrClosed = errors.New("store closed")
	// ErrInUse says that another process has the file.
	ErrInUse = errors.New("in use by another siproam")
)

// Schema is a role's tables: numbered migrations, applied once, in order.
type Schema struct {
	Role  string
	Steps []string
}

// File is the office's file.
type File struct {
	lock   *os.File // nil in memory
	write  *sql.DB  // one connection, held by conn
	conn   *sql.Conn
	read   *sql.DB
	node   string
	boot   uint64
	tx     tx
	full   bool // what PRAGMA synchronous is now
	commit *metric.Histogram

	mu     sync.Mutex // guards queue and closed
	queue  []Write    // at most maxQueue: then ErrFull
	closed bool
	wake   chan struct{} // one place: something is queued
}

// memories numbers the files in memory of this process, so that each is its own.
var memories atomic.Uint64

// Open opens or makes the file, takes its lock (a second process is refused with
// ErrInUse), and migrates. path ":memory:" is for tests.
func Open(path string, s ...Schema) (*File, error) {
	f := &File{wake: make(chan struct{}, 1)}
	if err := f.open(path, s); err != nil {
		f.Close()
		return nil, fmt.Errorf("state %s: %w", path, err)
	}
	return f, nil
}

func (f *File) open(path string, s []Schema) (err error) {
	name := fmt.Sprintf("file:/siproam%d?vfs=memdb", memories.Add(1))
	if path != ":memory:" {
		if f.lock, err = lock(path + ".lock"); err != nil {
			return err
		}
		if err = private(path); err != nil {
			return err
		}
		if name, err = fileURI(path); err != nil {
			return err
		}
	}
	if f.write, err = sql.Open("sqlite", name+"&_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)"+
		"&_pragma=synchronous(full)&_pragma=foreign_keys(1)&_pragma=journal_size_limit(67108864)"); err != nil {
		return err
	}
	f.write.SetMaxOpenConns(1)
	f.full = true
	ctx := context.Background()
	if f.conn, err = f.write.Conn(ctx); err != nil {
		return err
	}
	f.tx = tx{conn: f.conn, prepared: map[string]*sql.Stmt{}}
	if err = f.migrate(s); err != nil {
		return err
	}
	if f.read, err = sql.Open("sqlite", name+"&_pragma=busy_timeout(10000)&_pragma=query_only(1)"); err != nil {
		return err
	}
	f.read.SetMaxOpenConns(4)
	return f.read.PingContext(ctx)
}

// private makes path readable by its owner only. SQLite gives its -wal and -shm the
// mode of the file.
func private(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(file.Chmod(0o600), file.Close())
}

// fileURI is path as SQLite's URI, open for parameters.
func fileURI(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // file:///C:/...
	}
	return "file://" + (&url.URL{Path: path}).EscapedPath() + "?mode=rw", nil
}

// Measure counts how long each commit takes. Before Run.
func (f *File) Measure(m *metric.Set) {
	f.commit = m.Histogram("state_commit_duration_seconds", "How long one commit to the office's file took.", metric.Durations)
}

// Query reads, on a connection of its own. It waits: only at start, or away from the loop.
// The caller closes the rows.
func (f *File) Query(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	return f.read.QueryContext(ctx, q, args...)
}

// Node is the id of this file, made at the first open, then stable: 16 hex digits.
func (f *File) Node() string { return f.node }

// Boot grows by one at every open; the first is 1.
func (f *File) Boot() uint64 { return f.boot }

// Close closes the file after Run has returned.
func (f *File) Close() error {
	var errs []error
	if f.read != nil { // before the writer, whose end then folds the WAL into the file
		errs = append(errs, f.read.Close())
	}
	for _, st := range f.tx.prepared {
		errs = append(errs, st.Close())
	}
	if f.conn != nil {
		errs = append(errs, f.conn.Close())
	}
	if f.write != nil {
		errs = append(errs, f.write.Close())
	}
	if f.lock != nil { // last: whoever waits for it finds everything written
		errs = append(errs, f.lock.Close())
	}
	return errors.Join(errs...)
}

// newNode is a fresh node id.
func newNode() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
