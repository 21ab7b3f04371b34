package sip

import "bytes"

// headers reads the header fields from at, and where the body lies.
func (p *parser) headers(at int) {
	m := p.m
	start := at
	if at < len(m.raw) && isBlank(m.raw[at]) {
		p.doubt("a fold that hides something")
	}
	for {
		end, next := p.line(at)
		if next < 0 {
			p.doubt("no end of headers")
			m.body = span{uint32(len(m.raw)), uint32(len(m.raw))}
			break
		}
		if end == at {
			p.lines++
			m.body = span{uint32(next), uint32(len(m.raw))}
			break
		}
		if next < len(m.raw) && isBlank(m.raw[next]) && !m.unfolded() {
			var ok bool
			if m.raw, ok = unfold(m.raw, at); !ok {
				p.doubt("a fold that hides something")
			}
			continue
		}
		p.lines++
		p.field(at, end)
		at = next
	}
	p.sweep(m.raw[start:m.body.from], p.lines)
}

// line finds the end of the line that begins at; next is -1 when it does not end.
// A bare LF does not end it.
func (p *parser) line(at int) (end, next int) {
	raw := p.m.raw
	for from := at; ; {
		i := bytes.IndexByte(raw[from:], '\n')
		if i < 0 {
			return 0, -1
		}
		from += i + 1
		if from-2 >= at && raw[from-2] == '\r' {
			return from - 2, from
		}
		p.bare = true
	}
}

// sweep drops the fields that hold a CR or LF, or a NUL outside a quoted pair. They are
// not read and not echoed.
func (p *parser) sweep(head []byte, lines int) {
	if !p.bare && bytes.Count(head, []byte{'\r'}) == lines && bytes.IndexByte(head, 0) < 0 {
		return
	}
	m := p.m
	before := len(m.fields)
	m.drop(func(f field) bool {
		text := m.raw[f.key.from:f.value.to]
		return bytes.IndexByte(text, '\r') >= 0 || bytes.IndexByte(text, '\n') >= 0 || hasNUL(text)
	})
	if p.bare || len(m.fields) != before || bytes.Count(head, []byte{'\r'}) != lines {
		p.doubt("control characters")
	}
}

// hasNUL finds a NUL that no backslash quotes (25.1, quoted-pair).
func hasNUL(b []byte) bool {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case 0:
			return true
		}
	}
	return false
}

// unfold copies raw with each fold from at on as one space (7.3.1). ok is false for
// a line of blanks, which some take for the end of the headers, and for a folded
// Content-Length.
func unfold(raw []byte, at int) (out []byte, ok bool) {
	out = append(make([]byte, 0, len(raw)), raw[:at]...)
	ok = true
	for start := at; ; {
		i := bytes.Index(raw[at:], endOfHeaders[:2])
		if i < 0 || i == 0 && at == start {
			return append(out, raw[at:]...), ok
		}
		next := at + i + 2
		if next == len(raw) || !isBlank(raw[next]) {
			out = append(out, raw[at:next]...)
			at, start = next, next
			continue
		}
		if name, _, _ := bytes.Cut(raw[at:at+i], []byte{':'}); at == start && lookup(view(trimRight(name))) == ContentLength {
			ok = false
		}
		out = append(trimRight(append(out, raw[at:at+i]...)), ' ')
		for at = next; at < len(raw) && isBlank(raw[at]); {
			at++
		}
		if at+1 < len(raw) && raw[at] == '\r' && raw[at+1] == '\n' {
			ok = false
		}
	}
}
