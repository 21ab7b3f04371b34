package transaction

import (
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
)

func TestMux(t *testing.T) {
	role := func(name string) Handler {
		return HandlerFunc(func(tx *Server, _ *sip.Message) error {
			return tx.Reply(200, sip.Field{Name: sip.Subject, Value: name})
		})
	}
	m := NewMux("replaces", "timer") // as one that could
	m.Handle(sip.INVITE, "", role("switch"))
	m.Handle(sip.OPTIONS, "", role("switch"))
	m.Handle(sip.REGISTER, "", role("registrar"))
	m.Handle(sip.NOTIFY, "reg", role("registrar"))
	m.Handle(sip.NOTIFY, "refer", role("switch"))
	const allow = "ACK, BYE, CANCEL, INFO, UPDATE, INVITE, OPTIONS, REGISTER, NOTIFY"
	spent := strings.NewReplacer("Max-Forwards: 70", "Max-Forwards: 0")
	for _, c := range []struct {
		name, request string
		code          string
		header        sip.Name
		value         string
	}{
		{"INVITE", request("INVITE", "z9hG4bKa", "", ""), "200", sip.Subject, "switch"},
		{"REGISTER", request("REGISTER", "z9hG4bKa", "", ""), "200", sip.Subject, "registrar"},
		{"event", request("NOTIFY", "z9hG4bKa", "", "Event: Reg;id=1"), "200", sip.Subject, "registrar"},
		{"another event", request("NOTIFY", "z9hG4bKa", "", "o: refer"), "200", sip.Subject, "switch"},
		{"unknown event", request("NOTIFY", "z9hG4bKa", "", "Event: fish"), "489", sip.AllowEvents, "reg, refer"},
		{"no event", request("NOTIFY", "z9hG4bKa", "", ""), "400", 0, ""},
		{"known, not handled", request("SUBSCRIBE", "z9hG4bKa", "", "Event: reg"), "405", sip.Allow, allow},
		{"known, not handled", request("PUBLISH", "z9hG4bKa", "", ""), "405", sip.Allow, allow},
		{"unknown", request("FLY", "z9hG4bKa", "", ""), "501", sip.Allow, allow},
		{"known extensions", request("INVITE", "z9hG4bKa", "", "Require: Timer, replaces"), "200", sip.Subject, "switch"},
		{"unknown extensions", request("INVITE", "z9hG4bKa", "", "Require: 100rel, timer"), "420", sip.Unsupported, "100rel"},
		{"extensions of a proxy", request("INVITE", "z9hG4bKa", "", "Proxy-Require: fish"), "420", sip.Unsupported, "fish"},
		{"spent", spent.Replace(request("INVITE", "z9hG4bKa", "", "")), "483", 0, ""},
		{"spent, for us", spent.Replace(strings.Replace(request("OPTIONS", "z9hG4bKa", "", ""), "sip:b@", "sip:", 1)), "200", sip.Subject, "switch"},
		{"spent, for a user", spent.Replace(request("OPTIONS", "z9hG4bKa", "", "")), "483", 0, ""},
		{"no Contact", strings.Replace(request("INVITE", "z9hG4bKa", "", ""), "Contact: <sip:a@192.0.2.9:5062>\n", "", 1), "400", 0, ""},
		{"no Contact, RFC 2543", strings.NewReplacer("Contact: <sip:a@192.0.2.9:5062>\n", "", ";branch=z9hG4bKa", "").Replace(request("INVITE", "z9hG4bKa", "", "")), "200", sip.Subject, "switch"},
	} {
		run(t, time.Minute, m.ServeSIP, func(t *testing.T, o *office) {
			o.In(phone, c.request)
			got := o.One()
			if !strings.HasPrefix(got.Line(), "SIP/2.0 "+c.code) || c.header != 0 && got.Header(c.header) != c.value {
				t.Errorf("%s: got %q, want %s with %s: %s", c.name, got.Text, c.code, c.header, c.value)
			}
		})
	}
	run(t, 0, m.ServeSIP, func(t *testing.T, o *office) {
		o.In(phone, request("ACK", "z9hG4bKa", "2", ""))
		if got := o.Take(); len(got) != 0 {
			t.Errorf("ACK: sent %q, want nothing", siptest.Lines(got))
		}
	})
}
