//go:build endpoints

package routesrv

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// TestRedis is the suite on the real Redis at SIPROAM_TEST_REDIS, "127.0.0.1:6399", which
// it empties again and again; `make test` starts one for it.
func TestRedis(t *testing.T) {
	addr := os.Getenv("SIPROAM_TEST_REDIS")
	if addr == "" {
		t.Fatal("SIPROAM_TEST_REDIS is not set: run make test")
	}
	for name, test := range suite {
		t.Run(name, func(t *testing.T) {
			if err := client(t, addr).FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			test(t, addr)
		})
	}
}

// TestACL: with the rights that ACL gives, an office does all it must, and nothing that it must not.
func TestACL(t *testing.T) {
	addr := os.Getenv("SIPROAM_TEST_REDIS")
	admin := redis.NewClient(&redis.Options{Addr: addr, Username: "admin", Password: "all", DisableIdentity: true})
	defer admin.Close()
	first := client(t, addr)
	if err := first.Do(t.Context(), "ACL", "SETUSER", "admin", "reset", "on", ">all", "allkeys", "allchannels", "allcommands").Err(); err != nil {
		t.Fatal(err)
	}
	defer func() { // the other tests have every right
		admin.Do(context.Background(), "ACL", "SETUSER", "default", "reset", "on", "nopass", "allkeys", "allchannels", "allcommands")
		admin.Do(context.Background(), "ACL", "DELUSER", "admin")
	}()
	rights := strings.Fields(strings.Replace(ACL("south"), ">PASSWORD", "nopass", 1))[3:] // those of siproam-south
	for _, test := range []func(*testing.T, string){reportAndLocate, identify, courier, observes} {
		admin.FlushAll(t.Context())
		cmd := []any{"ACL", "SETUSER", "default"}
		for _, w := range rights {
			w = strings.ReplaceAll(w, "{south}", "*") // the tests play three offices
			cmd = append(cmd, w)
		}
		if err := admin.Do(t.Context(), cmd...).Err(); err != nil {
			t.Fatal(err)
		}
		test(t, addr)
	}
	cmd := []any{"ACL", "SETUSER", "default"}
	for _, w := range rights {
		cmd = append(cmd, w)
	}
	if err := admin.Do(t.Context(), cmd...).Err(); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG GET *", "CONFIG SET save x", "SHUTDOWN NOSAVE", "SAVE", "BGSAVE", "BGREWRITEAOF",
		"ACL LIST", "ACL SETUSER x on", "ACL WHOAMI", "MONITOR", "CLIENT LIST", "CLIENT KILL TYPE normal", "REPLICAOF NO ONE", "SLAVEOF NO ONE", "FAILOVER",
		"SCRIPT FLUSH", "SCRIPT KILL", "FUNCTION LIST", "MODULE LIST", "SWAPDB 0 1", "MOVE roam:loc:{a} 1", "RENAME roam:loc:{a} roam:loc:{b}", "COPY roam:loc:{a} x",
		"DUMP roam:loc:{a}", "RESTORE x 0 y", "MIGRATE h 1 k 0 1", "SORT roam:loc:{a}", "LATENCY RESET", "SLOWLOG GET", "MEMORY STATS",
		"SET other x", "GET other", "HGETALL other", "DEL other", "HSET roam:office:{north} softswitches n=sip:evil", "DEL roam:office:{north}", "HSET roam:other x y",
		"PUBLISH other x", "SUBSCRIBE other", "EVAL return(redis.call('get','other')) 0",
	} {
		var args []any
		for _, w := range strings.Fields(line) {
			args = append(args, w)
		}
		err := client(t, addr).Do(t.Context(), args...).Err()
		if err == nil || !strings.Contains(err.Error(), "NOPERM") && !strings.Contains(err.Error(), "can't access") {
			t.Errorf("%s: got %v, want NOPERM", line, err)
		}
	}
}
