package office_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
)

// busy is a phone that is busy, and keeps the heads of the INVITEs it gets.
type busy struct {
	mu    sync.Mutex // guards heads
	heads []string
}

// busy answers 486 whatever comes to w, until the connection ends.
func (w *wire) busy() *busy {
	b := &busy{}
	w.conn.SetReadDeadline(time.Time{})
	go func() { // ends with the connection, which the test's end closes
		var f sip.Framer
		room := make([]byte, 65535)
		for {
			n, err := w.conn.Read(room)
			if err != nil {
				return
			}
			f.Feed(room[:n])
			for {
				raw, _, err := f.Next()
				if err != nil {
					w.t.Errorf("sent to a phone: %v\n%q", err, room[:n])
					return
				}
				if raw == nil {
					break
				}
				b.take(w, raw)
			}
		}
	}()
	return b
}

func (b *busy) take(w *wire, raw []byte) {
	m := &sip.Message{}
	if err := sip.Parse(raw, m); err != nil {
		w.t.Errorf("sent to a phone: %v\n%q", err, raw)
	}
	if !m.IsRequest() || m.Method() == sip.ACK {
		return
	}
	if m.Method() == sip.INVITE {
		head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
		b.mu.Lock()
		b.heads = append(b.heads, string(head)+"\r\n")
		b.mu.Unlock()
	}
	var out sip.Writer
	out.Response(m, 486, "", "busy")
	if out.End("", nil) == nil {
		w.conn.Write(out.Bytes())
	}
}

func (b *busy) calls() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.heads)
}

const hiddenID = "Call-ID: smuggled"

// hidden is a message that a stream has inside another; its length is always the same.
func hidden(method, user string) string {
	return method + " sip:north.example SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.66;branch=z9hG4bKhidden\r\nFrom: <sip:1001@north.example>;tag=h\r\nTo: <sip:" + user + "@north.example>\r\n" +
		hiddenID + "\r\nCSeq: 1 " + method + "\r\nMax-Forwards: 70\r\nP-Asserted-Identity: <sip:1003@north.example>\r\nRoam-Epoch: 9007199254740000\r\nContact: <sip:evil@192.0.2.66>\r\nContent-Length: 0\r\n\r\n"
}

// outer is the head of a call of 1001 from w to 1002, the nth, without Content-Length.
func outer(w *wire, to string, n int) string {
	return fmt.Sprintf("INVITE sip:%s SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bKouter%d\r\nMax-Forwards: 70\r\nFrom: <sip:1001@north.example>;tag=o\r\nTo: <sip:%s>\r\nCall-ID: outer%d\r\nCSeq: 1 INVITE\r\n"+
		"Contact: <sip:1001@%s;transport=tcp>\r\n", to, w.conn.LocalAddr(), n, to, n, w.conn.LocalAddr())
}

// afterwards is the nth good OPTIONS on a stream: it is answered when all before it was read.
func afterwards(n int) string {
	return fmt.Sprintf("OPTIONS sip:north.example SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bKafter%d\r\nMax-Forwards: 70\r\nFrom: <sip:1001@north.example>;tag=o\r\nTo: <sip:north.example>\r\n"+
		"Call-ID: after%d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", n, n)
}

// TestSmugglingServed sends a thousand and more messages that hide another one, a REGISTER or an INVITE with what only
// partners may say, to a running office: none of the hidden ones is served or answered, and what is in doubt closes its
// connection. Afterwards nobody is registered who was not, and good phones work.
func TestSmugglingServed(t *testing.T) {
	x := startThree(t, nil)
	good := x.pair()
	x.located("1001", "north")
	x.located("1002", "north")
	before := x.state()
	var served []string
	var mu sync.Mutex // guards served
	t.Cleanup(x.office("north").Tap(func(_ *sip.Flow, sent bool, b []byte) {
		begins := func(method string) bool { return bytes.HasPrefix(b, []byte(method+" sip:north.example SIP/2.0\r\n")) }
		if !bytes.Contains(b, []byte(hiddenID)) {
			return
		}
		if sent || begins("REGISTER") || begins("INVITE") {
			mu.Lock()
			defer mu.Unlock()
			served = append(served, string(b))
		}
	}))
	var open *wire // for those that do not end it
	all := 0
	for which, inner := range []string{hidden("REGISTER", "1001"), hidden("INVITE", "1002")} {
		probe := &wire{conn: good.a.conn}
		count := len(siptest.Smuggle(outer(probe, "1002@north.example", 1000), inner))
		for n := which; n < count; n += 2 { // every other one hides the one, the rest the other
			if open == nil {
				open = x.dial("tcp", "north")
			}
			v := siptest.Smuggle(outer(open, "1002@north.example", 1000+n), inner)[n]
			all++
			open.write(v.Bytes + afterwards(n))
			got := open.untilAfter(n)
			if ended := !strings.Contains(got, fmt.Sprintf("Call-ID: after%d\r\n", n)); ended == v.Whole {
				t.Errorf("%s: connection ended %v, want %v\n%q\ngot %q", v.Name, ended, !v.Whole, v.Bytes, got)
			}
			if !v.Whole {
				open.conn.Close()
				open = nil
			}
		}
	}
	mu.Lock()
	if len(served) != 0 {
		t.Errorf("%d of %d were served or answered, the first:\n%s", len(served), all, served[0])
	}
	mu.Unlock()
	if after := x.state(); after != before {
		t.Errorf("something changed:\n got %s\nwant %s", after, before)
	}
	if all < 1000 {
		t.Errorf("%d variants, want 1,000 or more", all)
	}
	good.works()
	t.Logf("%d variants", all)
}

// untilAfter is what comes until the nth OPTIONS is answered or the connection ends.
func (w *wire) untilAfter(n int) string {
	w.t.Helper()
	var got strings.Builder
	mark := fmt.Sprintf("Call-ID: after%d\r\n", n)
	w.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		line, err := w.r.ReadString('\n')
		got.WriteString(line)
		if err == io.EOF || strings.HasSuffix(line, mark) && err == nil {
			return got.String()
		}
		if err != nil {
			w.t.Fatalf("neither an answer to OPTIONS nor an end: %v after %q", err, got.String())
		}
	}
}

// TestPlantedHeaders has 1001 call 1002 here and 2001 in another office, with what only partners may say in every guise,
// and in every field that is read or crosses: neither gets a field of the caller's making, nor a word of it as a field. What
// goes out is printed anew: nothing but the fields of the list in softswitch/cross.go.
func TestPlantedHeaders(t *testing.T) {
	x := startThree(t, nil)
	caller, here, there := x.dial("tcp", "north"), x.dial("tcp", "north"), x.dial("tcp", "south")
	for n, w := range map[string]*wire{"1002": here, "2001": there} {
		if res := w.register(n, contact(n, w)); res.Status() != 200 {
			t.Fatalf("%s: got %d", n, res.Status())
		}
	}
	x.located("2001", "south")
	near, far, between := here.busy(), there.busy(), x.tapped()
	register := func() {
		one := strings.TrimSuffix(contact("1001", caller), "\n") + ";+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\"\n"
		if res := caller.register("1001", one); res.Status() != 200 {
			t.Fatalf("1001: got %d %s", res.Status(), res.Reason())
		}
	}
	register()
	n := 0
	for name, value := range map[string]string{
		"P-Asserted-Identity": "<sip:evil@north.example>", "P-Charging-Vector": "icid-value=evil", "Roam-Epoch": "9007199254740666", "Path": "<sip:evil@192.0.2.66;lr>", "Roam-Anything": "evil",
	} {
		for _, to := range []string{"1002@north.example", "2001@north.example"} {
			if to != "1002@north.example" && (name == "Path" || name == "Roam-Anything") {
				continue // what says most between offices will do
			}
			count := len(siptest.Plant(outer(caller, to, 1000)+"Content-Length: 0\r\n", name, value))
			for i := range count {
				n++
				v := siptest.Plant(outer(caller, to, 1000+n)+"Content-Length: 0\r\n", name, value)[i]
				caller.write(v.Bytes + afterwards(n))
				if got := caller.untilAfter(n); !strings.Contains(got, fmt.Sprintf("Call-ID: after%d\r\n", n)) {
					caller.conn.Close()
					caller = x.dial("tcp", "north")
					register()
				}
			}
		}
	}
	for to, phone := range map[string]*busy{"1002@north.example": near, "2001@north.example": far} {
		n++
		caller.write(outer(caller, to, 1000+n) + "Subject: the last\r\nContent-Length: 0\r\n\r\n")
		x.eventually("the last call", func() error {
			if calls := phone.calls(); len(calls) == 0 || !strings.Contains(calls[len(calls)-1], "Subject: the last") {
				return fmt.Errorf("after %d calls", len(calls))
			}
			return nil
		})
	}
	allowed := strings.Fields("Via Max-Forwards From To Call-ID CSeq Contact Allow User-Agent Session-ID Subject Content-Length")
	partners := append(allowed, "P-Asserted-Identity", "P-Charging-Vector", "Roam-Epoch", "Roam-Path", "Privacy")
	crossed := 0
	for where, heads := range map[string][]string{"to the phone here": near.calls(), "to the phone there": far.calls(), "between the offices": between.invites()} {
		names := allowed
		if where == "between the offices" {
			names = partners
		}
		for _, head := range heads {
			crossed++
			for line := range strings.SplitSeq(head[strings.Index(head, "\r\n")+2:], "\r\n") {
				field, text, _ := strings.Cut(line, ": ")
				if line != "" && !slices.Contains(names, field) || field != "Subject" && field != "To" && strings.Contains(text, "evil") || strings.Contains(text, "9007199254740666") && field != "Subject" && field != "To" {
					t.Errorf("%s: %q\nin %s", where, line, head)
				}
			}
			if text := strings.ReplaceAll(head, "\r\n", ""); strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text) {
				t.Errorf("%s: control characters in %q", where, head)
			}
		}
		t.Logf("%d INVITEs %s", len(heads), where)
	}
	t.Logf("%d tried", n)
	if n < 1000 || crossed < 500 {
		t.Errorf("%d tried, %d crossed: too few to show anything", n, crossed)
	}
}

// invites is the heads of the INVITEs that went to partners.
func (c *tapped) invites() (heads []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.all {
		if m.Method() == sip.INVITE && m.IsRequest() && m.Value(sip.PAssertedIdentity) != nil {
			head, _, _ := strings.Cut(string(m.Bytes()), "\r\n\r\n")
			heads = append(heads, head+"\r\n")
		}
	}
	return heads
}
