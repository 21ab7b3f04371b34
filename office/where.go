package office

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/registrar"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Whereabouts is what `where` shows of one user.
type Whereabouts struct {
	User    roam.UserID   `json:"user"`
	Name    string        `json:"name,omitempty"`
	Number  string        `json:"number,omitempty"`
	Aliases []string      `json:"aliases,omitempty"`
	Home    roam.OfficeID `json:"home"`
	Foreign bool          `json:"foreign,omitempty"` // home is no siproam, and alone knows the phones that are at none of our offices
	At      roam.OfficeID `json:"at,omitempty"`      // "": offline
	Suspect bool          `json:"suspect,omitempty"`
	Since   time.Time     `json:"since,omitzero"`
	Move    uint64        `json:"move,omitempty"`
	From    roam.OfficeID `json:"from,omitempty"` // where the user was before
	Phones  []PhoneAt     `json:"phones,omitempty"`
	Switch  string        `json:"served_by,omitempty"`
	Source  string        `json:"source"` // "routing store", "routing store (stale)", "home's record"
	Zone    string        `json:"zone"`   // timezone of the office that answered
}

// PhoneAt is one phone of a user.
type PhoneAt struct {
	Office    roam.OfficeID `json:"office"`
	Device    roam.Device   `json:"device,omitempty"`
	Agent     string        `json:"agent,omitempty"`
	Contact   string        `json:"contact,omitempty"`
	Addr      string        `json:"addr,omitempty"`
	Transport string        `json:"transport,omitempty"`
	Until     time.Time     `json:"until,omitzero"`
	Suspect   bool          `json:"suspect,omitempty"`
	Spot      *roam.Spot    `json:"spot,omitempty"` // where it stands, as the office's DHCP server says
}

// Online says that calls reach the user.
func (w *Whereabouts) Online() bool { return w.At != "" }

// Where says where a user is: name is a UserID, number, alias or extension. What the routing store
// says comes first; our own record stands in while it is away. roam.NoSuchUser: nobody by that name.
func (o *Office) Where(ctx context.Context, name string) (Whereabouts, error) {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "sip:"), "tel:")
	w := Whereabouts{Zone: o.zone()}
	reg, err := o.registrar()
	if err != nil {
		return w, err
	}
	st, err := reg.Where(ctx, name)
	switch {
	case err == nil:
		w.take(st, o.Config().Office)
	case errors.Is(err, roam.NoSuchUser):
		if w.User, w.Home, err = o.identify(ctx, name); err != nil {
			if w.User, w.Home = o.abroad(name); w.Home == "" {
				return w, err
			}
		}
	default:
		return w, err
	}
	if loc, err := o.locate(ctx, w.User, true); err == nil {
		w.located(loc)
	}
	w.before(ctx, o)
	_, home := o.abroad(string(w.User))
	w.Foreign = home == w.Home && home != ""
	return w, nil
}

// abroad takes name for that of a user of a foreign home, by its domain; home is "" when it has none.
func (o *Office) abroad(name string) (user roam.UserID, home roam.OfficeID) {
	aor := sip.AOR(name)
	if u, err := sip.ParseURI([]byte("sip:" + name)); err != nil || u.User == "" {
		return "", ""
	}
	cfg := o.Config()
	for _, p := range cfg.foreign() {
		if p.Foreign.Domain != "" && strings.EqualFold(p.Foreign.Domain, aor.Host()) {
			return roam.UserID(aor), p.Office
		}
	}
	return "", ""
}

// identify asks R whose name is.
func (o *Office) identify(ctx context.Context, name string) (roam.UserID, roam.OfficeID, error) {
	type owner struct {
		user roam.UserID
		home roam.OfficeID
	}
	is, err := await(ctx, o.loop, func(done func(owner, error)) {
		o.routes.Identify(sip.AOR(name), func(u roam.UserID, h roam.OfficeID, err error) { done(owner{u, h}, err) })
	})
	return is.user, is.home, err
}

// take fills w from what our registrar knows.
func (w *Whereabouts) take(st registrar.Status, here roam.OfficeID) {
	w.User, w.Name, w.Number, w.Aliases, w.Home = st.User.ID, st.User.Name, st.User.Number, st.User.Aliases, st.Home
	w.At, w.Since, w.Move, w.Switch, w.Source = st.Location.Office, st.Location.Since, st.Location.Move, st.Location.Switch, "home's record"
	if st.Visitor {
		w.Source = "visited office's record"
	}
	for _, d := range st.Devices {
		w.Phones = append(w.Phones, phoneAt(d))
	}
}

func phoneAt(d registrar.DeviceAt) PhoneAt {
	p := PhoneAt{Office: d.Office, Device: d.Device, Agent: d.Agent, Contact: d.Contact, Until: d.Until, Suspect: d.Suspect, Spot: d.Spot}
	if d.Flow.Remote.IsValid() {
		p.Addr, p.Transport = d.Flow.Remote.String(), d.Flow.Transport.String()
	}
	return p
}

// located fills w from what R says, which everybody's calls follow.
func (w *Whereabouts) located(loc roam.Location) {
	w.At, w.Since, w.Move, w.Switch, w.Suspect, w.Source = loc.Office, loc.Since, loc.Move, loc.Switch, loc.Suspect, "routing store (fresh)"
	if loc.Stale {
		w.Source = "routing store (away; remembered)"
	}
}

// before fills in where the user came from.
func (w *Whereabouts) before(ctx context.Context, o *Office) {
	moves, err := o.routes.Moves(ctx, w.User, 2)
	if err == nil && len(moves) > 0 {
		w.From = moves[0].From
	}
}

// Where asks the offices of this process and puts together what they know: home knows the account,
// the office where the user is knows the phone. only, unless "", names the one office to ask.
func (h *House) Where(ctx context.Context, name, only string) (Whereabouts, error) {
	var best *Whereabouts
	err := error(roam.NoSuchUser)
	for _, o := range h.chosen(only) {
		w, why := o.Where(ctx, name)
		switch {
		case why != nil:
			if !errors.Is(why, roam.NoSuchUser) {
				err = why
			}
		case best == nil || string(w.Home) == o.Name():
			best = &w
		}
	}
	if best == nil {
		return Whereabouts{}, err
	}
	if at := h.office(string(best.At)); at != nil && at.reg != nil && only == "" {
		if st, err := at.reg.Where(ctx, string(best.User)); err == nil {
			best.phones(st.Devices, best.At)
		}
	}
	return *best, nil
}

// phones puts in what the office where the user is knows of the phones there.
func (w *Whereabouts) phones(there []registrar.DeviceAt, at roam.OfficeID) {
	w.Phones = slices.DeleteFunc(w.Phones, func(p PhoneAt) bool { return p.Office == at })
	for _, d := range there {
		if d.Office == at || d.Office == "" {
			w.Phones = append(w.Phones, phoneAt(d))
		}
	}
}

// Everybody lists the users of the offices of this process and their visitors from elsewhere, at most max an office.
func (h *House) Everybody(ctx context.Context, only string, max int) ([]Whereabouts, error) {
	var all []Whereabouts
	seen := map[roam.UserID]bool{}
	for _, visitors := range []bool{false, true} {
		for _, o := range h.chosen(only) {
			list, err := o.list(ctx, "", max)
			if err != nil {
				return nil, err
			}
			for _, st := range list {
				if st.Visitor != visitors || seen[st.User.ID] {
					continue
				}
				seen[st.User.ID] = true
				w := Whereabouts{Zone: o.zone()}
				w.take(st, o.Config().Office)
				if at := h.office(string(w.At)); at != nil && at != o && at.reg != nil {
					if there, err := at.reg.Where(ctx, string(w.User)); err == nil {
						w.phones(there.Devices, w.At)
					}
				}
				all = append(all, w)
			}
		}
	}
	return all, nil
}
