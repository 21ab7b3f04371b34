package registrar

import (
	"context"
	"encoding/hex"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/digest"
	"github.com/siproam/siproam/store"
)

// sighting is where a provisioned phone has last shown its own login.
type sighting struct {
	user   roam.UserID
	office roam.OfficeID // "": here
	flow   roam.Flow     // here
	device roam.Device   // elsewhere
	at     time.Time
}

// Phone is a provisioned phone of ours as its registrations show it.
type Phone struct {
	User       roam.UserID   `json:"user"`
	Office     roam.OfficeID `json:"office"` // where it has last shown its login
	Addr       netip.Addr    `json:"addr"`   // its address there, when that is here
	At         time.Time     `json:"at"`
	Registered bool          `json:"registered"` // it has a binding
}

// SetPhones makes phones the provisioned phones of their users: a password for each login, of which HA1s are kept; what a
// user had before is revoked. all says that nobody else has one. Users that there are not are left out. Nothing is
// written for those who have them already. It waits for the disk.
func (s *Server) SetPhones(ctx context.Context, phones map[roam.UserID]map[string]string, all bool) error {
	done, err := s.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	want := make(map[roam.UserID]map[string][]string, len(phones))
	for user, passwords := range phones {
		want[user] = s.phoneLogins(passwords)
	}
	docs := map[roam.UserID]account{}
	if err := s.onLoop(ctx, func() error {
		for user, u := range s.users {
			now, asked := want[user]
			if had := texts(u.logins, true); (asked || all) && !maps.EqualFunc(had, now, slices.Equal[[]string]) {
				doc := u.document()
				doc.Phones = now
				docs[user] = doc
			}
		}
		return nil
	}); err != nil || len(docs) == 0 {
		return err
	}
	if err := s.commit(ctx, func(tx store.Tx) error { return putUsers(tx, docs) }); err != nil {
		return err
	}
	return s.onLoop(ctx, func() error {
		for user, doc := range docs {
			u := s.users[user]
			old := texts(u.logins, true)
			u.logins = logins(user, doc.Logins, doc.Phones)
			s.revoked(u, old)
		}
		return nil
	})
}

// phoneLogins is the HA1s of the passwords of phones, by login.
func (s *Server) phoneLogins(passwords map[string]string) map[string][]string {
	kept := map[string][]string{}
	for login, password := range passwords {
		h := digest.MakeHA1(login, s.domain(), password)
		kept[login] = []string{hex.EncodeToString(h[0]), hex.EncodeToString(h[1])}
	}
	return kept
}

// sighted notes that the phone of login has registered by f, or in the office that asks for it. Only logins of accounts
// come here, so there are no more sightings than those.
func (s *Server) sighted(f *sip.Flow, l *claim, login string) {
	is := sighting{user: l.user.home.User, office: roam.OfficeID(l.at.Visited), device: l.device, at: s.loop.Now()}
	if is.office == "" {
		is.flow, is.device = f.Flow, ""
	}
	s.phones[login] = is
}

// revoked ends what phones of u have registered whose login was among old and is no more what it was. One that is in
// another office ends with its next refresh, which home refuses.
func (s *Server) revoked(u *subscriber, old map[string][]string) {
	now := texts(u.logins, true)
	for login, was := range old {
		is, seen := s.phones[login]
		if !seen || slices.Equal(was, now[login]) {
			continue
		}
		delete(s.phones, login)
		if is.user == u.home.User && is.office == "" {
			s.offline(is.user, is.flow)
		}
	}
}

// forgetPhones forgets the sightings of an account that is gone.
func (s *Server) forgetPhones(user roam.UserID) {
	for login, is := range s.phones {
		if is.user == user {
			delete(s.phones, login)
		}
	}
}

// Phones is the provisioned phones that have registered since our start, by login.
func (s *Server) Phones(ctx context.Context) (all map[string]Phone, err error) {
	err = s.onLoop(ctx, func() error {
		all = make(map[string]Phone, len(s.phones))
		for login, is := range s.phones {
			all[login] = s.phone(is)
		}
		return nil
	})
	return all, err
}

func (s *Server) phone(is sighting) Phone {
	p := Phone{User: is.user, Office: is.office, At: is.at}
	if is.office == "" {
		t := s.flows[is.flow]
		p.Office, p.Addr, p.Registered = s.cfg.Card.Office, is.flow.Remote.Addr().Unmap(), t.has(is.user)
		return p
	}
	if u := s.users[is.user]; u != nil {
		p.Registered = slices.ContainsFunc(u.home.At, func(at control.Presence) bool { return at.Office == is.office && at.Device == is.device })
	}
	return p
}
