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

var down = Destination{Flow: phone}

// 17.1.1.2: A doubles until B ends it. 17.1.2.2: E doubles to T2 until F. Over TCP nothing is repeated.
func TestUnanswered(t *testing.T) {
	for _, c := range []struct {
		method string
		flow   *sip.Flow
		want   []time.Duration
	}{
		{"INVITE", phone, siptest.Seconds(0, .5, 1.5, 3.5, 7.5, 15.5, 31.5)},
		{"MESSAGE", phone, siptest.Seconds(0, .5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5)},
		{"INVITE", tcp, siptest.Seconds(0)},
		{"MESSAGE", tcp, siptest.Seconds(0)},
	} {
		run(t, 0, nil, func(t *testing.T, o *office) {
			var out outcome
			o.ask(Destination{Flow: c.flow}, c.method, &out)
			o.Sleep(31999 * time.Millisecond)
			if out.words != 0 {
				t.Errorf("%s: over before timer B or F", c.method)
			}
			o.Sleep(time.Millisecond)
			sent := o.Take()
			if got := o.At(c.method); !slices.Equal(got, c.want) {
				t.Errorf("%s sent at %v, want %v", c.method, got, c.want)
			}
			if sent[0].Text != sent[len(sent)-1].Text {
				t.Errorf("%s repeated otherwise:\n%s\n%s", c.method, sent[0].Text, sent[len(sent)-1].Text)
			}
			if !errors.Is(out.err, roam.Timeout) || out.words != 1 {
				t.Errorf("%s ended with %v, %d last words, want %v and 1", c.method, out.err, out.words, roam.Timeout)
			}
		})
	}
}

// 18.1.1: our Via has the flow's transport and our address on it, rport, and a branch of its own.
func TestVia(t *testing.T) {
	run(t, time.Minute, nil, func(t *testing.T, o *office) {
		var out outcome
		o.ask(down, "MESSAGE", &out)
		o.ask(Destination{Flow: tcp}, "MESSAGE", &out)
		sent := o.Take()
		a, b := sent[0].Header(sip.Via), sent[1].Header(sip.Via)
		if !strings.HasPrefix(a, "SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK") || !strings.HasPrefix(b, "SIP/2.0/TCP 192.0.2.1:5060;rport;branch=z9hG4bK") || a[12:] == b[12:] {
			t.Errorf("got %q and %q", a, b)
		}
	})
}

// A provisional response ends A and B; E goes on every T2.
func TestProvisional(t *testing.T) {
	run(t, 6*time.Second, nil, func(t *testing.T, o *office) {
		var out, other outcome
		o.ask(down, "INVITE", &out)
		o.ask(down, "MESSAGE", &other)
		sent := o.Take()
		o.Sleep(time.Second)
		o.Answer(sent[0], "100 Trying", "")
		o.Answer(sent[0], "180 Ringing", "2")
		o.Answer(sent[0], "183 Session Progress", "2")
		o.Answer(sent[1], "100 Trying", "")
		o.Sleep(time.Minute)
		if got, want := o.At("INVITE"), siptest.Seconds(0, .5); !slices.Equal(got, want) || out.words != 0 {
			t.Errorf("INVITE sent at %v, want %v; %d last words, want 0", got, want, out.words)
		}
		if got, want := o.At("MESSAGE"), siptest.Seconds(0, .5, 1.5, 5.5, 9.5, 13.5, 17.5, 21.5, 25.5, 29.5); !slices.Equal(got, want) {
			t.Errorf("MESSAGE sent at %v, want %v", got, want)
		}
		o.Answer(sent[0], "200 OK", "2")
		if want := []int{180, 183, 200}; !slices.Equal(out.codes, want) || !errors.Is(other.err, roam.Timeout) {
			t.Errorf("got %v, want %v; MESSAGE ended with %v, want %v", out.codes, want, other.err, roam.Timeout)
		}
	})
}

// 17.1.1.3: a refusal is acknowledged at once, by the INVITE's branch, each time it
// comes within Timer D, and told once.
func TestRefused(t *testing.T) {
	for _, flow := range []*sip.Flow{phone, tcp} {
		run(t, 0, nil, func(t *testing.T, o *office) {
			var out outcome
			o.ask(Destination{Flow: flow}, "INVITE", &out)
			invite := o.One()
			o.Answer(invite, "486 Busy Here", "2")
			ack := o.One()
			for _, n := range []sip.Name{sip.Via, sip.Route, sip.From, sip.CallID} {
				if ack.Header(n) != invite.Header(n) {
					t.Errorf("%s of the ACK: %q, want %q", n, ack.Header(n), invite.Header(n))
				}
			}
			if ack.Line() != "ACK sip:b@example.org SIP/2.0" || tagOf(ack) != "2" || ack.Header(sip.CSeq) != "1 ACK" {
				t.Errorf("got %q", ack.Text)
			}
			if flow == tcp {
				if o.len() != 0 {
					t.Errorf("TCP: %d transactions, want 0", o.len())
				}
				return
			}
			o.Sleep(time.Second)
			o.Answer(invite, "486 Busy Here", "2")
			if again := o.One(); again.Text != ack.Text || out.words != 1 {
				t.Errorf("sent %q, want the same ACK; %d last words, want 1", again.Text, out.words)
			}
			o.Sleep(30999 * time.Millisecond)
			if got := o.len(); got != 1 {
				t.Errorf("before timer D: %d transactions, want 1", got)
			}
			o.Sleep(time.Millisecond)
		})
	}
}

// 17.1.2.2: the final response ends E; K absorbs repetitions.
func TestAnswered(t *testing.T) {
	run(t, 0, nil, func(t *testing.T, o *office) {
		var out outcome
		o.ask(down, "MESSAGE", &out)
		req := o.One()
		o.Answer(req, "200 OK", "2")
		o.Answer(req, "200 OK", "2")
		o.Answer(req, "404 Not Found", "2")
		o.Sleep(4999 * time.Millisecond)
		if got := o.len(); got != 1 || !slices.Equal(out.codes, []int{200}) || len(o.At("MESSAGE")) != 1 {
			t.Errorf("before timer K: %d transactions, want 1; got %v", got, out.codes)
		}
		o.Sleep(time.Millisecond)
	})
}

// RFC 6026 7.2: a 2xx that comes again, or from another fork, goes to the dialogs.
func TestStray(t *testing.T) {
	run(t, 0, nil, func(t *testing.T, o *office) {
		var strays []string
		o.Stray(func(res *sip.Message) { strays = append(strays, res.ToTag()) })
		var out outcome
		o.ask(down, "INVITE", &out)
		invite := o.One()
		for _, tag := range []string{"2", "2", "3"} {
			o.Answer(invite, "200 OK", tag)
		}
		o.Answer(invite, "486 Busy Here", "4")
		if !slices.Equal(strays, []string{"2", "3"}) || !slices.Equal(out.codes, []int{200}) || len(o.Take()) != 0 {
			t.Errorf("strays %q, want 2 and 3; got %v", strays, out.codes)
		}
	})
}

// 8.1.3.3, 17.1.3: a response with two Vias, another branch or another method is nobody's.
func TestForeignResponses(t *testing.T) {
	run(t, time.Minute, nil, func(t *testing.T, o *office) {
		var out outcome
		o.ask(down, "MESSAGE", &out)
		req := o.One()
		o.Answer(req, "200 OK", "2", "Via: SIP/2.0/UDP 192.0.2.66;branch=z9hG4bKx")
		o.Answer(siptest.Sent{Flow: phone, Text: strings.Replace(req.Text, ";branch", ", SIP/2.0/UDP 192.0.2.66;branch", 1)}, "200 OK", "2")
		o.Answer(siptest.Sent{Flow: phone, Text: strings.Replace(req.Text, "branch=z9hG4bK", "branch=z9hG4bKx", 1)}, "200 OK", "2")
		o.Answer(siptest.Sent{Flow: phone, Text: strings.Replace(req.Text, "CSeq: 1 MESSAGE", "CSeq: 1 INFO", 1)}, "200 OK", "2")
		if len(out.codes) != 0 {
			t.Errorf("took %v", out.codes)
		}
	})
}

// 9.1: CANCEL waits for a provisional response, goes by the INVITE's branch; the 487 is acknowledged.
func TestClientCancel(t *testing.T) {
	run(t, 33*time.Second, nil, func(t *testing.T, o *office) {
		var out outcome
		c := o.ask(down, "INVITE", &out)
		invite := o.One()
		o.Do(func() { c.Cancel(`SIP;cause=200;text="Call completed elsewhere"`) })
		if got := o.Take(); len(got) != 0 {
			t.Fatalf("sent %q before a provisional response", siptest.Lines(got))
		}
		o.Answer(invite, "100 Trying", "")
		cancel := o.One()
		for _, n := range []sip.Name{sip.Via, sip.Route, sip.From, sip.To, sip.CallID} {
			if cancel.Header(n) != invite.Header(n) {
				t.Errorf("%s of the CANCEL: %q, want %q", n, cancel.Header(n), invite.Header(n))
			}
		}
		if cancel.Header(sip.CSeq) != "1 CANCEL" || cancel.Header(sip.Reason) == "" {
			t.Errorf("got %q", cancel.Text)
		}
		o.Answer(invite, "180 Ringing", "2")
		o.Sleep(time.Second)
		if got, want := o.At("CANCEL"), siptest.Seconds(0, .5); !slices.Equal(got, want) {
			t.Errorf("CANCEL sent at %v, want %v", got, want)
		}
		o.Answer(cancel, "200 OK", "2")
		o.Take()
		o.Answer(invite, "487 Request Terminated", "2")
		if got := o.One().Line(); !strings.HasPrefix(got, "ACK ") || !slices.Equal(out.codes, []int{180, 487}) {
			t.Errorf("sent %q, got %v", got, out.codes)
		}
	})
}

// 9.1: without a final response for 64*T1 after CANCEL, we make a 487; a late 200 is a stray.
func TestCancelWithoutFinal(t *testing.T) {
	run(t, 0, nil, func(t *testing.T, o *office) {
		var out outcome
		strays := 0
		o.Stray(func(*sip.Message) { strays++ })
		c := o.ask(down, "INVITE", &out)
		invite := o.One()
		o.Answer(invite, "180 Ringing", "2")
		o.Do(func() { c.Cancel("") })
		o.Answer(o.One(), "200 OK", "2")
		o.Sleep(time.Second)
		o.Answer(invite, "180 Ringing", "2")
		o.Sleep(30999 * time.Millisecond)
		if out.words != 0 {
			t.Error("over before 64*T1")
		}
		o.Sleep(time.Millisecond)
		if !slices.Equal(out.codes, []int{180, 180, 487}) {
			t.Errorf("got %v, want 180 twice and 487", out.codes)
		}
		o.Answer(invite, "200 OK", "2")
		if strays != 1 {
			t.Errorf("late 200: %d strays, want 1", strays)
		}
	})
}

// CANCEL and 200 cross: the 200 counts, and it is told.
func TestCancelAndAnswerCross(t *testing.T) {
	run(t, 33*time.Second, nil, func(t *testing.T, o *office) {
		var out outcome
		c := o.ask(down, "INVITE", &out)
		invite := o.One()
		o.Answer(invite, "180 Ringing", "2")
		o.Do(func() { c.Cancel("") })
		o.Answer(invite, "200 OK", "2")
		if !slices.Equal(out.codes, []int{180, 200}) || out.words != 1 {
			t.Errorf("got %v, want 180 and 200", out.codes)
		}
	})
}

// hops has an URI lead to three hops, of which the first cannot be opened.
func hops(o *office) {
	o.Hops = func(sip.URI) ([]sip.Hop, error) {
		return []sip.Hop{{Transport: roam.UDP, Addr: "192.0.2.11:5060"}, {Transport: roam.UDP, Addr: "192.0.2.12:5060"}, {Transport: roam.UDP, Addr: "192.0.2.13:5060"}}, nil
	}
	o.Dial = func(h sip.Hop) (*sip.Flow, error) {
		if h.Addr == "192.0.2.11:5060" {
			return nil, errors.New("refused")
		}
		return siptest.UDP(h.Addr), nil
	}
}

// RFC 3263 4.3: transport error, 503 and timeout lead to the next hop, each with a new branch.
func TestFailover(t *testing.T) {
	for _, method := range []string{"INVITE", "MESSAGE"} {
		run(t, 33*time.Second, nil, func(t *testing.T, o *office) {
			hops(o)
			var out outcome
			c := o.ask(Destination{URI: sip.URI{Host: "b.example"}}, method, &out)
			second := o.One()
			o.Answer(second, "503 Service Unavailable", "2")
			sent := o.Take()
			third := sent[len(sent)-1]
			if second.Flow.Remote.String() != "192.0.2.12:5060" || third.Flow.Remote.String() != "192.0.2.13:5060" || c.Flow() != third.Flow {
				t.Errorf("%s went to %v and %v", method, second.Flow.Remote, third.Flow.Remote)
			}
			if second.Header(sip.Via) == third.Header(sip.Via) {
				t.Errorf("%s: same branch for two hops", method)
			}
			if method == "INVITE" {
				o.Answer(second, "503 Service Unavailable", "2")
				if ack := o.One(); !strings.HasPrefix(ack.Line(), "ACK ") || ack.Flow != second.Flow {
					t.Errorf("repeated 503: sent %q", ack.Line())
				}
			}
			if out.words != 0 || len(out.codes) != 0 {
				t.Errorf("%s: got %v before the last hop", method, out.codes)
			}
			o.Sleep(32 * time.Second)
			if !errors.Is(out.err, roam.Timeout) || out.words != 1 {
				t.Errorf("%s ended with %v", method, out.err)
			}
		})
	}
}

// Where nothing leads, and what cannot be sent, ends in an error that has a code of its own.
func TestUnreachable(t *testing.T) {
	for name, prepare := range map[string]func(o *office) Destination{
		"no hop": func(o *office) Destination {
			o.Hops = func(sip.URI) ([]sip.Hop, error) { return nil, nil }
			return Destination{}
		},
		"no such name": func(o *office) Destination {
			o.Hops = func(sip.URI) ([]sip.Hop, error) { return nil, errors.New("x") }
			return Destination{}
		},
		"none opens": func(o *office) Destination {
			o.Dial = func(sip.Hop) (*sip.Flow, error) { return nil, errors.New("x") }
			return Destination{}
		},
		"a closed flow": func(o *office) Destination { o.Dead[tcp.Flow] = true; return Destination{Flow: tcp} },
	} {
		run(t, 0, nil, func(t *testing.T, o *office) {
			var out outcome
			o.ask(prepare(o), "INVITE", &out)
			code, _, _ := sip.Status(out.err)
			if out.words != 1 || code != 480 && code != 404 || len(o.Take()) != 0 {
				t.Errorf("%s: ended with %v (%d), %d last words", name, out.err, code, out.words)
			}
		})
	}
}

// A connection that ends fails what waits on it at once, and that only; an INVITE that
// rings already is not tried elsewhere.
func TestConnectionLost(t *testing.T) {
	other := siptest.Conn(roam.TCP, "192.0.2.8:5060", 8)
	run(t, 0, nil, func(t *testing.T, o *office) {
		var ringing, waiting, elsewhere outcome
		o.Dial = func(sip.Hop) (*sip.Flow, error) { return tcp, nil }
		o.Hops = func(sip.URI) ([]sip.Hop, error) { return []sip.Hop{{}, {}}, nil }
		o.ask(Destination{}, "INVITE", &ringing)
		o.Answer(o.One(), "180 Ringing", "2")
		o.ask(Destination{Flow: tcp}, "MESSAGE", &waiting)
		o.Take()
		o.ask(Destination{Flow: other}, "MESSAGE", &elsewhere)
		req := o.One()
		closed := 0
		o.OnClosed(func(f *sip.Flow) { closed++ })
		o.Close(tcp)
		if !errors.Is(ringing.err, ErrClosed) || !errors.Is(waiting.err, ErrClosed) || elsewhere.words != 0 || closed != 1 {
			t.Errorf("ended with %v, %v, %v", ringing.err, waiting.err, elsewhere.err)
		}
		o.Answer(req, "200 OK", "2")
	})
}

// Cancel before the INVITE could be sent: it never is.
func TestCancelBeforeSent(t *testing.T) {
	run(t, 0, nil, func(t *testing.T, o *office) {
		var out outcome
		o.Do(func() {
			c := o.Request(Destination{URI: sip.URI{Host: "b.example"}}, build("INVITE"), out.on)
			c.Cancel("")
		})
		if !errors.Is(out.err, ErrCancelled) || len(o.Take()) != 0 || out.words != 1 {
			t.Errorf("ended with %v", out.err)
		}
	})
}

// An ACK to a 2xx is sent once per call, each with a branch of its own.
func TestAck(t *testing.T) {
	run(t, time.Minute, nil, func(t *testing.T, o *office) {
		o.Do(func() {
			o.Ack(down, build("ACK"))
			o.Ack(Destination{URI: sip.URI{Host: "b.example"}}, build("ACK"))
		})
		sent := o.Take()
		if len(sent) != 2 || sent[0].Header(sip.Via) == sent[1].Header(sip.Via) {
			t.Errorf("sent %q", siptest.Lines(sent))
		}
	})
}

// A target's flow counts while it lives, without one its URI.
func TestTarget(t *testing.T) {
	run(t, 0, nil, func(t *testing.T, o *office) {
		if to, err := o.Target(roam.Target{Flow: tcp.Flow}); err != nil || to.Flow == nil || to.Flow.Flow != tcp.Flow {
			t.Errorf("got %v, %v", to, err)
		}
		o.Dead[tcp.Flow] = true
		if _, err := o.Target(roam.Target{Flow: tcp.Flow}); !errors.Is(err, roam.NotRegistered) {
			t.Errorf("a closed flow: got %v, want %v", err, roam.NotRegistered)
		}
		if to, err := o.Target(roam.Target{URI: "sip:south.example"}); err != nil || to.Flow != nil || to.URI.Host != "south.example" {
			t.Errorf("got %v, %v", to, err)
		}
	})
}
