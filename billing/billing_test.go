package billing

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/store"
)

// post is a routing store in memory, as far as records need one. away has it refuse; twice doubles what it carries.
type post struct {
	mu          sync.Mutex // guards all
	way         map[roam.OfficeID][]letter
	acks        map[roam.OfficeID][]string
	away, twice bool
}

type letter struct {
	id   string
	from roam.OfficeID
	cdr  []byte
}

func newPost() *post {
	return &post{way: map[roam.OfficeID][]letter{}, acks: map[roam.OfficeID][]string{}}
}

func (p *post) set(away, twice bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away, p.twice = away, twice
}

// desk is one office's view of the post.
type desk struct {
	*post
	office roam.OfficeID
}

func (d desk) Send(_ context.Context, to roam.OfficeID, cdr []byte, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.away {
		return roam.StoreAway
	}
	d.way[to] = append(d.way[to], letter{id, d.office, cdr})
	if d.twice {
		d.way[to] = append(d.way[to], letter{id, d.office, cdr})
	}
	return nil
}

func (d desk) Receive(ctx context.Context, keep func(string, roam.OfficeID, []byte) error) error {
	for ctx.Err() == nil {
		d.mu.Lock()
		var l letter
		if len(d.way[d.office]) > 0 {
			l = d.way[d.office][0]
		}
		d.mu.Unlock()
		if l.id == "" || keep(l.id, l.from, l.cdr) != nil {
			time.Sleep(2 * time.Millisecond)
			continue
		}
		d.mu.Lock()
		d.way[d.office] = d.way[d.office][1:]
		d.acks[l.from] = append(d.acks[l.from], l.id)
		d.mu.Unlock()
	}
	return nil
}

func (d desk) Acknowledged(ctx context.Context, kept func([]string) error) error {
	for ctx.Err() == nil {
		d.mu.Lock()
		ids := d.acks[d.office]
		d.acks[d.office] = nil
		d.mu.Unlock()
		if len(ids) > 0 && kept(ids) != nil {
			return errors.New("not kept")
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

// run starts the ledger of office over the file at path until the returned function is called.
func run(t *testing.T, office roam.OfficeID, path string, p *post) (*Ledger, func()) {
	t.Helper()
	f, err := store.Open(path, Schema)
	if err != nil {
		t.Fatal(err)
	}
	l := loop.New(100, 10)
	b := New(office, l, f, desk{p, office}, nil, zerolog.Nop())
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	fctx, fcancel := context.WithCancel(context.Background())
	wg.Go(func() { f.Run(fctx) })
	var use sync.WaitGroup
	use.Go(func() { l.Run(ctx) })
	use.Go(func() { b.Run(ctx) })
	return b, func() {
		cancel()
		use.Wait()
		fcancel()
		wg.Wait()
		f.Close()
	}
}

func write(t *testing.T, b *Ledger, cdr roam.CDR) {
	t.Helper()
	done := make(chan error, 1)
	b.loop.Post(func() { b.Write(cdr, func(err error) { done <- err }) })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// wants waits until b lists n records with an end.
func wants(t *testing.T, b *Ledger, n int) []roam.CDR {
	t.Helper()
	var got []roam.CDR
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var err error
		if got, err = b.List(context.Background(), "", "", 100); err != nil {
			t.Fatal(err)
		}
		if len(got) == n {
			return got
		}
	}
	t.Fatalf("%d records, want %d", len(got), n)
	return nil
}

func state(t *testing.T, b *Ledger, id string) (s string) {
	t.Helper()
	rows, err := b.file.Query(context.Background(), `SELECT state FROM cdr WHERE id = ?`, id)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		rows.Scan(&s)
	}
	return s
}

func reaches(t *testing.T, b *Ledger, id, want string) {
	t.Helper()
	got := ""
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if got = state(t, b, id); got == want {
			return
		}
	}
	t.Fatalf("record %s is %q, want %q", id, got, want)
}

func visitorsCall(id string) roam.CDR {
	now := time.Now().UTC()
	return roam.CDR{ID: id, Office: "south", Home: "north", User: "1001@north.example", Role: "callee", Kind: roam.InOffice, Roaming: true,
		Start: now.Add(-time.Minute), Answered: now.Add(-50 * time.Second), End: now, Status: 200, Cause: 16}
}

func TestVisitorsRecordGoesHomeOnce(t *testing.T) {
	p := newPost()
	p.set(false, true)
	north, stopNorth := run(t, "north", ":memory:", p)
	defer stopNorth()
	south, stopSouth := run(t, "south", ":memory:", p)
	defer stopSouth()
	open := visitorsCall("a")
	open.End = time.Time{}
	write(t, south, open)
	if got := state(t, south, "a"); got != "open" {
		t.Errorf("answered: %q, want open", got)
	}
	write(t, south, visitorsCall("a"))
	reaches(t, south, "a", "done")
	if got := wants(t, north, 1)[0]; got.ID != "a" || got.Office != "south" || got.End.IsZero() || got.Version != 1 {
		t.Errorf("north has %+v", got)
	}
}

func TestOwnRecordStays(t *testing.T) {
	b, stop := run(t, "south", ":memory:", newPost())
	defer stop()
	cdr := visitorsCall("own")
	cdr.Home = "south"
	write(t, b, cdr)
	if got := state(t, b, "own"); got != "own" {
		t.Errorf("state %q, want own", got)
	}
}

// South's process dies during a call, with the store away; its record still reaches home, once.
func TestDeathDuringACall(t *testing.T) {
	p := newPost()
	p.set(true, false)
	path := filepath.Join(t.TempDir(), "office.db")
	south, stop := run(t, "south", path, p)
	write(t, south, visitorsCall("finished"))
	open := visitorsCall("up")
	open.End = time.Time{}
	write(t, south, open)
	stop()
	south, stop = run(t, "south", path, p)
	defer stop()
	reaches(t, south, "up", "outbox")
	p.set(false, false)
	south.nudge()
	north, stopNorth := run(t, "north", ":memory:", p)
	defer stopNorth()
	for _, cdr := range wants(t, north, 2) {
		if cdr.ID == "up" && (cdr.Reason != "restart" || cdr.End.IsZero()) {
			t.Errorf("the cut call's record: %+v", cdr)
		}
	}
	reaches(t, south, "finished", "done")
}

func TestForeignRecordIsRefused(t *testing.T) {
	p := newPost()
	north, stop := run(t, "north", ":memory:", p)
	defer stop()
	if err := north.keep("x", "west", []byte(`{"id":"x","home":"north","office":"south"}`)); err != nil {
		t.Fatal(err)
	}
	if got := state(t, north, "x"); got != "" {
		t.Errorf("a record that west sent of a call at south is %q", got)
	}
}

func TestListPages(t *testing.T) {
	b, stop := run(t, "south", ":memory:", newPost())
	defer stop()
	for i, id := range []string{"a", "b", "c"} {
		cdr := visitorsCall(id)
		cdr.Start = cdr.Start.Add(time.Duration(i) * time.Second)
		write(t, b, cdr)
	}
	first, err := b.List(context.Background(), "1001@north.example", "", 2)
	if err != nil || len(first) != 2 || first[0].ID != "c" || first[1].ID != "b" {
		t.Fatalf("first page %v, %v", first, err)
	}
	if next, _ := b.List(context.Background(), "", "b", 2); len(next) != 1 || next[0].ID != "a" {
		t.Errorf("next page %v", next)
	}
}
