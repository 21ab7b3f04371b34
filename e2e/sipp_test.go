//go:build endpoints

package e2e

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// sipp runs one scenario of testdata/sipp, as its README says, and wants exit status 0.
func sipp(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "sipp", append(args, "-nostdin", "-timeout", "40s", "-timeout_error")...)
	cmd.Dir = "../testdata/sipp"
	out := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("sipp %v\n%s", args, tail(out.String(), 3000))
		}
	})
	return cmd
}

// TestSIPp registers users with digest and lets them call each other; all from 127.0.0.1 and one port,
// as SIPp does it by itself.
func TestSIPp(t *testing.T) {
	up := start(t, "up", "--state", filepath.Join(t.TempDir(), "up"))
	up.ready(upHTTP)
	wait := func(what string, cmd *exec.Cmd) {
		t.Helper()
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for _, transport := range []string{"u1", "t1"} {
		wait("register "+transport, sipp(t, southProxy, "-sf", "register.xml", "-inf", "users.csv", "-m", "3", "-i", "127.0.0.1", "-p", "6000", "-t", transport))
	}
	wait("register three on one port", sipp(t, southProxy, "-sf", "register.xml", "-inf", "users.csv", "-m", "3", "-i", "127.0.0.1", "-p", "6000"))
	wait("register the callee", sipp(t, southProxy, "-sf", "register.xml", "-inf", "callee.csv", "-m", "1", "-i", "127.0.0.1", "-p", "6001"))
	callee := sipp(t, "-sf", "uas.xml", "-rtp_echo", "-mi", "127.0.0.1", "-mp", "6010", "-i", "127.0.0.1", "-p", "6001", "-m", "1")
	wait("call", sipp(t, southProxy, "-sf", "uac.xml", "-inf", "caller.csv", "-m", "1", "-i", "127.0.0.1", "-p", "6000", "-mi", "127.0.0.1", "-mp", "6020"))
	wait("answer", callee)
	var cdrs []struct{ From, To, Role string }
	eventually(t, 5*time.Second, "the record of the call", func() error {
		ask(t, &cdrs, "cdr", "--office", "south", "--state", upState(up))
		if len(cdrs) == 0 {
			return context.DeadlineExceeded
		}
		return nil
	})
	if cdrs[0].From != "2003@south.example" { // told apart from 2002 and 2004 behind the same port
		t.Errorf("the caller was %q, want 2003@south.example", cdrs[0].From)
	}
}
