package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/siproam/siproam/metric"
)

var users = Schema{Role: "registrar", Steps: []string{
	`CREATE TABLE user (id TEXT PRIMARY KEY, v INTEGER NOT NULL) STRICT`,
	`CREATE TABLE device (user TEXT REFERENCES user (id) DEFERRABLE INITIALLY DEFERRED) STRICT; CREATE INDEX d ON device (user)`,
}}

// open opens path with Run running; stop ends both.
func open(t testing.TB, path string, s ...Schema) (f *File, stop func()) {
	t.Helper()
	f, err := Open(path, s...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	end := make(chan error, 1)
	go func() { end <- f.Run(ctx) }()
	return f, func() {
		cancel()
		if err := errors.Join(<-end, f.Close()); err != nil {
			t.Error(err)
		}
	}
}

func set(id string, v int) func(Tx) error {
	return func(tx Tx) error {
		_, err := tx.Exec(`INSERT INTO user VALUES (?, ?) ON CONFLICT DO UPDATE SET v = excluded.v`, id, v)
		return err
	}
}

func write(t *testing.T, f *File, w Write) error {
	t.Helper()
	done := make(chan error, 1)
	w.Done = func(err error) { done <- err }
	if err := f.Write(w); err != nil {
		t.Fatal(err)
	}
	return <-done
}

func all(t *testing.T, f *File) (got []string) {
	t.Helper()
	rows, err := f.Query(t.Context(), `SELECT id, v FROM user ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var v int
		if err := rows.Scan(&id, &v); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(id, "=", v))
	}
	return got
}

func TestWritesAreThereAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "an office?#%.db")
	f, stop := open(t, path, users)
	node := f.Node()
	if len(node) != 16 || f.Boot() != 1 {
		t.Errorf("node %q, boot %d, want 16 digits and 1", node, f.Boot())
	}
	m := &metric.Set{}
	f.Measure(m)
	for _, w := range []Write{{Change: set("1001", 1)}, {Change: set("1002", 2), Power: true}, {Change: set("1001", 3)}} {
		if err := write(t, f, w); err != nil {
			t.Error(err)
		}
	}
	if n, _ := f.commit.With().Count(); n != 3 {
		t.Errorf("counted %d commits, want 3", n)
	}
	stop()
	f, stop = open(t, path, users)
	defer stop()
	if f.Node() != node || f.Boot() != 2 {
		t.Errorf("node %q, boot %d, want %q and 2", f.Node(), f.Boot(), node)
	}
	if got, want := all(t, f), []string{"1001=3", "1002=2"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFilesInMemoryAreApart(t *testing.T) {
	a, stopA := open(t, ":memory:", users)
	defer stopA()
	b, stopB := open(t, ":memory:", users)
	defer stopB()
	if err := write(t, a, Write{Change: set("1001", 1), Power: true}); err != nil {
		t.Fatal(err)
	}
	if got := len(all(t, a)); got != 1 {
		t.Errorf("a holds %d rows, want 1", got)
	}
	if got := len(all(t, b)); got != 0 {
		t.Errorf("b holds %d rows, want 0", got)
	}
	if a.Node() == b.Node() {
		t.Error("two files, one node id")
	}
}

// Only its owner reads the file, and a second opener hears who has it.
func TestLockAndMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "office.db")
	f, stop := open(t, path, users)
	if err := write(t, f, Write{Change: set("1001", 1)}); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		for _, name := range []string{path, path + "-wal", path + "-shm", path + ".lock"} {
			st, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if st.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %o, want 600", filepath.Base(name), st.Mode().Perm())
			}
		}
	}
	_, err := Open(path, users)
	if want := fmt.Sprintf("state %s: is in use by another siproam (pid %d)", path, os.Getpid()); !errors.Is(err, ErrInUse) || err.Error() != want {
		t.Errorf("got %v, want %v", err, want)
	}
	stop()
	_, stop = open(t, path, users)
	stop()
}

func TestMigrations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "office.db")
	_, stop := open(t, path, Schema{users.Role, users.Steps[:1]})
	stop()
	f, stop := open(t, path, users, Schema{Role: "billing"})
	if err := write(t, f, Write{Change: func(tx Tx) error { _, err := tx.Exec(`INSERT INTO device VALUES (NULL)`); return err }}); err != nil {
		t.Error(err)
	}
	stop()
	_, err := Open(path, Schema{users.Role, users.Steps[:1]})
	if err == nil || !strings.Contains(err.Error(), "written by a newer siproam: registrar is at step 2, this one knows 1") {
		t.Errorf("got %v, want a refusal of the newer file", err)
	}
	_, err = Open(path, users, Schema{"billing", []string{`CREATE TABLE x (a) STRICT; nonsense`}})
	if err == nil || !strings.Contains(err.Error(), "migrate billing to step 1") {
		t.Errorf("got %v, want the bad step", err)
	}
	if err := os.WriteFile(path+"2", []byte(strings.Repeat("not a database ", 99)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path+"2", users); err == nil || !strings.Contains(err.Error(), "not a database") {
		t.Errorf("got %v, want: not a database", err)
	}
}

// hold queues a write that blocks the writer until release, so that what comes next is one batch.
func hold(t *testing.T, f *File) (release func()) {
	began, free := make(chan struct{}), make(chan struct{})
	if err := f.Write(Write{Change: func(Tx) error { close(began); <-free; return nil }}); err != nil {
		t.Fatal(err)
	}
	<-began
	return func() { close(free) }
}

func TestABadChangeDoesNotRefuseItsNeighbours(t *testing.T) {
	half := errors.New("half done")
	orphan := func(tx Tx) error { _, err := tx.Exec(`INSERT INTO device VALUES ('nobody')`); return err } // refused at COMMIT
	for name, bad := range map[string]struct {
		change func(Tx) error
		want   string
	}{
		"its own error":  {func(tx Tx) error { set("half", 1)(tx); return half }, "half done"},
		"a constraint":   {set1("1001", nil), "NOT NULL"},
		"nonsense":       {func(tx Tx) error { _, err := tx.Exec(`INSERT`); return err }, "incomplete input"},
		"seen at COMMIT": {orphan, "FOREIGN KEY"},
		"its own commit": {func(tx Tx) error { _, err := tx.Exec(`ROLLBACK`); return errors.Join(err, half) }, "half done"},
	} {
		t.Run(name, func(t *testing.T) {
			f, stop := open(t, filepath.Join(t.TempDir(), "office.db"), users)
			defer stop()
			release := hold(t, f)
			done := make(chan string, 3)
			for i, change := range []func(Tx) error{set("1001", 1), bad.change, set("1002", 2)} {
				if err := f.Write(Write{Change: change, Power: i == 2, Done: func(err error) { done <- fmt.Sprintf("%d %v", i, err) }}); err != nil {
					t.Fatal(err)
				}
			}
			release()
			for i := range 3 {
				got := <-done
				if ok := got == fmt.Sprintf("%d <nil>", i); ok != (i != 1) || i == 1 && !strings.Contains(got, bad.want) {
					t.Errorf("write %d: got %s", i, got)
				}
			}
			if got, want := all(t, f), []string{"1001=1", "1002=2"}; !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func set1(id string, v any) func(Tx) error {
	return func(tx Tx) error { _, err := tx.Exec(`INSERT INTO user VALUES (?, ?)`, id, v); return err }
}

func TestQueuedWritesShareACommit(t *testing.T) {
	f, stop := open(t, filepath.Join(t.TempDir(), "office.db"), users)
	m := &metric.Set{}
	f.Measure(m)
	release := hold(t, f)
	told := 0
	for i := range maxQueue {
		if err := f.Write(Write{Change: set(fmt.Sprint(i), i), Done: func(error) { told++ }}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Write(Write{Change: set("over", 1)}); err != ErrFull {
		t.Errorf("got %v, want ErrFull", err)
	}
	release()
	stop()
	if n, _ := f.commit.With().Count(); n != 2 || told != maxQueue {
		t.Errorf("%d commits told %d writes, want 2 and %d", n, told, maxQueue)
	}
	if err := f.Write(Write{Change: set("late", 1)}); err != ErrClosed {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

// Readers are not kept waiting by the writer, and see nothing half done.
func TestQueryBesideTheWriter(t *testing.T) {
	f, stop := open(t, filepath.Join(t.TempDir(), "office.db"), users)
	defer stop()
	began, free := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	f.Write(Write{Change: func(tx Tx) error { err := set("1001", 1)(tx); close(began); <-free; return err }, Done: func(err error) { done <- err }})
	<-began
	if got := all(t, f); len(got) != 0 {
		t.Errorf("got %v before the commit, want nothing", got)
	}
	close(free)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := all(t, f); len(got) != 1 {
		t.Errorf("got %v after the commit, want one row", got)
	}
	if rows, err := f.Query(t.Context(), `DELETE FROM user`); err == nil {
		rows.Next()
		if err = rows.Err(); err == nil {
			t.Error("a reader wrote")
		}
		rows.Close()
	}
}

// What was told as done is there after kill -9, and the lock is free again.
func TestKill9(t *testing.T) {
	path := os.Getenv("STORE_TEST_CHILD")
	if path != "" { // the child: writes and says so, until it is killed
		f, _ := open(t, path, users)
		for i := 0; ; i++ {
			if err := write(t, f, Write{Change: set(fmt.Sprintf("%06d", i), i), Power: i%10 == 0}); err != nil {
				t.Fatal(err)
			}
			fmt.Printf("done %d\n", i)
		}
	}
	path = filepath.Join(t.TempDir(), "office.db")
	child := exec.Command(os.Args[0], "-test.run=^TestKill9$")
	child.Env = append(os.Environ(), "STORE_TEST_CHILD="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	last := 0
	for last < 200 {
		if _, err := fmt.Fscanf(out, "done %d\n", &last); err != nil {
			t.Fatal(err)
		}
	}
	child.Process.Kill()
	child.Wait()
	f, stop := open(t, path, users)
	defer stop()
	if got := len(all(t, f)); got <= last {
		t.Errorf("%d rows after %d were done", got, last+1)
	}
	if f.Boot() != 2 {
		t.Errorf("boot %d, want 2", f.Boot())
	}
}

// Rows per second with 64 writers, each waiting for its own commit.
func BenchmarkWrite(b *testing.B) {
	for _, power := range []bool{false, true} {
		b.Run(fmt.Sprintf("power=%v", power), func(b *testing.B) {
			f, stop := open(b, filepath.Join(b.TempDir(), "office.db"), users)
			defer stop()
			b.ReportAllocs()
			b.SetParallelism(64)
			b.RunParallel(func(pb *testing.PB) {
				done := make(chan error, 1)
				for i := 0; pb.Next(); i++ {
					id := fmt.Sprint(i % 10000)
					if err := f.Write(Write{Change: set(id, i), Power: power, Done: func(err error) { done <- err }}); err != nil {
						b.Fatal(err)
					}
					if err := <-done; err != nil {
						b.Fatal(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// A commit is FULL (2) when one of its writes must survive power loss, else NORMAL (1).
func TestPowerDecidesTheCommit(t *testing.T) {
	f, stop := open(t, filepath.Join(t.TempDir(), "office.db"), users)
	defer stop()
	for i, power := range []bool{false, true, true, false, true} {
		mode, want := 0, 1
		if power {
			want = 2
		}
		if err := write(t, f, Write{Change: func(tx Tx) error { return f.tx.one(`PRAGMA synchronous`, &mode) }, Power: power}); err != nil || mode != want {
			t.Errorf("write %d: synchronous %d, %v, want %d", i, mode, err, want)
		}
	}
}
