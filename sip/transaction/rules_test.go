package transaction

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/siptest"
)

// 8.2.6.2, 9.2: everything that a transaction is answered, repetitions and the answer to its CANCEL included, has one To tag
// but 100, which has none; a tag that the request had stays alone.
func TestOneTag(t *testing.T) {
	for _, flow := range []*sip.Flow{phone, tcp} {
		for _, theirs := range []string{"", "2"} {
			for _, method := range []string{"INVITE", "MESSAGE", "REGISTER", "OPTIONS", "INFO", "BYE"} {
				var tx *Server
				run(t, time.Minute, hold(&tx), func(t *testing.T, o *office) {
					o.In(flow, request(method, "z9hG4bKa", theirs, ""))
					if method == "INVITE" {
						o.Do(func() { tx.Reply(180); tx.Reply(183) })
						o.In(flow, request(method, "z9hG4bKa", theirs, ""))
						o.In(flow, request("CANCEL", "z9hG4bKa", theirs, ""))
					} else {
						o.Sleep(4 * time.Second)
						o.In(flow, request(method, "z9hG4bKa", theirs, ""))
					}
					o.Do(func() { tx.Reply(487) })
					o.In(flow, request(method, "z9hG4bKa", theirs, ""))
					o.Sleep(5 * time.Second)
					if method == "INVITE" {
						o.In(flow, request("ACK", "z9hG4bKa", tx.ToTag(), ""))
					}
					tags := map[string]bool{}
					sent := o.Take()
					for _, s := range sent {
						if tag := tagOf(s); !strings.HasPrefix(s.Line(), "SIP/2.0 100") || tag != "" {
							tags[tag] = true
						}
						if strings.Count(s.Header(sip.To), "tag=") > 1 {
							t.Errorf("%s: got %q, want one tag", method, s.Header(sip.To))
						}
					}
					if len(tags) != 1 || tags[""] || theirs != "" && !tags[theirs] {
						t.Errorf("%s with To tag %q: tags %v in %q, want one", method, theirs, tags, siptest.Lines(sent))
					}
					if tx.Answered() { // a held brief request that comes again is another
						return
					}
					o.Do(func() { tx.Reply(487) })
				})
			}
		}
	}
}

// RFC 4320 4: a request other than INVITE gets no 1xx but 100, and that not before Timer E is at T2, and no 408: a role that
// says so has it said otherwise.
func TestNoNewsButForInvite(t *testing.T) {
	for _, method := range []string{"MESSAGE", "INFO", "BYE", "REGISTER", "OPTIONS"} {
		var tx *Server
		run(t, time.Minute, hold(&tx), func(t *testing.T, o *office) {
			o.In(phone, request(method, "z9hG4bKa", "2", ""))
			o.Do(func() {
				for _, code := range []int{180, 183, 199, 408} {
					if err := tx.Reply(code); err != errUntimely || tx.Answered() {
						t.Errorf("%s, %d: got %v, want %v", method, code, err, errUntimely)
					}
				}
			})
			o.Sleep(3499 * time.Millisecond)
			if got := o.Take(); len(got) != 0 {
				t.Errorf("%s: sent %q before 3.5 s, want nothing", method, siptest.Lines(got))
			}
			o.Sleep(time.Second)
			o.Do(func() { tx.Refuse(roam.Timeout) })
			if got, want := siptest.Lines(o.Take()), []string{"SIP/2.0 100 Trying", "SIP/2.0 504 Server Time-out"}; !slices.Equal(got, want) {
				t.Errorf("%s: sent %q, want %q", method, got, want)
			}
		})
	}
	for _, code := range []int{180, 408} { // what an INVITE may be answered
		var tx *Server
		run(t, time.Minute, hold(&tx), func(t *testing.T, o *office) {
			o.In(phone, request("INVITE", "z9hG4bKa", "", ""))
			o.Do(func() {
				if err := tx.Reply(code); err != nil {
					t.Errorf("INVITE, %d: got %v", code, err)
				}
				tx.Refuse(roam.Timeout)
			})
			if got := o.At("SIP/2.0 408"); len(got) != 1 {
				t.Errorf("408 sent at %v, want once", got)
			}
		})
	}
}

// 8.2.2.2: a request that comes back by a loop has another branch and is refused 482, for every method but REGISTER and ACK;
// after its answer it is another request.
func TestLoops(t *testing.T) {
	for _, method := range []string{"INVITE", "MESSAGE", "OPTIONS", "INFO", "SUBSCRIBE", "NOTIFY", "REFER", "PUBLISH"} {
		var tx *Server
		handled := 0
		h := func(s *Server, req *sip.Message) error { handled++; return hold(&tx)(s, req) }
		run(t, time.Minute, h, func(t *testing.T, o *office) {
			o.In(phone, request(method, "z9hG4bKa", "", ""))
			o.Take()
			for _, branch := range []string{"z9hG4bKb", "z9hG4bKc"} {
				round := strings.Replace(request(method, branch, "", ""), "Via: ", "Via: SIP/2.0/UDP 192.0.2.1:5060;branch="+branch+"\nVia: ", 1)
				o.In(siptest.UDP("192.0.2.50:5060"), round)
				if got := o.One().Line(); got != "SIP/2.0 482 Loop Detected" || handled != 1 {
					t.Errorf("%s by a loop: got %q, handled %d times, want 482 and 1", method, got, handled)
				}
			}
			o.Do(func() { tx.Reply(486) })
		})
	}
}
