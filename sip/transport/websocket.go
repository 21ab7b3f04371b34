package transport

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/siproam/siproam/sip"
)

// webSocket is the framing of WS and WSS (RFC 6455 5, RFC 7118 5): a message of ours or of the phone
// is one WebSocket message, so it needs no Content-Length. No extension is ever agreed on.
type webSocket struct {
	binary atomic.Bool // the phone's last message was binary: so are ours; else they are text

	b       []byte // what was read
	next    int    // where in b the unread part begins
	message []byte // the fragments so far
	op      ws.OpCode
	state   ws.State // whether fragments are under way
	err     error    // ends the connection

	header bytes.Reader // over the octets of one header
	room   [ws.MaxHeaderSize]byte
}

func newWebSocket() *webSocket { return &webSocket{state: ws.StateServerSide} }

// socketEnd is why a WebSocket ends, as its Close frame says (RFC 6455 7.4).
type socketEnd struct {
	code  ws.StatusCode
	text  string
	asked bool // the phone closes; else it broke a rule
}

func (e *socketEnd) Error() string { return "websocket: " + e.text }

var errTooBig = &socketEnd{code: ws.StatusMessageTooBig, text: "message of more than 65535 octets"}

func broken(err error) *socketEnd {
	return &socketEnd{code: ws.StatusProtocolError, text: err.Error()}
}

// silent answers a keep-alive that wants no answer.
var silent = []byte{}

func (w *webSocket) Feed(b []byte) {
	if w.next == len(w.b) && cap(w.b) > readSize {
		w.b = nil // as sip.Framer: quiet phones hold no long messages
	} else if w.next > 0 {
		w.b = w.b[:copy(w.b, w.b[w.next:])]
	}
	w.next = 0
	w.b = append(w.b, b...)
}

func (w *webSocket) Partial() bool { return w.next < len(w.b) || w.state.Fragmented() }

func (w *webSocket) Next() (msg, answer []byte, err error) {
	if w.err == nil {
		var h ws.Header
		var payload []byte
		var whole bool
		if h, payload, whole, w.err = w.frame(); w.err == nil && !whole {
			return nil, nil, nil
		}
		switch {
		case w.err != nil:
		case h.OpCode.IsControl():
			answer, w.err = w.control(h.OpCode, payload)
		default:
			msg, answer, w.err = w.data(h, payload)
		}
	}
	return msg, answer, w.err
}

// frame takes the next frame out of b and unmasks its payload there. What is too long or against
// the rules is refused by its header, before the payload has come.
func (w *webSocket) frame() (h ws.Header, payload []byte, whole bool, err error) {
	rest := w.b[w.next:]
	w.header.Reset(rest)
	h, err = ws.ReadHeaderBuffer(&w.header, w.room[:])
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return h, nil, false, nil
	case err != nil:
		return h, nil, false, broken(err)
	}
	if err := ws.CheckHeader(h, w.state); err != nil {
		return h, nil, false, broken(err)
	}
	if !h.OpCode.IsControl() && h.Length > int64(sip.MaxMessage-len(w.kept())) {
		return h, nil, false, errTooBig
	}
	size := len(rest) - w.header.Len()
	end := size + int(h.Length)
	if len(rest) < end {
		return h, nil, false, nil
	}
	payload = rest[size:end:end]
	ws.Cipher(payload, h.Mask, 0)
	w.next += end
	return h, payload, true, nil
}

// kept is the fragments of the message under way.
func (w *webSocket) kept() []byte {
	if !w.state.Fragmented() {
		return nil
	}
	return w.message
}

// control answers Ping, and Close by ending (RFC 6455 5.5). A Pong is a sign of life.
func (w *webSocket) control(op ws.OpCode, payload []byte) (answer []byte, err error) {
	switch op {
	case ws.OpPing:
		return appendFrame(nil, ws.OpPong, payload), nil
	case ws.OpPong:
		return silent, nil
	}
	if len(payload) == 0 {
		return nil, &socketEnd{code: ws.StatusNormalClosure, text: "closed by the phone", asked: true}
	}
	code, reason := ws.ParseCloseFrameData(payload)
	if err := ws.CheckCloseFrameData(code, reason); err != nil {
		return nil, broken(err)
	}
	return nil, &socketEnd{code: code, text: "closed by the phone", asked: true}
}

// data takes a frame of a message. A fragment that does not end it counts as a keep-alive, so that
// a flood of empty ones is one of messages.
func (w *webSocket) data(h ws.Header, payload []byte) (msg, answer []byte, err error) {
	if h.OpCode != ws.OpContinuation {
		w.op = h.OpCode
	}
	switch fragmented := w.state.Fragmented(); {
	case fragmented:
		w.message = append(w.message, payload...)
	case !h.Fin:
		w.message = append(w.message[:0], payload...)
	}
	if !h.Fin {
		w.state = w.state.Set(ws.StateFragmented)
		return nil, silent, nil
	}
	msg = payload
	if w.state.Fragmented() {
		w.state = w.state.Clear(ws.StateFragmented)
		msg = w.message
		if w.message = w.message[:0]; cap(w.message) > readSize {
			w.message = nil
		}
	}
	return w.whole(msg)
}

// whole takes a message, which may be a keep-alive (RFC 7118 6: CRLF as on a stream).
func (w *webSocket) whole(msg []byte) (_, answer []byte, err error) {
	if w.op == ws.OpText && !utf8.Valid(msg) {
		return nil, nil, &socketEnd{code: ws.StatusInvalidFramePayloadData, text: "text that is not UTF-8"}
	}
	w.binary.Store(w.op == ws.OpBinary)
	switch {
	case !noise(msg):
		return msg, nil, nil
	case len(msg) >= 2*len(pong):
		return nil, w.wrap(nil, pong), nil
	}
	return nil, silent, nil
}

// wrap: the kind is the phone's, but what is no UTF-8 cannot be text (RFC 7118 5).
func (w *webSocket) wrap(dst, msg []byte) []byte {
	if w.binary.Load() || !utf8.Valid(msg) {
		return appendFrame(dst, ws.OpBinary, msg)
	}
	return appendFrame(dst, ws.OpText, msg)
}

func (w *webSocket) last(dst []byte, code ws.StatusCode) []byte {
	return appendFrame(dst, ws.OpClose, ws.NewCloseFrameBody(code, ""))
}

func (w *webSocket) ask() []byte { return pingFrame }

var pingFrame = appendFrame(nil, ws.OpPing, nil)

// appendFrame appends a whole frame of a server, which masks nothing.
func appendFrame(dst []byte, op ws.OpCode, payload []byte) []byte {
	b := bytes.NewBuffer(dst)
	_ = ws.WriteHeader(b, ws.Header{Fin: true, OpCode: op, Length: int64(len(payload))}) // a Buffer takes all
	b.Write(payload)
	return b.Bytes()
}
