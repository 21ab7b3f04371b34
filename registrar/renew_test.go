package registrar

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// cost is what fn takes: requests between offices, questions and reports to R. An office's card, which is asked for once in 5 minutes
// for all of its users, does not count.
func (w *world) cost(fn func()) (requests, commands int) {
	w.t.Helper()
	settle(time.Second)
	w.set(func() { w.ladder = nil })
	w.r.mu.Lock()
	before := w.r.asked
	w.r.mu.Unlock()
	fn()
	settle(time.Second)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.ladder {
		if strings.Contains(r.text, ">") && !strings.HasSuffix(r.text, " OPTIONS") {
			requests++
		}
	}
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	return requests, w.r.asked - before
}

// TestRenewalIsOneMessage: a visitor's refresh is one message to home at most and asks R for nothing, whatever the phone does with
// nonces; what needs no home is answered at once.
func TestRenewalIsOneMessage(t *testing.T) {
	for name, c := range map[string]struct {
		expires int
		between time.Duration
		forgets bool // the phone wants to be challenged each time
		at      roam.OfficeID
	}{
		"keeps its nonce":              {300, 240 * time.Second, false, "south"},
		"forgets it":                   {300, 240 * time.Second, true, "south"},
		"every minute":                 {60, 50 * time.Second, false, "south"},
		"every hour, keeps its nonce":  {3600, 59 * time.Minute, false, "south"},
		"every hour, forgets it":       {3600, 59 * time.Minute, true, "south"},
		"by an alias, keeps its nonce": {300, 299 * time.Second, false, "west"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				p := w.phone().carry(c.at)
				if p.expires = c.expires; strings.Contains(name, "alias") {
					p.to, p.login = "sip:alice@north.example", "alice"
				}
				p.want(200)
				most := 0
				for began := time.Now(); time.Since(began) < 12*time.Hour; {
					settle(c.between - 2*time.Second)
					if c.forgets {
						p.nonce = ""
					}
					requests, commands := w.cost(func() { p.want(200) })
					if most = max(most, requests); requests > 1 || commands != 0 {
						t.Fatalf("after %v a refresh took %d requests and %d commands, want at most 1 and 0", time.Since(began), requests, commands)
					}
				}
				t.Logf("at most %d request and 0 commands", most)
				w.agree(c.at)
			})
		})
	}
}

// TestChallengedByVisited: the visited office says 401 by itself with home's nonce, at once and while home cannot be heard, to the
// phone that it is for.
func TestChallengedByVisited(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone().carry("south")
		p.want(200)
		w.set(func() { w.cut["north"] = true })
		began := time.Now()
		if res := p.send(p.text("")); res.Status() != 401 || time.Since(began) > 200*time.Millisecond {
			t.Errorf("got %d after %v, want 401 at once", res.Status(), time.Since(began))
		}
		first := string(p.last.Value(sip.WWWAuthenticate))
		if again := p.send(p.text("")); string(again.Value(sip.WWWAuthenticate)) != first || !strings.Contains(first, `realm="north.example"`) {
			t.Errorf("got %q, then %q, want one nonce until it is used", first, again.Value(sip.WWWAuthenticate))
		}
		p.nonce = "bm9uc2Vuc2U"
		if res := p.send(p.text(p.authorization())); res.Status() != 401 || !strings.Contains(string(res.Value(sip.WWWAuthenticate)), "stale=true") {
			t.Errorf("an old nonce: got %d %s, want stale=true", res.Status(), res.Value(sip.WWWAuthenticate))
		}
		q := w.phone().carry("south")
		q.ip = "198.51.100.8"
		if res := q.send(q.text("")); res.Status() != 503 {
			t.Errorf("from another address: got %d, want that home is asked", res.Status())
		}
		w.set(func() { w.cut["north"] = false })
		p.nonce = ""
		p.want(200)
		if after := p.nonce; !strings.Contains(first, after) {
			t.Errorf("answered nonce %s, want that of %s", after, first)
		}
	})
}

// TestRenewalIsChecked: home decides with every refresh. Credentials that are wrong, taken back or used before renew nothing, and
// a user who is deleted or has a new password is served no longer.
func TestRenewalIsChecked(t *testing.T) {
	change := func(w *world, c Change) {
		if err := w.offices["north"].reg.Change(context.Background(), alice, c); err != nil {
			w.t.Fatal(err)
		}
	}
	off, secret := true, "new"
	for name, c := range map[string]struct {
		do   func(w *world, p *phone)
		want int
		ends bool // at once; else with its time
	}{
		"wrong password": {func(_ *world, p *phone) { p.password = "wrong" }, 401, false},
		"another user":   {func(_ *world, p *phone) { p.login, p.password = "1002", "secret-1002" }, 401, false},
		"new password":   {func(w *world, _ *phone) { change(w, Change{Password: &secret}) }, 401, false},
		"disabled":       {func(w *world, _ *phone) { change(w, Change{Disabled: &off}) }, 403, true},
		"deleted":        {func(w *world, _ *phone) { w.offices["north"].reg.Remove(context.Background(), alice) }, 404, true},
		"barred at home": {func(w *world, _ *phone) {
			w.agreement("north", "south", func(p *roam.Partner) { p.Roamers.Deny = []string{"1001"} })
		}, 403, true},
		"barred here": {func(w *world, _ *phone) {
			w.agreement("south", "north", func(p *roam.Partner) { p.Visitors.Deny = []string{"1001"} })
		}, 403, true},
		"barred by class": {func(w *world, _ *phone) {
			w.agreement("south", "north", func(p *roam.Partner) { p.Visitors.Allow = []string{"class:staff"} })
		}, 403, true},
	} {
		inWorld(t, func(w *world) {
			p := w.phone().carry("south")
			p.want(200)
			w.agree("south")
			c.do(w, p)
			settle(2 * time.Second)
			got := 0
			if requests, _ := w.cost(func() { got = p.send(p.text(p.authorization())).Status() }); name == "barred here" && requests > 1 {
				t.Errorf("%s: home was asked before it was told that it is over, %d requests", name, requests)
			}
			if c.want == 404 && got == 401 { // an unknown user looks like a wrong password
				got = 404
			}
			if got != c.want {
				t.Errorf("%s: got %d %s, want %d", name, got, p.last.Reason(), c.want)
			}
			settle(2 * time.Second)
			here := false
			w.on("south", func(s *Server) { here = s.here(alice) })
			if here == c.ends {
				t.Errorf("%s: still served: %v", name, here)
			}
			settle(6 * time.Minute)
			w.on("south", func(s *Server) { here = s.here(alice) })
			if here {
				t.Errorf("%s: served for ever", name)
			}
		})
	}
}

// TestRenewalReplayed: who has read a refresh on the wire can do nothing with it: from anywhere, with another Contact, Call-ID or CSeq.
func TestRenewalReplayed(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone().carry("south")
		p.want(200)
		text := p.text(p.authorization())
		if res := p.send(text); res.Status() != 200 {
			t.Fatalf("got %d, want 200", res.Status())
		}
		w.agree("south")
		before := w.state()
		for name, change := range map[string][2]string{
			"contact": {":40002>", ":4999>"}, "call": {"Call-ID: ", "Call-ID: x"}, "CSeq": {"CSeq: ", "CSeq: 9"}, "expires": {"Expires: 300", "Expires: 0"},
		} {
			for _, addr := range []string{"", "198.51.100.8"} {
				q := *p
				q.ip = addr
				forged := strings.ReplaceAll(text, change[0], change[1])
				forged = strings.Replace(forged, "branch=z9hG4bK", "branch=z9hG4bK"+name+fmt.Sprint(len(addr)), 1)
				if name != "CSeq" { // a higher one, or it is refused for that
					forged = strings.Replace(forged, "CSeq: ", "CSeq: 7", 1)
				}
				if res := q.send(forged); res.Status() != 401 {
					t.Errorf("%s from %q: got %d, want 401", name, addr, res.Status())
				}
			}
		}
		if after := w.state(); !reflect.DeepEqual(before, after) {
			t.Errorf("changed: before %v\nafter %v", before, after)
		}
	})
}

// TestNothingSecretLeavesHome (I6): in all that home says of a visitor there is no password, no HA1, and no answer to a challenge.
func TestNothingSecretLeavesHome(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone().carry("south")
		for range 3 {
			p.want(200)
		}
		p.nonce = ""
		p.want(200)
		p.carry("west").want(200)
		p.carry("north").want(200)
		settle(time.Second)
		secrets := []string{"secret-1001", "response=", "cnonce="}
		w.on("north", func(s *Server) {
			for _, hexes := range texts(s.users[alice].logins, false) {
				secrets = append(secrets, hexes...)
			}
		})
		n := 0
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, m := range w.wire {
			if m.from != "north" {
				continue
			}
			n++
			for _, secret := range secrets {
				if strings.Contains(m.text, secret) {
					t.Errorf("to %s: %q in\n%s", m.to, secret, m.text)
				}
			}
		}
		if n < 10 || len(secrets) < 5 {
			t.Errorf("looked at %d messages for %d secrets", n, len(secrets))
		}
	})
}

// TestTwoDevicesRefreshAtOnce: each has a nonce of its own; neither makes the other's stale.
func TestTwoDevicesRefreshAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.phone().carry("south"), w.phone().carry("south")
		b.device, b.port = "urn:uuid:b", 41000
		a.want(200)
		b.want(200)
		for range 50 { // more than home remembers nonces of one user
			a.nonce, b.nonce = "", ""
			settle(100 * time.Second)
			requests, commands := w.cost(func() {
				for _, p := range []*phone{a, b} {
					p.post(p.text(""))
				}
				settle(100 * time.Millisecond)
				for _, p := range []*phone{a, b} {
					p.take(w.heard[p.callID][len(w.heard[p.callID])-1])
					p.post(p.text(p.authorization()))
				}
				settle(100 * time.Millisecond)
			})
			for _, p := range []*phone{a, b} {
				if last := w.heard[p.callID][len(w.heard[p.callID])-1]; last.Status() != 200 || last.CSeq() != uint32(p.cseq) {
					t.Fatalf("%s: got %d to %d, want 200 to %d", p.device, last.Status(), last.CSeq(), p.cseq)
				}
			}
			if requests != 2 || commands != 0 {
				t.Fatalf("two refreshes took %d requests and %d commands, want 2 and 0", requests, commands)
			}
		}
	})
	inWorld(t, func(w *world) { // one device, two phones as far as anybody knows: at worst one is challenged once more
		a, b := w.phone().carry("south"), w.phone().carry("south")
		a.device, b.device, b.port = "", "", 41000
		a.contact, b.contact = "<sip:1001@198.51.100.7:40002>", "<sip:1001@198.51.100.7:41000>"
		a.want(200)
		b.want(200)
		for range 5 {
			a.nonce, b.nonce = "", ""
			settle(100 * time.Second)
			for _, p := range []*phone{a, b} {
				p.post(p.text(""))
			}
			settle(100 * time.Millisecond)
			for _, p := range []*phone{a, b} {
				p.take(w.heard[p.callID][len(w.heard[p.callID])-1])
				p.post(p.text(p.authorization()))
			}
			settle(100 * time.Millisecond)
			a.want(200)
			b.want(200)
		}
	})
}

// TestRenewalUnheard: home recorded the refresh and its answer got lost, or home is silent: by policy, within 4 s; the phone's next try
// goes well.
func TestRenewalUnheard(t *testing.T) {
	for policy, want := range map[string]int{"refuse": 503, "admit-known": 200} {
		inWorld(t, func(w *world) {
			w.on("south", func(s *Server) { s.cfg.HomeSilent.Policy = policy })
			p := w.phone().carry("south")
			p.want(200)
			w.set(func() {
				w.lose = func(from, _ roam.OfficeID, m *sip.Message) bool { return from == "north" && !m.IsRequest() }
			})
			began := time.Now()
			if p.want(want); time.Since(began) > 4200*time.Millisecond {
				t.Errorf("%s: decided after %v", policy, time.Since(began))
			}
			w.set(func() { w.lose = nil })
			p.want(200)
			settle(20 * time.Second)
			w.agree("south")
			if w.offices["south"].reg.Provisional(alice) {
				t.Error("still provisional")
			}
		})
	}
}

// TestRenewalWhatHomeLost: home's file is as it was before the visit. The next refresh, which is one message, brings the visit back, and R
// hears of it.
func TestRenewalWhatHomeLost(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone().carry("south")
		p.want(200)
		w.agree("south")
		w.on("north", func(s *Server) {
			h := &s.users[alice].home
			h.At, h.Location = nil, roam.Location{Epoch: h.Location.Epoch - 1}
		})
		requests, _ := w.cost(func() { p.want(200) })
		if requests != 1 {
			t.Errorf("took %d requests, want 1", requests)
		}
		w.agree("south")
		serves := w.offices["south"].sw.serves
		w.offices["south"].restart()
		w.offices["south"].sw.serves = serves
		var ticket, recorded roam.Epoch
		w.on("south", func(s *Server) { ticket = s.visitorOf(alice).visit.Ticket.Epoch })
		w.on("north", func(s *Server) { recorded = s.users[alice].home.At[0].Epoch })
		if ticket != recorded {
			t.Errorf("after a restart the visit is of ticket %d, home has %d", ticket, recorded)
		}
	})
}

// TestRenewalOfACall: credentials that a phone gave for a call are good for that call, not for a record of where its user is.
func TestRenewalOfACall(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone()
		p.want(200)
		w.agree("north")
		before := w.state()
		for _, method := range []string{"INVITE", "REGISTER"} {
			want := map[string]int{"INVITE": 400, "REGISTER": 200}[method]
			var last *sip.Message
			ask := func(authorization string) {
				w.on("south", func(s *Server) {
					v := s.newVisitor(alice, "urn:uuid:a")
					defer s.forget(v)
					proofs := []sip.Field{{Name: sip.RoamDigest, Value: method + `;uri="` + p.uri + `"`}, {Name: sip.Authorization, Value: authorization}}
					build := s.message(v, control.Record{Ticket: roam.Ticket{User: alice}, CallID: "c", Grant: time.Minute}, s.network("urn:uuid:a", "c", true, nil), proofs...)
					s.ask("north", partnerURI("north"), build, func(res *sip.Message, err error) {
						if last = res; err != nil {
							t.Error(err)
						}
					})
				})
				settle(time.Second)
			}
			ask(`Digest username="1001", realm="north.example", nonce="x", uri="sip:north.example", response="x"`)
			p.method = method
			p.take(last)
			value := strings.TrimSpace(strings.TrimPrefix(p.authorization(), "Authorization: "))
			if ask(value); last.Status() != want {
				t.Errorf("%s: got %d %s, want %d", method, last.Status(), last.Reason(), want)
			}
			if after := w.state(); method == "INVITE" && !reflect.DeepEqual(before, after) {
				t.Errorf("changed: before %v\nafter %v", before, after)
			}
		}
	})
}

// TestRenewalAfterRestarts: home has forgotten its nonces, or the visited office what it knew of them; the phone is served all the same.
func TestRenewalAfterRestarts(t *testing.T) {
	for _, o := range []roam.OfficeID{"north", "south"} {
		inWorld(t, func(w *world) {
			p := w.phone().carry("south")
			p.want(200)
			w.agree("south")
			serves := w.offices[o].sw.serves
			w.offices[o].restart()
			w.offices[o].sw.serves = serves
			p.want(200)
			requests, commands := w.cost(func() { p.want(200) })
			if requests != 1 || commands != 0 {
				t.Errorf("%s restarted: the refresh after the next took %d requests and %d commands, want 1 and 0", o, requests, commands)
			}
			w.agree("south")
		})
	}
}

// TestTicketIsKept: home signs another ticket for a refresh when a quarter of the life of the last is over, not each time; it is good for
// most of a day at any time, and still ends the visit when the phone goes on.
func TestTicketIsKept(t *testing.T) {
	inWorld(t, func(w *world) {
		for id := range w.offices {
			w.on(id, func(s *Server) { c := s.cfg; c.HomeSilent.ResendFor = roam.Duration(24 * time.Hour); s.Reload(c) })
		}
		p := w.phone().carry("south")
		p.want(200)
		signed, refreshes := 0, 0
		w.set(func() {
			w.lose = func(from, _ roam.OfficeID, m *sip.Message) bool {
				if from == "north" && m.Status() == 200 && m.Value(sip.RoamTicket) != nil {
					signed++
				}
				return false
			}
		})
		for range 24 * 15 {
			settle(240 * time.Second)
			p.want(200)
			refreshes++
			w.on("south", func(s *Server) {
				if left := s.visitorOf(alice).visit.Ticket.Until.Sub(s.loop.Now()); left < 17*time.Hour {
					t.Fatalf("the ticket is good for %v", left)
				}
			})
		}
		if signed < 3 || signed > 5 {
			t.Errorf("%d refreshes in a day brought %d tickets, want 4", refreshes, signed)
		}
		w.agree("south")
		p.carry("west").want(200)
		w.agree("west")
	})
}
