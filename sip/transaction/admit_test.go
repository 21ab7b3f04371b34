package transaction

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
)

var (
	desk     = siptest.UDP("192.0.2.20:5060") // registered
	deskTCP  = siptest.Conn(roam.TCP, "192.0.2.20:33002", 8)
	neighbor = &sip.Flow{Flow: siptest.Conn(roam.TLS, "198.51.100.9:33003", 9).Flow, Here: "192.0.2.1:5067", Partner: "north"}
)

// first has desk's flows registered, and 112 an emergency number.
func first(l *Layer) {
	l.First(func(f roam.Flow) bool { return f == desk.Flow || f == deskTCP.Flow },
		func(uri []byte) bool { return strings.HasPrefix(string(uri), "sip:112@") })
}

// pressed runs script with a layer whose handler counts what it sees, and for which First was called.
func pressed(t *testing.T, script func(t *testing.T, o *office, seen *int)) {
	seen := 0
	h := func(tx *Server, req *sip.Message) error {
		seen++
		return tx.Reply(200)
	}
	siptest.Run(t, func(t *testing.T, w *siptest.Wire) {
		o := &office{w, NewLayer(w.Loop, w, &metric.Set{}, zerolog.Nop())}
		o.Handle(HandlerFunc(h))
		o.Crash()
		first(o.Layer)
		w.To = o.Layer
		script(t, o, &seen)
		w.Sleep(time.Minute)
	})
}

// waiting has so many messages wait in each lane, and the last ones have waited so long.
func (o *office) waiting(count int64, wait time.Duration) {
	for i := range o.queue.lanes {
		o.queue.lanes[i].count.Store(count)
		o.queue.lanes[i].wait.Store(int64(wait))
	}
}

// Who goes last is refused first; whoever is under way last of all. Answered is what begins something, and neither
// an ACK, nor what its sender must repeat.
func TestWhoGoesFirst(t *testing.T) {
	sos := strings.Replace(request("INVITE", "z9hG4bKs", "", ""), "INVITE sip:b@", "INVITE sip:112@", 1)
	const busy = "SIP/2.0 503 Service Unavailable"
	for _, c := range []struct {
		name   string
		flow   *sip.Flow
		text   string
		count  int64 // so many wait before it is refused
		wait   time.Duration
		answer string // when it is refused
	}{
		{"a stranger's INVITE", phone, request("INVITE", "z9hG4bKa", "", ""), 4096, 60 * time.Millisecond, busy},
		{"his REGISTER over UDP", phone, request("REGISTER", "z9hG4bKa", "", ""), 4096, 60 * time.Millisecond, ""},
		{"his REGISTER over TCP", tcp, request("REGISTER", "z9hG4bKa", "", ""), 4096, 60 * time.Millisecond, busy},
		{"his OPTIONS", phone, request("OPTIONS", "z9hG4bKa", "", ""), 4096, 60 * time.Millisecond, busy},
		{"his BYE", phone, request("BYE", "z9hG4bKa", "2", ""), 6144, 0, ""},
		{"his ACK", phone, request("ACK", "z9hG4bKa", "2", ""), 6144, 0, ""},
		{"his CANCEL", phone, request("CANCEL", "z9hG4bKa", "", ""), 6144, 0, ""},
		{"his emergency call", phone, sos, 16384, 0, busy},
		{"an INVITE of a registered phone", desk, request("INVITE", "z9hG4bKa", "", ""), 8192, 150 * time.Millisecond, busy},
		{"its REGISTER", desk, request("REGISTER", "z9hG4bKa", "", ""), 8192, 150 * time.Millisecond, ""},
		{"its BYE", desk, request("BYE", "z9hG4bKa", "2", ""), 16384, 0, ""},
		{"a partner's INVITE", neighbor, request("INVITE", "z9hG4bKa", "", ""), 8192, 150 * time.Millisecond, busy},
	} {
		pressed(t, func(t *testing.T, o *office, seen *int) {
			q := o.queue
			heard := func() bool {
				var s scratch
				o.sort(&s, []*sip.Message{with(t, c.flow, c.text)})
				for _, m := range s.refused {
					o.unheard(m)
				}
				return !q.pressed() || len(s.refused) == 0
			}
			o.waiting(c.count-1, 0)
			if !heard() {
				t.Errorf("%s: refused with %d waiting", c.name, c.count-1)
			}
			o.Take()
			o.waiting(c.count, 0)
			if heard() {
				t.Errorf("%s: taken with %d waiting", c.name, c.count)
			}
			answers := o.Take()
			if got := strings.Join(siptest.Lines(answers), ""); got != c.answer {
				t.Errorf("%s: answered %q, want %q", c.name, got, c.answer)
			}
			if c.answer != "" && (answers[0].Header(sip.RetryAfter) == "" || !strings.Contains(answers[0].Header(sip.To), ";tag=")) {
				t.Errorf("%s: answered %q", c.name, answers[0].Text)
			}
			for _, wait := range []time.Duration{c.wait, c.wait + 1, time.Hour} {
				o.waiting(few, wait)
				if got, want := heard(), c.wait == 0 || wait <= c.wait; got != want {
					t.Errorf("%s: the last one waited %v: taken %v, want %v", c.name, wait, got, want)
				}
			}
			o.waiting(few-1, time.Hour)
			if !heard() {
				t.Errorf("%s: refused when nearly nobody waits", c.name)
			}
			o.waiting(0, 0)
		})
	}
}

func with(t *testing.T, f *sip.Flow, text string) *sip.Message {
	m := siptest.Message(t, text)
	m.Flow = f
	return m
}

// A repeated request gets the same answer but for its Retry-After, and the ACK to it is nobody's.
func TestUnheard(t *testing.T) {
	pressed(t, func(t *testing.T, o *office, seen *int) {
		o.waiting(4096, 0)
		for range 20 {
			o.In(phone, request("INVITE", "z9hG4bKa", "", ""))
		}
		after, tags := map[string]bool{}, map[string]bool{}
		for _, a := range o.Take() {
			after[a.Header(sip.RetryAfter)] = true
			_, tag, _ := strings.Cut(a.Header(sip.To), ";tag=")
			tags[tag] = true
		}
		if len(after) < 3 || len(tags) != 1 {
			t.Errorf("Retry-After %v, tags %v, want many and one", after, tags)
		}
		for tag := range tags {
			o.In(phone, request("ACK", "z9hG4bKa", tag, ""))
		}
		if *seen != 0 {
			t.Error("the ACK to a refusal of ours came to the loop")
		}
		o.In(phone, request("ACK", "z9hG4bKa", "another", ""))
		if *seen != 1 {
			t.Error("another ACK did not")
		}
		if n, _ := o.overload.With("loop").Count(); n != 20 {
			t.Errorf("counted %d, want 20", n)
		}
		o.waiting(0, 0)
	})
}

// A batch keeps all its messages, refused or not, and is given back once.
func TestShedKeepsTheArray(t *testing.T) {
	pressed(t, func(t *testing.T, o *office, seen *int) {
		o.waiting(4096, 0)
		var batch []*sip.Message
		kept := map[*sip.Message]bool{}
		for i, f := range []*sip.Flow{phone, desk, phone, phone, desk} {
			m := with(t, f, request("OPTIONS", "z9hG4bK"+string(rune('a'+i)), "", ""))
			batch, kept[m] = append(batch, m), true
		}
		released := 0
		o.Receive(batch, func() { released++ })
		o.Do(func() {})
		for _, m := range batch {
			delete(kept, m)
		}
		if *seen != 2 || released != 1 || len(kept) != 0 {
			t.Errorf("%d heard, want 2; released %d, want 1; %d lost", *seen, released, len(kept))
		}
		o.waiting(0, 0)
	})
}

// A loop that takes no post at all: datagrams are refused, a connection waits, and everything is given back once.
func TestLoopFull(t *testing.T) {
	pressed(t, func(t *testing.T, o *office, seen *int) {
		block := make(chan struct{})
		o.loop.Post(func() { <-block })
		synctest.Wait() // the loop is in that turn, and takes nothing from its queue
		for o.loop.Post(func() {}) == nil {
		}
		released := 0
		o.Receive([]*sip.Message{with(t, phone, request("OPTIONS", "z9hG4bKa", "", ""))}, func() { released++ })
		if got := o.One().Line(); got != "SIP/2.0 503 Service Unavailable" || released != 1 {
			t.Errorf("got %q, released %d", got, released)
		}
		done := make(chan struct{})
		go func() {
			o.Receive([]*sip.Message{with(t, deskTCP, request("BYE", "z9hG4bKb", "2", ""))}, func() { released++ })
			close(done)
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Error("the connection's reader did not wait")
		default:
		}
		close(block)
		<-done
		o.Do(func() {})
		if *seen != 1 || released != 2 || o.queue.lanes[loop.Middle].count.Load() != 0 {
			t.Errorf("%d heard, want 1; released %d, want 2; %d waiting, want 0", *seen, released, o.queue.lanes[loop.Middle].count.Load())
		}
	})
}

// The wait that counts is the shortest of a window: one long turn is none, and what gets better counts at once.
func TestLaneWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lane
		for _, c := range []struct{ after, waited, want time.Duration }{
			{0, 300, 0}, {50, 200, 0}, // one window
			{60, 250, 200}, {40, 220, 200}, // the next: all of the first had waited
			{10, 10, 10}, {10, 300, 10}, // it is made up for
			{100, 90, 10}, {101, 80, 80}, {101, 70, 70}, {101, 90, 70},
		} {
			time.Sleep(c.after * time.Millisecond)
			l.began(1, time.Now().Add(-c.waited*time.Millisecond))
			if got := time.Duration(l.wait.Load()); got != c.want*time.Millisecond {
				t.Errorf("after one that waited %d ms: %v, want %d ms", c.waited, got, c.want)
			}
		}
	})
}

// When many wait, a call under way overtakes what begins, that of a registered phone what a stranger begins, and nothing
// overtakes anything of the same rank. A CANCEL does not overtake an INVITE.
func TestLanes(t *testing.T) {
	pressed(t, func(t *testing.T, o *office, _ *int) {
		var order []string
		o.Handle(HandlerFunc(func(tx *Server, req *sip.Message) error {
			order = append(order, req.MethodText()+" "+req.CallID())
			return tx.Reply(200)
		}))
		block := make(chan struct{})
		o.loop.Post(func() { <-block })
		synctest.Wait()
		o.queue.lanes[loop.Last].count.Store(few)
		released := 0
		var batch []*sip.Message
		for i, c := range []struct {
			flow        *sip.Flow
			method, tag string
		}{{phone, "OPTIONS", ""}, {desk, "OPTIONS", ""}, {phone, "MESSAGE", ""}, {desk, "BYE", "2"}, {desk, "MESSAGE", ""}, {desk, "INFO", "2"}} {
			n := string(rune('0' + i))
			batch = append(batch, with(t, c.flow, strings.Replace(request(c.method, "z9hG4bK"+n, c.tag, ""), "Call-ID: c1", "Call-ID: "+n, 1)))
		}
		o.Receive(batch, func() { released++ })
		close(block)
		o.Do(func() {})
		o.Do(func() {})
		if got, want := strings.Join(order, ", "), "BYE 3, INFO 5, OPTIONS 1, MESSAGE 4, OPTIONS 0, MESSAGE 2"; got != want || released != 1 {
			t.Errorf("handled %s\nwant    %s\nreleased %d, want 1", got, want, released)
		}
		var s scratch
		cancel := with(t, desk, request("CANCEL", "z9hG4bKa", "", ""))
		if o.sort(&s, []*sip.Message{cancel}); len(s.sorted[loop.Middle]) != 1 {
			t.Error("a CANCEL overtakes its INVITE")
		}
		o.waiting(0, 0)
	})
}

// The last eighth of the table is not for strangers, but for an emergency call.
func TestReservedTransactions(t *testing.T) {
	pressed(t, func(t *testing.T, o *office, seen *int) {
		o.Handle(HandlerFunc(func(tx *Server, req *sip.Message) error { *seen++; tx.Hold(); return nil }))
		o.most = 16
		sos := strings.Replace(request("INVITE", "z9hG4bKs", "", ""), "INVITE sip:b@", "INVITE sip:112@", 1)
		for i := range 20 {
			o.In(phone, strings.Replace(request("MESSAGE", "z9hG4bKm"+string(rune('a'+i)), "", ""), "Call-ID: c1", "Call-ID: m"+string(rune('a'+i)), 1))
		}
		if *seen != 14 {
			t.Errorf("strangers began %d, want 14", *seen)
		}
		o.In(phone, strings.Replace(sos, "Call-ID: c1", "Call-ID: c2", 1))
		o.In(desk, strings.Replace(request("INVITE", "z9hG4bKd", "", ""), "Call-ID: c1", "Call-ID: c3", 1))
		o.In(desk, strings.Replace(request("INVITE", "z9hG4bKe", "", ""), "Call-ID: c1", "Call-ID: c4", 1))
		if *seen != 16 {
			t.Errorf("then %d, want 16: an emergency call and a registered phone", *seen)
		}
		o.In(desk, request("BYE", "z9hG4bKf", "2", ""))
		if *seen != 17 {
			t.Error("a BYE found no room")
		}
	})
}

// A stranger gets one answer for each request, and none that is much longer: neither 100, nor repetitions of a
// refusal whose ACK does not come, before it has answered a challenge.
func TestStranger(t *testing.T) {
	for _, c := range []struct {
		name   string
		flow   *sip.Flow
		proves bool
		want   []string
	}{
		{"a stranger", phone, false, []string{"407"}},
		{"a stranger who logs in", phone, true, []string{"100", "407", "407", "407"}},
		{"a registered phone", desk, false, []string{"100", "407", "407", "407"}},
		{"a connection", tcp, false, []string{"100", "407"}},
	} {
		pressed(t, func(t *testing.T, o *office, _ *int) {
			var tx *Server
			o.Handle(hold(&tx))
			o.In(c.flow, request("INVITE", "z9hG4bKa", "", ""))
			o.Do(func() {
				if c.proves {
					tx.Prove()
					tx.Prove()
				}
				tx.Reply(407)
			})
			o.Sleep(1600 * time.Millisecond) // G: 0.5 s, 1.5 s
			var got []string
			for _, s := range o.Take() {
				got = append(got, s.Line()[8:11])
			}
			if strings.Join(got, " ") != strings.Join(c.want, " ") {
				t.Errorf("%s got %v, want %v", c.name, got, c.want)
			}
			first := tx
			o.In(c.flow, request("INVITE", "z9hG4bKa", "", "")) // a lost answer is asked for again
			if kept := c.want[0] == "100"; kept && (tx != first || o.One().Line()[8:11] != "407") || !kept && (tx == first || tx.ToTag() != first.ToTag()) {
				t.Errorf("%s, repeated: the same transaction %v; tags %s, %s", c.name, tx == first, first.ToTag(), tx.ToTag())
			}
			o.Do(func() { tx.Refuse(roam.NotAllowed) })
		})
	}
	pressed(t, func(t *testing.T, o *office, _ *int) {
		var tx *Server
		o.Handle(hold(&tx))
		o.In(phone, request("REGISTER", "z9hG4bKa", "", ""))
		o.In(desk, request("REGISTER", "z9hG4bKb", "", ""))
		o.Sleep(9 * time.Second)
		if got := o.Take(); len(got) != 1 || got[0].Flow != desk {
			t.Errorf("100 to REGISTERs that wait: %q, want one, to the registered phone", siptest.Lines(got))
		}
	})
}

// What would be much longer than a stranger's request is shortened, or not sent.
func TestShortened(t *testing.T) {
	long := sip.Field{Name: sip.Allow, Value: strings.Repeat("INVITE, ", 40) + "ACK"}
	challenge := sip.Field{Name: sip.WWWAuthenticate, Value: "Digest realm=\"example.org\""}
	huge := sip.Field{Name: sip.WWWAuthenticate, Value: strings.Repeat("x", 400)}
	for _, c := range []struct {
		name   string
		flow   *sip.Flow
		fields []sip.Field
		want   []string // what it has; nil: it is not sent
		not    string
	}{
		{"short enough", phone, []sip.Field{challenge, challenge}, []string{"Digest"}, "Allow"},
		{"too long", phone, []sip.Field{long, challenge}, []string{"Digest"}, "Allow"},
		{"too long to a registered phone", desk, []sip.Field{long, challenge}, []string{"Digest", "Allow"}, "nothing"},
		{"too long to a connection", tcp, []sip.Field{long, challenge}, []string{"Digest", "Allow"}, "nothing"},
		{"far too long", phone, []sip.Field{huge}, nil, ""},
	} {
		pressed(t, func(t *testing.T, o *office, _ *int) {
			o.Handle(HandlerFunc(func(tx *Server, _ *sip.Message) error {
				return &sip.Refused{Why: roam.BadCredentials, Fields: c.fields}
			}))
			o.In(c.flow, request("REGISTER", "z9hG4bKa", "", ""))
			got := o.Take()
			if len(got) > 1 || (len(got) == 1) != (c.want != nil) {
				t.Fatalf("%s: got %q", c.name, siptest.Lines(got))
			}
			for _, s := range c.want {
				if !strings.Contains(got[0].Text, s) || strings.Contains(got[0].Text, c.not) {
					t.Errorf("%s: got %q", c.name, got[0].Text)
				}
			}
			if n, _ := o.overload.With("amplification").Count(); (n == 1) != (c.want == nil) {
				t.Errorf("%s: counted %d", c.name, n)
			}
		})
	}
}
