package sip

import (
	"bytes"
	"iter"
	"strconv"
	"strings"
)

// Params is a parameter list as written: `lr;transport=tcp`. Names compare in any letter case.
type Params string

// all yields each parameter as written, trimmed.
func (p Params) all() iter.Seq[string] {
	return func(yield func(string) bool) {
		for s := string(p); s != ""; {
			one, rest := cutParam(s)
			if s = rest; !yield(strings.Trim(one, " \t\r\n")) {
				return
			}
		}
	}
}

// cutParam is the first parameter, honouring quotes.
func cutParam(s string) (one, rest string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ';' && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// Get is the value of name, unquoted; found even when it has no value.
func (p Params) Get(name string) (value string, found bool) {
	for one := range p.all() {
		k, v, _ := strings.Cut(one, "=")
		k = strings.TrimRight(k, " \t")
		if !equalFold(k, name) {
			if strings.IndexByte(k, '%') < 0 {
				continue
			}
			if k, _ = unescape(k); !equalFold(k, name) { // RFC 4475 3.1.1.3
				continue
			}
		}
		return unquote(strings.TrimLeft(v, " \t")), true
	}
	return "", false
}

// check refuses what is no list of parameters: empty ones, open quotes, values that are no token or host.
func (p Params) check() bool {
	if p == "" {
		return true
	}
	s := string(p)
	for {
		one, rest := cutParam(s)
		name, value, has := strings.Cut(strings.Trim(one, " \t\r\n"), "=")
		value = strings.TrimLeft(value, " \t")
		if !token(strings.TrimRight(name, " \t")) || has && value == "" {
			return false
		}
		if strings.HasPrefix(value, `"`) {
			if !closedQuote(value) {
				return false
			}
		} else if strings.ContainsAny(value, " \t\",<>") {
			return false
		}
		if rest == "" {
			return len(one) == len(s) // no ";" at the end
		}
		s = rest
	}
}

// closedQuote says that s is exactly one quoted string.
func closedQuote(s string) bool {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i == len(s)-1
		}
	}
	return false
}

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

// Quote writes s as a quoted string (25.1).
func Quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
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
// kept in Raw, with its Scheme only.
func ParseAddress(b []byte) (a Address, err error) {
	b = bytes.Trim(b, " \t\r\n")
	if len(b) == 1 && b[0] == '*' {
		return Address{Star: true}, nil
	}
	s := string(b)
	rest := ""
	open := strings.IndexByte(s, '<')
	if strings.HasPrefix(s, `"`) {
		end := quoteEnd(s)
		if end < 0 {
			return a, bad("open quote")
		}
		a.Display = unquote(s[:end])
		s = strings.TrimLeft(s[end:], " \t\r\n")
		if open = 0; !strings.HasPrefix(s, "<") {
			return a, bad("no <URI> after a display name")
		}
	} else if open > 0 {
		a.Display = strings.TrimRight(s[:open], " \t\r\n")
		for _, w := range strings.Fields(a.Display) {
			if !token(w) {
				return a, bad("display name needs quotes")
			}
		}
	}
	if open >= 0 {
		end := strings.IndexByte(s, '>')
		if end < open {
			return a, bad("open bracket")
		}
		a.Raw, rest = s[open+1:end], strings.TrimLeft(s[end+1:], " \t\r\n")
		if rest != "" && rest[0] != ';' {
			return a, bad("after an address")
		}
	} else {
		a.Raw = s
		if i := strings.IndexByte(s, ';'); i >= 0 { // 20: parameters belong to the header
			a.Raw, rest = strings.TrimRight(s[:i], " \t\r\n"), s[i:]
		}
		if strings.ContainsAny(a.Raw, "?,") {
			return a, bad("address needs <>")
		}
	}
	a.URI, err = ParseURI([]byte(a.Raw))
	if r, ok := err.(*Refused); ok && r.Code != 416 {
		return a, err
	}
	if rest != "" {
		a.Params = Params(strings.Trim(rest[1:], " \t\r\n"))
		if a.Params == "" || !a.Params.check() {
			return a, bad("address parameters")
		}
	}
	return a, nil
}

// quoteEnd is where the quoted string that begins s ends, -1 when it does not.
func quoteEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// String writes `"Display" <uri>;params`.
func (a Address) String() string {
	if a.Star {
		return "*"
	}
	raw := a.Raw
	if raw == "" {
		raw = a.URI.String()
	}
	s := "<" + raw + ">"
	if a.Display != "" {
		s = Quote(a.Display) + " " + s
	}
	if a.Params != "" {
		s += ";" + string(a.Params)
	}
	return s
}

// ViaValue is one Via (20.42).
type ViaValue struct {
	Transport string // "UDP", upper case
	Host      string
	Port      uint16 // 0: not given
	Params    Params
}

// ParseVia reads one Via value.
func ParseVia(b []byte) (v ViaValue, err error) {
	s := string(bytes.Trim(b, " \t\r\n"))
	protocol, s, ok1 := strings.Cut(s, "/")
	version, s, ok2 := strings.Cut(s, "/")
	s = strings.TrimLeft(s, " \t")
	sp := strings.IndexAny(s, " \t")
	if !ok1 || !ok2 || sp < 0 || !equalFold(strings.Trim(protocol, " \t"), "SIP") || !token(strings.Trim(version, " \t")) || !token(s[:sp]) {
		return v, bad("Via")
	}
	v.Transport = strings.ToUpper(s[:sp])
	by, params, found := strings.Cut(strings.TrimLeft(s[sp:], " \t"), ";")
	by = strings.Trim(by, " \t")
	if i := strings.LastIndexByte(by, ':'); i > strings.LastIndexByte(by, ']') { // blanks may stand around the colon
		by = strings.TrimRight(by[:i], " \t") + ":" + strings.TrimLeft(by[i+1:], " \t")
	}
	if v.Host, v.Port, ok1 = splitHost(by); !ok1 {
		return v, bad("Via host")
	}
	if v.Params = Params(strings.Trim(params, " \t")); found && (v.Params == "" || !v.Params.check()) {
		return v, bad("Via parameters")
	}
	return v, nil
}

// sentBy is host[:port].
func (v ViaValue) sentBy() string {
	if v.Port == 0 {
		return v.Host
	}
	return v.Host + ":" + strconv.Itoa(int(v.Port))
}
