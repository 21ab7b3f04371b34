//go:build endpoints

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/phone"
)

// TestRestoredFile: home starts from a copy of its file that is older than two moves and a call. Within a minute, without a
// person, its user can be called from everywhere, moves on, and is charged once for every call.
func TestRestoredFile(t *testing.T) {
	newBrokenRedis(t)
	o := crowded(t, nil)
	alice := soft(t, "1001", "north", 440, phone.Talk)
	bob, carol, dave := soft(t, "1002", "north", 0, phone.Ring), soft(t, "2001", "south", 0, phone.Ring), soft(t, "3001", "west", 0, phone.Ring)
	eventually(t, 20*time.Second, "Redis has all", func() error { return whole(map[string]string{"1001@north.example": "north"}) })
	again := func(change func()) {
		o.process["north"].stop()
		change()
		o.start(t, "north")
		o.process["north"].ready(officeHTTP["north"])
	}
	file, old := filepath.Join(o.state("north"), "office.db"), filepath.Join(t.TempDir(), "old.db")
	if y, err := os.ReadFile(filepath.Join(o.dir, "north", "office.yaml")); err != nil || !strings.Contains(string(y), "state: "+o.state("north")) {
		t.Fatalf("the state is elsewhere: %v", err)
	}
	again(func() { copyFile(t, file, old) })
	carryTo(t, alice, "west")
	if _, err := reaches(bob, "sip:1001@north.example"); err != nil {
		t.Fatalf("in west: %v", err)
	}
	carryTo(t, alice, "south")
	if _, err := reaches(dave, "sip:+15550001001@west.example"); err != nil {
		t.Fatalf("in south: %v", err)
	}
	recorded(t, o.state("north"), "1001", 2)
	epoch := func() (n uint64) {
		n, _ = strconv.ParseUint(strings.TrimSpace(redisCLI(t, "6391", "get", "roam:ep:{1001@north.example}")), 10, 64)
		return n
	}
	before := epoch()
	again(func() {
		for _, tail := range []string{"-wal", "-shm"} {
			os.Remove(file + tail)
		}
		copyFile(t, old, file)
	})
	began := time.Now()
	callers := map[string]*phone.Phone{"sip:1001@north.example": bob, "sip:+15550001001@south.example": carol, "sip:1001@north.example;x": dave}
	for uri, p := range callers {
		eventually(t, time.Minute, "called by "+uri, func() error {
			_, err := reaches(p, strings.TrimSuffix(uri, ";x"))
			if err != nil {
				time.Sleep(time.Second)
			}
			return err
		})
	}
	t.Logf("called from all offices %v after home was ready with its old file", time.Since(began).Round(100*time.Millisecond))
	eventually(t, time.Minute-time.Since(began), "home knows", func() error {
		var w struct{ At string }
		ask(t, &w, "where", "1001", "--state", o.state("north"))
		if w.At != "south" {
			return fmt.Errorf("at %q", w.At)
		}
		return nil
	})
	recorded(t, o.state("north"), "1001", 5) // the two that its file had lost, and three more
	t.Logf("home knows the visit and has all records again after %v", time.Since(began).Round(100*time.Millisecond))
	if after := epoch(); after < before {
		t.Errorf("epoch %d after %d", after, before)
	}
	carryTo(t, alice, "west")
	carryTo(t, alice, "north")
	if _, err := reaches(dave, "sip:1001@north.example"); err != nil {
		t.Errorf("at home again: %v", err)
	}
	recorded(t, o.state("north"), "1001", 6)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
