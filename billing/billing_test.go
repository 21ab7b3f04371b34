package billing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/routesrv"
	"github.com/siproam/siproam/store"
)

// deaf is a courier that carries nothing.
type deaf struct{}

func (deaf) Send(context.Context, roam.OfficeID, []byte, string) error { return roam.StoreAway }
func (deaf) Receive(ctx context.Context, _ func(string, roam.OfficeID, []byte) error) error {
	<-ctx.Done()
	return nil
}
func (deaf) Acknowledged(ctx context.Context, _ []roam.OfficeID, _ func(roam.OfficeID, []string) error) error {
	<-ctx.Done()
	return nil
}

// there is a registrar whose users are at south, and since the beginning of time.
func there(_ context.Context, user roam.UserID, at roam.OfficeID, when time.Time) (bool, error) {
	return strings.HasSuffix(string(user), "@north.example") && (at == "south" || at == "west" && when.Before(began.Add(time.Hour))), nil
}

// twice is a courier that repeats all it carries, and loses every third.
type twice struct {
	Courier
	n int
}

func (t *twice) Send(ctx context.Context, to roam.OfficeID, cdr []byte, id string) error {
	if t.n++; t.n%3 == 0 {
		return nil
	}
	return errors.Join(t.Courier.Send(ctx, to, cdr, id), t.Courier.Send(ctx, to, cdr, id))
}

// desk is one office's ledger with what it needs.
type desk struct {
	t *testing.T
	*Ledger
	metrics *metric.Set
	stop    func()
	numbers map[string]uint64 // of calls, by the id of their record
}

// number is the call's that has the record id.
func (d *desk) number(id string) uint64 {
	if d.numbers[id] == 0 {
		d.numbers[id] = uint64(len(d.numbers) + 1)
	}
	return d.numbers[id]
}

// open is opened, without more.
func open(t *testing.T, office roam.OfficeID, path, addr string, wrap func(Courier) Courier) *desk {
	t.Helper()
	return opened(t, office, path, addr, wrap, func(*Ledger) {})
}

// opened opens the ledger of office at path; wrap makes its courier from the one at addr ("": deaf); before is
// called before the ledger runs.
func opened(t *testing.T, office roam.OfficeID, path, addr string, wrap func(Courier) Courier, before func(*Ledger)) *desk {
	t.Helper()
	f, err := store.Open(path, Schema)
	if err != nil {
		t.Fatal(err)
	}
	l, m := loop.New(1000, 16), &metric.Set{}
	ctx, cancel := context.WithCancel(context.Background())
	last, end := context.WithCancel(context.Background())
	var first, second sync.WaitGroup
	var c Courier = deaf{}
	if addr != "" {
		s, err := routesrv.New(routesrv.Config{Redis: "redis://" + addr}, l, roam.Card{Version: 1, Office: office}, f.Node(), f.Boot(), nil, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		c = s
		second.Go(func() { s.Run(last) })
	}
	if wrap != nil {
		c = wrap(c)
	}
	b := New(office, l, f, c, there, m, zerolog.Nop())
	before(b)
	second.Go(func() { l.Run(last) })
	second.Go(func() { f.Run(last) })
	first.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	var once sync.Once
	d := &desk{t, b, m, func() {
		once.Do(func() {
			cancel()
			first.Wait()
			end()
			second.Wait()
			f.Close()
		})
	}, map[string]uint64{}}
	t.Cleanup(d.stop)
	return d
}

func embedded(t *testing.T) string {
	t.Helper()
	e, err := routesrv.StartEmbedded("127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return e.Addr()
}

func (d *desk) write(cdr roam.CDR) {
	d.t.Helper()
	done := make(chan error, 1)
	within := false
	d.loop.Do(context.Background(), func() {
		within = true
		d.Write(d.number(cdr.ID), []roam.CDR{cdr}, func(err error) {
			if within {
				d.t.Error("done was called in the same turn")
			}
			done <- err
		})
		within = false
	})
	if err := <-done; err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) list(user roam.UserID) []roam.CDR {
	d.t.Helper()
	all, err := d.List(context.Background(), user, "", 10_000)
	if err != nil {
		d.t.Fatal(err)
	}
	return all
}

// states is how many records are in each state.
func (d *desk) states() map[string]int {
	d.t.Helper()
	n := map[string]int{}
	if err := d.each(context.Background(), `SELECT state FROM calls`, nil, func(s []byte) error { n[string(s)]++; return nil }); err != nil {
		d.t.Fatal(err)
	}
	return n
}

func (d *desk) eventually(what string, ok func() bool) {
	d.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			d.t.Fatalf("waited in vain: %s; %v", what, d.states())
		}
	}
}

func (d *desk) gauge(name, home string) (v float64) {
	for _, f := range d.metrics.Families() {
		if f.Name == name {
			f.Read(func(x float64, labels ...string) {
				if labels[0] == home {
					v = x
				}
			})
		}
	}
	return v
}

func (d *desk) count(result string) uint64 {
	n, _ := d.total.With(result).Count()
	return n
}

var began = time.Date(2026, 11, 24, 11, 24, 51, 0, time.UTC)

// call is a finished call of a user of north, served by south.
func call(id string) roam.CDR {
	return roam.CDR{ID: id, Call: "c7f2", Office: "south", Home: "north", User: "1001@north.example", Role: "callee", Kind: roam.Incoming,
		From: "3001@west.example", To: "1001@north.example", Roaming: true, Start: began, Answered: began.Add(4 * time.Second),
		End: began.Add(72 * time.Second), Status: 200, Cause: 16, By: "caller", Reason: "normal"}
}

// rowFor is cdr's row in the tables of office.
func rowFor(cdr roam.CDR, office roam.OfficeID) row {
	return newRow(&cdr, office, string(appendJSON(nil, &cdr)))
}

func answered(id string) roam.CDR {
	c := call(id)
	c.End, c.By, c.Reason, c.Cause = time.Time{}, "", "", 0
	return c
}

func TestARecordGoesHomeOnce(t *testing.T) {
	addr := embedded(t)
	south, north := open(t, "south", ":memory:", addr, nil), open(t, "north", ":memory:", addr, nil)
	south.write(answered("1"))
	if got := south.states(); got["up"] != 1 || len(got) != 1 || south.gauge("cdrs_pending", "north") != 0 {
		t.Errorf("a call that is up: %v, want it up and not pending", got)
	}
	south.write(call("1"))
	local := call("2")
	local.Home, local.User = "south", "2001@south.example"
	south.write(local)
	south.eventually("acknowledged", func() bool { return south.states()["kept"] == 1 })
	if got := north.list(""); len(got) != 1 || got[0].ID != "1" || !got[0].End.Equal(call("1").End) || got[0].Version != 1 {
		t.Errorf("north has %+v, want the one record", got)
	}
	if got := south.states(); got["own"] != 1 || len(got) != 2 {
		t.Errorf("south has %v, want one of its own and one kept", got)
	}
	if got := north.states(); got["own"] != 1 {
		t.Errorf("north has %v, want its own", got)
	}
	if south.count("written") != 2 || south.count("sent") != 1 || south.count("acknowledged") != 1 || north.count("received") != 1 {
		t.Error("counted otherwise")
	}
}

// Home is killed, and the visited office too, again and again, over a courier that
// repeats and loses: each record is in the ledger once.
// TestHeldRecordsWait: the records of a visitor whom home has not recorded wait until it has (M9); nobody else's do.
func TestHeldRecordsWait(t *testing.T) {
	addr := embedded(t)
	var waits atomic.Bool
	waits.Store(true)
	north := open(t, "north", ":memory:", addr, nil)
	south := opened(t, "south", ":memory:", addr, nil, func(b *Ledger) {
		b.Hold(func(user roam.UserID) bool { return waits.Load() && user == call("1").User })
	})
	other := call("2")
	other.User = "1002@north.example"
	south.write(call("1"))
	south.write(other)
	south.eventually("the other's is acknowledged", func() bool { return south.states()["kept"] == 1 })
	if got := south.states(); got["outbox"] != 1 || len(north.list(call("1").User)) != 0 {
		t.Errorf("south has %v, north %v; want one that waits", got, north.list(""))
	}
	waits.Store(false)
	south.eventually("both are acknowledged", func() bool { return south.states()["kept"] == 2 })
	if got := north.list(call("1").User); len(got) != 1 {
		t.Errorf("north has %+v, want the one record", got)
	}
}

func TestOnceThroughCrashes(t *testing.T) {
	addr := embedded(t)
	dir := t.TempDir()
	unreliable := func(c Courier) Courier { return &twice{Courier: c} }
	const rounds, each = 4, 20
	for round := range rounds {
		south := open(t, "south", filepath.Join(dir, "south.db"), addr, unreliable)
		north := open(t, "north", filepath.Join(dir, "north.db"), addr, nil)
		for i := range each {
			id := fmt.Sprint(round, "-", i)
			south.write(answered(id))
			if i != 7 { // one is up when the office dies
				south.write(call(id))
			}
		}
		if round == rounds-1 { // those that got lost are sent again
			south.change(t.Context(), false, func(tx store.Tx) error { _, err := tx.Exec(`UPDATE cdr SET due = '' WHERE state = 'sent'`); return err })
		}
		if round%2 == 0 {
			north.stop()
		}
		south.stop()
		north.stop()
	}
	south := open(t, "south", filepath.Join(dir, "south.db"), addr, nil)
	north := open(t, "north", filepath.Join(dir, "north.db"), addr, nil)
	south.eventually("all at home", func() bool {
		south.change(t.Context(), false, func(tx store.Tx) error { _, err := tx.Exec(`UPDATE cdr SET due = '' WHERE state = 'sent'`); return err })
		south.rouse()
		return south.states()["kept"] == rounds*each
	})
	all := north.list("1001@north.example")
	cut := 0
	for _, c := range all {
		if c.Reason == "restart" {
			cut++
		}
	}
	if len(all) != rounds*each || cut != rounds {
		t.Errorf("home has %d records, %d cut off, want %d and %d", len(all), cut, rounds*each, rounds)
	}
	if got := north.count("refused"); got != 0 {
		t.Errorf("%d refused", got)
	}
}

// A call that a crash cut off ends when the office was last known to run, and never before its answer.
func TestCutOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "office.db")
	b := open(t, "south", path, "", nil)
	b.write(answered("long"))
	late := answered("late")
	late.Start, late.Answered = began.Add(70*time.Second), began.Add(75*time.Second)
	b.write(late)
	b.write(call("over"))
	if err := b.change(t.Context(), false, func(tx store.Tx) error {
		_, err := tx.Exec(`INSERT INTO cdr_alive VALUES (1, ?)`, stamp(began.Add(60*time.Second)))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	b.stop()
	b = open(t, "south", path, "", nil)
	b.eventually("closed", func() bool { return b.count("written") == 2 })
	want := map[string]struct {
		end    time.Time
		reason string
	}{"long": {began.Add(60 * time.Second), "restart"}, "late": {began.Add(75 * time.Second), "restart"}, "over": {call("").End, "normal"}}
	for _, c := range b.list("") {
		if w := want[c.ID]; !c.End.Equal(w.end) || c.Reason != w.reason || c.Reason == "restart" && (c.By != "office" || c.Cause != 41) {
			t.Errorf("%s: got %v %s %s %d, want %v", c.ID, c.End, c.By, c.Reason, c.Cause, w)
		}
	}
	if got := b.states(); got["outbox"] != 3 {
		t.Errorf("got %v, want all in the outbox", got)
	}
	if n, when := b.gauge("cdrs_pending", "north"), b.gauge("cdr_oldest_pending_timestamp_seconds", "north"); n != 3 || when != float64(began.Add(60*time.Second).Unix()) {
		t.Errorf("pending %v since %v", n, when)
	}
}

// An acknowledgement of an older version does not close a newer one, nor does one by somebody who is not the user's home; and it
// closes one that was not yet marked as sent.
func TestAcknowledgementNamesTheVersion(t *testing.T) {
	b := open(t, "south", ":memory:", "", nil)
	ctx := t.Context()
	b.write(call("1"))
	old := rowFor(call("1"), "south")
	longer := call("1")
	longer.End = longer.End.Add(time.Minute)
	b.write(longer)
	now := rowFor(longer, "south")
	for _, step := range []struct {
		home          roam.OfficeID
		receipt, want string
	}{{"north", old.receipt(), outbox}, {"north", "1", outbox}, {"north", "", outbox}, {"north", "x y", outbox}, {"west", now.receipt(), outbox}} {
		if err := b.acknowledged(ctx, step.home, []string{step.receipt}); err != nil || b.states()[step.want] != 1 {
			t.Errorf("%q: %v, %v, want %s", step.receipt, b.states(), err, step.want)
		}
	}
	b.acknowledged(ctx, "north", []string{now.receipt()})
	if b.states()[kept] != 1 {
		t.Errorf("%v, want kept", b.states())
	}
	b.change(ctx, false, func(tx store.Tx) error { return markSent(tx, []row{now}, time.Now()) })
	if b.states()[kept] != 1 {
		t.Errorf("%v after a late mark, want kept", b.states())
	}
}

// The wait for an acknowledgement doubles.
func TestPatience(t *testing.T) {
	b := open(t, "south", ":memory:", "", nil)
	b.write(call("1"))
	r := rowFor(call("1"), "south")
	for i, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, 64 * time.Minute, 128 * time.Minute, 256 * time.Minute, maxPatience, maxPatience} {
		if err := b.change(t.Context(), false, func(tx store.Tx) error { return markSent(tx, []row{r}, began) }); err != nil {
			t.Fatal(err)
		}
		due := ""
		b.each(t.Context(), `SELECT due FROM cdr`, nil, func(s []byte) error { due = string(s); return nil })
		if due != stamp(began.Add(want)) {
			t.Errorf("try %d: due %s, want after %v", i, due, want)
		}
	}
	longer := call("1")
	longer.End = longer.End.Add(time.Minute)
	b.write(longer)
	if some, err := b.unsent(t.Context()); err != nil || len(some) != 1 {
		t.Errorf("got %v, %v, want the new version sent at once", some, err)
	}
}

func TestForged(t *testing.T) {
	b := open(t, "north", ":memory:", "", nil)
	ctx := t.Context()
	good := rowFor(call("1"), "north")
	change := func(fn func(*roam.CDR)) row {
		c := call("1")
		fn(&c)
		return rowFor(c, "north")
	}
	for what, c := range map[string]struct {
		r       row
		receipt string
		from    roam.OfficeID
	}{
		"not JSON":            {row{record: "{"}, "1", "south"},
		"deep":                {row{record: strings.Repeat("[", 20000)}, "1", "south"},
		"long":                {row{record: `{"x":"` + strings.Repeat("x", maxRecord) + `"}`}, "1", "south"},
		"another home":        {change(func(c *roam.CDR) { c.Home = "west" }), good.receipt(), "south"},
		"of another office":   {good, good.receipt(), "west"},
		"of ours":             {change(func(c *roam.CDR) { c.Office = "north" }), good.receipt(), "north"},
		"not ended":           {change(func(c *roam.CDR) { c.End = time.Time{} }), "1 ", "south"},
		"ended before it was": {change(func(c *roam.CDR) { c.End = c.Start.Add(-1) }), good.receipt(), "south"},
		"another id":          {good, "2 " + good.ended, "south"},
		"nobody of ours":      {change(func(c *roam.CDR) { c.User = "2001@south.example" }), good.receipt(), "south"},
		"not there":           {change(func(c *roam.CDR) { c.Office = "east" }), good.receipt(), "east"},
		"not there any more": {change(func(c *roam.CDR) {
			c.Office, c.Start, c.Answered, c.End = "west", began.Add(2*time.Hour), began.Add(2*time.Hour), began.Add(3*time.Hour)
		}), "1 " + stamp(began.Add(3*time.Hour)), "west"},
		"of another's switch": {good, good.receipt(), "west/1"},
	} {
		before := b.count("refused")
		if err := b.keep(ctx, c.receipt, c.from, []byte(c.r.record)); err != nil {
			t.Errorf("%s: got %v, want it put aside", what, err)
		}
		if n := b.states(); b.count("refused") != before+1 || len(n) != 0 {
			t.Errorf("%s: %v, not refused", what, n)
		}
	}
	n := 0
	b.each(ctx, `SELECT why FROM cdr_refused`, nil, func(why []byte) error { n++; return nil })
	if n != 13 {
		t.Errorf("%d put aside, want 13", n)
	}
	// The same record again, with an earlier end, of another office: nothing changes. A later end of the same does.
	shorter, longer := change(func(c *roam.CDR) { c.End = c.End.Add(-time.Second) }), change(func(c *roam.CDR) { c.End = c.End.Add(time.Second) })
	foreign := change(func(c *roam.CDR) { c.Office, c.End = "west", c.End.Add(time.Hour) })
	for i, step := range []struct {
		r    row
		from roam.OfficeID
		end  time.Duration
	}{{good, "south", 0}, {good, "south", 0}, {shorter, "south", 0}, {foreign, "west", 0}, {longer, "south", time.Second}, {good, "south", time.Second}} {
		if err := b.keep(ctx, step.r.receipt(), step.from, []byte(step.r.record)); err != nil {
			t.Fatal(err)
		}
		if all := b.list(""); len(all) != 1 || !all[0].End.Equal(call("").End.Add(step.end)) || all[0].Office != "south" {
			t.Errorf("step %d: got %+v", i, all)
		}
	}
	if got := b.count("repeated"); got != 4 {
		t.Errorf("%d repeated, want 4", got)
	}
}

func TestListPages(t *testing.T) {
	b := open(t, "south", ":memory:", "", nil)
	for i := range 10 {
		c := call(fmt.Sprint(i))
		c.Start = began.Add(time.Duration(i/2) * time.Second) // two at each time
		if i%5 == 0 {
			c.User = "1002@north.example"
		}
		if i == 7 { // is up
			c.End = time.Time{}
		}
		b.write(c)
	}
	var got []string
	for after := ""; ; {
		page, err := b.List(t.Context(), "1001@north.example", after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, c := range page {
			got = append(got, c.ID)
		}
		after = page[len(page)-1].ID
	}
	if want := "9 8 7 6 4 3 2 1"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestView(t *testing.T) {
	b := open(t, "south", ":memory:", "", nil)
	b.write(call("1"))
	missed := call("2")
	missed.Answered, missed.Status, missed.Reason = time.Time{}, 486, "busy"
	b.write(missed)
	b.write(answered("3"))
	var got []string
	if err := b.each(t.Context(), `SELECT id || ' ' || call || ' ' || coalesce(talk_s, '-') || ' ' || caller || ' ' || callee || ' ' || kind || ' ' || roaming || ' ' || status || ' ' || coalesce(why, '-') || ' ' || state FROM calls`,
		nil, func(line []byte) error { got = append(got, string(line)); return nil }); err != nil {
		t.Fatal(err)
	}
	want := []string{"3 c7f2 - 3001@west.example 1001@north.example from-office 1 200 - up",
		"2 c7f2 - 3001@west.example 1001@north.example from-office 1 486 busy outbox",
		"1 c7f2 68.0 3001@west.example 1001@north.example from-office 1 200 normal outbox"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFailureIsSaid(t *testing.T) {
	b := open(t, "south", ":memory:", "", nil)
	b.stop()
	got := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.loop = loop.New(1, 1)
	go b.loop.Run(ctx)
	b.loop.Do(ctx, func() { b.Write(1, []roam.CDR{call("1")}, func(err error) { got <- err }) })
	if err := <-got; err != store.ErrClosed {
		t.Errorf("got %v, want %v", err, store.ErrClosed)
	}
	if b.count("failed") != 1 {
		t.Error("not counted")
	}
}

// The form of a record between offices: version 1 stays readable for ever.
func TestGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/cdr.v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var cdr roam.CDR
	if err := json.Unmarshal(text, &cdr); err != nil {
		t.Fatal(err)
	}
	if cdr.Call != "c7f2" || cdr.Media[1].Lost != 7 || !cdr.End.Equal(time.Date(2026, 11, 24, 11, 26, 3, 250e6, time.UTC)) || !cdr.Roaming {
		t.Errorf("got %+v", cdr)
	}
	if got := rowFor(cdr, "north").record; got+"\n" != string(text) {
		t.Errorf("got %s, want %s", got, text)
	}
}

// TestSwitchesOfTheOffice: where the softswitches of an office are processes of their own, their records of the
// office's own users come to its registrar as those of another office do.
func TestSwitchesOfTheOffice(t *testing.T) {
	addr := embedded(t)
	one := open(t, "south/1", ":memory:", "", nil) // deaf: here only what becomes of a row counts
	home := open(t, "south", ":memory:", addr, nil)
	local := call("1")
	local.Home, local.User = "south", "2001@south.example"
	one.write(local)
	if got := one.states(); got["outbox"] != 1 || len(got) != 1 {
		t.Errorf("a softswitch keeps %v, want the record on its way", got)
	}
	r := rowFor(local, "south")
	if err := home.keep(t.Context(), r.receipt(), "south/1", []byte(r.record)); err != nil || home.count("refused") != 1 {
		t.Errorf("got %v, %d refused; want one of a softswitch that we do not have refused", err, home.count("refused"))
	}
	home.Softswitches("south/1", "south/2")
	if err := home.keep(t.Context(), r.receipt(), "south/1", []byte(r.record)); err != nil || home.count("received") != 1 {
		t.Errorf("got %v, %d received; want one kept", err, home.count("received"))
	}
	if err := home.keep(t.Context(), r.receipt(), "south", []byte(r.record)); err != nil || home.count("refused") != 2 {
		t.Errorf("got %v, %d refused; want one that says it is ours refused", err, home.count("refused"))
	}
}
