package routesrv

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// suite is what holds on the embedded store and on a real Redis (real_test.go) alike.
var suite = map[string]func(t *testing.T, addr string){
	"report and locate":       reportAndLocate,
	"moves":                   moves,
	"highest epoch wins":      highestEpochWins,
	"invalidation":            invalidation,
	"identify":                identify,
	"peers":                   peers,
	"several":                 several,
	"courier of several":      courierOfSeveral,
	"poison":                  poison,
	"signed":                  onlySigned,
	"what was lost is mended": whatWasLostIsMended,
	"sweep":                   sweepRepairs,
	"guests":                  guestsAreMended,
	"courier":                 courier,
	"courier crashes":         courierCrashes,
	"snapshot":                snapshotRestores,
	"observer":                observes,
	"linear":                  linearizes,
	"commands":                onlyCommonCommands,
}

func TestEmbedded(t *testing.T) {
	for name, test := range suite {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, _ := embedded(t, "127.0.0.1:0", "")
			test(t, addr)
		})
	}
}

// embedded runs an embedded store; stop ends it early.
func embedded(t *testing.T, addr, path string) (at string, stop func()) {
	t.Helper()
	e, err := StartEmbedded(addr, path)
	if err != nil {
		t.Fatal(err)
	}
	stop = background(t, e.Run)
	return e.Addr(), stop
}

// background runs run until stop, or the end of the test.
func background(t *testing.T, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	end := make(chan error, 1)
	go func() { end <- run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-end:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("did not stop")
		}
	}
	t.Cleanup(stop)
	return stop
}

// client is a bare client, for looking at the keys.
func client(t *testing.T, addr string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: addr[strings.Index(addr, "@")+1:], DisableIdentity: true})
	t.Cleanup(func() { c.Close() })
	return c
}

// secret is the password of each office's user, where the store at addr has one: "siproam-OFFICE@127.0.0.1:6399".
const secret = "secret"

// as is the store at addr for an office.
func as(t *testing.T, addr string, o roam.OfficeID) Config {
	t.Helper()
	cfg := Config{Redis: "redis://" + strings.ReplaceAll(addr, "OFFICE", string(o))}
	if strings.Contains(addr, "@") {
		cfg.PasswordFile = filepath.Join(t.TempDir(), "redis.password")
		if err := os.WriteFile(cfg.PasswordFile, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}

// rig is one office's Store with its loop, and questions that wait.
type rig struct {
	t *testing.T
	*Store
	metrics *metric.Set
	stop    func()
	newer   map[roam.UserID]roam.Epoch // what Owned's ahead was told
}

func card(o roam.OfficeID) roam.Card {
	return roam.Card{Version: 1, Office: o, Domains: []string{string(o) + ".example", "sip." + string(o) + ".example"},
		Switch: "sip:" + string(o) + ".example:5067;transport=tls", Registrar: "sip:reg." + string(o) + ".example",
		Abilities: []string{"path", "outbound"}, Key: []byte("key of " + o)}
}

func newRig(t *testing.T, addr string, o roam.OfficeID, before ...func(*rig)) *rig {
	t.Helper()
	return newRigWith(t, as(t, addr, o), o, before...)
}

// newRigWith has before done to the rig before it runs.
func newRigWith(t *testing.T, cfg Config, o roam.OfficeID, before ...func(*rig)) *rig {
	t.Helper()
	l, m := loop.New(4096, 64), &metric.Set{}
	s, err := New(cfg, l, card(o), string(o)+":1", 1, m, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, Store: s, metrics: m, newer: map[roam.UserID]roam.Epoch{}}
	for _, fn := range before {
		fn(r)
	}
	stopLoop := background(t, func(ctx context.Context) error { l.Run(ctx); return nil })
	r.stop = background(t, s.Run)
	t.Cleanup(func() { r.stop(); stopLoop() })
	r.eventually("up", s.Up)
	r.eventually("subscribed", func() (ok bool) { r.on(func() { ok = s.gen > 0 }); return ok })
	return r
}

// eventually waits until ok, at most 30 s.
func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// ask runs fn on the loop of s and waits for done.
func ask[T any](r *rig, fn func(done func(T, error))) (T, error) {
	r.t.Helper()
	type answer struct {
		v   T
		err error
	}
	got := make(chan answer, 2)
	within := false
	if err := r.loop.Do(context.Background(), func() {
		within = true
		fn(func(v T, err error) {
			if within {
				r.t.Error("done was called in the same turn")
			}
			got <- answer{v, err}
		})
		within = false
	}); err != nil {
		r.t.Fatal(err)
	}
	select {
	case a := <-got:
		return a.v, a.err
	case <-time.After(5 * time.Second):
		r.t.Fatal("no answer")
		panic("unreachable")
	}
}

func (r *rig) locate(u roam.UserID) (roam.Location, error) {
	r.t.Helper()
	return ask(r, func(done func(roam.Location, error)) { r.Locate(u, false, done) })
}

func (r *rig) fresh(u roam.UserID) (roam.Location, error) {
	r.t.Helper()
	return ask(r, func(done func(roam.Location, error)) { r.Locate(u, true, done) })
}

func (r *rig) report(u roam.UserID, at roam.Location) (roam.Location, error) {
	r.t.Helper()
	return ask(r, func(done func(roam.Location, error)) { r.Report(u, at, "registered", done) })
}

func (r *rig) identify(a sip.AOR) (roam.Identity, error) {
	r.t.Helper()
	return ask(r, func(done func(roam.Identity, error)) {
		r.Identify(a, func(u roam.UserID, o roam.OfficeID, err error) { done(roam.Identity{User: u, Home: o}, err) })
	})
}

func (r *rig) peer(o roam.OfficeID) (roam.Peer, error) {
	r.t.Helper()
	return ask(r, func(done func(roam.Peer, error)) { r.Peer(o, done) })
}

func (r *rig) on(fn func()) {
	r.t.Helper()
	if err := r.loop.Do(context.Background(), fn); err != nil {
		r.t.Fatal(err)
	}
}

// count is the sum of a counter over its labels, or of one.
func (r *rig) count(name string, labels ...string) (n uint64) {
	for _, f := range r.metrics.Families() {
		if f.Name != name {
			continue
		}
		if f.Kind == metric.KindGauge {
			f.Read(func(v float64, _ ...string) { n += uint64(v) })
			continue
		}
		one, _ := f.With(labels...).Count()
		n += one
	}
	return n
}

const alice = roam.UserID("1001@north.example")

func at(epoch roam.Epoch, o roam.OfficeID) roam.Location {
	l := roam.Location{Epoch: epoch}
	if o != "" {
		c := card(o)
		l.Office, l.Switch, l.Registrar, l.Device = o, c.Switch, c.Registrar, "urn:uuid:d1"
		l.Since = time.Date(2026, 11, 22, 9, 14, 3, 123456000, time.UTC)
	}
	return l
}

// nextYear is an epoch that a home can just have given.
func nextYear() roam.Epoch { return roam.Epoch(time.Now().Add(mostAhead - 24*time.Hour).UnixMicro()) }

func reportAndLocate(t *testing.T, addr string) {
	r := newRig(t, addr, "north")
	if got, err := r.locate(alice); err != nil || got != (roam.Location{}) {
		t.Errorf("before: got %+v, %v, want nowhere", got, err)
	}
	signed := at(5, "south")
	signed.Sig = "home's word"
	last := nextYear()
	for i, step := range []struct {
		what, want roam.Location
		move       uint64
	}{
		{signed, signed, 1},
		{at(5, "south"), signed, 1},         // again, by one who has no signature
		{at(5, "west"), signed, 1},          // the same epoch of another office
		{at(4, "west"), signed, 1},          // older
		{at(7, "south"), at(7, "south"), 1}, // newer, no move; the signature was of the old one
		{at(8, ""), at(8, ""), 2},           // removed
		{at(7, "south"), at(8, ""), 2},
		{at(9, "west"), at(9, "west"), 3},
		{at(last, "north"), at(last, "north"), 4},
		{at(last-1, "west"), at(last, "north"), 4},
	} {
		want := step.want
		want.Move = step.move
		if got, err := r.report(alice, step.what); err != nil || got != want {
			t.Errorf("step %d: report got %+v, %v, want %+v", i, got, err, want)
		}
		if got, err := r.locate(alice); err != nil || got != want {
			t.Errorf("step %d: locate got %+v, %v, want %+v", i, got, err, want)
		}
		if got, err := r.fresh(alice); err != nil || got != want {
			t.Errorf("step %d: fresh got %+v, %v, want %+v", i, got, err, want)
		}
	}
	if got := r.count("routes_stale_writes_total"); got != 4 {
		t.Errorf("%d stale writes, want 4", got)
	}
	if hits := r.count("routes_lookups_total", "hit"); hits != 10 {
		t.Errorf("%d hits, want 10", hits)
	}
	// Epoch 0: R draws.
	visitor := roam.UserID("7@elsewhere.example")
	first, err := r.report(visitor, at(0, "south"))
	if now := time.Now().UnixMicro(); err != nil || first.Office != "south" || max(now-int64(first.Epoch), int64(first.Epoch)-now) > 60e6 {
		t.Errorf("drawn: got %+v, %v, want an epoch near %d", first, err, now)
	}
	if second, err := r.report(visitor, at(0, "west")); err != nil || second.Epoch <= first.Epoch || second.Office != "west" || second.Move != 2 {
		t.Errorf("drawn: got %+v, %v, want above %d", second, err, first.Epoch)
	}
	for _, e := range []roam.Epoch{1<<53 + 1, 1<<53 - 1, last + 48*3600*1e6} { // the first Lua could not even count
		if _, err := r.report(alice, at(e, "west")); err == nil {
			t.Errorf("epoch %d, more than a year ahead, was taken", e)
		}
	}
	c := client(t, addr)
	for key, want := range map[string]time.Duration{locKey(alice): locationTTL, epKey(alice): epochTTL, movesKey(alice): epochTTL} {
		if got := c.TTL(t.Context(), key).Val(); got > want || got < want-time.Minute {
			t.Errorf("%s lives %v, want %v", key, got, want)
		}
	}
	// The record is gone, its epoch is not: nothing old comes back.
	c.Del(t.Context(), locKey(alice))
	if got, err := r.report(alice, at(9, "west")); err != nil || got != at(last, "") {
		t.Errorf("after the record's end: got %+v, %v, want only the epoch", got, err)
	}
}

func moves(t *testing.T, addr string) {
	r := newRig(t, addr, "north")
	offices := []roam.OfficeID{"north", "south", "south", "west", ""}
	for i, o := range offices {
		if _, err := r.report(alice, at(roam.Epoch(i+1), o)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := r.Moves(t.Context(), alice, 3)
	if err != nil || len(got) != 3 {
		t.Fatalf("got %v, %v, want 3 moves", got, err)
	}
	want := []Move{{Move: 4, From: "west", Why: "registered"}, {Move: 3, From: "south", To: "west", Device: "urn:uuid:d1", Why: "registered"},
		{Move: 2, From: "north", To: "south", Device: "urn:uuid:d1", Why: "registered"}}
	for i := range want {
		when, err := time.Parse(time.RFC3339, got[i].At)
		if err != nil || time.Since(when) > time.Minute {
			t.Errorf("move %d at %q, %v", i, got[i].At, err)
		}
		if got[i].At = ""; got[i] != want[i] {
			t.Errorf("got %+v, want %+v", got[i], want[i])
		}
	}
	for i := range 300 {
		r.report(alice, at(roam.Epoch(10+i), []roam.OfficeID{"north", "south"}[i%2]))
	}
	if got, _ := r.Moves(t.Context(), alice, 1000); len(got) != movesKept || got[0].Move != 304 {
		t.Errorf("%d moves kept, want %d", len(got), movesKept)
	}
}

func invalidation(t *testing.T, addr string) {
	a, b := newRig(t, addr, "north"), newRig(t, addr, "south")
	a.report(alice, at(1, "north"))
	a.locate(alice)
	start := time.Now()
	b.report(alice, at(2, "south"))
	a.eventually("the other's write", func() bool { got, _ := a.locate(alice); return got.Office == "south" })
	if took := time.Since(start); took > freshFor/2 {
		t.Errorf("seen after %v: not by invalidation", took)
	}
}

func identify(t *testing.T, addr string) {
	a, b := newRig(t, addr, "north"), newRig(t, addr, "south")
	id := func(name string, u roam.UserID, o roam.OfficeID) roam.Identity {
		return roam.Identity{Name: name, User: u, Home: o}
	}
	bob := roam.UserID("1002@north.example")
	carol := roam.UserID("1001@south.example")
	a.on(func() {
		a.Publish([]roam.Identity{id("+15550001001", alice, "north"), id("alice@north.example", alice, "north"), id("1001@north.example", alice, "north"),
			id("1001", alice, "north"), id("1002", bob, "north")}, nil)
	})
	b.on(func() {
		b.Publish([]roam.Identity{id("1001", carol, "south"), id("+15550002001", carol, "south")}, nil)
	})
	for _, c := range []struct {
		name sip.AOR
		want roam.Identity
		err  error
	}{
		{"+15550001001", roam.Identity{User: alice, Home: "north"}, nil},
		{"alice@north.example", roam.Identity{User: alice, Home: "north"}, nil},
		{"1001@north.example", roam.Identity{User: alice, Home: "north"}, nil},
		{"+15550002001", roam.Identity{User: carol, Home: "south"}, nil},
		{"1002", roam.Identity{User: bob, Home: "north"}, nil},
		{"1001", roam.Identity{}, roam.Ambiguous},
		{"nobody@north.example", roam.Identity{}, roam.NoSuchUser},
		{"9", roam.Identity{}, roam.NoSuchUser},
		{"{x}", roam.Identity{}, roam.NoSuchUser},
	} {
		var got roam.Identity
		var err error
		b.eventually(string(c.name), func() bool { got, err = b.identify(c.name); return got == c.want && err == c.err })
	}
	// The number goes to bob, the alias goes; south's 1001 is the only one left.
	a.on(func() {
		a.Publish([]roam.Identity{id("+15550001001", bob, "north")}, []roam.Identity{id("+15550001001", alice, "north"), id("alice@north.example", alice, "north"), id("1001", alice, "north")})
	})
	c := client(t, addr)
	a.eventually("withdrawn", func() bool {
		return c.HGet(t.Context(), idKey("+15550001001"), "user").Val() == string(bob) && c.HLen(t.Context(), extKey("1001")).Val() == 1 &&
			c.Exists(t.Context(), idKey("alice@north.example")).Val() == 0
	})
	b.on(func() { b.names = newCache[string, name](10) })
	if got, err := b.identify("+15550001001"); err != nil || got.User != bob {
		t.Errorf("got %v, %v, want bob", got, err)
	}
	if got, err := b.identify("1001"); err != nil || got.User != carol {
		t.Errorf("got %v, %v, want carol", got, err)
	}
	// What somebody else has by now stays his, whoever withdraws it late.
	b.on(func() { b.Publish([]roam.Identity{id("+15550001001", carol, "south")}, nil) })
	b.eventually("published", func() bool { return c.HGet(t.Context(), idKey("+15550001001"), "user").Val() == string(carol) })
	a.on(func() {
		a.Publish([]roam.Identity{id("done", alice, "north")}, []roam.Identity{id("+15550001001", bob, "north")})
	})
	a.eventually("published", func() bool { return c.Exists(t.Context(), extKey("done")).Val() == 1 })
	if got := c.HGet(t.Context(), idKey("+15550001001"), "user").Val(); got != string(carol) {
		t.Errorf("a late withdrawal left the number to %q, want carol", got)
	}
	a.on(func() { a.Publish([]roam.Identity{id("+15550001001", bob, "north")}, nil) })
	a.eventually("published", func() bool { return c.HGet(t.Context(), idKey("+15550001001"), "user").Val() == string(bob) })
	// What is known outlives R and the process.
	var k Known
	b.on(func() { k = b.Known() })
	b.on(func() { b.up.Store(false); b.names = newCache[string, name](10); b.Remember(k) })
	if got, err := b.identify("+15550001001"); err != nil || got.User != bob {
		t.Errorf("remembered: got %v, %v, want bob", got, err)
	}
}

func peers(t *testing.T, addr string) {
	a, b := newRig(t, addr, "north"), newRig(t, addr, "south")
	want := roam.Peer{Office: "south", Domains: card("south").Domains, Switch: card("south").Switch, Registrar: card("south").Registrar, Alive: true}
	same := func(got roam.Peer) bool {
		return got.Office == want.Office && len(got.Domains) == 2 && got.Switch == want.Switch && got.Registrar == want.Registrar && got.Alive == want.Alive
	}
	if got, err := a.peer("south"); err != nil || !same(got) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := a.peer("nowhere"); err != roam.NoRoute {
		t.Errorf("got %v, want no route", err)
	}
	if got, err := a.peer("north"); err != nil || got.Switch != card("north").Switch {
		t.Errorf("ourselves: got %+v, %v", got, err)
	}
	a.report(alice, at(1, "south"))
	b.stop()
	c := client(t, addr)
	if n := c.Exists(t.Context(), swKey("south:1")).Val(); n != 0 {
		t.Error("the sign of life stayed after the end")
	}
	again := func() { a.on(func() { o, _ := a.offices.get("south"); o.until = time.Time{} }) }
	again()
	// R has answered for too short a time: a missing sign of life says nothing.
	if got, err := a.peer("south"); err != nil || !same(got) {
		t.Errorf("too soon: got %+v, %v, want %+v", got, err, want)
	}
	if got, _ := a.locate(alice); got.Suspect || got.Office != "south" {
		t.Errorf("too soon: got %+v, want nothing suspect", got)
	}
	a.since.Store(time.Now().Add(-signOfLife - time.Second).UnixNano())
	again()
	want.Alive = false
	if got, err := a.peer("south"); err != nil || !same(got) {
		t.Errorf("dead: got %+v, %v, want %+v", got, err, want)
	}
	if got, _ := a.locate(alice); !got.Suspect {
		t.Errorf("dead: got %+v, want suspect", got)
	}
	// A second softswitch of that office lives: it can be reached, but not at the old place.
	c.HSet(t.Context(), swKey("other"), "uri", "sip:two.south.example", "office", "south")
	c.HSet(t.Context(), officeKey("south"), "softswitches", "south:1="+want.Switch+" other=sip:two.south.example")
	again()
	if got, err := a.peer("south"); err != nil || !got.Alive || got.Switch != "sip:two.south.example" {
		t.Errorf("two: got %+v, %v, want the living one", got, err)
	}
	if got, _ := a.locate(alice); !got.Suspect {
		t.Errorf("two: got %+v, want suspect", got)
	}
	// South is back: it takes its place beside the other one.
	newRig(t, addr, "south")
	if got := c.HGet(t.Context(), officeKey("south"), "softswitches").Val(); got != "other=sip:two.south.example south:1="+want.Switch {
		t.Errorf("softswitches %q", got)
	}
}

// What others wrote into R may be of no use, but it stops nothing.
func poison(t *testing.T, addr string) {
	r, c, ctx := newRig(t, addr, "north"), client(t, addr), t.Context()
	users := []roam.UserID{"a@north.example", "b@north.example", "c@north.example", "d@north.example"}
	c.HSet(ctx, locKey(users[0]), "epoch", "\x00\xff", "office", "south", "move", "-1")
	c.HSet(ctx, locKey(users[1]), "epoch", "99999999999999999999", "office", "south")
	c.HSet(ctx, locKey(users[2]), "epoch", "5", "office", "south", "since", "yesterday", "move", "x")
	c.Set(ctx, locKey(users[3]), "a string", 0)
	c.HSet(ctx, officeKey("south"), "softswitches", "= == x=y z", "domains", "\n\n")
	for i, u := range users {
		got, err := r.locate(u)
		if i == 2 && (err != nil || got.Office != "south" || got.Epoch != 5) || i == 3 && err == nil || i < 2 && got != (roam.Location{}) {
			t.Errorf("%s: got %+v, %v", u, got, err)
		}
		if _, err := r.report(u, at(7, "west")); (err != nil) != (i == 3) {
			t.Errorf("%s: report got %v", u, err)
		}
	}
	// Nobody has an epoch above these; but for that the user's home could never write again.
	most := uint64(maxEpoch - 1)
	for u, only := range map[roam.UserID]bool{"e@north.example": true, "f@north.example": false} {
		c.Set(ctx, epKey(u), most, 0)
		if c.Del(ctx, locKey(u)); !only {
			c.HSet(ctx, locKey(u), "epoch", most, "office", "south", "sw", "sip:evil.example", "move", 3)
			if got, err := r.fresh(u); err != nil || got != (roam.Location{}) {
				t.Errorf("got %+v, %v, want an epoch that no home has given to lead nowhere", got, err)
			}
			if raised, err := raiseScript.Run(ctx, c, []string{locKey(u), epKey(users[1])}, 60).Int(); err != nil || raised != 0 {
				t.Errorf("raised %d, %v: want an epoch that no home has given to raise nothing", raised, err)
			}
		}
		now := at(roam.Epoch(time.Now().UnixMicro()), "west")
		if got, err := r.report(u, now); err != nil || got.Epoch != now.Epoch || got.Office != "west" {
			t.Errorf("got %+v, %v, want home's word taken over an epoch of year 2255", got, err)
		}
		if got, err := c.Get(ctx, epKey(u)).Uint64(); err != nil || got != uint64(now.Epoch) {
			t.Errorf("roam:ep: got %d, %v, want %d", got, err, now.Epoch)
		}
	}
	r.peer("south")
	c.Publish(ctx, channel, "\x00")
	c.Publish(ctx, channel, "1001@north.example -7 x")
	r.eventually("up", r.Up)
	if got := r.count("routes_unpublished_users"); got != 0 {
		t.Errorf("%d unpublished, want 0: what R refuses is not repeated for ever", got)
	}
}

func snapshotOf(t *testing.T, addr string) string {
	path := filepath.Join(t.TempDir(), "routes.snapshot")
	e := &Embedded{path: path, client: client(t, addr)}
	e.dirty.Store(true)
	if err := e.save(t.Context()); err != nil {
		t.Fatal(err)
	}
	return path
}
