package sip

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/siproam/siproam/roam"
)

// URI is a sip:, sips: or tel: URI (RFC 3261 19.1, RFC 3966) taken apart. Escapes
// that need not be are undone in User, so that equal users compare equal.
type URI struct {
	Scheme   string // lower case: "sip", "sips", "tel"
	User     string // unescaped; of a tel URI the number
	Password string
	Host     string // lower case; IPv6 with brackets
	Port     uint16 // 0: not given
	Params   Params // as written, without the first ";"
	Headers  string // as written, after "?"
}

// ParseURI reads a URI. Errors are *Refused: 400, or 416 for a scheme we do not know.
func ParseURI(b []byte) (URI, error) {
	s := string(b)
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || !schemeToken(scheme) || strings.ContainsAny(s, " \t\r\n<>\"\x00") {
		return URI{}, bad("URI")
	}
	u := URI{Scheme: strings.ToLower(scheme)}
	switch u.Scheme {
	case "sip", "sips":
		return u.sip(rest)
	case "tel":
		return u.tel(rest)
	}
	return u, &Refused{Why: roam.BadRequest, Code: 416}
}

func schemeToken(s string) bool {
	if s == "" || !(s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z') {
		return false
	}
	return token(s)
}

// sip reads what follows "sip:" (25.1, SIP-URI).
func (u URI) sip(s string) (URI, error) {
	if at := strings.IndexByte(s, '@'); at >= 0 { // no "@" may follow the user unescaped
		user, password, _ := strings.Cut(s[:at], ":")
		var ok1, ok2 bool
		u.User, ok1 = unescape(user)
		u.Password, ok2 = unescape(password)
		if user == "" || !ok1 || !ok2 {
			return u, bad("URI user")
		}
		s = s[at+1:]
	}
	s, u.Headers, _ = strings.Cut(s, "?")
	hostport, params, found := strings.Cut(s, ";")
	if found && params == "" || strings.ContainsRune(s, '@') {
		return u, bad("URI parameters")
	}
	u.Params = Params(params)
	host, port, ok := splitHost(hostport)
	if !ok {
		return u, bad("URI host")
	}
	u.Host, u.Port = host, port
	return u, nil
}

// splitHost reads host [":" port]; host comes in lower case.
func splitHost(s string) (host string, port uint16, ok bool) {
	rest := ""
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, false
		}
		host, rest = s[:end+1], s[end+1:]
		if a, err := netip.ParseAddr(host[1:end]); err != nil || !a.Is6() || a.Zone() != "" {
			if a, err = netip.ParseAddr(strings.Replace(host[1:end], ":::", "::", 1)); err != nil { // RFC 5118 4.10
				return "", 0, false
			}
			host = "[" + a.String() + "]"
		}
	} else {
		if i := strings.IndexByte(s, ':'); i >= 0 {
			host, rest = s[:i], s[i:]
		} else {
			host = s
		}
		for i := 0; i < len(host); i++ {
			c := host[i]
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_') {
				return "", 0, false
			}
		}
	}
	if host == "" {
		return "", 0, false
	}
	if rest != "" {
		n, ok := number([]byte(rest[1:]), 65535)
		if rest[0] != ':' || !ok || n == 0 {
			return "", 0, false
		}
		port = uint16(n)
	}
	return strings.ToLower(host), port, true
}

// tel reads what follows "tel:" (RFC 3966 3).
func (u URI) tel(s string) (URI, error) {
	number, params, _ := strings.Cut(s, ";")
	u.Params = Params(params)
	var b strings.Builder
	for i := 0; i < len(number); i++ {
		switch c := number[i]; {
		case c >= '0' && c <= '9', c == '+' && i == 0, c == '*', c == '#':
			b.WriteByte(c)
		case c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
			b.WriteByte(c)
		case c == '-' || c == '.' || c == '(' || c == ')':
		default:
			return u, bad("tel URI")
		}
	}
	if u.User = b.String(); u.User == "" {
		return u, bad("tel URI")
	}
	return u, nil
}

// unescape undoes %HH; ok is false for a broken escape.
func unescape(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		v, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b = append(b, byte(v))
		i += 2
	}
	return string(b), true
}

const (
	unreserved = "-_.!~*'()"
	userMarks  = "&=+$,;?/"
	passMarks  = "&=+$,"
)

// escape writes s with every octet escaped that is neither unreserved nor in marks.
func escape(b *strings.Builder, s, marks string) {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			strings.IndexByte(unreserved, c) >= 0 || strings.IndexByte(marks, c) >= 0 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
}

// String writes u with the escapes RFC 3261 25 asks for.
func (u URI) String() string {
	var b strings.Builder
	b.WriteString(u.Scheme)
	b.WriteByte(':')
	if u.Scheme == "tel" {
		b.WriteString(u.User)
	} else {
		if u.User != "" {
			escape(&b, u.User, userMarks)
			if u.Password != "" {
				b.WriteByte(':')
				escape(&b, u.Password, passMarks)
			}
			b.WriteByte('@')
		}
		b.WriteString(u.Host)
		if u.Port != 0 {
			b.WriteByte(':')
			b.WriteString(strconv.Itoa(int(u.Port)))
		}
	}
	if u.Params != "" {
		b.WriteByte(';')
		b.WriteString(string(u.Params))
	}
	if u.Headers != "" {
		b.WriteByte('?')
		b.WriteString(u.Headers)
	}
	return b.String()
}

// Transport is the transport parameter in lower case, "" when absent; sips is "tls".
func (u URI) Transport() string {
	if u.Scheme == "sips" {
		return "tls"
	}
	t, _ := u.Params.Get("transport")
	return strings.ToLower(t)
}

// Equal compares by RFC 3261 19.1.4.
func (u URI) Equal(v URI) bool {
	if u.Scheme != v.Scheme || u.User != v.User || u.Password != v.Password || u.Host != v.Host || u.Port != v.Port {
		return false
	}
	return paramsAgree(u.Params, v.Params) && paramsAgree(v.Params, u.Params) && headersEqual(u.Headers, v.Headers)
}

// paramsAgree says that each parameter of a is equal in b, or absent there and of no weight.
func paramsAgree(a, b Params) bool {
	for p := range a.all() {
		name, value, _ := strings.Cut(p, "=")
		other, found := b.Get(strings.TrimSpace(name))
		if found && !strings.EqualFold(strings.TrimSpace(value), other) {
			return false
		}
		if !found {
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "user", "ttl", "method", "maddr", "transport":
				return false
			}
		}
	}
	return true
}

func headersEqual(a, b string) bool {
	if a == b {
		return true
	}
	count := map[string]int{}
	for _, h := range strings.Split(a, "&") {
		count[strings.ToLower(h)]++
	}
	for _, h := range strings.Split(b, "&") {
		count[strings.ToLower(h)]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// AOR is a public address in canonical form: "user@host", or "+15550001001"
// for a global number of a tel URI; no scheme, no parameters, no port (10.3).
type AOR string

// AOR is u in canonical form. An empty user is an error, but a bare host is not: "north.example".
func (u URI) AOR() (AOR, error) {
	if u.Scheme == "tel" {
		if context, found := u.Params.Get("phone-context"); found && !strings.HasPrefix(u.User, "+") {
			if strings.HasPrefix(context, "+") {
				return AOR(context + u.User), nil
			}
			return AOR(u.User + "@" + strings.ToLower(context)), nil
		}
		return AOR(u.User), nil
	}
	if u.Host == "" {
		return "", bad("URI host")
	}
	if u.User == "" {
		return AOR(u.Host), nil
	}
	return AOR(u.User + "@" + u.Host), nil
}

// User is the part before "@"; all of a number.
func (a AOR) User() string {
	user, _, _ := strings.Cut(string(a), "@")
	return user
}

// Host is the part after the last "@", "" for a number.
func (a AOR) Host() string {
	if i := strings.LastIndexByte(string(a), '@'); i >= 0 {
		return string(a[i+1:])
	}
	return ""
}
