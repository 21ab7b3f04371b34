package e2e

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// webSocket is the phone's end of a WebSocket (RFC 6455), written by hand: a Write is one message, a Read
// is one. Its address is what a web page knows of its own: nothing (RFC 7118 5.2.1).
type webSocket struct {
	net.Conn
	r    *bufio.Reader
	name webName
}

type webName string

func (webName) Network() string  { return "ws" }
func (n webName) String() string { return string(n) }

func (w *webSocket) LocalAddr() net.Addr { return w.name }

// openWebSocket shakes hands as a page of origin does, or as a program when that is "".
func openWebSocket(t *testing.T, at, origin string) (*webSocket, error) {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if origin != "" {
		origin = "Origin: " + origin + "\r\n"
	}
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%sSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n", at, origin)
	w := &webSocket{Conn: c, r: bufio.NewReader(c), name: webName(token() + ".invalid")}
	head := ""
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := w.r.ReadString('\n')
		if head += line; err != nil {
			return nil, err
		}
	}
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") || !strings.Contains(head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
		return nil, fmt.Errorf("%s", head)
	}
	return w, nil
}

// Write sends b as one text message, masked.
func (w *webSocket) Write(b []byte) (int, error) {
	f := []byte{0x81, 0x80 | 126}
	f = binary.BigEndian.AppendUint16(f, uint16(len(b)))
	f = append(f, 1, 2, 3, 4)
	for i, c := range b {
		f = append(f, c^byte(i%4+1))
	}
	_, err := w.Conn.Write(f)
	return len(b), err
}

// Read is the next message; a Close is io.EOF.
func (w *webSocket) Read(b []byte) (int, error) {
	var head [4]byte
	if _, err := io.ReadFull(w.r, head[:2]); err != nil {
		return 0, err
	}
	n := int(head[1])
	if n == 126 {
		if _, err := io.ReadFull(w.r, head[2:]); err != nil {
			return 0, err
		}
		n = int(binary.BigEndian.Uint16(head[2:]))
	}
	if head[0] == 0x88 {
		return 0, io.EOF
	}
	return io.ReadFull(w.r, b[:n])
}

// TestWebSocketPhone: alice of north visits south with a phone behind a WebSocket. She calls and is called by
// bob's, which speaks UDP at north; plain RTP passes both ways. When her connection breaks and comes
// back she is called by the new one, and hears the end of a call that has outlived the old one.
func TestWebSocketPhone(t *testing.T) {
	at := freeAddress(t)
	l := startThree(t, func(office, yaml string) string {
		if office == "south" {
			yaml = strings.Replace(yaml, "\nlisten:\n", "\nlisten:\n  - ws:"+at+"\n", 1)
		}
		return yaml
	})
	if _, err := openWebSocket(t, at, "https://evil.example"); err == nil || !strings.Contains(err.Error(), "403 Forbidden") {
		t.Errorf("a foreign page: got %v, want 403", err)
	}
	alice := l.webAgent(at, "1001@north.example")
	alice.online()
	bob := l.agent("north", "1002@north.example").online()
	l.is("1001", "south")

	ear, mouth := udp(t), udp(t) // alice's, bob's
	invite := alice.request("INVITE", "sip:1002@north.example", sdp("127.0.0.1", ear.port), "Contact: "+alice.contact(""))
	alice.send(invite)
	rung := bob.called("INVITE")
	bob.answer(rung, "200 OK", sdp("127.0.0.1", mouth.port))
	ok := alice.final(invite)
	if ok.status() != 200 {
		t.Fatalf("alice calls bob: got %s, want 200", ok.first())
	}
	alice.send(alice.within("ACK", invite, ok, ""))
	bob.called("ACK")
	if via := ok.header("Via"); !strings.HasPrefix(via, "SIP/2.0/WS ") || !strings.Contains(via, ";received=127.0.0.1") {
		t.Errorf("Via of her answer: got %q, want WS and received", via)
	}
	if c := ok.header("Contact"); !strings.Contains(c, ";transport=ws") {
		t.Errorf("Contact of her answer: got %q, want transport=ws", c)
	}
	ear.talks(t, ok.body(), mouth, rung.body())
	hang(alice, bob, invite, ok)

	alice.c.Close()
	again := l.webAgent(at, "1001@north.example")
	again.id = alice.id
	again.online()
	for _, a := range []struct {
		caller, callee *agent
		uri            string
	}{{bob, again, "sip:1001@north.example"}, {again, bob, "sip:1002@north.example"}} {
		invite, ok, rung := answered(a.caller, a.callee, a.uri)
		if a.callee == again && !strings.HasPrefix(rung.header("Via"), "SIP/2.0/WS ") {
			t.Errorf("Via of the INVITE she gets: got %q, want WS", rung.header("Via"))
		}
		hang(a.caller, a.callee, invite, ok)
	}

	invite, ok, _ = answered(bob, again, "sip:1001@north.example")
	again.c.Close() // in the midst of the call
	third := l.webAgent(at, "1001@north.example")
	third.id, third.seq = again.id, again.seq
	third.online()
	hang(bob, third, invite, ok) // BYE finds her where she is now
}

// webAgent is an agent behind a WebSocket.
func (l *trio) webAgent(at, user string) *agent {
	l.t.Helper()
	w, err := openWebSocket(l.t, at, "")
	if err != nil {
		l.t.Fatal(err)
	}
	a := l.agent("south", user)
	a.c, a.in = w, nil
	return a
}

// freeAddress is one that nobody listens on by TCP.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// rtpEnd is one end of a call's audio.
type rtpEnd struct {
	net.PacketConn
	port string
}

func udp(t *testing.T) *rtpEnd {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	return &rtpEnd{c, port}
}

// talks has RTP pass from each end to the other by the addresses that the office gave them.
func (r *rtpEnd) talks(t *testing.T, mine string, other *rtpEnd, its string) {
	t.Helper()
	for _, way := range []struct {
		from, to *rtpEnd
		sdp      string
	}{{r, other, mine}, {other, r, its}} {
		_, port, _ := strings.Cut(way.sdp, "m=audio ")
		port, _, _ = strings.Cut(port, " ")
		to, err := net.ResolveUDPAddr("udp", "127.0.0.1:"+port)
		if err != nil || port == way.to.port {
			t.Fatalf("got the SDP %q, want a port of the office's", way.sdp)
		}
		said, heard := []byte{0x80, 0, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4, 'v', 'o', 'i', 'c', 'e'}, make([]byte, 100)
		for end := time.Now().Add(5 * time.Second); ; { // the first may be early
			if _, err := way.from.WriteTo(said, to); err != nil {
				t.Fatal(err)
			}
			way.to.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			n, _, err := way.to.ReadFrom(heard)
			if err == nil && strings.HasSuffix(string(heard[:n]), "voice") {
				break
			}
			if !os.IsTimeout(err) || time.Now().After(end) {
				t.Fatalf("audio: got %q, %v, want what was said", heard[:n], err)
			}
		}
	}
}
