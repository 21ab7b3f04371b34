package sip

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ErrValue says that something to write holds CR, LF or NUL, which would let it write
// header fields of its own, or is no token or code where there must be one.
var ErrValue = errors.New("sip: value cannot be written")

// Writer builds a message into a reused buffer. It refuses CR, LF and NUL in
// values: the first one makes End return an error and nothing may be sent. The
// zero Writer is ready; Response and Request start it anew.
type Writer struct {
	b    []byte
	line int // end of the start line: a request's Via goes in there
	err  error
}

// Response starts a response to req: status line, then Via (with received and
// rport of req.Flow, RFC 3581), From, To with toTag unless it has one, Call-ID, CSeq,
// as 8.2.6 says. reason "" is the standard phrase. toTag "" adds none (100 Trying).
// What req lacks, since it was refused, is left out.
func (w *Writer) Response(req *Message, code int, reason, toTag string) {
	if reason == "" {
		reason = Text(code)
	}
	w.start()
	if code < 100 || code > 699 {
		w.err = ErrValue
	}
	w.b = append(w.b, "SIP/2.0 "...)
	w.b = strconv.AppendInt(w.b, int64(code), 10)
	w.b = append(w.b, ' ')
	w.value(reason)
	w.endLine()
	w.line = len(w.b)
	w.vias(req)
	for _, n := range [...]Name{From, To, CallID, CSeq} {
		v := req.Value(n)
		if v == nil {
			continue
		}
		w.name(n)
		w.b = append(w.b, v...)
		if n == To && toTag != "" && req.toTag == (span{}) {
			w.b = append(w.b, ";tag="...)
			w.value(toTag)
		}
		w.endLine()
	}
}

// vias copies every Via, the topmost with what we know of the path it came by.
func (w *Writer) vias(req *Message) {
	top := true
	req.each(Via, func(v []byte) bool {
		w.name(Via)
		if top && req.Flow != nil {
			w.topVia(v, req)
		} else {
			w.b = append(w.b, v...)
		}
		w.endLine()
		top = false
		return true
	})
}

// topVia writes v with received when sent-by is not the source (18.2.1), and with
// received and rport when rport is asked for (RFC 3581 4). Those it came with are replaced.
func (w *Writer) topVia(v []byte, req *Message) {
	source := req.Flow.Remote
	addr := source.Addr().Unmap().WithZone("")
	end := int(req.sentBy.to) - int(req.fields[req.first[Via]-1].value.from)
	if end <= 0 || end > len(v) || !addr.IsValid() {
		w.b = append(w.b, v...) // a refused one is echoed for who sent it
		return
	}
	at, asked, told := len(w.b), false, false
	w.b = append(w.b, v[:end]...)
	rest, more := view(v[end:]), end < len(v)
	if more {
		rest = trimLeft(rest)[1:]
	}
	for more {
		var name, value string
		name, value, rest, more, _ = cutParam(rest)
		switch {
		case equalFold(name, "rport"):
			asked = true
		case equalFold(name, "received"):
			told = true
		default:
			w.b = append(append(w.b, ';'), name...)
			if value != "" {
				w.b = append(append(w.b, '='), value...)
			}
		}
	}
	if host, _, _, _ := hostPort(view(req.SentBy())); !asked && !told && isAddr(host, addr) {
		w.b = append(w.b[:at], v...)
		return
	}
	w.b = addr.AppendTo(append(w.b, ";received="...))
	if asked {
		w.b = strconv.AppendUint(append(w.b, ";rport="...), uint64(source.Port()), 10)
	}
}

// isAddr says that host is the address a, not a name for it.
func isAddr(host string, a netip.Addr) bool {
	if host[0] == '[' {
		host = host[1 : len(host)-1]
	} else if !isDigit(host[0]) {
		return false
	}
	h, err := netip.ParseAddr(host)
	return err == nil && h.Unmap() == a
}

// Request starts a request line. The caller adds every header field but Via, which
// package transaction puts in once it knows the flow.
func (w *Writer) Request(method string, uri string) {
	w.start()
	if method == "" || !every(method, token) || uri == "" || strings.ContainsAny(uri, " \t") {
		w.err = ErrValue
	}
	w.value(method)
	w.b = append(w.b, ' ')
	w.value(uri)
	w.b = append(w.b, " SIP/2.0"...)
	w.endLine()
	w.line = len(w.b)
}

// Add writes one header field, whose value may come in parts.
func (w *Writer) Add(n Name, value ...string) {
	w.name(n)
	for _, part := range value {
		w.value(part)
	}
	w.endLine()
}

// AddCSeq writes CSeq.
func (w *Writer) AddCSeq(seq uint32, method string) {
	w.name(CSeq)
	w.b = append(strconv.AppendUint(w.b, uint64(seq), 10), ' ')
	w.value(method)
	w.endLine()
}

// AddBytes writes one header field.
func (w *Writer) AddBytes(n Name, value []byte) { w.Add(n, view(value)) }

// AddInt writes one header field with a number.
func (w *Writer) AddInt(n Name, value int64) {
	w.name(n)
	w.b = strconv.AppendInt(w.b, value, 10)
	w.endLine()
}

// AddOther writes a header field we have no Name for.
func (w *Writer) AddOther(name, value string) {
	if name == "" || !every(name, token) {
		w.err = ErrValue
	}
	w.b = append(append(w.b, name...), ": "...)
	w.value(value)
	w.endLine()
}

// AddFields writes fields in order.
func (w *Writer) AddFields(fs []Field) {
	for _, f := range fs {
		w.Add(f.Name, f.Value)
	}
}

// Copy writes every field of n in m as it stands, unfolded. What Parse took needs no
// second look: a quoted pair in it may hold any octet but CR and LF.
func (w *Writer) Copy(m *Message, n Name) {
	for _, f := range m.fields {
		if f.name == n && n != OtherName {
			w.name(n)
			w.b = append(w.b, m.text(f.value)...)
			w.endLine()
		}
	}
}

// End writes Content-Type (unless ""), Content-Length and body.
func (w *Writer) End(contentType string, body []byte) error {
	if contentType != "" {
		w.Add(ContentType, contentType)
	}
	w.AddInt(ContentLength, int64(len(body)))
	w.endLine()
	w.b = append(w.b, body...)
	return w.err
}

// Bytes is the finished message: a response, or a request without its Via. It is nil
// after an error, and borrowed until the Writer is started anew.
func (w *Writer) Bytes() []byte {
	if w.err != nil {
		return nil
	}
	return w.b
}

// AppendWithVia appends the finished request to dst with via, which is ours, as its
// first header field. After an error it appends nothing.
func (w *Writer) AppendWithVia(dst, via []byte) []byte {
	if w.err != nil {
		return dst
	}
	dst = append(slices.Grow(dst, len("Via: \r\n")+len(via)+len(w.b)), w.b[:w.line]...)
	dst = append(append(dst, "Via: "...), via...)
	dst = append(dst, "\r\n"...)
	return append(dst, w.b[w.line:]...)
}

func (w *Writer) start() { w.b, w.line, w.err = w.b[:0], 0, nil }

func (w *Writer) name(n Name) {
	if n == NoName || n >= OtherName {
		w.err = ErrValue
	}
	w.b = append(append(w.b, n.String()...), ": "...)
}

func (w *Writer) value(s string) {
	if strings.IndexByte(s, '\r') >= 0 || strings.IndexByte(s, '\n') >= 0 || strings.IndexByte(s, 0) >= 0 {
		w.err = ErrValue
		return
	}
	w.b = append(w.b, s...)
}

func (w *Writer) endLine() { w.b = append(w.b, "\r\n"...) }
