package sip

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
func (w *Writer) Response(req *Message, code int, reason, toTag string) { panic("sip: not built") }

// Request starts a request line. The caller adds every header field but Via, which
// package transaction puts in once it knows the flow.
func (w *Writer) Request(method string, uri string) { panic("sip: not built") }

// Add writes one header field.
func (w *Writer) Add(n Name, value string) { panic("sip: not built") }

// AddOther writes a header field we have no Name for.
func (w *Writer) AddOther(name, value string) { panic("sip: not built") }

// AddFields writes fields in order.
func (w *Writer) AddFields(fs []Field) { panic("sip: not built") }

// Copy writes every value of n in m as it stands.
func (w *Writer) Copy(m *Message, n Name) { panic("sip: not built") }

// End writes Content-Type (unless ""), Content-Length and body.
func (w *Writer) End(contentType string, body []byte) error { panic("sip: not built") }

// Bytes is the finished message: a response, or a request without its Via.
func (w *Writer) Bytes() []byte { panic("sip: not built") }

// AppendWithVia appends the finished request to dst with via as its first header field.
func (w *Writer) AppendWithVia(dst []byte, via string) []byte { panic("sip: not built") }
