//go:build endpoints

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// redisServer starts a redis-server of our own on loopback, and at more addresses.
func redisServer(t *testing.T, port string, more ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("redis-server", "--port", port, "--bind", strings.Join(append([]string{"127.0.0.1"}, more...), " "), "--protected-mode", "no", "--dir", t.TempDir(), "--save", "", "--appendonly", "no")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	eventually(t, 5*time.Second, "redis-server", func() error {
		return exec.Command("redis-cli", "-p", port, "ping").Run()
	})
	return cmd
}

// offices are three processes, each with its own file and state, against one redis-server.
type offices struct {
	dir     string
	process map[string]*process
}

var officeHTTP = map[string]string{"north": "127.0.0.1:8080", "south": "127.0.0.1:8081", "west": "127.0.0.1:8082"}

func startOffices(t *testing.T, redisPort string) *offices {
	return startOfficesAs(t, redisPort, func(text string) string { return text })
}

// startOfficesAs is startOffices with other configurations and accounts: change is given each file.
func startOfficesAs(t *testing.T, redisPort string, change func(text string) string) *offices {
	t.Helper()
	o := &offices{dir: filepath.Join(t.TempDir(), "three"), process: map[string]*process{}}
	if out, errs, code := run(t, "", "up", "--write", o.dir, "--redis", "redis://127.0.0.1:"+redisPort+"/0"); code != 0 {
		t.Fatalf("up --write: exit %d: %s%s", code, out, errs)
	}
	for name := range officeHTTP {
		for _, file := range []string{"office.yaml", "users.csv"} {
			text, err := os.ReadFile(filepath.Join(o.dir, name, file))
			if err == nil {
				err = os.WriteFile(filepath.Join(o.dir, name, file), []byte(change(string(text))), 0o600)
			}
			if err != nil {
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

func (o *offices) start(t *testing.T, name string) {
	o.process[name] = start(t, "serve", "-c", filepath.Join(o.dir, name, "office.yaml"))
}

// acquainted waits until every office has told the others that it has started; what goes between them after that
// is the test's doing.
func (o *offices) acquainted() {
	for name, p := range o.process {
		eventually(p.t, 15*time.Second, name+" hears of the others", func() error {
			if n := strings.Count(p.out.String(), `"event":"office.started"`); n < len(o.process)-1 {
				return fmt.Errorf("of %d", n)
			}
			return nil
		})
	}
}

// TestThreeProcesses is the story of TestRoam with every office a process of its own and a real Redis.
func TestThreeProcesses(t *testing.T) {
	redisServer(t, "6391")
	o := startOffices(t, "6391")
	roamWith(t, func(office string) string { return filepath.Join(o.dir, office) }, "6391")
}

// TestKilledOffice kills south with a visitor in it: its users are back from its file, and nothing else is disturbed.
func TestKilledOffice(t *testing.T) {
	redisServer(t, "6391")
	o := startOffices(t, "6391")
	alice := newBaresip(t, 440, demoAccount("1001", "north.example", southProxy)).start().registered()
	carol := newBaresip(t, 660, demoAccount("2001", "south.example", southProxy)).start().registered()
	bob := newBaresip(t, 880, demoAccount("1002", "north.example", northProxy)).start().registered()
	dave := newBaresip(t, 1000, demoAccount("3001", "west.example", westProxy)).start().registered()
	talk(t, "before", dave, alice, "sip:1001@north.example", false)

	o.process["south"].kill()
	talk(t, "north and west, south being dead", bob, dave, "sip:3001@west.example", false)
	o.start(t, "south")
	o.process["south"].ready(officeHTTP["south"])
	talk(t, "dave -> visitor, from south's file", dave, alice, "sip:1001@north.example", false)
	talk(t, "bob -> carol, from south's file", bob, carol, "sip:2001@south.example", false)
	talk(t, "visitor -> bob", alice, bob, "sip:1002@north.example", false)
}

// TestRedisAway kills the store: calls to users whose place is known go on, and a move is published when it is back.
func TestRedisAway(t *testing.T) {
	redis := redisServer(t, "6391")
	o := startOffices(t, "6391")
	alice := newBaresip(t, 440, demoAccount("1001", "north.example", southProxy)).start().registered()
	bob := newBaresip(t, 880, demoAccount("1002", "north.example", northProxy)).start().registered()
	talk(t, "before", bob, alice, "sip:1001@north.example", false)
	redis.Process.Kill()
	redis.Wait()
	talk(t, "Redis away", bob, alice, "sip:1001@north.example", false)
	for name, http := range officeHTTP {
		o.process[name].ready(http) // never fails for Redis
	}
	alice.kill()
	alice.accounts[0].proxy = northProxy
	alice.start().registered()
	talk(t, "moved home, Redis away", bob, alice, "sip:1001@north.example", false)
	redisServer(t, "6391")
	eventually(t, 40*time.Second, "the move is published", func() error {
		if got := redisCLI(t, "6391", "hget", "roam:loc:{1001@north.example}", "office"); strings.TrimSpace(got) != "north" {
			return &os.PathError{Op: "roam:loc", Path: got, Err: os.ErrNotExist}
		}
		return nil
	})
}
