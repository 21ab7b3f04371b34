package cli

import (
	"testing"
)

func TestProfileLoopbackOnly(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "192.0.2.1:6060", ":6060", "localhost", "[::]:0"} {
		if _, err := profile(addr); err != errNotLoopback {
			t.Errorf("%s: got %v, want %v", addr, err, errNotLoopback)
		}
	}
	stop, err := profile("")
	if err != nil {
		t.Fatal(err)
	}
	stop()
}
