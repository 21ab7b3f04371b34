//go:build endpoints

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// durableRedis is a redis-server that syncs its file before each answer; it can be stopped, killed and started again.
type durableRedis struct {
	t         *testing.T
	port, dir string
	cmd       *exec.Cmd
}

func (r *durableRedis) start() {
	r.t.Helper()
	r.cmd = exec.Command("redis-server", "--port", r.port, "--bind", "127.0.0.1", "--dir", r.dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always")
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, 30*time.Second, "redis-server", func() error { // it answers before it has read its file, with LOADING and no exit code
		if out, err := exec.Command("redis-cli", "-p", r.port, "ping").Output(); err != nil || strings.TrimSpace(string(out)) != "PONG" {
			return fmt.Errorf("got %q, %v, want PONG", out, err)
		}
		return nil
	})
}

func (r *durableRedis) kill() {
	r.cmd.Process.Kill()
	r.cmd.Wait()
}

// strictOffices is three processes in strict mode beside a durable Redis.
func strictOffices(t *testing.T) (*offices, *durableRedis) {
	t.Helper()
	r := &durableRedis{t: t, port: "6391", dir: t.TempDir()}
	r.start()
	t.Cleanup(func() { r.kill() })
	o := &offices{dir: filepath.Join(t.TempDir(), "three"), process: map[string]*process{}}
	if out, errs, code := run(t, "", "up", "--write", o.dir, "--redis", "redis://127.0.0.1:6391/0"); code != 0 {
		t.Fatalf("up --write: exit %d: %s%s", code, out, errs)
	}
	for name := range officeHTTP {
		path := filepath.Join(o.dir, name, "office.yaml")
		yaml, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		strict := regexp.MustCompile(`(?m)^(\s+)redis: .*$`).ReplaceAllString(strings.Replace(string(yaml), "mode: fast", "", 1), "$0\n${1}mode: strict")
		if err := os.WriteFile(path, []byte(strict), 0o600); err != nil {
			t.Fatal(err)
		}
		o.start(t, name)
	}
	for name := range officeHTTP {
		o.process[name].ready(officeHTTP[name])
	}
	return o, r
}

var officeSIP = map[string]string{"north": "127.0.0.1:5060", "south": "127.0.0.1:5160", "west": "127.0.0.1:5260"}

// traveller is one user of north who moves from office to office as fast as he is answered.
type traveller struct {
	number         string
	acknowledged   string // the office of his last 200
	tried          string // the office he was refused at since; "": none
	moves, refused int
	id             string // Call-ID: it is one running phone that is carried about
	seq            int    // its last CSeq
}

func (v *traveller) travel(t *testing.T, over <-chan struct{}) {
	names := []string{"north", "south", "west"}
	for n := rand.IntN(3); ; n++ {
		select {
		case <-over:
			return
		default:
		}
		at := names[n%3]
		a := newAgent(t, "tcp", officeSIP[at], v.number+"@north.example")
		a.id, a.seq = v.id, v.seq
		a.instance = "00000000-0000-4000-8000-00000000" + v.number
		switch res := a.register("Contact: "+a.contact(""), "Expires: 300"); res.status() {
		case 200:
			v.acknowledged, v.tried = at, ""
			v.moves++
		case 503:
			v.tried = at
			v.refused++
			time.Sleep(100 * time.Millisecond) // not Retry-After's 10 s: the test is a phone in a hurry
		default:
			t.Errorf("%s at %s: got %s, want 200 or 503", v.number, at, res.first())
			return
		}
		v.seq = a.seq
		a.c.Close()
	}
}

// place is the office that Redis has for number.
func place(t *testing.T, number string) string {
	t.Helper()
	return strings.TrimSpace(redisCLI(t, "6391", "hget", "roam:loc:{"+number+"@north.example}", "office"))
}

// TestStrictLosesNothing stops Redis under moves, kills it, and in the end kills everything at once: what was answered 200 is in
// the Redis that starts again, though no office is there to repair it.
func TestStrictLosesNothing(t *testing.T) {
	o, redis := strictOffices(t)
	over := make(chan struct{})
	var all []*traveller
	var wg sync.WaitGroup
	for n := 1001; n <= 1007; n++ {
		v := &traveller{number: fmt.Sprint(n), id: token()}
		all = append(all, v)
		wg.Go(func() { v.travel(t, over) })
	}
	for range 3 {
		time.Sleep(1500 * time.Millisecond)
		redis.cmd.Process.Signal(syscall.SIGSTOP)
		time.Sleep(time.Second)
		redis.cmd.Process.Signal(syscall.SIGCONT)
		time.Sleep(1500 * time.Millisecond)
		redis.kill()
		time.Sleep(500 * time.Millisecond)
		redis.start()
	}
	time.Sleep(1500 * time.Millisecond)
	close(over)
	wg.Wait()
	redis.kill()
	for _, p := range o.process {
		p.kill()
	}
	redis.start()
	moves, refused, held := 0, 0, 0
	for _, v := range all {
		moves, refused = moves+v.moves, refused+v.refused
		if v.tried != "" { // refused since: the office's file knows what stands, and says so when it starts
			continue
		}
		held++
		if got := place(t, v.number); got != v.acknowledged {
			t.Errorf("%s: Redis has %q, the last 200 was %s's", v.number, got, v.acknowledged)
		}
	}
	t.Logf("%d moves acknowledged, %d refused; the last of %d of %d users was acknowledged and is there", moves, refused, held, len(all))
	if moves < 50 || refused == 0 || held == 0 {
		t.Error("that was no test: too few moves, or nothing refused")
	}
	for name := range officeHTTP {
		o.start(t, name)
	}
	for name := range officeHTTP {
		o.process[name].ready(officeHTTP[name])
	}
	for _, v := range all {
		eventually(t, 40*time.Second, v.number+" is where his last 200 was", func() error {
			// A visited office that refused may have told home first, and then that it is over: the phone is nowhere.
			if got := place(t, v.number); got != v.acknowledged && !(v.tried != "" && v.tried != "north") {
				return fmt.Errorf("Redis has %q, want %q; tried %q since", got, v.acknowledged, v.tried)
			}
			return nil
		})
	}
}

// TestRefreshCostsNoCommand counts what Redis is asked while phones at home refresh, in strict mode as in any.
func TestRefreshCostsNoCommand(t *testing.T) {
	strictOffices(t)
	a := newAgent(t, "udp", officeSIP["north"], "1001@north.example").online()
	a.online() // what the first refresh after a 200 may still ask
	before := asked(t)
	for range 200 {
		a.online()
	}
	if after := asked(t); after != before {
		t.Errorf("200 refreshes: Redis was asked\n%s\nbefore\n%s", after, before)
	}
	b := newAgent(t, "udp", officeSIP["north"], "1002@north.example").online()
	if b.online(); asked(t) == before {
		t.Error("a move was not counted: this test counts nothing")
	}
}

// asked is how often each command was called that an office's own signs of life do not use.
func asked(t *testing.T) (s string) {
	t.Helper()
	for _, line := range strings.Split(redisCLI(t, "6391", "info", "commandstats"), "\n") {
		for _, name := range []string{"eval", "evalsha", "get", "set", "hgetall", "hmget", "hget", "xadd", "wait"} {
			if calls, found := strings.CutPrefix(line, "cmdstat_"+name+":"); found {
				calls, _, _ = strings.Cut(calls, ",")
				s += name + " " + calls + "\n"
			}
		}
	}
	return s
}
