package softswitch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

const (
	bobby = roam.UserID("1002@north.example")
	danny = roam.UserID("2002@south.example")
	wanda = roam.UserID("3001@west.example")
)

// serve gives user a profile with services, at home and where he visits.
func (net *network) serve(user roam.UserID, change func(p *roam.Profile)) {
	for _, o := range net.offices {
		if l, found := o.dir.lines[user]; found && l.Profile != nil {
			p := *l.Profile
			change(&p)
			l.Profile = &p
			o.dir.lines[user] = l
		}
	}
}

// forwardTo gives user a forwarding.
func (net *network) forwardTo(user roam.UserID, f roam.Forward) {
	net.serve(user, func(p *roam.Profile) { p.Forward = &f })
}

// rows is the records of an office as "role user from>to status reason", without order.
func (o *office) written() map[string]bool {
	all := map[string]bool{}
	for _, r := range o.rows {
		all[fmt.Sprintf("%s %s %s>%s %d %s", r.Role, r.User, r.From, r.To, r.Status, r.Reason)] = true
	}
	return all
}

func wantRows(t *testing.T, o *office, want ...string) {
	t.Helper()
	got := o.written()
	for _, w := range want {
		if !got[w] {
			t.Errorf("%s: no record %q", o.id, w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: got records %v, want %q", o.id, got, want)
	}
}

// TestForwarding: under each condition a call goes to whom the callee's profile names, when the callee is at home and when
// he visits, from a phone there, at home and of a third office; each who took part has a record, and the phone
// that rings is told by whom it was forwarded.
func TestForwarding(t *testing.T) {
	busy, silent, dead := refusing(486), ringOnly, refusing(480)
	for _, at := range []string{"home", "away"} {
		for _, from := range []roam.UserID{bobby, danny, wanda} {
			for _, c := range []struct {
				name string
				f    roam.Forward

				answer string
				reason string
			}{
				{"always", roam.Forward{Always: "+15550003002"}, "ring", "unconditional"},
				{"busy", roam.Forward{Busy: "+15550003002"}, "busy", "user-busy"},
				{"no answer", roam.Forward{NoAnswer: "+15550003002", After: 7}, "silent", "no-answer"},
				{"not reachable", roam.Forward{Offline: "3002@west.example"}, "dead", "unavailable"},
			} {
				t.Run(fmt.Sprint(c.name, " ", at, " from ", from), func(t *testing.T) {
					world(t, func(t *testing.T, net *network, north, south, west *office) {
						d2 := net.phone(alice, "198.51.100.1:5060")
						if at == "home" {
							d2.register(north, "", 10)
						} else {
							d2.register(south, "north", 10)
						}
						switch c.answer {
						case "busy":
							d2.answer = busy
						case "silent":
							d2.answer = silent
						case "dead":
							d2.answer = dead
						}
						a := map[roam.UserID]*phone{
							bobby: net.phone(bobby, "198.51.100.2:5060").register(north, "", 10),
							danny: net.phone(danny, "198.51.100.3:5060").register(south, "", 10),
							wanda: net.phone(wanda, "198.51.100.4:5060").register(west, "", 10),
						}[from]
						to := net.phone("3002@west.example", "198.51.100.5:5060").register(west, "", 10)
						net.forwardTo(alice, c.f)
						a.call("+15550001001", "offer")
						net.pass(12 * time.Second)
						if a.last() != 200 || len(to.invited) != 1 {
							t.Fatalf("the caller got %v, 3002 was rung %d times, want 200 and once", a.got, len(to.invited))
						}
						if got := string(to.invited[0].Value(sip.Diversion)); got != "<sip:1001@north.example>;reason="+c.reason+";counter=1" {
							t.Errorf("Diversion: got %q", got)
						}
						if c.name == "always" && len(d2.invited) > 0 {
							t.Error("the callee's phone rang")
						}
						a.bye()
						net.pass(time.Second)
						if len(d2.ended) != len(d2.invited) {
							t.Errorf("of the callee's %d legs %d have ended", len(d2.invited), len(d2.ended))
						}
						served := north // who performed it
						if at == "away" && from != bobby {
							served = south
						}
						forwarder, caller := 0, 0
						for _, o := range net.offices {
							for _, r := range o.rows {
								switch {
								case r.Role == "forwarder":
									forwarder++
									if o != served || r.User != alice || r.Home != "north" || r.From != string(alice) || r.To != "3002@west.example" || r.Status != 200 || r.Roaming != (served == south) {
										t.Errorf("%s has the forwarder's record %+v", o.id, r)
									}
								case r.Role == "caller" && r.User == from:
									caller++
									if r.To != string(alice) {
										t.Errorf("the caller's record says that he called %s", r.To)
									}
								case r.Role == "callee" && r.User == alice && o == south && served == north && r.Status != 200: // what home has asked for
								case r.Role == "callee" && r.User != "3002@west.example":
									t.Errorf("%s has a callee's record of %s", o.id, r.User)
								}
							}
						}
						if forwarder != 1 || caller != 1 {
							t.Errorf("got %d forwarder's and %d caller's records, want one each", forwarder, caller)
						}
					})
				})
			}
		}
	}
}

// TestForwardedTwice: a chain goes on, one who forwards back ends it, and no call is forwarded for ever, whether within an
// office or between offices.
func TestForwardedTwice(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(wanda, "198.51.100.4:5060").register(west, "", 10)
		net.phone(alice, "198.51.100.1:5060").register(north, "", 10)
		net.phone(danny, "198.51.100.3:5060").register(south, "", 10)
		b := net.phone(bobby, "198.51.100.2:5060").register(north, "", 10)
		net.forwardTo(alice, roam.Forward{Always: string(danny)})
		net.forwardTo(danny, roam.Forward{Always: string(bobby)})
		a.call("+15550001001", "offer")
		net.pass(3 * time.Second)
		if a.last() != 200 || len(b.invited) != 1 {
			t.Fatalf("alice to danny to bobby: got %v, bobby rung %d times, want 200 and once", a.got, len(b.invited))
		}
		var who []string
		for v := range b.invited[0].Values(sip.Diversion) {
			who = append(who, strings.SplitN(string(v), ">", 2)[0])
		}
		if strings.Join(who, " ") != "<sip:2002@south.example <sip:1001@north.example" {
			t.Errorf("Diversion: got %q, want danny before alice", who)
		}
		a.bye()
		net.pass(time.Second)
		wantRows(t, north, "forwarder 1001@north.example 1001@north.example>2002@south.example 200 normal", "callee 1002@north.example 2002@south.example>1002@north.example 200 normal")
		wantRows(t, south, "forwarder 2002@south.example 2002@south.example>1002@north.example 200 normal")
		wantRows(t, west, "caller 3001@west.example 3001@west.example>1001@north.example 200 normal")

		net.forwardTo(danny, roam.Forward{Always: string(alice)}) // a loop over two offices
		a.got = nil
		a.call("+15550001001", "offer")
		net.pass(3 * time.Second)
		if a.last() < 480 || a.last() > 482 {
			t.Errorf("a loop: got %v, want 480 or 482", a.got)
		}
		net.forwardTo(alice, roam.Forward{Always: string(bobby)}) // and one within an office
		net.forwardTo(bobby, roam.Forward{Always: string(alice)})
		north.rows, a.got = map[string]roam.CDR{}, nil
		a.call("+15550001001", "offer")
		net.pass(3 * time.Second)
		if n := len(north.rows); a.last() < 480 || a.last() > 482 || n < 2 || n > 3 { // alice's, bob's, and that of whom it ended at
			t.Errorf("a loop: got %v and records %v, want 480 or 482 and each once", a.got, north.written())
		}

		for i := range 8 { // nobody twice, and yet it ends
			user := roam.UserID(fmt.Sprintf("11%02d@north.example", i))
			net.addUser(user)
			net.forwardTo(user, roam.Forward{Always: fmt.Sprintf("11%02d@north.example", i+1)})
		}
		north.rows, a.got = map[string]roam.CDR{}, nil
		a.call("+15550001100", "offer")
		net.pass(3 * time.Second)
		if a.last() < 480 || a.last() > 482 || len(north.rows) > mostForwards+1 {
			t.Errorf("a long chain: got %v and %d records, want 480 or 482", a.got, len(north.rows))
		}
	})
}

// TestForwardToNobody: a forwarding that leads nowhere is 480, one that rings nobody keeps its own refusal, and a callee
// whose phone declines is not forwarded.
func TestForwardToNobody(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(bobby, "198.51.100.2:5060").register(north, "", 10)
		d2 := net.phone(alice, "198.51.100.1:5060").register(north, "", 10)
		dial := func(f roam.Forward, want int) {
			t.Helper()
			net.forwardTo(alice, f)
			a.got = nil
			a.call("1001", "offer")
			net.pass(30 * time.Second)
			if a.last() != want {
				t.Errorf("%+v: got %v, want %d", f, a.got, want)
			}
			if want == 200 {
				a.bye()
				net.pass(time.Second)
			}
		}
		dial(roam.Forward{Always: "+15550007777"}, 480)
		dial(roam.Forward{Always: "nobody@north.example"}, 480)
		dial(roam.Forward{NoAnswer: "nobody@north.example"}, 200) // she answers
		d2.answer = refusing(603)
		dial(roam.Forward{Busy: string(wanda), NoAnswer: string(wanda), Offline: string(wanda)}, 603)
		d2.answer = ringOnly
		dial(roam.Forward{NoAnswer: string(bobby)}, 486) // the caller's own phone
		net.serve(alice, func(p *roam.Profile) { p.Calls = 1 })
		north.do(func() { north.sw.busy[alice] = 1 })
		net.phone(wanda, "198.51.100.4:5060").register(west, "", 10)
		dial(roam.Forward{Busy: string(wanda)}, 200) // as many calls as the profile allows
		north.do(func() { delete(north.sw.busy, alice) })
	})
}

// TestBarring: what the caller's profile forbids is refused with its own cause and a record, at home and away alike; also
// what it would be forwarded to.
func TestBarring(t *testing.T) {
	for _, at := range []string{"home", "away"} {
		world(t, func(t *testing.T, net *network, north, south, west *office) {
			a := net.phone(alice, "198.51.100.1:5060")
			office := north
			if at == "away" {
				office = south
				a.register(south, "north", 10)
			} else {
				a.register(north, "", 10)
			}
			net.phone(wanda, "198.51.100.4:5060").register(west, "", 10)
			net.phone(danny, "198.51.100.3:5060").register(south, "", 10)
			net.serve(alice, func(p *roam.Profile) { p.Bar, p.Allow = []string{"+", "@west.example"}, []string{"+15550002"} })
			for dial, want := range map[string]int{"+15550003001": 403, "15550003001": 403, "3001@west.example": 403, "+15550002002": 200, "2002@south.example": 200, "+4930123456": 403} {
				office.rows, a.got = map[string]roam.CDR{}, nil
				a.call(dial, "offer")
				net.pass(3 * time.Second)
				if a.last() != want {
					t.Errorf("%s, %s: got %v, want %d", at, dial, a.got, want)
				}
				if want == 200 {
					a.bye()
					net.pass(time.Second)
					continue
				}
				if r := office.row(alice); r.Reason != "barred" || r.Cause != 52 || r.Home != "north" || r.Roaming != (at == "away") {
					t.Errorf("%s, %s: record %+v", at, dial, r)
				}
			}
			net.forwardTo(alice, roam.Forward{Always: "+15550003001"})
			c := net.phone(bobby, "198.51.100.2:5060").register(north, "", 10)
			c.call("1001", "offer")
			net.pass(3 * time.Second)
			if c.last() != 403 {
				t.Errorf("%s: forwarded to what is forbidden: got %v, want 403", at, c.got)
			}
		})
	}
}

// TestPartnersDiversion: what a partner says of who has forwarded a call is read in order and goes on as it is understood;
// nothing else gets into the field, and no number of forwards hides behind a counter.
func TestPartnersDiversion(t *testing.T) {
	for _, c := range []struct {
		lines string
		want  []string // as we write it
	}{
		{"Diversion: <sip:b@west.example>;reason=user-busy;counter=1, <sip:a@west.example>;reason=unconditional\n",
			[]string{"<sip:b@west.example>;reason=user-busy;counter=1", "<sip:a@west.example>;reason=unconditional;counter=1"}},
		{"Diversion: <sip:b@west.example>;reason=\"no-answer, <sip:ceo@north.example>;x=1\"\n", []string{"<sip:b@west.example>;reason=unknown;counter=1"}},
		{"Diversion: \"evil\\\" <sip:ceo@north.example>\" <tel:+15550003001>\n", []string{"<tel:+15550003001>;counter=1"}},
		{"Diversion: <sip:b@west.example>;counter=2\n", []string{"<sip:b@west.example>;counter=1", "<sip:b@west.example>;counter=1"}},
		{"Diversion: nonsense\nDiversion: <isbn:1>\n", nil},
	} {
		raw := "INVITE sip:1001@north.example SIP/2.0\nVia: SIP/2.0/TLS west.example;branch=z9hG4bK1\nMax-Forwards: 70\nFrom: <sip:a@west.example>;tag=1\n" +
			"To: <sip:1001@north.example>\nCall-ID: 1\nCSeq: 1 INVITE\n" + c.lines + "Content-Length: 0\n\n"
		m := &sip.Message{}
		if err := sip.Parse([]byte(strings.ReplaceAll(raw, "\n", "\r\n")), m); err != nil {
			t.Fatal(err)
		}
		call := &Call{}
		call.divertedBefore(m)
		var got []string
		for _, f := range call.diversions() {
			got = append(got, f.Value)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.lines, got, c.want)
		}
	}
	for _, counter := range []string{"6", "99999999", "-1"} {
		m := &sip.Message{}
		raw := "INVITE sip:1001@north.example SIP/2.0\r\nVia: SIP/2.0/TLS west.example;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:a@west.example>;tag=1\r\n" +
			"To: <sip:1001@north.example>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n" + strings.Repeat("Diversion: <sip:b@west.example>;counter="+counter+"\r\n", 50) + "Content-Length: 0\r\n\r\n"
		if err := sip.Parse([]byte(raw), m); err != nil {
			t.Fatal(err)
		}
		call := &Call{}
		if call.divertedBefore(m); len(call.diverted) <= mostForwards || len(call.diverted) > 2*mostForwards+2 {
			t.Errorf("fifty with counter %s: got %d, want more than %d and few", counter, len(call.diverted), mostForwards)
		}
	}
}
