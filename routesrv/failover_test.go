//go:build endpoints

package routesrv

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

// startServer starts a redis-server on a free port of loopback.
func startServer(t *testing.T, args ...string) (addr string, cmd *exec.Cmd) {
	t.Helper()
	port := freePort(t)
	addr = "127.0.0.1:" + port
	cmd = exec.Command("redis-server", append(args, "--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir())...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGCONT)
		cmd.Process.Kill()
		cmd.Wait()
	})
	within(t, "redis-server", func() bool { return client(t, addr).Ping(t.Context()).Err() == nil })
	return addr, cmd
}

// within waits until ok, at most 20 s.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// replicated is a primary with two replicas that are in step.
func replicated(t *testing.T) (addrs []string, cmds []*exec.Cmd) {
	t.Helper()
	plain := []string{"--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"}
	for i := range 3 {
		args := plain
		if i > 0 {
			args = append(args[:len(args):len(args)], "--replicaof", strings.Replace(addrs[0], ":", " ", 1))
		}
		addr, cmd := startServer(t, args...)
		addrs, cmds = append(addrs, addr), append(cmds, cmd)
	}
	within(t, "replicas in step", func() bool {
		return client(t, addrs[0]).Do(t.Context(), "WAIT", 2, 100).Val() == int64(2)
	})
	return addrs, cmds
}

// TestWaitReplicas: an acknowledgement means that as many replicas have it; with one too few it is none, within its limit.
func TestWaitReplicas(t *testing.T) {
	addrs, cmds := replicated(t)
	r := newRigWith(t, Config{Redis: "redis://" + addrs[0], Mode: strict, WaitReplicas: 2}, "north")
	if _, err := r.report(alice, at(5, "north")); err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if got := client(t, a).HGet(t.Context(), locKey(alice), "epoch").Val(); got != "5" {
			t.Errorf("%s: got epoch %q, want 5", a, got)
		}
	}
	cmds[2].Process.Signal(syscall.SIGSTOP)
	began := time.Now()
	if _, err := r.report(alice, at(6, "south")); err != roam.StoreAway {
		t.Errorf("one replica has it, two were asked for: got %v", err)
	}
	if took := time.Since(began); took > acknowledged+time.Second {
		t.Errorf("took %v, want at most %v", took, acknowledged)
	}
	cmds[2].Process.Signal(syscall.SIGCONT)
	within(t, "acknowledged again", func() bool { _, err := r.report(alice, at(7, "west")); return err == nil })
}

// TestFailover kills the primary under load: Sentinel makes a replica primary, and that has every
// location which was acknowledged when one replica had it.
func TestFailover(t *testing.T) {
	addrs, cmds := replicated(t)
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	host, port, _ := net.SplitHostPort(addrs[0])
	text := fmt.Sprintf("sentinel monitor main %s %s 1\nsentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n", host, port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := sentinelServer(t, conf)
	within(t, "both replicas known", func() bool {
		list, _ := client(t, sentinel).Do(t.Context(), "SENTINEL", "replicas", "main").Slice()
		return len(list) == 2
	})
	r := newRigWith(t, Config{Redis: "sentinel://" + sentinel + "/main", Mode: strict, WaitReplicas: 1}, "north")
	var mu sync.Mutex // guards acked
	var acked []roam.UserID
	var refused, next atomic.Int64
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(acked) }
	over := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 { // each report is of another user, so that no later one hides that it was lost
		wg.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				u := user(int(next.Add(1)))
				if _, err := r.report(u, at(7, "north")); err != nil {
					refused.Add(1)
					time.Sleep(5 * time.Millisecond)
					continue
				}
				mu.Lock()
				acked = append(acked, u)
				mu.Unlock()
			}
		})
	}
	time.Sleep(time.Second)
	before := count()
	cmds[0].Process.Kill()
	cmds[0].Wait()
	primary := addrs[0]
	within(t, "a replica is primary", func() bool {
		got, _ := client(t, sentinel).Do(t.Context(), "SENTINEL", "get-master-addr-by-name", "main").StringSlice()
		if len(got) == 2 {
			primary = net.JoinHostPort(got[0], got[1])
		}
		return primary != addrs[0]
	})
	during := count()
	within(t, "acknowledged after the fail-over", func() bool { return count() > during+100 })
	close(over)
	wg.Wait()
	lost, c := 0, client(t, primary)
	for _, u := range acked {
		if c.HGet(t.Context(), locKey(u), "epoch").Val() != "7" {
			lost++
		}
	}
	t.Logf("%d acknowledged before the fail-over and %d after it, %d refused meanwhile, %d lost", before, len(acked)-before, refused.Load(), lost)
	if lost > 0 || before < 100 || refused.Load() == 0 {
		t.Errorf("got %d lost of %d, %d refused; want none lost of many, some refused", lost, len(acked), refused.Load())
	}
}

// sentinelServer starts a Sentinel.
func sentinelServer(t *testing.T, conf string) string {
	t.Helper()
	port := freePort(t)
	addr := "127.0.0.1:" + port
	cmd := exec.Command("redis-server", conf, "--sentinel", "--port", port, "--bind", "127.0.0.1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	within(t, "sentinel", func() bool { return client(t, addr).Ping(t.Context()).Err() == nil })
	return addr
}

// TestCluster writes to a cluster of three shards with a replica each, kills a primary under load, and finds every
// location that was acknowledged; the other shards go on, and a shard left without a replica acknowledges nothing.
func TestCluster(t *testing.T) {
	var addrs []string
	var cmds []*exec.Cmd
	for range 6 {
		addr, cmd := startServer(t, "--save", "", "--appendonly", "no", "--cluster-enabled", "yes", "--cluster-node-timeout", "1000",
			"--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0", "--cluster-port", freePort(t))
		addrs, cmds = append(addrs, addr), append(cmds, cmd)
	}
	args := append(append([]string{"--cluster", "create"}, addrs...), "--cluster-replicas", "1", "--cluster-yes")
	if out, err := exec.Command("redis-cli", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	within(t, "every node is in step", func() bool {
		for _, a := range addrs {
			info := client(t, a).ClusterInfo(t.Context()).Val() + client(t, a).Info(t.Context(), "replication").Val()
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "state=online") && !strings.Contains(info, "master_link_status:up") {
				return false
			}
		}
		return true
	})
	r := newRigWith(t, Config{Redis: "cluster://" + strings.Join(addrs, ","), Mode: strict, WaitReplicas: 1}, "north")
	var acked []roam.UserID
	report := func(from, to int) (refused int) {
		for i := from; i < to; i++ {
			if _, err := r.report(user(i), at(7, "north")); err != nil {
				refused++
			} else {
				acked = append(acked, user(i))
			}
		}
		return refused
	}
	within(t, "acknowledged", func() bool { return report(0, 1) == 0 })
	if n := report(1, 300); n != 0 {
		t.Errorf("%d of 299 refused, want none", n)
	}
	cmds[0].Process.Kill() // the first three are the primaries
	cmds[0].Wait()
	within(t, "its replica has taken over", func() bool {
		info := client(t, addrs[1]).ClusterNodes(t.Context()).Val()
		return strings.Count(info, "master")-strings.Count(info, "master,fail") == 3
	})
	within(t, "the others go on", func() bool { return report(300, 312) < 9 })
	for _, u := range acked { // whoever has its slot answers, the others send on
		within(t, string(u), func() bool {
			for _, a := range addrs[1:] {
				if client(t, a).HGet(t.Context(), locKey(u), "epoch").Val() == "7" {
					return true
				}
			}
			return false
		})
	}
	t.Logf("%d acknowledged, all there", len(acked))
}

// freePort is a port that nobody has.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
