package registrar

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
)

// Standing is why the state of a user is what it is, for people: `explain`.
type Standing struct {
	Visitor bool          `json:"visitor"`
	Home    roam.OfficeID `json:"home"`
	Profile *roam.Profile `json:"profile,omitempty"`
	Cannot  []string      `json:"cannot,omitempty"` // of the profile: what this office does not do
	Stays   []StayAt      `json:"stays,omitempty"`
	Owed    []string      `json:"owed,omitempty"`  // registrars that have not heard yet that the user has left them
	Gone    *time.Time    `json:"gone,omitempty"`  // of a visitor who has left: how long that is remembered
	Rests   *time.Time    `json:"rests,omitempty"` // of one who is offline without home's having been told: until when home has him
	Ends    *time.Time    `json:"ends,omitempty"`  // of one who is none any more: until when home is told so again, for it did not answer
	Here    int           `json:"here,omitempty"`  // devices of the same home here
	Limit   int           `json:"limit,omitempty"` // of them, by agreement
}

// StayAt is one device at one office.
type StayAt struct {
	Device      roam.Device   `json:"device,omitempty"`
	Office      roam.OfficeID `json:"office"`
	Epoch       roam.Epoch    `json:"epoch"`
	Until       time.Time     `json:"until"`                // of the last of its bindings
	Agreement   string        `json:"agreement,omitempty"`  // what our side of the agreement says now of a device elsewhere, or of a visitor
	Ticket      time.Time     `json:"ticket,omitzero"`      // of a visitor: home's word is good until then
	Provisional time.Time     `json:"provisional,omitzero"` // home has checked but not recorded the visit (M9): until when we repeat it

	Check  *Check           `json:"check,omitempty"`  // of a device here: whose word made this legal
	Can    *roam.Abilities  `json:"can,omitempty"`    // of the device, as it said last
	Speaks *roam.Attributes `json:"speaks,omitempty"` // at home, of a device elsewhere: the office there
	Lacks  []string         `json:"lacks,omitempty"`  // and which services of the profile it does not perform
}

// Standing says why the state of user is what it is; roam.NoSuchUser for somebody who is neither
// our subscriber nor a visitor, now or lately. It waits.
func (s *Server) Standing(ctx context.Context, user roam.UserID) (a Standing, err error) {
	err = s.onLoop(ctx, func() error {
		switch u := s.users[user]; {
		case u != nil:
			a = s.stands(u)
		case len(s.visitors[user]) > 0:
			a = s.visitorStands(s.visitors[user])
		default:
			return roam.NoSuchUser
		}
		return nil
	})
	return a, err
}

func (s *Server) stands(u *subscriber) Standing {
	a := Standing{Home: s.cfg.Card.Office, Profile: u.home.Profile}
	for _, p := range u.home.At {
		a.Stays = append(a.Stays, StayAt{Device: p.Device, Office: p.Office, Epoch: p.Epoch, Until: lastUntil(p.Contacts), Agreement: s.agreement(u, p.Office), Can: canOf(p.Contacts)})
		if c, found := s.OfficeCard(p.Office); found && p.Office != s.cfg.Card.Office {
			last := &a.Stays[len(a.Stays)-1]
			last.Speaks, last.Lacks = c.Speaks, c.Speaks.Lacks(a.Profile)
		}
		if p.Office == s.cfg.Card.Office {
			a.Stays[len(a.Stays)-1].Check = &Check{By: p.Office, At: s.registeredSince(p.Contacts), Rev: a.Profile.Rev}
		}
	}
	for _, d := range u.home.Owed {
		a.Owed = append(a.Owed, d.To)
	}
	return a
}

func (s *Server) visitorStands(vs []*visitor) Standing {
	a := Standing{Visitor: true}
	for _, v := range vs {
		st := &v.visit.Stay
		if a.Home == "" || st.Serving() {
			a.Home, a.Profile = st.Home.Office, st.Profile
		}
		switch {
		case st.Serving():
			at := StayAt{Device: v.visit.Device, Office: s.cfg.Card.Office, Epoch: st.Ticket.Epoch, Until: lastUntil(st.Contacts), Ticket: st.Ticket.Until,
				Agreement: s.visitorAgreement(v), Check: s.check(v), Can: canOf(st.Contacts)}
			if st.Owes != nil {
				at.Provisional = st.Owes.Until
			}
			a.Stays = append(a.Stays, at)
		case st.Gone != nil:
			a.Gone = &st.Gone.Until
		case st.Rest != nil:
			a.Rests = &st.Rest.Until
		case st.Owes != nil:
			a.Ends = &st.Owes.Until
		}
	}
	a.Cannot = a.Profile.Cannot()
	a.Here = s.guests[a.Home]
	if p, found := s.partner(a.Home); found {
		a.Limit = p.Visitors.Max
	}
	return a
}

// agreement says whether u may roam at an office now; "" for our own.
func (s *Server) agreement(u *subscriber, at roam.OfficeID) string {
	if at == s.cfg.Card.Office {
		return ""
	}
	return s.mayRoam(u, at).String()
}

// visitorAgreement says whether v may be here now.
func (s *Server) visitorAgreement(v *visitor) string {
	return s.mayVisit(v.visit.Home.Office, v.user(), "", cmp.Or(v.visit.Profile, &roam.Profile{})).String()
}

// canOf is what the device of cs can do.
func canOf(cs []control.Contact) *roam.Abilities {
	for i := range cs {
		if cs[i].Can != nil {
			return cs[i].Can
		}
	}
	return nil
}

func lastUntil(cs []control.Contact) (last time.Time) {
	for _, c := range cs {
		if c.Until.After(last) {
			last = c.Until
		}
	}
	return last
}

// Release ends every registration of user that this office can end: at home of all devices, wherever
// they are; as the visited office of those here. A phone that still lives registers again with its next
// refresh. n is how many devices there were. roam.NoSuchUser as Standing says. It waits for the change
// to be saved.
func (s *Server) Release(ctx context.Context, user roam.UserID) (n int, err error) {
	ended := make(chan struct{})
	err = s.onLoop(ctx, func() error {
		switch u := s.users[user]; {
		case u != nil:
			if n = len(u.home.At); n == 0 {
				close(ended)
				return nil
			}
			if !s.change(u, func() control.Event { return control.Offline{All: true, Next: s.draw(), Why: "released"} }) {
				return roam.TooBusy
			}
			u.turn.queue = append(u.turn.queue, func() { close(ended) })
			u.turn.next(u.home.Busy)
			return nil
		case len(s.visitors[user]) == 0:
			return roam.NoSuchUser
		}
		n = s.releaseVisitor(user, func() { close(ended) })
		return nil
	})
	if err != nil {
		return 0, err
	}
	select {
	case <-ended:
		return n, nil
	case <-ctx.Done():
		return n, ctx.Err()
	}
}

// releaseVisitor ends user's visits here; ended is called when all have.
func (s *Server) releaseVisitor(user roam.UserID, ended func()) (n int) {
	left := 1
	one := func() {
		if left--; left == 0 {
			ended()
		}
	}
	for _, v := range slices.Clone(s.visitors[user]) {
		if !v.visit.Serving() || !s.changeVisit(v, func() control.Event { return control.Offline{Device: v.visit.Device} }) {
			continue
		}
		n, left = n+1, left+1
		v.turn.queue = append(v.turn.queue, one)
		v.turn.next(v.visit.Busy)
	}
	one()
	return n
}
