package routesrv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/siproam/siproam/roam"
)

func dial(t *testing.T, addr string) net.Conn {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func courier(t *testing.T, addr string) {
	visited, home := newRig(t, addr, "south"), newRig(t, addr, "north")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex // guards what was seen
	var got, acked []string
	var all sync.WaitGroup
	all.Go(func() {
		home.Receive(ctx, func(id string, from roam.OfficeID, cdr []byte) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprint(id, " ", from, " ", string(cdr)))
			return nil
		})
	})
	all.Go(func() {
		visited.Acknowledged(ctx, nil, func(home roam.OfficeID, ids []string) error {
			mu.Lock()
			defer mu.Unlock()
			if home == "north" {
				acked = append(acked, ids...)
			}
			return nil
		})
	})
	for i := range 5 {
		if err := visited.Send(ctx, "north", []byte(`{"n":1}`), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	home.eventually("acknowledged", func() bool { mu.Lock(); defer mu.Unlock(); return len(acked) == 5 })
	cancel()
	all.Wait()
	if want := "0 south {\"n\":1}"; len(got) != 5 || got[0] != want {
		t.Errorf("got %q, want five like %q", got, want)
	}
	c := client(t, addr)
	if n, m := c.XLen(t.Context(), cdrKey("north")).Val(), c.XLen(t.Context(), ackKey("south", "north")).Val(); n != 0 || m != 0 {
		t.Errorf("%d records and %d acknowledgements stayed", n, m)
	}
}

// The home dies between keeping and acknowledging, or cannot keep; an unreadable record
// blocks nobody; another node's records are taken over.
func courierCrashes(t *testing.T, addr string) {
	visited, home := newRig(t, addr, "south"), newRig(t, addr, "north")
	c, ctx := client(t, addr), t.Context()
	visited.Send(ctx, "north", []byte("a"), "1")
	c.XAdd(ctx, &redis.XAddArgs{Stream: cdrKey("north"), Values: []any{"nonsense", "x"}})
	visited.Send(ctx, "north", []byte("b"), "2")

	dead, kill := context.WithCancel(ctx)
	var kept []string
	home.Receive(dead, func(id string, _ roam.OfficeID, _ []byte) error {
		kept = append(kept, id)
		kill()
		return errors.New("killed, though the record is on the disk")
	})
	full := 2
	again, done := context.WithTimeout(ctx, 8*time.Second)
	home.Receive(again, func(id string, _ roam.OfficeID, _ []byte) error {
		if id == "2" && full > 0 {
			full--
			return errors.New("disk full")
		}
		if kept = append(kept, id); id == "2" {
			done()
		}
		return nil
	})
	if distinct := slices.Compact(slices.Clone(kept)); !slices.Equal(distinct, []string{"1", "2"}) {
		t.Errorf("kept %v, want 1, perhaps again, and 2", kept)
	}
	home.stop()

	// A new state directory, another node id: what the old one took is not lost.
	visited.Send(ctx, "north", []byte("c"), "3")
	c.XReadGroup(ctx, &redis.XReadGroupArgs{Group: group, Consumer: "gone", Streams: []string{cdrKey("north"), ">"}, Block: -1})
	next := newRig(t, addr, "north")
	c.Do(ctx, "XCLAIM", cdrKey("north"), group, "gone", "0", c.XRange(ctx, cdrKey("north"), "-", "+").Val()[0].ID, "IDLE", "120000")
	var adopted []string
	if err := next.adopt(ctx, cdrKey("north"), func(id string, _ roam.OfficeID, _ []byte) error { adopted = append(adopted, id); return nil }); err != nil {
		t.Error(err)
	}
	if !slices.Contains(adopted, "3") {
		t.Errorf("adopted %v, want 3", adopted)
	}
	if n := c.XLen(ctx, cdrKey("north")).Val(); n != 0 {
		t.Errorf("%d records stayed", n)
	}
}

// common is what miniredis and Redis 7.0 both have; nothing else is sent.
var common = map[string]bool{
	"hello": true, "ping": true, "client": true, "subscribe": true, "evalsha": true, "eval": true, "hgetall": true, "hget": true, "hset": true,
	"hdel": true, "hmget": true, "del": true, "exists": true, "expire": true, "pexpire": true, "xadd": true, "xack": true, "xdel": true,
	"xread": true, "xreadgroup": true, "xgroup": true, "xautoclaim": true, "xrevrange": true,
}

// tap is a wire to addr on which see sees every command, and may hold it up.
func tap(t *testing.T, addr string, see func(words []any)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	forward := func(in, out net.Conn) {
		defer out.Close()
		for r := bufio.NewReader(in); ; {
			words, err := readCommand(r)
			if err != nil {
				return
			}
			see(words)
			fmt.Fprintf(out, "*%d\r\n", len(words))
			for _, w := range words {
				fmt.Fprintf(out, "$%d\r\n%s\r\n", len(w.(string)), w)
			}
		}
	}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				in.Close()
				return
			}
			go forward(in, out)
			go func() { io.Copy(in, out); in.Close() }()
		}
	}()
	return l.Addr().String()
}

func onlyCommonCommands(t *testing.T, addr string) {
	var mu sync.Mutex // guards seen
	seen := map[string]bool{}
	wire := tap(t, addr, func(words []any) {
		mu.Lock()
		defer mu.Unlock()
		seen[strings.ToLower(words[0].(string))] = true
	})
	reportAndLocate(t, wire)
	client(t, addr).FlushAll(t.Context())
	for _, test := range []func(*testing.T, string){identify, sweepRepairs, courier, courierCrashes} {
		test(t, wire)
		client(t, addr).FlushAll(t.Context())
	}
	mu.Lock()
	defer mu.Unlock()
	for _, tests := range []string{"ttl", "hlen", "xlen", "xrange", "xclaim"} {
		delete(seen, tests)
	}
	for cmd := range seen {
		if !common[cmd] {
			t.Errorf("sends %s", cmd)
		}
	}
	if !seen["evalsha"] || !seen["xreadgroup"] || !seen["subscribe"] {
		t.Errorf("saw only %v", seen)
	}
}

func TestConfig(t *testing.T) {
	secret := t.TempDir() + "/password"
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ redis, password, want string }{
		{"embedded", "", ""},
		{"embedded", secret, "no password"},
		{"redis://127.0.0.1:6390", "", ""},
		{"redis://localhost/3", "", ""},
		{"redis://[::1]", "", ""},
		{"rediss://siproam-south@redis.example:6379/0", secret, ""},
		{"rediss://redis.example", "", "redis.example:6379 has no password, so whoever reaches it can redirect every call"},
		{"redis://192.0.2.1:6379", "", "has no password"},
		{"redis://192.0.2.1:6379", secret, ""},
		{"redis://user:hunter2@127.0.0.1", "", "password belongs in"},
		{"sentinel://192.0.2.1,192.0.2.2:26380/main/2?tls=true", secret, ""},
		{"sentinel://127.0.0.1,192.0.2.2/main", "", "192.0.2.2:26379 has no password"},
		{"sentinel://127.0.0.1", "", "name of the master"},
		{"cluster://127.0.0.1:7000,127.0.0.1:7001", "", ""},
		{"cluster://127.0.0.1:7000/1", "", "a cluster has no numbered databases"},
		{"redis://127.0.0.1,127.0.0.2", "", "several hosts"},
		{"redis://127.0.0.1/x", "", "number of a database"},
		{"redis://127.0.0.1?timeout=3", "", "only ?tls=true"},
		{"redis://", "", "host is missing"},
		{"memcached://127.0.0.1", "", "none of"},
		{"127.0.0.1:6379", "", "not a URL"},
		{"", "", "not a URL"},
	} {
		cfg := Config{Redis: c.redis, PasswordFile: c.password}
		err := cfg.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q: got %v, want %q", c.redis, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the password is in the error", c.redis)
		}
	}
	cfg := Config{Redis: "redis://192.0.2.1", Insecure: true}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	cfg = Config{Redis: "sentinel://u@192.0.2.1,[2001:db8::1]:1/main/2?tls=true", PasswordFile: secret}
	o, err := cfg.options()
	if err != nil || o.MasterName != "main" || o.DB != 2 || o.Username != "u" || o.TLSConfig == nil ||
		!slices.Equal(o.Addrs, []string{"192.0.2.1:26379", "[2001:db8::1]:1"}) {
		t.Errorf("got %+v, %v", o, err)
	}
	if p, err := cfg.password(); p != "s3cret" || err != nil {
		t.Errorf("got %q, %v", p, err)
	}
	d := DefaultConfig()
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
}
