package wire

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/metric"
)

// loopback opens a Wire on lo at ports that the system chooses, runs it and says where IPv4 and IPv6 are.
func loopback(t *testing.T) (w *Wire, got chan Datagram, at4, at6 netip.AddrPort) {
	t.Helper()
	w, err := Open(Config{Interfaces: []string{"lo"}, Four: true, Six: true, Metrics: &metric.Set{}, port4: -1, port6: -1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	got, done := make(chan Datagram, 1000), make(chan error, 1)
	go func() {
		done <- w.Run(ctx, func(batch []Datagram) {
			for _, d := range batch {
				got <- d
			}
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	port := func(s *socket) uint16 { return s.c.LocalAddr().(*net.UDPAddr).AddrPort().Port() }
	p := w.ports["lo"]
	return w, got, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port(p.four)), netip.AddrPortFrom(netip.IPv6Loopback(), port(p.six))
}

// client is a socket on loopback.
func client(t *testing.T, at string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	return c
}

// TestLoopback: datagrams of both families come with interface and addresses, and replies leave from the source asked for.
func TestLoopback(t *testing.T) {
	w, got, at4, at6 := loopback(t)
	for _, c := range []struct {
		from   string
		to     netip.AddrPort
		source string
	}{
		{"127.0.0.1:0", at4, "127.0.0.9"},
		{"[::1]:0", at6, "::1"},
	} {
		conn := client(t, c.from)
		from := conn.LocalAddr().(*net.UDPAddr).AddrPort()
		if _, err := conn.WriteToUDPAddrPort([]byte("question"), c.to); err != nil {
			t.Fatal(err)
		}
		d := <-got
		if string(d.B) != "question" || d.From != from || d.To != c.to.Addr() || d.Interface.Name != "lo" || d.Six() != c.to.Addr().Is6() {
			t.Errorf("got %q from %v to %v on %v", d.B, d.From, d.To, d.Interface)
		}
		var rs []Reply
		for range 150 { // more than go in one system call
			rs = append(rs, Reply{B: []byte("answer"), Interface: d.Interface.Index, To: d.From, Source: netip.MustParseAddr(c.source)})
		}
		w.Send(rs)
		for i := range rs {
			var room [100]byte
			n, at, err := conn.ReadFromUDPAddrPort(room[:])
			if want := netip.AddrPortFrom(netip.MustParseAddr(c.source), c.to.Port()); err != nil || string(room[:n]) != "answer" || at != want {
				t.Fatalf("reply %d: got %q from %v, %v; want it from %v", i, room[:n], at, err, want)
			}
		}
	}
}

// TestSecond: a second server on the same interface is refused, whoever runs it.
func TestSecond(t *testing.T) {
	_, _, at4, at6 := loopback(t)
	for _, cfg := range []Config{
		{Interfaces: []string{"lo"}, Four: true, port4: int(at4.Port())},
		{Interfaces: []string{"lo"}, Six: true, port6: int(at6.Port())},
	} {
		second, err := Open(cfg)
		if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "on lo") {
			t.Errorf("got %v, want %v", err, ErrInUse)
		}
		if err == nil {
			second.Close()
		}
	}
}

// TestSendElsewhere: what is for an interface that is gone is dropped and counted.
func TestSendElsewhere(t *testing.T) {
	w, _, _, _ := loopback(t)
	w.Send([]Reply{{B: []byte("x"), Interface: 4711, To: Broadcast}})
	if n, _ := w.dropped.With("no_interface").Count(); n != 1 {
		t.Errorf("got %d dropped, want 1", n)
	}
	if _, err := w.Probe(t.Context(), 4711, netip.MustParseAddr("192.0.2.1"), MAC{}); !errors.Is(err, ErrNoInterface) {
		t.Errorf("got %v, want %v", err, ErrNoInterface)
	}
	if _, err := w.Servers(t.Context(), 4711, false); !errors.Is(err, ErrNoInterface) {
		t.Errorf("got %v, want %v", err, ErrNoInterface)
	}
}

// TestNotThere: an interface that is not there is waited for, not refused.
func TestNotThere(t *testing.T) {
	w, err := Open(Config{Interfaces: []string{"eth99.20"}, Four: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if got := w.Interfaces(); len(got) != 0 || !w.wanting() {
		t.Errorf("got %v, want none", got)
	}
}

// TestLong: a datagram longer than any of DHCP is dropped whole, and those beside it are not.
func TestLong(t *testing.T) {
	w, got, at4, _ := loopback(t)
	c := client(t, "127.0.0.1:0")
	for _, b := range [][]byte{make([]byte, maxRead+1), []byte("next")} {
		if _, err := c.WriteToUDPAddrPort(b, at4); err != nil {
			t.Fatal(err)
		}
	}
	if d := <-got; string(d.B) != "next" {
		t.Errorf("got %d octets, want the next one", len(d.B))
	}
	if n, _ := w.dropped.With("size").Count(); n != 1 {
		t.Errorf("got %d dropped, want 1", n)
	}
}
