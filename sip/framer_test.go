package sip

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// framed is what comes out of a Framer, as text: messages, "ping", an error at last.
func framed(stream []byte, cut func(rest int) int) []string {
	var f Framer
	var out []string
	for {
		for {
			msg, ping, err := f.Next()
			switch {
			case err != nil:
				var r *Refused
				if !errors.As(err, &r) || !r.Close {
					return append(out, fmt.Sprintf("no closing refusal: %v", err))
				}
				return append(out, fmt.Sprintf("%d %s after %q", r.Code, r.Reason, msg))
			case ping:
				out = append(out, "ping")
				continue
			case msg != nil:
				out = append(out, string(msg))
				continue
			}
			break
		}
		if len(stream) == 0 {
			return out
		}
		n := min(max(cut(len(stream)), 1), len(stream))
		f.Feed(stream[:n])
		stream = stream[n:]
	}
}

func whole(rest int) int { return rest }

const (
	head = "OPTIONS sip:a@example.org SIP/2.0\r\nCall-ID: 1\r\n"
	five = head + "Content-Length: 5\r\n\r\nhello"
	none = head + "l:0\r\n\r\n"
)

func TestFramer(t *testing.T) {
	tests := []struct {
		name, stream string
		want         []string
	}{
		{"two messages", five + none, []string{five, none}},
		{"body that looks like a message", head + "l: 4\r\n\r\n\r\n\r\n" + none, []string{head + "l: 4\r\n\r\n\r\n\r\n", none}},
		{"blank before the colon", head + "Content-Length : 5\r\n\r\nhello" + none, []string{head + "Content-Length : 5\r\n\r\nhello", none}},
		{"leading zeros", head + "CONTENT-LENGTH: 0005\r\n\r\nhello", []string{head + "CONTENT-LENGTH: 0005\r\n\r\nhello"}},
		{"ping", "\r\n\r\n", []string{"ping"}},
		{"pong", "\r\n", nil},
		{"ping, pong, message, ping", "\r\n\r\n\r\n" + none + "\r\n\r\n", []string{"ping", none, "ping"}},
		{"a CRLF before and one after a message are no ping", "\r\n" + none + "\r\n", []string{none}},
		{"body not whole", head + "l: 6\r\n\r\nhello", nil},
		{"headers not whole", head, nil},
		{"no length", head + "\r\n", []string{`400 Bad Request - no Content-Length after "` + esc(head+"\r\n") + `"`}},
		{"two lengths", head + "l: 5\r\nContent-Length: 5\r\n\r\nhello", []string{doubt("Content-Length", head+"l: 5\r\nContent-Length: 5\r\n\r\n")}},
		{"sign", head + "l: +5\r\n\r\nhello", []string{doubt("Content-Length", head+"l: +5\r\n\r\n")}},
		{"negative", head + "l: -1\r\n\r\nhello", []string{doubt("Content-Length", head+"l: -1\r\n\r\n")}},
		{"hex", head + "l: 0x5\r\n\r\nhello", []string{doubt("Content-Length", head+"l: 0x5\r\n\r\n")}},
		{"list", head + "l: 5, 5\r\n\r\nhello", []string{doubt("Content-Length", head+"l: 5, 5\r\n\r\n")}},
		{"overflow to 5", head + "l: 18446744073709551621\r\n\r\nhello", []string{doubt("Content-Length", head+"l: 18446744073709551621\r\n\r\n")}},
		{"2^32 + 5", head + "l: 4294967301\r\n\r\nhello", []string{doubt("Content-Length", head+"l: 4294967301\r\n\r\n")}},
		{"empty", head + "l:\r\n\r\nhello", []string{doubt("Content-Length", head+"l:\r\n\r\n")}},
		{"folded", head + "l:\r\n 5\r\n\r\nhello", []string{doubt("Content-Length", head+"l:\r\n 5\r\n\r\n")}},
		{"folded with a first half", head + "l: 1\r\n 5\r\n\r\nhello", []string{doubt("folded", head+"l: 1\r\n 5\r\n\r\n")}},
		{"a fold of the start line", "OPTIONS sip:a@example.org SIP/2.0\r\n l: 5\r\nl: 0\r\n\r\n", []string{doubt("folded", "OPTIONS sip:a@example.org SIP/2.0\r\n l: 5\r\nl: 0\r\n\r\n")}},
		{"a line of blanks", head + "l: 5\r\nX: y\r\n \r\n\r\nhello", []string{doubt("folded", head+"l: 5\r\nX: y\r\n \r\n\r\n")}},
		{"bare LF", head + "X: y\nl: 0\r\nl: 5\r\n\r\nhello", []string{doubt("bare CR or LF", head+"X: y\nl: 0\r\nl: 5\r\n\r\n")}},
		{"bare CR", head + "X: y\rl: 0\r\nl: 5\r\n\r\nhello", []string{doubt("bare CR or LF", head+"X: y\rl: 0\r\nl: 5\r\n\r\n")}},
		{"a handshake for another port", "\x16\x03\x01\x02\x00\x01", []string{doubt("not SIP", "")}},
		{"bare LF first", "\n" + none, []string{doubt("not SIP", "")}},
		{"bare CR first", "\r" + none, []string{doubt("not SIP", "")}},
		{"endless headers", head + strings.Repeat("X: y\r\n", 20000), []string{`513  after ""`}},
		{"headers that end too late", head + "X: " + strings.Repeat("y", 66000) + "\r\nl: 0\r\n\r\n", []string{`513  after ""`}},
		{"too long a body", head + "l: 65500\r\n\r\n", []string{`513  after "` + esc(head+"l: 65500\r\n\r\n") + `"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, step := range []int{len(tt.stream), 1, 2, 3, 7, 64} {
				if step == 1 && len(tt.stream) > 1<<16 {
					continue
				}
				got := framed([]byte(tt.stream), func(int) int { return step })
				if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tt.want) {
					t.Errorf("by %d: got %q, want %q", step, got, tt.want)
				}
			}
		})
	}
}

func esc(s string) string { return strings.Trim(fmt.Sprintf("%q", s), `"`) }

func doubt(what, head string) string {
	return fmt.Sprintf(`400 Bad Request - %s after "%s"`, what, esc(head))
}

func TestFramerCountsPongs(t *testing.T) {
	f := Framer{Client: true}
	f.Feed([]byte("\r\n\r\n\r"))
	if msg, ping, err := f.Next(); msg != nil || ping || err != nil || f.Pongs != 2 {
		t.Errorf("got %q, %v, %v, %d pongs, want 2 pongs only", msg, ping, err, f.Pongs)
	}
	f.Feed([]byte("\n" + none))
	if msg, _, err := f.Next(); string(msg) != none || err != nil || f.Pongs != 3 {
		t.Errorf("got %q, %v, %d pongs, want the message and 3 pongs", msg, err, f.Pongs)
	}
}

func TestFramerPartial(t *testing.T) {
	var f Framer
	for _, s := range []struct {
		feed string
		want bool
	}{{"\r\n", false}, {five[:20], true}, {five[20 : len(five)-1], true}, {"o", false}, {none[:1], true}} {
		f.Feed([]byte(s.feed))
		f.Next()
		if got := f.Partial(); got != s.want {
			t.Errorf("after %q: got %v, want %v", s.feed, got, s.want)
		}
	}
}

func TestFramerErrorRepeats(t *testing.T) {
	var f Framer
	f.Feed([]byte(head + "\r\n" + none))
	_, _, first := f.Next()
	f.Feed([]byte(none))
	if msg, ping, err := f.Next(); msg != nil || ping || err != first || err == nil {
		t.Errorf("after an error: got %q, %v, %v, want the error again", msg, ping, err)
	}
}

func TestFramerLetsGoOfLongBuffers(t *testing.T) {
	var f Framer
	f.Feed([]byte(head + "l: 60000\r\n\r\n" + strings.Repeat("x", 60000)))
	if msg, _, err := f.Next(); err != nil || len(msg) < 60000 {
		t.Fatalf("got %d octets, %v", len(msg), err)
	}
	f.Feed([]byte("\r\n"))
	if cap(f.b) > idleBuffer {
		t.Errorf("an idle stream holds %d octets, want at most %d", cap(f.b), idleBuffer)
	}
}

// However a stream is cut, the same comes out.
func FuzzFramer(f *testing.F) {
	f.Add([]byte(five+none), []byte{1})
	f.Add([]byte("\r\n\r\n\r\n"+five), []byte{3, 1, 2})
	f.Add([]byte(head+"l: 5\r\n x\r\n\r\n"), []byte{40, 9})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		want := framed(bytes.Clone(stream), whole)
		i := 0
		got := framed(bytes.Clone(stream), func(rest int) int {
			if len(cuts) == 0 {
				return 1
			}
			i++
			return int(cuts[i%len(cuts)])
		})
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("cut by %v: got %q, want %q", cuts, got, want)
		}
	})
}
