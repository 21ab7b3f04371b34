package softswitch

import (
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// cards is what is known of other offices.
type cards map[roam.OfficeID]*roam.Card

func (c cards) OfficeCard(o roam.OfficeID) (*roam.Card, bool) {
	card, found := c[o]
	return card, found
}

func (c cards) Ranges() map[roam.OfficeID][]string {
	all := map[roam.OfficeID][]string{}
	for o, card := range c {
		all[o] = card.Ranges
	}
	return all
}

// speech is an offer of PCMU.
const speech = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"

// TestAttributes: what another office has said of itself decides how, and whether, it is called (M11); what cannot be is
// refused here, without a word to that office.
func TestAttributes(t *testing.T) {
	for _, c := range []struct {
		name   string
		ours   roam.Attributes
		theirs *roam.Attributes
		code   int
		by     string // transport chosen
		unfit  string // what the log names
	}{
		{"nothing told", roam.Attributes{Transports: []string{"tls"}}, nil, 200, "tls", ""},
		{"all in common", roam.Attributes{Transports: []string{"tls"}}, &roam.Attributes{Transports: []string{"tls"}, Codecs: []string{"pcmu"}, MessageMax: 65535, CallsMax: 9}, 200, "tls", ""},
		{"another transport", roam.Attributes{Transports: []string{"tls", "tcp"}}, &roam.Attributes{Transports: []string{"tcp"}}, 200, "tcp", ""},
		{"no transport", roam.Attributes{Transports: []string{"tls"}}, &roam.Attributes{Transports: []string{"tcp"}}, 488, "", "transport"},
		{"no codec of theirs", roam.Attributes{}, &roam.Attributes{Codecs: []string{"PCMA", "opus"}}, 488, "", "codecs"},
		{"no codec of ours", roam.Attributes{Codecs: []string{"PCMA"}}, &roam.Attributes{}, 488, "", "codecs"},
		{"too long", roam.Attributes{}, &roam.Attributes{MessageMax: 1300}, 513, "", "message"},
	} {
		t.Run(c.name, func(t *testing.T) {
			world(t, func(t *testing.T, net *network, north, south, west *office) {
				a := net.phone(alice, "198.51.100.1:5060").register(north, "", 10)
				net.phone(wanda, "198.51.100.4:5060").register(west, "", 10)
				ours := c.ours
				north.sw.cfg.Card.Speaks = &ours
				known := cards{}
				if c.theirs != nil {
					known["west"] = &roam.Card{Office: "west", Switch: west.sw.cfg.Card.Switch, Speaks: c.theirs}
				}
				north.sw.Knows(known)
				a.call("3001", speech)
				net.pass(3 * time.Second)
				if a.last() != c.code {
					t.Errorf("got %v, want %d", a.got, c.code)
				}
				if reached := strings.Join(net.reached, ", "); c.by != "" && reached != "west.example "+c.by || c.by == "" && reached != "" {
					t.Errorf("reached %q, want west by %q", reached, c.by)
				}
				if c.unfit != "" && !strings.Contains(net.logged(), `"peer":"west","reason":"`+c.unfit+`"`) {
					t.Errorf("the log does not name %q: %s", c.unfit, net.logged())
				}
				a.bye()
			})
		})
	}
}

// TestCallsMax: no more calls are brought to an office than it takes, and those that end make room.
func TestCallsMax(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 10)
		b := net.phone(bobby, "198.51.100.2:5060").register(north, "", 10)
		net.phone(wanda, "198.51.100.4:5060").register(west, "", 10)
		north.sw.cfg.Card.Speaks = &roam.Attributes{}
		north.sw.Knows(cards{"west": {Office: "west", Speaks: &roam.Attributes{CallsMax: 1}}})
		a.call("3001", "offer")
		net.pass(3 * time.Second)
		b.call("3001", "offer")
		net.pass(3 * time.Second)
		if a.last() != 200 || b.last() != 503 || b.ended[0].Res.Value(sip.RetryAfter) == nil {
			t.Errorf("got %v and %v, want 200, and 503 with Retry-After", a.got, b.got)
		}
		a.bye()
		net.pass(time.Second)
		b.call("3001", "offer")
		net.pass(3 * time.Second)
		if b.last() != 200 {
			t.Errorf("after the first has ended: got %v, want 200", b.got)
		}
		b.bye()
		net.pass(time.Second)
		if len(north.sw.with) != 0 {
			t.Errorf("still counted: %v", north.sw.with)
		}
	})
}

// TestMethodsOfAnOffice: a request within a call that the office at its other end does not take is refused here.
func TestMethodsOfAnOffice(t *testing.T) {
	world(t, func(t *testing.T, net *network, north, south, west *office) {
		a := net.phone(alice, "198.51.100.1:5060").register(north, "", 10)
		b := net.phone(wanda, "198.51.100.4:5060").register(west, "", 10)
		speaks := &roam.Attributes{Methods: []string{"UPDATE"}}
		north.sw.cfg.Card.Speaks = &roam.Attributes{}
		north.sw.Knows(cards{"west": {Office: "west", Speaks: speaks}})
		a.call("3001", "offer")
		net.pass(3 * time.Second)
		var got []string
		b.onLater = answering(200, &got)
		if code, _ := a.ask(sip.INFO, "application/dtmf-relay", "Signal=1"); code != 405 || len(got) > 0 {
			t.Errorf("INFO: got %d, west heard %q, want 405 and nothing", code, got)
		}
		speaks.Methods = append(speaks.Methods, "INFO")
		if code, _ := a.ask(sip.INFO, "application/dtmf-relay", "Signal=1"); code != 200 || len(got) != 1 {
			t.Errorf("INFO: got %d, west heard %q, want 200 and once", code, got)
		}
		a.bye()
	})
}
