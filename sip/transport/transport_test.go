package transport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// TestMain fails when anything a test started is still running.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := goroutines(); code == 0 && left != "" {
		fmt.Println("goroutines left:\n" + left)
		code = 1
	}
	os.Exit(code)
}

// goroutines is the stacks of ours that are left after a moment to end, "" for none.
func goroutines() string {
	for end := time.Now().Add(3 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		all := make([]byte, 1<<20)
		all = all[:runtime.Stack(all, true)]
		_, others, _ := strings.Cut(string(all), "\n\n") // the first is this one
		left := ""
		for g := range strings.SplitSeq(others, "\n\n") {
			if strings.Contains(g, "sip/transport") {
				left += g + "\n\n"
			}
		}
		if left == "" || time.Now().After(end) {
			return left
		}
	}
}

// heard is a message as a receiver keeps it.
type heard struct {
	m    *sip.Message
	flow *sip.Flow
}

// ear is a Receiver that keeps everything and answers requests 200.
type ear struct {
	t      *Transport
	heard  chan heard
	closed chan *sip.Flow
	stop   func() // ends Serve and waits for it; may be called again

	mu sync.Mutex
	w  sip.Writer
}

func (e *ear) Receive(batch []*sip.Message, release func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range batch {
		e.heard <- heard{m.Keep(), m.Flow}
		if !m.IsRequest() {
			continue
		}
		e.w.Response(m, 200, "", "tag")
		if err := e.w.End("", nil); err == nil {
			_ = e.t.Send(m.Flow, e.w.Bytes())
		}
	}
	e.t.Flush()
	release()
}

func (e *ear) Closed(f *sip.Flow) { e.closed <- f }

func (e *ear) hear(t *testing.T) heard {
	t.Helper()
	select {
	case h := <-e.heard:
		return h
	case <-time.After(5 * time.Second):
		t.Fatal("got no message, want one")
		return heard{}
	}
}

func (e *ear) hearNothing(t *testing.T) {
	t.Helper()
	select {
	case h := <-e.heard:
		t.Fatalf("got %s, want nothing", h.m.Bytes())
	default:
	}
}

// start serves cfg until the test ends. change may alter the transport before.
func start(t testing.TB, cfg Config, change ...func(*Transport)) *ear {
	t.Helper()
	tr := New(cfg, func(f *sip.Flow) roam.OfficeID {
		if len(f.Names) > 0 && strings.HasSuffix(f.Names[0], ".example") {
			return roam.OfficeID(strings.TrimSuffix(strings.TrimPrefix(f.Names[0], "sip."), ".example"))
		}
		return ""
	}, &metric.Set{}, zerolog.Nop())
	for _, c := range change {
		c(tr)
	}
	if err := tr.Listen(); err != nil {
		t.Fatal(err)
	}
	e := &ear{t: tr, heard: make(chan heard, 10_000), closed: make(chan *sip.Flow, 1000)}
	e.stop = serve(t, tr, e)
	return e
}

// serve runs tr until the test or stop ends it.
func serve(t testing.TB, tr *Transport, r Receiver) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- tr.Serve(ctx, r) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-served:
			if err != nil {
				t.Errorf("Serve: got %v, want nil", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("Serve does not return")
		}
	})
	t.Cleanup(stop)
	for tr.currentState() != serving { // Open is refused before
		runtime.Gosched()
	}
	return stop
}

func (t *Transport) currentState() state {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state
}

// at is the address of the i-th listener.
func (e *ear) at(i int) string {
	_, at, _ := strings.Cut(e.t.Addrs()[i], ":")
	return at
}

// request is one as a phone sends it.
func request(method, branch string, more ...string) string {
	return method + " sip:north.example SIP/2.0\r\n" +
		"Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK" + branch + ";rport\r\n" +
		"From: <sip:1001@north.example>;tag=a\r\nTo: <sip:1001@north.example>\r\n" +
		"Call-ID: " + branch + "@192.0.2.9\r\nCSeq: 1 " + method + "\r\nMax-Forwards: 70\r\n" +
		strings.Join(more, "") + "Content-Length: 0\r\n\r\n"
}

// dial connects to the i-th listener.
func (e *ear) dial(t *testing.T, network string, i int) net.Conn {
	t.Helper()
	c, err := net.Dial(network, e.at(i))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(8 * time.Second))
	return c
}

func say(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

// read is the next read of c.
func read(t *testing.T, c net.Conn) string {
	t.Helper()
	b := make([]byte, 65536)
	n, err := c.Read(b)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return string(b[:n])
}

// readAll is all that comes until c ends.
func readAll(t *testing.T, c net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(c)
	if ne, is := err.(net.Error); is && ne.Timeout() {
		t.Fatal("got an open connection, want it closed")
	}
	return string(b)
}

func wantPrefix(t *testing.T, got, want string) {
	t.Helper()
	if !strings.HasPrefix(got, want) {
		t.Fatalf("got %q, want %q ...", got, want)
	}
}

// counted reads a counter of e's metrics.
func (e *ear) counted(labels ...string) (n uint64) {
	for _, c := range []*metric.Counter{e.t.count.requests, e.t.count.responses, e.t.count.refusals} {
		c.Each(func(v *metric.Value) {
			if fmt.Sprint(v.Labels) == fmt.Sprint(labels) {
				n, _ = v.Count()
			}
		})
	}
	return n
}

func TestUDPRequestIsAnswered(t *testing.T) {
	for _, at := range []string{"udp:127.0.0.1:0", "udp:[::1]:0", "udp:0.0.0.0:0", "udp:[::]:0"} {
		t.Run(at, func(t *testing.T) {
			e := start(t, Config{Listen: []string{at}, DSCP: 24})
			to := strings.NewReplacer("0.0.0.0", "127.0.0.1", "[::]", "127.0.0.1").Replace(e.at(0))
			c, err := net.Dial("udp", to)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			say(t, c, request("REGISTER", "1"))
			got := read(t, c)
			wantPrefix(t, got, "SIP/2.0 200 OK\r\n")
			mine := netip.MustParseAddrPort(c.LocalAddr().String())
			if want := fmt.Sprintf(";received=%s;rport=%d\r\n", mine.Addr(), mine.Port()); !strings.Contains(got, want) {
				t.Errorf("got %q, want %q in Via", got, want)
			}
			f := e.hear(t).flow
			want := roam.Flow{Transport: roam.UDP, Local: netip.MustParseAddrPort(to), Remote: mine}
			if f.Flow != want || f.Here != to || f.Partner != "" {
				t.Errorf("got %+v, want %+v and Here %s", f, want, to)
			}
			if again, found := e.t.Find(want); !found || again != f {
				t.Errorf("Find: got %p %v, want %p", again, found, f)
			}
			if n := e.counted("REGISTER", "UDP", "in"); n != 1 {
				t.Errorf("requests in: got %d, want 1", n)
			}
			if n := e.counted("REGISTER", "200", "out"); n != 1 {
				t.Errorf("responses out: got %d, want 1", n)
			}
		})
	}
}

// TestWildcardAnswersFromTheAddressAsked: a phone behind a NAT hears only that one.
func TestWildcardAnswersFromTheAddressAsked(t *testing.T) {
	for _, at := range []string{"udp:0.0.0.0:0", "udp:[::]:0"} {
		e := start(t, Config{Listen: []string{at}})
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, port, _ := net.SplitHostPort(e.at(0))
		to, _ := net.ResolveUDPAddr("udp4", "127.0.0.77:"+port)
		if runtime.GOOS != "linux" {
			to.IP = net.IPv4(127, 0, 0, 1) // elsewhere 127.0.0.0/8 is not all ours
		}
		if _, err := c.WriteTo([]byte(request("OPTIONS", "2")), to); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 2000)
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, from, err := c.ReadFrom(b)
		if err != nil || from.String() != to.String() {
			t.Fatalf("%s: answer: got from %v, %v, want from %v", at, from, err, to)
		}
		f := e.hear(t).flow
		if err := e.t.SendNow(f, []byte(request("NOTIFY", "3"))); err != nil {
			t.Fatal(err)
		}
		if _, from, err = c.ReadFrom(b); err != nil || from.String() != to.String() {
			t.Fatalf("%s: at once: got from %v, %v, want from %v", at, from, err, to)
		}
	}
}

func TestDSCP(t *testing.T) {
	e := start(t, Config{Listen: []string{"udp:127.0.0.1:0", "udp:[::1]:0", "tcp:127.0.0.1:0"}, DSCP: 24})
	if tos, err := ipv4.NewPacketConn(e.t.sockets[0].c).TOS(); err != nil || tos != 24<<2 {
		t.Errorf("IPv4: got %#x, %v, want CS3", tos, err)
	}
	if class, err := ipv6.NewPacketConn(e.t.sockets[1].c).TrafficClass(); err != nil || class != 24<<2 {
		t.Errorf("IPv6: got %#x, %v, want CS3", class, err)
	}
	c := e.dial(t, "tcp", 2)
	say(t, c, request("OPTIONS", "1"))
	conn := e.t.conns[e.hear(t).flow.Conn]
	if tos, err := ipv4.NewConn(conn.raw).TOS(); err != nil || tos != 24<<2 {
		t.Errorf("TCP: got %#x, %v, want CS3", tos, err)
	}
}

func TestTwoUDPListenersKeepApart(t *testing.T) {
	e := start(t, Config{Listen: []string{"udp:127.0.0.1:0", "udp:127.0.0.1:0"}})
	for i := range 2 {
		c := e.dial(t, "udp", i)
		say(t, c, request("OPTIONS", fmt.Sprint(i)))
		wantPrefix(t, read(t, c), "SIP/2.0 200")
		if got := e.hear(t).flow.Local.String(); got != e.at(i) {
			t.Errorf("local: got %s, want %s", got, e.at(i))
		}
	}
}

func TestUDPKeepAlives(t *testing.T) {
	e := start(t, Config{Listen: []string{"udp:127.0.0.1:0"}})
	c := e.dial(t, "udp", 0)
	for _, quiet := range []string{"\r\n", "\r\n\r\n", "\x00\x00\x00\x00"} {
		say(t, c, quiet)
	}
	stun := "\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl"
	say(t, c, "\x00\x01\x00\x08\x21\x12\xa4\x42ABCDEFGHIJKL\x00\x06\x00\x03bob\x00") // a user name: not for us
	say(t, c, stun)                                                                  // a stranger's: the answer would be longer by more than half
	e.t.Vouch(roam.Flow{Transport: roam.UDP, Remote: netip.MustParseAddrPort(c.LocalAddr().String())}, true)
	say(t, c, stun)
	got := read(t, c)
	want := appendSTUN(nil, []byte(stun), netip.MustParseAddrPort(c.LocalAddr().String()))
	if got != string(want) || len(want) != 32 {
		t.Errorf("got %x, want %x", got, want)
	}
	e.hearNothing(t)
	if n := e.counted("dropped"); n != 0 {
		t.Errorf("dropped: got %d, want 0", n)
	}
}

// TestSTUNVector is RFC 5769 2.2 and 2.3, without the attributes we do not write.
func TestSTUNVector(t *testing.T) {
	request := []byte("\x00\x01\x00\x00\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae")
	for from, want := range map[string]string{
		"192.0.2.1:32853": "\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43",
		"[2001:db8:1234:5678:11:2233:4455:6677]:32853": "\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9",
	} {
		got := appendSTUN(nil, request, netip.MustParseAddrPort(from))
		if !bytes.HasPrefix(got, []byte("\x01\x01")) || string(got[stunHeader:]) != want {
			t.Errorf("%s: got %x, want %x", from, got, want)
		}
	}
}

func TestUDPRefusals(t *testing.T) {
	e := start(t, Config{Listen: []string{"udp:127.0.0.1:0"}})
	c := e.dial(t, "udp", 0)
	silent := []string{
		"hello\r\n\r\n",
		strings.Replace(request("ACK", "1"), "CSeq: 1 ACK", "CSeq: x ACK", 1),
		"SIP/2.0 200 OK\r\nVia: x\r\n\r\n",
	}
	for _, s := range silent {
		say(t, c, s)
	}
	say(t, c, strings.Replace(request("INVITE", "2"), "Max-Forwards: 70", "Max-Forwards: many", 1))
	got := read(t, c)
	wantPrefix(t, got, "SIP/2.0 400 Bad Request")
	if strings.Contains(got, "many") || !strings.Contains(got, "To: <sip:1001@north.example>;tag=") {
		t.Errorf("got %q, want a To tag and nothing of the mistake", got)
	}
	say(t, c, strings.Replace(request("INVITE", "2"), "Max-Forwards: 70", "Max-Forwards: many", 1))
	if again := read(t, c); again != got {
		t.Errorf("retransmission: got %q, want the same answer %q", again, got)
	}
	say(t, c, strings.Replace(request("INVITE", "3"), "SIP/2.0\r\n", "SIP/7.0\r\n", 1))
	wantPrefix(t, read(t, c), "SIP/2.0 505 Version Not Supported")
	e.hearNothing(t)
	for reason, want := range map[string]uint64{"dropped": 3, "malformed": 2, "505": 1} {
		if n := e.counted(reason); n != want {
			t.Errorf("%s: got %d, want %d", reason, n, want)
		}
	}
}

func TestPanicWhileParsingIsCaught(t *testing.T) {
	e := start(t, Config{Listen: []string{"udp:127.0.0.1:0"}}, func(tr *Transport) {
		tr.parse = func(b []byte, m *sip.Message) error {
			if bytes.Contains(b, []byte("poison")) {
				panic("swallowed")
			}
			return sip.Parse(b, m)
		}
	})
	c := e.dial(t, "udp", 0)
	say(t, c, request("OPTIONS", "poison"))
	say(t, c, request("OPTIONS", "water"))
	wantPrefix(t, read(t, c), "SIP/2.0 200")
	if n := e.counted("panic"); n != 1 {
		t.Errorf("panics: got %d, want 1", n)
	}
}

func TestPhonesAreNotTrusted(t *testing.T) {
	e := start(t, Config{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"}})
	for i, network := range []string{"udp", "tcp"} {
		c := e.dial(t, network, i)
		say(t, c, request("INVITE", "1", "P-Asserted-Identity: <sip:boss@north.example>\r\nRoam-Ticket: x\r\n"))
		m := e.hear(t).m
		if m.Value(sip.PAssertedIdentity) != nil || m.Value(sip.RoamTicket) != nil {
			t.Errorf("%s: got a phone's P-Asserted-Identity, want it removed", network)
		}
	}
}

func TestLongDatagrams(t *testing.T) {
	e := start(t, Config{Listen: []string{"udp:127.0.0.1:0"}})
	c := e.dial(t, "udp", 0)
	head := strings.Replace(request("MESSAGE", "1"), "Content-Length: 0\r\n\r\n", "", 1)
	body := strings.Repeat("x", 65_000-len(head))
	say(t, c, head+fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body))+body)
	h := e.hear(t)
	if got := len(h.m.Body()); got != len(body) {
		t.Errorf("body: got %d, want %d", got, len(body))
	}
	if err := e.t.Send(h.flow, make([]byte, 65_508)); err != ErrTooLong {
		t.Errorf("got %v, want %v", err, ErrTooLong)
	}
}

func TestSendFillsSeveralBatches(t *testing.T) {
	e := start(t, Config{Listen: []string{"udp:127.0.0.1:0"}})
	c := e.dial(t, "udp", 0)
	say(t, c, request("OPTIONS", "1"))
	read(t, c)
	f := e.hear(t).flow
	for i := range 2*maxBatch + 1 {
		if err := e.t.Send(f, fmt.Appendf(nil, "INFO %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	e.t.Flush()
	for i := range 2*maxBatch + 1 {
		if got, want := read(t, c), fmt.Sprintf("INFO %d", i); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// TestFlushSkipsWhatCannotBeSent: one bad destination does not hold up the others.
func TestFlushSkipsWhatCannotBeSent(t *testing.T) {
	e := start(t, Config{Listen: []string{"udp:127.0.0.1:0"}})
	c := e.dial(t, "udp", 0)
	say(t, c, request("OPTIONS", "1"))
	read(t, c)
	f := e.hear(t).flow
	bad := *f
	bad.Remote = netip.MustParseAddrPort("192.0.2.1:5060") // a loopback socket cannot send there
	for _, to := range []*sip.Flow{&bad, f, &bad, f} {
		_ = e.t.Send(to, []byte("INFO x"))
	}
	e.t.Flush()
	for range 2 {
		wantPrefix(t, read(t, c), "INFO x")
	}
}

func TestTapSeesBothWays(t *testing.T) {
	e := start(t, Config{Listen: []string{"udp:127.0.0.1:0"}})
	seen := make(chan string, 10)
	stop := e.t.Tap(func(f *sip.Flow, sent bool, b []byte) { seen <- fmt.Sprint(sent, " ", string(b[:7])) })
	c := e.dial(t, "udp", 0)
	say(t, c, request("OPTIONS", "1"))
	read(t, c)
	for _, want := range []string{"false OPTIONS", "true SIP/2.0"} {
		if got := <-seen; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	stop()
	say(t, c, request("OPTIONS", "2"))
	read(t, c)
	if len(seen) != 0 {
		t.Errorf("got %q after stop, want nothing", <-seen)
	}
}

func TestListenErrors(t *testing.T) {
	busy, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	taken := "udp:" + busy.LocalAddr().String()
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{Listen: []string{"tcp:127.0.0.1:0", taken}}, "listen " + taken + ": address already in use"},
		{Config{Listen: []string{"sctp:127.0.0.1:5060"}}, "listen sctp:127.0.0.1:5060: transport must be udp, tcp, tls, ws or wss"},
		{Config{Listen: []string{"udp:localhost:5060"}}, "listen udp:localhost:5060: want transport:address:port with a numeric address"},
		{Config{Listen: []string{"tls:127.0.0.1:0"}}, "listen tls:127.0.0.1:0: no certificate for phones"},
		{Config{PartnerListen: "tcp:127.0.0.1:0"}, "listen tcp:127.0.0.1:0: partners are only known by TLS certificates"},
		{Config{PartnerListen: "tls:127.0.0.1:0"}, "listen tls:127.0.0.1:0: no certificate for partners"},
	} {
		tr := New(tt.cfg, nil, nil, zerolog.Nop())
		if err := tr.Listen(); err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
		if len(tr.Addrs()) != 0 {
			t.Errorf("got %v bound after an error, want none", tr.Addrs())
		}
	}
}

func TestServeUndoesListen(t *testing.T) {
	tr := New(Config{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"}}, nil, nil, zerolog.Nop())
	if err := tr.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := tr.Serve(ctx, &ear{}); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	again := New(Config{Listen: tr.Addrs()}, nil, nil, zerolog.Nop())
	if err := again.Listen(); err != nil {
		t.Fatal(err)
	}
	_ = again.Serve(ctx, &ear{})
}

func TestFlowsAreBounded(t *testing.T) {
	e := start(t, Config{Listen: []string{"udp:127.0.0.1:0"}})
	s := e.t.sockets[0]
	faithful := netip.MustParseAddrPort("127.0.0.1:1")
	first := s.flow(faithful, netip.Addr{})
	for i := range 4 * maxFlows {
		s.flow(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 5060), netip.Addr{})
		if i%1000 == 0 && s.flow(faithful, netip.Addr{}) != first {
			t.Fatal("got a new flow for one that is heard often, want the same")
		}
	}
	if n := len(s.known.young) + len(s.known.old); n > 2*maxFlows {
		t.Errorf("got %d flows, want at most %d", n, 2*maxFlows)
	}
}

func TestHere(t *testing.T) {
	tr := New(Config{
		Advertise:     netip.MustParseAddr("203.0.113.20"),
		LocalNetworks: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")},
	}, nil, nil, zerolog.Nop())
	local := netip.MustParseAddrPort("10.2.0.5:5060")
	for remote, want := range map[string]string{
		"10.2.7.7":     "10.2.0.5:5060",
		"198.51.100.1": "203.0.113.20:5060",
		"127.0.0.5":    "10.2.0.5:5060",
		"2001:db8::1":  "10.2.0.5:5060", // an IPv4 address is no use to it
	} {
		if got := tr.here(netip.MustParseAddr(remote), local); got != want {
			t.Errorf("to %s: got %s, want %s", remote, got, want)
		}
	}
	for a := range interfaceAddrs() {
		if got := tr.here(a, local); a.Is4() && got != "10.2.0.5:5060" {
			t.Errorf("to our own %s: got %s, want the interface's", a, got)
		}
	}
}

func TestFindKnowsOnlyOurSockets(t *testing.T) {
	e := start(t, Config{Listen: []string{"udp:0.0.0.0:0"}})
	port := e.t.sockets[0].local.Port()
	remote := netip.MustParseAddrPort("127.0.0.1:9")
	for local, want := range map[string]bool{"127.0.0.1": true, "192.0.2.200": false, "::1": false} {
		key := roam.Flow{Transport: roam.UDP, Local: netip.AddrPortFrom(netip.MustParseAddr(local), port), Remote: remote}
		f, found := e.t.Find(key)
		if found != want || found && f.Flow != key {
			t.Errorf("%s: got %v %v, want %v", local, f, found, want)
		}
	}
	other := roam.Flow{Transport: roam.UDP, Local: netip.MustParseAddrPort("127.0.0.1:1"), Remote: remote}
	if _, found := e.t.Find(other); found {
		t.Error("got a flow of a socket we do not have, want none")
	}
	if err := e.t.Send(&sip.Flow{Flow: other}, []byte("x")); err != ErrGone {
		t.Errorf("got %v, want %v", err, ErrGone)
	}
}
