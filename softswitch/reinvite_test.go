package softswitch

import (
	"cmp"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
	"github.com/siproam/siproam/sip/transaction"
)

// talking is alice of north in a call with carol of south: SDP passes two relays.
func talking(t *testing.T, story func(net *network, a, b *phone)) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b := net.phone(carol, "198.51.100.2:5060").register(south, "", 1)
		a.call("2001", "offer")
		net.pass(5 * time.Second)
		if a.last() != 200 {
			t.Fatalf("got %v, want 200", a.got)
		}
		story(net, a, b)
		net.pass(5 * time.Second)
		if len(a.ended) == 0 {
			a.bye()
		}
	})
}

// ask sends an in-dialog request and gives its answer's code and body.
func (p *phone) ask(m sip.Method, typ, body string) (code int, answer string) {
	p.do(func() {
		p.d.Request(m, dialog.Answer{Type: typ, Body: []byte(body)}, func(res *sip.Message, err error) {
			if err != nil {
				p.net.t.Errorf("%s: %v", m, err)
				return
			}
			if code = res.Status(); code >= 200 {
				answer = string(res.Body())
				if m == sip.INVITE && code < 300 && p.onOK == nil {
					p.d.Ack("", nil)
				}
			}
		})
	})
	p.net.pass(time.Second)
	return code, answer
}

// answering answers in-dialog requests with code and a body that names what was asked.
func answering(code int, got *[]string) func(p *phone, tx *transaction.Server, req *sip.Message) {
	return func(p *phone, tx *transaction.Server, req *sip.Message) {
		*got = append(*got, req.MethodText()+" "+string(req.Value(sip.ContentType))+" "+string(req.Body()))
		a := dialog.Answer{Code: code}
		if req.Method() == sip.INVITE && code < 300 {
			a.Type, a.Body = sdpType, []byte("answer")
		}
		p.d.Respond(tx, a)
	}
}

func TestHoldFromEitherEnd(t *testing.T) {
	talking(t, func(net *network, a, b *phone) {
		var atA, atB []string
		a.onLater, b.onLater = answering(200, &atA), answering(200, &atB)
		if code, sdp := a.ask(sip.INVITE, sdpType, "hold"); code != 200 || sdp != "north>B>A:south>B>A:answer" {
			t.Errorf("hold by the caller: got %d %q", code, sdp)
		}
		if code, sdp := b.ask(sip.INVITE, sdpType, "hold"); code != 200 || sdp != "south>A>B:north>A>B:answer" {
			t.Errorf("hold by the callee: got %d %q", code, sdp)
		}
		if code, _ := b.ask(sip.INVITE, sdpType, "resume"); code != 200 {
			t.Errorf("resume by the callee: got %d", code)
		}
		if len(atB) != 1 || atB[0] != "INVITE application/sdp south>A>B:north>A>B:hold" || len(atA) != 2 || atA[1] != "INVITE application/sdp north>B>A:south>B>A:resume" {
			t.Errorf("callee got %q, caller got %q", atB, atA)
		}
	})
}

// A re-INVITE that is refused leaves the call up; a challenge or 481 of one leg is nothing for the other.
func TestReinviteRefused(t *testing.T) {
	for code, want := range map[int]int{488: 488, 491: 491, 415: 415, 401: 403, 503: 500} {
		talking(t, func(net *network, a, b *phone) {
			var got []string
			b.onLater = answering(code, &got)
			if c, _ := a.ask(sip.INVITE, sdpType, "hold"); c != want || len(a.ended)+len(b.ended) != 0 {
				t.Errorf("%d: got %d, want %d; ended %v %v", code, c, want, a.ended, b.ended)
			}
		})
	}
}

// Both hold at the same time: each gets 491 and tries again (14.1).
func TestGlare(t *testing.T) {
	talking(t, func(net *network, a, b *phone) {
		var ga, gb int
		on := func(p *phone, code *int) {
			p.loop.Post(func() {
				p.d.Request(sip.INVITE, dialog.Answer{Type: sdpType, Body: []byte("hold")}, func(res *sip.Message, err error) {
					if err == nil && res.Status() >= 200 {
						*code = res.Status()
					}
				})
			})
		}
		on(a, &ga)
		on(b, &gb)
		net.pass(time.Second)
		if ga != 491 || gb != 491 {
			t.Errorf("glare: got %d and %d, want 491 and 491", ga, gb)
		}
		var got []string
		b.onLater = answering(200, &got)
		if code, _ := a.ask(sip.INVITE, sdpType, "hold"); code != 200 {
			t.Errorf("after glare: got %d, want 200", code)
		}
	})
}

// INVITE without SDP: the callee offers in its 200, the caller answers in the ACK (13.2.1).
func TestLateOffer(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b := net.phone(carol, "198.51.100.2:5060").register(south, "", 1)
		a.onOK = func() { a.loop.After(3*time.Second, func() { a.d.Ack(sdpType, []byte("my answer")) }) }
		a.call("2001", "")
		net.pass(2 * time.Second)
		if code, _ := b.ask(sip.INVITE, sdpType, "hold"); code != 491 { // its own offer is not answered yet
			t.Errorf("re-INVITE during the late offer: got %d, want 491", code)
		}
		net.pass(5 * time.Second)
		if a.last() != 200 || b.offered != "" || a.bodies[len(a.bodies)-1] != "north>B>A:south>B>A:answer of 2001@south.example" {
			t.Errorf("got %v %q, the callee was offered %q", a.got, a.bodies, b.offered)
		}
		if len(b.acks) != 1 || b.acks[0] != "south>A>B:north>A>B:my answer" {
			t.Errorf("ACKs at the callee: %q", b.acks)
		}
		a.bye()
		if len(b.ended) != 1 || len(b.acks) != 1 {
			t.Errorf("the callee ended %v, ACKs %q", b.ended, b.acks)
		}
	})
}

// The same in a re-INVITE.
func TestLateOfferInReinvite(t *testing.T) {
	talking(t, func(net *network, a, b *phone) {
		var atB []string
		b.onLater = answering(200, &atB)
		b.acks = nil
		a.onOK = func() {}
		code, offer := a.ask(sip.INVITE, "", "")
		if code != 200 || offer != "north>B>A:south>B>A:answer" {
			t.Errorf("got %d %q", code, offer)
		}
		if len(b.acks) != 0 {
			t.Errorf("acknowledged before the caller's answer: %q", b.acks)
		}
		a.do(func() { a.d.Ack(sdpType, []byte("later")) })
		net.pass(time.Second)
		if len(b.acks) != 1 || b.acks[0] != "south>A>B:north>A>B:later" {
			t.Errorf("ACKs at the callee: %q", b.acks)
		}
	})
}

// The caller hangs up instead of answering the late offer: the callee's 200 is acknowledged all the same.
func TestLateOfferAbandoned(t *testing.T) {
	for _, ack := range []bool{true, false} {
		lateOfferAbandoned(t, ack)
	}
}

func lateOfferAbandoned(t *testing.T, ack bool) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 1)
		b := net.phone(bob, "198.51.100.2:5060").register(north, "", 1)
		a.onOK = func() {
			if ack {
				a.d.Ack("", nil)
			}
			a.d.Bye(0, "")
		}
		a.call("1002", "")
		net.pass(5 * time.Second)
		if len(b.ended) != 1 || len(b.acks) != 1 {
			t.Errorf("the callee ended %v, ACKs %q", b.ended, b.acks)
		}
	})
}

// The callee asks for an offer and hangs up instead of answering it: the caller's 200 is acknowledged.
func TestLateOfferInReinviteAbandoned(t *testing.T) {
	talking(t, func(net *network, a, b *phone) {
		var atA []string
		a.onLater, a.acks = answering(200, &atA), nil
		b.onOK = func() {}
		if code, _ := b.ask(sip.INVITE, "", ""); code != 200 || len(a.acks) != 0 {
			t.Errorf("got %d, ACKs at the caller %q", code, a.acks)
		}
		b.bye()
		net.pass(time.Second)
		if len(a.acks) != 1 || len(a.ended) != 1 {
			t.Errorf("ACKs at the caller %q, ended %v", a.acks, a.ended)
		}
	})
}

// A phone that comes back by another address is believed when the flow is its user's, and its media is
// expected from there.
func TestAnotherFlowOfTheUser(t *testing.T) {
	talking(t, func(net *network, a, b *phone) {
		north := net.offices["north"]
		moved := netip.MustParseAddrPort("203.0.113.7:5060")
		net.nodes[moved], a.addrs[0] = a.node, moved
		north.do(func() { north.dir.flows[moved] = []roam.UserID{alice} })
		var atB []string
		b.onLater = answering(200, &atB)
		code := 0
		callID, local, remote := a.d.ID()
		a.do(func() {
			a.tl.Request(transaction.Destination{Flow: net.flow(a.tr, moved, north.addrs[0])}, func(w *sip.Writer, f *sip.Flow) error {
				w.Request("UPDATE", "sip:192.0.2.1:5060")
				w.Add(sip.MaxForwards, "70")
				w.Add(sip.From, "<sip:1001@north.example>;tag="+local)
				w.Add(sip.To, "<sip:2001@192.0.2.1>;tag="+remote)
				w.Add(sip.CallID, callID)
				w.Add(sip.CSeq, "9 UPDATE")
				w.Add(sip.Contact, "<sip:203.0.113.7:5060>")
				return w.End(sdpType, []byte("roaming"))
			}, func(res *sip.Message, err error) { code = res.Status() })
		})
		net.pass(time.Second)
		if code != 200 || len(atB) != 1 {
			t.Errorf("UPDATE from the new flow: got %d, the callee %q", code, atB)
		}
		north.do(func() {
			for _, c := range north.sw.calls {
				if c.a.peer.Signal != moved.Addr() {
					t.Errorf("media is expected from %s, want %s", c.a.peer.Signal, moved.Addr())
				}
			}
		})
		b.bye()
		if len(a.ended) != 1 {
			t.Errorf("BYE did not reach the phone where it is now: %v", a.ended)
		}
	})
}

func TestInDialog(t *testing.T) {
	talking(t, func(net *network, a, b *phone) {
		var atA, atB []string
		a.onLater, b.onLater = answering(200, &atA), answering(200, &atB)
		for _, c := range []struct {
			m         sip.Method
			typ, body string
			code      int
		}{
			{sip.INFO, "application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", 200},
			{sip.MESSAGE, "text/plain", "hello", 200},
			{sip.UPDATE, "", "", 200},
			{sip.UPDATE, sdpType, "v", 200},
			{sip.INVITE, "application/isup", "x", 415},
			{sip.INVITE, sdpType, "unusable", 488},
			{sip.OPTIONS, "", "", 200},
			{sip.REFER, "", "", 405},
			{sip.NOTIFY, "", "", 405},
		} {
			for _, p := range []*phone{a, b} {
				if code, _ := p.ask(c.m, c.typ, c.body); code != c.code {
					t.Errorf("%s %s from %s: got %d, want %d", c.m, c.typ, p.user, code, c.code)
				}
			}
		}
		want := "INFO application/dtmf-relay Signal=5\r\nDuration=160\r\n; MESSAGE text/plain hello; UPDATE application/sdp "
		if got := strings.Join(atB, "; "); got != want+"south>A>B:north>A>B:v" {
			t.Errorf("the callee got %q", got)
		}
		if got := strings.Join(atA, "; "); got != want+"north>B>A:south>B>A:v" {
			t.Errorf("the caller got %q", got)
		}
	})
}

// A stranger who knows the tags ends nothing, not even one behind the same NAT who has not been given the flow
// token; the phone itself may come back by another port.
func TestStrangersBye(t *testing.T) {
	const contact = "" // the one that the phone was given
	for _, c := range []struct {
		addr, uri string
		code      int
	}{{"203.0.113.9:5060", contact, 403}, {"198.51.100.1:40000", contact, 200}, {"198.51.100.1:40000", "sip:192.0.2.1:5060", 403},
		{"198.51.100.1:40000", "sip:AAAAAAAAAAHy5IouVzuL1OqBfIwgaiwo@192.0.2.1:5060", 403}} {
		talking(t, func(net *network, a, b *phone) {
			north := net.offices["north"]
			x := net.phone("9999@north.example", c.addr)
			callID, local, remote := a.d.ID()
			code := 0
			at, _ := a.d.State()
			uri := cmp.Or(c.uri, at.Target)
			x.do(func() {
				x.tl.Request(transaction.Destination{Flow: net.flow(a.tr, x.addrs[0], north.addrs[0])}, func(w *sip.Writer, f *sip.Flow) error {
					w.Request("BYE", uri)
					w.Add(sip.MaxForwards, "70")
					w.Add(sip.From, "<sip:1001@north.example>;tag="+local)
					w.Add(sip.To, "<sip:2001@192.0.2.1>;tag="+remote)
					w.Add(sip.CallID, callID)
					w.Add(sip.CSeq, "9 BYE")
					return w.End("", nil)
				}, func(res *sip.Message, err error) { code = res.Status() })
			})
			net.pass(time.Second)
			if code != c.code || (len(b.ended) == 1) != (c.code == 200) {
				t.Errorf("BYE %s from %s: got %d, callee ended %v, want %d", uri, c.addr, code, b.ended, c.code)
			}
		})
	}
}

// Who may speak in a dialog by another flow than before, by where it comes from and what it shows.
func TestAdmit(t *testing.T) {
	at := func(tr roam.Transport, remote string) *sip.Flow {
		return &sip.Flow{Flow: roam.Flow{Transport: tr, Remote: netip.MustParseAddrPort(remote)}}
	}
	for _, c := range []struct {
		what     string
		was, now *sip.Flow
		proof    dialog.Proof
		want     bool
	}{
		{"another port, shown", at(roam.UDP, "192.0.2.9:1"), at(roam.UDP, "192.0.2.9:2"), dialog.Shown, true},
		{"a neighbour behind the NAT", at(roam.UDP, "192.0.2.9:1"), at(roam.UDP, "192.0.2.9:2"), dialog.NotShown, false},
		{"another port after a restart", at(roam.TCP, "192.0.2.9:1"), at(roam.TCP, "192.0.2.9:2"), dialog.Unnamed, true},
		{"elsewhere after a restart", at(roam.TCP, "192.0.2.9:1"), at(roam.TCP, "192.0.2.66:2"), dialog.Unnamed, false},
		{"elsewhere, shown by who may have read it", at(roam.UDP, "192.0.2.9:1"), at(roam.UDP, "192.0.2.66:1"), dialog.Shown, false},
		{"elsewhere, read before", at(roam.TCP, "192.0.2.9:1"), at(roam.TLS, "192.0.2.66:1"), dialog.Shown, false},
		{"from the Wi-Fi to a mobile network", at(roam.TLS, "192.0.2.9:1"), at(roam.TLS, "192.0.2.66:1"), dialog.Shown, true},
		{"a page, likewise", at(roam.WSS, "192.0.2.9:1"), at(roam.WSS, "192.0.2.66:1"), dialog.Shown, true},
		{"encrypted elsewhere, not shown", at(roam.TLS, "192.0.2.9:1"), at(roam.TLS, "192.0.2.66:1"), dialog.NotShown, false},
	} {
		l := &Leg{call: &Call{s: &Switch{dir: &directory{}}}, flow: c.was, user: alice}
		if got := l.Admit(c.now, c.proof); got != c.want {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
	}
	mine := at(roam.TCP, "192.0.2.66:1")
	l := &Leg{call: &Call{s: &Switch{dir: &directory{flows: map[netip.AddrPort][]roam.UserID{mine.Remote: {alice}}}}}, flow: at(roam.UDP, "192.0.2.9:1"), user: alice}
	if !l.Admit(mine, dialog.NotShown) {
		t.Error("another flow that the user has registered: got false, want true")
	}
}

// A phone whose connection broke in a call, and that has registered by another, is told of the end by that one: its
// Contact leads nowhere (a phone behind a NAT, or in a web page).
func TestEndIsSaidByTheNewFlow(t *testing.T) {
	for _, device := range []roam.Device{"", "urn:uuid:b"} {
		talking(t, func(net *network, a, b *phone) {
			at, back := b.at, netip.MustParseAddrPort("198.51.100.2:40000")
			delete(net.nodes, b.addrs[0])
			net.nodes[back] = b.node
			at.do(func() {
				line := at.dir.lines[b.user]
				line.Targets = []roam.Target{{URI: "sip:b@x.invalid", Device: device, Flow: roam.Flow{Transport: b.tr, Local: at.addrs[0], Remote: back}}}
				at.dir.lines[b.user] = line
				for _, c := range at.sw.calls {
					for _, l := range append(c.bs, c.b) {
						if l != nil && l.user == b.user {
							l.device = device
						}
					}
				}
			})
			a.bye()
			net.pass(time.Second)
			if len(b.ended) != 1 || b.ended[0].Req == nil || b.ended[0].Req.Method() != sip.BYE {
				t.Errorf("device %q: callee ended %+v, want a BYE", device, b.ended)
			}
		})
	}
}
