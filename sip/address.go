package sip

import "strings"

// Params is a parameter list as written: `lr;transport=tcp`. Names compare in any letter case.
type Params string

// Get is the value of name, unquoted; found even when it has no value.
func (p Params) Get(name string) (value string, found bool) {
	for n, v := range p.all {
		if equalFold(n, name) {
			return unquote(v), true
		}
	}
	return "", false
}

// all yields each parameter with its value as written, until one is malformed.
func (p Params) all(yield func(name, value string) bool) {
	for s, more := string(p), p != ""; more; {
		var name, value string
		var ok bool
		if name, value, s, more, ok = cutParam(s); !ok || !yield(name, value) {
			return
		}
	}
}

// Address is a name-addr or addr-spec with its parameters (20.10, 20.20, 20.39).
type Address struct {
	Display string // unquoted
	URI     URI
	Raw     string // the URI as written, for what must be echoed byte for byte
	Params  Params // the header's own, outside <>
	Star    bool   // Contact: *
}

// ParseAddress reads one name-addr or addr-spec. A URI of a scheme we do not know is
// kept in Raw; URI then holds nothing but the Scheme.
func ParseAddress(b []byte) (Address, error) {
	var a Address
	if problem := a.parse(trim(string(b))).problem; problem != "" {
		return Address{}, bad(problem)
	}
	return a, nil
}

// BorrowAddress is ParseAddress without a copy: the strings of a are pieces of b, as far as they can be,
// and valid for as long as b is and does not change.
func BorrowAddress(b []byte) (Address, error) {
	var a Address
	if problem := a.parse(trim(view(b))).problem; problem != "" {
		return Address{}, bad(problem)
	}
	return a, nil
}

// parsed is what parse saw beside the address itself.
type parsed struct {
	tag     string
	bracket bool   // name-addr
	problem string // "": none
}

// parse reads s, which is trimmed, into a. Its strings are pieces of s as far as they can be.
func (a *Address) parse(s string) parsed {
	if s == "*" {
		a.Star = true
		return parsed{}
	}
	display, s, bracket, ok := cutDisplay(s)
	if !ok {
		return parsed{problem: "display name"}
	}
	a.Display = display
	end := 0
	if bracket {
		if end = strings.IndexByte(s, '>'); end < 0 {
			return parsed{problem: "address"}
		}
		a.Raw, s = s[:end], trimLeft(s[end+1:])
	} else {
		for end < len(s) && s[end] != ';' && !isBlank(s[end]) {
			end++
		}
		a.Raw, s = s[:end], trimLeft(s[end:]) // 20: parameters are the header's, not the URI's
	}
	if problem := a.URI.parse(a.Raw); problem == unknownScheme {
		a.URI = URI{Scheme: a.URI.Scheme}
	} else if problem != "" {
		return parsed{problem: problem}
	}
	if !bracket && (strings.IndexByte(a.Raw, ',') >= 0 || strings.IndexByte(a.Raw, '?') >= 0) { // 20: needs <>
		return parsed{problem: "address without <>"}
	}
	tag, ok := params(s, "tag")
	if !ok {
		return parsed{problem: "address parameters"}
	}
	if s != "" {
		a.Params = Params(trim(s[1:]))
	}
	return parsed{tag: tag, bracket: bracket}
}

// cutDisplay takes the display name off an address, and "<" if bracket. A name that is
// not quoted is tokens (25.1).
func cutDisplay(s string) (display, rest string, bracket, ok bool) {
	if s == "" {
		return "", "", false, false
	}
	if s[0] == '<' {
		return "", s[1:], true, true
	}
	if s[0] == '"' {
		n := quoted(s)
		rest = trimLeft(s[n:])
		if n == 0 || rest == "" || rest[0] != '<' {
			return "", "", false, false
		}
		return unquote(s[:n]), rest[1:], true, true
	}
	i := 0
	for i < len(s) && (classes[s[i]]&token != 0 || isBlank(s[i])) {
		i++
	}
	switch {
	case i < len(s) && s[i] == '<':
		return trimRight(s[:i]), s[i+1:], true, true
	case i < len(s) && s[i] == ':':
		return "", s, false, true
	}
	return "", "", false, false
}

// String writes `"Display" <uri>;params`. The URI is Raw unless that is "".
func (a Address) String() string {
	if a.Star {
		return "*"
	}
	var b []byte
	if a.Display != "" {
		b = append(AppendQuoted(b, a.Display), ' ')
	}
	b = append(b, '<')
	if a.Raw != "" {
		b = append(b, a.Raw...)
	} else {
		b = a.URI.Append(b)
	}
	b = append(b, '>')
	if a.Params != "" {
		b = append(append(b, ';'), a.Params...)
	}
	return string(b)
}
