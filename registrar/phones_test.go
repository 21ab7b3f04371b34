package registrar

import (
	"context"
	"testing"

	"github.com/siproam/siproam/roam"
)

const phoneLogin = "phone-001565a1b2c3"

// give makes passwords those of alice's phones.
func (w *world) give(passwords map[string]string) {
	w.t.Helper()
	if err := w.offices["north"].reg.SetPhones(context.Background(), map[roam.UserID]map[string]string{alice: passwords}, false); err != nil {
		w.t.Fatal(err)
	}
}

// seen is what north knows of the phone.
func (w *world) seen() (Phone, bool) {
	w.t.Helper()
	all, err := w.offices["north"].reg.Phones(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	p, found := all[phoneLogin]
	return p, found
}

// TestPhoneLogin: a provisioned phone registers under a login of its own, at home and in other offices; a new password of
// its user leaves it as it is, a restart keeps it, and revoking it ends it.
func TestPhoneLogin(t *testing.T) {
	for _, at := range []roam.OfficeID{"north", "south"} {
		t.Run(string(at), func(t *testing.T) {
			inWorld(t, func(w *world) {
				p := w.phone().carry(at)
				p.login, p.password = phoneLogin, "derived"
				p.want(401) // nobody's yet
				w.give(map[string]string{phoneLogin: "derived"})
				p.nonce = ""
				p.want(200)
				w.agree(at)
				if is, found := w.seen(); !found || is.User != alice || is.Office != at || !is.Registered || is.Addr.IsValid() != (at == "north") {
					t.Errorf("got %+v, %v; want it registered at %s", is, found, at)
				}
				secret := "another"
				if err := w.offices["north"].reg.Change(context.Background(), alice, Change{Password: &secret}); err != nil {
					t.Fatal(err)
				}
				w.offices["north"].restart()
				p.nonce = ""
				p.want(200)
				user := w.phone()
				user.device, user.password, user.port = "urn:uuid:b", secret, 40100
				user.want(200)

				w.give(map[string]string{phoneLogin: "of the next generation"})
				p.nonce = ""
				p.want(401)
				if is, found := w.seen(); found {
					t.Errorf("got %+v, want it forgotten", is)
				}
				if at == "north" {
					w.on("north", func(s *Server) {
						if _, lives := s.flows[p.flow().Flow]; lives || len(s.flows) != 1 {
							t.Errorf("got %d flows, want that of the other phone alone", len(s.flows))
						}
					})
				}
				p.password, p.nonce = "of the next generation", ""
				p.want(200)
				w.give(map[string]string{})
				p.nonce = ""
				p.want(401)
				user.nonce = ""
				user.want(200)
			})
		})
	}
}

// TestPhonesOfAll: what is told of all is what there is, and it is written once; of users that there are not nothing is kept.
func TestPhonesOfAll(t *testing.T) {
	inWorld(t, func(w *world) {
		ctx, reg := context.Background(), w.offices["north"].reg
		all := map[roam.UserID]map[string]string{alice: {phoneLogin: "derived"}, "1999@north.example": {"phone-000000000001": "x"}}
		w.give(map[string]string{"phone-000000000002": "old"})
		for range 2 {
			if err := reg.SetPhones(ctx, all, true); err != nil {
				t.Fatal(err)
			}
		}
		w.on("north", func(s *Server) {
			if u := s.users[alice]; u.login(phoneLogin) == nil || u.login("phone-000000000002") != nil || len(s.users) != 2 {
				t.Errorf("got %v", texts(u.logins, true))
			}
		})
		p := w.phone().carry("north")
		p.login, p.password = phoneLogin, "derived"
		p.want(200)
		if err := reg.SetPhones(ctx, nil, true); err != nil {
			t.Fatal(err)
		}
		p.nonce = ""
		p.want(401)
		w.give(map[string]string{phoneLogin: "derived"})
		p.nonce = ""
		p.want(200)
		if err := reg.Remove(ctx, alice); err != nil {
			t.Fatal(err)
		}
		if is, found := w.seen(); found {
			t.Errorf("got %+v of an account that is gone", is)
		}
	})
}
