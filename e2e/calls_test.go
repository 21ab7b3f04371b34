package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// people are one registered agent for each of the usual users: alice of north sits in south.
type people struct{ alice, bob, carol, ann, dave *agent }

func (l *trio) people() people {
	l.t.Helper()
	p := people{
		alice: l.agent("south", "1001@north.example").online(), bob: l.agent("north", "1002@north.example").online(),
		ann:   l.agent("north", "1003@north.example").online(),
		carol: l.agent("south", "2001@south.example").online(), dave: l.agent("west", "3001@west.example").online(),
	}
	l.is("1001", "south")
	return p
}

// TestDialling: every form in which people and phones write a number reaches whom it means.
func TestDialling(t *testing.T) {
	l := startUp(t)
	p := l.people()
	for _, test := range []struct {
		caller *agent
		uri    string
		callee *agent
		want   int // when nobody is rung
	}{
		{p.bob, "sip:1003@north.example", p.ann, 0},
		{p.bob, "sip:2001@north.example", p.carol, 0}, // another office's extension
		{p.bob, "sip:+15550002001@north.example", p.carol, 0},
		{p.bob, "sip:01115550002001@north.example", p.carol, 0},
		{p.bob, "sip:15550002001@north.example", p.carol, 0},
		{p.bob, "sip:+1-555.000(2001)@north.example", p.carol, 0},
		{p.bob, "sip:+1%20555%20000%202001@north.example", p.carol, 0},
		{p.bob, "tel:+1-555-000-2001", p.carol, 0},
		{p.bob, "sip:+15550002001@anywhere.example;user=phone", p.carol, 0},
		{p.bob, "sip:alice@north.example", p.alice, 0},
		{p.bob, "sip:carol@south.example", p.carol, 0},
		{p.dave, "sip:1001@west.example", p.alice, 0},
		{p.carol, "sip:1001@south.example", p.alice, 0},
		{p.alice, "sip:1002@north.example", p.bob, 0},       // a visitor dials as at home
		{p.alice, "sip:1003@" + l.proxy("south"), p.ann, 0}, // even a phone that knows an address alone
		{p.alice, "sip:2001@north.example", p.carol, 0},
		{p.bob, "sip:+1555000200@north.example", nil, 484},
		{p.bob, "sip:100@north.example", nil, 484},
		{p.bob, "sip:1007@north.example", nil, 480},
		{p.bob, "sip:2007@north.example", nil, 480},
		{p.bob, "sip:+15550001099@north.example", nil, 404},
		{p.bob, "sip:nobody@north.example", nil, 404},
		{p.bob, "sip:2099@south.example", nil, 404},
		{p.bob, "sip:x@elsewhere.example", nil, 404},
	} {
		invite := test.caller.dial(test.uri)
		if test.callee != nil {
			rung := test.callee.called("INVITE")
			test.callee.answer(rung, "486 Busy Here", "")
			test.callee.called("ACK")
			test.want = 486
		}
		res := test.caller.final(invite)
		test.caller.send(test.caller.ack(invite, res))
		if res.status() != test.want {
			t.Errorf("%s dials %s: got %s, want %d", test.caller.user, test.uri, res.first(), test.want)
		}
	}
}

// answered has a call b, who answers; the ACK is sent. It gives both ends' INVITE and the 200.
func answered(a, b *agent, uri string) (invite, ok, rung message) {
	a.t.Helper()
	invite = a.dial(uri)
	rung = b.called("INVITE")
	b.answer(rung, "180 Ringing", "")
	b.answer(rung, "200 OK", sdp("127.0.0.1", "4002"))
	ok = a.final(invite)
	if ok.status() != 200 {
		a.t.Fatalf("%s calls %s: got %s, want 200", a.user, uri, ok.first())
	}
	a.send(a.within("ACK", invite, ok, ""))
	b.called("ACK")
	return invite, ok, rung
}

// hang ends a call from a, who made it.
func hang(a, b *agent, invite, ok message) {
	a.t.Helper()
	bye := a.within("BYE", invite, ok, "")
	a.send(bye)
	b.answer(b.called("BYE"), "200 OK", "")
	if res := a.final(bye); res.status() != 200 {
		a.t.Errorf("BYE: got %s, want 200", res.first())
	}
}

// TestRecords is METHOD 4's table: which office holds which record, whose it is, and how it ended.
func TestRecords(t *testing.T) {
	l := startUp(t)
	p := l.people()
	for _, test := range []struct {
		what     string
		from, to *agent
		uri      string
		want     map[string][]string // office: its ledger
	}{
		{"S1's user -> D2", p.carol, p.alice, "sip:1001@north.example", map[string][]string{
			"south": {"south caller of south: in-office, 200", "south callee of north: in-office, 200"}, "north": {"south callee of north: in-office, 200"}}},
		{"D2 -> S1's user", p.alice, p.carol, "sip:2001@south.example", map[string][]string{
			"south": {"south caller of north: in-office, 200", "south callee of south: in-office, 200"}, "north": {"south caller of north: in-office, 200"}}},
		{"S2's user -> D2", p.bob, p.alice, "sip:1001@north.example", map[string][]string{
			"north": {"north caller of north: inter-office, 200", "south callee of north: from-office, 200"}, "south": {"south callee of north: from-office, 200"}}},
		{"D2 -> S2's user", p.alice, p.bob, "sip:1002@north.example", map[string][]string{
			"north": {"north callee of north: from-office, 200", "south caller of north: inter-office, 200"}, "south": {"south caller of north: inter-office, 200"}}},
		{"S3's user -> D2", p.dave, p.alice, "sip:1001@north.example", map[string][]string{
			"west": {"west caller of west: inter-office, 200"}, "south": {"south callee of north: from-office, 200"}, "north": {"south callee of north: from-office, 200"}}},
		{"D2 -> S3's user", p.alice, p.dave, "sip:3001@west.example", map[string][]string{
			"south": {"south caller of north: inter-office, 200"}, "west": {"west callee of west: from-office, 200"}, "north": {"south caller of north: inter-office, 200"}}},
	} {
		before := map[string]bool{}
		for o := range labOrder {
			for _, r := range l.records(o) {
				before[o+r.ID] = true
			}
		}
		invite, ok, _ := answered(test.from, test.to, test.uri)
		hang(test.from, test.to, invite, ok)
		eventually(t, 10*time.Second, test.what+": the records", func() error {
			icids := map[string]bool{}
			for o := range labOrder {
				got := map[string]bool{}
				for _, r := range l.records(o) {
					if before[o+r.ID] {
						continue
					}
					got[r.String()] = true
					icids[r.ICID] = true
					if r.End.IsZero() || r.Answered.IsZero() || r.Answered.Before(r.Start) || r.End.Before(r.Answered) || r.Q850 != 16 || r.By != "caller" || r.Why != "normal" {
						return fmt.Errorf("%s: record %+v", o, r)
					}
					if visitor := r.Office != r.Home; r.Roaming != visitor {
						return fmt.Errorf("%s: record %s: roaming %v", o, r, r.Roaming)
					}
				}
				for _, w := range test.want[o] {
					if !got[w] {
						return fmt.Errorf("%s: no %q in %v", o, w, got)
					}
				}
				if len(got) != len(test.want[o]) {
					return fmt.Errorf("%s: got %v, want %q", o, got, test.want[o])
				}
			}
			if len(icids) != 1 {
				return fmt.Errorf("%d icids, want one", len(icids))
			}
			return nil
		})
	}
}

// TestUnanswered: calls that are not answered, their status at both ends, and their records.
func TestUnanswered(t *testing.T) {
	l := startUp(t)
	p := l.people()
	for _, test := range []struct {
		what, answer string
		cancel       bool
		status, q850 int
	}{
		{"busy", "486 Busy Here", false, 486, 17}, {"declined", "603 Decline", false, 603, 21}, {"cancelled", "", true, 487, 16},
		{"not now", "480 Temporarily Unavailable", false, 480, 0}, {"no such codec", "488 Not Acceptable Here", false, 488, 0},
	} {
		invite := p.dave.dial("sip:1001@north.example")
		rung := p.alice.called("INVITE")
		p.alice.answer(rung, "180 Ringing", "")
		p.dave.wait("180", 5*time.Second, func(m message) bool { return m.status() == 180 })
		if test.cancel {
			p.dave.send(message("CANCEL " + strings.Fields(invite.first())[1] + " SIP/2.0\r\nVia: " + invite.header("Via") + "\r\nMax-Forwards: 70\r\nFrom: " + invite.header("From") +
				"\r\nTo: " + invite.header("To") + "\r\nCall-ID: " + invite.header("Call-ID") + "\r\nCSeq: " + strings.Fields(invite.header("CSeq"))[0] + " CANCEL\r\nContent-Length: 0\r\n\r\n"))
			p.alice.answer(p.alice.called("CANCEL"), "200 OK", "")
			p.alice.answer(rung, "487 Request Terminated", "")
		} else {
			p.alice.answer(rung, test.answer, "")
		}
		p.alice.called("ACK")
		res := p.dave.final(invite)
		p.dave.send(p.dave.ack(invite, res))
		if res.status() != test.status {
			t.Errorf("%s: the caller got %s, want %d", test.what, res.first(), test.status)
		}
		eventually(t, 5*time.Second, test.what+": the record", func() error {
			r := l.records("north")
			if len(r) == 0 || r[0].Status != test.status || !r[0].Answered.IsZero() || test.q850 != 0 && r[0].Q850 != test.q850 {
				return fmt.Errorf("got %+v", r)
			}
			return nil
		})
	}
	loop := p.bob.request("INVITE", "sip:1003@north.example", sdp("127.0.0.1", "4000"), "Max-Forwards: 0", "Contact: "+p.bob.contact(""))
	p.bob.send(loop)
	if res := p.bob.final(loop); res.status() != 483 {
		t.Errorf("Max-Forwards 0: got %s, want 483", res.first())
	}
}

// TestHold: hold and resume by re-INVITE, from either end, across offices; and BYE from the end that was called.
func TestHold(t *testing.T) {
	l := startUp(t)
	p := l.people()
	invite, ok, rung := answered(p.dave, p.alice, "sip:1001@north.example")
	reinvite := func(from, to *agent, req message, direction, want string) {
		t.Helper()
		from.send(req)
		got := to.called("INVITE")
		if !strings.Contains(got.body(), "a="+direction) && direction != "sendrecv" {
			t.Errorf("%s: the far end was offered %q", direction, got.body())
		}
		to.answer(got, "200 OK", sdp("127.0.0.1", "4004", "a="+want))
		res := from.final(req)
		if res.status() != 200 || want != "sendrecv" && !strings.Contains(res.body(), "a="+want) {
			t.Errorf("%s: got %s with %q, want 200 with %s", direction, res.first(), res.body(), want)
		}
		ack := from.within("ACK", req, res, "")
		from.send(ack)
		to.called("ACK")
	}
	back := func(method, body string) message { // a request of alice, who was called
		uri := strings.Trim(strings.Split(rung.header("Contact"), ">")[0], "<")
		to := rung.header("From")
		return p.alice.request(method, uri, body, "From: "+rung.header("To")+";tag="+p.alice.id, "To: "+to, "Call-ID: "+rung.header("Call-ID"), "Contact: "+p.alice.contact(""))
	}
	for _, d := range [][2]string{{"sendonly", "recvonly"}, {"sendrecv", "sendrecv"}} {
		reinvite(p.dave, p.alice, p.dave.within("INVITE", invite, ok, sdp("127.0.0.1", "4000", "a="+d[0]), "Contact: "+p.dave.contact("")), d[0], d[1])
		reinvite(p.alice, p.dave, back("INVITE", sdp("127.0.0.1", "4002", "a="+d[0])), d[0], d[1])
	}
	bye := back("BYE", "")
	p.alice.send(bye)
	p.dave.answer(p.dave.called("BYE"), "200 OK", "")
	if res := p.alice.final(bye); res.status() != 200 {
		t.Errorf("BYE: got %s, want 200", res.first())
	}
}

// TestSilence: a call in which nothing is heard from either side ends by itself, and its record says why.
func TestSilence(t *testing.T) {
	l := startThree(t, func(_, yaml string) string { return strings.Replace(yaml, "idle: 1m", "idle: 10s", 1) })
	p := l.people()
	answered(p.bob, p.alice, "sip:1001@north.example")
	for _, a := range []*agent{p.bob, p.alice} {
		a.answer(a.wait("BYE", 20*time.Second, func(m message) bool { return strings.HasPrefix(string(m), "BYE ") }), "200 OK", "")
	}
	eventually(t, 5*time.Second, "the records", func() error {
		got := l.records("north")
		for _, r := range got {
			if r.Why != "media timeout" && r.Office == "north" || r.Status != 200 || r.End.IsZero() {
				return fmt.Errorf("got %+v", r)
			}
		}
		if len(got) != 2 {
			return fmt.Errorf("%d records", len(got))
		}
		return nil
	})
}

// TestDeadOffice: a call to a user whose office has died is refused soon, and one to somebody else goes on.
func TestDeadOffice(t *testing.T) {
	l := startThree(t, nil)
	p := l.people()
	l.process["south"].kill()
	began := time.Now()
	invite := p.dave.dial("sip:1001@north.example")
	res := p.dave.wait("a refusal", 30*time.Second, func(m message) bool { return m.status() >= 300 && m.header("CSeq") == invite.header("CSeq") })
	p.dave.send(p.dave.ack(invite, res))
	if s := res.status(); s != 480 && s != 503 && s != 408 {
		t.Errorf("got %s, want 480", res.first())
	}
	t.Logf("refused with %s after %v", res.first(), time.Since(began).Round(time.Millisecond))
	a, ok, _ := answered(p.dave, p.bob, "sip:1002@north.example")
	hang(p.dave, p.bob, a, ok)
}
