package siptest

import (
	"fmt"
	"slices"
	"strings"
)

// Smuggled is an attempt to have a reader take a message out of the midst of another one: a head that says in some
// doubtful way where the message ends, and the inner message behind it.
type Smuggled struct {
	Name  string // what is doubtful
	Bytes string
	Whole bool // nothing is: the inner message is a body; else a stream must be refused and closed
}

// Smuggle is every way we know to hide inner, a whole message, behind head: a start line and header fields without
// Content-Length and without the empty line, each ended by CRLF. They are distinct.
func Smuggle(head, inner string) []Smuggled {
	s := &smuggler{head: head, inner: inner, seen: map[string]bool{}}
	s.values()
	s.twice()
	s.names()
	s.lineEnds()
	s.folds()
	s.bodies()
	return s.all
}

type smuggler struct {
	head, inner string
	all         []Smuggled
	seen        map[string]bool // by Bytes
}

// put adds head, what follows the head, and whether that is whole.
func (s *smuggler) put(whole bool, name, head, rest string) {
	b := head + rest
	if !s.seen[b] {
		s.seen[b] = true
		s.all = append(s.all, Smuggled{fmt.Sprintf("%s (%d)", name, len(s.all)), b, whole})
	}
}

// lengths is the names by which a Content-Length is understood, blanks before the colon included (RFC 3261 7.3.1, RFC
// 4475 3.1.1.1).
var lengths = []string{"Content-Length", "content-length", "CONTENT-LENGTH", "cOnTeNt-lEnGtH", "l", "L", "Content-Length ", "Content-Length\t", "l ", "L \t "}

// values is Content-Lengths that are a number to some and not to others, or another number, and those that are in no doubt.
func (s *smuggler) values() {
	digits := func(n int, zero rune) string {
		return strings.Map(func(r rune) rune { return zero + r - '0' }, fmt.Sprint(n))
	}
	doubtful := func(n int) []string {
		big := fmt.Sprintf("%.0f", float64(1<<40)+float64(n))
		return []string{
			fmt.Sprintf("+%d", n), fmt.Sprintf("-%d", n), fmt.Sprintf("--%d", n), fmt.Sprintf("0-%d", n), fmt.Sprintf("%d-", n),
			fmt.Sprintf("0x%x", n), fmt.Sprintf("0X%X", n), fmt.Sprintf("x%d", n), fmt.Sprintf("%xh", n), fmt.Sprintf("0o%o", n), fmt.Sprintf("0b%b", n),
			fmt.Sprintf("%d.0", n), fmt.Sprintf("%d.", n), fmt.Sprintf("%de0", n), fmt.Sprintf("%d_0", n), fmt.Sprintf("%d'", n), fmt.Sprintf("%d%%30", n),
			fmt.Sprintf("%d %d", n, n), fmt.Sprintf("%d\t%d", n, n), fmt.Sprintf("%d,%d", n, n), fmt.Sprintf("%d, 0", n), fmt.Sprintf("0, %d", n), fmt.Sprintf(",%d", n), fmt.Sprintf("%d,", n),
			fmt.Sprintf("%d;x=1", n), fmt.Sprintf("%d (bytes)", n), fmt.Sprintf("%q", fmt.Sprint(n)), fmt.Sprintf("<%d>", n), fmt.Sprintf("%d x", n), fmt.Sprintf("%dx", n), fmt.Sprintf(": %d", n),
			fmt.Sprintf("%d\x00", n), fmt.Sprintf("\x00%d", n), fmt.Sprintf("%d\x0b", n), fmt.Sprintf("\x0c%d", n), fmt.Sprintf("%d\x7f", n), fmt.Sprintf("%d\b", n), fmt.Sprintf("\x1b[8m%d", n),
			fmt.Sprintf("\u00a0%d", n), fmt.Sprintf("%d\u00a0", n), fmt.Sprintf("\u2003%d", n), fmt.Sprintf("\ufeff%d", n), fmt.Sprintf("%d\u200b", n), fmt.Sprintf("\u2212%d", n),
			digits(n, '٠'), digits(n, '०'), digits(n, '０'), digits(n, '۰'), "1" + digits(n, '٠'), "\xb2", // superscript two in Latin-1
			fmt.Sprint(1<<16 + n), fmt.Sprint(1<<31 + n), fmt.Sprint(1<<32 + n), fmt.Sprint(-1<<32 + n), big,
			fmt.Sprintf("%d", uint64(1<<64-1)-uint64(n)), "1844674407370955" + fmt.Sprint(1616+n), strings.Repeat("9", 40) + fmt.Sprint(n), "",
		}
	}
	for _, name := range lengths {
		for _, n := range []int{0, len(s.inner)} {
			for _, v := range doubtful(n) {
				s.put(false, fmt.Sprintf("%s: %q", name, v), s.head, name+": "+v+"\r\n\r\n"+s.inner)
			}
		}
		for _, form := range []string{"%d", " %d", "\t%d", "%d ", "%d\t \t", "0%d", "00000000000000000000000000%d"} {
			v := fmt.Sprintf(form, len(s.inner))
			s.put(true, fmt.Sprintf("%s: %q", name, v), s.head, name+":"+v+"\r\n\r\n"+s.inner)
		}
	}
}

// twice is two Content-Lengths, side by side and apart.
func (s *smuggler) twice() {
	n := fmt.Sprint(len(s.inner))
	for _, one := range lengths[4:] {
		for _, two := range lengths[:7] {
			for _, v := range [][2]string{{n, n}, {"0", n}, {n, "0"}, {n, "0" + n}, {"", n}, {"x", n}} {
				for _, between := range []string{"", "Subject: x\r\n"} {
					s.put(false, "twice", s.head, one+": "+v[0]+"\r\n"+between+two+": "+v[1]+"\r\n\r\n"+s.inner)
				}
			}
		}
	}
}

// names is what one reader takes for Content-Length and another does not, alone and beside a good one.
func (s *smuggler) names() {
	n := fmt.Sprint(len(s.inner))
	foreign := []string{"Content_Length", "ContentLength", "X-Content-Length", "Content-Length-", "Content--Length", "ll", "1", "Content-Lengt", "Content.Length", "%43ontent-Length", "'l'"}
	for _, name := range foreign { // well formed, and nobody's business
		s.put(false, name, s.head, name+": "+n+"\r\n\r\n"+s.inner)
		s.put(true, name+" beside it", s.head, name+": 0\r\nContent-Length: "+n+"\r\n\r\n"+s.inner)
		s.put(true, name+" behind it", s.head, "l: "+n+"\r\n"+name+": 0\r\n\r\n"+s.inner)
	}
	for _, name := range []string{
		"Content-Length\x01", "Content-Length\x00", "\x00Content-Length", "Content-Length\x0b", "\x0cContent-Length", "Content-Length\x7f", "Content-Length\b", "\x1bContent-Length",
		"Content-Length\u00a0", "\u00a0Content-Length", "\ufeffContent-Length", "C\u043entent-Length", "Content\u2010Length", "Content\u00adLength", "Content-Length\u200b", "\u217c", "\uff4c",
		"Content- Length", "Content -Length", "Content Length", "Content-Length;", "Content-Length,", "\"Content-Length\"", "(x)Content-Length", "<l>", "l;", "l l", "@l", "l=", "{l}", "Content-Length/1", "",
	} {
		s.put(false, fmt.Sprintf("%q", name), s.head, name+": "+n+"\r\n\r\n"+s.inner)
		s.put(false, fmt.Sprintf("%q beside it", name), s.head, name+": 0\r\nContent-Length: "+n+"\r\n\r\n"+s.inner)
		s.put(false, fmt.Sprintf("%q behind it", name), s.head, "l: "+n+"\r\n"+name+": 0\r\n\r\n"+s.inner)
	}
	for _, line := range []string{"Content-Length", "Content-Length " + n, "l", "l=" + n, n, ";", "---"} { // no colon
		s.put(false, fmt.Sprintf("%q", line), s.head, line+"\r\n\r\n"+s.inner)
		s.put(false, fmt.Sprintf("%q beside it", line), s.head, line+"\r\nContent-Length: "+n+"\r\n\r\n"+s.inner)
	}
}

// lineEnds is what ends a line, or the head, for some.
func (s *smuggler) lineEnds() {
	n := fmt.Sprint(len(s.inner))
	ends := []string{"\n", "\r", "\r\r\n", "\n\r\n", "\n\r", "\r\n\n", "\r\n\r", "\n\n", "\r\r"}
	lines := strings.SplitAfter(strings.TrimSuffix(s.head, "\r\n"), "\r\n")
	for i, line := range lines {
		for _, end := range ends {
			changed := slices.Clone(lines)
			changed[i] = strings.TrimSuffix(line, "\r\n") + end
			if i == len(lines)-1 {
				changed = append(changed, "")
			} else {
				changed = append(changed, "\r\n")
			}
			for _, length := range []string{"0", n} {
				s.put(false, fmt.Sprintf("line %d ends in %q", i, end), strings.Join(changed, ""), "Content-Length: "+length+"\r\n\r\n"+s.inner)
			}
		}
	}
	for _, end := range ends {
		for _, length := range []string{"0", n} {
			for _, hidden := range []string{"Content-Length: ", "l:"} {
				s.put(false, fmt.Sprintf("hidden behind %q", end), s.head, "Subject: a"+end+hidden+length+"\r\nContent-Length: "+n+"\r\n\r\n"+s.inner)
				s.put(false, fmt.Sprintf("behind %q alone", end), s.head, "Subject: a"+end+hidden+length+"\r\n\r\n"+s.inner)
			}
			s.put(false, fmt.Sprintf("head ends in %q", end), s.head, "Content-Length: "+length+end+s.inner)
			if !strings.HasPrefix(end, "\r\n") { // that would be an end
				s.put(false, fmt.Sprintf("head ends in CRLF %q", end), s.head, "Content-Length: "+length+"\r\n"+end+s.inner)
			}
		}
	}
	for _, line := range []string{" ", "\t", " \t ", "\x00", "\x00\x00", "\x0b", "\x0c", "\u00a0", "\u200b", "\ufeff"} { // empty to some
		for _, length := range []string{"0", n} {
			s.put(false, fmt.Sprintf("head ends in %q", line), s.head, "Content-Length: "+length+"\r\n"+line+"\r\n"+s.inner)
			s.put(false, fmt.Sprintf("%q in the head", line), s.head, line+"\r\nContent-Length: "+length+"\r\n\r\n"+s.inner)
		}
	}
}

// folds is lines that go on in the next one (RFC 3261 7.3.1).
func (s *smuggler) folds() {
	n := fmt.Sprint(len(s.inner))
	start, rest, _ := strings.Cut(s.head, "\r\n")
	for _, blank := range []string{" ", "\t", " \t", "    "} {
		for _, name := range []string{"Content-Length", "l", "l "} {
			for _, v := range []string{":\r\n" + blank + n, "\r\n" + blank + ": " + n, ": 0\r\n" + blank + n, ": " + n + "\r\n" + blank + "0", ": " + n + "\r\n" + blank, ": \r\n" + blank + "\r\n" + blank + n} {
				s.put(false, "folded", s.head, name+v+"\r\n\r\n"+s.inner)
			}
			s.put(false, "a fold of the start line", start+"\r\n"+blank+name+": 0\r\n"+rest, "Content-Length: "+n+"\r\n\r\n"+s.inner)
			s.put(true, "a fold of another field", s.head, "Subject: a\r\n"+blank+name+": 0\r\nContent-Length: "+n+"\r\n\r\n"+s.inner)
			s.put(true, "a fold of a field without value", s.head, "Subject:\r\n"+blank+name+": 0\r\nl: "+n+"\r\n\r\n"+s.inner)
			s.put(false, "nothing but a fold", s.head, "Subject: a\r\n"+blank+name+": "+n+"\r\n\r\n"+s.inner)
		}
	}
}

// bodies is what bodies and other fields say about the end.
func (s *smuggler) bodies() {
	n := fmt.Sprint(len(s.inner))
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(s.inner), s.inner)
	for _, name := range []string{"Transfer-Encoding", "transfer-encoding", "TE", "Trailer", "Content-Encoding", "e", "Content-Transfer-Encoding"} {
		for _, v := range []string{"chunked", "identity, chunked", "chunked;q=1", "gzip"} {
			s.put(false, name, s.head, name+": "+v+"\r\n\r\n"+chunked)
			s.put(true, name+" beside it", s.head, fmt.Sprintf("%s: %s\r\nContent-Length: %d\r\n\r\n%s", name, v, len(chunked), chunked))
		}
	}
	for _, before := range []string{
		"Content-Length: 0\r\n\r\n", "\r\n", "\r\n\r\n", "v=0\r\n\r\n", "\n\n", "--x\r\nContent-Type: message/sip\r\nContent-Length: 0\r\n\r\n", "--x--\r\n\r\n",
		"\x00\x00\x00\x00", "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
	} {
		body := before + s.inner
		s.put(true, fmt.Sprintf("a body that begins with %q", before), s.head, fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body))
		s.put(true, fmt.Sprintf("parts that begin with %q", before), s.head, fmt.Sprintf("Content-Type: multipart/mixed;boundary=x\r\nl: %d\r\n\r\n%s", len(body), body))
	}
	for _, line := range []string{"", "Content-Length: 0", "l: 0", "\r\n", "X"} {
		s.put(false, "no length", s.head, line+"\r\n"+s.inner)
	}
	start, rest, _ := strings.Cut(s.head, " SIP/2.0\r\n")
	for _, version := range []string{"HTTP/1.1", "HTTP/1.0", "RTSP/1.0", "ICAP/1.0", "", "sip", "SIP/2.0 Content-Length: 0", "2.0"} {
		s.put(false, "of "+version, start+" "+version+"\r\n"+rest, "Content-Length: "+n+"\r\n\r\n"+s.inner)
	}
}
