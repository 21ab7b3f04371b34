package dialog

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/seal"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
	"github.com/siproam/siproam/sip/transaction"
)

// proving is a leg that notes what is shown, and admits what is.
type proving struct {
	*leg
	shown *[]Proof
}

func (p proving) Admit(_ *sip.Flow, proof Proof) bool {
	*p.shown = append(*p.shown, proof)
	return proof == Shown
}

// token is the user part of our Contact in what was sent last.
func (o *office) token(sent []siptest.Sent) string {
	o.T.Helper()
	for _, s := range slices.Backward(sent) {
		if a, err := sip.ParseAddress([]byte(s.Header(sip.Contact))); err == nil {
			return a.URI.User
		}
	}
	o.T.Fatal("no Contact was sent")
	return ""
}

// A flow token counts for the dialog, the flow and the run of the office that it was made for, to the letter; it
// still names a connection that is gone, so that a phone can come back by another.
func TestFlowToken(t *testing.T) {
	tcp := siptest.Conn(roam.TCP, "192.0.2.9:33001", 7)
	back := siptest.Conn(roam.TCP, "192.0.2.9:33002", 8)
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		var shown []Proof
		o.In(tcp, o.theirs("INVITE", 1, "a", "Contact: <sip:a@10.0.0.9;transport=tcp>"))
		o.Do(func() { o.leg.d.Respond(o.tx, Answer{Code: 200}) })
		token := o.token(o.Take())
		o.In(tcp, o.theirs("ACK", 1, "ack", ""))
		o.Do(func() { o.leg.d.events = proving{&o.leg, &shown} })
		o.Close(tcp)
		seq := 1
		says := func(user string) Proof {
			shown = nil
			seq++
			text := o.theirs("INFO", seq, fmt.Sprint("i", seq), "")
			o.In(back, strings.Replace(text, "sip:b@192.0.2.1 ", "sip:"+user+"@192.0.2.1;transport=tcp ", 1))
			if len(shown) != 1 {
				t.Fatalf("%s: asked %d times, want once", user, len(shown))
			}
			o.Take()
			o.Do(func() { o.leg.d.flow = tcp }) // it never came back
			return shown[0]
		}
		o.leg.on = func(tx *transaction.Server, _ *sip.Message) { o.leg.d.Respond(tx, Answer{Code: 200}) }
		if got := says(token); got != Shown {
			t.Errorf("the token: got %v, want Shown", got)
		}
		forged := []string{"b", token[:31], token + "A", strings.ToLower(token), strings.Repeat("A", 32)}
		for i := range len(token) {
			flipped := []byte(token)
			if flipped[i]++; flipped[i] == '[' || flipped[i] == '{' || flipped[i] == ':' || flipped[i] == '.' || flipped[i] == '`' {
				flipped[i] = 'Q'
			}
			forged = append(forged, string(flipped))
		}
		var others [3]string
		o.Do(func() {
			d := *o.leg.d
			mint := func() string {
				a, _ := sip.ParseAddress(slices.Clone(d.flowContact(tcp)))
				return a.URI.User
			}
			d.table = &Table{stamps: seal.NewStamps()} // another office, or this one started again
			others[0] = mint()
			d.table = o.table
			d.callID = "another call"
			others[1] = mint()
			d.callID = o.leg.d.callID
			a, _ := sip.ParseAddress(slices.Clone(d.flowContact(back))) // another flow
			others[2] = a.URI.User
		})
		for _, f := range append(forged, others[:]...) {
			if got := says(f); got != NotShown {
				t.Errorf("%s instead of %s: got %v, want NotShown", f, token, got)
			}
		}
		o.Do(func() { o.leg.d.named = nil }) // as Restore leaves it
		if got := says(token); got != Unnamed {
			t.Errorf("after a restart: got %v, want Unnamed", got)
		}
		o.Do(func() { o.leg.d.events, o.leg.d.flow = &o.leg, back })
		o.hangUp()
	})
}

// An office's Contact needs no token: its certificate says who asks.
func TestNoTokenForPartners(t *testing.T) {
	run(t, 40*time.Second, func(t *testing.T, o *office) {
		west := siptest.Conn(roam.TLS, "192.0.2.3:5067", 9)
		west.Partner = "west"
		o.In(west, o.theirs("INVITE", 1, "a", "Contact: <sip:a@10.0.0.9;transport=tls>"))
		o.Do(func() { o.leg.d.Respond(o.tx, Answer{Code: 180}) })
		if got := o.token(o.Take()); got != "" {
			t.Errorf("got the user part %q, want none", got)
		}
		o.answer(486)
		o.Take()
	})
}
