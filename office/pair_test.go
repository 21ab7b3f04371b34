package office_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/siproam/siproam/sip"
)

// pair is two phones on connections of their own to the office north, written by hand: 1001 calls 1002.
type pair struct {
	t    testing.TB
	a, b *wire
	n    int
}

// pair registers both.
func (x *three) pair() *pair {
	x.t.Helper()
	p := &pair{t: x.t, a: x.dial("tcp", "north"), b: x.dial("tcp", "north")}
	p.registers()
	return p
}

// contact is where n is reached: down w.
func contact(n string, w *wire) string {
	return fmt.Sprintf("Contact: <sip:%s@%s;transport=tcp>\n", n, w.conn.LocalAddr())
}

// registers has both register, with a challenge.
func (p *pair) registers() {
	p.t.Helper()
	for n, w := range map[string]*wire{"1001": p.a, "1002": p.b} {
		if res := w.register(n, contact(n, w)); res.Status() != 200 || res.Value(sip.Contact) == nil {
			p.t.Fatalf("a good REGISTER of %s: got %d %s, want 200 with its contact", n, res.Status(), res.Reason())
		}
	}
}

// works asserts that both can register, that 1002 is called and answers, that the call is up, and that it ends.
func (p *pair) works() {
	p.t.Helper()
	p.registers()
	p.n++
	us := fmt.Sprintf("From: <sip:1001@north.example>;tag=a%d\nCall-ID: good%d\n", p.n, p.n) + contact("1001", p.a)
	p.a.send("INVITE sip:1002@north.example", us+"To: <sip:1002@north.example>\nCSeq: 1 INVITE\nContent-Type: application/sdp\n", claimedSDP)
	invite := p.b.request("INVITE")
	p.b.answer(invite, "200 OK", contact("1002", p.b)+"Content-Type: application/sdp\n", claimedSDP)
	ok := p.a.final("INVITE")
	if ok.Status() != 200 || len(ok.Body()) == 0 || len(invite.Body()) == 0 {
		p.t.Fatalf("a good call: got %d %s with %d octets of SDP, want 200 with some", ok.Status(), ok.Reason(), len(ok.Body()))
	}
	target, err := sip.ParseAddress(ok.Value(sip.Contact))
	if err != nil {
		p.t.Fatal(err)
	}
	us += fmt.Sprintf("To: %s\n", ok.Value(sip.To))
	p.a.send("ACK "+target.Raw, us+"CSeq: 1 ACK\n", "")
	p.b.request("ACK")
	p.a.send("BYE "+target.Raw, us+"CSeq: 2 BYE\n", "")
	if bye := p.a.final("BYE"); bye.Status() != 200 {
		p.t.Fatalf("BYE: got %d %s, want 200", bye.Status(), bye.Reason())
	}
	p.b.answer(p.b.request("BYE"), "200 OK", "", "")
}

// send sends a request as ask does, and waits for nothing. It has all header fields but Via and Max-Forwards.
func (w *wire) send(line, headers, body string) {
	w.t.Helper()
	w.n++
	text := fmt.Sprintf("%s SIP/2.0\nVia: SIP/2.0/TCP %s;branch=z9hG4bK%p%d;rport\nMax-Forwards: 70\n%sContent-Length: %d\n\n", line, w.conn.LocalAddr(), w, w.n, headers, len(body))
	w.write(strings.ReplaceAll(text, "\n", "\r\n") + body)
}

func (w *wire) write(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w.conn, text); err != nil {
		w.t.Fatal(err)
	}
}

// answer answers a request that came.
func (w *wire) answer(req *sip.Message, status, headers, body string) {
	w.t.Helper()
	var vias string
	for v := range req.Values(sip.Via) {
		vias += fmt.Sprintf("Via: %s\n", v)
	}
	text := fmt.Sprintf("SIP/2.0 %s\n%sFrom: %s\nTo: %s;tag=b%p\nCall-ID: %s\nCSeq: %s\n%sContent-Length: %d\n\n", status, vias,
		req.Value(sip.From), strings.TrimSuffix(string(req.Value(sip.To)), fmt.Sprintf(";tag=b%p", w)), w, req.CallID(), req.Value(sip.CSeq), headers, len(body))
	w.write(strings.ReplaceAll(text, "\n", "\r\n") + body)
}

// request is the next request of a method; others are passed over.
func (w *wire) request(method string) *sip.Message {
	w.t.Helper()
	for {
		if m := w.next(); m.IsRequest() && m.MethodText() == method {
			return m
		}
	}
}

// final is the next final answer to a method.
func (w *wire) final(method string) *sip.Message {
	w.t.Helper()
	for {
		if m := w.next(); m.Status() >= 200 && m.MethodText() == method {
			return m
		}
	}
}
