package office_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/sip"
)

// verdict is one line of testdata/sip/verdicts.tsv.
type verdict struct{ file, section, parser, stream, above, what string }

func verdicts(t testing.TB) (all []verdict) {
	t.Helper()
	b, err := os.ReadFile("../testdata/sip/verdicts.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if c := strings.Split(strings.TrimRight(line, "\n"), "\t"); len(c) == 6 && c[0] != "file" {
			all = append(all, verdict{c[0], c[1], c[2], c[3], c[4], c[5]})
		}
	}
	if len(all) != 65 {
		t.Fatalf("got %d verdicts, want 65", len(all))
	}
	return all
}

// want is what an office must answer to the message m: a code, 0 for nothing, or -1 for any answer but those that
// say that the message was not understood.
func (v verdict) want(m *sip.Message) int {
	for _, column := range []string{v.above, v.parser} {
		if code, err := strconv.Atoi(column); err == nil {
			return code
		}
		if column == "drop" {
			return 0
		}
	}
	if !m.IsRequest() || m.Method() == sip.ACK {
		return 0
	}
	return -1
}

// meets says that code is what was wanted.
func meets(code, want int) bool {
	if want >= 0 {
		return code == want
	}
	return code >= 200 && code != 400 && code != 500 && code != 505
}

// answer is a final answer that an office gave: its code, and the method it answers.
type answer struct {
	code   int
	method string
}

// answered reads a final answer that was sent; what it repeats of a bad request need not be good.
func answered(b []byte) (a answer, ok bool) {
	rest, ok := strings.CutPrefix(string(b), "SIP/2.0 ")
	if !ok {
		return a, false
	}
	a.code, _ = strconv.Atoi(rest[:3])
	for line := range strings.Lines(rest) {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(strings.TrimSpace(name), "CSeq") {
			if words := strings.Fields(value); len(words) > 0 {
				a.method = words[len(words)-1]
			}
		}
	}
	return a, a.code >= 200
}

// tortured is three offices of which north is example.com, too, and the final answers it gives to who is no phone of pair and no office.
func tortured(t *testing.T) (x *three, good *pair, answers chan answer) {
	t.Helper()
	x = startThree(t, func(c *office.Config) {
		if c.Office == "north" {
			c.Aliases = []string{"example.com"}
		}
	})
	good, answers = x.pair(), make(chan answer, 100)
	ours := func(f *sip.Flow) bool {
		far := f.Remote.String()
		return far == good.a.conn.LocalAddr().String() || far == good.b.conn.LocalAddr().String()
	}
	t.Cleanup(x.office("north").Tap(func(f *sip.Flow, sent bool, b []byte) {
		if a, ok := answered(b); sent && ok && f.Partner == "" && !ours(f) {
			answers <- a
		}
	}))
	return x, good, answers
}

// TestTortureVerdicts sends the messages of RFC 4475 and RFC 5118 to a running office of example.com as a phone would, over
// UDP and TCP, and compares the first final answer with testdata/sip/verdicts.tsv. A stream whose framing is in doubt is
// closed. After each message good phones register and call each other.
func TestTortureVerdicts(t *testing.T) {
	x, good, answers := tortured(t)
	for _, network := range []string{"udp", "tcp"} {
		met := map[string]int{}
		for _, v := range verdicts(t) {
			b, err := os.ReadFile(filepath.Join("../testdata/sip", v.file))
			if err != nil {
				t.Fatal(err)
			}
			whole := func(c net.Conn) { c.Write(b) }
			if code, want, ok := x.torture(network, v, b, whole, answers); ok {
				met[v.section[:len("RFC 4475")]]++
			} else {
				t.Errorf("%s over %s (%s, %s): got %d, want %d", v.file, network, v.section, v.what, code, want)
			}
			good.works()
		}
		if met["RFC 4475"] != 50 || met["RFC 5118"] != 15 {
			t.Errorf("%s: %v messages are answered as verdicts.tsv says, want 49 and 12 with their variants", network, met)
		}
	}
}

// TestTortureCutOnTheWire sends each message over TCP in pieces, cut at 1,000 random places in 10 goes: the office gives the
// same answer, and closes the same streams, as when it comes whole.
func TestTortureCutOnTheWire(t *testing.T) {
	x, good, answers := tortured(t)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 3))
	for _, v := range verdicts(t) {
		b, err := os.ReadFile(filepath.Join("../testdata/sip", v.file))
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			places := make([]int, 100)
			for i := range places {
				places[i] = random.IntN(len(b))
			}
			slices.Sort(places)
			pieces := func(c net.Conn) {
				from := 0
				for _, place := range append(places, len(b)) {
					c.Write(b[from:place])
					from = place
				}
			}
			if code, want, ok := x.torture("tcp", v, b, pieces, answers); !ok {
				t.Fatalf("%s cut at %v (seed %d; %s): got %d, want %d", v.file, places, seed, v.what, code, want)
			}
		}
		good.works()
	}
}

// torture has write send b and judges the answer. Over a stream a message that is shorter than it says is waited for, so that
// the sender's end of the stream is the end of it.
func (x *three) torture(network string, v verdict, b []byte, write func(net.Conn), answers <-chan answer) (code, want int, ok bool) {
	var m sip.Message
	sip.Parse(b, &m)
	c, err := net.Dial(network, x.addr("north", network))
	if err != nil {
		x.t.Fatal(err)
	}
	defer c.Close()
	for len(answers) > 0 {
		<-answers
	}
	write(c)
	want = v.want(&m)
	if tcp, isTCP := c.(*net.TCPConn); isTCP && short[v.file] {
		tcp.CloseWrite()
		want = 0
	}
	endless := network == "tcp" && v.parser == "accept" && m.IsRequest() && m.Value(sip.ContentLength) == nil
	if endless { // in a datagram its end is the datagram's, on a stream nobody knows it (18.3)
		want = 400
	}
	method := "" // of a message that is refused whole any
	if v.parser == "accept" {
		method = m.MethodText()
	}
	code = first(answers, want, method)
	if ok = meets(code, want); ok && network == "tcp" && (v.stream == "close" || endless) {
		ok = closed(c)
	}
	return code, want, ok
}

// short is the messages that end before they say.
var short = map[string]bool{"rfc4475/clerr.dat": true, "rfc4475/baddn.dat": true}

// first is the code of the first final answer to method ("": to anything), 0 for none; where none is wanted it
// waits only a moment.
func first(answers <-chan answer, want int, method string) int {
	wait := time.After(2 * time.Second)
	if want == 0 {
		wait = time.After(50 * time.Millisecond)
	}
	for {
		select {
		case a := <-answers:
			if method == "" || a.method == method {
				return a.code
			}
		case <-wait:
			return 0
		}
	}
}

// closed says that the office ends the connection, after what it still had to say.
func closed(c net.Conn) bool {
	c.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, err := io.Copy(io.Discard, c)
	var late net.Error
	return !errors.As(err, &late) || !late.Timeout()
}
