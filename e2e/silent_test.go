//go:build endpoints

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHomeSilent (M9) stops the home of a visitor, lets it go on, and kills it. The visited office does what its policy says within 4 s, at once
// when home is known to be dead, and serves the phone as ever when home is back.
func TestHomeSilent(t *testing.T) {
	for policy, want := range map[string]int{"refuse": 503, "admit-known": 200} {
		t.Run(policy, func(t *testing.T) {
			redisServer(t, "6391")
			o := startOffices(t, "6391")
			south := filepath.Join(o.dir, "south", "office.yaml")
			yaml, err := os.ReadFile(south)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(south, []byte(strings.Replace(string(yaml), "policy: refuse", "policy: "+policy, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			o.process["south"].kill()
			o.start(t, "south")
			o.process["south"].ready(officeHTTP["south"])
			a := newAgent(t, "udp", officeSIP["south"], "1001@north.example").online()
			a.online()
			try := func(what string, want int, least, most time.Duration) {
				t.Helper()
				began := time.Now()
				res := a.register("Contact: " + a.contact(""))
				took := time.Since(began)
				t.Logf("%s: %s after %v", what, res.first(), took.Round(time.Millisecond))
				if res.status() != want || took < least || took > most {
					t.Errorf("%s: got %s after %v, want %d after %v to %v", what, res.first(), took, want, least, most)
				}
			}
			north := o.process["north"].cmd.Process
			north.Signal(syscall.SIGSTOP)
			try("home hangs", want, 3*time.Second, 4500*time.Millisecond)
			time.Sleep(25 * time.Second) // its sign of life is gone, and we have not heard it either
			try("home is known to hang", want, 0, time.Second)
			north.Signal(syscall.SIGCONT)
			eventually(t, 20*time.Second, "home is heard again", func() error {
				if res := a.register("Contact: " + a.contact("")); res.status() != 200 {
					return os.ErrDeadlineExceeded
				}
				return nil
			})
			a.online()
			o.process["north"].kill()
			try("home was killed", want, 0, time.Second)
			try("home is known to be dead", want, 0, time.Second)
			o.start(t, "north")
			o.process["north"].ready(officeHTTP["north"])
			eventually(t, 20*time.Second, "home is back", func() error {
				if res := a.register("Contact: " + a.contact("")); res.status() != 200 {
					return os.ErrDeadlineExceeded
				}
				return nil
			})
			eventually(t, 20*time.Second, "home has recorded the visit", func() error {
				if got := place(t, "1001"); got != "south" {
					return os.ErrNotExist
				}
				return nil
			})
		})
	}
}
