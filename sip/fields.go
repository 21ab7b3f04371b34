package sip

import (
	"bytes"
	"strings"
	"unsafe"
)

// field indexes the header field between from and to, and reads it if it is one of
// those everybody needs.
func (p *parser) field(from, to int) {
	m := p.m
	line := m.raw[from:to]
	colon := bytes.IndexByte(line, ':')
	if colon < 1 {
		p.doubt("header field without a name")
		return
	}
	key := trimRight(line[:colon])
	n := lookup(view(key))
	if n == NoName { // to somebody it may be Content-Length, or the end of something
		p.doubt("header field name")
		return
	}
	if len(m.fields) == maxFields {
		p.fail(400, "too many header fields")
		return
	}
	end := uint32(from + len(trimRight(line)))
	value := trim(line[colon+1:])
	m.fields = append(m.fields, field{n, span{uint32(from), uint32(from + len(key))}, span{end - uint32(len(value)), end}})
	if m.first[n] == 0 {
		m.first[n] = uint8(len(m.fields))
	}
	if p.seen.has(n) && single.has(n) {
		p.fail(400, names[n]+" twice")
		p.close = p.close || n == ContentLength
		return
	}
	p.read(n, view(value))
	p.seen |= 1 << n
}

// read checks a value that every receiver depends on.
func (p *parser) read(n Name, s string) {
	m := p.m
	ok := true
	switch n {
	case Via:
		ok = p.vias(s)
	case From:
		m.fromTag, ok = p.party(s)
	case To:
		m.toTag, ok = p.party(s)
	case Contact:
		ok = s == "*" || all(s, isAddress) // 20.10
	case Route, RecordRoute:
		ok = all(s, isNameAddr) // 20.30, 20.34
	case CallID:
		ok = s != "" && every(s, visible)
	case CSeq:
		ok = p.sequence(s)
	case MaxForwards:
		_, ok = number(s, 255) // 20.22
	case ContentLength:
		p.contentLength(s)
	case Date:
		ok = m.status != 0 || strings.HasSuffix(s, " GMT") // 20.17
	}
	if !ok {
		p.fail(400, names[n])
	}
}

func isAddress(s string) bool {
	var a Address
	return a.parse(s).problem == "" && !a.Star
}

func isNameAddr(s string) bool {
	var a Address
	p := a.parse(s)
	return p.problem == "" && p.bracket
}

// all says that ok holds for every element of a comma list without empty elements.
func all(s string, ok func(string) bool) bool {
	for {
		end, closed := comma(s)
		if !closed || !ok(trim(s[:end])) {
			return false
		}
		if end == len(s) {
			return true
		}
		s = s[end+1:]
	}
}

func (p *parser) vias(s string) bool {
	top := !p.seen.has(Via)
	return all(s, func(v string) bool {
		var via ViaValue
		branch, by, problem := via.parse(v)
		if top {
			p.m.branch, p.m.sentBy, top = p.spanOf(branch), p.spanOf(by), false
		}
		return problem == ""
	})
}

// party reads From or To.
func (p *parser) party(s string) (tag span, ok bool) {
	var a Address
	seen := a.parse(s)
	return p.spanOf(seen.tag), seen.problem == "" && !a.Star
}

// spanOf is where s, a piece of the message, lies in it.
func (p *parser) spanOf(s string) span {
	if s == "" {
		return span{}
	}
	from := uint32(uintptr(unsafe.Pointer(unsafe.StringData(s))) - uintptr(unsafe.Pointer(unsafe.SliceData(p.m.raw))))
	return span{from, from + uint32(len(s))}
}

// sequence reads CSeq: a number below 2^31 and the method (8.1.1.5).
func (p *parser) sequence(s string) bool {
	i := 0
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	n, ok := number(s[:i], 1<<31-1)
	method := trimLeft(s[i:])
	if !ok || method == "" || len(method) == len(s)-i || !every(method, token) {
		return false
	}
	m := p.m
	m.seq = uint32(n)
	if m.status != 0 {
		m.method, m.methodText = methodOf(method), p.spanOf(method)
	} else if method != view(m.text(m.methodText)) {
		p.fail(400, "CSeq of another method") // 8.1.1.5
	}
	return true
}

func (p *parser) contentLength(s string) {
	n, ok := number(s, MaxMessage)
	if !ok {
		p.doubt(names[ContentLength])
		return
	}
	p.length = int(n)
}
