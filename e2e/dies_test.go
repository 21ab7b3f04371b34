//go:build endpoints

package e2e

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/siproam/siproam/phone"
)

// suspects says whether the office at state takes the place of user for dead.
func suspects(t *testing.T, state, user string) bool {
	t.Helper()
	var w struct{ Suspect bool }
	ask(t, &w, "where", user, "--state", state)
	return w.Suspect
}

// TestOfficeDies: an office that is killed, or stands still, is known to be dead within 15 s; calls to who is there are
// refused within 4 s at first, and at once when it is known. When it is back everything is right within a minute.
func TestOfficeDies(t *testing.T) {
	newBrokenRedis(t)
	o := crowded(t, nil)
	soft(t, "1001", "south", 0, phone.Talk)
	soft(t, "2001", "south", 0, phone.Talk)
	bob, dave := soft(t, "1002", "north", 0, phone.Ring), soft(t, "3001", "west", 0, phone.Ring)
	if _, err := reaches(dave, "sip:1001@north.example"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Second) // then R has answered for long enough to be believed
	refused := func(what string, limit time.Duration) {
		t.Helper()
		for who, p := range map[string]*phone.Phone{"home": bob, "a third office": dave} {
			for _, uri := range []string{"sip:1001@north.example", "sip:2001@south.example"} {
				took, err := reaches(p, uri)
				if err == nil || !strings.Contains(err.Error(), "480") || took > limit {
					t.Errorf("%s: %s called from %s: %v after %v, want 480 within %v", what, uri, who, err, took, limit)
				}
				t.Logf("%-44s %-24s from %-14s refused after %v", what, uri, who, took.Round(time.Millisecond))
			}
		}
	}
	south := o.process["south"]
	for _, how := range []string{"stands still, and nobody calls", "stands still", "killed"} {
		switch how {
		case "killed":
			south.kill()
		default:
			south.cmd.Process.Signal(syscall.SIGSTOP)
		}
		began := time.Now()
		if how == "stands still" {
			took, err := reaches(dave, "sip:1001@north.example")
			if err == nil || took > 4*time.Second {
				t.Errorf("%s: the first call: %v after %v, want refused within 4 s", how, err, took)
			}
			t.Logf("%-44s the first call is refused after %v", how, took.Round(time.Millisecond))
		}
		if how == "killed" {
			refused(how+", the first calls", 4*time.Second)
		}
		for _, from := range []string{"north", "west"} {
			eventually(t, 15*time.Second-time.Since(began), how+": known in "+from, func() error {
				if !suspects(t, o.state(from), "1001@north.example") {
					return errors.New("alive")
				}
				return nil
			})
		}
		t.Logf("%-44s known everywhere after %v", how, time.Since(began).Round(100*time.Millisecond))
		refused(how+", when it is known", 300*time.Millisecond)
		began = time.Now()
		if how == "killed" {
			o.start(t, "south")
			o.process["south"].ready(officeHTTP["south"])
		} else {
			south.cmd.Process.Signal(syscall.SIGCONT)
		}
		for _, p := range []*phone.Phone{bob, dave} {
			for _, uri := range []string{"sip:1001@north.example", "sip:2001@south.example"} {
				eventually(t, time.Minute, how+": right again", func() error { _, err := reaches(p, uri); return err })
			}
		}
		t.Logf("%-44s right again %v after its return", how, time.Since(began).Round(100*time.Millisecond))
	}
}
