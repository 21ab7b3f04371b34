package sip

import (
	"errors"
	"strconv"
	"strings"
)

// ErrValue says that a value holds CR, LF or NUL, which would let it write header fields of its own.
var ErrValue = errors.New("control character in a header value")

// Writer builds a message into a reused buffer. It refuses CR, LF and NUL in
// values: the first one makes End return an error and nothing may be sent. The
// zero Writer is ready; Response and Request start it anew.
type Writer struct {
	b    []byte
	line int // end of the start line: a request's Via goes in there
	err  error
}

func (w *Writer) start() { w.b, w.line, w.err = w.b[:0], 0, nil }

func (w *Writer) value(s string) {
	if strings.ContainsAny(s, "\r\n\x00") {
		w.err = ErrValue
		return
	}
	w.b = append(w.b, s...)
}

// bytes writes what came in a message; quoted pairs in it may hold any octet.
func (w *Writer) bytes(s []byte) {
	if hasControl(s, false) {
		w.err = ErrValue
		return
	}
	w.b = append(w.b, s...)
}

func (w *Writer) crlf() { w.b = append(w.b, '\r', '\n') }

func (w *Writer) name(n Name) {
	w.b = append(w.b, fields[n].text...)
	w.b = append(w.b, ':', ' ')
}

// Response starts a response to req: status line, then Via (with received and
// rport of req.Flow, RFC 3581), From, To with toTag unless it has one, Call-ID, CSeq,
// as 8.2.6 says. reason "" is the standard phrase. toTag "" adds none (100 Trying).
func (w *Writer) Response(req *Message, code int, reason, toTag string) {
	w.start()
	if reason == "" {
		reason = Text(code)
	}
	w.b = append(w.b, "SIP/2.0 "...)
	w.b = strconv.AppendInt(w.b, int64(code), 10)
	w.b = append(w.b, ' ')
	w.value(reason)
	w.crlf()
	w.line = len(w.b)
	top := true
	for v := range req.Values(Via) {
		w.name(Via)
		if top && req.Flow != nil {
			w.via(v, req.Flow)
		} else {
			w.bytes(v)
		}
		top = false
		w.crlf()
	}
	for _, n := range [...]Name{From, To, CallID, CSeq} {
		v := req.Value(n)
		if v == nil {
			continue
		}
		w.name(n)
		w.bytes(v)
		if n == To && toTag != "" && tagOf(v) == "" {
			w.b = append(w.b, ";tag="...)
			w.value(toTag)
		}
		w.crlf()
	}
}

// via writes the topmost Via with received, and rport when asked (18.2.1, RFC 3581 4).
func (w *Writer) via(v []byte, f *Flow) {
	via, err := ParseVia(v)
	if err != nil {
		w.bytes(v)
		return
	}
	from := f.Remote.Addr().Unmap()
	_, asked := via.Params.Get("rport")
	if !asked && strings.Trim(via.Host, "[]") == from.String() {
		w.bytes(v)
		return
	}
	head, _, _ := strings.Cut(string(v), ";")
	w.value(strings.TrimRight(head, " \t"))
	for p := range via.Params.all() {
		name, _, _ := strings.Cut(p, "=")
		if name = strings.TrimSpace(name); equalFold(name, "rport") || equalFold(name, "received") {
			continue
		}
		w.b = append(w.b, ';')
		w.value(p)
	}
	w.b = append(w.b, ";received="...)
	w.b = from.AppendTo(w.b)
	if asked {
		w.b = append(w.b, ";rport="...)
		w.b = strconv.AppendInt(w.b, int64(f.Remote.Port()), 10)
	}
}

// Request starts a request line. The caller adds every header field but Via, which
// package transaction puts in once it knows the flow.
func (w *Writer) Request(method string, uri string) {
	w.start()
	w.value(method)
	w.b = append(w.b, ' ')
	w.value(uri)
	w.b = append(w.b, " SIP/2.0"...)
	if strings.ContainsAny(method+uri, " \t") {
		w.err = ErrValue
	}
	w.crlf()
	w.line = len(w.b)
}

// Add writes one header field.
func (w *Writer) Add(n Name, value string) {
	w.name(n)
	w.value(value)
	w.crlf()
}

// AddOther writes a header field we have no Name for.
func (w *Writer) AddOther(name, value string) {
	if !token(name) {
		w.err = ErrValue
	}
	w.value(name)
	w.b = append(w.b, ':', ' ')
	w.value(value)
	w.crlf()
}

// AddInt writes one header field with a number.
func (w *Writer) AddInt(n Name, value int64) {
	w.name(n)
	w.b = strconv.AppendInt(w.b, value, 10)
	w.crlf()
}

// AddFields writes fields in order.
func (w *Writer) AddFields(fs []Field) {
	for _, f := range fs {
		w.Add(f.Name, f.Value)
	}
}

// Copy writes every value of n in m as it stands.
func (w *Writer) Copy(m *Message, n Name) {
	for v := range m.Values(n) {
		w.name(n)
		w.bytes(v)
		w.crlf()
	}
}

// End writes Content-Type (unless ""), Content-Length and body.
func (w *Writer) End(contentType string, body []byte) error {
	if contentType != "" {
		w.Add(ContentType, contentType)
	}
	w.AddInt(ContentLength, int64(len(body)))
	w.crlf()
	w.b = append(w.b, body...)
	return w.err
}

// Bytes is the finished message: a response, or a request without its Via.
func (w *Writer) Bytes() []byte { return w.b }

// AppendWithVia appends the finished request to dst with via as its first header field.
func (w *Writer) AppendWithVia(dst []byte, via string) []byte {
	dst = append(dst, w.b[:w.line]...)
	dst = append(dst, "Via: "...)
	dst = append(dst, via...)
	dst = append(dst, '\r', '\n')
	return append(dst, w.b[w.line:]...)
}
