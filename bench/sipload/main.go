// Command sipload puts a closed loop of SIP work on one UDP server and prints what the server paid
// for it: operations per second and CPU seconds per 1000 operations of the server's processes.
//
// Work: reg (REGISTER, 401, REGISTER with digest, 200), rereg (the answer to a nonce that is known:
// one round trip), call (INVITE, 180, 200, ACK, BYE, 200; it plays caller and callee), first (each
// user's first REGISTER of this run, once; it ends with the last), hold (-calls calls that are left
// standing). first and hold tell how much the server's resident set grew for each. Before calls,
// -register has each caller's socket and the callee's registered, for servers that know phones only.
//
// With -move each REGISTER of reg and rereg brings another Contact of the same phone (+sip.instance), which
// takes the place of the one before. With -store the CPU time of the server's Redis is counted, too.
//
// flood sends messages of a kind at -rate and waits for nothing. With -pace the other work is an open loop: so
// many begin per second, however long each takes.
//
// reg and rereg are measured once every user has registered and -warm has passed: what a phone's first
// REGISTER costs is first's to tell. With -every a line is printed for each such part of -dur.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// options is what the flags say.
type options struct {
	target, mode, realm, format, password string
	users, sockets, window, first, callee int
	calls                                 int
	warm, measured, every                 time.Duration
	pid, store                            int
	register, move                        bool
	label                                 string
	run                                   string // of Call-IDs: a registration of an earlier run is another one
	source, kind, nonce                   string
	rate                                  int
	pace                                  float64
}

func main() {
	var o options
	flag.StringVar(&o.target, "target", "127.0.0.1:5060", "the server's UDP address")
	flag.StringVar(&o.mode, "mode", "reg", "reg, rereg, call, first, hold, trickle or flood")
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
	flag.IntVar(&o.calls, "calls", 1000, "hold, trickle: how many")
	flag.DurationVar(&o.every, "every", 0, "a line for each such part of -dur; 0: one line")
	flag.IntVar(&o.pid, "pid", 0, "the server's process: its CPU time and that of its children is accounted")
	flag.IntVar(&o.store, "store", 0, "the server's Redis: its CPU time is accounted by itself")
	flag.BoolVar(&o.move, "move", false, "reg, rereg: another Contact each time")
	flag.BoolVar(&o.register, "register", false, "call: register callers and callee first")
	flag.StringVar(&o.source, "source", "127.0.0.1", "our address")
	flag.Float64Var(&o.pace, "pace", 0, "begin so many operations per second in all, while there is room in the window; 0: as many as end")
	flag.StringVar(&o.kind, "kind", "register", "flood: register, password, visitor, invite, options, bye, ack, response, garbage, half or all")
	flag.IntVar(&o.rate, "rate", 20000, "flood: messages per second")
	flag.StringVar(&o.label, "label", "", "printed first")
	flag.Parse()
	o.run = strconv.FormatInt(time.Now().UnixNano(), 36)
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

// talks says that the work is calls.
func (o *options) talks() bool { return o.mode == "call" || o.mode == "hold" }

// once says that the work ends by itself.
func (o *options) once() bool { return o.mode == "first" || o.mode == "hold" }

// run does the work and prints what it cost.
func run(o *options) error {
	if o.mode == "trickle" {
		return trickle(o)
	}
	to, err := net.ResolveUDPAddr("udp", o.target)
	if err != nil {
		return err
	}
	if o.mode == "flood" {
		return flood(o, to)
	}
	if o.talks() {
		answer, err := listenCallee(o, to)
		if err != nil {
			return err
		}
		defer answer.Close()
	}
	var l load
	for i := range o.sockets {
		w, err := newWorker(o, i, to, &l.count, &l.stop)
		if err != nil {
			return err
		}
		defer w.conn.Close()
		l.workers = append(l.workers, w)
	}
	if o.talks() && o.register {
		for i, w := range l.workers {
			if err := registerOnce(o, w.conn, to, o.name(i+1)); err != nil {
				return err
			}
		}
	}
	if o.once() {
		return l.all(o)
	}
	return l.steady(o)
}

// load is the workers and what they share.
type load struct {
	workers []*worker
	count   tally
	stop    atomic.Bool
	wg      sync.WaitGroup
}

func (l *load) start() {
	for _, w := range l.workers {
		l.wg.Go(w.loop)
	}
}

// all does work that ends by itself, and tells what it cost and left behind.
func (l *load) all(o *options) error {
	processes := tree(o.pid)
	before, idle, store, began := residentKiB(processes), spent(processes), spent(tree(o.store)), time.Now()
	l.count.on.Store(true)
	l.start()
	for _, w := range l.workers {
		<-w.round
	}
	took := time.Since(began)
	time.Sleep(o.warm) // what the server does later about it
	cost, store, after := spent(processes).minus(idle), spent(tree(o.store)).minus(store), residentKiB(processes)
	l.stop.Store(true)
	l.wg.Wait()
	n := l.count.done.Load()
	if n == 0 {
		return fmt.Errorf("nothing succeeded, %d failed", l.count.failed.Load())
	}
	l.print(o, took, cost, store, after)
	fmt.Printf("%-22s %-6s grew KiB/1=%.2f from_MiB=%d to_MiB=%d\n", o.label, o.mode+"-memory", float64(after-before)/float64(n), before/1024, after/1024)
	return nil
}

// steady keeps the server busy and prints a line for each part of the time.
func (l *load) steady(o *options) error {
	l.start()
	if !o.talks() {
		for _, w := range l.workers {
			<-w.round
		}
	}
	time.Sleep(o.warm)
	part := o.measured
	if o.every > 0 {
		part = o.every
	}
	for left := o.measured; left > 0; left -= part {
		processes := tree(o.pid)
		before, store, began := spent(processes), spent(tree(o.store)), time.Now()
		l.count.on.Store(true)
		time.Sleep(part)
		l.count.on.Store(false)
		cost, store := spent(processes).minus(before), spent(tree(o.store)).minus(store)
		if l.count.done.Load() == 0 {
			return fmt.Errorf("nothing succeeded, %d failed", l.count.failed.Load())
		}
		l.print(o, time.Since(began), cost, store, residentKiB(processes))
	}
	l.stop.Store(true)
	l.wg.Wait()
	return nil
}

// print prints and forgets what was counted.
func (l *load) print(o *options, took time.Duration, cost, store cpu, kib int) {
	c := &l.count
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.took)
	n := c.done.Swap(0)
	each := float64(n) / 1000
	fmt.Printf("%-22s %-6s ops/s=%-8.0f done=%-6d failed=%-4d repeated=%-5d cpu_s/1000=%-8.5f user=%-8.5f system=%-8.5f p50_us=%-6d p99_us=%-7d rss_MiB=%-4d store_s/1000=%.5f\n",
		o.label, o.mode, float64(n)/took.Seconds(), n, c.failed.Swap(0), c.repeat.Swap(0),
		(cost.user+cost.system)/each, cost.user/each, cost.system/each,
		c.took[len(c.took)/2].Microseconds(), c.took[len(c.took)*99/100].Microseconds(), kib/1024, (store.user+store.system)/each)
	c.took = c.took[:0]
}
