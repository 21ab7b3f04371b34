package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

const (
	maxQueue    = 4096 // writes waiting; then Write returns ErrFull
	maxPrepared = 256  // statements kept ready; roles have a few dozen
)

// Tx is what a change may do.
type Tx interface {
	// Exec runs q and says how many rows it changed.
	Exec(q string, args ...any) (changed int64, err error)
	// Query reads what is committed and what this commit has changed so far. The change
	// closes the rows.
	Query(q string, args ...any) (*sql.Rows, error)
}

// Write is one change for the next commit.
type Write struct {
	// Change may run more than once, when a commit is repeated, so it leaves no trace
	// but in Tx. Its error takes back what it did, and goes to Done.
	Change func(Tx) error
	Power  bool        // must survive power loss: its commit is FULL
	Done   func(error) // once, on the writer's goroutine: post it to your loop; may be nil
}

// Write queues w. It never waits: a full queue is ErrFull, and after the end of Run
// ErrClosed; in both cases Done is not called. When a commit fails its changes are repeated
// one by one, so that a bad one does not refuse its neighbours.
func (f *File) Write(w Write) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	if len(f.queue) >= maxQueue {
		return ErrFull
	}
	f.queue = append(f.queue, w)
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return nil
}

// Run is the writer: it commits whatever queued during the last commit, until ctx ends and
// the queue is empty.
func (f *File) Run(ctx context.Context) error {
	var batch []Write
	for {
		select {
		case <-f.wake:
		case <-ctx.Done():
		}
		last := ctx.Err() != nil
		f.mu.Lock()
		batch, f.queue = f.queue, batch[:0]
		f.closed = last && len(batch) == 0
		f.mu.Unlock()
		if len(batch) > 0 {
			f.save(batch)
			clear(batch) // what its functions hold may go
		} else if last {
			return nil
		}
	}
}

// save commits batch and tells each write how it went.
func (f *File) save(batch []Write) {
	start := time.Now()
	power := false
	for _, w := range batch {
		power = power || w.Power
	}
	var errs []error
	err := f.durable(power)
	if err == nil {
		errs, err = f.tx.commit(batch, false)
	}
	if err != nil && len(batch) > 1 { // one of them is bad: which?
		errs, err = f.tx.commit(batch, true)
	}
	f.commit.Observe(time.Since(start).Seconds())
	for i, w := range batch {
		one := err
		if err == nil {
			one = errs[i]
		} else if len(batch) > 1 { // not even with savepoints: a deferred constraint, a full disk
			_, one = f.tx.commit(batch[i:i+1], false)
		}
		if w.Done != nil {
			w.Done(one)
		}
	}
}

// durable sets what the next commit survives: power loss, or the end of the process. With
// FULL SQLite syncs the WAL at each commit, and so everything before it, too.
func (f *File) durable(power bool) error {
	if power == f.full {
		return nil
	}
	mode := "normal"
	if power {
		mode = "full"
	}
	if err := f.tx.exec("PRAGMA synchronous = " + mode); err != nil {
		return err
	}
	f.full = power
	return nil
}

// tx is the writer's connection. It prepares each statement once.
type tx struct {
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
}

// commit makes all changes in one transaction, or none and says why. With apart each
// change stands in a savepoint of its own, and errs says which ones were taken back.
func (t *tx) commit(batch []Write, apart bool) (errs []error, err error) {
	errs = make([]error, len(batch))
	err = t.atomically(func() error {
		for i, w := range batch {
			if !apart {
				if err := w.Change(t); err != nil {
					return err
				}
				continue
			}
			if err := t.exec("SAVEPOINT change"); err != nil {
				return err
			}
			if errs[i] = w.Change(t); errs[i] != nil {
				if err := t.exec("ROLLBACK TO change"); err != nil {
					return err
				}
			}
			if err := t.exec("RELEASE change"); err != nil {
				return err
			}
		}
		return nil
	})
	return errs, err
}

// atomically runs fn in a transaction and takes all back when it fails.
func (t *tx) atomically(fn func() error) error {
	if err := t.exec("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	err := fn()
	if err == nil {
		if err = t.exec("COMMIT"); err == nil {
			return nil
		}
		err = fmt.Errorf("commit: %w", err)
	}
	// After a full disk SQLite has rolled back by itself and this has nothing to do, which is
	// an error too. A transaction that stayed open is seen at the next BEGIN.
	t.exec("ROLLBACK")
	return err
}

// exec runs q, a statement without arguments or several.
func (t *tx) exec(q string) error {
	_, err := t.conn.ExecContext(context.Background(), q)
	return err
}

// Exec runs q and says how many rows it changed.
func (t *tx) Exec(q string, args ...any) (int64, error) {
	st, err := t.statement(q)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// Query reads inside the transaction.
func (t *tx) Query(q string, args ...any) (*sql.Rows, error) {
	st, err := t.statement(q)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(context.Background(), args...)
}

func (t *tx) statement(q string) (*sql.Stmt, error) {
	if st, found := t.prepared[q]; found {
		return st, nil
	}
	if len(t.prepared) >= maxPrepared {
		for old, st := range t.prepared { // any: this many means that texts are made up
			delete(t.prepared, old)
			st.Close()
			break
		}
	}
	st, err := t.conn.PrepareContext(context.Background(), q)
	if err == nil {
		t.prepared[q] = st
	}
	return st, err
}
