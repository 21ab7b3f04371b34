package office_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/siproam/siproam/sip"
)

// What broke other SIP servers by more than one message, or by what they did with it: TestFindings of packages sip, sip/digest
// and media has the rest.

// TestInvitesThenClose (CVE-2018-7286, ES2020-02, Asterisk): ten INVITEs on a connection, which then ends, again and again.
// No call stays, and good phones work.
func TestInvitesThenClose(t *testing.T) {
	x := startThree(t, nil)
	good := x.pair()
	rings := x.dial("tcp", "north")
	if res := rings.register("1003", contact("1003", rings)); res.Status() != 200 {
		t.Fatalf("got %d", res.Status())
	}
	rings.busy()
	for i := range 50 {
		w := x.dial("tcp", "north")
		if i%2 == 0 { // one whose calls ring
			if res := w.register("1001", strings.TrimSuffix(contact("1001", w), "\n")+";+sip.instance=\"<urn:uuid:w>\"\n"); res.Status() != 200 {
				t.Fatalf("got %d %s", res.Status(), res.Reason())
			}
		}
		var all strings.Builder
		for n := range 10 {
			fmt.Fprintf(&all, "%sContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", outer(w, "1003@north.example", 10*i+n), len(claimedSDP), claimedSDP)
		}
		w.write(all.String())
		w.conn.Close()
	}
	x.eventually("no call is left", func() error {
		calls, err := x.house.Calls(t.Context(), "")
		if err == nil && len(calls) > 0 {
			err = fmt.Errorf("%d calls", len(calls))
		}
		return err
	})
	good.works()
}

// TestLogLines (GHSA-5743-x3p5-3rg7, Asterisk): a stranger's words that look like a line of log, for whoever bans by it, stay
// inside a line of ours.
func TestLogLines(t *testing.T) {
	l, log := logged(t, "debug")
	x := startThreeLogged(t, log, nil)
	const fake = `{"event":"register.refused","remote_ip":"192.0.2.1"}`
	udp, err := net.Dial("udp", x.addr("north", "udp"))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	w := x.dial("tcp", "north")
	for n, end := range []string{"\n", "\r", "\r\n", "\r\n ", "%0d%0a", `\n`, "\x00", "\x1b[2J", "\u2028"} {
		fmt.Fprintf(udp, "%s%s%s", end, fake, end)
		good := strings.Replace(outer(w, "1002@north.example", n), "INVITE", "REGISTER", 2)
		for _, b := range []string{
			strings.Replace(good, "Call-ID: ", "Call-ID: x"+end+fake, 1), strings.Replace(good, "From: <sip:", "From: \"a"+end+fake+"\" <sip:", 1), good + "User-Agent: a" + end + fake + "\r\n",
			strings.Replace(good, "REGISTER sip:", "REGISTER sip:"+end+fake, 1), good + "Authorization: Digest username=\"1001" + end + fake + "\", realm=\"north.example\", nonce=\"n\", uri=\"sip:x\", response=\"e\"\r\n",
			strings.Replace(good, "REGISTER", fake+end, 1),
		} {
			fmt.Fprintf(udp, "%sContent-Length: 0\r\n\r\n", b)
		}
	}
	w.write(afterwards(1))
	w.untilAfter(1)
	x.stop()
	n := 0
	for _, line := range l.all(t) { // each is one object
		n++
		if line["time"] == nil || line["remote_ip"] == "192.0.2.1" {
			t.Errorf("not ours: %v", line)
		}
	}
	if n < 20 {
		t.Errorf("%d lines of log, want those of the refusals", n)
	}
}

// TestStrangersAsk (CVE-2021-37624, CVE-2021-41157, FreeSWITCH): no method does anything, or reaches a phone, for who has not
// proved who he is.
func TestStrangersAsk(t *testing.T) {
	x := startThree(t, nil)
	w := x.dial("tcp", "north")
	if res := w.register("1002", contact("1002", w)); res.Status() != 200 {
		t.Fatalf("got %d", res.Status())
	}
	phone := w.busy()
	x.located("1002", "north")
	before := x.state()
	for _, network := range []string{"udp", "tcp"} {
		stranger := x.dial(network, "north")
		for _, method := range []string{"MESSAGE", "SUBSCRIBE", "NOTIFY", "PUBLISH", "REFER", "INFO", "UPDATE", "PRACK", "BYE", "INVITE", "REGISTER"} {
			for _, event := range []string{"", "Event: reg\n", "Event: presence\n", "Event: dialog\n"} {
				res := stranger.ask(method+" sip:1002@north.example", "From: <sip:1001@north.example>;tag=s\nTo: <sip:1002@north.example>\nContact: <sip:1001@192.0.2.66>\nRefer-To: <sip:evil@192.0.2.66>\n"+
					"Subscription-State: active\nContent-Type: text/plain\n"+event, "api status")
				if res.Status() < 400 || len(res.Body()) > 0 {
					t.Errorf("%s over %s with %q: got %d with %q, want a refusal", method, network, event, res.Status(), res.Body())
				}
			}
		}
	}
	if calls := phone.calls(); len(calls) > 0 {
		t.Errorf("a stranger's call came through: %s", calls[0])
	}
	if after := x.state(); after != before {
		t.Errorf("something changed:\n got %s\nwant %s", after, before)
	}
}

// TestChallengedByACallee (CVE-2021-41158, FreeSWITCH): a phone that answers its call with a challenge
// of our own realm is given no credentials, neither ours nor the caller's, and the caller never sees it.
func TestChallengedByACallee(t *testing.T) {
	x := startThree(t, nil)
	p := x.pair()
	for i, status := range []string{"401 Unauthorized", "407 Proxy Authentication Required"} {
		us := fmt.Sprintf("From: <sip:1001@north.example>;tag=c%d\nCall-ID: challenged%d\n", i, i)
		p.a.send("INVITE sip:1002@north.example", us+contact("1001", p.a)+"To: <sip:1002@north.example>\nCSeq: 1 INVITE\nContent-Type: application/sdp\n", claimedSDP)
		invite := p.b.request("INVITE")
		challenge := `Digest realm="north.example", nonce="n", qop="auth", algorithm=MD5` + "\n"
		p.b.answer(invite, status, "WWW-Authenticate: "+challenge+"Proxy-Authenticate: "+challenge, "")
		for _, n := range []sip.Name{sip.Authorization, sip.ProxyAuthorization} {
			if v := invite.Value(n); v != nil {
				t.Errorf("the INVITE has %s: %s", n, v)
			}
		}
		res := p.a.final("INVITE")
		if res.Status() < 400 || res.Status() == 401 || res.Status() == 407 || res.Value(sip.WWWAuthenticate) != nil || res.Value(sip.ProxyAuthenticate) != nil {
			t.Errorf("%s reached the caller as %d with %q", status, res.Status(), res.Value(sip.WWWAuthenticate))
		}
		p.a.send("ACK sip:1002@north.example", us+fmt.Sprintf("To: %s\nCSeq: 1 ACK\n", res.Value(sip.To)), "")
	}
	p.works()
}

// TestContactsBeyondNumber (CVE-2026-74569, Linux): a thousand contacts in a REGISTER with good credentials are refused whole.
func TestContactsBeyondNumber(t *testing.T) {
	x := startThree(t, nil)
	w := x.dial("tcp", "north")
	var all []string
	for n := range 1000 {
		all = append(all, fmt.Sprintf("<sip:1001@192.0.2.1:%d>", 1024+n))
	}
	if res := w.register("1001", "Contact: "+strings.Join(all, ",")+"\n"); res.Status() != 403 {
		t.Errorf("got %d %s, want 403", res.Status(), res.Reason())
	}
	if res := w.register("1001", contact("1001", w)); res.Status() != 200 || strings.Count(string(res.Value(sip.Contact)), "<sip:") != 1 {
		t.Errorf("got %d with %s, want 200 with the one contact", res.Status(), res.Value(sip.Contact))
	}
}
