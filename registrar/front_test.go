package registrar

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// fronted makes edge, at 203.0.113.9 and 203.0.113.10, a front of north, and gives a phone of alice's behind it.
func (w *world) fronted(path string) *phone {
	o := w.offices["north"]
	if !slices.ContainsFunc(o.cfg.Partners, func(p roam.Partner) bool { return p.Foreign != nil }) {
		o.cfg.Partners = append(o.cfg.Partners, roam.Partner{Office: "acme", Foreign: &roam.Foreign{Front: true, Sources: []roam.Net{{Prefix: netip.MustParsePrefix("203.0.113.8/30")}}}})
		w.on("north", func(s *Server) { s.Reload(o.cfg) })
	}
	p := w.phone()
	p.front, p.contact = true, `<sip:1001@192.168.1.10:5060>`
	p.by(path)
	return p
}

// by has p's REGISTERs come with a Path.
func (p *phone) by(path string) *phone {
	p.extra = "Supported: path\n"
	if path != "" {
		p.extra += "Path: " + path + "\n"
	}
	return p
}

// routes is alice's bindings: Contact and Path.
func (w *world) routes() (all []string) {
	w.on("north", func(s *Server) {
		line, _ := s.Line(alice)
		for _, t := range line.Targets {
			all = append(all, t.URI+" "+strings.Join(t.Route, ","))
		}
		slices.Sort(all)
	})
	return all
}

// A front relays a REGISTER with Path (RFC 3327): it is kept, echoed, and belongs to the binding's name.
func TestFront(t *testing.T) {
	inWorld(t, func(w *world) {
		one, two := "<sip:203.0.113.9;lr>, <sip:198.51.100.40;lr>", "<sip:203.0.113.10:5080;lr;transport=tcp>"
		p := w.fronted(one)
		want := []string{"sip:1001@192.168.1.10:5060 <sip:203.0.113.9;lr>,<sip:198.51.100.40;lr>"}
		if code := p.register(); code != 200 || !slices.Equal(w.routes(), want) {
			t.Fatalf("got %d with %q, want 200 with %q", code, w.routes(), want)
		}
		if got := string(p.last.Value(sip.Path)); !strings.Contains(got, "203.0.113.9") {
			t.Errorf("the 200 has Path %q, want it back", got)
		}
		p.extra = strings.Replace(p.extra, "Supported: path\n", "", 1)
		if code := p.register(); code != 200 || p.last.Value(sip.Path) != nil {
			t.Errorf("a phone that knows nothing of Path: got %d with %q, want 200 without", code, p.last.Value(sip.Path))
		}
		q := w.fronted(two)
		q.callID = "other"
		if code := q.register(); code != 200 || len(w.routes()) != 2 {
			t.Errorf("another phone with this private address: got %d with %q, want two bindings", code, w.routes())
		}
		q.by(one)
		q.callID = "first"
		q.cseq = 100
		if code := q.register(); code != 200 || len(w.routes()) != 2 {
			t.Errorf("the first one again: got %d with %q, want two bindings", code, w.routes())
		}
		p.cseq = 200
		p.by("<sip:203.0.113.8;lr>") // by another front, in the same registration
		if code := p.register(); code != 200 || len(w.routes()) != 2 || !slices.ContainsFunc(w.routes(), func(r string) bool { return strings.Contains(r, "113.8") }) {
			t.Errorf("the phone moves to another front: got %d with %q, want its binding to move", code, w.routes())
		}
		for what, path := range map[string]struct {
			path string
			code int
		}{
			"no Path": {"", 421}, "of somebody else": {"<sip:192.0.2.99;lr>", 403}, "a name": {"<sip:edge.example;lr>", 403}, "no SIP": {"<tel:+15551234;lr>", 400},
			"strict": {"<sip:203.0.113.9>", 400}, "too many": {strings.TrimSuffix(strings.Repeat("<sip:203.0.113.9;lr>, ", 9), ", "), 400},
		} {
			r := w.fronted(path.path)
			r.callID = strings.ReplaceAll(what, " ", "-")
			if code := r.register(); code != path.code || len(w.routes()) != 2 {
				t.Errorf("%s: got %d with %q, want %d and nothing changed", what, code, w.routes(), path.code)
			}
			if path.code == 421 && string(r.last.Value(sip.Require)) != "path" {
				t.Errorf("%s: told to require %q, want path", what, r.last.Value(sip.Require))
			}
		}
		direct := w.phone().by(one) // a phone that writes Path itself
		direct.callID, direct.contact = "direct", `<sip:1001@198.51.100.7:40001>`
		if code := direct.register(); code != 200 || !slices.Contains(w.routes(), "sip:1001@198.51.100.7:40001 ") {
			t.Errorf("a phone's own Path: got %d with %q, want it left out", code, w.routes())
		}
		o := w.offices["north"]
		o.cfg.Partners[len(o.cfg.Partners)-1].Foreign.Front = false
		w.on("north", func(s *Server) { s.Reload(o.cfg) })
		if code := p.register(); code != 403 {
			t.Errorf("a partner that is no front relays a REGISTER: got %d, want 403", code)
		}
	})
}

// What a front's outbound (RFC 5626) says: its ob is the flow's, its token says whose call it is, and who is silent behind it
// goes alone.
func TestFrontFlows(t *testing.T) {
	inWorld(t, func(w *world) {
		var watched []string
		w.on("north", func(s *Server) {
			s.OnBehind(func(target roam.Target, bound bool) {
				sign := "-"
				if bound {
					sign = "+"
				}
				watched = append(watched, sign+target.URI)
			})
		})
		p := w.fronted("<sip:203.0.113.9;lr>, <sip:token1@203.0.113.10;lr;ob>")
		outboundPhone := func(p *phone, user string) {
			p.extra = strings.Replace(p.extra, "path", "path, outbound", 1)
			p.contact = `<sip:` + user + `@192.168.1.10:5060>;+sip.instance="<urn:uuid:` + user + `>";reg-id=1`
		}
		outboundPhone(p, "1001")
		if code := p.register(); code != 200 || !p.last.Has(sip.Require, "outbound") || p.last.Other("Flow-Timer") != nil {
			t.Errorf("got %d, Require %q, Flow-Timer %q; want outbound, and the timer left to the front", code, p.last.Value(sip.Require), p.last.Other("Flow-Timer"))
		}
		lame := w.fronted("<sip:token1@203.0.113.9;lr;ob>, <sip:198.51.100.40;lr>") // the phone's first hop is not that one
		outboundPhone(lame, "1001")
		lame.callID = "lame"
		if code := lame.register(); code != 439 {
			t.Errorf("the first hop knows nothing of flows: got %d, want 439", code)
		}
		b := w.fronted("<sip:token2@203.0.113.10;lr;ob>")
		b.login, b.password, b.to = "1002", "secret-1002", "sip:1002@north.example"
		outboundPhone(b, "1002")
		b.callID = "bobs"
		if code := b.register(); code != 200 {
			t.Fatalf("bob: got %d, want 200", code)
		}
		bob := roam.UserID("1002@north.example")
		w.on("north", func(s *Server) {
			f := p.flow()
			for token, want := range map[string]roam.UserID{"token1": alice, "token2": bob, "token3": "", "": ""} {
				if user, found := s.Proven(f, token, []sip.AOR{sip.AOR(alice)}); user != want || found != (want != "") {
					t.Errorf("token %q: got %q, %v, want %q", token, user, found, want)
				}
			}
			elsewhere := *f
			elsewhere.Foreign = ""
			if user, found := s.Proven(&elsewhere, "token1", nil); found {
				t.Errorf("a phone shows a token: it is taken for %s", user)
			}
			if users, found, many := s.Whose(f, []sip.AOR{sip.AOR(bob)}); users != bob || !found || many {
				t.Errorf("the front's flow: got %q, %v, %v, want bob's by his claim", users, found, many)
			}
			line, _ := s.Line(bob)
			s.Lost(line.Targets[0])
			s.Closed(f) // the front's connection to us: it has others
		})
		time.Sleep(time.Minute)
		w.on("north", func(s *Server) {
			for user, want := range map[roam.UserID]int{alice: 1, bob: 0} {
				if line, _ := s.Line(user); len(line.Targets) != want {
					t.Errorf("bob's phone is silent: %s has %v, want %d", user, line.Targets, want)
				}
			}
			if _, found := s.Proven(p.flow(), "token2", nil); found {
				t.Error("the token of a phone that is gone still means somebody")
			}
			want := []string{"+sip:1001@192.168.1.10:5060", "+sip:1002@192.168.1.10:5060", "-sip:1002@192.168.1.10:5060"}
			if !slices.Equal(watched, want) {
				t.Errorf("asked whether they live: got %q, want %q", watched, want)
			}
		})
	})
}
