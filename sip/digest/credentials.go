package digest

import (
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Credentials is one Authorization or Proxy-Authorization taken apart; strings are unquoted. They are
// pieces of what was parsed, valid for as long as that is.
type Credentials struct {
	Username, Realm, Nonce, URI, Response, Algorithm, CNonce, Opaque, QOP string
	NC                                                                    uint32

	nc string // NC as written: it goes into the hash
}

// count is the nonce count as it goes into the hash.
func (c *Credentials) count() string {
	if c.nc != "" {
		return c.nc
	}
	return fmt.Sprintf("%08x", c.NC)
}

func bad(reason string) *sip.Refused {
	return &sip.Refused{Why: roam.BadRequest, Code: 400, Reason: "Bad Request - " + reason}
}

// Parse reads the value of an Authorization or Proxy-Authorization. ok is false for
// another scheme than Digest; a malformed one is a *sip.Refused of 400: a parameter
// we read stands twice, one that must be there is missing, nc is not 8 hexadecimal
// digits. Unknown parameters and empty list elements are passed over. c borrows value.
func Parse(value []byte) (c Credentials, ok bool, err error) {
	s := trimLeft(unsafe.String(unsafe.SliceData(value), len(value)))
	scheme, rest, _ := strings.Cut(strings.ReplaceAll(s, "\t", " "), " ")
	if scheme != "Digest" && !strings.EqualFold(scheme, "Digest") {
		return Credentials{}, false, nil
	}
	seen := 0
	for rest = skip(rest); rest != ""; rest = skip(rest) {
		var name, v string
		if name, v, rest, ok = cut(rest); !ok {
			return Credentials{}, true, bad("credentials")
		}
		to, known, bit := c.at(name)
		if to == nil {
			continue
		}
		if seen&bit != 0 {
			return Credentials{}, true, bad(known + " twice in the credentials")
		}
		seen |= bit
		*to = v
	}
	if err := c.check(); err != nil {
		return Credentials{}, true, err
	}
	return c, true, nil
}

// at is where the value of a parameter goes, its name, and a bit of its own; nil for one we do not read.
func (c *Credentials) at(name string) (value *string, known string, bit int) {
	if name == "" {
		return nil, "", 0
	}
	switch name[0] | 0x20 { // no two of a letter have the same length
	case 'u':
		if value, known, bit = &c.Username, "username", 1; len(name) == len("uri") {
			value, known, bit = &c.URI, "uri", 2
		}
	case 'r':
		if value, known, bit = &c.Response, "response", 4; len(name) == len("realm") {
			value, known, bit = &c.Realm, "realm", 8
		}
	case 'n':
		if value, known, bit = &c.Nonce, "nonce", 16; len(name) == len("nc") {
			value, known, bit = &c.nc, "nc", 32
		}
	case 'a':
		value, known, bit = &c.Algorithm, "algorithm", 64
	case 'c':
		value, known, bit = &c.CNonce, "cnonce", 128
	case 'o':
		value, known, bit = &c.Opaque, "opaque", 256
	case 'q':
		value, known, bit = &c.QOP, "qop", 512
	}
	if name != known && !(len(name) == len(known) && strings.EqualFold(name, known)) {
		return nil, "", 0
	}
	return value, known, bit
}

// check refuses what no phone can mean (RFC 7616 3.4).
func (c *Credentials) check() error {
	if c.Username == "" || c.Realm == "" || c.Nonce == "" || c.URI == "" || c.Response == "" {
		return bad("incomplete credentials")
	}
	if c.QOP != "" && (c.nc == "" || c.CNonce == "") {
		return bad("qop without nc and cnonce")
	}
	if c.nc != "" {
		n, err := strconv.ParseUint(c.nc, 16, 32)
		if err != nil || len(c.nc) != 8 {
			return bad("nonce count")
		}
		c.NC = uint32(n)
	}
	return nil
}

func skip(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t' || s[0] == ',') {
		s = s[1:]
	}
	return s
}

func trimLeft(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	return s
}

func trimRight(s string) string {
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// cut takes one parameter off s. A value is a token or a quoted-string (RFC 3261 25.1, auth-param).
func cut(s string) (name, value, rest string, ok bool) {
	end := index3(s, '=', ',', '"')
	if end < 0 || s[end] == ',' { // a flag
		if end < 0 {
			end = len(s)
		}
		name = trimRight(s[:end])
		return name, "", s[end:], index3(name, ' ', ' ', '\t') < 0
	}
	name, s = trimRight(s[:end]), s[end:]
	if s[0] == '"' || name == "" || index3(name, ' ', ' ', '\t') >= 0 {
		return "", "", "", false
	}
	s = trimLeft(s[1:])
	if strings.HasPrefix(s, `"`) {
		value, s, ok = unquote(s)
	} else {
		end := index3(s, ',', ' ', '\t')
		if end < 0 {
			end = len(s)
		}
		value, s, ok = s[:end], s[end:], end > 0
	}
	if s = trimLeft(s); s != "" && s[0] != ',' {
		return "", "", "", false
	}
	return name, value, s, ok
}

// index3 is where the first of three octets is in s, -1 for none. Unlike strings.IndexAny it makes no table.
func index3(s string, x, y, z byte) int {
	for i := range len(s) {
		if c := s[i]; c == x || c == y || c == z {
			return i
		}
	}
	return -1
}

// unquote takes the quoted-string off that s begins with; ok is false when it does not end.
func unquote(s string) (value, rest string, ok bool) {
	if end := strings.IndexByte(s[1:], '"') + 1; end > 0 && strings.IndexByte(s[1:end], '\\') < 0 {
		return s[1:end], s[end+1:], true // nearly always
	}
	end := 1
	for end < len(s) && s[end] != '"' {
		if s[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(s) {
		return "", "", false
	}
	value, rest = s[1:end], s[end+1:]
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' {
			i++
		}
		b.WriteByte(value[i])
	}
	return b.String(), rest, true
}
