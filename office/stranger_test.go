package office_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/registrar"
)

var strangers int // requests so far: each is one of its own

// strange is a request of a stranger; tiny is as short as SIP allows.
func strange(method, uri, to string, tiny bool, more string) string {
	strangers++
	if tiny {
		return fmt.Sprintf("%s %s SIP/2.0\r\nv:SIP/2.0/UDP a\r\nf:<sip:a@b>\r\nt:<%s>\r\ni:%d\r\nCSeq:1 %s\r\n%s\r\n", method, uri, to, strangers, method, more)
	}
	return fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK776asdh%d;rport\r\nMax-Forwards: 70\r\n"+
		"From: <%s>;tag=1928301774\r\nTo: <%s>\r\nCall-ID: a84b4c76e66%d@192.0.2.9\r\nCSeq: 314159 %s\r\nContact: <sip:a@192.0.2.9:5060>\r\n"+
		"User-Agent: some phone 1.2.3\r\nAllow: INVITE,ACK,BYE,CANCEL,OPTIONS\r\n%sContent-Length: 0\r\n\r\n", method, uri, strangers, to, to, strangers, method, more)
}

// TestStrangerIsNoLever: to whoever sends a request of any kind over UDP, and is not registered, we send at most half as
// many octets again as came, repetitions included; and a request as phones send it is answered. What is as
// short as can be may go without an answer.
func TestStrangerIsNoLever(t *testing.T) {
	x := startThree(t, func(c *office.Config) {
		c.Numbers.Emergency = []string{"112"}
		c.Registration = registrar.DefaultConfig()
		c.Registration.Algorithms = []string{"md5", "sha-256"}
	})
	server := x.addr("south", "udp")
	const ours, nobody, theirs, far, us = "sip:2001@south.example", "sip:2999@south.example", "sip:1001@north.example", "sip:a@far.example", "sip:south.example"
	wrong := `Authorization: Digest username="2001",realm="south.example",nonce="x",uri="sip:south.example",response="00000000000000000000000000000000"` + "\r\n"
	type exchange struct {
		name     string
		requests []string
		want     string // the code of an answer to the long form
	}
	var all []exchange
	both := func(name, method, uri, to, more, want string) {
		all = append(all, exchange{name, []string{strange(method, uri, to, false, more)}, want},
			exchange{name + ", tiny", []string{strange(method, uri, to, true, more)}, ""})
	}
	both("our user", "REGISTER", us, ours, "", "401")
	both("nobody of ours", "REGISTER", us, nobody, "", "401")
	both("a visitor", "REGISTER", "sip:north.example", theirs, "", "401")
	both("a domain nobody knows", "REGISTER", "sip:far.example", far, "", "404")
	both("a wrong password", "REGISTER", us, ours, wrong, "401")
	both("a short lease", "REGISTER", us, ours, "Expires: 1\r\n", "401")
	both("a call from our user", "INVITE", nobody, ours, "", "407")
	both("a call from nobody", "INVITE", ours, far, "", "403")
	both("an emergency call", "INVITE", "sip:112@south.example", far, "", "503")
	both("no call", "INVITE", ours, far, "Require: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p\r\n", "420")
	both("a ping", "OPTIONS", us, us, "", "200")
	both("a ping of a user", "OPTIONS", ours, ours, "", "200")
	both("what we have not", "OPTIONS", us, us, "Require: "+strings.Repeat("a,", 500)+"a\r\n", "420")
	both("too many hops", "INVITE", ours, far, "", "")
	for method, want := range map[string]string{"SUBSCRIBE": "405", "NOTIFY": "400", "MESSAGE": "405", "INFO": "481", "UPDATE": "405", "BYE": "405",
		"CANCEL": "481", "PUBLISH": "405", "REFER": "405", "PRACK": "", "FLY": "501", "ACK": ""} {
		both(method, method, ours, far, "", want)
	}
	both("a bad request", "INVITE", ours, far, "CSeq: 7 INVITE\r\n", "400")
	call := strange("INVITE", nobody, ours, false, "")
	all = append(all,
		exchange{"another version", []string{strings.Replace(strange("OPTIONS", us, us, false, ""), " SIP/2.0", " SIP/7.0", 1)}, "505"},
		exchange{"a call, then not", []string{call, strings.ReplaceAll(call, "INVITE ", "CANCEL ")}, "407"},
		exchange{"nothing", []string{"\r\n\r\n", "\x00\x00", "hello", "SIP/2.0 200 OK\r\n\r\n"}, ""},
		exchange{"STUN", []string{"\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl"}, ""},
	)
	end := time.Now().Add(1700 * time.Millisecond) // Timer G would repeat at 0.5 s and 1.5 s
	var wg sync.WaitGroup
	for _, e := range all {
		c, err := net.Dial("udp", server)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetReadDeadline(end)
		sent := 0
		for _, r := range e.requests {
			sent += len(r)
			if _, err := c.Write([]byte(r)); err != nil {
				t.Fatal(err)
			}
		}
		wg.Go(func() {
			came, answers, b := 0, "", make([]byte, 65536)
			for n, err := c.Read(b); err == nil; n, err = c.Read(b) {
				came += n
				answers += string(b[:n])
			}
			if 2*came > 3*sent {
				t.Errorf("%s: %d octets for %d:\n%s", e.name, came, sent, answers)
			}
			if e.want != "" && !strings.Contains(answers, "SIP/2.0 "+e.want+" ") {
				t.Errorf("%s: got %q, want %s", e.name, answers, e.want)
			}
			t.Logf("%-30s %5d sent %5d came (%.2f)", e.name, sent, came, float64(came)/float64(sent))
		})
	}
	wg.Wait()
}
