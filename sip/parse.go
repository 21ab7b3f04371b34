package sip

import (
	"bytes"
	"strings"

	"github.com/siproam/siproam/roam"
)

// MaxMessage is the most octets a message may have.
const MaxMessage = 65535

// maxFields is the most header fields a message may have. RFC 4475's longest has 42.
const maxFields = 255

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

// Parse reads one whole message (a datagram; a stream's framer hands over exactly
// one). On error, a *Refused names the answer a request deserves (its Code; Code
// 0 means drop: a response, an ACK, or hopeless) and m is good enough to answer from.
// Close in it says that a stream must end, since two readers of it might disagree
// where messages begin. Octets after Content-Length are ignored. m's index is
// reused when large enough.
//
// Checked is what every receiver needs (8.1.1, 8.2.2, 18.3) and what RFC 4475 wants
// refused by a parser: the start line; Via, From, To, Call-ID, CSeq, there and well
// formed; Contact, Route, Record-Route; Max-Forwards, Content-Length, Date; header
// fields that may stand only once. The rest is for whom it concerns.
func Parse(b []byte, m *Message) error {
	for len(b) >= 2 && b[0] == '\r' && b[1] == '\n' { // 7.5
		b = b[2:]
	}
	*m = Message{Flow: m.Flow, fields: m.fields[:0], came: b, raw: b}
	p := parser{m: m, length: -1}
	if at, ok := p.startLine(); ok {
		p.headers(at)
		p.finish()
	}
	if !p.failed {
		return nil
	}
	if m.status != 0 || m.method == ACK || m.first[Via] == 0 {
		p.code = 0 // nobody waits for an answer (8.2.6, 17.1.1.3), or nobody could match it
	}
	return p.refused()
}

// parser reads one message into m. The first failure is the one that is told.
type parser struct {
	m      *Message
	seen   set
	length int  // Content-Length, -1: none
	lines  int  // lines so far, the start line not among them
	bare   bool // a bare LF was seen

	failed, close bool
	code          int
	reason        string
}

// refused is the failure as an error.
func (p *parser) refused() *Refused {
	r := &Refused{Why: roam.BadRequest, Code: p.code, Close: p.close}
	if p.code == 400 {
		r.Reason = "Bad Request - " + p.reason
	}
	return r
}

func (p *parser) fail(code int, reason string) {
	if !p.failed {
		p.failed, p.code, p.reason = true, code, reason
	}
}

// doubt is a failure after which a stream cannot be read on.
func (p *parser) doubt(reason string) {
	p.fail(400, reason)
	p.close = true
}

// startLine reads the request or status line (7.1, 7.2); next is where the headers
// begin. ok is false for what is not SIP at all.
func (p *parser) startLine() (next int, ok bool) {
	raw := p.m.raw
	end := bytes.IndexByte(raw, '\n')
	p.close = end < 1 || raw[end-1] != '\r' || len(raw) > MaxMessage || control(raw[:end-1])
	if !p.close {
		line := view(raw[:end-1])
		if len(line) > 4 && equalFold(line[:4], "SIP/") {
			ok = p.statusLine(line)
		} else {
			ok = p.requestLine(line)
			p.close = !ok // whoever speaks something else has another idea of where it ends
		}
	}
	if !ok {
		p.failed, p.code = true, 0
	}
	return end + 1, ok
}

func control(line []byte) bool {
	return bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0
}

// statusLine reads SIP/2.0 SP 3DIGIT SP reason. The last SP may be missing.
func (p *parser) statusLine(line string) bool {
	const start = len("SIP/2.0 ")
	if len(line) < start+3 || !equalFold(line[:start], "SIP/2.0 ") || len(line) > start+3 && line[start+3] != ' ' {
		return false
	}
	n, ok := number(line[start:start+3], 699)
	if !ok || n < 100 {
		return false
	}
	p.m.status = int(n)
	p.m.reason = span{uint32(min(start+4, len(line))), uint32(len(line))}
	return true
}

// requestLine reads method SP URI SP version. Once it looks like SIP it gets an answer.
func (p *parser) requestLine(line string) bool {
	method, rest, _ := strings.Cut(line, " ")
	trimmed := trimRight(rest)
	sp := strings.LastIndexByte(trimmed, ' ')
	if method == "" || !every(method, token) || sp < 0 {
		return false
	}
	uri, version := trimmed[:sp], trimmed[sp+1:]
	if len(version) < 4 || !equalFold(version[:4], "SIP/") {
		return false
	}
	from := uint32(len(method) + 1)
	p.m.method = methodOf(method)
	p.m.methodText = span{0, uint32(len(method))}
	p.m.uri = span{from, from + uint32(sp)}
	if !equalFold(version, "SIP/2.0") {
		p.fail(505, "")
	} else if len(rest) != len(trimmed) {
		p.fail(400, "blanks in the request line")
	} else {
		p.requestURI(uri)
	}
	return true
}

func (p *parser) requestURI(s string) {
	var u URI
	switch problem := u.parse(s); {
	case problem == unknownScheme:
		p.fail(416, "")
	case problem != "":
		p.fail(400, "Request-URI: "+problem)
	case u.Headers != "": // 19.1.1, Table 1
		p.fail(400, "headers in the Request-URI")
	}
}

// finish checks what only the whole shows.
func (p *parser) finish() {
	for _, n := range [...]Name{Via, From, To, CallID, CSeq} {
		if !p.seen.has(n) {
			p.fail(400, "no "+names[n])
		}
	}
	if body := &p.m.body; p.length > int(body.to-body.from) {
		p.doubt("body shorter than Content-Length") // 18.3
	} else if p.length >= 0 {
		body.to = body.from + uint32(p.length)
	}
}
