package transport

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

func (e *ear) waitClosed(t *testing.T) *sip.Flow {
	t.Helper()
	select {
	case f := <-e.closed:
		return f
	case <-time.After(5 * time.Second):
		t.Fatal("Closed was not called")
		return nil
	}
}

// TestStreamCutAnywhere: how the network cuts a stream makes no difference.
func TestStreamCutAnywhere(t *testing.T) {
	e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}})
	body := "v=0\r\n\r\nINVITE sip:smuggled SIP/2.0\r\n\r\n"
	all := "\r\n"
	for i := range 5 {
		m := request("MESSAGE", fmt.Sprint("cut", i), "Subject: "+strings.Repeat("long ", i*100)+"\r\n")
		all += strings.Replace(m, "Content-Length: 0\r\n\r\n", fmt.Sprintf("l: %d\r\n\r\n%s", len(body), body), 1)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		c := e.dial(t, "tcp", 0)
		for rest := all; rest != ""; {
			n := min(len(rest), 1+random.IntN(400))
			say(t, c, rest[:n])
			rest = rest[n:]
		}
		for i := range 5 {
			h := e.hear(t)
			if got, want := h.m.CallID(), fmt.Sprintf("cut%d@192.0.2.9", i); got != want || string(h.m.Body()) != body {
				t.Fatalf("got %s with %q, want %s with %q", got, h.m.Body(), want, body)
			}
		}
		c.Close()
		e.waitClosed(t)
	}
	e.hearNothing(t)
}

func TestStreamPings(t *testing.T) {
	e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}})
	c := e.dial(t, "tcp", 0)
	say(t, c, "\r\n")
	say(t, c, "\r\n")
	if got := read(t, c); got != "\r\n" {
		t.Errorf("got %q, want a pong", got)
	}
	say(t, c, "\r\n"+request("OPTIONS", "1"))
	wantPrefix(t, read(t, c), "SIP/2.0 200")
	e.hear(t)
	e.hearNothing(t)
}

func TestStreamDoubtAnswersAndCloses(t *testing.T) {
	for name, tt := range map[string]struct{ from, to, want string }{
		"no length":     {"Content-Length: 0\r\n", "", "SIP/2.0 400 "},
		"two lengths":   {"Content-Length: 0\r\n", "Content-Length: 0\r\nl: 1\r\n", "SIP/2.0 400 "},
		"sign":          {"Content-Length: 0\r\n", "Content-Length: +0\r\n", "SIP/2.0 400 "},
		"too long":      {"Content-Length: 0\r\n", "Content-Length: 65535\r\n", "SIP/2.0 513 Message Too Large"},
		"an ACK":        {"1 OPTIONS", "x ACK", ""},
		"not SIP":       {"OPTIONS", "\x16\x03\x01", ""},
		"no Via":        {"Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK1;rport\r\n", "Content-Length: 0\r\n", ""},
		"no length ACK": {"CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n", "CSeq: 1 ACK\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}})
			c := e.dial(t, "tcp", 0)
			m := request("OPTIONS", "1")
			if strings.Contains(tt.to, "ACK") {
				m = strings.Replace(m, "OPTIONS sip", "ACK sip", 1)
			}
			if tt.to == "x ACK" {
				m = strings.Replace(m, "Content-Length: 0", "Content-Length: x", 1)
			}
			say(t, c, strings.Replace(m, tt.from, tt.to, 1)+request("OPTIONS", "smuggled"))
			got := readAll(t, c)
			if tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) || strings.Count(got, "SIP/2.0 ") > 1 && strings.Contains(got, "smuggled") {
				t.Errorf("got %q, want %q alone", got, tt.want)
			}
			c.Close()
			e.waitClosed(t)
			e.hearNothing(t)
		})
	}
}

// TestStreamGoesOnAfterAMistake: what is malformed but surely delimited ends nothing.
func TestStreamGoesOnAfterAMistake(t *testing.T) {
	e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}})
	c := e.dial(t, "tcp", 0)
	say(t, c, strings.Replace(request("INVITE", "1"), "Max-Forwards: 70", "Max-Forwards: many", 1))
	wantPrefix(t, read(t, c), "SIP/2.0 400")
	say(t, c, request("OPTIONS", "2"))
	wantPrefix(t, read(t, c), "SIP/2.0 200")
}

func TestStreamDeadlines(t *testing.T) {
	short := func(set func(*limits)) func(*Transport) {
		return func(tr *Transport) { set(&tr.limits) }
	}
	for name, tt := range map[string]struct {
		set  func(*limits)
		talk func(t *testing.T, c net.Conn)
	}{
		"first octets": {func(l *limits) { l.first = 50 * time.Millisecond }, func(*testing.T, net.Conn) {}},
		"whole message": {func(l *limits) { l.message = 100 * time.Millisecond }, func(t *testing.T, c net.Conn) {
			for _, octet := range request("OPTIONS", strings.Repeat("slow", 100)) { // each in time, all too late
				if _, err := io.WriteString(c, string(octet)); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}},
		"idle": {func(l *limits) { l.idle = 50 * time.Millisecond }, func(t *testing.T, c net.Conn) {
			say(t, c, request("OPTIONS", "1"))
			wantPrefix(t, read(t, c), "SIP/2.0 200")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}}, short(tt.set))
			c := e.dial(t, "tcp", 0)
			begun := time.Now()
			tt.talk(t, c)
			readAllOrReset(t, c)
			if took := time.Since(begun); took > 4*time.Second {
				t.Errorf("closed after %v, want at once", took)
			}
			e.waitClosed(t)
		})
	}
}

func readAllOrReset(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := io.ReadAll(c)
	if ne, is := err.(net.Error); is && ne.Timeout() {
		t.Fatal("got an open connection, want it closed")
	}
}

// TestPipeliningIsNotSlow: a partial message at the end of each read is not the same one.
func TestPipeliningIsNotSlow(t *testing.T) {
	e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}}, func(tr *Transport) { tr.limits.message = 300 * time.Millisecond })
	c := e.dial(t, "tcp", 0)
	m := request("ACK", "1")
	say(t, c, m[:20])
	for begun := time.Now(); time.Since(begun) < 900*time.Millisecond; time.Sleep(10 * time.Millisecond) {
		say(t, c, m[20:]+m[:20])
	}
	say(t, c, m[20:]+request("OPTIONS", "2"))
	for !strings.Contains(read(t, c), "CSeq: 1 OPTIONS") {
	}
}

func TestConnectionCaps(t *testing.T) {
	for name, cfg := range map[string]Config{
		"in all":     {MaxConns: 2},
		"per source": {MaxConnsPerSource: 2},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Listen = []string{"tcp:127.0.0.1:0"}
			e := start(t, cfg)
			var open []net.Conn
			for range 2 {
				c := e.dial(t, "tcp", 0)
				say(t, c, request("OPTIONS", "1"))
				wantPrefix(t, read(t, c), "SIP/2.0 200")
				e.t.Vouch(e.hear(t).flow.Flow, true) // else it makes room
				open = append(open, c)
			}
			readAllOrReset(t, e.dial(t, "tcp", 0))
			if n := e.counted("connection_limit"); n != 1 {
				t.Errorf("refused: got %d, want 1", n)
			}
			open[0].Close()
			e.waitClosed(t)
			eventually(t, "a place is free", func() bool {
				c := e.dial(t, "tcp", 0)
				defer c.Close()
				_, err := io.WriteString(c, request("OPTIONS", "2"))
				n, _ := c.Read(make([]byte, 10))
				return err == nil && n > 0
			})
		})
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("want: " + what)
		}
	}
}

func TestSendAfterCloseNeverDials(t *testing.T) {
	e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}})
	victim, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer victim.Close()
	dialled := make(chan struct{}, 1)
	go func() {
		if c, err := victim.Accept(); err == nil {
			c.Close()
			dialled <- struct{}{}
		}
	}()
	c := e.dial(t, "tcp", 0)
	say(t, c, strings.Replace(request("OPTIONS", "1"), "UDP 192.0.2.9:5060", "TCP "+victim.Addr().String(), 1))
	wantPrefix(t, read(t, c), "SIP/2.0 200")
	f := e.hear(t).flow
	if got, found := e.t.Find(f.Flow); !found || got != f {
		t.Errorf("Find: got %v %v, want the flow", got, found)
	}
	c.Close()
	if got := e.waitClosed(t); got != f {
		t.Errorf("Closed: got %v, want %v", got, f)
	}
	if err := e.t.Send(f, []byte("SIP/2.0 200 OK\r\n\r\n")); err != ErrGone {
		t.Errorf("got %v, want %v", err, ErrGone)
	}
	if _, found := e.t.Find(f.Flow); found {
		t.Error("Find: got a closed connection, want none")
	}
	select {
	case <-dialled:
		t.Error("got a connection to what Via names, want none")
	case <-time.After(50 * time.Millisecond):
	}
}

// TestDeafPeerIsCut: a peer that does not read costs a bounded amount of memory.
func TestDeafPeerIsCut(t *testing.T) {
	e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}})
	c := e.dial(t, "tcp", 0)
	say(t, c, request("OPTIONS", "1"))
	f := e.hear(t).flow
	m := []byte(request("NOTIFY", strings.Repeat("n", 30_000)))
	var err error
	for range 2000 {
		if err = e.t.Send(f, m); err != nil {
			break
		}
	}
	if err != ErrFull {
		t.Fatalf("got %v, want %v", err, ErrFull)
	}
	e.waitClosed(t)
}

func TestWholeAnswersAfterAnotherAreInOrder(t *testing.T) {
	e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}})
	c := e.dial(t, "tcp", 0)
	var all strings.Builder
	for i := range 200 {
		all.WriteString(request("OPTIONS", fmt.Sprint("n", i, "n")))
	}
	say(t, c, all.String())
	got := ""
	for strings.Count(got, "SIP/2.0 200") < 200 || !strings.HasSuffix(got, "\r\n\r\n") {
		got += read(t, c)
	}
	at := 0
	for i := range 200 {
		next := strings.Index(got[at:], fmt.Sprintf("Call-ID: n%dn@", i))
		if next < 0 {
			t.Fatalf("answer %d is missing or out of order", i)
		}
		at += next
	}
}

// TestManyMessagesInOneRead: more than a batch holds.
func TestManyMessagesInOneRead(t *testing.T) {
	e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}})
	c := e.dial(t, "tcp", 0)
	small := "ACK sip:a SIP/2.0\r\nv:SIP/2.0/TCP a\r\nf:<sip:a>\r\nt:<sip:a>\r\ni:1\r\nCSeq:%d ACK\r\nl:0\r\n\r\n"
	var all strings.Builder
	for i := range uint32(500) {
		fmt.Fprintf(&all, small, i)
	}
	say(t, c, all.String())
	for i := range uint32(500) {
		if got := e.hear(t).m.CSeq(); got != i {
			t.Fatalf("got %d, want %d", got, i)
		}
	}
	if n := e.counted("panic"); n != 0 {
		t.Errorf("panics: got %d, want 0", n)
	}
}

// TestEndCancelsDials: nobody waits for a peer that may never answer.
func TestEndCancelsDials(t *testing.T) {
	e := start(t, Config{})
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	opened := make(chan error, 1)
	go func() {
		_, err := e.t.Open(context.Background(), sip.Hop{Transport: roam.TLS, Addr: deaf.Addr().String(), Name: "sip.north.example"})
		opened <- err
	}()
	c, err := deaf.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	e.stop()
	if err := <-opened; err == nil {
		t.Error("got no error, want one")
	}
}

func TestOpenTCP(t *testing.T) {
	far := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}})
	e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}})
	h := sip.Hop{Transport: roam.TCP, Addr: far.at(0), Name: "127.0.0.1"}
	flows := make([]*sip.Flow, 8)
	var wg sync.WaitGroup
	for i := range flows {
		wg.Go(func() { flows[i], _ = e.t.Open(context.Background(), h) })
	}
	wg.Wait()
	for _, f := range flows {
		if f == nil || f != flows[0] {
			t.Fatalf("got %v, want one connection for all", flows)
		}
	}
	f := flows[0]
	if f.Here != e.at(0) {
		t.Errorf("Here: got %s, want where we listen, %s", f.Here, e.at(0))
	}
	if err := e.t.Send(f, []byte(request("OPTIONS", "1"))); err != nil {
		t.Fatal(err)
	}
	there := far.hear(t)
	if got := e.hear(t); got.m.Status() != 200 || got.flow != f {
		t.Errorf("got %d by %v, want 200 by %v", got.m.Status(), got.flow, f)
	}
	if there.flow.Here != far.at(0) {
		t.Errorf("Here: got %s, want %s", there.flow.Here, far.at(0))
	}
	// One that is about to end is given to nobody.
	e.t.conns[f.Conn].end(0)
	again, err := e.t.Open(context.Background(), h)
	if err != nil || again == f || again.Conn == f.Conn {
		t.Errorf("got %v, %v, want a new connection", again, err)
	}
}

func TestOpenErrors(t *testing.T) {
	e := start(t, Config{Listen: []string{"udp:127.0.0.1:0"}}, func(tr *Transport) { tr.limits.dial = 200 * time.Millisecond })
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	for _, h := range []sip.Hop{
		{Transport: roam.TCP, Addr: nobody.Addr().String()},
		{Transport: roam.TLS, Addr: deaf.Addr().String(), Name: "sip.north.example"},
		{Transport: roam.TCP, Addr: "north.example:5060"},
		{Transport: roam.WS, Addr: "127.0.0.1:5060"},
		{Transport: roam.UDP, Addr: "192.0.2.1:5060"}, // not from a loopback socket
		{Transport: roam.UDP, Addr: "[::1]:5060"},     // not from an IPv4 socket
	} {
		if f, err := e.t.Open(context.Background(), h); err == nil {
			t.Errorf("%v: got %v, want an error", h, f)
		}
	}
	if n := len(e.t.pool); n != 0 {
		t.Errorf("got %d in the pool, want 0", n)
	}
	f, err := e.t.Open(context.Background(), sip.Hop{Transport: roam.UDP, Addr: "127.0.0.1:5060"})
	if err != nil || f.Local.String() != e.at(0) {
		t.Errorf("got %v, %v, want our socket", f, err)
	}
}

func TestOpenUDPPrefersWhatReaches(t *testing.T) {
	e := start(t, Config{Listen: []string{"udp:127.0.0.1:0", "udp:0.0.0.0:0", "udp:[::1]:0"}})
	for remote, want := range map[string]int{"127.0.0.5:5060": 0, "192.0.2.77:5060": 1, "[::1]:5060": 2} {
		f, err := e.t.Open(context.Background(), sip.Hop{Transport: roam.UDP, Addr: remote})
		if err != nil || f.Local.Port() != e.t.sockets[want].local.Port() || f.Local.Addr().IsUnspecified() && want != 1 {
			t.Errorf("%s: got %v, %v, want listener %d", remote, f, err, want)
		}
	}
}

// TestLastWords: what was queued when the end comes is still sent, and the end is not
// reported as if each phone had gone.
func TestLastWords(t *testing.T) {
	e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0", "udp:127.0.0.1:0"}})
	c, u := e.dial(t, "tcp", 0), e.dial(t, "udp", 1)
	for _, c := range []net.Conn{c, u} {
		say(t, c, request("OPTIONS", "1"))
		read(t, c)
	}
	bye := []byte("BYE sip:1001@192.0.2.9 SIP/2.0\r\n\r\n")
	for range 2 {
		if err := e.t.Send(e.hear(t).flow, bye); err != nil {
			t.Fatal(err)
		}
	}
	e.stop()
	wantPrefix(t, readAll(t, c), "BYE ")
	wantPrefix(t, read(t, u), "BYE ")
	if len(e.closed) != 0 {
		t.Error("Closed was called for the end of Serve, want only for what ends by itself")
	}
	if _, err := e.t.Open(context.Background(), sip.Hop{Transport: roam.TCP, Addr: "127.0.0.1:5060"}); err == nil {
		t.Error("Open after the end: got no error, want one")
	}
}

// TestEndDoesNotWaitForTheDeaf: one that does not read delays the end by limits.drain at most.
func TestEndDoesNotWaitForTheDeaf(t *testing.T) {
	e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}}, func(tr *Transport) { tr.limits.drain = 100 * time.Millisecond })
	c := e.dial(t, "tcp", 0)
	say(t, c, request("OPTIONS", "1"))
	f := e.hear(t).flow
	m := make([]byte, maxPending/2)
	for quiet := 0; quiet < 3; time.Sleep(10 * time.Millisecond) { // until the system's buffers are full
		conn := e.t.conns[f.Conn]
		conn.mu.Lock()
		waiting := len(conn.pending)
		conn.mu.Unlock()
		if quiet++; waiting == 0 {
			quiet = 0
			if err := e.t.Send(f, m); err != nil {
				t.Fatal(err)
			}
		}
	}
	begun := time.Now()
	e.stop()
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("took %v, want about 100 ms", took)
	}
}
