package phone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestRegisters(t *testing.T) {
	for _, algorithm := range []string{"MD5", "SHA-256"} {
		for _, tcp := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s tcp=%v", algorithm, tcp), func(t *testing.T) {
				o := newOffice(t, func(o *office) { o.algorithm = algorithm })
				var log bytes.Buffer
				cfg := north(o)
				cfg.TCP, cfg.Log = tcp, zerolog.New(&log)
				p, end := start(t, cfg)
				if err := p.Registered(deadline(t)); err != nil {
					t.Fatal(err)
				}
				all := o.of("REGISTER")
				if len(all) != 2 {
					t.Fatalf("got %d REGISTERs, want one and one with credentials", len(all))
				}
				last := all[1]
				for name, want := range map[string]string{
					"CSeq": "2 REGISTER", "Expires": "300", "User-Agent": "siproam-phone", "To": "<sip:1001@north.example>",
				} {
					if got := header(last, name); got != want {
						t.Errorf("%s: got %q, want %q", name, got, want)
					}
				}
				if got := header(last, "Contact"); !strings.Contains(got, `;+sip.instance="<urn:uuid:00000000-0000-4000-8000-000000001001>"`) ||
					strings.Contains(got, ":0>") || strings.Contains(got, ";transport=tcp>") != tcp {
					t.Errorf("Contact: %q", got)
				}
				end()
				all = o.of("REGISTER")
				if bye := all[len(all)-1]; header(bye, "Expires") != "0" || header(bye, "CSeq") != "3 REGISTER" || param(header(bye, "Authorization"), "nc") != "00000002" {
					t.Errorf("the last REGISTER does not take the binding back: %q", bye)
				}
				for _, secret := range []string{"secret", param(header(last, "Authorization"), "response"), "n1\""} {
					if strings.Contains(log.String(), secret) {
						t.Errorf("the log holds %q", secret)
					}
				}
			})
		}
	}
}

func TestRefreshesBeforeItExpires(t *testing.T) {
	o := newOffice(t, func(o *office) { o.expires = 1 })
	begun := time.Now()
	start(t, north(o))
	waitFor(t, "refresh", func() bool { return len(o.of("REGISTER")) >= 4 })
	if took := time.Since(begun); took > 1900*time.Millisecond { // two refreshes of a binding of 1 s
		t.Errorf("the second refresh came after %s", took)
	}
	all := o.of("REGISTER")
	if header(all[3], "Call-ID") != header(all[0], "Call-ID") || header(all[3], "CSeq") != "4 REGISTER" {
		t.Errorf("the refresh is not the same registration: %q", all[3])
	}
}

func TestRefusals(t *testing.T) {
	o := newOffice(t, func(o *office) { o.password = "other" })
	p, _ := start(t, north(o))
	var no *Refused
	if err := p.Registered(deadline(t)); !errors.As(err, &no) || no.Code != 401 {
		t.Errorf("wrong password: got %v, want 401", err)
	}
	if n := len(o.of("REGISTER")); n != 2 {
		t.Errorf("%d REGISTERs with a wrong password, want 2", n)
	}
	barred := newOffice(t, func(o *office) { o.refuse = 403 })
	p, _ = start(t, north(barred))
	if err := p.Registered(deadline(t)); !errors.As(err, &no) || no.Error() != "403 Refused" {
		t.Errorf("got %v, want 403", err)
	}
}

func TestTooBrief(t *testing.T) {
	o := newOffice(t, func(o *office) { o.brief = 120 })
	cfg := north(o)
	cfg.Expires = 60 * time.Second
	p, _ := start(t, cfg)
	if err := p.Registered(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if all := o.of("REGISTER"); header(all[len(all)-1], "Expires") != "120" {
		t.Errorf("got %q, want it asked for 120", all[len(all)-1])
	}
}

func TestMove(t *testing.T) {
	north1, south := newOffice(t), newOffice(t)
	p, _ := start(t, north(north1))
	if err := p.Registered(deadline(t)); err != nil {
		t.Fatal(err)
	}
	before := len(north1.of("REGISTER"))
	if err := p.Move(deadline(t), south.addr()); err != nil {
		t.Fatal(err)
	}
	there := south.of("REGISTER")
	if len(there) != 2 || header(there[0], "Call-ID") == header(north1.of("REGISTER")[0], "Call-ID") || header(there[0], "CSeq") != "1 REGISTER" {
		t.Errorf("not a new registration: %q", there)
	}
	if after := len(north1.of("REGISTER")); after != before {
		t.Error("it said goodbye at the old place")
	}
}

func TestTCPConnectionIsRenewed(t *testing.T) {
	o := newOffice(t)
	cfg := north(o)
	cfg.TCP = true
	p, _ := start(t, cfg)
	if err := p.Registered(deadline(t)); err != nil {
		t.Fatal(err)
	}
	before := len(o.of("REGISTER"))
	o.hangUp()
	waitFor(t, "REGISTER over another connection", func() bool { return len(o.of("REGISTER")) > before })
}

func TestCallIsChallenged(t *testing.T) {
	o := newOffice(t)
	p, _ := start(t, north(o))
	if err := p.Registered(deadline(t)); err != nil {
		t.Fatal(err)
	}
	var no *Refused
	if _, err := p.Call(deadline(t), "1009"); !errors.As(err, &no) || no.Code != 404 {
		t.Fatalf("got %v, want 404 once it is known", err)
	}
	all := o.of("INVITE")
	if len(all) != 2 || !strings.HasPrefix(all[1], "INVITE sip:1009@north.example SIP/2.0") {
		t.Errorf("got %q", all)
	}
	waitFor(t, "ACK of both", func() bool { return len(o.of("ACK")) == 2 })
	if p.Current() != nil {
		t.Error("a refused call is still there")
	}
}

func TestCallBothWays(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		t.Run(fmt.Sprintf("tcp=%v", tcp), func(t *testing.T) {
			a, b := pair(t, tcp, Talk)
			call, err := a.Call(deadline(t), "1002")
			if err != nil {
				t.Fatal(err)
			}
			other := b.Current()
			waitFor(t, "tones", func() bool {
				return call.Heard(600) > 200*time.Millisecond && other.Heard(440) > 200*time.Millisecond
			})
			if call.Heard(440) != 0 || call.Heard(1000) != 0 {
				t.Errorf("heard 440 Hz for %s, 1000 Hz for %s", call.Heard(440), call.Heard(1000))
			}
			if err := call.Hangup(deadline(t)); err != nil {
				t.Error(err)
			}
			<-call.Done()
			<-other.Done()
			if a.Current() != nil || b.Current() != nil {
				t.Error("the call is still there")
			}
			if err := call.Hangup(deadline(t)); err != nil {
				t.Errorf("a second Hangup: %v", err)
			}
		})
	}
}

func TestHoldAndResume(t *testing.T) {
	a, b := pair(t, false, Talk)
	call, err := a.Call(deadline(t), "1002")
	if err != nil {
		t.Fatal(err)
	}
	other := b.Current()
	waitFor(t, "tones", func() bool { return call.Heard(600) > 0 && other.Heard(440) > 0 })
	if err := call.Hold(deadline(t)); err != nil {
		t.Fatal(err)
	}
	sends := func(c *Call) bool {
		c.audio.mu.Lock()
		defer c.audio.mu.Unlock()
		return c.audio.sends
	}
	if sends(call) || sends(other) {
		t.Error("somebody talks on hold")
	}
	if err := other.Hold(deadline(t)); err != nil { // both hold
		t.Fatal(err)
	}
	if err := other.Resume(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := call.Resume(deadline(t)); err != nil {
		t.Fatal(err)
	}
	quiet := other.Heard(440)
	waitFor(t, "tone after resume", func() bool { return other.Heard(440) > quiet+100*time.Millisecond })
	if err := other.Hangup(deadline(t)); err != nil { // from the called side
		t.Error(err)
	}
	<-call.Done()
	var no *Refused
	if err := call.Hold(deadline(t)); !errors.As(err, &no) {
		t.Errorf("hold after the end: %v", err)
	}
}

func TestEcho(t *testing.T) {
	a, _ := pair(t, false, Echo)
	call, err := a.Call(deadline(t), "1002")
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "echo", func() bool { return call.Heard(440) > 200*time.Millisecond })
}

func TestBusy(t *testing.T) {
	a, _ := pair(t, false, Busy)
	var no *Refused
	if _, err := a.Call(deadline(t), "1002"); !errors.As(err, &no) || no.Error() != "486 Busy Here" {
		t.Errorf("got %v, want 486 Busy Here", err)
	}
}

func TestRing(t *testing.T) {
	a, b := pair(t, false, Ring)
	type result struct {
		call *Call
		err  error
	}
	dial := func(ctx context.Context) <-chan result {
		got := make(chan result, 1)
		go func() {
			c, err := a.Call(ctx, "1002")
			got <- result{c, err}
		}()
		return got
	}
	ringing := func() *Call {
		t.Helper()
		select {
		case c := <-b.Calls():
			return c
		case <-time.After(10 * time.Second):
			t.Fatal("it does not ring")
			return nil
		}
	}
	got := dial(deadline(t))
	in := ringing()
	if want := "sip:1001@" + a.cfg.Listen; in.From() != want {
		t.Errorf("called by %q, want %q", in.From(), want)
	}
	if err := in.Answer(); err != nil {
		t.Fatal(err)
	}
	r := <-got
	if r.err != nil {
		t.Fatal(r.err)
	}
	waitFor(t, "tone", func() bool { return r.call.Heard(600) > 0 })
	if err := r.call.Hangup(deadline(t)); err != nil {
		t.Error(err)
	}

	got = dial(deadline(t)) // refused by hand
	if err := ringing().Hangup(deadline(t)); err != nil {
		t.Error(err)
	}
	var no *Refused
	if r = <-got; !errors.As(r.err, &no) || no.Code != 486 {
		t.Errorf("got %v, want 486", r.err)
	}

	ctx, cancel := context.WithCancel(deadline(t)) // cancelled by the caller
	got = dial(ctx)
	in = ringing()
	cancel()
	if r = <-got; !errors.Is(r.err, context.Canceled) || !errors.As(r.err, &no) || no.Code != 487 {
		t.Errorf("got %v, want 487", r.err)
	}
	<-in.Done()
	if err := in.Answer(); !errors.As(err, &no) {
		t.Errorf("answered a call that was cancelled: %v", err)
	}
}

func TestCallBack(t *testing.T) {
	a, _ := pair(t, false, CallBack, func(p *Phone) {
		if p.cfg.Answer == CallBack {
			p.pace = pace{talk: 100 * time.Millisecond, wait: 50 * time.Millisecond, callBack: 300 * time.Millisecond}
		}
	})
	call, err := a.Call(deadline(t), "1002")
	if err != nil {
		t.Fatal(err)
	}
	<-call.Done()
	select {
	case back := <-a.Calls():
		if err := back.Answer(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "tone", func() bool { return back.Heard(600) > 0 })
		<-back.Done()
	case <-time.After(10 * time.Second):
		t.Fatal("not called back")
	}
}

func TestAfterTheEnd(t *testing.T) {
	o := newOffice(t)
	a, end := start(t, north(o))
	if err := a.Registered(deadline(t)); err != nil {
		t.Fatal(err)
	}
	end()
	if _, err := a.Call(deadline(t), "1002"); !errors.Is(err, ErrNotRunning) {
		t.Errorf("call after the end: %v", err)
	}
	if err := a.Registered(deadline(t)); !errors.Is(err, ErrNotRunning) {
		t.Errorf("registered after the end: %v", err)
	}
	if err := a.Move(deadline(t), o.addr()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("move after the end: %v", err)
	}
	if err := a.Run(context.Background()); err == nil {
		t.Error("it ran twice")
	}
}

// ours counts the goroutines that are in this package's own code, tests left out.
func ours() (n int) {
	buf := make([]byte, 1<<20)
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "siproam/phone.(*line)") || strings.Contains(g, "siproam/phone.(*audio)") || strings.Contains(g, "siproam/phone.(*Call)") {
			n++
		}
	}
	return n
}

func TestRunHangsUp(t *testing.T) {
	one, two := freeAddr(t), freeAddr(t)
	b, endB := start(t, Config{AOR: "sip:1002@" + two, Proxy: one, Listen: two, Tone: 600, Answer: Talk})
	a, endA := start(t, Config{AOR: "sip:1001@" + one, Proxy: two, Listen: one, Tone: 440})
	call, err := a.Call(deadline(t), "1002")
	if err != nil {
		t.Fatal(err)
	}
	if ours() == 0 {
		t.Error("no goroutine seen while two phones talk")
	}
	other := b.Current()
	endB()
	<-call.Done()
	<-other.Done()
	endA()
	if n := ours(); n != 0 {
		t.Errorf("%d goroutines are left", n)
	}
}

func TestMoveIsWithoutAWord(t *testing.T) {
	p, q := pair(t, false, Talk)
	call, err := p.Call(deadline(t), "1002")
	if err != nil {
		t.Fatal(err)
	}
	other := q.Current()
	if err := p.Move(contextFor(t, time.Second), q.cfg.Listen); err == nil {
		t.Error("a phone registered at a phone")
	}
	<-call.Done() // without a word
	select {
	case <-other.Done():
		t.Error("the other end was told")
	default:
	}
	if err := other.Hangup(contextFor(t, time.Second)); err == nil {
		t.Error("a phone that was moved answers in a call of before")
	}
}

func contextFor(t *testing.T, d time.Duration) context.Context {
	ctx, stop := context.WithTimeout(context.Background(), d)
	t.Cleanup(stop)
	return ctx
}

func TestNewRefusesNonsense(t *testing.T) {
	for _, c := range []Config{
		{AOR: "1001", Proxy: "127.0.0.1:5060"},
		{AOR: "sip:north.example", Proxy: "127.0.0.1:5060"},
		{AOR: "sip:1001@north.example", Proxy: "127.0.0.1"},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}

func TestTarget(t *testing.T) {
	p, err := New(Config{AOR: "sip:+15550001001@127.0.0.1:5160", Proxy: "127.0.0.1:5160"})
	if err != nil {
		t.Fatal(err)
	}
	for dialled, want := range map[string]string{
		"1002":                         "sip:1002@127.0.0.1:5160",
		"+15550003001":                 "sip:+15550003001@127.0.0.1:5160",
		"3001@west.example":            "sip:3001@west.example",
		"sip:3001@west.example;user=x": "sip:3001@west.example;user=x",
	} {
		uri, err := p.target(dialled)
		if got := uri.String(); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", dialled, got, err, want)
		}
	}
}

func TestStaleNonceIsNoRefusal(t *testing.T) {
	o := newOffice(t, func(o *office) { o.stale = 2 })
	p, _ := start(t, north(o))
	if err := p.Registered(deadline(t)); err != nil {
		t.Errorf("got %v, want another try with the new nonce", err)
	}
}
