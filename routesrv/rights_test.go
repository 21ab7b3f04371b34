//go:build endpoints

package routesrv

import (
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// setACL makes the users of three offices at the real Redis; names are those of the users of each.
func setACL(t *testing.T, admin *redis.Client, names map[string][]string) {
	t.Helper()
	for _, office := range []string{"north", "south", "west"} {
		line, err := ACL(office, names[office]...)
		if err != nil {
			t.Fatal(err)
		}
		var cmd []any
		for w := range strings.FieldsSeq(strings.Replace(line, ">PASSWORD", ">"+secret, 1)) { // as redis-cli sends them
			cmd = append(cmd, w)
		}
		if err := admin.Do(t.Context(), cmd...).Err(); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

// TestACL: each office with its own user does all it must.
func TestACL(t *testing.T) {
	addr := os.Getenv("SIPROAM_TEST_REDIS")
	admin := client(t, addr)
	setACL(t, admin, nil)
	for name, test := range map[string]func(*testing.T, string){"report and locate": reportAndLocate, "identify": identify, "courier": courier, "courier of several": courierOfSeveral,
		"observer": observes, "highest epoch wins": highestEpochWins, "what was lost is mended": whatWasLostIsMended, "sweep": sweepRepairs, "guests": guestsAreMended, "peers": peers} {
		t.Run(name, func(t *testing.T) {
			if err := admin.FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			test(t, "siproam-OFFICE@"+addr)
		})
	}
}

// TestRogueACL: an office's password does not do what is another office's to do, nor anything else of the server.
func TestRogueACL(t *testing.T) {
	addr := os.Getenv("SIPROAM_TEST_REDIS")
	admin := client(t, addr)
	if err := admin.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	setACL(t, admin, map[string][]string{"south": {"@south.example", "+15550002xxx", "2xxx"}})
	south := redis.NewClient(&redis.Options{Addr: addr, Username: "siproam-south", Password: secret, DisableIdentity: true})
	defer south.Close()
	do := func(line string) error {
		var args []any
		for w := range strings.FieldsSeq(line) {
			args = append(args, w)
		}
		return south.Do(t.Context(), args...).Err()
	}
	for _, line := range []string{ // its own
		"HSET roam:office:{south} ver 1", "HSET roam:sw:{south:0123} uri sip:x", "PEXPIRE roam:sw:{south:0123} 9000", "DEL roam:sw:{south/1}", "HSET roam:sw:{south} uri sip:x",
		"HSET roam:id:{2001@south.example} user 2001@south.example", "HSET roam:id:{+15550002001} user 2001@south.example", "HSET roam:ext:{2001} 2001@south.example south",
		"XADD roam:cdr:{north} * id 1 office south", "XGROUP CREATE roam:cdr:{south} home 0 MKSTREAM", "XDEL roam:cdr:{south} 0-1",
		"XADD roam:cdrack:{north}:south * id 1", "EXPIRE roam:cdrack:{north}:south 60", "XADD roam:cdrack:{north/1}:south * id 1", "XDEL roam:cdrack:{south}:north 0-1", "XDEL roam:cdrack:{south/1}:north 0-1",
		"HSET roam:loc:{1001@north.example} epoch 1", "GET roam:ep:{1001@north.example}", "HGETALL roam:office:{north}", "PUBLISH roam:ev x", "XRANGE roam:cdrack:{north}:west - +",
	} {
		if err := do(line); err != nil && err != redis.Nil {
			t.Errorf("%s: got %v, want it done", line, err)
		}
	}
	for _, line := range []string{
		// Another office's card, sign of life and names.
		"HSET roam:office:{north} softswitches n=sip:evil", "DEL roam:office:{north}", "HSET roam:office:{southern} ver 1", "HSET roam:sw:{north:0123} uri sip:evil", "DEL roam:sw:{north:0123}",
		"HSET roam:sw:{north} uri sip:evil", "HSET roam:sw:{south-west:1} uri sip:evil", "PEXPIRE roam:sw:{north:0123} 1",
		"HSET roam:id:{1001@north.example} home south", "HSET roam:id:{+15550001001} home south", "DEL roam:id:{+15550001001}", "HSET roam:id:{+155500020011} home south", "HSET roam:ext:{1001} 1001@north.example south",
		"HDEL roam:ext:{1001} 1001@north.example",
		// Records that are not for it, and what others say of records.
		"XDEL roam:cdr:{north} 0-1", "DEL roam:cdr:{north}", "XGROUP CREATE roam:cdr:{north} mine 0 MKSTREAM", "XREADGROUP GROUP home south STREAMS roam:cdr:{north} >", "XACK roam:cdr:{north} home 0-1",
		"EXPIRE roam:cdr:{north} 1", "XADD roam:cdrack:{west}:north * id 1", "XADD roam:cdrack:{north}:west * id 1", "XDEL roam:cdrack:{north}:west 0-1", "DEL roam:cdrack:{north}:west",
		"EVAL return(redis.call('xdel','roam:cdr:{north}','0-1')) 0", "EVAL return(redis.call('hset','roam:sw:{north:0123}','uri','x')) 0",
		// The server.
		"FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG GET *", "CONFIG SET save x", "SHUTDOWN NOSAVE", "SAVE", "BGSAVE", "BGREWRITEAOF",
		"ACL LIST", "ACL SETUSER x on", "ACL WHOAMI", "MONITOR", "CLIENT LIST", "CLIENT KILL TYPE normal", "REPLICAOF NO ONE", "SLAVEOF NO ONE", "FAILOVER",
		"SCRIPT FLUSH", "SCRIPT KILL", "FUNCTION LIST", "MODULE LIST", "SWAPDB 0 1", "MOVE roam:loc:{a} 1", "RENAME roam:loc:{a} roam:loc:{b}", "COPY roam:loc:{a} x",
		"DUMP roam:loc:{a}", "RESTORE x 0 y", "MIGRATE h 1 k 0 1", "SORT roam:loc:{a}", "LATENCY RESET", "SLOWLOG GET", "MEMORY STATS",
		"SET other x", "GET other", "HGETALL other", "DEL other", "HSET roam:other x y", "PUBLISH other x", "SUBSCRIBE other", "EVAL return(redis.call('get','other')) 0",
	} {
		if err := do(line); err == nil || !strings.Contains(err.Error(), "NOPERM") && !strings.Contains(err.Error(), "can't access") && !strings.Contains(err.Error(), "can't run") {
			t.Errorf("%s: got %v, want NOPERM", line, err)
		}
	}
}
