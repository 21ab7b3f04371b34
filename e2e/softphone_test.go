package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/phone"
)

// lab is a running `up` on ports of its own.
type lab struct {
	t     *testing.T
	p     *process
	base  int
	state string
}

// newLab starts up and waits until it is ready.
func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, base: freeBase(t), state: filepath.Join(t.TempDir(), "up")}
	l.start()
	return l
}

// start runs up, again after a kill.
func (l *lab) start() {
	l.t.Helper()
	l.p = start(l.t, "up", "--state", l.state, "--port-base", fmt.Sprint(l.base), "--log-level", "info")
	l.p.ready(fmt.Sprintf("127.0.0.1:%d", l.base+300))
}

// proxy is the address of an office: 0 is north, 1 south, 2 west.
func (l *lab) proxy(office int) string { return fmt.Sprintf("127.0.0.1:%d", l.base+100*office) }

// softphone is a registered phone of user n of office home, plugged in at office at; it plays hz.
func (l *lab) softphone(n, home string, at int, hz float64, tcp bool) *phone.Phone {
	l.t.Helper()
	p, err := phone.New(phone.Config{
		AOR: "sip:" + n + "@" + home + ".example", Login: n, Password: "demo-" + n, Proxy: l.proxy(at), Listen: "127.0.0.1:0",
		Instance: "urn:uuid:00000000-0000-4000-8000-00000000" + n, TCP: tcp, Tone: hz, Answer: phone.Talk,
	})
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); p.Run(ctx) }()
	l.t.Cleanup(func() { stop(); <-ended })
	wait, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := p.Registered(wait); err != nil {
		l.t.Fatalf("register %s at %s: %v", n, l.proxy(at), err)
	}
	return p
}

// converse has a call uri, which rings b; each must hear the other's tone. b hangs up when fromB is set.
func converse(t *testing.T, what string, a, b *phone.Phone, uri string, hzA, hzB float64, fromB bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	call, err := a.Call(ctx, uri)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	there := b.Current()
	if there == nil {
		t.Errorf("%s: answered by somebody else", what)
		call.Hangup(ctx)
		return
	}
	const want = 400 * time.Millisecond
	for ctx.Err() == nil && (call.Heard(hzB) < want || there.Heard(hzA) < want) {
		time.Sleep(20 * time.Millisecond)
	}
	if gotA, gotB := call.Heard(hzB), there.Heard(hzA); gotA < want || gotB < want {
		t.Errorf("%s: heard %v and %v of each other, want %v", what, gotA, gotB, want)
	}
	if fromB {
		there, call = call, there
	}
	if err := call.Hangup(ctx); err != nil {
		t.Errorf("%s: hang up: %v", what, err)
	}
	select {
	case <-there.Done():
	case <-ctx.Done():
		t.Errorf("%s: the other end did not notice the end", what)
	}
}

// at waits until `where` says that user is at office, within limit.
func (l *lab) at(user, office string, limit time.Duration) {
	l.t.Helper()
	eventually(l.t, limit, user+" at "+office, func() error {
		out, errs, _ := run(l.t, "", "where", user, "--state", l.state)
		if !strings.Contains(out, "at       "+office) {
			return fmt.Errorf("where says %s%s", out, errs)
		}
		return nil
	})
}

// record is what the test needs of a charging record.
type record struct {
	Home, Office, User, Role, From, To, Kind, By string
	Status                                       int
	Roaming                                      bool
	Start, Answered, End                         time.Time
}

// records waits until office's ledger has want finished records about user.
func (l *lab) records(office, user string, want int) (all []record) {
	l.t.Helper()
	eventually(l.t, 20*time.Second, fmt.Sprintf("%d records about %s in %s", want, user, office), func() error {
		all = nil
		ask(l.t, &all, "cdr", "--office", office, "--user", user, "--state", l.state)
		for _, r := range all {
			if r.End.IsZero() {
				return fmt.Errorf("still open: %+v", r)
			}
		}
		if len(all) != want {
			return fmt.Errorf("%d: %+v", len(all), all)
		}
		return nil
	})
	return all
}

// TestRoamingNumber: alice of north is called under her number in south, in west and at home, from every office,
// and calls from there; every record is in north's ledger.
func TestRoamingNumber(t *testing.T) {
	l := newLab(t)
	alice := l.softphone("1001", "north", 1, 440, false)
	bob := l.softphone("1002", "north", 0, 880, false)
	carol := l.softphone("2001", "south", 1, 660, true)
	dave := l.softphone("3001", "west", 2, 1000, false)
	calls := 0
	for i, place := range []struct {
		office string
		proxy  int
	}{{"south", 1}, {"west", 2}, {"north", 0}} {
		if i > 0 {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if err := alice.Move(ctx, l.proxy(place.proxy)); err != nil {
				t.Fatalf("move to %s: %v", place.office, err)
			}
			cancel()
		}
		l.at("1001", place.office, 2*time.Second)
		for _, from := range []struct {
			name, dials, uri string
			phone            *phone.Phone
			hz               float64
		}{{"bob in north", "1001", "sip:1002@north.example", bob, 880}, {"carol in south", "1001@north.example", "sip:+15550002001@north.example", carol, 660}, {"dave in west", "+15550001001", "sip:3001@north.example", dave, 1000}} {
			converse(t, from.name+" -> alice in "+place.office, from.phone, alice, "sip:"+from.dials+domainFor(from.dials, from.name), from.hz, 440, i%2 == 0)
			converse(t, "alice in "+place.office+" -> "+from.name, alice, from.phone, from.uri, 440, from.hz, i%2 == 1)
			calls += 2
		}
	}
	visits := 0
	for _, r := range l.records("north", "1001", calls) {
		if r.Home != "north" || r.User != "1001@north.example" || r.Status != 200 || r.Answered.IsZero() || r.Role != "caller" && r.Role != "callee" {
			t.Errorf("got record %+v", r)
		}
		if r.Roaming != (r.Office != "north") {
			t.Errorf("served by %s: roaming %v", r.Office, r.Roaming)
		}
		if r.Roaming {
			visits++
		}
	}
	if want := calls * 2 / 3; visits != want {
		t.Errorf("got %d records from visited offices, want %d", visits, want)
	}
}

// domainFor completes what somebody dials: a phone adds its own domain.
func domainFor(dials, who string) string {
	if strings.Contains(dials, "@") {
		return ""
	}
	return "@" + who[strings.LastIndexByte(who, ' ')+1:] + ".example"
}

// TestEchoAndCallBack: the built-in phones that the banner names.
func TestEchoAndCallBack(t *testing.T) {
	l := newLab(t)
	alice := l.softphone("1001", "north", 1, 440, false)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	call, err := alice.Call(ctx, "sip:2009@south.example")
	if err != nil {
		t.Fatal(err)
	}
	for ctx.Err() == nil && call.Heard(440) < 400*time.Millisecond {
		time.Sleep(20 * time.Millisecond)
	}
	if got := call.Heard(440); got < 400*time.Millisecond {
		t.Errorf("heard %v of the own tone, want an echo", got)
	}
	var list []struct{ ID, Office, State string }
	ask(t, &list, "calls", "--state", l.state)
	if len(list) != 1 || list[0].Office != "south" || list[0].State != "talking" {
		t.Fatalf("calls: got %+v, want one that talks", list)
	}
	if out, errs, code := run(t, "", "hangup", list[0].ID, "--state", l.state); code != 0 {
		t.Errorf("hangup: exit %d %s%s", code, out, errs)
	}
	select {
	case <-call.Done():
	case <-ctx.Done():
		t.Error("hangup did not reach the phone")
	}
	call, err = alice.Call(ctx, "sip:1008@north.example")
	if err == nil {
		call.Hangup(ctx)
	}
	for ctx.Err() == nil && alice.Current() == nil {
		time.Sleep(50 * time.Millisecond)
	}
	if alice.Current() == nil {
		t.Error("1008 did not call back")
	}
}

// TestKilled: what was registered before kill -9 is found after it, and the call that was up has its record.
func TestKilled(t *testing.T) {
	l := newLab(t)
	alice := l.softphone("1001", "north", 1, 440, false)
	bob := l.softphone("1002", "north", 0, 880, false)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := bob.Call(ctx, "sip:1001@north.example"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the open record", func() error { // it is kept as soon as the call is answered
		var all []record
		ask(t, &all, "cdr", "--office", "south", "--user", "1001", "--state", l.state)
		if len(all) != 1 || !all[0].End.IsZero() {
			return fmt.Errorf("got %+v", all)
		}
		return nil
	})
	l.p.kill()
	l.start()
	l.at("1001", "south", 3*time.Second)
	for _, p := range []*phone.Phone{alice, bob} { // they do not know yet that their call is over
		if c := p.Current(); c != nil {
			c.Hangup(ctx)
		}
	}
	converse(t, "bob -> alice after kill -9", bob, alice, "sip:1001@north.example", 880, 440, false)
	for _, r := range l.records("north", "1001", 2) {
		if r.Answered.IsZero() {
			t.Errorf("got record %+v, want an answered call", r)
		}
	}
}

// TestStopped: SIGTERM ends within 2 s, with code 0; the call that was up is ended, and its record says by whom.
func TestStopped(t *testing.T) {
	l := newLab(t)
	l.softphone("1001", "north", 1, 440, false)
	bob := l.softphone("1002", "north", 0, 880, false)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	call, err := bob.Call(ctx, "sip:1001@north.example")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	l.p.stop()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("stopped after %v, want 2 s at most", took)
	}
	if code := l.p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
	select {
	case <-call.Done():
	case <-time.After(time.Second):
		t.Error("the phone was not told that the call is over")
	}
	l.start()
	for _, r := range l.records("north", "1001", 1) {
		if r.By != "office" || r.End.Sub(r.Start) > 5*time.Second {
			t.Errorf("got record %+v, want it ended by the office", r)
		}
	}
}

// TestPages: the page, its data and the metrics are served, and the numbers are right.
func TestPages(t *testing.T) {
	l := newLab(t)
	l.softphone("1001", "north", 1, 440, false)
	l.at("1001", "south", 2*time.Second)
	var state struct {
		Places []struct {
			Office                      string
			Home, Away, Visitors, Calls int
		}
		People []struct{ User, Home, At string }
	}
	r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/api/state", l.base+300))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(&state); err != nil {
		t.Fatal(err)
	}
	if len(state.Places) != 3 || state.Places[0].Away != 1 || state.Places[1].Visitors != 1 {
		t.Errorf("got %+v, want alice away from north and visiting south", state.Places)
	}
	for _, p := range state.People {
		if p.User == "1001@north.example" && p.At != "south" {
			t.Errorf("got %+v, want her in south", p)
		}
	}
	out, errs, code := run(t, "", "healthcheck", "--state", l.state)
	if code != 0 {
		t.Errorf("healthcheck: exit %d %s%s", code, out, errs)
	}
	for user, want := range map[string]int{"1001": 0, "1002": 3, "nobody": 4} {
		if _, errs, code := run(t, "", "where", user, "--state", l.state); code != want {
			t.Errorf("where %s: got exit %d %s, want %d", user, code, errs, want)
		}
	}
}

// TestDemo: the demo ends with 0, which it does only when every tone was heard.
func TestDemo(t *testing.T) {
	out, errs, code := run(t, "", "demo", "--quiet")
	if code != 0 || !strings.Contains(out, "Every tone was heard") || strings.Count(out, "200\n") != 6 {
		t.Errorf("got exit %d\n%s%s", code, out, errs)
	}
}
