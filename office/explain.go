package office

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/siproam/siproam/registrar"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/routesrv"
	"github.com/siproam/siproam/softswitch"
	"github.com/siproam/siproam/softswitch/plan"
)

// movesShown is how many moves `explain` and `moves` give.
const movesShown = 50

// hopsForeseen is how many offices a foreseen call is followed through: the first, and two redirects.
const hopsForeseen = 4

// Standing, Stay and Check are what one registrar holds of a user.
type (
	Standing = registrar.Standing
	Stay     = registrar.StayAt
	Check    = registrar.Check
)

// Explanation is what `explain` says of one user: not only where, but why, and what would happen next.
type Explanation struct {
	Whereabouts
	AtHome *Standing       `json:"at_home,omitempty"`    // what home holds; nil: home does not run here
	There  *Standing       `json:"there,omitempty"`      // what the office where the user visits holds; nil: likewise
	Policy []string        `json:"policy,omitempty"`     // the agreements that bear on it
	Next   time.Time       `json:"next_expiry,omitzero"` // without a refresh a device is offline then
	Asking roam.OfficeID   `json:"asking"`               // the office of the caller in Call
	Call   []string        `json:"call"`                 // what a call would do now, step by step
	Moves  []routesrv.Move `json:"moves"`                // newest first
	Unread string          `json:"moves_unread,omitempty"`
}

// Explain says why a user is where he is, and follows a call for him through the offices of this process;
// from is the caller's office, "" for home.
func (h *House) Explain(ctx context.Context, name, from, only string) (e Explanation, err error) {
	if e.Whereabouts, err = h.Where(ctx, name, only); err != nil {
		return e, err
	}
	home, there := h.office(string(e.Home)), h.office(string(e.At))
	if home != nil {
		st, err := home.reg.Standing(ctx, e.User)
		if err != nil {
			return e, err
		}
		e.AtHome = &st
	}
	if there != nil && there != home {
		if st, err := there.reg.Standing(ctx, e.User); err == nil {
			e.There = &st
		}
	}
	e.Next = e.next()
	e.Policy = append(e.policy(there), e.demands(there)...)
	if e.Moves, err = h.Moves(ctx, e.User); err != nil {
		e.Unread = err.Error()
	}
	asking := home
	if from != "" {
		if asking = h.office(from); asking == nil {
			return e, usage(fmt.Sprintf("office %q does not run here: ask there what its callers would get", from))
		}
	}
	if asking == nil {
		asking = h.chosen(only)[0]
	}
	e.Asking = roam.OfficeID(asking.Name())
	e.Call, err = h.foresee(ctx, asking, e.User, e.Home)
	return e, err
}

// next is when the first of the user's devices expires.
func (e *Explanation) next() (first time.Time) {
	for _, st := range []*Standing{e.AtHome, e.There} {
		if st == nil {
			continue
		}
		for _, at := range st.Stays {
			if first.IsZero() || at.Until.Before(first) {
				first = at.Until
			}
		}
	}
	return first
}

// policy is the agreement between home and the office where the user is, as each side has it.
func (e *Explanation) policy(there *Office) (lines []string) {
	if e.At == e.Home || e.At == "" {
		return nil // at home no agreement is needed
	}
	if e.AtHome != nil {
		for _, at := range e.AtHome.Stays {
			if at.Office == e.At {
				lines = append(lines, fmt.Sprintf("agreement %s -> %s: %s", e.Home, e.At, at.Agreement))
				break
			}
		}
	}
	if there == nil || e.There == nil {
		return lines
	}
	for _, p := range there.Config().Partners {
		if p.Office != e.Home {
			continue
		}
		silent := there.Config().HomeSilent
		if p.HomeSilent != nil {
			silent = p.HomeSilent.Over(silent)
		}
		says := ""
		for _, at := range e.There.Stays {
			says = at.Agreement + "; "
		}
		lines = append(lines, fmt.Sprintf("agreement %s <- %s: %s%d of %d visitors; home silent: %s", e.At, e.Home, says, e.There.Here, p.Visitors.Max, silent.Policy))
	}
	return lines
}

// demands is what home and, of a visitor, the office where he is want of devices.
func (e *Explanation) demands(there *Office) (lines []string) {
	say := func(who string, d *roam.Demands) {
		if d == nil {
			return
		}
		for _, one := range []struct {
			words string
			list  []string
		}{{"devices over", d.Transports}, {"devices that have", d.Require}, {"no device that needs", d.Refuse}} {
			if len(one.list) > 0 {
				lines = append(lines, who+" takes "+one.words+" "+strings.Join(one.list, ", "))
			}
		}
	}
	for _, st := range []*Standing{e.AtHome, e.There} {
		if st != nil && st.Profile != nil {
			say(string(e.Home), st.Profile.Device)
			break
		}
	}
	if there != nil && e.At != e.Home {
		visitors := there.Config().Abilities.Visitors
		say(string(e.At), &visitors)
	}
	return lines
}

// Moves is the last moves of user as the routing store has them, newest first.
func (h *House) Moves(ctx context.Context, user roam.UserID) (moves []routesrv.Move, err error) {
	err = errors.New("no office runs here")
	for _, o := range h.Offices {
		if moves, err = o.routes.Moves(ctx, user, movesShown); err == nil {
			return moves, nil
		}
	}
	return nil, err
}

// foresee follows a call of a phone at o for user.
func (h *House) foresee(ctx context.Context, o *Office, user roam.UserID, home roam.OfficeID) (steps []string, err error) {
	say := func(f string, a ...any) { steps = append(steps, fmt.Sprintf(f, a...)) }
	from, epoch := roam.OfficeID(""), roam.Epoch(0)
	for range hopsForeseen {
		here := o.Name()
		if o.sw == nil {
			say("%s: its softswitches are other processes", here)
			return steps, nil
		}
		out, err := await(ctx, o.loop, func(done func(softswitch.Outlook, error)) {
			o.sw.Foresee(user, home, from, epoch, func(l softswitch.Outlook) { done(l, nil) })
		})
		if err != nil {
			return steps, err
		}
		if out.Store != nil {
			say("%s reads the routing store: %s", here, stored(out.Store))
		}
		if out.Dead != "" {
			say("%s does not ask %s, which gives no sign of life", here, out.Dead)
		}
		if out.Forward != "" {
			say("%s forwards the call (%s) to %s, by the profile", here, out.Why, out.Forward)
			return steps, nil
		}
		later := ""
		if out.After > 0 {
			later = fmt.Sprintf(" for %v, then forwards the call (%s) to %s", out.After, plan.NoAnswer, out.Later)
		}
		next := out.At
		switch out.Way {
		case plan.Ring:
			next = roam.Location{}
			for _, p := range out.Phones {
				if p.Office == "" {
					say("%s rings %s%s", here, ringing(&p), later)
				} else {
					next = roam.Location{Office: p.Office, Switch: p.URI}
				}
			}
			if next.Office != "" {
				if line, err := await(ctx, o.loop, func(done func(roam.Line, error)) { l, _ := o.reg.Line(user); done(l, nil) }); err == nil {
					next.Epoch = line.Epoch
				}
				say("%s sends INVITE to %s (%s)%s", here, next.Office, next.Switch, later)
			}
		case plan.Office:
			say("%s sends INVITE to %s (%s)%s%s", here, next.Office, next.Switch, later, word(next.Suspect, ": it gives no sign of life"))
		case plan.AskHome:
			if out.Foreign {
				say("%s sends INVITE to %s (%s), by way of home, which is no siproam and rings its own", here, next.Office, next.Switch)
				return steps, nil
			}
			if next.Switch == "" {
				say("%s answers 480: nobody knows where %s is", here, next.Office)
				return steps, nil
			}
			say("%s sends INVITE to %s (%s), by way of home, which may know more%s", here, next.Office, next.Switch, word(next.Suspect, ", but gives no sign of life"))
		case plan.Redirect:
			say("%s answers 302: %s at epoch %d", here, next.Office, next.Epoch)
			return steps, nil
		case plan.Offline:
			say("%s answers 480: offline", here)
		default:
			say("%s answers 404: nobody by that name", here)
		}
		if next.Office == "" {
			return steps, nil
		}
		from, epoch = roam.OfficeID(here), next.Epoch
		if o = h.office(string(next.Office)); o == nil {
			say("%s does not run in this process: ask there what it does", next.Office)
			return steps, nil
		}
	}
	return steps, nil
}

func stored(l *roam.Location) string {
	if l.Office == "" {
		return "nowhere"
	}
	s := fmt.Sprintf("%s, epoch %d", l.Office, l.Epoch)
	if l.Move > 0 {
		s = fmt.Sprintf("%s, move %d", l.Office, l.Move)
	}
	return s + word(l.Stale, ", remembered: the store is away") + word(l.Suspect, ", no sign of life from its softswitch")
}

func ringing(t *roam.Target) string {
	if t.Flow.Remote.IsValid() {
		return fmt.Sprintf("%s (%s)", t.Flow.Remote, strings.ToLower(t.Flow.Transport.String()))
	}
	return t.URI
}

func word(b bool, text string) string {
	if b {
		return text
	}
	return ""
}

// Released is what `release` ended.
type Released struct {
	User    roam.UserID   `json:"user"`
	Office  roam.OfficeID `json:"office"`
	Devices int           `json:"devices"`
}

// Release ends a user's registrations: everywhere when home runs here, else those at the offices of this process.
func (h *House) Release(ctx context.Context, name, only string) (all []Released, err error) {
	w, err := h.Where(ctx, name, only)
	if err != nil {
		return nil, err
	}
	offices := h.chosen(only)
	if home := h.office(string(w.Home)); home != nil && (only == "" || only == home.Name()) {
		offices = []*Office{home}
	}
	for _, o := range offices {
		n, err := o.reg.Release(ctx, w.User)
		switch {
		case err == nil:
			o.log.Warn().Str("event", "register.released").Str("user", string(w.User)).Int("devices", n).Msg("released by the operator")
			all = append(all, Released{w.User, roam.OfficeID(o.Name()), n})
		case !errors.Is(err, roam.NoSuchUser):
			return all, err
		}
	}
	return all, nil
}

// Keys is what checks the signatures of the offices whose registrar runs here.
func (h *House) Keys(ctx context.Context, only string) (keys []roam.OfficeKey, err error) {
	for _, o := range h.chosen(only) {
		if o.reg == nil {
			continue
		}
		k, err := o.reg.Key(ctx)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// Resync has the routing store compared with what the offices of this process hold of their users.
func (h *House) Resync(only string) map[string]string {
	said := map[string]string{}
	for _, o := range h.chosen(only) {
		o.routes.Resync()
		said[o.Name()] = "begun"
		if !o.routes.Up() {
			said[o.Name()] = "waits: the routing store is away"
		}
	}
	return said
}
