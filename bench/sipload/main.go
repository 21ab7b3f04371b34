// Command sipload puts a closed loop of SIP work on one UDP server and prints what the server paid
// for it: operations per second and CPU seconds per 1000 operations of the server's processes.
//
// Work: reg (REGISTER, 401, REGISTER with digest, 200), rereg (the answer to a nonce that is known:
// one round trip), call (INVITE, 180, 200, ACK, BYE, 200; it plays caller and callee). Before calls,
// -register has each caller's socket and the callee's registered, for servers that know phones only.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// options is what the flags say.
type options struct {
	target, mode, realm, format, password string
	users, sockets, window, first, callee int
	warm, measured                        time.Duration
	pid                                   int
	register                              bool
	label                                 string
}

func main() {
	var o options
	flag.StringVar(&o.target, "target", "127.0.0.1:5060", "the server's UDP address")
	flag.StringVar(&o.mode, "mode", "reg", "reg, rereg or call")
	flag.StringVar(&o.realm, "realm", "bench.test", "domain and realm")
	flag.StringVar(&o.format, "format", "u%05d", "user name of user n")
	flag.StringVar(&o.password, "password", "secret", "every user's password")
	flag.IntVar(&o.users, "users", 10000, "how many users")
	flag.IntVar(&o.sockets, "sockets", 2, "client sockets")
	flag.IntVar(&o.window, "window", 32, "operations under way per socket")
	flag.IntVar(&o.first, "port", 15060, "first local port")
	flag.IntVar(&o.callee, "callee", 5090, "the callee's port")
	flag.DurationVar(&o.warm, "warm", 2*time.Second, "before measuring")
	flag.DurationVar(&o.measured, "dur", 5*time.Second, "measured")
	flag.IntVar(&o.pid, "pid", 0, "the server's process: its CPU time and that of its children is accounted")
	flag.BoolVar(&o.register, "register", false, "call: register callers and callee first")
	flag.StringVar(&o.label, "label", "", "printed first")
	flag.Parse()
	if err := run(&o); err != nil {
		fmt.Fprintln(os.Stderr, "sipload:", err)
		os.Exit(1)
	}
}

// tally is what all workers count while measuring.
type tally struct {
	on                   atomic.Bool
	done, failed, repeat atomic.Uint64
	mu                   sync.Mutex // guards took
	took                 []time.Duration
}

func (t *tally) finish(began time.Time, ok bool) {
	if !t.on.Load() {
		return
	}
	if !ok {
		t.failed.Add(1)
		return
	}
	t.done.Add(1)
	t.mu.Lock()
	t.took = append(t.took, time.Since(began))
	t.mu.Unlock()
}

// run does the work and prints one line.
func run(o *options) error {
	to, err := net.ResolveUDPAddr("udp", o.target)
	if err != nil {
		return err
	}
	var count tally
	var stop atomic.Bool
	if o.mode == "call" {
		answer, err := listenCallee(o, to)
		if err != nil {
			return err
		}
		defer answer.Close()
	}
	workers := make([]*worker, o.sockets)
	for i := range workers {
		if workers[i], err = newWorker(o, i, to, &count, &stop); err != nil {
			return err
		}
		defer workers[i].conn.Close()
	}
	if o.mode == "call" && o.register {
		for i, w := range workers {
			if err := registerOnce(o, w.conn, to, i+1); err != nil {
				return err
			}
		}
	}
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(w.loop)
	}
	time.Sleep(o.warm)
	processes := tree(o.pid)
	cpu, began := cpuSeconds(processes), time.Now()
	count.on.Store(true)
	time.Sleep(o.measured)
	count.on.Store(false)
	cpu, took := cpuSeconds(processes)-cpu, time.Since(began)
	memory := residentKiB(processes)
	stop.Store(true)
	wg.Wait()
	n := count.done.Load()
	if n == 0 {
		return fmt.Errorf("nothing succeeded, %d failed", count.failed.Load())
	}
	slices.Sort(count.took)
	fmt.Printf("%-22s %-6s ops/s=%-8.0f failed=%-4d repeated=%-5d cpu_s/1000=%-8.5f p50_us=%-6d p99_us=%-7d rss_MiB=%d\n",
		o.label, o.mode, float64(n)/took.Seconds(), count.failed.Load(), count.repeat.Load(), cpu/float64(n)*1000,
		count.took[len(count.took)/2].Microseconds(), count.took[len(count.took)*99/100].Microseconds(), memory/1024)
	return nil
}
