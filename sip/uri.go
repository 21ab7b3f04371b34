package sip

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/siproam/siproam/roam"
)

// URI is a sip:, sips: or tel: URI (RFC 3261 19.1, RFC 3966) taken apart. Escapes
// that need not be are undone, so that equal users compare equal.
type URI struct {
	Scheme   string // lower case: "sip", "sips", "tel"
	User     string // unescaped; of a tel URI the number without visual separators
	Password string // unescaped
	Host     string // lower case; IPv6 with brackets
	Port     uint16 // 0: not given
	Params   Params // without the first ";"; escapes of unreserved characters are undone
	Headers  string // as written, after "?"
}

// maxParams is the most parameters, and the most headers, a URI may have: comparing two
// URIs takes the product of theirs.
const maxParams = 64

// unknownScheme is the problem of a URI that is none of ours but well formed.
const unknownScheme = "unknown scheme"

// ParseURI reads a URI. Errors are *Refused: 400, or 416 for a scheme we do not know;
// then Scheme is set.
func ParseURI(b []byte) (URI, error) {
	var u URI
	switch problem := u.parse(string(b)); problem {
	case "":
		return u, nil
	case unknownScheme:
		return URI{Scheme: u.Scheme}, &Refused{Why: roam.BadRequest, Code: 416}
	default:
		return URI{}, bad(problem)
	}
}

// parse reads s into u, whose strings are pieces of s as far as they can be. The
// problem is "" when there is none.
func (u *URI) parse(s string) (problem string) {
	if len(s) > 4 && s[:4] == "sip:" {
		u.Scheme = "sip"
		return u.sip(s[4:])
	}
	i := strings.IndexByte(s, ':')
	if i < 1 || i == len(s)-1 || !isScheme(s[:i]) || !every(s, visible) || strings.ContainsAny(s, `<>"`) {
		return "URI"
	}
	switch u.Scheme = lower(s[:i]); u.Scheme {
	case "sip", "sips":
		return u.sip(s[i+1:])
	case "tel":
		return u.tel(s[i+1:])
	}
	return unknownScheme
}

// isScheme is RFC 3261 25.1, scheme.
func isScheme(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && (i == 0 || !isDigit(c) && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return true
}

// sip reads what follows "sip:" (25.1, SIP-URI). An unescaped "@" ends the user and
// may stand nowhere else.
func (u *URI) sip(s string) string {
	if at := strings.IndexByte(s, '@'); at >= 0 {
		user, password, _ := strings.Cut(s[:at], ":")
		var ok bool
		if u.User, ok = component(user, userChar); !ok || user == "" {
			return "URI user"
		}
		if password == "" {
			// the usual case
		} else if u.Password, ok = component(password, passChar); !ok {
			return "URI password"
		}
		s = s[at+1:]
	}
	host, port, rest, ok := hostPort(s)
	if !ok {
		return "URI host"
	}
	u.Host, u.Port = host, port
	if rest == "" {
		return ""
	}
	rest, headers, found := strings.Cut(rest, "?")
	if found && (headers == "" || !every(headers, hdrChar) || !escapesRight(headers) || strings.Count(headers, "&") >= maxParams) {
		return "URI headers"
	}
	u.Headers = headers
	return u.params(rest, paramChar)
}

// params reads what is left of a URI: nothing, or parameters.
func (u *URI) params(s string, c class) string {
	if s == "" {
		return ""
	}
	if s[0] != ';' || !escapesRight(s) {
		return "URI parameters"
	}
	s = s[1:]
	for n, rest, more := 0, s, true; more; n++ {
		var one string
		one, rest, more = strings.Cut(rest, ";")
		if n == maxParams || one == "" || one[0] == '=' || !every(one, c) {
			return "URI parameters"
		}
	}
	u.Params = Params(plain(s))
	return ""
}

// tel reads what follows "tel:" (RFC 3966 3). A number that is not global has digits
// of its context's choice, "*" and "#" with them.
func (u *URI) tel(s string) string {
	number, rest := s, ""
	if i := strings.IndexByte(s, ';'); i >= 0 {
		number, rest = s[:i], s[i:]
	}
	u.User = digits(number)
	global := strings.HasPrefix(u.User, "+")
	for i := range len(u.User) {
		c := u.User[i]
		hex := isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' || c == '*' || c == '#'
		if i == 0 && global || isDigit(c) || hex && !global {
			continue
		}
		return "telephone number"
	}
	if u.User == "" || u.User == "+" {
		return "telephone number"
	}
	return u.params(rest, paramChar)
}

// digits is a telephone number without visual separators.
func digits(s string) string {
	if !strings.ContainsAny(s, "-.()") {
		return s
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("-.()", r) {
			return -1
		}
		return r
	}, s)
}

// hostPort reads host [":" port] off s. The host comes in lower case.
func hostPort(s string) (host string, port uint16, rest string, ok bool) {
	if host, rest, ok = cutHost(s); !ok || rest == "" || rest[0] != ':' {
		return host, 0, rest, ok
	}
	port, rest, ok = cutPort(rest[1:])
	return host, port, rest, ok
}

func cutHost(s string) (host, rest string, ok bool) {
	if s != "" && s[0] == '[' {
		i := strings.IndexByte(s, ']') + 1
		if i == 0 {
			return "", "", false
		}
		a, err := netip.ParseAddr(s[1 : i-1])
		return lower(s[:i]), s[i:], err == nil && a.Is6() && a.Zone() == ""
	}
	n, capital := 0, false
	for n < len(s) && classes[s[n]]&hostChar != 0 {
		if s[n] == '.' && (n == 0 || s[n-1] == '.') {
			return "", "", false // an empty label
		}
		capital = capital || s[n] >= 'A' && s[n] <= 'Z'
		n++
	}
	if host = s[:n]; capital {
		host = strings.ToLower(host)
	}
	return host, s[n:], n > 0
}

func cutPort(s string) (port uint16, rest string, ok bool) {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	v, ok := number(s[:n], 65535)
	return uint16(v), s[n:], ok && v != 0
}

// component unescapes a piece of a URI that may hold octets of c and escapes.
func component(s string, c class) (string, bool) {
	if !every(s, c) {
		return "", false
	}
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	if !escapesRight(s) {
		return "", false
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		b = append(b, c)
	}
	return string(b), true
}

// escapesRight says that every "%" begins an escape.
func escapesRight(s string) bool {
	for i := strings.IndexByte(s, '%'); i >= 0 && i < len(s); i++ {
		if s[i] == '%' && (i+2 >= len(s) || unhex(s[i+1]) > 15 || unhex(s[i+2]) > 15) {
			return false
		}
	}
	return true
}

// plain undoes the escapes of unreserved characters, which mean the same without (19.1.4).
func plain(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		b = appendEscaped(b, unhex(s[i+1])<<4|unhex(s[i+2]), "")
		i += 2
	}
	return string(b)
}

// unhex is the value of a hexadecimal digit, 255 of anything else.
func unhex(c byte) byte {
	switch {
	case isDigit(c):
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 255
}

const (
	unreserved = "-_.!~*'()"
	userMarks  = "&=+$,;?/"
	passMarks  = "&=+$,"
)

// appendEscaped writes c, as an escape unless it is unreserved or in marks.
func appendEscaped(b []byte, c byte, marks string) []byte {
	if isLetter(c) || isDigit(c) || strings.IndexByte(unreserved, c) >= 0 || strings.IndexByte(marks, c) >= 0 {
		return append(b, c)
	}
	const hex = "0123456789ABCDEF"
	return append(b, '%', hex[c>>4], hex[c&15])
}

func escape(b []byte, s, marks string) []byte {
	for i := range len(s) {
		b = appendEscaped(b, s[i], marks)
	}
	return b
}

// String writes u with the escapes RFC 3261 25 asks for.
func (u URI) String() string { return string(u.Append(nil)) }

// Append appends String to b.
func (u URI) Append(b []byte) []byte {
	b = append(b, u.Scheme...)
	b = append(b, ':')
	if u.Scheme == "tel" {
		b = append(b, u.User...)
	} else {
		if u.User != "" {
			b = escape(b, u.User, userMarks)
			if u.Password != "" {
				b = escape(append(b, ':'), u.Password, passMarks)
			}
			b = append(b, '@')
		}
		b = append(b, u.Host...)
		if u.Port != 0 {
			b = strconv.AppendUint(append(b, ':'), uint64(u.Port), 10)
		}
	}
	if u.Params != "" {
		b = append(append(b, ';'), u.Params...)
	}
	if u.Headers != "" {
		b = append(append(b, '?'), u.Headers...)
	}
	return b
}

// Transport is the transport parameter in lower case, "" when absent; sips is "tls".
func (u URI) Transport() string {
	if u.Scheme == "sips" {
		return "tls"
	}
	t, _ := u.Params.Get("transport")
	return lower(t)
}
