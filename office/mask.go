package office

import "bytes"

// secret is the header fields whose parameters prove something, in lower case, and which parameters those are.
var secret = []string{"authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate", "authentication-info"}

// proofs are the parameters of digest (RFC 7616) that help whoever guesses passwords.
var proofs = []string{"response", "nonce", "cnonce", "nextnonce", "rspauth", "opaque"}

// Mask overwrites, in place, what must not be shown of a SIP message: the proofs of digest, tickets, and the
// keys of SDES in SDP (RFC 4568). Lengths stay, so Content-Length stays true.
func Mask(b []byte) {
	head, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	masking := "" // of folded lines, too
	for line := range bytes.Lines(head) {
		if line[0] != ' ' && line[0] != '\t' {
			masking = ""
			name, _, _ := bytes.Cut(line, []byte(":"))
			for _, s := range append(secret, "roam-ticket") {
				if bytes.EqualFold(bytes.TrimSpace(name), []byte(s)) {
					masking = s
				}
			}
		}
		switch masking {
		case "":
		case "roam-ticket":
			_, value, _ := bytes.Cut(line, []byte(":"))
			stars(bytes.TrimRight(value, "\r\n"))
		default:
			parameters(line)
		}
	}
	for line := range bytes.Lines(body) {
		if i := bytes.Index(line, []byte("inline:")); i >= 0 && bytes.HasPrefix(line, []byte("a=crypto:")) {
			stars(bytes.TrimRight(line[i+len("inline:"):], "\r\n"))
		}
	}
}

// parameters masks the values of proofs in one line of a digest header field.
func parameters(line []byte) {
	small := lower(line)
	for _, p := range proofs {
		at := 0
		for {
			i := bytes.Index(small[at:], []byte(p))
			if i < 0 {
				break
			}
			start := at + i
			at = start + len(p)
			if start > 0 && !bytes.ContainsRune([]byte(" \t,"), rune(line[start-1])) {
				continue
			}
			value := bytes.TrimLeft(line[at:], " \t")
			if len(value) == 0 || value[0] != '=' {
				continue
			}
			value = bytes.TrimLeft(value[1:], " \t")
			if len(value) > 0 && value[0] == '"' {
				value, _, _ = bytes.Cut(value[1:], []byte(`"`))
			} else if end := bytes.IndexAny(value, ", \t\r\n"); end >= 0 {
				value = value[:end]
			}
			stars(value)
		}
	}
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
		if b[i] != ' ' {
			b[i] = '*'
		}
	}
}
