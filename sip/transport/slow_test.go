package transport

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTricklingConnections: 500 connections from five addresses, each of which sends its request octet by octet, cost little
// and hold nobody up; each is ended when its message took too long, from its first octet, and leaves nothing.
// The same with 5,000, and the time that others wait, is measured by `make soak`.
func TestTricklingConnections(t *testing.T) {
	const many = 500
	e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}}, func(tr *Transport) { tr.limits.message = 2 * time.Second })
	good := e.dial(t, "tcp", 0)
	ask := func(n int) {
		t.Helper()
		say(t, good, request("OPTIONS", fmt.Sprint("good", n)))
		wantPrefix(t, read(t, good), "SIP/2.0 200")
		e.hear(t)
	}
	ask(0)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	threads := runtime.NumGoroutine()
	slow := make([]net.Conn, many)
	for i := range slow {
		from := "127.0.0.1"
		if runtime.GOOS == "linux" {
			from = fmt.Sprintf("127.0.1.%d", 1+i%5)
		}
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", e.at(0))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		slow[i] = c
	}
	for round, octet := range request("REGISTER", "slow")[:12] {
		for _, c := range slow {
			if _, err := io.WriteString(c, string(octet)); err != nil {
				break // the first are ended already
			}
		}
		ask(round + 1)
		if round == 2 {
			eventually(t, "all connections stand", func() bool { return e.connections() == many+1 })
			runtime.GC()
			runtime.ReadMemStats(&after)
			each := int64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse) / many
			if each > 40<<10 { // both ends of it, and what package net keeps
				t.Errorf("a slow connection costs %d octets, want at most 40 KiB", each)
			}
			t.Logf("a slow connection costs %d octets of heap and stack", each)
			if n := runtime.NumGoroutine() - threads; n > 2*many+10 {
				t.Errorf("%d goroutines for %d connections, want two each", n, many)
			}
		}
	}
	for range many {
		if f := e.waitClosed(t); f.Remote.String() == good.LocalAddr().String() {
			t.Error("the good connection was ended")
		}
	}
	ask(99)
	e.hearNothing(t)
	if n := e.connections(); n != 1 {
		t.Errorf("%d connections left, want the good one", n)
	}
	e.t.mu.Lock()
	defer e.t.mu.Unlock()
	if len(e.t.sources) != 1 || e.t.kinds[phoneConn] != 1 {
		t.Errorf("counted %v, %v, want one", e.t.sources, e.t.kinds)
	}
}

// connections is how many are open.
func (e *ear) connections() int {
	e.t.mu.Lock()
	defer e.t.mu.Unlock()
	return len(e.t.conns)
}

// TestStalledHandshakes: who begins TLS and says no more is ended, and nobody waits for him.
func TestStalledHandshakes(t *testing.T) {
	a := newAuthority(t)
	e := start(t, Config{Listen: []string{"tls:127.0.0.1:0"}, PhoneTLS: &tls.Config{Certificates: a.config("sip.north.example").Certificates}}, func(tr *Transport) { tr.limits.first = time.Second })
	var stalled []net.Conn
	for i := range 40 {
		c := e.dial(t, "tcp", 0)
		say(t, c, "\x16\x03\x01\x02\x00\x01"[:1+i%6]) // a piece of a ClientHello
		stalled = append(stalled, c)
	}
	c, err := tls.Dial("tcp", e.at(0), &tls.Config{RootCAs: a.pool, ServerName: "sip.north.example"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	say(t, c, request("OPTIONS", "1"))
	wantPrefix(t, read(t, c), "SIP/2.0 200")
	for _, c := range stalled {
		readAllOrReset(t, c)
	}
	eventually(t, "nothing left of the stalled", func() bool {
		e.t.mu.Lock()
		defer e.t.mu.Unlock()
		return e.t.kinds[phoneConn] == 1
	})
}

// TestDeafPeersHoldNobodyUp: what is sent to those who do not read returns at once, and others are answered meanwhile.
func TestDeafPeersHoldNobodyUp(t *testing.T) {
	e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0"}})
	good := e.dial(t, "tcp", 0)
	var deaf []heard
	for i := range 5 {
		say(t, e.dial(t, "tcp", 0), request("OPTIONS", fmt.Sprint("deaf", i)))
		deaf = append(deaf, e.hear(t))
	}
	notify := []byte(request("NOTIFY", "n", "Subject: "+strings.Repeat("n", 30_000)+"\r\n"))
	for n := 0; len(deaf) > 0; n++ {
		began := time.Now()
		deaf = slices.DeleteFunc(deaf, func(h heard) bool { return e.t.Send(h.flow, notify) != nil })
		if took := time.Since(began); took > time.Second {
			t.Fatalf("sending to the deaf took %v", took)
		}
		if n%50 == 0 {
			say(t, good, request("OPTIONS", fmt.Sprint("good", n)))
			wantPrefix(t, read(t, good), "SIP/2.0 200")
			e.hear(t)
		}
	}
}

// TestRoomForPhones: strangers who hold every place, silently, with half a message, with pings or in a TLS handshake, keep
// no phone out: one of them makes room for each that comes. Who is registered stays.
func TestRoomForPhones(t *testing.T) {
	const places = 40
	a := newAuthority(t)
	e := start(t, Config{Listen: []string{"tcp:127.0.0.1:0", "tls:127.0.0.1:0"}, MaxConns: places, PhoneTLS: &tls.Config{Certificates: a.config("sip.north.example").Certificates}})
	ask := func(c net.Conn, branch string) heard {
		t.Helper()
		say(t, c, request("OPTIONS", branch))
		wantPrefix(t, read(t, c), "SIP/2.0 200")
		return e.hear(t)
	}
	var registered []net.Conn
	for i := range 10 {
		c := e.dial(t, "tcp", 0)
		e.t.Vouch(ask(c, fmt.Sprint("registered", i)).flow.Flow, true)
		registered = append(registered, c)
	}
	for i := range places - len(registered) {
		kind := []struct {
			door  int
			words string
		}{{0, ""}, {1, "\x16\x03\x01"}, {0, "OPTIONS sip:"}, {1, "\x16"}, {0, "\r\n\r\n"}}[i%5]
		say(t, e.dial(t, "tcp", kind.door), kind.words)
	}
	taken := func() int {
		e.t.mu.Lock()
		defer e.t.mu.Unlock()
		return e.t.kinds[phoneConn]
	}
	eventually(t, "every place is taken", func() bool { return taken() == places })
	for i := range 2 * places {
		c := e.dial(t, "tcp", 0)
		h := ask(c, fmt.Sprint("new", i))
		if i < 5 { // a few of them register
			e.t.Vouch(h.flow.Flow, true)
			registered = append(registered, c)
		}
	}
	for i, c := range registered {
		ask(c, fmt.Sprint("again", i))
	}
	eventually(t, "no more than there are places", func() bool { return taken() <= places })
	if n := e.counted("made_room"); n != 2*places {
		t.Errorf("%d made room, want one for each that came", n)
	}
	for range places - len(registered) { // the rest registers
		c := e.dial(t, "tcp", 0)
		e.t.Vouch(ask(c, "r").flow.Flow, true)
	}
	eventually(t, "all places are phones'", func() bool { return taken() == places })
	readAllOrReset(t, e.dial(t, "tcp", 0)) // as full as can be
	if n := e.counted("connection_limit"); n == 0 {
		t.Error("one more was let in, want it refused")
	}
}
