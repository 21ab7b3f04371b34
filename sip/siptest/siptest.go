// Package siptest writes SIP messages the way people read them, for tests, and is a wire
// that keeps what was sent and when (Wire).
package siptest

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/siproam/siproam/sip"
)

// Text is text with CRLF line ends, one empty line after the header fields, and, when
// it has none, the Content-Length its body asks for. Indentation common to all lines, an
// empty first line and a last line of blanks are taken away, so that a literal can
// stand where the test is.
func Text(text string) []byte {
	head, body, _ := strings.Cut(strings.Join(lines(text), "\r\n"), "\r\n\r\n")
	head = strings.TrimRight(head, "\r\n") + "\r\n"
	if !hasLength(head) {
		head += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	return []byte(head + "\r\n" + body)
}

// lines is text without what the source around it asked for.
func lines(text string) []string {
	text = strings.TrimPrefix(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	all := strings.Split(text, "\n")
	if last := len(all) - 1; strings.Trim(all[last], " \t") == "" {
		all[last] = ""
	}
	indent := all[0][:len(all[0])-len(strings.TrimLeft(all[0], " \t"))]
	for i, l := range all {
		all[i] = strings.TrimPrefix(l, indent)
	}
	return all
}

func hasLength(head string) bool {
	for l := range strings.SplitSeq(head, "\r\n") {
		name, _, _ := strings.Cut(l, ":")
		if name = strings.TrimRight(name, " \t"); strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "l") {
			return true
		}
	}
	return false
}

// Message is the message text says (see Text), which must parse.
func Message(t testing.TB, text string) *sip.Message {
	t.Helper()
	return Bytes(t, Text(text))
}

// Bytes is the message in b, which must parse. It owns its bytes.
func Bytes(t testing.TB, b []byte) *sip.Message {
	t.Helper()
	m := new(sip.Message)
	if err := sip.Parse(bytes.Clone(b), m); err != nil {
		_, reason, _ := sip.Status(err)
		t.Fatalf("parse: %s\n%s", reason, b)
	}
	return m
}

// Written is what w holds, which must be a message.
func Written(t testing.TB, w *sip.Writer) *sip.Message {
	t.Helper()
	b := w.Bytes()
	if b == nil {
		t.Fatal("the writer refused a value")
	}
	return Bytes(t, b)
}
