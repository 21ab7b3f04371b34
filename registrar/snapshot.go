package registrar

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Status is what `where` shows of one user: our subscriber or a visitor here.
type Status struct {
	User     User          `json:"user"`
	Visitor  bool          `json:"visitor"`
	Home     roam.OfficeID `json:"home"`
	Location roam.Location `json:"location"` // as home last recorded it; of a visitor, ours
	Devices  []DeviceAt    `json:"devices"`
}

// DeviceAt is one device of a user.
type DeviceAt struct {
	Device  roam.Device   `json:"device,omitempty"`
	Office  roam.OfficeID `json:"office"`
	Contact string        `json:"contact,omitempty"`
	Agent   string        `json:"agent,omitempty"`
	Flow    roam.Flow     `json:"flow"`
	Until   time.Time     `json:"until"`
	Suspect bool          `json:"suspect,omitempty"`
	Spot    *roam.Spot    `json:"spot,omitempty"` // where it stands, as DHCP says
}

// Users lists accounts after one, in order.
func (s *Server) Users(ctx context.Context, after roam.UserID, max int) ([]User, error) {
	users := []User{}
	err := s.loop.Do(ctx, func() {
		for _, id := range s.after(after, max) {
			users = append(users, s.users[id].shown())
		}
	})
	return users, err
}

// shown is u as people see it.
func (u *subscriber) shown() User {
	shown := u.settings()
	shown.ID, shown.Number, shown.Short, shown.Aliases = u.home.User, u.Number, u.Short, slices.Clone(u.Aliases)
	shown.Disabled, shown.Algorithms = u.Disabled, slices.Clone(u.Algorithms)
	return shown
}

// Where is the state of one user; name is a UserID, number, alias or extension. roam.NoSuchUser when
// it is nobody's here.
func (s *Server) Where(ctx context.Context, name string) (st Status, err error) {
	err = s.onLoop(ctx, func() error {
		id, found := s.Resolve(sip.AOR(name))
		if !found && !strings.Contains(name, "@") {
			id, found = s.Resolve(sip.AOR(name + "@" + s.domain()))
		}
		if !found {
			return roam.NoSuchUser
		}
		st = s.status(id)
		return nil
	})
	return st, err
}

// List is the state of everybody registered here or ours and elsewhere, after a user, in order.
func (s *Server) List(ctx context.Context, after roam.UserID, max int) ([]Status, error) {
	all := []Status{}
	err := s.loop.Do(ctx, func() {
		var ids []roam.UserID
		for _, id := range s.after(after, len(s.users)) {
			if len(s.users[id].home.At) > 0 {
				ids = append(ids, id)
			}
			if len(ids) == max {
				break
			}
		}
		for id := range s.visitors {
			if id > after && s.here(id) {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		for _, id := range ids[:min(max, len(ids))] {
			all = append(all, s.status(id))
		}
	})
	return all, err
}

// status is what is known of a user that is ours or has been here.
func (s *Server) status(id roam.UserID) Status {
	if u := s.users[id]; u != nil {
		st := Status{User: u.shown(), Home: s.cfg.Card.Office, Location: u.home.Location}
		for _, p := range u.home.At {
			st.Devices = s.devices(st.Devices, p.Device, p.Office, p.Contacts)
		}
		return st
	}
	st := Status{User: User{ID: id}, Visitor: true}
	for _, v := range s.visitors[id] {
		if p := v.visit.Profile; p != nil {
			st.User.Name, st.User.Number, st.User.Short, st.User.Calls, st.User.Class = p.Name, p.Number, p.Short, p.Calls, p.Class
		}
		if st.Home == "" || v.visit.Serving() {
			st.Home, st.Location = v.visit.Home.Office, v.visit.Location
		}
		st.Devices = s.devices(st.Devices, v.visit.Device, s.cfg.Card.Office, v.visit.Contacts)
	}
	return st
}

func (s *Server) devices(all []DeviceAt, d roam.Device, o roam.OfficeID, cs []control.Contact) []DeviceAt {
	for _, c := range cs {
		all = append(all, DeviceAt{Device: d, Office: o, Contact: c.Target.URI, Agent: c.Target.Agent, Flow: c.Target.Flow, Until: c.Until, Suspect: s.ended[c.Target.Flow], Spot: c.Target.Spot})
	}
	return all
}
