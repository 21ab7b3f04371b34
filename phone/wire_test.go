package phone

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// lossy is a wire between two phones on which the first copy of everything is lost.
type lossy struct {
	sides [2]*net.UDPConn // facing a, facing b
	mu    sync.Mutex
	phone [2]netip.AddrPort
	seen  map[string]int // copies, by message
}

func newLossy(t *testing.T) *lossy {
	w := &lossy{seen: map[string]int{}}
	for i := range w.sides {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		w.sides[i] = c
	}
	var running sync.WaitGroup
	for i := range w.sides {
		running.Go(func() { w.carry(i) })
	}
	t.Cleanup(func() {
		_ = w.sides[0].Close()
		_ = w.sides[1].Close()
		running.Wait()
	})
	return w
}

func (w *lossy) carry(side int) {
	buf := make([]byte, 65535)
	for {
		n, _, err := w.sides[side].ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		w.mu.Lock()
		w.seen[string(buf[:n])]++
		lost, to := w.seen[string(buf[:n])] == 1, w.phone[1-side]
		w.mu.Unlock()
		if !lost {
			_, _ = w.sides[1-side].WriteToUDPAddrPort(buf[:n], to)
		}
	}
}

// carried says that a message that begins so got through.
func (w *lossy) carried(start string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for msg, n := range w.seen {
		if n > 1 && strings.HasPrefix(msg, start) {
			return true
		}
	}
	return false
}

// pair is two phones on the wire.
func (w *lossy) pair(t *testing.T, answer Behaviour) (a, b *Phone) {
	t.Helper()
	phones := [2]*Phone{}
	for i := range phones {
		cfg := Config{AOR: fmt.Sprintf("sip:100%d@example.org", i+1), Proxy: w.sides[i].LocalAddr().String(), Tone: 440}
		if i == 1 {
			cfg.Answer = answer
		}
		phones[i], _ = start(t, cfg)
		l, err := phones[i].current(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		w.mu.Lock()
		w.phone[i] = l.udp.LocalAddr().(*net.UDPAddr).AddrPort()
		w.mu.Unlock()
	}
	return phones[0], phones[1]
}

func TestCallOverALossyWire(t *testing.T) {
	w := newLossy(t)
	a, b := w.pair(t, Talk)
	call, err := a.Call(deadline(t), "1002")
	if err != nil {
		t.Fatal(err)
	}
	other := b.Current()
	waitFor(t, "ACK", func() bool {
		other.mu.Lock()
		defer other.mu.Unlock()
		return other.acked == nil
	})
	if err := call.Hangup(deadline(t)); err != nil {
		t.Error(err)
	}
	<-other.Done()
}

func TestRefusalOverALossyWire(t *testing.T) {
	w := newLossy(t)
	a, b := w.pair(t, Ring)
	got := make(chan error, 1)
	ctx := deadline(t)
	go func() {
		_, err := a.Call(ctx, "1002")
		got <- err
	}()
	in := <-b.Calls()
	waitFor(t, "180", func() bool { return w.carried("SIP/2.0 180") }) // no INVITE comes again after it
	if err := in.Hangup(deadline(t)); err != nil {
		t.Fatal(err)
	}
	var no *Refused
	if err := <-got; !errors.As(err, &no) || no.Code != 486 {
		t.Errorf("got %v, want 486", err)
	}
	waitFor(t, "ACK of the refusal", func() bool {
		select {
		case <-in.invite.acked:
			return true
		default:
			return false
		}
	})
}

func TestCancelOverALossyWire(t *testing.T) {
	w := newLossy(t)
	a, b := w.pair(t, Ring)
	got := make(chan error, 1)
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	go func() {
		_, err := a.Call(ctx, "1002")
		got <- err
	}()
	in := <-b.Calls()
	cancel() // before the 180 came: the CANCEL waits for it
	var no *Refused
	if err := <-got; !errors.As(err, &no) || no.Code != 487 {
		t.Errorf("got %v, want 487", err)
	}
	<-in.Done()
}

// wire speaks SIP to a phone by hand.
type wire struct {
	t  *testing.T
	c  *net.UDPConn
	to netip.AddrPort
}

func newWire(t *testing.T, p *Phone) *wire {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	l, err := p.current(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	return &wire{t, c, l.udp.LocalAddr().(*net.UDPAddr).AddrPort()}
}

// send sends a request of call "c1" with these headers, and a body.
func (w *wire) send(method, branch, to, callID string, seq int, body string, more ...string) {
	w.t.Helper()
	lines := []string{method + " sip:1002@127.0.0.1 SIP/2.0", "Via: SIP/2.0/UDP " + w.c.LocalAddr().String() + ";branch=z9hG4bK" + branch,
		"From: <sip:+15550001001@example.org>;tag=far", "To: <sip:1002@example.org>" + to, "Call-ID: " + callID,
		fmt.Sprintf("CSeq: %d %s", seq, method), "Contact: <sip:far@" + w.c.LocalAddr().String() + ">", "Max-Forwards: 70"}
	lines = append(lines, more...)
	lines = append(lines, fmt.Sprintf("Content-Length: %d", len(body)), "", body)
	if _, err := w.c.WriteToUDPAddrPort([]byte(strings.Join(lines, "\r\n")), w.to); err != nil {
		w.t.Fatal(err)
	}
}

// expect is the next message that begins so; others are passed over.
func (w *wire) expect(start string) string {
	w.t.Helper()
	buf := make([]byte, 65535)
	_ = w.c.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		n, _, err := w.c.ReadFromUDPAddrPort(buf)
		if err != nil {
			w.t.Fatalf("no %q: %v", start, err)
		}
		if strings.HasPrefix(string(buf[:n]), start) {
			return string(buf[:n])
		}
	}
}

func TestOddRequests(t *testing.T) {
	p, _ := start(t, Config{AOR: "sip:1002@example.org", Proxy: "127.0.0.1:9", Tone: 600, Answer: Talk})
	w := newWire(t, p)
	for _, junk := range []string{"", "\r\n\r\n", "hello", "OPTIONS sip:x SIP/2.0\r\n\r\n", "SIP/2.0 200 OK\r\nVia: x\r\n\r\n"} {
		if _, err := w.c.WriteToUDPAddrPort([]byte(junk), w.to); err != nil {
			t.Fatal(err)
		}
	}
	w.send("OPTIONS", "o", "", "c0", 1, "")
	if got := w.expect("SIP/2.0 200"); header(got, "Allow") != allow {
		t.Errorf("got %q", got)
	}
	w.send("SUBSCRIBE", "s", "", "c0", 1, "")
	w.expect("SIP/2.0 405")
	w.send("CANCEL", "nothing", "", "c0", 1, "")
	w.expect("SIP/2.0 481")
	w.send("BYE", "b0", ";tag=unknown", "c0", 1, "")
	w.expect("SIP/2.0 481")
	w.send("INVITE", "video", "", "c9", 1, "v=0\r\nc=IN IP4 127.0.0.1\r\nm=video 4000 RTP/AVP 31\r\n")
	w.expect("SIP/2.0 488")
	w.send("ACK", "video", "", "c9", 1, "")
}

func TestLateOfferAndRoutes(t *testing.T) {
	p, _ := start(t, Config{AOR: "sip:1002@example.org", Proxy: "127.0.0.1:9", Tone: 600, Answer: Talk})
	w := newWire(t, p)
	route := "<sip:" + w.c.LocalAddr().String() + ";lr;x=1>"
	w.send("INVITE", "i", "", "c1", 1, "", "Record-Route: "+route)
	ok := w.expect("SIP/2.0 200")
	tag := header(ok, "To")[strings.Index(header(ok, "To"), ";tag="):]
	m, err := parseMedia([]byte(ok[strings.Index(ok, "\r\n\r\n")+4:]))
	if err != nil || m.dir != sendrecv {
		t.Fatalf("no offer in %q: %v", ok, err)
	}
	ours, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ours.Close() }()
	answer := fmt.Sprintf("v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio %d RTP/AVP 8\r\n", ours.LocalAddr().(*net.UDPAddr).Port)
	w.send("ACK", "a", tag, "c1", 1, answer)
	buf := make([]byte, 2048)
	_ = ours.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, _, err := ours.ReadFromUDPAddrPort(buf); err != nil || n != 172 || buf[1]&0x7f != 8 {
		t.Errorf("got %d octets of type %d, %v, want 20 ms of PCMA", n, buf[1]&0x7f, err)
	}
	w.send("BYE", "b", tag, "another", 2, "")
	w.expect("SIP/2.0 481")
	go func() { _ = p.Current().Hangup(deadline(t)) }()
	bye := w.expect("BYE sip:far@" + w.c.LocalAddr().String())
	if header(bye, "Route") != route || header(bye, "To") != "<sip:+15550001001@example.org>;tag=far" || header(bye, "CSeq") != "1 BYE" {
		t.Errorf("got %q", bye)
	}
}

func TestCaller(t *testing.T) {
	p, _ := start(t, Config{AOR: "sip:1008@example.org", Proxy: "127.0.0.1:9", Answer: Ring})
	w := newWire(t, p)
	w.send("INVITE", "i", "", "c1", 1, "v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 0\r\n")
	c := <-p.Calls()
	if got := c.caller(); got != "+15550001001" {
		t.Errorf("a number: got %q", got)
	}
	for user, want := range map[string]string{"1001": "sip:1001@example.org", "anonymous": ""} {
		c.remote.Address.User = user
		if got := c.caller(); got != want {
			t.Errorf("%s: got %q, want %q", user, got, want)
		}
	}
	w.send("CANCEL", "i", "", "c1", 1, "")
	w.expect("SIP/2.0 200")
	w.expect("SIP/2.0 487")
	w.send("ACK", "i", "", "c1", 1, "")
}
