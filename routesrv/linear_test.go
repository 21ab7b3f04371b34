package routesrv

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"

	"github.com/siproam/siproam/roam"
)

// What the location script promises, as a register: the highest epoch wins, whoever writes and in whatever order;
// what was acknowledged is never undone; everybody who reads sees the newest.
type (
	register struct {
		epoch  roam.Epoch
		office roam.OfficeID
	}
	asked struct {
		user  roam.UserID
		write bool
		register
	}
	said struct {
		unknown bool // no answer: it may have been done, then or later
		won     bool
		register
	}
)

var promise = porcupine.Model{
	Partition: func(all []porcupine.Operation) (parts [][]porcupine.Operation) {
		users := map[roam.UserID][]porcupine.Operation{}
		for _, op := range all {
			users[op.Input.(asked).user] = append(users[op.Input.(asked).user], op)
		}
		for _, part := range users {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return register{} },
	Step: func(state, input, output any) (bool, any) {
		is, in, out := state.(register), input.(asked), output.(said)
		if !in.write {
			return out.unknown || out.register == is, is
		}
		wins := in.epoch > is.epoch || in.register == is
		if wins {
			is = in.register
		}
		return out.unknown || out.won == wins && out.register == is, is
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// history has clients write and read a few users for a while and gives what they saw. Operations of which no answer
// came never end, as far as anybody knows.
func history(t *testing.T, addr string, script *redis.Script, while, pause time.Duration) (all []porcupine.Operation) {
	const clients, users, most = 6, 4, 6000
	began := time.Now()
	var mu sync.Mutex // guards all
	var wg sync.WaitGroup
	for id := range clients {
		c := redis.NewClient(&redis.Options{Addr: addr, DisableIdentity: true, MaxRetries: -1, ReadTimeout: time.Second, DialTimeout: time.Second})
		defer c.Close()
		random := rand.New(rand.NewPCG(uint64(id), uint64(began.UnixNano())))
		wg.Go(func() {
			office := roam.OfficeID(fmt.Sprint("office", id))
			for n := 0; n < most/clients && time.Since(began) < while; n++ {
				in := asked{user: roam.UserID(fmt.Sprintf("%d@north.example", random.IntN(users))), write: random.IntN(3) > 0}
				if in.write { // near one another, and now and then the same one again
					in.register = register{roam.Epoch(1 + n + random.IntN(8)), office}
				}
				op := porcupine.Operation{ClientId: id, Input: in, Call: time.Since(began).Nanoseconds(), Return: math.MaxInt64}
				out := operate(t.Context(), c, script, in)
				if !out.unknown {
					op.Return = time.Since(began).Nanoseconds()
				}
				op.Output = out
				mu.Lock()
				all = append(all, op)
				mu.Unlock()
				if out.unknown {
					time.Sleep(20 * time.Millisecond)
				}
				time.Sleep(pause)
			}
		})
	}
	wg.Wait()
	return all
}

// operate does in.
func operate(ctx context.Context, c *redis.Client, script *redis.Script, in asked) said {
	if !in.write {
		got, err := c.HMGet(ctx, locKey(in.user), "epoch", "office").Result()
		if err != nil {
			return said{unknown: true}
		}
		at := readLocation(fields([]any{"epoch", got[0], "office", got[1]}))
		return said{register: register{at.Epoch, at.Office}}
	}
	r := &report{user: in.user, at: roam.Location{Epoch: in.epoch, Office: in.office, Switch: "sip:s", Registrar: "sip:r"}, why: "test"}
	argv := new(words).command(ctx, "", "", r).Args()[6:]
	got, err := script.Run(ctx, c, []string{locKey(in.user), epKey(in.user), movesKey(in.user)}, argv...).Result()
	if err != nil {
		return said{unknown: true}
	}
	e := r.outcome(got)
	return said{unknown: e.err != nil, won: e.won, register: register{e.now.Epoch, e.now.Office}}
}

// keeps says whether the history can be that of the promise.
func keeps(t *testing.T, all []porcupine.Operation) bool {
	t.Helper()
	unknown := 0
	for _, op := range all {
		if op.Output.(said).unknown {
			unknown++
		}
	}
	switch verdict := porcupine.CheckOperationsTimeout(promise, all, 30*time.Second); verdict {
	case porcupine.Ok, porcupine.Illegal:
		t.Logf("%d operations, %d without an answer: %s", len(all), unknown, verdict)
		return verdict == porcupine.Ok
	}
	t.Fatalf("%d operations, %d without an answer: not decided in 30 s", len(all), unknown)
	return false
}

// linearizes is the promise under concurrent writers; without the script's comparison it is broken, and seen to be.
func linearizes(t *testing.T, addr string) {
	if !keeps(t, history(t, addr, locationScript, time.Second, 0)) {
		t.Error("the location script broke its promise")
	}
	blind := strings.Replace(locationLua, "if n < highest or", "if false and n < highest or", 1)
	if blind == locationLua {
		t.Fatal("the comparison is not where it was")
	}
	for range 3 {
		if err := client(t, addr).FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if !keeps(t, history(t, addr, redis.NewScript(blind), time.Second, 0)) {
			return
		}
	}
	t.Error("without its comparison the script was not found out in three runs")
}
