package office

import (
	"bytes"
	"slices"
	"strings"
)

// secret is the header fields whose parameters prove something, in lower case, and which parameters those are.
var secret = []string{"authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate", "authentication-info"}

// proofs are the parameters of digest (RFC 7616) that help whoever guesses passwords.
var proofs = []string{"response", "nonce", "cnonce", "nextnonce", "rspauth", "opaque"}

// Mask overwrites, in place, what must not be shown of a SIP message: the proofs of digest, tickets, and the
// keys of SDES in SDP (RFC 4568). Lengths stay, so Content-Length stays true.
func Mask(b []byte) {
	head, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	for len(head) > 0 {
		field := unfolded(head)
		head = head[len(field):]
		name, value, _ := bytes.Cut(field, []byte(":"))
		name = lower(bytes.TrimSpace(name))
		switch {
		case string(name) == "roam-ticket":
			stars(value)
		case slices.Contains(secret, string(name)):
			parameters(value)
		}
	}
	for line := range bytes.Lines(body) {
		if i := bytes.Index(line, []byte("inline:")); i >= 0 && bytes.HasPrefix(line, []byte("a=crypto:")) {
			stars(line[i+len("inline:"):])
		}
	}
}

// unfolded is the first header field of head with the lines that it goes on in (RFC 3261 7.3.1).
func unfolded(head []byte) []byte {
	for end := 0; ; {
		i := bytes.IndexByte(head[end:], '\n')
		if i < 0 {
			return head
		}
		if end += i + 1; end == len(head) || head[end] != ' ' && head[end] != '\t' {
			return head[:end]
		}
	}
}

const blanks = " \t\r\n"

// parameters masks the values of proofs in a digest header field.
func parameters(field []byte) {
	small := lower(field)
	for _, p := range proofs {
		at := 0
		for {
			i := bytes.Index(small[at:], []byte(p))
			if i < 0 {
				break
			}
			start := at + i
			at = start + len(p)
			if start > 0 && strings.IndexByte(blanks+",", field[start-1]) < 0 {
				continue
			}
			value := bytes.TrimLeft(field[at:], blanks)
			if len(value) == 0 || value[0] != '=' {
				continue
			}
			stars(first(bytes.TrimLeft(value[1:], blanks)))
		}
	}
}

// first is the value that text begins with: a quoted-string without its quotes, to the end where they do not close, or a token.
func first(text []byte) []byte {
	if len(text) == 0 || text[0] != '"' {
		if end := bytes.IndexAny(text, blanks+","); end >= 0 {
			return text[:end]
		}
		return text
	}
	text = text[1:]
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return text[:i]
		}
	}
	return text
}

// lower is b with ASCII capitals made small, octet for octet: bytes.ToLower makes three of one that is no UTF-8.
func lower(b []byte) []byte {
	small := bytes.Clone(b)
	for i, c := range small {
		if 'A' <= c && c <= 'Z' {
			small[i] = c | 0x20
		}
	}
	return small
}

func stars(b []byte) {
	for i := range b {
		if strings.IndexByte(blanks, b[i]) < 0 {
			b[i] = '*'
		}
	}
}
