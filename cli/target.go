package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"text/tabwriter"

	"github.com/siproam/siproam/office"
)

// serveState is where an installed office keeps its state.
const serveState = "/var/lib/siproam"

// target is how a command finds the office it asks.
type target struct {
	State  string `help:"State directory of the running office; default: that of up, else /var/lib/siproam." type:"path" placeholder:"DIR"`
	Office string `help:"One of the offices that run there; default: all." placeholder:"NAME"`
}

// dial finds the running office.
func (t *target) dial() (*office.Client, error) {
	if t.State != "" {
		return office.Dial(t.State)
	}
	var first error
	for _, dir := range []string{upState(), serveState} {
		if dir == "" {
			continue
		}
		c, err := office.Dial(dir)
		if err == nil {
			return c, nil
		}
		if first == nil || !errors.Is(err, office.ErrNotRunning) {
			first = err
		}
	}
	if errors.Is(first, office.ErrNotRunning) {
		first = fmt.Errorf("%w (neither up nor %s): start siproam up or siproam serve, or say --state DIR", office.ErrNotRunning, serveState)
	}
	return nil, first
}

// query is the query every request carries; more is pairs of key and value, empty values are left out.
func (t *target) query(more ...string) url.Values {
	q := url.Values{}
	if t.Office != "" {
		q.Set("office", t.Office)
	}
	for i := 0; i+1 < len(more); i += 2 {
		if more[i+1] != "" {
			q.Set(more[i], more[i+1])
		}
	}
	return q
}

// ask is one request of a command that finds its office first.
func (t *target) ask(e *env, method, path string, q url.Values, body, into any) error {
	c, err := t.dial()
	if err != nil {
		return err
	}
	return c.Ask(e.ctx, method, path, q, body, into)
}

// upState is the state directory of up: ~/.local/state/siproam/up. "" without a home directory.
func upState() string {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "siproam", "up")
	}
	if runtime.GOOS == "windows" {
		if dir := os.Getenv("LocalAppData"); dir != "" {
			return filepath.Join(dir, "siproam", "up")
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "state", "siproam", "up")
}

// show prints v as JSON when that was asked for, else what text writes.
func (e *env) show(v any, text func(w *tabwriter.Writer)) error {
	if e.json {
		out := json.NewEncoder(e.stdout)
		out.SetIndent("", "  ")
		return out.Encode(v)
	}
	w := tabwriter.NewWriter(e.stdout, 0, 8, 2, ' ', 0)
	text(w)
	return w.Flush()
}
