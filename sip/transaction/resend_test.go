package transaction

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
)

// partner is a connection of office south's.
func partner(id uint64) *sip.Flow {
	f := siptest.Conn(roam.TLS, "192.0.2.9:5067", id)
	f.Partner = "south"
	return f
}

// toPartner has every URI lead to south, by old until it is made anew, then by fresh. It says how often that was asked for.
func (o *office) toPartner(old, fresh *sip.Flow, failing error) (asked *int) {
	asked = new(int)
	o.Hops = func(sip.URI) ([]sip.Hop, error) {
		return []sip.Hop{{Transport: roam.TLS, Addr: "192.0.2.9:5067"}}, nil
	}
	o.Dial = func(sip.Hop) (*sip.Flow, error) { return old, nil }
	o.Anew = func(sip.Hop) (*sip.Flow, error) { *asked++; return fresh, failing }
	return asked
}

var anywhere = Destination{URI: sip.URI{Host: "south.example"}}

// TestResendSilence: a request of which nothing is heard for 2 s goes out once more, as it is, by a new connection.
func TestResendSilence(t *testing.T) {
	for _, method := range []string{"INVITE", "MESSAGE"} {
		run(t, 40*time.Second, nil, func(t *testing.T, o *office) {
			old, fresh := partner(7), partner(8)
			asked := o.toPartner(old, fresh, nil)
			var out outcome
			c := o.ask(anywhere, method, &out)
			first := o.One()
			o.Sleep(doubtAfter - time.Millisecond)
			if got := o.Take(); len(got) > 0 {
				t.Errorf("%s: sent %q too early", method, siptest.Lines(got))
			}
			o.Sleep(time.Millisecond)
			again := o.One()
			if again.Flow != fresh || again.Text != first.Text || c.Flow() != fresh {
				t.Errorf("%s: sent %q by %v, want the same by the new connection", method, again.Text, again.Flow.Flow)
			}
			o.Sleep(10 * time.Second)
			if got := o.Take(); len(got) > 0 || *asked != 1 {
				t.Errorf("%s: sent %q, made %d connections, want it once", method, siptest.Lines(got), *asked)
			}
			o.Close(old) // which the new one does not care about
			o.Answer(again, "200 OK", "2")
			if !slices.Equal(out.codes, []int{200}) || out.words != 1 {
				t.Errorf("%s: got %v, %v", method, out.codes, out.err)
			}
		})
	}
}

// TestResendLost: the end of a connection by which nothing was heard is not the end of the request, but once.
func TestResendLost(t *testing.T) {
	run(t, 40*time.Second, nil, func(t *testing.T, o *office) {
		old, fresh := partner(7), partner(8)
		o.toPartner(old, fresh, nil)
		var out outcome
		o.ask(anywhere, "INVITE", &out)
		first := o.One()
		o.Close(old)
		again := o.One()
		if again.Flow != fresh || again.Text != first.Text || out.words != 0 {
			t.Fatalf("sent %q by %v, %d last words", again.Text, again.Flow.Flow, out.words)
		}
		o.Answer(again, "486 Busy Here", "2")
		if ack := o.One(); ack.Flow != fresh || !slices.Equal(out.codes, []int{486}) {
			t.Errorf("got %v, ACK by %v", out.codes, ack.Flow.Flow)
		}
	})
	for what, spoil := range map[string]func(o *office, old, fresh *sip.Flow, c *Client, first siptest.Sent){
		"no connection comes of it": func(o *office, old, fresh *sip.Flow, _ *Client, _ siptest.Sent) {
			o.Anew = func(sip.Hop) (*sip.Flow, error) { return nil, errors.New("refused") }
			o.Close(old)
		},
		"another office is there": func(o *office, old, fresh *sip.Flow, _ *Client, _ siptest.Sent) {
			fresh.Partner = "west"
			o.Close(old)
		},
		"the new one ends too": func(o *office, old, fresh *sip.Flow, _ *Client, _ siptest.Sent) {
			o.Close(old)
			o.Take()
			o.Close(fresh)
		},
		"a response was heard": func(o *office, old, fresh *sip.Flow, _ *Client, first siptest.Sent) {
			o.Answer(first, "100 Trying", "")
			o.Close(old)
		},
		"it was cancelled": func(o *office, old, fresh *sip.Flow, c *Client, _ siptest.Sent) {
			o.Do(func() { c.Cancel("") })
			o.Close(old)
		},
	} {
		run(t, 40*time.Second, nil, func(t *testing.T, o *office) {
			old, fresh := partner(7), partner(8)
			o.toPartner(old, fresh, nil)
			var out outcome
			c := o.ask(anywhere, "INVITE", &out)
			spoil(o, old, fresh, c, o.One())
			if got := o.Take(); len(got) > 0 || !errors.Is(out.err, roam.NotRegistered) || out.words != 1 {
				t.Errorf("%s: sent %q, ended with %v, %d last words", what, siptest.Lines(got), out.err, out.words)
			}
		})
	}
}

// TestResendSlow: who is slow, or takes no new connection, is not asked twice; nor is a phone, down its flow.
func TestResendSlow(t *testing.T) {
	for what, c := range map[string]struct {
		fresh bool
		fails error
		to    Destination
		asked int
	}{
		"it lives":       {to: anywhere, asked: 1},
		"it takes none":  {to: anywhere, fails: errors.New("refused"), asked: 1},
		"down the flow":  {to: Destination{Flow: partner(7)}, fresh: true},
		"a phone's flow": {to: Destination{Flow: tcp}, fresh: true},
	} {
		run(t, 40*time.Second, nil, func(t *testing.T, o *office) {
			old, fresh := partner(7), partner(8)
			if !c.fresh {
				fresh = old
			}
			asked := o.toPartner(old, fresh, c.fails)
			var out outcome
			o.ask(c.to, "MESSAGE", &out)
			req := o.One()
			o.Sleep(5 * time.Second)
			if got := o.Take(); len(got) > 0 || *asked != c.asked || out.words > 0 {
				t.Errorf("%s: sent %q, asked for %d connections, %d last words", what, siptest.Lines(got), *asked, out.words)
			}
			o.Answer(req, "200 OK", "2")
			if !slices.Equal(out.codes, []int{200}) {
				t.Errorf("%s: got %v", what, out.codes)
			}
		})
	}
}

// TestFollow: what comes again by another connection of the same office is handled once, and answered there; by one of anybody
// else's it changes nothing.
func TestFollow(t *testing.T) {
	first, second := partner(7), partner(8)
	stranger := siptest.Conn(roam.TLS, "192.0.2.9:33002", 9)
	thief := partner(10)
	thief.Partner = "west"
	for _, method := range []string{"INVITE", "NOTIFY"} {
		for _, c := range []struct {
			first, by, want *sip.Flow
		}{{first, second, second}, {first, stranger, first}, {first, thief, first}, {tcp, stranger, tcp}} {
			var handled int
			var held *Server
			run(t, 40*time.Second, func(tx *Server, req *sip.Message) error {
				handled++
				held = tx.Hold()
				return nil
			}, func(t *testing.T, o *office) {
				text := request(method, "z9hG4bKx", "", "")
				o.In(c.first, text)
				o.In(c.by, text)
				o.Take()
				o.Do(func() { _ = held.Reply(480, sip.Field{Name: sip.Reason, Value: "x"}) })
				got := o.One()
				if handled != 1 || got.Flow != c.want || !strings.HasPrefix(got.Text, "SIP/2.0 480 ") {
					t.Errorf("%s: handled %d times, %q by %v, want %v", method, handled, got.Line(), got.Flow.Flow, c.want.Flow)
				}
				if method == "INVITE" {
					o.In(c.want, request("ACK", "z9hG4bKx", "2", ""))
					return
				}
				if c.first == tcp { // Timer J is 0
					return
				}
				o.In(c.by, text) // answered already: said again
				if again := o.One(); handled != 1 || again.Flow != c.want || again.Text != got.Text {
					t.Errorf("%s again: handled %d times, %q by %v, want %v", method, handled, again.Line(), again.Flow.Flow, c.want.Flow)
				}
			})
		}
	}
}
