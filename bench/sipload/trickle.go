package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"sync"
	"time"
)

// perSource is how many connections come from one address: well under what a server allows one source.
const perSource = 250

// trickle has -calls connections that each send one octet of a REGISTER a second, from as many loopback
// addresses as they need, and begin anew when the server ends them. Meanwhile -sockets phones register over
// TCP, ten times a second each, and what they waited is printed: it must not depend on the others.
func trickle(o *options) error {
	slow := make([]*trickler, o.calls)
	for i := range slow {
		slow[i] = &trickler{from: net.IPv4(127, 1, byte(i/perSource/200), byte(1+i/perSource%200)), message: []byte(
			"REGISTER sip:" + o.realm + " SIP/2.0\r\nVia: SIP/2.0/TCP 127.1.0.1;branch=" + cookie + "slow\r\nSubject: as slow as may be\r\n")}
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() { drip(o.target, slow, stop) })
	time.Sleep(o.warm) // the connections stand by then

	var c tally
	c.on.Store(true)
	processes := tree(o.pid)
	before, began := spent(processes), time.Now()
	for n := range o.sockets {
		wg.Go(func() { c.registerOver(o, n, stop) })
	}
	time.Sleep(o.measured)
	took, cost := time.Since(began), spent(processes).minus(before)
	standing, again := 0, 0
	for _, s := range slow {
		s.mu.Lock()
		if s.c != nil {
			standing++
		}
		again += s.begun - 1
		s.mu.Unlock()
	}
	kib := residentKiB(processes)
	close(stop)
	wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.took) == 0 {
		return fmt.Errorf("nobody registered, %d failed", c.failed.Load())
	}
	slices.Sort(c.took)
	fmt.Printf("%-22s trickle standing=%d begun_again=%d registrations=%d failed=%d p50_us=%d p99_us=%d max_us=%d cpu_s/s=%.3f rss_MiB=%d\n", o.label, standing, again,
		len(c.took), c.failed.Load(), c.took[len(c.took)/2].Microseconds(), c.took[len(c.took)*99/100].Microseconds(), c.took[len(c.took)-1].Microseconds(),
		(cost.user+cost.system)/took.Seconds(), kib/1024)
	return nil
}

// trickler is one slow connection.
type trickler struct {
	from    net.IP
	message []byte

	mu    sync.Mutex // guards what follows
	c     net.Conn   // nil: ended
	begun int
	sent  int
}

// drip gives every connection one octet a second, until stop.
func drip(target string, all []*trickler, stop chan struct{}) {
	for {
		next := time.Now().Add(time.Second)
		for _, t := range all {
			t.octet(target)
		}
		select {
		case <-time.After(time.Until(next)):
		case <-stop:
			for _, t := range all {
				t.end()
			}
			return
		}
	}
}

// octet sends the next one; a connection that the server ended is made anew.
func (t *trickler) octet(target string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.c == nil {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: t.from}, Timeout: time.Second}
		c, err := d.Dial("tcp", target)
		if err != nil {
			return
		}
		t.c, t.sent = c, 0
		t.begun++
	}
	t.c.SetReadDeadline(time.Now().Add(time.Microsecond))
	if _, err := t.c.Read(make([]byte, 512)); err != nil && !isTimeout(err) {
		t.c.Close()
		t.c = nil
		return
	}
	t.c.Write(t.message[t.sent : t.sent+1]) // a failure shows at the next octet
	t.sent = (t.sent + 1) % len(t.message)
}

func (t *trickler) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.c != nil {
		t.c.Close()
		t.c = nil
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// registerOver registers user n over one TCP connection, ten times a second, with a new nonce each time.
func (c *tally) registerOver(o *options, n int, stop chan struct{}) {
	conn, err := net.Dial("tcp", o.target)
	if err != nil {
		c.failed.Add(1)
		return
	}
	defer conn.Close()
	r := textproto.NewReader(bufio.NewReader(conn))
	a := account{name: fmt.Sprintf(o.format, n)}
	for turn := 0; ; turn++ {
		next, began := time.Now().Add(100*time.Millisecond), time.Now()
		a.nonce = ""
		ok := false
		for step := 0; step < 2 && !ok; step++ {
			a.cseq++
			m := registerMessage(nil, o, &a, conn.LocalAddr().String(), fmt.Sprintf("%s%d.%d.%d", cookie, n, turn, step), fmt.Sprint("t", n))
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			if _, err := conn.Write(bytes.Replace(m, []byte("SIP/2.0/UDP"), []byte("SIP/2.0/TCP"), 1)); err != nil {
				break
			}
			answer, err := readAnswer(r)
			if err != nil {
				break
			}
			ok = bytes.HasPrefix(answer, []byte("SIP/2.0 200"))
			if !ok && !a.challenge(answer) {
				break
			}
		}
		c.finish(began, ok)
		select {
		case <-time.After(time.Until(next)):
		case <-stop:
			return
		}
	}
}

// readAnswer is the head of the next response; none of a REGISTER's has a body.
func readAnswer(r *textproto.Reader) ([]byte, error) {
	var b []byte
	for {
		line, err := r.ReadLineBytes()
		if err != nil {
			return nil, err
		}
		if len(line) == 0 {
			if len(b) == 0 {
				continue // a keep-alive
			}
			return append(b, "\r\n"...), nil
		}
		b = append(append(b, line...), "\r\n"...)
		if len(b) > 1<<16 {
			return nil, io.ErrShortBuffer
		}
	}
}
