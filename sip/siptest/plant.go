package siptest

import (
	"fmt"
	"strings"
)

// Planted is a request with a header field in it that its sender may not say, or what another reader takes for one.
type Planted struct{ Name, Bytes string }

// Plant is every way we know to bring the header field name with value into a request, which is a start line and header
// fields, each ended by CRLF, Content-Length among them, and must have From, To, Contact and Call-ID as <sip:user@host>
// and a token. They are distinct.
func Plant(request, name, value string) (all []Planted) {
	seen := map[string]bool{}
	put := func(what, b string) {
		if b += "\r\n"; !seen[b] {
			seen[b] = true
			all = append(all, Planted{fmt.Sprintf("%s, %s (%d)", name, what, len(all)), b})
		}
	}
	start, rest, _ := strings.Cut(request, "\r\n")
	field := name + ": " + value

	// As a field of its own, in all spellings.
	for _, form := range []string{name, strings.ToLower(name), strings.ToUpper(name), name + " ", name + "\t", name + " \t "} {
		for _, colon := range []string{":", ": ", ":\t", ":\r\n ", ":\r\n\t\t"} {
			put("a field", request+form+colon+value+"\r\n")
		}
		put("first", start+"\r\n"+form+": "+value+"\r\n"+rest)
		put("twice", request+form+": "+value+"\r\n"+form+": "+value+"\r\n")
		put("a list", request+form+": "+value+", "+value+"\r\n")
	}
	// By a name that is the same to some.
	odd := []string{"%s\x01", "\x01%s", "%s\x00", "\x00%s", "%s\x0b", "%s\x7f", "%s\b", "\u00a0%s", "%s\u00a0", "\ufeff%s", "%s\u200b", "%s;", "%s,", "%s=", "\"%s\"", "(x)%s", "<%s>", "%s:", "X %s", "%s X", "%s\r", "%s\n", "\r%s", "\n%s", "%s\r\n "}
	for _, form := range odd {
		put("odd name", request+fmt.Sprintf(form, name)+": "+value+"\r\n")
	}
	for _, dash := range []string{"_", "", "--", ".", " ", "\u2010", "\u00ad", "%2D"} {
		put("another dash", request+strings.ReplaceAll(name, "-", dash)+": "+value+"\r\n")
	}
	// Behind something that ends a line to some, in fields that are read or cross.
	ends := []string{"\r", "\n", "\n\r", "\r\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u0085", "\u2028", "\xc0\x8a", "\xc0\x8d\xc0\x8a", "\xe0\x80\x8a", "\x00", "\\r\\n", "\\\r\\\n", "%0d%0a", "%0D%0A", "%00", "&#13;&#10;", "=0D=0A", "\u560d\u560a", "\r\n ", "\r\n\t"}
	for _, end := range ends {
		put("in Subject", request+"Subject: a"+end+field+"\r\n")
		put("in a quoted Subject", request+"Subject: \"a"+end+field+"\"\r\n")
		put("in Session-ID", request+"Session-ID: ab30317f1a784dc48ff824d0d3715d86"+end+field+"\r\n")
		put("in User-Agent", request+"User-Agent: a"+end+field+"\r\n")
		put("in Privacy", request+"Privacy: id"+end+field+"\r\n")
		put("in a preferred name", request+"P-Preferred-Identity: \"a"+end+field+"\" <sip:1001@north.example>\r\n")
		for _, in := range []string{"From: ", "To: ", "Contact: "} {
			put("in the name of "+in, strings.Replace(request, in+"<", in+"\"a"+end+field+"\" <", 1))
			put("in a parameter of "+in, strings.Replace(request, in, in+"\"\" ", 1)) // without, as it should be
			at := strings.Index(request, in)
			if line := strings.Index(request[at:], "\r\n"); at >= 0 && line >= 0 {
				put("behind "+in, request[:at+line]+";x=\"a"+end+field+"\""+request[at+line:])
			}
			put("in the user of "+in, strings.Replace(request, in+"<sip:", in+"<sip:a"+end+strings.ReplaceAll(field, " ", "")+"-", 1))
			put("in the URI of "+in, strings.Replace(request, ">", "?"+name+"="+end+">", 1))
		}
		put("in Call-ID", strings.Replace(request, "Call-ID: ", "Call-ID: a"+end+field, 1))
		put("in the start line", strings.Replace(request, "@", end+strings.ReplaceAll(field, " ", "")+"@", 1))
		put("behind the start line", start+end+field+"\r\n"+rest)
	}
	// In the Request-URI, where a phone's dial string ends up.
	for _, form := range []string{"?%s=%s", ";%s=%s", "?a=b&%s=%s", ";a?%s=%s"} {
		put("in the Request-URI", strings.Replace(request, " SIP/2.0", fmt.Sprintf(form, name, "x")+" SIP/2.0", 1))
	}
	return all
}
