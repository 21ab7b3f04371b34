package billing

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/store"
)

// ups is how many calls have a row in cdr_up.
func (d *desk) ups() (n int) {
	d.t.Helper()
	if err := d.each(context.Background(), `SELECT n FROM cdr_up`, nil, func([]byte) error { n++; return nil }); err != nil {
		d.t.Fatal(err)
	}
	return n
}

// both is the two records of a call within south.
func both(cdr roam.CDR) []roam.CDR {
	cdr.Home, cdr.User, cdr.Kind, cdr.Roaming = "south", "2001@south.example", roam.InOffice, false
	caller := cdr
	caller.ID, caller.Role, caller.User = cdr.ID+"-caller", "caller", "2002@south.example"
	return []roam.CDR{caller, cdr}
}

// hand has calls written in one turn, as fn says, and waits for what they were told.
func (d *desk) hand(fn func(write func(call uint64, cdrs []roam.CDR))) (told []error) {
	d.t.Helper()
	ends, n := make(chan error, 1000), 0
	d.loop.Do(context.Background(), func() {
		fn(func(call uint64, cdrs []roam.CDR) {
			n++
			d.Write(call, cdrs, func(err error) { ends <- err })
			for i := range cdrs {
				cdrs[i] = roam.CDR{} // the ledger has copied it
			}
		})
	})
	for range n {
		told = append(told, <-ends)
	}
	return told
}

// A call that is up is one row whatever the number of its records; its end takes the row away.
func TestUpAndOver(t *testing.T) {
	b := open(t, "south", ":memory:", "", nil)
	b.hand(func(write func(uint64, []roam.CDR)) {
		for i := range uint64(40) {
			write(i, both(answered("x")))
		}
	})
	if got := b.ups(); got != 40 {
		t.Errorf("%d calls are up, want 40", got)
	}
	if got := b.list("2002@south.example"); len(got) != 40 || got[0].ID != "x-caller" || !got[0].End.IsZero() {
		t.Errorf("listed %d, want 40 of the caller without an end", len(got))
	}
	if got := b.calls.Load(); got != 40 {
		t.Errorf("%d calls counted, want 40", got)
	}
	b.hand(func(write func(uint64, []roam.CDR)) {
		for i := range uint64(40) {
			over := call(strings.Repeat("y", int(i+1)))
			write(i, both(over))
		}
	})
	if got := b.states(); b.ups() != 0 || got[own] != 80 || len(got) != 1 || b.calls.Load() != 0 {
		t.Errorf("%d up, %v, want 80 of our own", b.ups(), got)
	}
	if got := b.count("written"); got != 80 {
		t.Errorf("counted %d, want 80", got)
	}
}

// What is ended before it was written as up leaves only its end.
func TestOverBeforeItWasUp(t *testing.T) {
	b := open(t, "south", ":memory:", "", nil)
	told := b.hand(func(write func(uint64, []roam.CDR)) {
		write(1, both(answered("x")))
		write(2, both(answered("z")))
		write(1, both(call("x")))
	})
	if errors.Join(told...) != nil || len(told) != 3 {
		t.Errorf("told %v", told)
	}
	if got := b.states(); got["up"] != 2 || got[own] != 2 {
		t.Errorf("got %v, want two records of each call", got)
	}
}

// A call the file refuses costs its neighbours nothing, not even the one that ended meanwhile.
func TestABadRecordLosesNoOther(t *testing.T) {
	b := open(t, "south", ":memory:", "", nil)
	if err := b.change(t.Context(), false, func(tx store.Tx) error {
		_, err := tx.Exec(`CREATE TRIGGER bad BEFORE INSERT ON cdr WHEN new.id = 'bad' BEGIN SELECT raise(ABORT, 'bad record'); END`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	bad := 0
	for _, err := range b.hand(func(write func(uint64, []roam.CDR)) {
		write(1, both(call("good")))
		write(2, both(call("bad")))
		write(3, both(answered("up")))
		for i := range uint64(groupCalls - 3) { // this group is full, and goes
			write(10+i, both(call("more"+strings.Repeat("+", int(i)))))
		}
		write(3, both(call("up")))
		for i := range uint64(groupCalls - 1) { // the next one, too: it is on disk when the first is tried again
			write(1000+i, both(call("next"+strings.Repeat("+", int(i)))))
		}
	}) {
		if err != nil {
			bad++
		}
	}
	if got, want := b.states(), 2*(2*groupCalls-2); bad != 1 || got[own] != want || b.ups() != 0 {
		t.Errorf("%d calls were refused, %v is there, %d up; want 1, %d, 0", bad, got, b.ups(), want)
	}
	if got := b.count("failed"); got != 2 {
		t.Errorf("%d records failed, want the 2 of one call", got)
	}
}

// Rows that are there already are replaced, in whatever company: the fast statement fails and each is written by itself.
func TestReplaceAmongMany(t *testing.T) {
	b := open(t, "south", ":memory:", "", nil)
	var rows []row
	var ups, gone []any
	for i := range 3*together + 1 {
		rows = append(rows, rowFor(call(fmt.Sprint(i)), "south"))
		ups = append(ups, int64(i), "", "[]")
		gone = append(gone, int64(i))
	}
	longer := call(fmt.Sprint(together + 5))
	longer.End = longer.End.Add(time.Hour)
	for i, change := range []func(tx store.Tx) error{
		func(tx store.Tx) error {
			return errors.Join(replaceAll(tx, rows[together+5:2*together], 1), putUp(tx, ups[9:12]))
		},
		func(tx store.Tx) error {
			rows[together+5] = rowFor(longer, "south")
			return errors.Join(replaceAll(tx, rows, 1), putUp(tx, ups))
		},
		func(tx store.Tx) error { return dropUp(tx, gone[1:]) },
	} {
		if err := b.change(t.Context(), false, change); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	all := b.list("")
	n := 0
	for _, c := range all {
		if c.End.Equal(longer.End) {
			n++
		}
	}
	if len(all) != len(rows) || n != 1 || b.ups() != 1 {
		t.Errorf("%d records, %d of them longer, %d up; want %d, 1, 1", len(all), n, b.ups(), len(rows))
	}
}

// While the store takes nothing records wait, up to a bound.
func TestRecordsWaitForTheStore(t *testing.T) {
	f, err := store.Open(":memory:", Schema) // its writer does not run: the queue fills
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for f.Write(store.Write{Change: func(store.Tx) error { return nil }}) == nil {
	}
	synctest.Test(t, func(t *testing.T) {
		l := loop.New(10, 10)
		b := New("south", l, f, deaf{}, there, &metric.Set{}, zerolog.Nop())
		ctx, cancel := context.WithCancel(t.Context())
		go l.Run(ctx)
		defer cancel()
		failed := 0
		l.Do(ctx, func() {
			for i := range uint64(maxCalls + 5) {
				b.Write(i, both(call("x")), func(err error) {
					if failed++; err != store.ErrFull {
						t.Errorf("got %v, want %v", err, store.ErrFull)
					}
				})
			}
		})
		time.Sleep(time.Minute)
		l.Do(ctx, func() {
			if failed != 5 || len(b.filling.entries) != maxCalls {
				t.Errorf("%d refused, %d wait, want 5 and %d", failed, len(b.filling.entries), maxCalls)
			}
		})
	})
}

// What is written when Run has ended goes at once: no timer fires any more.
func TestTheLastRecordsGoAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "office.db")
	b := open(t, "south", path, "", nil)
	late := make(chan bool)
	go b.loop.Do(context.Background(), func() {
		b.Write(1, both(call("gathered")), nil)
		b.ended = true
		b.Write(2, both(call("late")), nil)
		if n := len(b.filling.entries); n != 0 {
			t.Errorf("%d calls wait, want none", n)
		}
		close(late)
	})
	<-late
	b.stop()
	b = open(t, "south", path, "", nil)
	if got := b.states(); got[own] != 4 {
		t.Errorf("got %v, want 4 records", got)
	}
}

// A file of the first step keeps the calls that were up: they are closed as a crash leaves them.
func TestFirstStep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "office.db")
	f, err := store.Open(path, store.Schema{Role: Schema.Role, Steps: Schema.Steps[:1]})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- f.Run(ctx) }()
	done := make(chan error, 1)
	up, over := rowFor(answered("up"), "south"), rowFor(call("over"), "south")
	if err := f.Write(store.Write{Done: func(err error) { done <- err }, Change: func(tx store.Tx) error {
		return replaceAll(tx, []row{up, over}, f.Boot())
	}}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := errors.Join(<-ended, f.Close()); err != nil {
		t.Fatal(err)
	}
	b := open(t, "south", path, "", nil)
	b.eventually("closed", func() bool { return b.count("written") == 1 })
	for _, c := range b.list("") {
		if cut := c.ID == "up"; cut != (c.Reason == "restart") || c.End.IsZero() {
			t.Errorf("%s: ended %v by %q", c.ID, c.End, c.Reason)
		}
	}
	if got := b.states(); got[outbox] != 2 || b.ups() != 0 {
		t.Errorf("got %v and %d up, want both in the outbox", got, b.ups())
	}
}

// The newest records are found by an index, however many there are.
func TestListReadsAnIndex(t *testing.T) {
	b := open(t, "south", ":memory:", "", nil)
	for _, c := range []struct {
		user  roam.UserID
		after string
		want  string
	}{{"", "", "cdr_start"}, {"x", "", "cdr_user"}, {"", "1", "cdr_start"}, {"x", "1", "cdr_user"}} {
		q, args := listQuery(c.user, c.after, 10)
		if plan := b.plan(q, args...); !strings.Contains(plan, "USING INDEX "+c.want) || strings.Contains(plan, "SCAN cdr\n") {
			t.Errorf("%q after %q: got plan %s, want index %s", c.user, c.after, plan, c.want)
		}
	}
	if plan := b.plan(`SELECT * FROM calls LIMIT 10`); !strings.Contains(plan, "SCAN cdr USING INDEX cdr_start") {
		t.Errorf("calls: got plan %s, want index cdr_start", plan)
	}
}

// plan is how SQLite means to answer q, a line a step.
func (d *desk) plan(q string, args ...any) (plan string) {
	d.t.Helper()
	rows, err := d.file.Query(d.t.Context(), `EXPLAIN QUERY PLAN `+q, args...)
	if err != nil {
		d.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			d.t.Fatal(err)
		}
		plan += detail + "\n"
	}
	return plan
}

// BenchmarkGroup is what the two records of a call cost the writer: at its answer and at its end.
func BenchmarkGroup(b *testing.B) {
	f, err := store.Open(filepath.Join(b.TempDir(), "office.db"), Schema)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error)
	go func() { ended <- f.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	const calls = 64 // in a group
	var g group
	done := make(chan error, 1)
	commit := func() {
		if err := f.Write(store.Write{Power: true, Done: func(err error) { done <- err }, Change: func(tx store.Tx) error { return g.change(tx, "south", 1) }}); err != nil {
			b.Fatal(err)
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		g.reset()
	}
	b.ReportAllocs()
	number := uint64(0)
	for b.Loop() { // one call; every group has as many that begin as end
		number++
		id := time.Unix(int64(number), 0).UTC().Format("0102150405")
		g.add(entry{call: number, up: true}, both(answered(id)))
		g.add(entry{call: number - calls, was: true}, both(call(id)))
		if number%calls == 0 {
			commit()
		}
	}
}
