package transport

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

// The client here is written by hand from RFC 6455, so that two readings of it meet.

const (
	opContinue = 0x0
	opText     = 0x1
	opBinary   = 0x2
	opClose    = 0x8
	opPing     = 0x9
	opPong     = 0xA
	final      = 0x80
)

// shake is an opening handshake; lines replace the ones of their name, or are added.
func shake(lines ...string) string {
	all := []string{"Host: north.example:8088", "Upgrade: websocket", "Connection: keep-alive, Upgrade",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: sip", "Sec-WebSocket-Version: 13"}
	for _, l := range lines {
		name, _, _ := strings.Cut(l, ":")
		found := false
		for i := range all {
			if strings.HasPrefix(all[i], name+":") {
				all[i], found = l, true
			}
		}
		if !found {
			all = append(all, l)
		}
	}
	return "GET /sip HTTP/1.1\r\n" + strings.Join(all, "\r\n") + "\r\n\r\n"
}

// frame is one of a client: masked.
func frame(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

// browser is the client's end of an open WebSocket.
type browser struct {
	net.Conn
	r *bufio.Reader
}

// open shakes hands over c.
func open(t *testing.T, c net.Conn, lines ...string) *browser {
	t.Helper()
	say(t, c, shake(lines...))
	b := &browser{c, bufio.NewReader(c)}
	head := ""
	for !strings.HasSuffix(head, "\r\n\r\n") {
		l, err := b.r.ReadString('\n')
		if head += l; err != nil {
			t.Fatalf("handshake: got %q, %v", head, err)
		}
	}
	// The key and its answer are the example of RFC 6455 1.3.
	for _, want := range []string{"HTTP/1.1 101 ", "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", "\r\nSec-WebSocket-Protocol: sip\r\n"} {
		if !strings.Contains(head, want) {
			t.Fatalf("handshake: got %q, want %q in it", head, want)
		}
	}
	return b
}

// socket opens one to the i-th listener.
func (e *ear) socket(t *testing.T, i int, lines ...string) *browser {
	t.Helper()
	return open(t, e.dial(t, "tcp", i), lines...)
}

func (b *browser) say(t *testing.T, first byte, payload string) {
	t.Helper()
	say(t, b, string(frame(first, payload)))
}

// read is the next frame; op has the final bit.
func (b *browser) read() (first byte, payload string, err error) {
	var head [2]byte
	if _, err = io.ReadFull(b.r, head[:]); err != nil {
		return 0, "", err
	}
	n := int(head[1])
	if n == 126 {
		var long [2]byte
		if _, err = io.ReadFull(b.r, long[:]); err != nil {
			return 0, "", err
		}
		n = int(binary.BigEndian.Uint16(long[:]))
	}
	if n > 1<<16 || head[1]&0x80 != 0 {
		return 0, "", fmt.Errorf("frame %x of a server is masked or too long", head)
	}
	room := make([]byte, n)
	_, err = io.ReadFull(b.r, room)
	return head[0], string(room), err
}

// want reads a frame that must be first, with a payload that begins so.
func (b *browser) want(t *testing.T, first byte, begin string) string {
	t.Helper()
	got, payload, err := b.read()
	if err != nil || got != first || !strings.HasPrefix(payload, begin) {
		t.Fatalf("got frame %#x %.60q, %v, want %#x %q", got, payload, err, first, begin)
	}
	return payload
}

// wantEnd reads a Close with code, and the end.
func (b *browser) wantEnd(t *testing.T, code uint16) {
	t.Helper()
	payload := b.want(t, final|opClose, "")
	if len(payload) < 2 || binary.BigEndian.Uint16([]byte(payload)) != code {
		t.Errorf("Close: got %x, want code %d", payload, code)
	}
	if first, _, err := b.read(); err != io.EOF {
		t.Errorf("after the Close: got frame %#x, %v, want the end", first, err)
	}
}

func sockets(more ...string) Config {
	return Config{Listen: append([]string{"ws:127.0.0.1:0"}, more...), Names: []string{"north.example", "127.0.0.1"}, Origins: []string{"https://phone.example.org"}}
}

func TestWebSocketKinds(t *testing.T) {
	e := start(t, sockets())
	b := e.socket(t, 0, "Origin: https://phone.example.org")
	bare := strings.Replace(request("OPTIONS", "1"), "Content-Length: 0\r\n", "", 1) // RFC 7118 5: not needed
	b.say(t, final|opText, bare)
	b.want(t, final|opText, "SIP/2.0 200 OK\r\n")
	h := e.hear(t)
	if h.flow.Transport != roam.WS || h.flow.Conn == 0 || h.flow.Here != e.at(0) {
		t.Errorf("got %+v, want a WS flow to %s", h.flow, e.at(0))
	}
	if f, found := e.t.Find(h.flow.Flow); !found || f != h.flow {
		t.Errorf("Find: got %v %v, want the flow", f, found)
	}
	b.say(t, final|opBinary, request("OPTIONS", "2"))
	b.want(t, final|opBinary, "SIP/2.0 200 OK\r\n")
	e.hear(t)
	b.say(t, final|opText, request("OPTIONS", "3", "Subject: caf\xc3\xa9\r\n"))
	b.want(t, final|opText, "SIP/2.0 200 OK\r\n")
	if err := e.t.Send(h.flow, []byte("NOTIFY sip:a SIP/2.0\r\nSubject: \xe9\r\n\r\n")); err != nil { // cannot be text
		t.Fatal(err)
	}
	b.want(t, final|opBinary, "NOTIFY ")
	if n := e.counted("OPTIONS", "WS", "in"); n != 3 {
		t.Errorf("counted: got %d, want 3", n)
	}
}

func TestWebSocketConnectionsAreCounted(t *testing.T) {
	a := newAuthority(t)
	cfg := sockets("wss:127.0.0.1:0", "tcp:127.0.0.1:0")
	cfg.PhoneTLS = a.config("north.example")
	e := start(t, cfg)
	ws := e.socket(t, 0)
	secure, err := tls.Dial("tcp", e.at(1), &tls.Config{RootCAs: a.pool, ServerName: "north.example"})
	if err != nil {
		t.Fatal(err)
	}
	defer secure.Close()
	_ = secure.SetDeadline(time.Now().Add(5 * time.Second))
	wss := open(t, secure)
	wss.say(t, final|opText, request("OPTIONS", "1"))
	wss.want(t, final|opText, "SIP/2.0 200")
	if got := e.hear(t).flow.Transport; got != roam.WSS {
		t.Errorf("got %v, want WSS", got)
	}
	ws.say(t, final|opText, request("OPTIONS", "2"))
	ws.want(t, final|opText, "SIP/2.0 200")
	got := map[string]float64{}
	e.t.connections(func(v float64, labels ...string) { got[labels[0]] = v })
	if want := (map[string]float64{"TCP": 0, "TLS": 0, "WS": 1, "WSS": 1}); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("gauge: got %v, want %v", got, want)
	}
	if _, err := tls.Dial("tcp", e.at(1), &tls.Config{RootCAs: a.pool, ServerName: "north.example", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1: got a connection, want none")
	}
	wss.say(t, final|opClose, "\x03\xe8bye")
	wss.wantEnd(t, 1000)
	e.waitClosed(t)
}

// TestWebSocketCutAnywhere: how frames are cut into reads, and messages into frames, makes no difference.
func TestWebSocketCutAnywhere(t *testing.T) {
	e := start(t, sockets())
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 20 {
		b := e.socket(t, 0)
		var all []byte
		for i := range 5 {
			m := request("MESSAGE", fmt.Sprint("cut", i), "Subject: "+strings.Repeat("long ", i*100)+"\r\n")
			op := byte(opText)
			for m != "" { // into up to 5 fragments, with pings and empty ones between
				n := min(len(m), 1+random.IntN(1000))
				first := op
				if n == len(m) {
					first |= final
				}
				all = append(all, frame(first, m[:n])...)
				if m, op = m[n:], opContinue; m != "" {
					all = append(append(all, frame(final|opPing, "x")...), frame(opContinue, "")...)
				}
			}
		}
		for rest := all; len(rest) > 0; {
			n := min(len(rest), 1+random.IntN(400))
			say(t, b, string(rest[:n]))
			rest = rest[n:]
		}
		for i := range 5 {
			if got, want := e.hear(t).m.CallID(), fmt.Sprintf("cut%d@192.0.2.9", i); got != want {
				t.Fatalf("round %d: got %s, want %s", round, got, want)
			}
		}
		b.Close()
		e.waitClosed(t)
	}
	e.hearNothing(t)
}

func TestWebSocketKeepAlives(t *testing.T) {
	e := start(t, sockets())
	b := e.socket(t, 0)
	b.say(t, final|opPing, "are you there?")
	if got := b.want(t, final|opPong, ""); got != "are you there?" {
		t.Errorf("Pong: got %q, want what was asked", got)
	}
	b.say(t, final|opText, "\r\n\r\n")
	b.want(t, final|opText, "\r\n")
	b.say(t, final|opBinary, "\r\n\r\n")
	b.want(t, final|opBinary, "\r\n")
	for _, quiet := range []string{"", "\r\n", "\x00\x00"} {
		b.say(t, final|opText, quiet)
	}
	b.say(t, final|opPong, "nobody asked")
	b.say(t, final|opText, request("OPTIONS", "1"))
	b.want(t, final|opText, "SIP/2.0 200")
}

// TestWebSocketHandshakes: what is no handshake for SIP gets a short 4xx, and the connection ends.
func TestWebSocketHandshakes(t *testing.T) {
	for name, tt := range map[string]struct{ sent, want string }{
		"a page":            {"GET / HTTP/1.1\r\nHost: north.example\r\nAccept: text/html\r\n\r\n", "HTTP/1.1 426 Upgrade Required\r\n"},
		"POST":              {strings.Replace(shake(), "GET", "POST", 1), "HTTP/1.1 405 "},
		"HTTP/1.0":          {strings.Replace(shake(), "HTTP/1.1", "HTTP/1.0", 1), "HTTP/1.1 400 "},
		"no subprotocol":    {strings.Replace(shake(), "Sec-WebSocket-Protocol: sip\r\n", "", 1), "HTTP/1.1 400 "},
		"other subprotocol": {shake("Sec-WebSocket-Protocol: chat, sips"), "HTTP/1.1 400 "},
		"old version":       {shake("Sec-WebSocket-Version: 8"), "HTTP/1.1 426 "},
		"short key":         {shake("Sec-WebSocket-Key: c2hvcnQ="), "HTTP/1.1 400 "},
		"no key":            {strings.Replace(shake(), "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 1), "HTTP/1.1 400 "},
		"no Host":           {strings.Replace(shake(), "Host: north.example:8088\r\n", "", 1), "HTTP/1.1 400 "},
		"two Origins":       {strings.Replace(shake(), "Host:", "Origin: https://north.example\r\nOrigin: https://north.example\r\nHost:", 1), "HTTP/1.1 403 "},
		"a second request":  {shake() + shake(), "HTTP/1.1 400 "},
		"a body of frames":  {shake() + string(frame(final|opText, request("OPTIONS", "1"))), "HTTP/1.1 400 "},
		"SIP":               {request("OPTIONS", "1"), "HTTP/1.1 400 "},
		"TLS":               {"\x16\x03\x01\x02\x00\x01", "HTTP/1.1 400 "},
		"noise":             {"\x00\xff\xfe\r\n\r\n", "HTTP/1.1 400 "},
		"no end":            {"GET / HTTP/1.1\r\n" + strings.Repeat("X-Long: "+strings.Repeat("x", 100)+"\r\n", 100), "HTTP/1.1 431 "},
		"one long line":     {"GET /" + strings.Repeat("x", 10_000), "HTTP/1.1 431 "},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, sockets())
			c := e.dial(t, "tcp", 0)
			say(t, c, tt.sent)
			b, err := io.ReadAll(c)
			if len(b) == 0 && err != nil {
				t.Fatal(err)
			}
			if got := string(b); !strings.HasPrefix(got, tt.want) || len(got) > 400 {
				t.Errorf("got %q, want a short %q", got, tt.want)
			}
			e.hearNothing(t)
			if n := e.counted("websocket"); n != 1 {
				t.Errorf("counted: got %d, want 1", n)
			}
		})
	}
}

func TestWebSocketOrigins(t *testing.T) {
	cfg := sockets()
	e := start(t, cfg)
	for _, ours := range [][]string{{}, {"Origin: https://phone.example.org"}, {"Origin: HTTPS://Phone.Example.ORG"}, {"Origin: https://north.example"},
		{"Origin: http://127.0.0.1:8080", "Host: 127.0.0.1:8088"}} {
		e.socket(t, 0, ours...)
	}
	foreign := []string{"Origin: https://evil.example", "Origin: null", "Origin:", "Origin: http://phone.example.org", "Origin: https://phone.example.org:8443",
		"Origin: https://phone.example.org.evil.example", "Origin: https://evil.example/https://phone.example.org", "Origin: https://north.example.evil.example",
		"Origin: https://evilnorth.example", "Origin: https://north.example@evil.example", "Origin: https://phone.example.org@evil.example", "Origin: file://",
		"Origin: phone.example.org", "Origin: https://phone.example.org, https://evil.example", "Origin: https://127.0.0.1", "Origin: https://[::1]",
		"Origin: chrome-extension://abcdef", "Origin: https://xn--nrth-5qa.example", "Origin: https://phone.example.org%00.evil.example", "Origin: *"}
	if len(foreign) != 20 {
		t.Fatalf("got %d foreign origins, want 20", len(foreign))
	}
	for _, o := range foreign {
		c := e.dial(t, "tcp", 0)
		say(t, c, shake(o))
		wantPrefix(t, readAll(t, c), "HTTP/1.1 403 Forbidden\r\n")
	}
	// A name that somebody else has pointed here is the same host as the page, but none of ours.
	c := e.dial(t, "tcp", 0)
	say(t, c, shake("Origin: http://rebound.example", "Host: rebound.example:8088"))
	wantPrefix(t, readAll(t, c), "HTTP/1.1 403 Forbidden\r\n")
	if n := e.counted("websocket"); n != 21 {
		t.Errorf("counted: got %d, want 21", n)
	}
}

// TestWebSocketBrokenRules: each ends the connection with its code; nothing of it is served.
func TestWebSocketBrokenRules(t *testing.T) {
	m := request("OPTIONS", "1")
	long := request("OPTIONS", "1", "Subject: "+strings.Repeat("x", 65536)+"\r\n")
	unmasked := append([]byte{final | opText, 126, byte(len(m) >> 8), byte(len(m))}, m...)
	for name, tt := range map[string]struct {
		sent string
		code uint16
	}{
		"unmasked":               {string(unmasked), 1002},
		"unmasked ping":          {"\x89\x00", 1002},
		"reserved bit":           {string(frame(final|0x40|opText, m)), 1002},
		"reserved opcode":        {string(frame(final|0x3, m)), 1002},
		"continuation of none":   {string(frame(final|opContinue, m)), 1002},
		"message in a message":   {string(frame(opText, m[:10])) + string(frame(final|opText, m)), 1002},
		"ping in fragments":      {string(frame(opPing, "x")), 1002},
		"long ping":              {string(frame(final|opPing, strings.Repeat("x", 126))), 1002},
		"too long":               {string(frame(final|opText, long)), 1009},
		"too long in fragments":  {string(frame(opText, long[:40_000])) + string(frame(final|opContinue, long[40_000:])), 1009},
		"2^63 - 1 octets":        {"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", 1009},
		"2^63 - 1 in fragments":  {string(frame(opText, m[:10])) + "\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", 1009},
		"2^64 - 1 octets":        {"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", 1002},
		"text not UTF-8":         {string(frame(final|opText, request("OPTIONS", "1", "Subject: \xff\r\n"))), 1007},
		"text cut in a letter":   {string(frame(opText, strings.TrimSuffix(m, "\r\n\r\n")+"\r\nSubject: \xc3")) + string(frame(final|opContinue, "\r\n\r\n")), 1007},
		"garbage":                {string(frame(final|opBinary, "\x00\x01\x02\x03\xff\xfe garbage")), 1007},
		"nested JSON":            {string(frame(final|opText, strings.Repeat("[", 60_000))), 1007},
		"close with one octet":   {string(frame(final|opClose, "x")), 1002},
		"close with code 1005":   {string(frame(final|opClose, "\x03\xed")), 1002},
		"close that is not text": {string(frame(final|opClose, "\x03\xe8\xff\xff")), 1002},
		"close":                  {string(frame(final|opClose, "\x03\xe8")), 1000},
		"close without a code":   {string(frame(final|opClose, "")), 1000},
		"close of its own code":  {string(frame(final|opClose, "\x0f\xa0")), 4000},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, sockets())
			b := e.socket(t, 0)
			say(t, b, tt.sent+string(frame(final|opText, request("OPTIONS", "smuggled"))))
			b.wantEnd(t, tt.code)
			b.Close()
			e.waitClosed(t)
			e.hearNothing(t)
		})
	}
}

// TestWebSocketOneMessageInEach: octets behind the body that Content-Length names are another message to
// somebody (RFC 7118 5): 400, and the end.
func TestWebSocketOneMessageInEach(t *testing.T) {
	for _, tt := range []struct{ sent, want string }{
		{request("OPTIONS", "1") + request("OPTIONS", "smuggled"), "SIP/2.0 400 "},
		{strings.Replace(request("OPTIONS", "1"), "Content-Length: 0", "Content-Length: 9", 1), "SIP/2.0 400 "},
	} {
		e := start(t, sockets())
		b := e.socket(t, 0)
		b.say(t, final|opText, tt.sent)
		b.want(t, final|opText, tt.want)
		b.wantEnd(t, 1007)
		e.hearNothing(t)
	}
}

// TestWebSocketGoesOnAfterAMistake: what is malformed, but surely one message, ends nothing.
func TestWebSocketGoesOnAfterAMistake(t *testing.T) {
	e := start(t, sockets())
	b := e.socket(t, 0)
	b.say(t, final|opText, strings.Replace(request("INVITE", "1"), "Max-Forwards: 70", "Max-Forwards: many", 1))
	b.want(t, final|opText, "SIP/2.0 400")
	b.say(t, final|opText, request("OPTIONS", "2"))
	b.want(t, final|opText, "SIP/2.0 200")
	b.say(t, final|opText, shake()) // no SIP, as on any stream
	b.wantEnd(t, 1007)
}

func TestWebSocketDeadlines(t *testing.T) {
	for name, tt := range map[string]struct {
		set  func(*limits)
		talk func(t *testing.T, e *ear) net.Conn
	}{
		"no handshake": {func(l *limits) { l.first = 50 * time.Millisecond }, func(t *testing.T, e *ear) net.Conn { return e.dial(t, "tcp", 0) }},
		"handshake that drips": {func(l *limits) { l.first = 100 * time.Millisecond }, func(t *testing.T, e *ear) net.Conn {
			c := e.dial(t, "tcp", 0)
			for _, octet := range strings.TrimSuffix(shake(), "\r\n") {
				if _, err := io.WriteString(c, string(octet)); err != nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
			return c
		}},
		"no message": {func(l *limits) { l.first = 50 * time.Millisecond }, func(t *testing.T, e *ear) net.Conn { return e.socket(t, 0) }},
		"fragments for ever": {func(l *limits) { l.message = 100 * time.Millisecond }, func(t *testing.T, e *ear) net.Conn {
			b := e.socket(t, 0)
			b.say(t, opText, "OPTIONS ")
			for {
				if _, err := b.Write(frame(opContinue, "x")); err != nil {
					return b
				}
				time.Sleep(time.Millisecond)
			}
		}},
		"a frame that drips": {func(l *limits) { l.message = 100 * time.Millisecond }, func(t *testing.T, e *ear) net.Conn {
			b := e.socket(t, 0)
			for _, octet := range frame(final|opText, request("OPTIONS", strings.Repeat("slow", 200))) {
				if _, err := b.Write([]byte{octet}); err != nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
			return b
		}},
		"half open": {func(l *limits) { l.pulse, l.first = 50*time.Millisecond, 300*time.Millisecond }, func(t *testing.T, e *ear) net.Conn {
			b := e.socket(t, 0)
			b.say(t, final|opText, request("OPTIONS", "1"))
			b.want(t, final|opText, "SIP/2.0 200")
			b.want(t, final|opPing, "") // and no Pong
			return b
		}},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, sockets(), func(tr *Transport) { tt.set(&tr.limits) })
			readAllOrReset(t, tt.talk(t, e))
		})
	}
}

// TestWebSocketPulse: who answers our Pings stays, though a page cannot ping by itself.
func TestWebSocketPulse(t *testing.T) {
	e := start(t, sockets(), func(tr *Transport) { tr.limits.pulse = 20 * time.Millisecond })
	b := e.socket(t, 0)
	b.say(t, final|opText, request("OPTIONS", "1"))
	b.want(t, final|opText, "SIP/2.0 200")
	for range 5 {
		b.say(t, final|opPong, b.want(t, final|opPing, ""))
	}
	b.say(t, final|opText, request("OPTIONS", "2"))
	for {
		first, payload, err := b.read()
		if err != nil {
			t.Fatal(err)
		}
		if first == final|opText {
			wantPrefix(t, payload, "SIP/2.0 200")
			return
		}
	}
}

func TestWebSocketCaps(t *testing.T) {
	cfg := sockets()
	cfg.MaxConnsPerSource = 2
	e := start(t, cfg)
	first := e.socket(t, 0)
	e.socket(t, 0)
	if got := readAllLenient(e.dial(t, "tcp", 0)); got != "" {
		t.Errorf("third: got %q, want it closed", got)
	}
	if n := e.counted("connection_limit"); n != 1 {
		t.Errorf("counted: got %d, want 1", n)
	}
	first.Close()
	e.waitClosed(t)
	eventually(t, "a place", func() bool {
		c, err := net.Dial("tcp", e.at(0))
		if err != nil {
			return false
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(c, shake())
		n, _ := c.Read(make([]byte, 100))
		return n > 0
	})
}

// TestWebSocketGoesAway: the end of the office is said, behind what was queued.
func TestWebSocketGoesAway(t *testing.T) {
	e := start(t, sockets())
	b := e.socket(t, 0)
	b.say(t, final|opText, request("OPTIONS", "1"))
	b.want(t, final|opText, "SIP/2.0 200")
	if err := e.t.Send(e.hear(t).flow, []byte("BYE sip:a SIP/2.0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	e.stop()
	b.want(t, final|opText, "BYE ")
	b.wantEnd(t, 1001)
}

// TestWebSocketHoldsNothing: 200 phones that announce giant frames or break off within fragments
// cost less than what one message may have.
func TestWebSocketHoldsNothing(t *testing.T) {
	e := start(t, sockets())
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 200 {
		b := e.socket(t, 0)
		say(t, b, "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00")
		b.wantEnd(t, 1009)
		b.Close()
		e.waitClosed(t)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("heap grew by %d octets, want less than 1 MiB", grown)
	}
}

// FuzzWebSocket: whatever comes, and however it is cut, the same messages come out, and none is
// longer than a message may be.
func FuzzWebSocket(f *testing.F) {
	m := request("OPTIONS", "1")
	for _, seed := range [][]byte{frame(final|opText, m), frame(final|opPing, "x"), bytes.Join([][]byte{frame(opText, m[:9]), frame(final|opPing, ""), frame(final|opContinue, m[9:])}, nil),
		frame(final|opClose, "\x03\xe8"), []byte("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"), frame(final|opText, "\r\n\r\n")} {
		f.Add(seed, uint8(3))
	}
	f.Fuzz(func(t *testing.T, all []byte, cut uint8) {
		once, pieces := unframe(all, len(all)), unframe(all, int(cut)+1)
		if once != pieces {
			t.Errorf("in one: %q, in pieces of %d: %q", once, int(cut)+1, pieces)
		}
	})
}

// unframe is all that a webSocket makes of all, fed n octets at a time.
func unframe(all []byte, n int) string {
	w := newWebSocket()
	var out strings.Builder
	for len(all) > 0 {
		n := min(n, len(all))
		w.Feed(all[:n])
		all = all[n:]
		for {
			msg, answer, err := w.Next()
			if err != nil {
				fmt.Fprintf(&out, "end: %v", err)
				return out.String()
			}
			if msg == nil && answer == nil {
				break
			}
			if len(msg) > 65535 {
				return "a message that is too long"
			}
			fmt.Fprintf(&out, "%q %q\n", msg, answer)
		}
	}
	return out.String()
}
