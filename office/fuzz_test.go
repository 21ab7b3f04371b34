//go:build unix

package office_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/routesrv"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
)

// The bounds of what one input may cost a whole office.
const (
	fuzzTime  = 5 * time.Millisecond // of a processor
	fuzzBytes = 64 << 10             // allocated, and
	fuzzRatio = 64                   // times the input
)

// target is a running office with two phones: what is fuzzed comes from the one, which is registered and not challenged
// for calls, so that its INVITEs ring the other, which is busy.
type target struct {
	office *office.Office
	house  *three
	phone  *net.UDPConn // 1001's
	tcp    *net.TCPAddr
	alarm  alarm
	idle   uint64 // octets that it costs to be asked whether all was read
	asked  int
	fresh  time.Time // when 1001 and 1002 registered last
	busy   *wire

	room [1 << 16]byte
	got  []byte
	ends []int // of each message in got
}

// alarm is a log that hears panics.
type alarm struct{ heard atomic.Pointer[string] }

func (a *alarm) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(`"event":"panic`)) || bytes.Contains(b, []byte(`"event":"loop.panic`)) {
		s := string(b)
		a.heard.Store(&s)
	}
	return len(b), nil
}

// newTarget runs an office, whose partners are away, until the end of f.
func newTarget(f *testing.F) *target {
	f.Helper()
	dir, err := os.MkdirTemp("", "fuzz")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { os.RemoveAll(dir) })
	g := &target{house: &three{t: f, dir: dir}, got: make([]byte, 0, 1<<20)}
	if g.house.store, err = routesrv.StartEmbedded("127.0.0.1:0", ""); err != nil {
		f.Fatal(err)
	}
	g.house.certificates()
	cfg := g.house.config(0, "north", g.house.freePorts(1)[0])
	cfg.Aliases, cfg.Registration.ChallengeCalls, cfg.State = []string{"example.com"}, "never", filepath.Join(dir, "north")
	if g.office, err = office.New(cfg, zerolog.New(&g.alarm).Level(zerolog.ErrorLevel)); err != nil {
		f.Fatal(err)
	}
	g.office.Seed = &office.Seed{CSV: users(0)}
	g.house.house = &office.House{Offices: []*office.Office{g.office}, State: dir, Version: "test", Log: zerolog.Nop()}
	g.house.run()
	udp, tcp := g.house.addr("north", "udp"), g.house.addr("north", "tcp")
	g.tcp = net.TCPAddrFromAddrPort(netip.MustParseAddrPort(tcp))
	if g.phone, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(udp))); err != nil {
		f.Fatal(err)
	}
	g.register()
	f.Cleanup(func() { g.phone.Close(); g.busy.conn.Close() })
	var costs []uint64
	for range 50 {
		costs = append(costs, g.datagram(nil).octets)
	}
	slices.Sort(costs)
	g.idle = costs[len(costs)/2]
	return g
}

// register registers both phones, which a long run must do again. Their connections are g's, not those of one input.
func (g *target) register() {
	open := func(c net.Conn) *wire {
		return &wire{t: g.house.t, conn: c, r: bufio.NewReaderSize(c, 1<<16), n: g.asked}
	}
	if res := open(g.phone).register("1001", fmt.Sprintf("Contact: <sip:1001@%s>\n", g.phone.LocalAddr())); res.Status() != 200 {
		g.house.t.Fatalf("1001: got %d %s", res.Status(), res.Reason())
	}
	if g.busy != nil {
		g.busy.conn.Close()
	}
	c, err := net.DialTCP("tcp", nil, g.tcp)
	if err != nil {
		g.house.t.Fatal(err)
	}
	g.busy = open(c)
	if res := g.busy.register("1002", strings.TrimSuffix(contact("1002", g.busy), "\n")+";+sip.instance=\"<urn:uuid:b>\"\n"); res.Status() != 200 {
		g.house.t.Fatalf("1002: got %d %s", res.Status(), res.Reason())
	}
	g.busy.busy()
	g.fresh = time.Now()
}

// cost is what an input came to.
type cost struct {
	took   time.Duration // of the processors, or on the clock if that is less
	octets uint64        // allocated
	twice  string        // the request that got two final answers
}

// datagram sends b, and waits until it and an OPTIONS after it have been read.
func (g *target) datagram(b []byte) (c cost) {
	return g.measure(func() {
		if b != nil {
			g.phone.Write(b)
		}
		g.asked++
		mark := []byte(fmt.Sprintf("Call-ID: after%d\r\n", g.asked))
		g.phone.Write([]byte(afterwards(g.asked)))
		for tries := 0; ; {
			g.phone.SetReadDeadline(time.Now().Add(2 * time.Second))
			n, err := g.phone.Read(g.room[:])
			switch {
			case err != nil && tries < 3: // a datagram may be lost
				tries++
				g.phone.Write([]byte(afterwards(g.asked)))
			case err != nil:
				g.house.t.Fatalf("no answer to OPTIONS: %v", err)
			case bytes.Contains(g.room[:n], mark):
				return
			default:
				g.got = append(g.got, g.room[:n]...)
				g.ends = append(g.ends, len(g.got))
			}
		}
	})
}

// halfCloser is a connection that can say that nothing more comes.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// stream sends b on a connection of its own, and reads until the office ends it.
func (g *target) stream(b []byte) cost {
	c, err := net.DialTCP("tcp", nil, g.tcp)
	if err != nil {
		g.house.t.Fatal(err)
	}
	return g.on(c, b)
}

// partner is stream from another office.
func (g *target) partner(b []byte) cost {
	return g.on(g.house.dialAs("north", "south").conn.(*tls.Conn), b)
}

func (g *target) on(c halfCloser, b []byte) cost {
	defer c.Close()
	return g.measure(func() {
		c.Write(b)
		_ = c.CloseWrite()
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		for {
			n, err := c.Read(g.room[:])
			g.got = append(g.got, g.room[:n]...)
			if err == io.EOF || errors.Is(err, syscall.ECONNRESET) {
				break
			}
			if err != nil {
				g.house.t.Fatalf("the office does not end a connection whose other end has: %v", err)
			}
		}
		rest := g.got
		for at := 0; len(rest) > 0; rest = g.got[at:] { // answers, each with a head and no body
			end := bytes.Index(rest, []byte("\r\n\r\n"))
			if end < 0 {
				break
			}
			at += end + 4
			g.ends = append(g.ends, at)
		}
	})
}

// measure runs do, and tells what it cost.
func (g *target) measure(do func()) (c cost) {
	g.got, g.ends = g.got[:0], g.ends[:0]
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began, used := time.Now(), processor()
	do()
	c.took = min(time.Since(began), processor()-used)
	runtime.ReadMemStats(&after)
	c.octets = after.TotalAlloc - before.TotalAlloc
	c.octets -= min(c.octets, g.idle)
	c.twice = g.answeredTwice()
	return c
}

// answeredTwice is the request that got two final answers that differ, "" for none.
func (g *target) answeredTwice() string {
	finals, from := map[string]string{}, 0
	for _, end := range g.ends {
		b := string(g.got[from:end])
		from = end
		if len(b) < 12 || !strings.HasPrefix(b, "SIP/2.0 ") || b[8] == '1' {
			continue
		}
		key := ""
		for line := range strings.SplitSeq(b, "\r\n") {
			if name, _, _ := strings.Cut(line, ":"); name == "Via" || name == "Call-ID" || name == "CSeq" || name == "From" {
				key += line + "\n"
			}
		}
		if one, found := finals[key]; found && one != b {
			return one + b
		}
		finals[key] = b
	}
	return ""
}

// processor is how long this process has had processors.
func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // of ourselves it does not fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// again is b as a request that was not sent before.
func (g *target) again(b []byte) []byte {
	g.asked++
	b = bytes.ReplaceAll(b, []byte(sip.Cookie), fmt.Appendf(nil, "%s%d", sip.Cookie, g.asked))
	return bytes.ReplaceAll(b, []byte("Call-ID: "), fmt.Appendf(nil, "Call-ID: %d", g.asked))
}

// The ways that an input comes.
const (
	byDatagram byte = iota // from 1001's phone
	byStream               // from a stranger
	byPartner              // from another office
	ways
)

// FuzzOffice: whatever comes to a running office, as a datagram from a registered phone, on a stranger's stream or from
// another office, it does not panic, gives no request two final answers, takes at most 5 ms, allocates at most 64 times the input and 64 KiB, and serves on. What
// is measured is measured again before it counts: other work of this process and machine is in it, too.
func FuzzOffice(f *testing.F) {
	for _, v := range verdicts(f) {
		b, err := os.ReadFile(filepath.Join("../testdata/sip", v.file))
		if err != nil {
			f.Fatal(err)
		}
		for by := range ways {
			f.Add(b, by)
		}
	}
	for _, method := range []string{"INVITE", "REGISTER", "OPTIONS", "MESSAGE", "INFO", "BYE", "CANCEL", "ACK", "NOTIFY", "SUBSCRIBE", "UPDATE", "REFER", "PUBLISH", "PRACK"} {
		head := method + " sip:1002@north.example SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bKseed;rport\r\nFrom: <sip:1001@north.example>;tag=a\r\nTo: <sip:1002@north.example>\r\n" +
			"Call-ID: seed\r\nCSeq: 1 " + method + "\r\nMax-Forwards: 70\r\nContact: <sip:1001@127.0.0.1:5062>\r\nEvent: reg\r\n"
		f.Add([]byte(head+"Content-Length: 0\r\n\r\n"), byDatagram)
		f.Add(fmt.Appendf(nil, "%sContent-Type: application/sdp\r\nSubject: x\r\nSession-ID: ab30317f1a784dc48ff824d0d3715d86\r\nl: %d\r\n\r\n%s", head, len(claimedSDP), claimedSDP), byDatagram)
		f.Add([]byte(strings.Replace(head, "To: <sip:1002@north.example>", "To: <sip:1002@north.example>;tag=b", 1)+"Content-Length: 0\r\n\r\n"), byStream)
	}
	f.Add([]byte("SIP/2.0 200 OK\r\nv: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKx\r\nf: <sip:a@b>;tag=1\r\nt: <sip:a@b>;tag=2\r\ni: 1\r\nCSeq: 1 INVITE\r\nm: <sip:a@b>\r\nl: 0\r\n\r\n"), byDatagram)
	f.Add([]byte("\r\n\r\n"), byStream)
	for _, said := range partnersSay {
		f.Add(siptest.Text(said), byPartner)
	}
	g := newTarget(f)
	f.Fuzz(func(t *testing.T, b []byte, by byte) {
		if len(b) > 65507 {
			return // more than a datagram holds
		}
		g.house.t = t
		if time.Since(g.fresh) > time.Minute {
			g.register()
		}
		sent := b
		send := [ways]func([]byte) cost{g.datagram, g.stream, g.partner}[by%ways]
		wrong := ""
		for range 6 {
			c := send(sent)
			limit := uint64(fuzzBytes + fuzzRatio*len(sent))
			switch {
			case c.twice != "":
				wrong = "two final answers:\n" + c.twice
			case c.took > fuzzTime:
				wrong = fmt.Sprintf("took %v, want at most %v", c.took, fuzzTime)
			case c.octets > limit:
				wrong = fmt.Sprintf("allocated %d octets, want at most %d", c.octets, limit)
			default:
				wrong = ""
			}
			if wrong == "" {
				break
			}
			sent = g.again(b)
		}
		g.datagram(nil) // it serves on
		if panicked := g.alarm.heard.Load(); panicked != nil {
			t.Fatalf("panic: %s", *panicked)
		}
		if wrong != "" {
			t.Errorf("%q, by %d: %s", b, by%ways, wrong)
		}
	})
}

// partnersSay is what offices say to each other, to begin from.
var partnersSay = []string{`
	REGISTER sip:north.example SIP/2.0
	Via: SIP/2.0/TLS 127.0.0.1:5067;branch=z9hG4bKp1
	Max-Forwards: 70
	From: <sip:1001@north.example>;tag=1
	To: <sip:1001@north.example>
	Call-ID: p1
	CSeq: 1 REGISTER
	P-Visited-Network-ID: south
	Roam-Digest: REGISTER;uri="sip:north.example"
	Authorization: Digest username="1001", realm="north.example", nonce="n", uri="sip:north.example", response="e", qop=auth, nc=00000001, cnonce="c"
	`, `
	REGISTER sip:north.example SIP/2.0
	Via: SIP/2.0/TLS 127.0.0.1:5067;branch=z9hG4bKp2
	Max-Forwards: 70
	From: <sip:1001@north.example>;tag=1
	To: <sip:1001@north.example>
	Call-ID: p2
	CSeq: 1 REGISTER
	P-Visited-Network-ID: south;call="x"
	Roam-Ticket: eyJ2IjoxLCJ1c2VyIjoiMTAwMUBub3J0aC5leGFtcGxlIn0.c2ln
	Contact: <sip:token@127.0.0.1:5067;transport=tls>;expires=300
	Content-Type: application/vnd.siproam.office+json

	{"version":1,"office":"south","domains":["south.example"],"switch":"sip:127.0.0.1:5067","registrar":"sip:127.0.0.1:5067"}
	`, `
	NOTIFY sip:127.0.0.1:5067 SIP/2.0
	Via: SIP/2.0/TLS 127.0.0.1:5067;branch=z9hG4bKp3
	Max-Forwards: 70
	From: <sip:2001@south.example>;tag=1
	To: <sip:2001@south.example>
	Call-ID: p3
	CSeq: 1 NOTIFY
	Event: reg
	Subscription-State: terminated;reason=noresource
	Contact: <sip:127.0.0.1:5067>
	Roam-Ticket: eyJ2IjoxLCJ1c2VyIjoiMjAwMUBzb3V0aC5leGFtcGxlIn0.c2ln
	Content-Type: application/reginfo+xml

	<?xml version="1.0"?><reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="0" state="partial"><registration aor="sip:2001@south.example" id="r1" state="terminated"><contact id="c1" state="terminated" event="deactivated"><uri>sip:2001@south.example</uri></contact></registration></reginfo>
	`, `
	INVITE sip:1002@north.example SIP/2.0
	Via: SIP/2.0/TLS 127.0.0.1:5067;branch=z9hG4bKp4
	Max-Forwards: 69
	From: "Two" <sip:2001@south.example>;tag=1
	To: <sip:1002@north.example>
	Call-ID: p4
	CSeq: 1 INVITE
	Contact: <sip:127.0.0.1:5067;transport=tls>
	P-Asserted-Identity: "Two" <sip:2001@south.example>, <tel:+15550002001>
	P-Charging-Vector: icid-value="x-1";orig-ioi=south
	Roam-Epoch: 1
	Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000
	Privacy: id
	Content-Type: application/sdp

	v=0
	o=- 1 1 IN IP4 192.0.2.9
	s=-
	c=IN IP4 192.0.2.9
	t=0 0
	m=audio 4000 RTP/AVP 0
	`, `
	OPTIONS sip:1001@north.example SIP/2.0
	Via: SIP/2.0/TLS 127.0.0.1:5067;branch=z9hG4bKp5
	Max-Forwards: 70
	From: <sip:south.example>;tag=1
	To: <sip:1001@north.example>
	Call-ID: p5
	CSeq: 1 OPTIONS
	Accept: application/vnd.siproam.office+json
	`, `
	MESSAGE sip:1002@north.example SIP/2.0
	Via: SIP/2.0/TLS 127.0.0.1:5067;branch=z9hG4bKp6
	Max-Forwards: 70
	From: <sip:2001@south.example>;tag=1
	To: <sip:1002@north.example>
	Call-ID: p6
	CSeq: 1 MESSAGE
	P-Asserted-Identity: <sip:2001@south.example>
	Content-Type: text/plain

	hello
	`}
