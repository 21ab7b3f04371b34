package registrar

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// over has the phone come over tr.
func (p *phone) over(tr roam.Transport) *phone { p.transport = tr; return p }

// TestAbilities: home and the visited office each refuse a device that cannot do what they demand, or needs what they
// do not give, and name it (M6); and what is refused changes nothing.
func TestAbilities(t *testing.T) {
	type demand = roam.Demands
	at := func(o roam.OfficeID, users bool, d demand) func(w *world) {
		return func(w *world) {
			cfg := w.offices[o].cfg
			if users {
				cfg.Abilities.Users = d
			} else {
				cfg.Abilities.Visitors = d
			}
			w.on(o, func(s *Server) { s.Reload(cfg) })
		}
	}
	account := func(words ...string) func(w *world) {
		return func(w *world) {
			if err := w.offices["north"].reg.Change(context.Background(), alice, Change{Set: map[string]string{"abilities": strings.Join(words, ",")}}); err != nil {
				w.t.Error(err)
			}
		}
	}
	both := func(all ...func(w *world)) func(w *world) {
		return func(w *world) {
			for _, one := range all {
				one(w)
			}
		}
	}
	const north, south = roam.OfficeID("north"), roam.OfficeID("south")
	const tls = `399 north.example "this user registers over tls or wss"`
	for _, c := range []struct {
		name  string
		with  func(w *world)
		at    roam.OfficeID
		over  roam.Transport
		extra string
		code  int
		names sip.Name // the field that names what is lacking, and its value
		value string
	}{
		{"nothing demanded", func(*world) {}, north, roam.UDP, "", 200, 0, ""},
		{"home demands TLS", at(north, true, demand{Transports: []string{"tls", "wss"}}), north, roam.UDP, "", 488, sip.Warning, tls},
		{"home demands TLS, and gets it", at(north, true, demand{Transports: []string{"tls", "wss"}}), north, roam.TLS, "", 200, 0, ""},
		{"home demands TLS of whom it has abroad", at(north, true, demand{Transports: []string{"tls", "wss"}}), south, roam.UDP, "", 488, sip.Warning, tls},
		{"home demands TLS abroad, and gets it", at(north, true, demand{Transports: []string{"tls", "wss"}}), south, roam.WSS, "", 200, 0, ""},
		{"the account demands TLS at home", account("tls"), north, roam.TCP, "", 488, sip.Warning, `399 north.example "this user registers over tls"`},
		{"the account demands TLS abroad", account("tls"), south, roam.TCP, "", 488, sip.Warning, `399 north.example "this user registers over tls"`},
		{"an account cannot have what the office forbids", both(at(north, true, demand{Transports: []string{"tls", "wss"}}), account("udp")), north, roam.UDP, "", 488, sip.Warning, tls},
		{"the visited office takes visitors over TCP only", at(south, false, demand{Transports: []string{"tcp"}}), south, roam.UDP, "", 488, sip.Warning, `399 south.example "this user registers over tcp"`},
		{"which binds its visitors only", at(north, false, demand{Transports: []string{"tcp"}}), north, roam.UDP, "", 200, 0, ""},
		{"home demands an extension", at(north, true, demand{Require: []string{"gruu", "outbound"}}), north, roam.UDP, "Supported: path, gruu\n", 421, sip.Require, "outbound"},
		{"home demands an extension abroad", at(north, true, demand{Require: []string{"gruu", "outbound"}}), south, roam.UDP, "Supported: path\nSupported: gruu\n", 421, sip.Require, "outbound"},
		{"the extension is there", at(north, true, demand{Require: []string{"outbound"}}), south, roam.UDP, "Supported: outbound\n", 200, 0, ""},
		{"the extension is there by the account", both(at(north, true, demand{Require: []string{"gruu"}}), account("gruu")), south, roam.UDP, "", 200, 0, ""},
		{"the visited office demands an extension", at(south, false, demand{Require: []string{"gruu"}}), south, roam.UDP, "Supported: outbound\n", 421, sip.Require, "gruu"},
		{"which is there by the account", both(at(south, false, demand{Require: []string{"gruu"}}), account("gruu")), south, roam.UDP, "", 200, 0, ""},
		{"the visited office forbids an extension", at(south, false, demand{Refuse: []string{"outbound"}}), south, roam.UDP, "Require: outbound\n", 420, sip.Unsupported, "outbound"},
		{"home forbids it abroad", at(north, true, demand{Refuse: []string{"outbound"}}), south, roam.UDP, "Require: outbound\n", 420, sip.Unsupported, "outbound"},
		{"home forbids it", at(north, true, demand{Refuse: []string{"outbound"}}), north, roam.UDP, "Require: outbound\n", 420, sip.Unsupported, "outbound"},
		{"who can do without it may come", at(south, false, demand{Refuse: []string{"outbound"}}), south, roam.UDP, "Supported: outbound\n", 200, 0, ""},
		{"what nobody here does", func(*world) {}, south, roam.UDP, "Require: path, replaces\n", 420, sip.Unsupported, "path, replaces"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				c.with(w)
				before := w.state()
				p := w.phone().carry(c.at).over(c.over)
				p.extra = c.extra
				got := p.register()
				if named := string(p.last.Value(c.names)); got != c.code || named != c.value {
					t.Errorf("got %d %s, %s: %s, want %d %s", got, p.last.Reason(), c.names, named, c.code, c.value)
				}
				if c.code == 200 {
					w.agree(c.at)
					return
				}
				if after := w.state(); !reflect.DeepEqual(before, after) {
					t.Errorf("changed: before %v\nafter %v", before, after)
				}
				w.ladder = nil
				p.expires, p.cseq = 0, p.cseq+1
				if code := p.register(); code != 200 && c.at == south && c.names != sip.Unsupported {
					t.Errorf("leaving: got %d, want 200: it needs no ability", code)
				}
			})
		})
	}
}

// TestAbilitiesAreKept: what the device told stands with its binding where it is, and with its presence at home; it is
// told anew when it changes.
func TestAbilitiesAreKept(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone().carry("south").over(roam.TCP)
		p.extra = "Supported: outbound, path\nAllow: INVITE, ACK\nAllow: BYE\n"
		p.register()
		want := &roam.Abilities{Transport: roam.TCP, Supported: []string{"outbound", "path"}, Methods: []string{"INVITE", "ACK", "BYE"}}
		see := func() {
			t.Helper()
			w.on("south", func(s *Server) {
				if got := s.visitors[alice][0].visit.Contacts[0].Can; !got.Equal(want) {
					t.Errorf("south: got %+v, want %+v", got, want)
				}
			})
			w.on("north", func(s *Server) {
				if got := s.users[alice].home.At[0].Contacts[0].Can; !got.Equal(want) {
					t.Errorf("north: got %+v, want %+v", got, want)
				}
			})
		}
		see()
		p.extra, want = "Supported: outbound\n", &roam.Abilities{Transport: roam.TCP, Supported: []string{"outbound"}}
		p.register()
		see()
		w.state()
		w.offices["north"].restart()
		w.offices["south"].restart()
		see()
	})
}

// TestAbilitiesOfContact: a Contact's own words count as well (RFC 3840).
func TestAbilitiesOfContact(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone()
		p.contact = `<sip:1001@198.51.100.7>;extensions="gruu,100rel";methods="INVITE,MESSAGE"`
		p.extra = "Supported: 100rel\nAllow: INVITE\n"
		p.register()
		w.on("north", func(s *Server) {
			got := s.users[alice].home.At[0].Contacts[0].Can
			if want := (&roam.Abilities{Transport: roam.UDP, Supported: []string{"100rel", "gruu"}, Methods: []string{"INVITE", "MESSAGE"}}); !got.Equal(want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	})
}

// TestAbilitiesDemandedLater: what home demands from now on reaches the visited office with the profile, and the next
// refresh meets it; nothing is challenged over a transport that no user may come by.
func TestAbilitiesDemandedLater(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone().carry("south").over(roam.UDP)
		p.register()
		w.agree("south")
		words := []string{"tls"}
		if err := w.offices["north"].reg.Change(context.Background(), alice, Change{Set: map[string]string{"abilities": strings.Join(words, ",")}}); err != nil {
			t.Fatal(err)
		}
		w.state()
		w.on("south", func(s *Server) {
			if d := s.visitors[alice][0].visit.Profile.Device; d == nil || !slices.Equal(d.Transports, words) {
				t.Errorf("south: got %+v, want tls", d)
			}
		})
		if code := p.register(); code != 488 {
			t.Errorf("got %d, want 488", code)
		}

		cfg := w.offices["north"].cfg
		cfg.Abilities.Users.Transports = []string{"tls"}
		w.on("north", func(s *Server) { s.Reload(cfg) })
		for _, o := range []roam.OfficeID{"north", "south"} {
			for _, to := range []string{"sip:1001@north.example", "sip:1999@north.example"} {
				q := w.phone().carry(o).over(roam.UDP)
				q.to = to
				if res := q.send(q.text("")); res.Status() != 488 || res.Value(sip.WWWAuthenticate) != nil || !strings.Contains(string(res.Value(sip.Warning)), "tls") {
					t.Errorf("%s at %s: got %d, want 488 and no challenge", to, o, res.Status())
				}
			}
		}
	})
}

// TestNoCapacity: an office that is full says so to the phone with a time to come back that differs from one to the
// next (M7), at home (d) and away (h), and the log names it.
func TestNoCapacity(t *testing.T) {
	for _, o := range []roam.OfficeID{"north", "south"} {
		inWorld(t, func(w *world) {
			w.offices[o].sw.refuses = roam.NoCapacity
			seen := map[string]bool{}
			for range 8 {
				p := w.phone().carry(o)
				if code := p.register(); code != 503 {
					t.Fatalf("%s: got %d, want 503", o, code)
				}
				seen[string(p.last.Value(sip.RetryAfter))] = true
			}
			if len(seen) < 3 || seen[""] {
				t.Errorf("%s: Retry-After %v, want several times", o, seen)
			}
		})
	}
}
