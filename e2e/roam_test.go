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

// The lab is a network namespace of our own: up finds its usual ports there.
const (
	northProxy = "127.0.0.1:5060"
	southProxy = "127.0.0.1:5160"
	westProxy  = "127.0.0.1:5260"
	upHTTP     = "127.0.0.1:8080"
	upStore    = "6390"
)

func TestMainNeedsTheLab(t *testing.T) {
	if os.Getenv("SIPROAM_LAB") == "" {
		t.Fatal("these tests run in a network namespace of their own: make test, or scripts/lab go test -tags endpoints ./e2e")
	}
}

// located waits until everybody says that user is at office.
func located(t *testing.T, state, user, office string, limit time.Duration) {
	t.Helper()
	eventually(t, limit, user+" at "+office, func() error {
		out, errs, code := run(t, "", "where", user, "--state", state)
		if code != 0 && code != 3 {
			return fmt.Errorf("where: exit %d %s", code, errs)
		}
		if !strings.Contains(out, "at       "+office) {
			return fmt.Errorf("where says: %s", out)
		}
		return nil
	})
}

// redisCLI is one command of redis-cli on the store that up listens with.
func redisCLI(t *testing.T, port string, args ...string) string {
	t.Helper()
	out, err := exec.Command("redis-cli", append([]string{"-p", port}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli %v: %v: %s", args, err, out)
	}
	return string(out)
}

// TestRoam is the story of the README with real phones: alice of north sits in south, moves to west, comes home.
func TestRoam(t *testing.T) {
	state := filepath.Join(t.TempDir(), "up")
	up := start(t, "up", "--state", state)
	up.ready(upHTTP)
	roamWith(t, func(string) string { return state }, upStore)
}

// roamWith runs the story against three offices on the usual ports; stateOf is where an office's commands find it.
func roamWith(t *testing.T, stateOf func(office string) string, storePort string) {
	state := stateOf("north")
	alice := newBaresip(t, 440, demoAccount("1001", "north.example", southProxy)).start()
	bob := newBaresip(t, 880, demoAccount("1002", "north.example", northProxy)).start()
	carol := newBaresip(t, 660, demoAccount("2001", "south.example", southProxy)).start()
	dave := newBaresip(t, 1000, demoAccount("3001", "west.example", westProxy)).start()
	for _, p := range []*baresip{alice, bob, carol, dave} {
		p.registered()
	}
	located(t, state, "1001", "south", 2*time.Second)
	if got := redisCLI(t, storePort, "hgetall", "roam:loc:{1001@north.example}"); !strings.Contains(got, "south") {
		t.Errorf("roam:loc: got %q, want office south", got)
	}

	talk(t, "south -> 1001, here", carol, alice, "sip:1001@north.example", false)
	talk(t, "1001 -> south, here", alice, carol, "sip:2001@south.example", true)
	talk(t, "north -> 1001 at south", bob, alice, "sip:1001@north.example", true)
	talk(t, "1001 at south -> north", alice, bob, "sip:1002@north.example", false)
	talk(t, "west -> 1001 at south", dave, alice, "sip:1001@north.example", false)
	talk(t, "1001 at south -> west", alice, dave, "sip:3001@west.example", true)
	calls, former := 6, "south"

	for _, move := range []struct{ office, proxy string }{{"west", westProxy}, {"north", northProxy}} {
		alice.kill()
		alice.accounts[0].proxy = move.proxy
		alice.start().registered()
		located(t, state, "1001", move.office, 2*time.Second)
		forgotten(t, stateOf(former), "1001@north.example", former)
		former = move.office
		for _, from := range []*baresip{bob, carol, dave} {
			talk(t, from.accounts[0].aor+" -> 1001 at "+move.office, from, alice, "sip:1001@north.example", false)
			calls++
		}
	}
	recorded(t, state, "1001", calls)
}

// forgotten waits until office serves no phone of user.
func forgotten(t *testing.T, state, user, office string) {
	t.Helper()
	eventually(t, 2*time.Second, office+" has forgotten "+user, func() error {
		var here []struct {
			User   string
			Phones []struct{ Office, Contact string }
		}
		ask(t, &here, "where", "--office", office, "--state", state)
		for _, u := range here {
			for _, p := range u.Phones {
				if u.User == user && p.Office == office {
					return fmt.Errorf("still has %s", p.Contact)
				}
			}
		}
		return nil
	})
}

// recorded waits until user's records in the ledger of its home match the calls that were made.
func recorded(t *testing.T, state, user string, want int) {
	t.Helper()
	eventually(t, 15*time.Second, fmt.Sprintf("%d records of %s at home", want, user), func() error {
		var cdrs []struct {
			Home, Office, User, Role string
			Status                   int
		}
		ask(t, &cdrs, "cdr", "--office", "north", "--user", user, "--state", state)
		if len(cdrs) != want {
			return fmt.Errorf("%d records: %+v", len(cdrs), cdrs)
		}
		for _, c := range cdrs {
			if c.Home != "north" || c.Status != 200 {
				return fmt.Errorf("record %+v", c)
			}
		}
		return nil
	})
}

// upState is the state directory that up was started with.
func upState(p *process) string {
	for i, a := range p.cmd.Args {
		if a == "--state" {
			return p.cmd.Args[i+1]
		}
	}
	return ""
}

// accountsFile reads the passwords that up made: number to password.
func accountsFile(t *testing.T, state string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(state, "accounts.txt"))
	if err != nil {
		t.Fatal(err)
	}
	passwords := map[string]string{}
	for _, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) >= 2 && !strings.HasPrefix(f[0], "#") {
			passwords[f[0]] = f[len(f)-1]
		}
	}
	return passwords
}
