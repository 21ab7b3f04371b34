package phone

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// line is the phone at one place: its sockets, and the transactions that go over them.
type line struct {
	p       *Phone
	proxy   string
	host    string // told in Via and Contact
	port    int
	udp     *net.UDPConn
	tcp     net.Listener
	broken  chan struct{}  // the connection to the proxy is lost; full: it is known
	done    chan struct{}  // closed by close
	running sync.WaitGroup // readers, calls, and what they started

	mu      sync.Mutex // guards the fields below
	closed  bool
	streams map[*stream]bool
	up      *stream                       // the connection to the proxy
	asked   map[string]chan *sip.Response // client transactions under way, by key
	acks    map[string]*sip.Request       // of refused INVITEs, for answers that come again
	served  map[string]*served            // server transactions, by key
	swept   time.Time
}

// hop is where a message goes: a UDP address, or a connection.
type hop struct {
	addr   *net.UDPAddr
	stream *stream
}

// stream is one TCP connection.
type stream struct {
	net.Conn
	mu sync.Mutex // one writer at a time
}

// open opens the sockets; reading begins at once.
func (p *Phone) open(proxy string) (*line, error) {
	l := &line{
		p: p, proxy: proxy, done: make(chan struct{}), broken: make(chan struct{}, 1), streams: map[*stream]bool{}, swept: time.Now(),
		asked: map[string]chan *sip.Response{}, acks: map[string]*sip.Request{}, served: map[string]*served{},
	}
	if p.cfg.TCP {
		ln, err := net.Listen("tcp", p.cfg.Listen)
		if err != nil {
			return nil, err
		}
		l.tcp = ln
		l.host, l.port = told(ln.Addr(), proxy)
		l.running.Go(l.accept)
		return l, nil
	}
	addr, err := net.ResolveUDPAddr("udp", p.cfg.Listen)
	if err != nil {
		return nil, err
	}
	if l.udp, err = p.cfg.Socket(addr); err != nil {
		return nil, err
	}
	l.host, l.port = told(l.udp.LocalAddr(), proxy)
	l.running.Go(l.readUDP)
	return l, nil
}

// told is the host and port that others reach a socket at: the address towards the proxy when it is
// bound to every address.
func told(local net.Addr, proxy string) (host string, port int) {
	ip := net.IP(nil)
	switch a := local.(type) {
	case *net.UDPAddr:
		ip, port = a.IP, a.Port
	case *net.TCPAddr:
		ip, port = a.IP, a.Port
	}
	if ip.IsUnspecified() {
		if c, err := net.Dial("udp", proxy); err == nil { // sends nothing
			ip = c.LocalAddr().(*net.UDPAddr).IP
			_ = c.Close()
		}
	}
	return ip.String(), port
}

// close ends the line: sockets first, then whatever ran on them.
func (l *line) close() {
	l.mu.Lock()
	l.closed = true
	open := l.streams
	l.streams = nil
	l.mu.Unlock()
	close(l.done)
	if l.udp != nil {
		_ = l.udp.Close()
	}
	if l.tcp != nil {
		_ = l.tcp.Close()
	}
	for s := range open {
		_ = s.Close()
	}
	l.unplug()
	l.running.Wait()
	l.unplug() // what a reader was still taking in
}

// unplug ends the calls of this line without a word.
func (l *line) unplug() {
	for _, c := range l.p.all() {
		if c.l == l {
			c.end("unplugged")
		}
	}
}

// spawn runs fn; close waits for it. Once the line is closed it does nothing.
func (l *line) spawn(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.running.Go(fn)
	}
}

// transport is "UDP" or "TCP".
func (l *line) transport() string {
	if l.udp != nil {
		return "UDP"
	}
	return "TCP"
}

// contact is our Contact in dialogs and registrations.
func (l *line) contact() string {
	uri := sip.Uri{Scheme: "sip", User: l.p.aor.User, Host: l.host, Port: l.port}
	if l.udp == nil {
		uri.UriParams.Add("transport", "tcp")
	}
	value := "<" + uri.String() + ">"
	if l.p.cfg.Instance != "" {
		value += `;+sip.instance="<` + l.p.cfg.Instance + `>"`
	}
	return value
}

// maxMessage is the longest SIP message over UDP.
const maxMessage = 65535

func (l *line) readUDP() {
	parser := sip.NewParser()
	buf := make([]byte, maxMessage)
	for {
		n, from, err := l.udp.ReadFromUDP(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n <= 4 { // keep-alives
			continue
		}
		if msg, err := parser.ParseSIP(append([]byte(nil), buf[:n]...)); err == nil {
			l.receive(msg, hop{addr: from}, from.String())
		}
	}
}

func (l *line) accept() {
	for {
		c, err := l.tcp.Accept()
		if err != nil {
			return
		}
		l.adopt(c)
	}
}

// adopt reads a connection until it ends; nil when the line has ended.
func (l *line) adopt(c net.Conn) *stream {
	s := &stream{Conn: c}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = c.Close()
		return nil
	}
	l.streams[s] = true
	l.running.Go(func() { l.readTCP(s) })
	return s
}

func (l *line) readTCP(s *stream) {
	parser := sip.NewParser().NewSIPStream()
	defer parser.Close()
	defer l.lost(s)
	buf := make([]byte, 8192)
	for {
		n, err := s.Read(buf)
		if err != nil {
			return
		}
		if string(buf[:n]) == "\r\n\r\n" { // RFC 5626 3.5.1
			_ = s.write([]byte("\r\n"))
			continue
		}
		if _, err := parser.Write(buf[:n]); err != nil {
			return
		}
		for parser.Buffer().Len() > 0 {
			msg, _, err := parser.ParseNext()
			if errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			if err != nil {
				return
			}
			l.receive(msg, hop{stream: s}, s.RemoteAddr().String())
		}
	}
}

// lost forgets a connection that has ended.
func (l *line) lost(s *stream) {
	_ = s.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, s)
	if l.up == s {
		l.up = nil
		select {
		case l.broken <- struct{}{}:
		default:
		}
	}
}

// writeTimeout bounds how long a stuck peer can hold a write.
const writeTimeout = 5 * time.Second

func (s *stream) write(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := s.Write(b)
	return err
}

// toProxy is the way to the proxy; it dials when there is no connection.
func (l *line) toProxy() (hop, error) {
	if l.udp != nil {
		addr, err := net.ResolveUDPAddr("udp", l.proxy)
		return hop{addr: addr}, err
	}
	l.mu.Lock()
	s := l.up
	l.mu.Unlock()
	if s != nil {
		return hop{stream: s}, nil
	}
	c, err := net.DialTimeout("tcp", l.proxy, writeTimeout)
	if err != nil {
		return hop{}, err
	}
	if s = l.adopt(c); s == nil {
		return hop{}, ErrNotRunning
	}
	l.mu.Lock()
	l.up = s
	l.mu.Unlock()
	return hop{stream: s}, nil
}

// send writes one message.
func (l *line) send(msg sip.Message, to hop) error {
	l.p.log(msg, "out")
	b := []byte(msg.String())
	if to.stream != nil {
		return to.stream.write(b)
	}
	if len(b) > maxMessage {
		return fmt.Errorf("message of %d octets", len(b))
	}
	_, err := l.udp.WriteToUDP(b, to.addr)
	return err
}

// log is one line for each message: no body and no credentials in it.
func (p *Phone) log(msg sip.Message, direction string) {
	e := p.cfg.Log.Debug()
	if !e.Enabled() || msg.CSeq() == nil || msg.CallID() == nil {
		return
	}
	e = e.Str("direction", direction).Str("method", string(msg.CSeq().MethodName)).Uint32("cseq", msg.CSeq().SeqNo).Str("call_id", msg.CallID().Value())
	if res, ok := msg.(*sip.Response); ok {
		e = e.Int("status", res.StatusCode)
	}
	e.Msg("sip message")
}
