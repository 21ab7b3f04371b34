package routesrv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
)

// Whoever writes in whatever order: the highest epoch stands, and no reader sees it go back.
func highestEpochWins(t *testing.T, addr string) {
	rigs := []*rig{newRig(t, addr, "north"), newRig(t, addr, "south"), newRig(t, addr, "west")}
	offices := []roam.OfficeID{"north", "south", "west", ""}
	const users, writes = 8, 40
	stop, readers := make(chan struct{}), sync.WaitGroup{}
	c := client(t, addr)
	readers.Go(func() {
		var seen [users]roam.Epoch
		for {
			select {
			case <-stop:
				return
			default:
			}
			for u := range users {
				got := readLocation(c.HGetAll(context.Background(), locKey(user(u))).Val())
				if got.Epoch < seen[u] {
					t.Errorf("user %d: epoch %d after %d", u, got.Epoch, seen[u])
				}
				seen[u] = got.Epoch
			}
		}
	})
	var all sync.WaitGroup
	var top [users]roam.Location
	var mu sync.Mutex // guards top
	for i, r := range rigs {
		rnd := rand.New(rand.NewPCG(1, uint64(i)))
		all.Go(func() {
			for range writes {
				// The same epoch has one office, as home issues it once; it comes from all, and again.
				u, e := rnd.IntN(users), roam.Epoch(1+rnd.IntN(30))
				l := at(e, offices[int(e)*7%len(offices)])
				now, err := r.report(user(u), l)
				if err != nil || now.Epoch < e {
					t.Errorf("reported %d, got %+v, %v", e, now, err)
				}
				mu.Lock()
				if e > top[u].Epoch {
					top[u] = l
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	close(stop)
	readers.Wait()
	for u := range users {
		for _, r := range rigs {
			if got, err := r.fresh(user(u)); err != nil || got.Epoch != top[u].Epoch || got.Office != top[u].Office {
				t.Errorf("user %d: got %+v, %v, want %+v", u, got, err, top[u])
			}
		}
		moves, _ := rigs[0].Moves(t.Context(), user(u), 1000)
		for i := 1; i < len(moves); i++ {
			if moves[i-1].From != moves[i].To || moves[i-1].Move != moves[i].Move+1 {
				t.Errorf("user %d: move %+v after %+v", u, moves[i-1], moves[i])
			}
		}
	}
}

func user(n int) roam.UserID { return roam.UserID(fmt.Sprintf("%d@north.example", 2000+n)) }

// owns makes a rig the home of n users, all at at.
func owns(n int, at roam.Location) func(*rig) {
	return func(r *rig) {
		r.Owned(pagesOf(n, at), func(u roam.UserID, now roam.Location) { r.newer[u] = now.Epoch })
	}
}

func pagesOf(n int, at roam.Location) pages {
	return func(after roam.UserID, max int) (page []roam.Owned) {
		for i := range n {
			if u := user(i); u > after && len(page) < max {
				page = append(page, roam.Owned{User: u, At: at})
			}
		}
		return page
	}
}

// R loses everything while we are connected: our next renewal notices, and all is written again.
func whatWasLostIsMended(t *testing.T, addr string) {
	r, c, ctx := newRig(t, addr, "north", owns(250, at(3, "south"))), client(t, addr), t.Context()
	r.on(func() { r.Publish([]roam.Identity{{Name: "+15550001001", User: alice, Home: "north"}}, nil) })
	r.report(user(7), at(3, "south"))
	r.eventually("published", func() bool { return c.Exists(ctx, idKey("+15550001001")).Val() == 1 })
	r.locate(user(7))
	if err := c.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	// Until then the higher epoch, which is in memory, counts.
	if got, err := r.fresh(user(7)); err != nil || got.Office != "south" || !got.Stale {
		t.Errorf("lost: got %+v, %v, want the remembered place, stale", got, err)
	}
	r.eventually("mended", func() bool {
		return c.Exists(ctx, idKey("+15550001001"), officeKey("north"), swKey("north:1"), locKey(user(0)), locKey(user(249)), epKey(user(249))).Val() == 6
	})
	if got, err := r.fresh(user(7)); err != nil || got.Office != "south" || got.Stale {
		t.Errorf("mended: got %+v, %v, want the place", got, err)
	}
}

// The sweep writes what is missing or older, prolongs the rest, and leaves what is newer.
func sweepRepairs(t *testing.T, addr string) {
	r, c, ctx := newRig(t, addr, "north", owns(0, at(5, "south"))), client(t, addr), t.Context()
	r.report(user(0), at(5, "south"))
	r.report(user(1), at(4, "west"))
	r.report(user(2), at(6, "west"))
	for _, key := range []string{locKey(user(0)), epKey(user(0)), movesKey(user(0))} {
		c.Expire(ctx, key, time.Minute)
	}
	if err := r.sweep(ctx, pagesOf(4, at(5, "south")), 0); err != nil {
		t.Fatal(err)
	}
	for i, want := range []roam.Location{at(5, "south"), at(5, "south"), at(6, "west"), at(5, "south")} {
		if got := readLocation(c.HGetAll(ctx, locKey(user(i))).Val()); got.Epoch != want.Epoch || got.Office != want.Office {
			t.Errorf("user %d: got %+v, want %+v", i, got, want)
		}
	}
	for _, key := range []string{locKey(user(0)), epKey(user(0)), movesKey(user(0))} {
		if got := c.TTL(ctx, key).Val(); got < locationTTL-time.Minute {
			t.Errorf("%s lives %v after the sweep", key, got)
		}
	}
	if got := r.count("routes_stale_writes_total"); got != 0 {
		t.Errorf("%d stale writes, want 0", got)
	}
	r.on(func() {
		if len(r.newer) != 1 || r.newer[user(2)] != 6 {
			t.Errorf("home was told of %v, want of user 2's epoch 6", r.newer)
		}
	})
}

// Home is dead when R loses everything: who serves its users writes where they are.
func guestsAreMended(t *testing.T, addr string) {
	r, c, ctx := newRig(t, addr, "south", func(r *rig) { r.Guests(pagesOf(3, at(7, "south"))) }), client(t, addr), t.Context()
	c.FlushAll(ctx)
	r.eventually("mended", func() bool {
		got := readLocation(c.HGetAll(ctx, locKey(user(2))).Val())
		return got.Epoch == 7 && got.Office == "south"
	})
}

// Redis goes and comes back. Meanwhile everything is answered at once, from memory; then what
// was reported meanwhile is written.
func TestAway(t *testing.T) {
	path := t.TempDir() + "/snapshot"
	addr, stop := embedded(t, "127.0.0.1:0", path)
	r := newRig(t, addr, "north")
	bob, carol := roam.UserID("1002@north.example"), roam.UserID("1003@north.example")
	r.report(alice, at(5, "south"))
	r.report(bob, at(5, "south"))
	r.locate(alice)
	r.locate(carol)
	r.on(func() { r.Publish([]roam.Identity{{Name: "+1", User: alice, Home: "north"}}, nil) })
	r.eventually("published", func() bool { got, _ := r.identify("+1"); return got.User == alice })
	newRig(t, addr, "south").stop()
	r.peer("south")
	stop()

	// The first who ask are those who notice.
	start := time.Now()
	r.fresh(alice)
	if took := time.Since(start); took > patience+200*time.Millisecond {
		t.Errorf("noticed after %v", took)
	}
	start = time.Now()
	for range 100 {
		if got, err := r.fresh(alice); err != nil || !got.Stale || got.Office != "south" {
			t.Fatalf("got %+v, %v, want south, stale", got, err)
		}
		if _, err := r.fresh(carol); err != roam.StoreAway {
			t.Fatalf("got %v, want store away: that somebody was nowhere is no answer", err)
		}
		if now, err := r.report(bob, at(7, "west")); err != roam.StoreAway || now != (roam.Location{}) {
			t.Fatalf("got %+v, %v, want store away", now, err)
		}
	}
	if took := time.Since(start); took > patience {
		t.Errorf("300 questions took %v while away", took)
	}
	if got, err := r.identify("+1"); err != nil || got.User != alice {
		t.Errorf("got %v, %v, want alice from memory", got, err)
	}
	if got, err := r.peer("south"); err != nil || got.Switch == "" {
		t.Errorf("got %+v, %v, want south from memory", got, err)
	}
	if err := r.Send(t.Context(), "south", []byte("{}"), "1"); err != roam.StoreAway {
		t.Errorf("got %v, want store away", err)
	}
	if _, err := r.Moves(t.Context(), alice, 1); !errors.Is(err, roam.StoreAway) {
		t.Errorf("got %v, want store away", err)
	}
	if got := r.count("routes_unpublished_users"); got != 1 {
		t.Errorf("%d unpublished, want 1", got)
	}
	if r.Up() || r.count("routes_up") != 0 {
		t.Error("up, want away")
	}

	embedded(t, addr, path)
	r.eventually("up", r.Up)
	r.eventually("all published", func() bool { return r.count("routes_unpublished_users") == 0 })
	if got, err := r.fresh(bob); err != nil || got.Office != "west" || got.Epoch != 7 || got.Stale {
		t.Errorf("got %+v, %v, want west", got, err)
	}
	if got, err := r.fresh(alice); err != nil || got.Office != "south" || got.Stale {
		t.Errorf("got %+v, %v, want south, from the snapshot", got, err)
	}
}

// A Redis that hangs is one that is away.
func TestHanging(t *testing.T) {
	addr, _ := embedded(t, "127.0.0.1:0", "")
	var hang sync.RWMutex
	r := newRig(t, tap(t, addr, func([]any) { hang.RLock(); defer hang.RUnlock() }), "north")
	r.report(alice, at(5, "south"))
	hang.Lock()
	start := time.Now()
	got, err := r.fresh(alice)
	if took := time.Since(start); took > patience+200*time.Millisecond || err != nil || !got.Stale {
		t.Errorf("got %+v, %v after %v, want the remembered place in 300 ms", got, err, took)
	}
	start = time.Now()
	for range 100 {
		r.fresh(alice)
		r.report(alice, at(6, "west"))
	}
	if took := time.Since(start); took > patience {
		t.Errorf("200 questions took %v", took)
	}
	hang.Unlock()
	r.eventually("up", r.Up)
	r.eventually("published", func() bool { got, _ := r.fresh(alice); return got.Office == "west" && !got.Stale })
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache[int, int](100)
	for i := range 1000 {
		c.put(i, i)
		if _, found := c.get(7); i >= 7 && !found {
			t.Fatalf("at %d: what is used all the time was forgotten", i)
		}
	}
	n, seen := 0, map[int]bool{}
	c.each(func(k, v int) { n++; seen[k] = true })
	if n > 100 || n < 50 || n != len(seen) {
		t.Errorf("holds %d (%d distinct), want 50 to 100", n, len(seen))
	}
	if _, found := c.get(999); !found {
		t.Error("the newest was forgotten")
	}
}

// A snapshot holds TTLs, streams, groups and what was taken and not acknowledged.
func snapshotRestores(t *testing.T, addr string) {
	c, ctx := client(t, addr), t.Context()
	r := newRig(t, addr, "north")
	r.report(alice, at(5, "south"))
	c.Set(ctx, "short", "x", signOfLife-time.Second)
	c.Set(ctx, "text", "a\r\nb\x00", 0)
	south := newRig(t, addr, "south")
	for i := range 3 {
		if err := r.Send(ctx, "south", []byte(fmt.Sprint("cdr ", i)), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	key := cdrKey("south")
	c.XGroupCreateMkStream(ctx, key, group, "0")
	if got, err := south.read(ctx, key, ">"); err != nil || len(got) != 3 { // taken, and then the process dies
		t.Fatalf("got %v, %v", got, err)
	}
	r.Send(ctx, "south", []byte("cdr 3"), "3")
	path := snapshotOf(t, addr)

	other, _ := embedded(t, "127.0.0.1:0", path)
	d := client(t, other)
	if got, want := d.HGetAll(ctx, locKey(alice)).Val(), c.HGetAll(ctx, locKey(alice)).Val(); len(got) < 5 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := d.TTL(ctx, epKey(alice)).Val(); got > epochTTL || got < epochTTL-time.Minute {
		t.Errorf("ep lives %v", got)
	}
	if got := d.Get(ctx, "text").Val(); got != "a\r\nb\x00" {
		t.Errorf("got %q", got)
	}
	if n := d.Exists(ctx, "short", swKey("north:1")).Val(); n != 0 {
		t.Errorf("%d short-lived keys came back", n)
	}
	if got, want := d.XRange(ctx, movesKey(alice), "-", "+").Val(), c.XRange(ctx, movesKey(alice), "-", "+").Val(); len(got) != 1 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	home := newRig(t, other, "south")
	var ids []string
	ctx2, cancel := context.WithTimeout(ctx, 5*time.Second)
	home.Receive(ctx2, func(id string, from roam.OfficeID, cdr []byte) error {
		if ids = append(ids, id); len(ids) == 4 {
			cancel()
		}
		return nil
	})
	if want := []string{"0", "1", "2", "3"}; !slices.Equal(ids, want) {
		t.Errorf("after the restart got %v, want %v", ids, want)
	}
}

func TestDamagedSnapshot(t *testing.T) {
	path := t.TempDir() + "/snapshot"
	for _, text := range []string{"*2\r\n", "*1\r\n$99\r\nabc", "x", "*2\r\n$3\r\nSET\r\n", "\n", "*0\r\n", "*1\r\n$4\r\nNOPE\r\n", "*1\r\n$-1\r\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if e, err := StartEmbedded("127.0.0.1:0", path); err == nil {
			e.listen.Close()
			t.Errorf("%q was loaded", text)
		}
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	embedded(t, "127.0.0.1:0", path)
}

// The embedded store's keys expire though miniredis has no clock, and it saves only what changed.
func TestEmbeddedExpires(t *testing.T) {
	path := t.TempDir() + "/snapshot"
	addr, stop := embedded(t, "127.0.0.1:0", path)
	c, ctx := client(t, addr), t.Context()
	c.Set(ctx, "x", "1", 700*time.Millisecond)
	r := &rig{t: t, metrics: &metric.Set{}}
	r.eventually("expired", func() bool { return c.Exists(ctx, "x").Val() == 0 })
	c.HSet(ctx, "kept", "a", "1")
	stop()
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := before.Mode().Perm(); mode&0o077 != 0 {
		t.Errorf("mode %o", mode)
	}
	addr, stop = embedded(t, "127.0.0.1:0", path)
	if got := client(t, addr).HGet(ctx, "kept", "a").Val(); got != "1" {
		t.Errorf("got %q, want 1", got)
	}
	stop()
	if after, _ := os.Stat(path); !after.ModTime().Equal(before.ModTime()) {
		t.Error("saved though nothing had changed")
	}
}

// A subscriber who does not read is cut off; nobody else waits for him for long.
func TestStuckSubscriber(t *testing.T) {
	addr, _ := embedded(t, "127.0.0.1:0", "")
	c, ctx := client(t, addr), t.Context()
	r := newRig(t, addr, "north")
	stuck := dial(t, addr)
	fmt.Fprintf(stuck, "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nx\r\n")
	r.eventually("subscribed", func() bool { return c.PubSubNumSub(ctx, "x").Val()["x"] == 1 })
	load := make([]byte, 1<<20)
	start := time.Now()
	for range 20 {
		c.Publish(ctx, "x", load)
	}
	r.eventually("cut off", func() bool { return c.PubSubNumSub(ctx, "x").Val()["x"] == 0 })
	if took := time.Since(start); took > 5*stuckAfter {
		t.Errorf("stood still for %v", took)
	}
	r.eventually("up", r.Up)
	if got, err := r.report(alice, at(1, "south")); err != nil || got.Office != "south" {
		t.Errorf("got %+v, %v", got, err)
	}
}
