package sip

import (
	"bytes"

	"github.com/siproam/siproam/roam"
)

// MaxMessage is the most octets a message may have.
const MaxMessage = 65535

const maxHeaders = 256

// span is a piece of raw.
type span struct{ from, to uint32 }

func (s span) of(b []byte) []byte { return b[s.from:s.to] }

// header is one header field line of the index.
type header struct {
	name   Name
	hidden bool // Distrust: as if absent
	folded bool // value spans lines: unfold before reading
	text   span // the name as written
	value  span
}

// bad is a malformed request: 400 with words of ours, never the sender's.
func bad(reason string) *Refused {
	return &Refused{Why: roam.BadRequest, Code: 400, Reason: "Bad Request - " + reason}
}

// framing is a refusal after which a stream cannot be read on (18.3).
func framing(reason string) *Refused {
	r := bad(reason)
	r.Close = true
	return r
}

// drop is nothing that deserves an answer.
func drop() *Refused { return &Refused{Why: roam.BadRequest} }

// Parse reads one whole message (a datagram; a stream's framer hands over exactly
// one). On error, a *Refused names the answer a request deserves (its Code; Code
// 0 means drop: a response, or hopeless) and m is good enough to answer from.
// Octets after Content-Length are ignored. m's index is reused when large enough.
func Parse(b []byte, m *Message) error {
	flow, index := m.Flow, m.headers[:0]
	*m = Message{Flow: flow, headers: index}
	for len(b) >= 2 && b[0] == '\r' && b[1] == '\n' { // 7.5
		b = b[2:]
	}
	m.raw = b
	if len(b) > MaxMessage {
		return drop()
	}
	line, at, ok := cutLine(b, 0)
	if !ok {
		return drop()
	}
	refused := m.startLine(line)
	if refused != nil && refused.Code == 0 {
		return refused
	}
	if r := m.index(at); refused == nil {
		refused = r
	}
	if r := m.check(); refused == nil {
		refused = r
	}
	if refused == nil {
		return nil
	}
	if !m.IsRequest() || !m.answerable() {
		refused.Code = 0
	}
	return refused
}

// cutLine is the line at from, and where the next begins; ok is false without CRLF.
func cutLine(b []byte, from uint32) (line span, next uint32, ok bool) {
	i := bytes.IndexByte(b[from:], '\n')
	if i < 1 || b[int(from)+i-1] != '\r' {
		if i < 0 || i == 0 {
			return span{from, uint32(len(b))}, uint32(len(b)), false
		}
		return span{from, from + uint32(i)}, from + uint32(i) + 1, false // bare LF
	}
	return span{from, from + uint32(i) - 1}, from + uint32(i) + 1, true
}

// startLine reads the request or status line (7.1, 7.2).
func (m *Message) startLine(l span) *Refused {
	b := l.of(m.raw)
	if len(b) >= 4 && equalFold(b[:4], "SIP/") {
		return m.statusLine(l)
	}
	sp := bytes.IndexByte(b, ' ')
	if sp < 1 || !token(b[:sp]) || bytes.IndexByte(b, '\r') >= 0 {
		return drop()
	}
	m.methodText = span{l.from, l.from + uint32(sp)}
	m.method = methodOf(b[:sp])
	rest := b[sp+1:]
	end := len(rest)
	for end > 0 && rest[end-1] == ' ' {
		end--
	}
	last := bytes.LastIndexByte(rest[:end], ' ')
	if last < 0 {
		return drop()
	}
	version := rest[last+1 : end]
	if len(version) < 4 || !equalFold(version[:4], "SIP/") {
		return drop()
	}
	m.uri = span{l.from + uint32(sp) + 1, l.from + uint32(sp) + 1 + uint32(last)}
	if !equalFold(version, "SIP/2.0") {
		return &Refused{Why: roam.BadRequest, Code: 505}
	}
	if end != len(rest) {
		return bad("space at the end of the request line")
	}
	return checkRequestURI(m.uri.of(m.raw))
}

func checkRequestURI(b []byte) *Refused {
	if bytes.ContainsAny(b, " \t<>\"") {
		return bad("request URI")
	}
	u, err := ParseURI(b)
	if err != nil {
		r, _ := err.(*Refused)
		return r
	}
	if u.Headers != "" {
		return bad("headers in the request URI")
	}
	return nil
}

func (m *Message) statusLine(l span) *Refused {
	b := l.of(m.raw)
	if len(b) < 11 || !equalFold(b[:8], "SIP/2.0 ") || len(b) > 11 && b[11] != ' ' {
		return drop()
	}
	for _, c := range b[8:11] {
		if c < '0' || c > '9' {
			return drop()
		}
		m.status = m.status*10 + int(c-'0')
	}
	if m.status < 100 || m.status > 699 {
		return drop()
	}
	m.reason = span{l.to, l.to}
	if len(b) > 12 {
		m.reason = span{l.from + 12, l.to}
	}
	return nil
}

// index finds the header fields from at, and the body.
func (m *Message) index(at uint32) (refused *Refused) {
	fail := func(r *Refused) {
		if refused == nil || r.Close && !refused.Close {
			refused = r
		}
	}
	raw := m.raw
	for {
		if int(at) >= len(raw) {
			fail(framing("no end of headers"))
			m.body = span{uint32(len(raw)), uint32(len(raw))}
			return refused
		}
		line, next, ok := cutLine(raw, at)
		if !ok && next < uint32(len(raw)) {
			fail(framing("bare line feed"))
			at = next
			continue
		}
		if line.from == line.to {
			m.body = span{next, uint32(len(raw))}
			return refused
		}
		folded := false
		for int(next) < len(raw) && (raw[next] == ' ' || raw[next] == '\t') { // 7.3.1
			folded = true
			more, after, ok := cutLine(raw, next)
			if !ok {
				fail(framing("bare line feed"))
			}
			line.to, next = more.to, after
		}
		if r := m.line(line, folded); r != nil {
			fail(r)
		}
		at = next
	}
}

// line indexes one header field.
func (m *Message) line(l span, folded bool) *Refused {
	b := l.of(m.raw)
	colon := bytes.IndexByte(b, ':')
	if colon < 1 {
		return bad("header field without a name")
	}
	end := colon
	for end > 0 && (b[end-1] == ' ' || b[end-1] == '\t') {
		end--
	}
	if !token(b[:end]) {
		return bad("header field name")
	}
	if hasControl(b[colon+1:], folded) {
		return framing("control character in a header field")
	}
	if len(m.headers) >= maxHeaders {
		return bad("too many header fields")
	}
	from, to := colon+1, len(b)
	for from < to && blank(b[from]) {
		from++
	}
	for from < to && blank(b[to-1]) {
		to--
	}
	h := header{name: nameOf(b[:end]), folded: folded, text: span{l.from, l.from + uint32(end)}, value: span{l.from + uint32(from), l.from + uint32(to)}}
	m.headers = append(m.headers, h)
	i := uint16(len(m.headers))
	if m.first[h.name] == 0 {
		m.first[h.name] = i
	} else if fields[h.name].single {
		if h.name == ContentLength {
			return framing("Content-Length twice")
		}
		return bad(fields[h.name].text + " twice")
	}
	return nil
}

// hasControl finds NUL, and CR or LF outside folds.
func hasControl(b []byte, folded bool) bool {
	for i, c := range b {
		switch {
		case c == 0:
			if i == 0 || b[i-1] != '\\' { // a quoted pair may hold any octet (25.1)
				return true
			}
		case c == '\r':
			if !folded || i+1 >= len(b) || b[i+1] != '\n' {
				return true
			}
		case c == '\n':
			if !folded || i == 0 || b[i-1] != '\r' {
				return true
			}
		}
	}
	return false
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// token says that b is a token (25.1).
func token[T []byte | string](b T) bool {
	if len(b) == 0 {
		return false
	}
	for i := 0; i < len(b); i++ {
		if !tokenChar[b[i]] {
			return false
		}
	}
	return true
}

var tokenChar = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	}
	for _, c := range "-.!%*_+`'~" {
		t[c] = true
	}
	return t
}()

// number reads digits up to limit; ok is false for anything else.
func number(b []byte, limit uint64) (n uint64, ok bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + uint64(c-'0'); n > limit {
			return limit, false
		}
	}
	return n, true
}

// check is what every receiver of a message needs to be right (8.1.1, 8.2.2, 18.3).
func (m *Message) check() *Refused {
	for _, n := range [...]Name{Via, From, To, CallID, CSeq} {
		if m.first[n] == 0 {
			return bad("no " + fields[n].text)
		}
	}
	if r := m.checkLength(); r != nil {
		return r
	}
	if r := m.checkSequence(); r != nil {
		return r
	}
	return m.checkAddresses()
}

func (m *Message) checkLength() *Refused {
	v := m.Value(ContentLength)
	if v == nil {
		return nil
	}
	n, ok := number(v, MaxMessage)
	if !ok {
		return framing("Content-Length")
	}
	if m.body.from+uint32(n) > m.body.to {
		return framing("body shorter than Content-Length")
	}
	m.body.to = m.body.from + uint32(n) // 18.3: what follows is ignored
	return nil
}

func (m *Message) checkSequence() *Refused {
	v := m.Value(CSeq)
	i := bytes.IndexAny(v, " \t\r\n")
	if i < 0 {
		return bad("CSeq")
	}
	n, ok := number(v[:i], 1<<31-1) // 8.1.1.5
	method := bytes.TrimLeft(v[i:], " \t\r\n")
	if !ok || !token(method) {
		return bad("CSeq")
	}
	m.cseq = uint32(n)
	if m.status != 0 {
		m.method = methodOf(method)
	} else if !bytes.Equal(method, m.methodText.of(m.raw)) {
		return bad("CSeq method differs")
	}
	if v := m.Value(MaxForwards); v != nil {
		if _, ok := number(v, 255); !ok {
			return bad("Max-Forwards")
		}
	}
	for _, n := range [...]Name{Expires, MinExpires} {
		if v := m.Value(n); v != nil {
			if _, ok := number(v, 1<<32-1); !ok {
				return bad(fields[n].text)
			}
		}
	}
	if len(m.Value(CallID)) == 0 || bytes.ContainsAny(m.Value(CallID), " \t") {
		return bad("Call-ID")
	}
	return m.checkDate()
}

// checkDate refuses a time zone other than GMT (20.17).
func (m *Message) checkDate() *Refused {
	if v := m.Value(Date); v != nil && m.status == 0 && !bytes.HasSuffix(v, []byte("GMT")) {
		return bad("Date")
	}
	return nil
}

// checkAddresses reads what a receiver would read, so that a guess is never needed later.
func (m *Message) checkAddresses() *Refused {
	for i := range m.headers {
		h := &m.headers[i]
		switch h.name {
		case Via:
			if r := m.each(h, func(v []byte) error { _, err := ParseVia(v); return err }); r != nil {
				return r
			}
		case From, To:
			if err := checkAddress(m.valueOf(h)); err != nil {
				return bad(fields[h.name].text)
			}
		case Contact, Route, RecordRoute, Path:
			if m.status != 0 && h.name != Contact && h.name != RecordRoute {
				continue
			}
			if r := m.each(h, checkAddress); r != nil {
				return r
			}
		}
	}
	return nil
}

// each reads every value of a list field.
func (m *Message) each(h *header, read func([]byte) error) *Refused {
	rest, err := m.valueOf(h), error(nil)
	if len(rest) == 0 {
		return bad(fields[h.name].text)
	}
	for len(rest) > 0 || err != nil {
		var v []byte
		var ok bool
		if v, rest, ok = cutValue(rest); !ok || read(v) != nil {
			return bad(fields[h.name].text)
		}
		if rest == nil {
			return nil
		}
	}
	return bad(fields[h.name].text) // ends in a comma
}

func checkAddress(b []byte) error {
	a, err := ParseAddress(b)
	if err != nil {
		return err
	}
	if v, found := a.Params.Get("expires"); found {
		if _, ok := number([]byte(v), 1<<32-1); !ok {
			return bad("expires")
		}
	}
	return nil
}

// cutValue is the first value of a comma list, honouring quotes and <>; rest is nil after
// the last. ok is false when quotes or brackets do not close.
func cutValue(b []byte) (v, rest []byte, ok bool) {
	quoted, angle := false, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case c == ',' && !angle:
			rest = bytes.TrimLeft(b[i+1:], " \t\r\n")
			if rest == nil {
				rest = []byte{}
			}
			return bytes.TrimRight(b[:i], " \t\r\n"), rest, true
		}
	}
	return b, nil, !quoted && !angle
}

// answerable says that a response can be built (8.2.6).
func (m *Message) answerable() bool {
	for _, n := range [...]Name{Via, From, To, CallID, CSeq} {
		if m.first[n] == 0 {
			return n == From || n == To || n == CallID // insuf of RFC 4475: answered with what there is
		}
	}
	head, _, _ := bytes.Cut(m.Value(Via), []byte(";"))
	_, err := ParseVia(head) // its parameters may be what is wrong
	return err == nil && m.method != ACK
}
