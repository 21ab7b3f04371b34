package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/siproam/siproam/office"
)

// call runs one command line and gives what it said.
func call(t *testing.T, in string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	e := &env{ctx: context.Background(), in: strings.NewReader(in), stdout: &out, stderr: &errs, example: "office: south\n"}
	code = run(e, args)
	return out.String(), errs.String(), code
}

func TestUsage(t *testing.T) {
	nobody := t.TempDir()
	for _, c := range []struct {
		args string
		code int
		want string // in stdout and stderr together
	}{
		{"", 0, "Usage: siproam <command>"},
		{"--help", 0, "healthcheck"},
		{"user --help", 0, "passwd"},
		{"version", 0, "siproam " + Version},
		{"version -o json", 0, `"version": "` + Version + `"`},
		{"init", 0, "office: south"},
		{"fly", 2, "unexpected argument fly"},
		{"where --nonsense", 2, "unknown flag --nonsense"},
		{"where -o xml", 2, "must be one of"},
		{"serve", 2, "missing flags: --config=FILE"},
		{"serve -c " + nobody + "/none.yaml", 2, "none.yaml: no such file"},
		{"check -c " + nobody + "/none.yaml", 2, "no such file"},
		{"hangup", 2, "<id>"},
		{"up --port-base 70000", 2, "want 1024 to"},
		{"up --addr nowhere", 2, "want an address of this machine"},
		{"up --addr 0.0.0.0", 2, "want an address of this machine"},
		{"up --lan --addr 192.0.2.1", 2, "can't be used together"},
		{"user add 1001 --generate --password-stdin", 2, "can't be used together"},
		{"user add 1001 --state " + nobody, 2, "no terminal to ask on"},
		{"user add 1001 secret", 2, "unexpected argument secret"},
		{"where 1001 --state " + nobody, 1, office.ErrNotRunning.Error()},
		{"healthcheck --state " + nobody, 1, office.ErrNotRunning.Error()},
	} {
		out, errs, code := call(t, "", strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("siproam %s: got exit %d\n%s%s, want exit %d with %q", c.args, code, out, errs, c.code, c.want)
		}
		if code != 0 && out != "" {
			t.Errorf("siproam %s: an error on stdout: %s", c.args, out)
		}
	}
}

// TestPasswordStdin: the newline that echo adds is no part of a password, and an empty one is none.
func TestPasswordStdin(t *testing.T) {
	for in, want := range map[string]string{"secret\n": "secret", "se cret\r\n": "se cret", " x": " x"} {
		got, made, err := (&secret{PasswordStdin: true}).read(&env{in: strings.NewReader(in)}, "1001")
		if got != want || made || err != nil {
			t.Errorf("%q: got %q %v %v, want %q", in, got, made, err, want)
		}
	}
	if _, _, err := (&secret{PasswordStdin: true}).read(&env{in: strings.NewReader("\n")}, "1001"); err == nil {
		t.Error("took an empty password")
	}
	one, made, err := (&secret{Generate: true}).read(&env{}, "1001")
	two, _, _ := (&secret{Generate: true}).read(&env{}, "1001")
	if !made || err != nil || len(one) < 16 || one == two {
		t.Errorf("generated %q %q %v", one, two, err)
	}
}
