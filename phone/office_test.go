package phone

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"hash"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// office is a registrar written by hand: text in, text out.
type office struct {
	t         *testing.T
	udp       net.PacketConn
	tcp       net.Listener
	algorithm string
	password  string
	expires   int
	brief     int // Min-Expires, answered with 423 when less is asked for
	refuse    int // a status that every REGISTER is refused with
	stale     int // so many right answers are called stale

	mu       sync.Mutex
	requests []string // in order
	nonce    int
	conns    []net.Conn
}

func newOffice(t *testing.T, change ...func(*office)) *office {
	o := &office{t: t, algorithm: "MD5", password: "secret", expires: 300}
	for _, c := range change {
		c(o)
	}
	for tries := 0; o.tcp == nil; tries++ { // both on one port
		var err error
		if o.udp, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if o.tcp, err = net.Listen("tcp", o.udp.LocalAddr().String()); err != nil {
			_ = o.udp.Close()
			if tries == 50 {
				t.Fatal(err)
			}
		}
	}
	var running sync.WaitGroup
	running.Go(func() {
		buf := make([]byte, 65535)
		for {
			n, from, err := o.udp.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := o.serve(string(buf[:n])); answer != "" {
				_, _ = o.udp.WriteTo([]byte(answer), from)
			}
		}
	})
	running.Go(func() {
		for {
			c, err := o.tcp.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.conns = append(o.conns, c)
			o.mu.Unlock()
			running.Go(func() { o.serveConn(c) })
		}
	})
	t.Cleanup(func() {
		_ = o.udp.Close()
		_ = o.tcp.Close()
		o.hangUp()
		running.Wait()
	})
	return o
}

func (o *office) addr() string { return o.udp.LocalAddr().String() }

// hangUp closes all TCP connections.
func (o *office) hangUp() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.conns {
		_ = c.Close()
	}
	o.conns = nil
}

func (o *office) serveConn(c net.Conn) {
	buf := make([]byte, 65535)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if answer := o.serve(string(buf[:n])); answer != "" {
			_, _ = c.Write([]byte(answer))
		}
	}
}

func header(msg, name string) string {
	m := regexp.MustCompile(`(?im)^` + name + `: *(.*?)\r$`).FindStringSubmatch(msg)
	if m == nil {
		return ""
	}
	return m[1]
}

func param(header, name string) string {
	m := regexp.MustCompile(`(?:[ ,]|^)` + name + `="?([^",]*)`).FindStringSubmatch(header)
	if m == nil {
		return ""
	}
	return m[1]
}

func hexHash(algorithm, s string) string {
	var h hash.Hash = md5.New()
	if algorithm == "SHA-256" {
		h = sha256.New()
	}
	h.Write([]byte(s))
	return fmt.Sprintf("%x", h.Sum(nil))
}

// legal checks an answer to a challenge as RFC 7616 3.4.1 has it.
func (o *office) legal(method, auth string) bool {
	if auth == "" || param(auth, "nonce") != fmt.Sprintf("n%d", o.nonce) {
		return false
	}
	h := func(s string) string { return hexHash(o.algorithm, s) }
	a1 := h(param(auth, "username") + ":north.example:" + o.password)
	a2 := h(method + ":" + param(auth, "uri"))
	want := h(strings.Join([]string{a1, param(auth, "nonce"), param(auth, "nc"), param(auth, "cnonce"), "auth", a2}, ":"))
	return param(auth, "response") == want
}

func (o *office) serve(msg string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.requests = append(o.requests, msg)
	method, _, _ := strings.Cut(msg, " ")
	answer := func(status string, more ...string) string {
		lines := []string{"SIP/2.0 " + status, "Via: " + header(msg, "Via"), "From: " + header(msg, "From"),
			"To: " + header(msg, "To") + ";tag=office", "Call-ID: " + header(msg, "Call-ID"), "CSeq: " + header(msg, "CSeq")}
		lines = append(append(lines, more...), "Content-Length: 0", "", "")
		return strings.Join(lines, "\r\n")
	}
	challenge := func(more string) string {
		return answer("401 Unauthorized",
			`WWW-Authenticate: Digest realm="north.example", nonce="x", algorithm=UNKNOWN-1, qop="auth"`,
			fmt.Sprintf(`WWW-Authenticate: Digest realm="north.example", nonce="n%d", algorithm=%s, qop="auth-int, auth"%s`, o.nonce, o.algorithm, more))
	}
	var asked int
	_, _ = fmt.Sscanf(header(msg, "Expires"), "%d", &asked)
	switch {
	case method == "ACK" || method == "SIP/2.0":
		return ""
	case method == "INVITE" && !o.legal(method, header(msg, "Proxy-Authorization")):
		o.nonce++
		return answer("407 Proxy Authentication Required", fmt.Sprintf(`Proxy-Authenticate: Digest realm="north.example", nonce="n%d", algorithm=%s, qop="auth"`, o.nonce, o.algorithm))
	case method == "INVITE":
		return answer("404 Not Found")
	case o.refuse != 0:
		return answer(fmt.Sprintf("%d Refused", o.refuse))
	case asked != 0 && asked < o.brief:
		return answer("423 Interval Too Brief", fmt.Sprintf("Min-Expires: %d", o.brief))
	case !o.legal(method, header(msg, "Authorization")):
		o.nonce++
		return challenge("")
	case o.stale > 0:
		o.stale--
		o.nonce++
		return challenge(", stale=true")
	}
	contact := header(msg, "Contact")
	port := regexp.MustCompile(`:(\d+)[>;]`).FindStringSubmatch(contact)[1]
	return answer("200 OK", fmt.Sprintf("Contact: <sip:someone@192.0.2.9:%s>;expires=9999, %s;expires=%d", port, contact, min(asked, o.expires)))
}

// of is the requests with this method so far.
func (o *office) of(method string) (list []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.requests {
		if strings.HasPrefix(r, method+" ") {
			list = append(list, r)
		}
	}
	return list
}

// start runs a phone until the test ends, and checks that nothing of it is left.
func start(t *testing.T, cfg Config, change ...func(*Phone)) (*Phone, context.CancelFunc) {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(p)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	var once sync.Once
	end := func() {
		once.Do(func() {
			stop()
			if err := <-ended; err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
	t.Cleanup(end)
	if _, err := p.current(deadline(t)); err != nil {
		t.Fatal(err)
	}
	return p, end
}

func deadline(t *testing.T) context.Context {
	ctx, stop := context.WithTimeout(context.Background(), 15*time.Second)
	t.Cleanup(stop)
	return ctx
}

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s", what)
		}
	}
}

func north(o *office) Config {
	return Config{AOR: "sip:1001@north.example", Login: "1001", Password: "secret", Proxy: o.addr(), Instance: "urn:uuid:00000000-0000-4000-8000-000000001001"}
}

// freeAddr is an address nobody listens on now.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// pair is two phones that are each other's proxy.
func pair(t *testing.T, tcp bool, answer Behaviour, change ...func(*Phone)) (a, b *Phone) {
	t.Helper()
	one, two := freeAddr(t), freeAddr(t)
	b, _ = start(t, Config{AOR: "sip:1002@" + two, Proxy: one, Listen: two, TCP: tcp, Tone: 600, Answer: answer}, change...)
	a, _ = start(t, Config{AOR: "sip:1001@" + one, Proxy: two, Listen: one, TCP: tcp, Tone: 440}, change...)
	return a, b
}
