package office

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// answer runs the control socket of a house without offices in state until the test ends.
func answer(t *testing.T, state string) {
	t.Helper()
	l, err := listenControl(state)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- (&House{}).control(ctx, l) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(5 * time.Second):
			t.Error("the control socket does not end")
		}
		l.Close()
	})
}

// short is a state directory whose socket path fits.
func short(t *testing.T) string {
	dir, err := os.MkdirTemp("", "ctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestControl(t *testing.T) {
	was := zerolog.GlobalLevel()
	defer zerolog.SetGlobalLevel(was)
	long := filepath.Join(short(t), strings.Repeat("long", 30))
	for name, state := range map[string]string{"socket": short(t), "port": long} {
		t.Run(name, func(t *testing.T) {
			if _, err := Dial(state); !errors.Is(err, ErrNotRunning) {
				t.Errorf("before: got %v, want %v", err, ErrNotRunning)
			}
			answer(t, state)
			c, err := Dial(state)
			if err != nil {
				t.Fatal(err)
			}
			var is map[string]string
			if err := c.Ask(t.Context(), "PUT", "/log", url.Values{"level": {"warn"}}, nil, &is); err != nil || is["level"] != "warn" {
				t.Errorf("got %v %v, want warn", is, err)
			}
			var r *Refusal
			if err := c.Ask(t.Context(), "PUT", "/log", url.Values{"level": {"loud"}}, nil, nil); !errors.As(err, &r) || r.Exit != ExitUsage {
				t.Errorf("a level that is none: got %v, want exit %d", err, ExitUsage)
			}
			if err := c.Ask(t.Context(), "GET", "/where", url.Values{"user": {"1001"}}, nil, nil); !errors.As(err, &r) || r.Exit != ExitUnknown {
				t.Errorf("nobody: got %v, want exit %d", err, ExitUnknown)
			}
			if err := c.Ask(t.Context(), "GET", "/calls", url.Values{"office": {"east"}}, nil, nil); !errors.As(err, &r) || r.Exit != ExitUsage {
				t.Errorf("an office elsewhere: got %v, want exit %d", err, ExitUsage)
			}
			if err := c.Ask(t.Context(), "POST", "/reload", nil, nil, nil); err == nil || !strings.Contains(err.Error(), "generated") {
				t.Errorf("reload of nothing: got %v", err)
			}
			if _, err := listenControl(state); err == nil || !strings.Contains(err.Error(), "running here already") {
				t.Errorf("a second one: got %v, want a refusal", err)
			}
		})
	}
}

// TestControlIsPrivate: nobody else of this machine may ask.
func TestControlIsPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // no modes there
	}
	state := short(t)
	answer(t, state)
	for _, name := range []string{"", controlSocket} {
		info, err := os.Stat(filepath.Join(state, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%q: got %v %v, want no rights for others", name, info.Mode(), err)
		}
	}
	long := filepath.Join(state, strings.Repeat("long", 30))
	answer(t, long)
	info, err := os.Stat(filepath.Join(long, controlFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v %v, want 0600", info.Mode(), err)
	}
	addr, _, err := readControl(filepath.Join(long, controlFile))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.Get("http://" + addr + "/log")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the token: got %s, want 401", r.Status)
	}
}

// TestStaleSocket: what kill -9 left behind is taken over.
func TestStaleSocket(t *testing.T) {
	state := short(t)
	l, err := listenControl(state)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		l.Listener.(interface{ SetUnlinkOnClose(bool) }).SetUnlinkOnClose(false)
	}
	l.Listener.Close()
	if c, err := Dial(state); err == nil && c.Running() {
		t.Error("answers, though nobody is there")
	}
	answer(t, state)
	if c, err := Dial(state); err != nil || !c.Running() {
		t.Errorf("got %v, want an answer", err)
	}
}
