package transport

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

const (
	maxPending = 256 << 10 // octets that wait for a slow peer; one more message and it is closed
	maxKept    = 16 << 10  // octets of buffer an idle connection keeps
	readSize   = 4 << 10
)

var pong = []byte("\r\n") // RFC 5626 4.4.1

// conn is one connection: a goroutine that reads, which owns it, and one that writes.
type conn struct {
	t    *Transport
	kind kind
	flow *sip.Flow
	raw  *net.TCPConn
	nc   net.Conn // raw, or TLS over it
	in   unframer // the reader's alone
	out  framer

	code     ws.StatusCode // why the reader ends a WebSocket; 0: for what was in a message
	handled  int           // messages and pings read since the last pause; the reader's alone
	stranger bool          // an office that is no partner: its first request is refused, and that is all
	heard    atomic.Int64  // Unix nanoseconds, when anything came last

	wake chan struct{} // one place: pending or ended changed

	mu      sync.Mutex // guards what follows
	pending []byte     // at most maxPending
	ended   bool       // nothing more is taken; the writer writes pending and ends
	retired time.Time  // when the reader ends, another connection having taken its place; zero: it has not
}

// newConn is one whose messages are those of a stream.
func newConn(t *Transport, k kind, nc *net.TCPConn) *conn {
	s := &stream{sip.Framer{Client: k == dialledConn}}
	return &conn{t: t, kind: k, raw: nc, nc: nc, in: s, out: s, wake: make(chan struct{}, 1)}
}

// run reads and writes until the connection ends.
func (c *conn) run() {
	c.log("connection.open", nil)
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	err := c.read()
	if !c.isEnded() {
		c.cut()
	}
	<-written
	c.raw.Close()
	c.log("connection.closed", err)
}

func (c *conn) log(event string, err error) {
	e := c.t.log.Debug()
	if o := c.flow.Office(); o != "" {
		e = c.t.log.Info().Str("partner", string(o))
	}
	if err != io.EOF {
		e = e.AnErr("err", err)
	}
	e.Str("event", event).Stringer("remote_ip", c.flow.Remote.Addr()).Uint16("remote_port", c.flow.Remote.Port()).
		Stringer("transport", c.flow.Transport).Msg("connection")
}

// waiting is what a reader waits for.
type waiting uint8

const (
	forFirst waiting = iota // the first octets of a stranger
	forNext                 // the next message
	forLife                 // the answer to a keep-alive of ours
	forRest                 // of a message that has begun
)

// read hands over what comes until the connection ends, or must be ended.
func (c *conn) read() error {
	room := make([]byte, readSize)
	wait := forFirst
	if c.kind != dialledConn {
		c.readWithin(c.t.limits.first)
	}
	for {
		n, err := c.nc.Read(room)
		if n > 0 {
			c.heard.Store(time.Now().UnixNano())
			c.in.Feed(room[:n])
			whole, closing := c.feed()
			if closing {
				return c.lastWords()
			}
			if wait == forRest && whole > 0 {
				wait = forNext
			}
			c.pause()
		}
		switch partial := c.in.Partial(); {
		case err != nil && (wait != forNext || !c.asked(err)):
			return err
		case err != nil:
			wait = forLife
			c.readWithin(c.t.limits.first)
		case !partial:
			wait = forNext
			c.readIdle()
		case wait != forRest: // a message must not take for ever to come, however its octets drip
			wait = forRest
			c.readWithin(c.t.limits.message)
		}
	}
}

// asked says that err was silence, and the other end has been asked whether it lives.
func (c *conn) asked(err error) bool {
	ping := c.out.ask()
	if ping == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	return c.queue(ping) == nil
}

// pause lets a source that sends too much wait: its octets stay where they are until TCP stops it.
func (c *conn) pause() {
	n := c.handled
	if c.handled = 0; c.flow.Office() != "" || c.kind == dialledConn {
		return
	}
	wait := c.t.limit.wait(c.flow.Flow, n)
	if wait == 0 {
		return
	}
	later := time.NewTimer(wait)
	defer later.Stop()
	select {
	case <-later.C:
	case <-c.t.ending:
	}
}

// readIdle waits for the next message: partners may be silent for days.
func (c *conn) readIdle() {
	if c.flow.Office() != "" {
		c.readUntil(time.Time{})
		return
	}
	if c.out.ask() != nil {
		c.readWithin(min(c.t.limits.idle, c.t.limits.pulse))
		return
	}
	c.readWithin(c.t.limits.idle)
}

func (c *conn) readWithin(d time.Duration) { c.readUntil(time.Now().Add(d)) }

// readUntil sets the deadline, but for a connection that is being left.
func (c *conn) readUntil(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.retired.IsZero() {
		deadline = c.retired
	}
	if !c.ended {
		_ = c.nc.SetReadDeadline(deadline)
	}
}

// feed hands over the whole messages that have come, and answers pings.
func (c *conn) feed() (whole int, closing bool) {
	b := c.t.batches.Get().(*batch)
	defer func() {
		if v := recover(); v != nil { // in the framer
			c.t.caught("frame", c.flow, v)
			c.code, closing = ws.StatusInternalServerError, true
		}
		c.t.deliver(b)
	}()
	for !closing {
		msg, answer, err := c.in.Next()
		switch {
		case err != nil:
			c.broken(b, msg, err)
			closing = true
		case answer != nil:
			c.handled++
			_ = c.queue(answer) // when it fails, the reader notices
		case msg == nil:
			return whole, false
		case c.stranger:
			c.doubt(b, msg, &sip.Refused{Why: roam.NoAgreement, Code: 403, Close: true})
			closing = true
		default:
			whole++
			c.handled++
			closing = c.t.take(b, c.flow, msg)
		}
		if b.full() {
			c.t.deliver(b)
			b = c.t.batches.Get().(*batch)
		}
	}
	return whole, closing
}

// broken ends a connection whose framing says so: the phone closes it, or nothing more can be made of it.
func (c *conn) broken(b *batch, head []byte, err error) {
	if e, is := err.(*socketEnd); is {
		if c.code = e.code; e.asked {
			return
		}
	}
	c.doubt(b, head, err)
}

// doubt answers a message whose end cannot be told (18.3), from the headers it has.
func (c *conn) doubt(b *batch, head []byte, err error) {
	c.t.show(c.flow, false, head)
	m := b.all[b.n]
	m.Flow = c.flow
	if broken, _ := c.t.parse(b.keep(head), m).(*sip.Refused); head == nil || broken != nil && broken.Code == 0 {
		err = &sip.Refused{Close: true}
	}
	c.t.refuse(b, m, err)
}

// lastWords has what is queued written, and waits a moment for the other end to close:
// closing with octets unread would reset the connection and take our answer with it.
func (c *conn) lastWords() error {
	c.readWithin(c.t.limits.drain)
	c.end(c.code)
	_, err := io.Copy(io.Discard, c.nc)
	return err
}

// send queues a message for the writer. A peer that does not take what waits is cut off.
func (c *conn) send(msg []byte) error { return c.put(msg, c.out.wrap) }

// queue is send for what is framed already.
func (c *conn) queue(b []byte) error {
	return c.put(b, func(dst, b []byte) []byte { return append(dst, b...) })
}

func (c *conn) put(b []byte, wrap func(dst, b []byte) []byte) error {
	c.mu.Lock()
	switch {
	case c.ended:
		c.mu.Unlock()
		return ErrGone
	case len(c.pending)+len(b) > maxPending:
		c.mu.Unlock()
		c.cut()
		return ErrFull
	}
	c.pending = wrap(c.pending, b)
	c.mu.Unlock()
	c.rouse()
	return nil
}

func (c *conn) rouse() {
	select {
	case c.wake <- struct{}{}:
	default: // it is about to look
	}
}

// write writes what send queues, several messages at once when they come faster than
// the peer takes them.
func (c *conn) write() {
	var b []byte
	for {
		var more bool
		b, more = c.next(b)
		switch {
		case len(b) > 0:
			if _, err := c.nc.Write(b); err != nil {
				c.cut()
				return
			}
			if cap(b) > maxKept {
				b = nil
			}
		case more:
			<-c.wake
		default:
			_ = c.closeWrite()
			return
		}
	}
}

// closeWrite tells the other end that nothing more comes.
func (c *conn) closeWrite() error {
	return c.nc.(interface{ CloseWrite() error }).CloseWrite() // *net.TCPConn, *tls.Conn
}

// next swaps the written b for what is pending; more is false when nothing will come.
func (c *conn) next(b []byte) (pending []byte, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pending, c.pending = c.pending, b[:0]
	if len(pending) > 0 && !c.ended { // else end has set it
		_ = c.nc.SetWriteDeadline(time.Now().Add(c.t.limits.write))
	}
	return pending, !c.ended
}

func (c *conn) isEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// end takes nothing more, and has the writer finish; code is for a WebSocket, 0: what was in its message.
func (c *conn) end(code ws.StatusCode) {
	if code == 0 {
		code = ws.StatusInvalidFramePayloadData
	}
	c.mu.Lock()
	if !c.ended {
		c.pending = c.out.last(c.pending, code)
	}
	c.ended = true
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.t.limits.drain))
	c.mu.Unlock()
	c.rouse()
}

// leave is end for the end of Serve: the reader stops at once.
func (c *conn) leave() {
	c.end(ws.StatusGoingAway)
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
}

// cut ends the connection without last words. It does not block: TLS is not told.
func (c *conn) cut() {
	c.mu.Lock()
	c.ended, c.pending = true, nil
	c.mu.Unlock()
	c.raw.Close()
	c.rouse()
}
