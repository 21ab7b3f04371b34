//go:build endpoints

package routesrv

import (
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// TestLinearUnderKills: what the script acknowledged survives kill -9 of a Redis that writes before it answers, again
// and again under load.
func TestLinearUnderKills(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, dir := l.Addr().String(), t.TempDir()
	_, port, _ := net.SplitHostPort(addr)
	l.Close()
	start := func() *exec.Cmd {
		c := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); client(t, addr).Ping(t.Context()).Err() != nil; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("redis-server does not answer")
			}
		}
		return c
	}
	const kills = 5
	server := start()
	var wg sync.WaitGroup
	over := make(chan struct{})
	killed := 0
	wg.Go(func() {
		for range kills {
			select {
			case <-time.After(500 * time.Millisecond):
			case <-over:
				return
			}
			server.Process.Kill()
			server.Wait()
			server = start()
			killed++
		}
	})
	all := history(t, addr, locationScript, 5*time.Second, 2*time.Millisecond)
	close(over)
	wg.Wait()
	if killed < 2 {
		t.Errorf("got %d kills, want some", killed)
	}
	if !keeps(t, all) {
		t.Error("an acknowledged location was undone")
	}
	server.Process.Kill()
	server.Wait()
}
