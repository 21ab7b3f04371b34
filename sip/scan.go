package sip

import (
	"strings"
	"unsafe"
)

// class is a set of kinds of octets; the kinds are RFC 3261 25.1's.
type class uint16

const (
	token     class = 1 << iota // token
	userChar                    // unreserved, user-unreserved, "%" of an escape; and "#", which phones dial
	passChar                    // password
	hostChar                    // hostname, and "_", which labs use
	paramChar                   // paramchar, "%" and "=": a URI parameter with its value
	hdrChar                     // hname and hvalue, "%", "=" and "&"
	visible                     // %x21-7E
	valueChar                   // of an unquoted parameter value: visible but for `"<>,;`
	nameChar                    // of a parameter name: valueChar but for "="
)

var classes = classify()

func classify() (t [256]class) {
	mark := func(c class, s string) {
		for i := range len(s) {
			t[s[i]] |= c
		}
	}
	for c := byte(0x21); c < 0x7f; c++ {
		t[c] |= visible
		if strings.IndexByte(`"<>,;`, c) < 0 {
			t[c] |= valueChar | nameChar
		}
		if isLetter(c) || isDigit(c) {
			t[c] |= token | userChar | passChar | hostChar | paramChar | hdrChar
		}
	}
	mark(token, "-.!%*_+`'~")
	mark(userChar|passChar|paramChar|hdrChar, "-_.!~*'()%") // unreserved and escapes
	mark(userChar, "&=+$,;?/#")
	mark(passChar, "&=+$,")
	mark(hostChar, "-._")
	mark(paramChar, "[]/:&+$=")
	mark(hdrChar, "[]/?:+$=&")
	t['='] &^= nameChar
	return t
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// every says that s holds only octets of c; the empty string does.
func every(s string, c class) bool {
	for i := range len(s) {
		if classes[s[i]]&c == 0 {
			return false
		}
	}
	return true
}

// count is how many leading octets of s are of c.
func count(s string, c class) int {
	for i := range len(s) {
		if classes[s[i]]&c == 0 {
			return i
		}
	}
	return len(s)
}

func trimLeft[T string | []byte](s T) T {
	for len(s) > 0 && isBlank(s[0]) {
		s = s[1:]
	}
	return s
}

func trimRight[T string | []byte](s T) T {
	for len(s) > 0 && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func trim[T string | []byte](s T) T { return trimLeft(trimRight(s)) }

// equalFold compares ASCII in any letter case. Unlike strings.EqualFold it knows no
// Kelvin sign.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if x, y := a[i], b[i]; x != y && (x|0x20 != y|0x20 || !isLetter(x)) {
			return false
		}
	}
	return true
}

// lower is s with ASCII capitals made small; s itself when it has none.
func lower(s string) string {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'Z' {
			return strings.ToLower(s)
		}
	}
	return s
}

// view is b as a string without a copy. It may be looked at only while b lasts
// and does not change: nothing of it is kept.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// quoted is the length of the quoted-string s begins with, 0 when it does not end.
func quoted(s string) int {
	end := strings.IndexByte(s[1:], '"') + 2
	if end == 1 {
		return 0
	}
	if strings.IndexByte(s[:end], '\\') < 0 {
		return end
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// unquote undoes a quoted-string; other text is returned as it is.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// Quote writes s as a quoted-string (RFC 3261 25.1).
func Quote(s string) string { return string(AppendQuoted(make([]byte, 0, len(s)+2), s)) }

// AppendQuoted appends Quote to b.
func AppendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if c := s[i]; c == '"' || c == '\\' || c < 0x20 && c != '\t' || c == 0x7f {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

// comma is where the first element of a comma list ends, minding quotes and <>:
// at a comma or the end of s. ok is false when a quote or bracket is left open.
func comma(s string) (end int, ok bool) {
	if strings.IndexByte(s, ',') < 0 {
		return len(s), true // what is left open in it, its own reader sees
	}
	bracket := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			n := quoted(s[i:])
			if n == 0 {
				return len(s), false
			}
			i += n - 1
		case '<':
			bracket = true
		case '>':
			bracket = false
		case ',':
			if !bracket {
				return i, true
			}
		}
	}
	return len(s), !bracket
}

// cutParam takes the first parameter off a list that has lost its leading ";".
// value is as written, quotes included. more says that a ";" followed.
func cutParam(s string) (name, value, rest string, more, ok bool) {
	s = trimLeft(s)
	n := count(s, nameChar)
	name, s = s[:n], trimLeft(s[n:])
	if s != "" && s[0] == '=' {
		s = trimLeft(s[1:])
		if n = count(s, valueChar); n == 0 && s != "" && s[0] == '"' {
			if n = quoted(s); n == 0 {
				return "", "", "", false, false
			}
		}
		value, s = s[:n], trimLeft(s[n:])
	}
	switch {
	case name == "":
		return "", "", "", false, false
	case s == "":
		return name, value, "", false, true
	case s[0] == ';':
		return name, value, s[1:], true, true
	}
	return "", "", "", false, false
}

// params checks the parameters of a header field: s is "" or begins with ";". once
// is the name of one that may stand once only, with a value that is not quoted; its
// value is returned.
func params(s, once string) (value string, ok bool) {
	if s == "" {
		return "", true
	}
	if s[0] != ';' {
		return "", false
	}
	s, seen := s[1:], false
	for more := true; more; {
		var name, v string
		if name, v, s, more, ok = cutParam(s); !ok {
			return "", false
		}
		if !equalFold(name, once) {
			continue
		}
		if seen || v == "" || v[0] == '"' {
			return "", false
		}
		value, seen = v, true
	}
	return value, true
}

// number reads digits, as many as there are; ok is false for anything else, and above limit.
func number[T string | []byte](s T, limit uint64) (n uint64, ok bool) {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		if n = n*10 + uint64(s[i]-'0'); n > limit {
			return 0, false
		}
	}
	return n, len(s) > 0
}
