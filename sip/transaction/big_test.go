package transaction

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
)

var away = Destination{URI: sip.URI{Scheme: "sip", Host: "b.example"}}

// bigWire has every URI lead to hops ("UDP 192.0.2.11:5060"), of which refused take no connection and deaf leave
// one waiting; opened is what was asked for, in order.
func bigWire(o *office, hops []string, refused ...string) (opened *[]string) {
	opened = new([]string)
	o.Hops = func(sip.URI) (all []sip.Hop, err error) {
		for _, h := range hops {
			transport, addr, _ := strings.Cut(h, " ")
			hop := sip.Hop{Transport: roam.UDP, Addr: addr}
			if transport == "TCP" {
				hop.Transport = roam.TCP
			}
			all = append(all, hop)
		}
		return all, nil
	}
	o.Dial = func(h sip.Hop) (*sip.Flow, error) {
		name := h.Transport.String() + " " + h.Addr
		*opened = append(*opened, name)
		switch {
		case slices.Contains(refused, name):
			return nil, errors.New("connection refused")
		case h.Transport == roam.UDP:
			return siptest.UDP(h.Addr), nil
		}
		return siptest.Conn(h.Transport, h.Addr, uint64(len(*opened))), nil
	}
	return opened
}

// sized is a request of ours that has size octets over UDP.
func sized(method string, size int) func(*sip.Writer, *sip.Flow) error {
	return func(w *sip.Writer, f *sip.Flow) error {
		write := func(body []byte) error {
			w.Request(method, "sip:b@example.org")
			for _, h := range []sip.Field{{Name: sip.From, Value: "<sip:a@example.org>;tag=1"}, {Name: sip.To, Value: "<sip:b@example.org>"},
				{Name: sip.CallID, Value: "x"}, {Name: sip.CSeq, Value: "1 " + method}} {
				w.Add(h.Name, h.Value)
			}
			return w.End("text/plain", body)
		}
		if err := write(make([]byte, 1000)); err != nil { // a length of as many digits
			return err
		}
		bare := len(w.Bytes()) + len("Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK01234567890123456789012345\r\n") - 1000
		return write([]byte(strings.Repeat("x", size-bare)))
	}
}

// sentBy is how and where each request that begins with prefix went.
func sentBy(t *testing.T, all []siptest.Sent, prefix string) (hops []string) {
	t.Helper()
	for _, s := range all {
		if !strings.HasPrefix(s.Line(), prefix) {
			continue
		}
		transport := s.Flow.Transport.String()
		if via := s.Header(sip.Via); !strings.HasPrefix(via, "SIP/2.0/"+transport+" ") {
			t.Errorf("sent by %s with Via %q", transport, via)
		}
		hops = append(hops, transport+" "+s.Flow.Remote.String())
	}
	return hops
}

// 18.1.1: a request over 1,300 octets to a hop goes over TCP, and over UDP when no connection is taken.
func TestBigRequest(t *testing.T) {
	const a, b = "192.0.2.11:5060", "192.0.2.12:5060"
	udp, both := []string{"UDP " + a}, []string{"UDP " + a, "UDP " + b, "TCP 192.0.2.13:5070"}
	for _, c := range []struct {
		name    string
		size    int
		hops    []string
		refused []string
		answer  string // to each request
		want    []string
	}{
		{"1,300 fit", 1300, udp, nil, "200 OK", []string{"UDP " + a}},
		{"1,301 do not", 1301, udp, nil, "200 OK", []string{"TCP " + a}},
		{"no TCP there", 1301, udp, []string{"TCP " + a}, "200 OK", []string{"UDP " + a}},
		{"busy over TCP: not again over UDP", 1301, udp, nil, "503 Service Unavailable", []string{"TCP " + a}},
		{"the next hop has both chances", 1301, []string{"UDP " + a, "UDP " + b}, []string{"TCP " + b}, "503 Service Unavailable", []string{"TCP " + a, "UDP " + b}},
		{"DNS names TCP", 1301, both, nil, "200 OK", []string{"TCP 192.0.2.13:5070"}},
		{"DNS names TCP, which is refused", 1301, both, []string{"TCP 192.0.2.13:5070"}, "200 OK", []string{"UDP " + a}},
		{"TCP at first", 1301, []string{"TCP " + a, "UDP " + b}, nil, "503 Service Unavailable", []string{"TCP " + a, "TCP " + b}},
	} {
		for _, method := range []string{"INVITE", "MESSAGE"} {
			run(t, 40*time.Second, nil, func(t *testing.T, o *office) {
				bigWire(o, c.hops, c.refused...)
				var out outcome
				o.Do(func() { o.Request(away, sized(method, c.size), out.on) })
				var all []siptest.Sent
				for sent := o.Take(); len(sent) > 0 && len(all) < 10; sent = o.Take() {
					all = append(all, sent...)
					if last := sent[len(sent)-1]; strings.HasPrefix(last.Line(), method) {
						o.Answer(last, c.answer, "2")
					}
				}
				if got := sentBy(t, all, method); !slices.Equal(got, c.want) {
					t.Errorf("%s, %s: went %v, want %v", c.name, method, got, c.want)
				}
				if out.words != 1 {
					t.Errorf("%s, %s: %d last words, want 1", c.name, method, out.words)
				}
			})
		}
	}
}

// A hop without TCP is remembered, so that not every big request waits for it, and asked again later.
func TestBigRemembersNoTCP(t *testing.T) {
	const a = "192.0.2.11:5060"
	run(t, 40*time.Second, nil, func(t *testing.T, o *office) {
		opened := bigWire(o, []string{"UDP " + a}, "TCP "+a)
		ask := func(want ...string) {
			t.Helper()
			*opened = nil
			var out outcome
			o.Do(func() { o.Request(away, sized("MESSAGE", 2000), out.on) })
			o.Answer(o.One(), "200 OK", "2")
			if !slices.Equal(*opened, want) {
				t.Errorf("opened %v, want %v", *opened, want)
			}
		}
		ask("UDP "+a, "TCP "+a, "UDP "+a)
		o.Sleep(noStreamFor - time.Second)
		ask("UDP "+a, "UDP "+a)
		o.Sleep(2 * time.Second)
		ask("UDP "+a, "TCP "+a, "UDP "+a)
		o.Do(func() {
			for i := range 2 * mostNoTCP {
				c := &Client{layer: o.Layer, big: true}
				c.noStream(sip.Hop{Transport: roam.TCP, Addr: fmt.Sprint(i)})
			}
			if n := len(o.noTCP); n != mostNoTCP {
				t.Errorf("remembers %d hops, want %d", n, mostNoTCP)
			}
		})
	})
}

// What goes down a phone's own flow goes down that, whatever its length.
func TestBigDownAFlow(t *testing.T) {
	run(t, 40*time.Second, nil, func(t *testing.T, o *office) {
		opened := bigWire(o, nil)
		var out outcome
		o.Do(func() { o.Request(down, sized("INVITE", 5000), out.on) })
		invite := o.One()
		if invite.Flow != phone || len(invite.Text) != 5000 || len(*opened) != 0 {
			t.Errorf("went by %v with %d octets, opened %v; want the phone's flow", invite.Flow, len(invite.Text), *opened)
		}
		o.Answer(invite, "486 Busy Here", "2")
	})
}

// ACK and CANCEL of a big INVITE go where it went; a big ACK to a 2xx goes over TCP, too.
func TestBigInviteAndItsOthers(t *testing.T) {
	const a = "192.0.2.11:5060"
	run(t, 40*time.Second, nil, func(t *testing.T, o *office) {
		bigWire(o, []string{"UDP " + a})
		var out outcome
		var c *Client
		o.Do(func() { c = o.Request(away, sized("INVITE", 2000), out.on) })
		invite := o.One()
		o.Answer(invite, "180 Ringing", "2")
		o.Do(func() { c.Cancel("") })
		o.Answer(invite, "487 Request Terminated", "2")
		sent := o.Take()
		if got := siptest.Lines(sent); len(got) != 2 || sent[0].Flow != invite.Flow || sent[1].Flow != invite.Flow {
			t.Errorf("sent %q, want CANCEL and ACK by the INVITE's connection", got)
		}
		o.Answer(sent[0], "200 OK", "2")
		o.Do(func() { o.Ack(away, sized("ACK", 2000)) })
		if got := sentBy(t, o.Take(), "ACK"); !slices.Equal(got, []string{"TCP " + a}) {
			t.Errorf("the ACK went %v, want TCP", got)
		}
	})
}
