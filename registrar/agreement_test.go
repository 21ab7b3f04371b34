package registrar

import (
	"context"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// terms is one side of an agreement.
type terms struct{ allow, deny []string }

// agree changes o's agreement with other.
func (w *world) agreement(o, other roam.OfficeID, change func(p *roam.Partner)) {
	w.on(o, func(s *Server) {
		if p, found := s.partner(other); found {
			change(p)
		}
	})
}

// TestAgreements: who may be served where, by office pair, user and class, as each of the two sides has it; the phone is
// told, the log has the rule, and nothing changes anywhere for who is refused.
func TestAgreements(t *testing.T) {
	for name, c := range map[string]struct {
		class    string
		roamers  terms // north's users at south
		visitors terms // the same, as south has it
		to       string
		rule     string // that decided; "": admitted
	}{
		"nothing said":                       {},
		"a class that nobody names":          {class: "staff"},
		"user barred at home":                {roamers: terms{deny: []string{"1001"}}, rule: `roamers.deny "1001"`},
		"number barred at home":              {roamers: terms{deny: []string{"+15550001001"}}, rule: `roamers.deny "+15550001001"`},
		"alias barred at home":               {roamers: terms{deny: []string{"alice@north.example"}}, rule: `roamers.deny "alice@north.example"`},
		"class barred at home":               {class: "guest", roamers: terms{deny: []string{"class:guest"}}, rule: `roamers.deny "class:guest"`},
		"another class barred":               {class: "staff", roamers: terms{deny: []string{"class:guest"}}, visitors: terms{deny: []string{"class:guest"}}},
		"no class, a class barred":           {roamers: terms{deny: []string{"class:guest"}}, visitors: terms{deny: []string{"class:guest"}}},
		"class called as a user is":          {class: "guest", roamers: terms{deny: []string{"guest"}}},
		"only a class from home":             {class: "staff", roamers: terms{allow: []string{"class:staff"}}},
		"only another class from home":       {class: "staff", roamers: terms{allow: []string{"class:board"}}, rule: "not in roamers.allow"},
		"only users from home":               {roamers: terms{allow: []string{"1002"}}, rule: "not in roamers.allow"},
		"allowed class, barred user":         {class: "staff", roamers: terms{allow: []string{"class:staff"}, deny: []string{"1001"}}, rule: `roamers.deny "1001"`},
		"user barred there":                  {visitors: terms{deny: []string{"1001"}}, rule: `visitors.deny "1001"`},
		"address barred there":               {visitors: terms{deny: []string{"1001@north.example"}}, rule: `visitors.deny "1001@north.example"`},
		"number barred there, comes by name": {visitors: terms{deny: []string{"+15550001001"}}, rule: `visitors.deny "+15550001001"`},
		"barred there, comes by alias":       {to: "sip:alice@north.example", visitors: terms{deny: []string{"1001"}}, rule: `visitors.deny "1001"`},
		"alias barred there":                 {to: "sip:alice@north.example", visitors: terms{deny: []string{"alice"}}, rule: `visitors.deny "alice"`},
		"class barred there":                 {class: "guest", visitors: terms{deny: []string{"class:guest"}}, rule: `visitors.deny "class:guest"`},
		"only a class there":                 {class: "staff", visitors: terms{allow: []string{"class:staff"}}},
		"only another class there":           {class: "guest", visitors: terms{allow: []string{"class:staff"}}, rule: "not in visitors.allow"},
		"only a user there":                  {visitors: terms{allow: []string{"1001"}}},
		"only another user there":            {visitors: terms{allow: []string{"1002"}}, rule: "not in visitors.allow"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				if err := w.offices["north"].reg.Change(context.Background(), alice, Change{Set: map[string]string{"class": c.class}}); err != nil {
					t.Fatal(err)
				}
				w.agreement("north", "south", func(p *roam.Partner) { p.Roamers.Allow, p.Roamers.Deny = c.roamers.allow, c.roamers.deny })
				w.agreement("south", "north", func(p *roam.Partner) { p.Visitors.Allow, p.Visitors.Deny = c.visitors.allow, c.visitors.deny })
				before := w.state()
				p := w.phone().carry("south")
				if c.to != "" {
					p.to, p.login = c.to, "alice"
				}
				p.register()
				if c.rule == "" {
					if p.last.Status() != 200 {
						t.Fatalf("got %d %s, want 200", p.last.Status(), p.last.Reason())
					}
					w.agree("south")
					w.phone().carry("west").want(200) // what is said of south is said of south
					return
				}
				if p.last.Status() != 403 || p.last.Reason() != "Barred From Roaming" {
					t.Errorf("got %d %s, want 403 Barred From Roaming", p.last.Status(), p.last.Reason())
				}
				if after := w.state(); !reflect.DeepEqual(before, after) {
					t.Error("something changed")
				}
				log := w.offices["north"].log.String() + w.offices["south"].log.String()
				if !strings.Contains(log, `"rule":`+strconv.Quote(c.rule)) {
					t.Errorf("no line with the rule %s", c.rule)
				}
				p.carry("west").want(200)
			})
		})
	}
}

// TestAgreementEnds: a visitor who is barred while he is here is refused with his next refresh, and what he has here ends,
// wherever it was said; a full office takes those who are there already.
func TestAgreementEnds(t *testing.T) {
	for _, by := range []roam.OfficeID{"north", "south"} {
		inWorld(t, func(w *world) {
			p := w.phone().carry("south")
			p.want(200)
			w.agree("south")
			w.agreement("south", "north", func(p *roam.Partner) { p.Visitors.Max = 1 })
			p.want(200)
			b := w.phone().carry("south")
			b.login, b.password, b.to, b.device = "1002", "secret-1002", "sip:1002@north.example", "urn:uuid:b"
			b.want(503)
			if n, err := strconv.Atoi(string(b.last.Value(sip.RetryAfter))); err != nil || n < 15 || n > 45 {
				t.Errorf("full: got Retry-After %q, want about 30", b.last.Value(sip.RetryAfter))
			}
			w.agreement("north", "south", func(p *roam.Partner) {
				if by == "north" {
					p.Roamers.Deny = []string{"1001"}
				}
			})
			w.agreement("south", "north", func(p *roam.Partner) {
				if by == "south" {
					p.Visitors.Deny = []string{"1001"}
				}
			})
			p.want(403)
			w.agree("")
			b.want(200)
		})
	}
}
