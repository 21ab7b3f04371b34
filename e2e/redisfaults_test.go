//go:build endpoints

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/siproam/siproam/phone"
)

// soaking says that the long variants are wanted: make soak.
var soaking = os.Getenv("SIPROAM_SOAK") != ""

// brokenRedis is a redis-server on port 6391 that forgets, stands still, and comes back with what it once had.
type brokenRedis struct {
	t   *testing.T
	dir string
	cmd *exec.Cmd
}

func newBrokenRedis(t *testing.T) *brokenRedis {
	t.Helper()
	r := &brokenRedis{t: t, dir: t.TempDir()}
	r.start()
	t.Cleanup(func() { r.cmd.Process.Signal(syscall.SIGCONT); r.kill() })
	return r
}

func (r *brokenRedis) start() {
	r.t.Helper()
	r.cmd = exec.Command("redis-server", "--port", "6391", "--bind", "127.0.0.1", "--dir", r.dir, "--save", "", "--appendonly", "no")
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, 10*time.Second, "redis-server", func() error {
		if out, err := exec.Command("redis-cli", "-p", "6391", "ping").Output(); err != nil || strings.TrimSpace(string(out)) != "PONG" {
			return fmt.Errorf("got %q, %v, want PONG", out, err)
		}
		return nil
	})
}

func (r *brokenRedis) kill() {
	r.cmd.Process.Kill()
	r.cmd.Wait()
}

// file is Redis's dump; what is not there is not loaded.
func (r *brokenRedis) file() string { return filepath.Join(r.dir, "dump.rdb") }

// commands is how many commands Redis has served since it started.
func (r *brokenRedis) commands() int {
	out, err := exec.Command("redis-cli", "-p", "6391", "info", "stats").Output()
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(out), "total_commands_processed:")
	n, _ := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "\r", 2)[0]))
	return n
}

// crowd is how many more users north has, so that a repair is worth pacing.
const crowd = 2000

// crowded runs three offices of which north has a crowd, and gives them.
func crowded(t *testing.T, change func(office, yaml string) string) *offices {
	t.Helper()
	o := &offices{dir: filepath.Join(t.TempDir(), "three"), process: map[string]*process{}}
	if out, errs, code := run(t, "", "up", "--write", o.dir, "--redis", "redis://127.0.0.1:6391/0"); code != 0 {
		t.Fatalf("up --write: exit %d: %s%s", code, out, errs)
	}
	f, err := os.OpenFile(filepath.Join(o.dir, "north", "users.csv"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range crowd {
		fmt.Fprintf(f, "17%04d,,,crowd\n", i)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for name := range officeHTTP {
		if change != nil {
			path := filepath.Join(o.dir, name, "office.yaml")
			y, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(change(name, string(y))), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		o.start(t, name)
	}
	for name := range officeHTTP {
		o.process[name].ready(officeHTTP[name])
	}
	return o
}

// state is where an office's commands find it.
func (o *offices) state(name string) string { return filepath.Join(o.dir, name) }

// soft is a registered softphone of user n, plugged in at an office.
func soft(t *testing.T, n, at string, hz float64, answer phone.Behaviour) *phone.Phone {
	t.Helper()
	home := map[byte]string{'1': "north", '2': "south", '3': "west"}[n[0]]
	p, err := phone.New(phone.Config{AOR: "sip:" + n + "@" + home + ".example", Login: n, Password: "demo-" + n, Proxy: officeSIP[at],
		Instance: "urn:uuid:00000000-0000-4000-8000-00000000" + n, Tone: hz, Answer: answer, Expires: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); p.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := p.Registered(wait); err != nil {
		t.Fatalf("register %s at %s: %v", n, at, err)
	}
	return p
}

// reaches has a call uri and hang up; the error is nil when somebody answered. It gives how long that took.
func reaches(a *phone.Phone, uri string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	began := time.Now()
	call, err := a.Call(ctx, uri)
	took := time.Since(began)
	if err == nil {
		call.Hangup(ctx)
	}
	return took, err
}

// caller calls uri again and again, and counts.
type caller struct {
	made, lost atomic.Int64
	mu         sync.Mutex // guards last
	last       error
	stop       func()
}

func callAgain(a *phone.Phone, uri string) *caller {
	c := &caller{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			c.made.Add(1)
			if took, err := reaches(a, uri); err != nil || took > 3*time.Second {
				c.lost.Add(1)
				c.mu.Lock()
				c.last = errors.Join(err, fmt.Errorf("after %v", took))
				c.mu.Unlock()
			}
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond):
			}
		}
	}()
	c.stop = func() { cancel(); <-ended }
	return c
}

// whole is nil when Redis has all that it should hold: names, cards, signs of life, and everybody where he is.
func whole(places map[string]string) error {
	out, err := exec.Command("redis-cli", "-p", "6391", "dbsize").Output()
	if n, _ := strconv.Atoi(strings.TrimSpace(string(out))); err != nil || n < 2*crowd {
		return fmt.Errorf("%d keys for %d names, %v", n, 2*crowd, err)
	}
	for o := range officeHTTP {
		out, _ := exec.Command("redis-cli", "-p", "6391", "hget", "roam:office:{"+o+"}", "softswitches").Output()
		node, _, _ := strings.Cut(strings.TrimSpace(string(out)), "=")
		if out, _ := exec.Command("redis-cli", "-p", "6391", "exists", "roam:sw:{"+node+"}").Output(); strings.TrimSpace(string(out)) != "1" {
			return fmt.Errorf("no sign of life of %s", o)
		}
	}
	for user, want := range places {
		out, _ := exec.Command("redis-cli", "-p", "6391", "hget", "roam:loc:{"+user+"}", "office").Output()
		if got := strings.TrimSpace(string(out)); got != want {
			return fmt.Errorf("%s is at %q, want %q", user, got, want)
		}
	}
	return nil
}

// TestRedisFaults: whatever becomes of Redis, everything is right again within 60 s after it is back, without a person and
// without a flood of commands; meanwhile calls to users whose place is known go on, phones refresh, and the calls
// that are up stay up.
func TestRedisFaults(t *testing.T) {
	r := newBrokenRedis(t)
	o := crowded(t, nil)
	pause := 12 * time.Second // longer than a sign of life stands
	if soaking {
		pause = 30 * time.Second
	}
	alice := soft(t, "1001", "south", 440, phone.Talk)
	bob := soft(t, "1002", "north", 880, phone.Ring)
	soft(t, "1003", "north", 0, phone.Talk)
	erin := soft(t, "1004", "north", 0, phone.Ring)
	soft(t, "2001", "south", 660, phone.Talk)
	dave := soft(t, "3001", "west", 1000, phone.Ring)
	places := map[string]string{"1001@north.example": "south", "1003@north.example": "north", "2001@south.example": "south", "3001@west.example": "west"}
	standing, err := soft(t, "1005", "north", 500, phone.Ring).Call(t.Context(), "sip:1003@north.example")
	if err != nil {
		t.Fatal(err)
	}
	refreshing := newAgent(t, "udp", officeSIP["north"], "1006@north.example").online()
	eventually(t, 20*time.Second, "Redis has all", func() error { return whole(places) })
	faults := []struct {
		name   string
		strike func() (over time.Duration) // returns when Redis is back
		soak   bool
	}{
		{"wiped (FLUSHALL)", func() time.Duration { redisCLI(t, "6391", "flushall"); return 0 }, false},
		{"replaced by an empty one", func() time.Duration { r.kill(); os.Remove(r.file()); r.start(); return 0 }, false},
		{"back with data from before two moves", func() time.Duration {
			for _, at := range []string{"north", "west"} {
				carryTo(t, alice, at)
				if at == "north" {
					redisCLI(t, "6391", "save")
				}
			}
			saved := time.Now()
			carryTo(t, alice, "south")
			eventually(t, 5*time.Second, "the moves are published", func() error { return whole(places) })
			r.kill()
			if i, err := os.Stat(r.file()); err != nil || i.ModTime().After(saved) { // Redis itself is mended before it can be asked
				t.Errorf("that was no test: Redis saved the last move, %v", err)
			}
			r.start()
			os.Remove(r.file())
			return 0
		}, false},
		{"stopped (SIGSTOP)", func() time.Duration {
			r.cmd.Process.Signal(syscall.SIGSTOP)
			time.Sleep(pause)
			r.cmd.Process.Signal(syscall.SIGCONT)
			return pause
		}, false},
		{"paused (CLIENT PAUSE)", func() time.Duration {
			redisCLI(t, "6391", "client", "pause", fmt.Sprint(pause.Milliseconds()), "all")
			time.Sleep(pause)
			return pause
		}, true},
		{"dead for 5 minutes", func() time.Duration {
			r.kill()
			time.Sleep(5 * time.Minute)
			r.start()
			return 5 * time.Minute
		}, true},
	}
	t.Logf("%-40s %8s %10s %10s %9s %12s", "fault", "away", "repaired", "commands", "most a s", "calls lost")
	for _, f := range faults {
		if f.soak && !soaking {
			continue
		}
		inOffice, cached, third := callAgain(erin, "sip:1003@north.example"), callAgain(bob, "sip:1001@north.example"), callAgain(dave, "sip:+15550001001@west.example")
		time.Sleep(1500 * time.Millisecond)
		refreshed, over := 0, make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-over:
					return
				case <-time.After(time.Second):
				}
				if res := refreshing.register("Contact: "+refreshing.contact(""), "Expires: 300"); res.status() != 200 {
					t.Errorf("%s: a refresh got %s", f.name, res.first())
					return
				}
				refreshed++
			}
		})
		away := f.strike()
		back, before, most := time.Now(), r.commands(), 0
		var repaired time.Duration
		for last, at := before, time.Now(); repaired == 0; {
			time.Sleep(200 * time.Millisecond)
			n := r.commands()
			most = max(most, int(float64(n-last)/time.Since(at).Seconds()))
			last, at = n, time.Now()
			if err := whole(places); err == nil {
				repaired = time.Since(back)
			} else if time.Since(back) > time.Minute {
				t.Fatalf("%s: not repaired within a minute: %v", f.name, err)
			}
		}
		commands := r.commands() - before
		time.Sleep(3 * time.Second)
		close(over)
		wg.Wait()
		for _, c := range []*caller{inOffice, cached, third} {
			c.stop()
		}
		lost := fmt.Sprintf("%d+%d+%d/%d", inOffice.lost.Load(), cached.lost.Load(), third.lost.Load(), inOffice.made.Load()+cached.made.Load()+third.made.Load())
		t.Logf("%-40s %8v %10v %10d %9d %12s", f.name, away, repaired.Round(100*time.Millisecond), commands, most, lost)
		if most > 50_000 { // those that location.lua calls are counted, too
			t.Errorf("%s: %d commands a second, want 50,000 at most", f.name, most)
		}
		if inOffice.lost.Load()+cached.lost.Load()+third.lost.Load() > 0 {
			t.Errorf("%s: calls lost %s: %v, %v, %v", f.name, lost, inOffice.last, cached.last, third.last)
		}
		if refreshed == 0 {
			t.Errorf("%s: no refresh was made", f.name)
		}
		select {
		case <-standing.Done():
			t.Fatalf("%s: the call that was up has ended", f.name)
		default:
		}
	}
	standing.Hangup(t.Context())
	_ = o
}

// carryTo carries a phone to another office and waits until Redis says so.
func carryTo(t *testing.T, p *phone.Phone, at string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.Move(ctx, officeSIP[at]); err != nil {
		t.Fatalf("move to %s: %v", at, err)
	}
	eventually(t, 5*time.Second, "at "+at, func() error {
		if got := strings.TrimSpace(redisCLI(t, "6391", "hget", "roam:loc:{1001@north.example}", "office")); got != at {
			return fmt.Errorf("Redis says %q", got)
		}
		return nil
	})
}
