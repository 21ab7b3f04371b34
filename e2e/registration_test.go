package e2e

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// TestNames: every way a phone may know its user reaches the same user (METHOD 2.1, M4).
func TestNames(t *testing.T) {
	l := startUp(t)
	south := l.proxy("south")
	for i, test := range []struct{ user, login, what string }{
		{"1001@north.example", "1001", "full AOR"},
		{"1001@north.example", "1001@north.example", "the AOR as login"},
		{"alice@north.example", "alice", "alias"},
		{"+15550001001@north.example", "+15550001001", "number of the home domain"},
		{"+15550001001@" + south, "+15550001001", "number at the visited office's address"},
		{"1001@" + south, "1001", "bare extension"},
		{"1001@north.example", "alice", "AOR with the alias as login"},
	} {
		a := l.agent("south", test.user)
		a.login, a.password, a.instance = test.login, "demo-1001", fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
		if res := a.register("Contact: "+a.contact(""), "Expires: 60"); res.status() != 200 {
			t.Errorf("%s: got %s, want 200", test.what, res.first())
			continue
		}
		l.is("1001", "south")
		if res := a.register("Contact: "+a.contact(""), "Expires: 0"); res.status() != 200 {
			t.Errorf("%s, leaving: got %s, want 200", test.what, res.first())
		}
		l.is("1001", "")
	}
}

// TestRefused: who may not register gets DESIGN 6's status, and nothing changes anywhere.
func TestRefused(t *testing.T) {
	l := startThree(t, func(office, yaml string) string {
		switch office {
		case "south": // one visitor of north; no agreement with west
			yaml = strings.Replace(yaml, "max: 50", "max: 1", 1)
			yaml = yaml[:strings.Index(yaml, "  - office: west")] + yaml[strings.Index(yaml, "dhcp:"):]
		case "north": // 1007 may not go to south
			yaml = strings.Replace(yaml, "roamers:\n      allow: []\n      deny: []", "roamers:\n      deny: [\"1007\"]", 1)
		}
		return yaml
	})
	if _, errs, code := run(t, "", append([]string{"user", "disable", "1006"}, l.at("north")...)...); code != 0 {
		t.Fatalf("user disable: %s", errs)
	}
	before := l.everything()
	refused := func(what, at, user, password, want string) {
		t.Helper()
		a := l.agent(at, user)
		if password != "" {
			a.password = password
		}
		if res := a.register("Contact: " + a.contact("")); fmt.Sprint(res.status()) != want {
			t.Errorf("%s: got %s, want %s", what, res.first(), want)
		}
	}
	for _, test := range []struct {
		what, at, user, password, want string
	}{
		{"wrong password", "south", "1002@north.example", "wrong", "401"},
		{"wrong password at home", "north", "1002@north.example", "wrong", "401"},
		{"unknown user", "south", "1099@north.example", "", "401"},
		{"unknown user at home", "north", "1099@north.example", "", "401"},
		{"disabled user", "south", "1006@north.example", "", "403"},
		{"disabled user at home", "north", "1006@north.example", "", "403"},
		{"home does not let him go there", "south", "1007@north.example", "", "403"},
		{"no agreement", "south", "3001@west.example", "", "403"},
		{"no agreement, the other way", "west", "2001@south.example", "", "403"},
		{"a domain nobody has", "south", "1002@east.example", "", "404"},
	} {
		refused(test.what, test.at, test.user, test.password, test.want)
	}
	if after := l.everything(); after != before {
		t.Errorf("something changed: before\n%s\nafter\n%s", before, after)
	}
	alice := l.agent("south", "1001@north.example").online()
	l.is("1001", "south")
	before = l.everything()
	refused("no capacity", "south", "1002@north.example", "", "503")
	alice.online() // who is in stays in
	if after := l.everything(); after != before {
		t.Errorf("something changed: before\n%s\nafter\n%s", before, after)
	}
}

// everything is what all three offices and the routing store say about who is where.
func (l *trio) everything() string {
	l.t.Helper()
	var s strings.Builder
	for _, o := range []string{"north", "south", "west"} {
		for _, u := range []string{"1001", "1002", "1006", "1007", "2001", "3001"} {
			w, _ := l.where(o, u)
			fmt.Fprintf(&s, "%s: %s at %s move %d, %d phones\n", o, u, w.At, w.Move, len(w.Phones))
		}
	}
	return s.String()
}

// TestAmbiguous: a bare extension that two offices have needs the full number.
func TestAmbiguous(t *testing.T) {
	l := startThree(t, nil)
	if _, errs, code := run(t, "secret\n", append([]string{"user", "add", "1001", "--password-stdin"}, l.at("west")...)...); code != 0 {
		t.Fatalf("user add: exit %d %s", code, errs)
	}
	eventually(t, 5*time.Second, "west's 1001 is published", func() error { // an office that asked before believes the answer for 10 s
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", l.base+400))
		if err != nil {
			return err
		}
		defer c.Close()
		fmt.Fprint(c, "*2\r\n$4\r\nHLEN\r\n$15\r\nroam:ext:{1001}\r\n")
		if n, err := bufio.NewReader(c).ReadString('\n'); n != ":2\r\n" {
			return fmt.Errorf("%q have it, %v", n, err)
		}
		return nil
	})
	bare := l.agent("south", "1001@"+l.proxy("south"))
	bare.login = "1001"
	if res := bare.register("Contact: " + bare.contact("")); res.first() != "SIP/2.0 404 Use The Full Number" {
		t.Errorf("bare 1001: got %s, want 404 Use The Full Number", res.first())
	}
	full := l.agent("south", "+15550001001@"+l.proxy("south"))
	full.password = "demo-1001"
	full.online()
	l.is("1001@north.example", "south")
}

// TestBindings is RFC 3261 10.3 over the wire: query, several contacts, q, "*", 423, order by CSeq, all or nothing.
func TestBindings(t *testing.T) {
	l := startUp(t)
	for _, test := range []struct{ what, at string }{{"at home", "north"}, {"away", "south"}} {
		t.Run(test.what, func(t *testing.T) {
			a := l.agent(test.at, "1001@north.example")
			contacts := func(res message, want ...string) {
				t.Helper()
				got := res.headers("Contact")
				if res.status() != 200 || len(got) != len(want) {
					t.Fatalf("got %s %q, want 200 with %q", res.first(), got, want)
				}
				for _, w := range want {
					found := false
					for _, g := range got {
						found = found || strings.HasPrefix(g, w)
					}
					if !found {
						t.Errorf("got contacts %q, want one that begins %q", got, w)
					}
				}
			}
			contacts(a.register()) // a query while there is nothing
			one, two := "<sip:1001@127.0.0.1:4001>", "<sip:1001@127.0.0.1:4002>"
			contacts(a.register("Contact: "+one+";q=0.5;expires=120, "+two, "Expires: 90"), one+";expires=120;q=0.5", two+";expires=90")
			contacts(a.register(), one+";expires=1", two+";expires=") // a query
			if res := a.register("Contact: <sip:1001@127.0.0.1:4003>;expires=5"); res.status() != 423 || res.header("Min-Expires") != "60" {
				t.Errorf("too brief: got %s Min-Expires %q, want 423 with 60", res.first(), res.header("Min-Expires"))
			}
			if res := a.register("Contact: " + one + ";expires=0, <sip:1001@127.0.0.1:4003>;expires=5"); res.status() != 423 { // all or nothing
				t.Errorf("half of it too brief: got %s, want 423", res.first())
			}
			for _, bad := range [][]string{{"Contact: *"}, {"Contact: *", "Expires: 60"}, {"Contact: *, " + one, "Expires: 0"}} {
				if res := a.register(bad...); res.status() != 400 {
					t.Errorf("%q: got %s, want 400", bad, res.first())
				}
			}
			if res := a.register("Contact: "+one+";expires=0", "CSeq: 1 REGISTER"); res.status() != 500 { // 10.3 step 7
				t.Errorf("an old CSeq: got %s, want 500", res.first())
			}
			contacts(a.register(), one, two) // nothing of it has changed anything
			contacts(a.register("Contact: "+one+";expires=0"), two)
			contacts(a.register("Contact: *", "Expires: 0"))
			l.is("1001", "")
		})
	}
}

// TestAlgorithms: a user's digest algorithm is what the domain or the user's account says, at home and away.
func TestAlgorithms(t *testing.T) {
	l := startThree(t, func(office, yaml string) string {
		if office == "west" {
			yaml = strings.Replace(yaml, "- md5", "- sha-256\n    - md5", 1)
		}
		return yaml
	})
	for _, add := range [][]string{{"1010", "sha-256"}, {"1011", "both"}} {
		if _, errs, code := run(t, "demo-"+add[0]+"\n", append([]string{"user", "add", add[0], "--password-stdin", "--algorithms", add[1]}, l.at("north")...)...); code != 0 {
			t.Fatalf("user add %v: exit %d %s", add, code, errs)
		}
	}
	for _, test := range []struct{ user, home, want string }{
		{"1001@north.example", "north", "MD5"},
		{"1010@north.example", "north", "SHA-256"},
		{"1011@north.example", "north", "SHA-256 MD5"},
		{"3001@west.example", "west", "SHA-256 MD5"},
	} {
		for _, at := range []string{test.home, "south"} {
			a := l.agent(at, test.user)
			_, domain, _ := strings.Cut(test.user, "@")
			req := a.request("REGISTER", "sip:"+domain, "", "Contact: "+a.contact(""))
			a.send(req)
			var got []string
			for _, ch := range a.final(req).headers("WWW-Authenticate") {
				got = append(got, value(ch, "algorithm"))
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("%s at %s: challenged with %q, want %q", test.user, at, got, test.want)
			}
			a.online()
		}
	}
}

// TestAway: a visitor who leaves, and one who is not heard of again, is offline everywhere; so is one at home.
func TestAway(t *testing.T) {
	l := startThree(t, func(_, yaml string) string {
		return strings.Replace(strings.Replace(yaml, "min: 1m", "min: 10s", 1), "expires: 5m", "expires: 10s", 1)
	})
	away := l.agent("south", "1001@north.example").online()
	home := l.agent("north", "1002@north.example").online()
	l.is("1001", "south")
	l.is("1002", "north")
	if res := away.register("Contact: "+away.contact(""), "Expires: 0"); res.status() != 200 {
		t.Fatalf("leaving: got %s, want 200", res.first())
	}
	l.is("1001", "")
	home.online()
	l.agent("south", "1003@north.example").online()
	l.is("1003", "south")
	time.Sleep(10 * time.Second) // nobody refreshes
	l.is("1003", "")             // expired away
	l.is("1002", "")             // expired at home
	for _, want := range []struct {
		office, event, user string
		lines               int
	}{
		{"south", "register.ok", "1001", 2}, {"north", "register.ok", "1001", 2}, // came and left
		{"north", "register.ok", "1002", 1}, {"north", "register.moved", "1002", 1}, // came and expired
		{"south", "register.ok", "1003", 1}, {"south", "register.ended", "1003", 1},
		{"south", "register.ended", "1001", 0}, {"north", "register.moved", "1001", 0},
	} {
		got := 0
		for _, line := range l.logged(want.office, want.event) {
			if strings.Contains(line, `"user":"`+want.user+"@") {
				got++
			}
		}
		if got != want.lines {
			t.Errorf("%s logged %d %s of %s, want %d", want.office, got, want.event, want.user, want.lines)
		}
	}
}

// TestTwoDevices: two phones of one user in two offices both ring; one wins, the other is told why (RFC 3326).
func TestTwoDevices(t *testing.T) {
	l := startUp(t)
	desk, soft := l.agent("south", "1001@north.example"), newAgent(t, "tcp", l.proxy("west"), "1001@north.example")
	desk.instance, soft.instance = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
	desk.online()
	soft.online()
	caller := l.agent("north", "1002@north.example").online()
	invite := caller.dial("sip:1001@north.example")
	rings, other := desk.called("INVITE"), soft.called("INVITE")
	desk.answer(rings, "180 Ringing", "")
	soft.answer(other, "180 Ringing", "")
	soft.answer(other, "200 OK", sdp("127.0.0.1", "4000"))
	cancel := desk.called("CANCEL")
	if reason := cancel.header("Reason"); !strings.Contains(reason, "cause=200") {
		t.Errorf("CANCEL has Reason %q, want SIP;cause=200", reason)
	}
	desk.answer(cancel, "200 OK", "")
	desk.answer(rings, "487 Request Terminated", "")
	res := caller.final(invite)
	if res.status() != 200 {
		t.Fatalf("the caller got %s, want 200", res.first())
	}
	caller.send(caller.within("ACK", invite, res, ""))
	soft.called("ACK")
	bye := caller.within("BYE", invite, res, "")
	caller.send(bye)
	soft.answer(soft.called("BYE"), "200 OK", "")
	if res := caller.final(bye); res.status() != 200 {
		t.Errorf("BYE: got %s, want 200", res.first())
	}
}
