package provision

import (
	"encoding/xml"
	"fmt"
	"strings"
	"text/template"
	"unicode"
)

// escapeName is the function that every value goes through; a template may not call it, and cannot leave it out.
const escapeName = "escape_value"

// functions is what templates can call.
func functions(format string) template.FuncMap {
	return template.FuncMap{
		escapeName: func(v any) string { return escape(format, fmt.Sprint(v)) },
		"upper":    strings.ToUpper,
		"lower":    strings.ToLower,
		"add":      func(a, b int) int { return a + b },
		"minutes":  func(seconds int) int { return max(1, seconds/60) },
		"join":     func(all []string, with string) string { return strings.Join(all, with) },
		"choose":   choose,
		"plain":    plain,
	}
}

// choose is the word after the one that is v, of pairs: choose .Transport "udp" "0" "tcp" "1" "tls" "2".
func choose(v string, pairs ...string) (string, error) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == v {
			return pairs[i+1], nil
		}
	}
	return "", fmt.Errorf("choose: nothing for %q", v)
}

// plain leaves letters, digits, blanks and what stands in numbers and codes of v: for values within values.
func plain(v string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" +*#.-_", r) {
			return r
		}
		return -1
	}, v)
}

// escape makes v harmless where a template puts it. Whatever the format, it stays on its line.
//
//   - xml: in text and between quotes
//   - lines: "key = value"; what follows is the value, whatever is in it
//   - address: a name-addr with parameters (RFC 3261 25.1); what would end a name or begin a parameter is left out
func escape(format, v string) string {
	v = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(v, "\uFFFD"))
	switch format {
	case "xml":
		var b strings.Builder
		xml.EscapeText(&b, []byte(v)) // a Builder takes everything
		return b.String()
	case "address":
		return strings.TrimSpace(strings.Map(func(r rune) rune {
			if strings.ContainsRune("\"<>;,\\", r) {
				return -1
			}
			return r
		}, v))
	}
	return strings.TrimSpace(v)
}
