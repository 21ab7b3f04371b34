//go:build endpoints

package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
)

// taps reads what three offices send and receive.
type taps struct {
	t    *testing.T
	mu   sync.Mutex // guards seen
	seen []office.Seen
}

// tap begins to read, until the test ends.
func (o *offices) tap(t *testing.T) *taps {
	t.Helper()
	w := &taps{t: t}
	ctx, stop := context.WithCancel(context.Background())
	var reading sync.WaitGroup
	t.Cleanup(func() { stop(); reading.Wait() })
	for name := range officeHTTP {
		client, err := office.Dial(filepath.Join(o.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		reading.Go(func() {
			client.Trace(ctx, url.Values{}, func(s office.Seen) error {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.seen = append(w.seen, s)
				return nil
			})
		})
	}
	return w
}

// toPhone says that s is a message with that method and status (0: the request) from an office to the user's phone.
func toPhone(s office.Seen, office, method string, status int) bool {
	return s.Office == office && s.Sent && s.Partner == "" && s.Method == method && s.Status == status && strings.HasPrefix(s.To, mover+"@")
}

// after is the messages since then that fit.
func (w *taps) after(then time.Time, fits func(office.Seen) bool) (some []office.Seen) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.seen {
		if !s.Time.Before(then) && fits(s) {
			some = append(some, s)
		}
	}
	return some
}

// wait waits for the first one.
func (w *taps) wait(what string, then time.Time, limit time.Duration, fits func(office.Seen) bool) office.Seen {
	w.t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Millisecond) { // its time is measured
		if some := w.after(then, fits); len(some) > 0 {
			return some[0]
		}
	}
	w.t.Fatalf("%s: not within %v", what, limit)
	return office.Seen{}
}

// talker is a phone that plays hz and answers.
func talker(t *testing.T, number, at string, hz float64) *phone.Phone {
	t.Helper()
	p, err := phone.New(phone.Config{AOR: aorOf(number), Proxy: proxyOf[at], Password: "demo-" + number, Tone: hz, Answer: phone.Talk, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	gone := make(chan struct{})
	go func() { defer close(gone); p.Run(ctx) }()
	t.Cleanup(func() { stop(); <-gone })
	if err := p.Registered(soon(t)); err != nil {
		t.Fatalf("register %s: %v", number, err)
	}
	return p
}

// TestMoves carries a baresip from office to office while it is idle, rings, talks, and has its call on hold: it registers at
// the new office as the same device. A call that rings follows it; one it talks in goes on. After the 200 a call from the third
// office reaches it at the new place, and the old place rings no more. The times are printed.
func TestMoves(t *testing.T) {
	redisServer(t, "6391")
	o := startOffices(t, "6391")
	var mu sync.Mutex // guards reach
	reach := map[string][]time.Duration{}
	for n := range number("SIPROAM_MOVES", 1) {
		for _, f := range flows {
			for state, during := range map[string]func(*move){"idle": (*move).idle, "ringing": (*move).ringing, "talking": (*move).talking, "on hold": (*move).onHold} {
				name := f.name + " " + state
				t.Run(fmt.Sprintf("%s %d", name, n), func(t *testing.T) {
					m := &move{t: t, flow: f, taps: o.tap(t), state: filepath.Join(o.dir, home)}
					answer := "auto"
					if state == "ringing" {
						answer = "manual"
					}
					m.account = account{aor: aorOf(mover), login: mover, password: "demo-" + mover, proxy: proxyOf[f.from], answer: answer}
					m.phone = newBaresip(t, 440, m.account).start().registered()
					m.caller = talker(t, map[string]string{"north": "1002", "south": "2002", "west": "3002"}[f.third()], f.third(), 660)
					during(m)
					mu.Lock()
					defer mu.Unlock()
					reach[name] = append(reach[name], m.reached)
				})
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(reach)) {
		all := reach[name]
		slices.Sort(all)
		t.Logf("%-12s a call reaches the new place after the 200: median %5.1f ms, longest %5.1f ms of %d", name,
			float64(all[len(all)/2].Microseconds())/1000, float64(all[len(all)-1].Microseconds())/1000, len(all))
	}
}

// move is one move of the phone.
type move struct {
	t       *testing.T
	flow    flow
	taps    *taps
	state   string // home's
	account account
	phone   *baresip
	caller  *phone.Phone

	told    time.Time     // when the phone was told 200 at the new office
	reached time.Duration // from then until a call from the third office was sent to it there
	calls   int           // answered
}

// carry has the phone register at the new office, as the same device, and waits for its 200.
func (m *move) carry() {
	m.t.Helper()
	began := time.Now()
	line := fmt.Sprintf("<%s>;auth_user=%s;auth_pass=%s;outbound=\"sip:%s\";answermode=auto;regint=60;mwi=no", m.account.aor, mover, m.account.password, proxyOf[m.flow.to])
	m.phone.must("uanew", line)
	m.told = m.taps.wait("200 at "+m.flow.to, began, 5*time.Second, func(s office.Seen) bool { return toPhone(s, m.flow.to, "REGISTER", 200) }).Time
}

// rings waits until the phone is called at the new place, and notes how long that took.
func (m *move) rings() {
	m.t.Helper()
	at := m.taps.wait("INVITE at "+m.flow.to, m.told, 5*time.Second, func(s office.Seen) bool { return toPhone(s, m.flow.to, "INVITE", 0) }).Time
	m.reached = at.Sub(m.told)
	if m.reached > 2*time.Second {
		m.t.Errorf("a call reached the new place %v after the 200, want within 2 s", m.reached)
	}
}

// called has the third office call the phone at its new place, hear it, and hang up.
func (m *move) called() {
	m.t.Helper()
	call, err := m.caller.Call(soon(m.t), m.account.aor)
	if err != nil {
		m.t.Fatalf("a call after the 200: %v", err)
	}
	m.calls++
	m.rings()
	if err := hears(call, 440); err != nil {
		m.t.Errorf("a call after the 200: %v", err)
	}
	if err := call.Hangup(soon(m.t)); err != nil {
		m.t.Errorf("hang up: %v", err)
	}
}

// news is how long word of a move may take to the office left. A call that is faster rings there, and follows like one
// that rang before.
const news = 100 * time.Millisecond

// settled is the end: the old place was not rung after the 200, and each call is one record at home. The next move is that
// of another phone, so this one, which does not say goodbye, is released.
func (m *move) settled(before int) {
	m.t.Helper()
	for _, s := range m.taps.after(m.told, func(s office.Seen) bool { return toPhone(s, m.flow.from, "INVITE", 0) }) {
		if late := s.Time.Sub(m.told); late > news {
			m.t.Errorf("the old place rang %v after the 200: %s", late, s.CallID)
		} else { // and it followed: the call was answered at the new place
			m.t.Logf("a call was at the old place %v after the 200, before the news", late)
		}
	}
	m.phone.idle()
	m.phone.kill()
	if _, errs, code := run(m.t, "", "release", mover, "--state", m.state); code != 0 {
		m.t.Errorf("release: exit %d %s", code, errs)
	}
	eventually(m.t, 10*time.Second, "records at home", func() error {
		if got := m.records(); got != before+m.calls {
			return fmt.Errorf("%d records of %d calls", got-before, m.calls)
		}
		return nil
	})
}

// records is how many answered calls of the mover home's ledger has.
func (m *move) records() (n int) {
	m.t.Helper()
	var list []entry
	ask(m.t, &list, "cdr", "--user", mover+"@north.example", "--max", "1000", "--state", m.state)
	for _, r := range list {
		if !r.Answered.IsZero() && r.Kind != "via-home" {
			n++
		}
	}
	return n
}

func (m *move) idle() {
	before := m.records()
	first, err := m.caller.Call(soon(m.t), m.account.aor) // so that its office remembers where he was
	if err != nil {
		m.t.Fatalf("before: %v", err)
	}
	m.calls++
	first.Hangup(soon(m.t))
	m.phone.idle()
	m.carry()
	m.called()
	m.settled(before)
}

// ringing: the call stops ringing at the old place, rings at the new one, and is answered there.
func (m *move) ringing() {
	before, began := m.records(), time.Now()
	answered := make(chan *phone.Call, 1)
	go func() {
		call, err := m.caller.Call(soon(m.t), m.account.aor)
		if err != nil {
			m.t.Errorf("the call that rang: %v", err)
		}
		answered <- call
	}()
	m.taps.wait("ringing at "+m.flow.from, began, 5*time.Second, func(s office.Seen) bool {
		return s.Office == m.flow.from && !s.Sent && s.Partner == "" && s.Method == "INVITE" && s.Status == 180
	})
	m.carry()
	m.rings()
	m.taps.wait("CANCEL at "+m.flow.from, began, 5*time.Second, func(s office.Seen) bool { return toPhone(s, m.flow.from, "CANCEL", 0) })
	call := <-answered
	if call == nil {
		return
	}
	m.calls++
	if err := hears(call, 440); err != nil {
		m.t.Error(err)
	}
	call.Hangup(soon(m.t))
	m.settled(before)
}

func (m *move) talking() { m.standing(false) }

func (m *move) onHold() { m.standing(true) }

// standing has the phone talk, held by it or not, while it moves; the call is the old office's to its end.
func (m *move) standing(held bool) {
	before := m.records()
	far := talker(m.t, map[string]string{"north": "1003", "south": "2003", "west": "3003"}[m.flow.third()], m.flow.third(), 880)
	call, err := far.Call(soon(m.t), m.account.aor)
	if err != nil {
		m.t.Fatalf("before: %v", err)
	}
	m.calls++
	if err := hears(call, 440); err != nil {
		m.t.Fatalf("before: %v", err)
	}
	time.Sleep(1100 * time.Millisecond) // baresip names what it records by the second
	if held {
		m.phone.must("hold", "")
	}
	m.carry()
	m.called()
	select {
	case <-call.Done():
		m.t.Error("the call in progress has ended")
	default:
	}
	if held {
		m.phone.must("resume", "")
	}
	if err := hears(call, 440); err != nil {
		m.t.Errorf("the call in progress after the move: %v", err)
	}
	m.bothWays(held)
	call.Hangup(soon(m.t))
	m.settled(before)
}

// bothWays looks that the phone hears the far end of the call in progress, too.
func (m *move) bothWays(held bool) {
	m.t.Helper()
	if held { // a baresip records one side of a hold only, so what the office relays must do: 50 packets a second each way
		const passed = `siproam_media_packets_total{direction="out",office="%s"}`
		before := metricOf(m.t, officeHTTP[m.flow.from], fmt.Sprintf(passed, m.flow.from))
		time.Sleep(time.Second)
		if got := metricOf(m.t, officeHTTP[m.flow.from], fmt.Sprintf(passed, m.flow.from)) - before; got < 75 {
			m.t.Errorf("%v packets a second after the move, want 100", got)
		}
		return
	}
	before := m.phone.heard(880)
	eventually(m.t, 5*time.Second, "the phone hears the call in progress after the move", func() error {
		if got := m.phone.heard(880) - before; got < time.Second/4 {
			return fmt.Errorf("heard %v more", got)
		}
		return nil
	})
}
