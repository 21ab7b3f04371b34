package registrar

import (
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/seal"
)

// trusts asks o whether it believes that alice is where at says.
func (w *world) trusts(o roam.OfficeID, at roam.Location) bool {
	w.t.Helper()
	got := make(chan bool, 1)
	w.on(o, func(s *Server) { s.Trusts(alice, at, func(ok bool) { got <- ok }) })
	return <-got
}

// TestSigned: every location that R is told carries home's signature, whoever tells it, and all others can check it:
// with any word of it changed, or another's signature, it is nobody's.
func TestSigned(t *testing.T) {
	inWorld(t, func(w *world) {
		places := map[roam.OfficeID]roam.Location{}
		for _, o := range []roam.OfficeID{"north", "south", "west", "south", "north"} {
			w.phone().carry(o).want(200)
			w.agree(o)
			w.r.mu.Lock()
			at := w.r.at[alice]
			w.r.mu.Unlock()
			for id := range w.offices {
				if at.Sig == "" || !w.trusts(id, at) {
					t.Errorf("at %s, asked by %s: got %+v, want it signed", o, id, at)
				}
			}
			places[o] = at
		}
		at := places["north"]
		for name, change := range map[string]func(*roam.Location){
			"no signature":    func(l *roam.Location) { l.Sig = "" },
			"office":          func(l *roam.Location) { l.Office = "west" },
			"softswitch":      func(l *roam.Location) { l.Switch = "sip:evil.example" },
			"registrar":       func(l *roam.Location) { l.Registrar = "sip:evil.example" },
			"epoch":           func(l *roam.Location) { l.Epoch++ },
			"another place's": func(l *roam.Location) { l.Sig = places["south"].Sig },
			"signed by west":  func(l *roam.Location) { w.on("west", func(s *Server) { l.Sig = s.signLocation(alice, l) }) },
			"of another user": func(l *roam.Location) {
				w.on("north", func(s *Server) { l.Sig = s.signLocation("1002@north.example", l) })
			},
			"a ticket instead": func(l *roam.Location) {
				w.on("north", func(s *Server) { l.Sig = s.sign(ticketKind, roam.Ticket{User: alice}).Proof })
			},
		} {
			forged := at
			change(&forged)
			for id := range w.offices {
				if w.trusts(id, forged) {
					t.Errorf("%s, asked by %s: believed", name, id)
				}
			}
		}
		if w.trusts("north", places["south"]) {
			t.Error("home believes in a place that is over")
		}
	})
}

// TestSignedKeys: a key that was seen once vouches while its office is dead, over a restart; a new key is learnt from its
// office itself; and only who has a domain, by our configuration, signs for its users.
func TestSignedKeys(t *testing.T) {
	inWorld(t, func(w *world) {
		w.phone().carry("south").want(200)
		w.agree("south")
		w.r.mu.Lock()
		at := w.r.at[alice]
		w.r.mu.Unlock()
		if !w.trusts("west", at) {
			t.Fatal("west does not believe it")
		}
		settle(time.Second)
		w.offices["west"].restart()
		settle(time.Second)
		w.mu.Lock()
		w.cut["north"] = true
		w.mu.Unlock()
		if !w.trusts("west", at) {
			t.Error("with home dead, after a restart: not believed")
		}
		w.mu.Lock()
		w.cut["north"] = false
		w.mu.Unlock()
		w.on("north", func(s *Server) {
			s.signer = seal.NewSigner(make([]byte, seedBytes))
			s.configure(s.cfg)
			at.Sig = s.signLocation(alice, &at)
		})
		if !w.trusts("west", at) {
			t.Error("home has a new key: not believed")
		}
		w.agreement("west", "south", func(p *roam.Partner) { p.Domains = []string{"north.example"} })
		if w.trusts("west", at) {
			t.Error("north's word believed about a domain that is south's by configuration")
		}
		w.agreement("west", "north", func(p *roam.Partner) { p.Domains = []string{"north.example"} })
		if !w.trusts("west", at) { // both: then the store says whose the user is
			t.Error("a shared domain: not believed")
		}
	})
}
