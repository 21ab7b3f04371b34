package control

import (
	"net/netip"
	"slices"
	"time"

	"github.com/siproam/siproam/roam"
)

// Visit is the visited registrar's state of one device of one visitor (h-k).
type Visit struct {
	User   roam.UserID
	Device roam.Device
	Office *Office
	Stay   // as the disk has it, but for drift and refreshes
	now    *visiting
	said   roam.Epoch // R was seen to hold Location; see told
	unsure *unsure    // see Confirm
	doubt  time.Time  // until then home's word may be older than a registration message of which no answer came

	former *roam.Location // of a foreign home's: who is told once R has drawn the epoch
	left   string         // and the Contact it had at home
}

// Stay is what is saved of a visit: one row a device, one versioned JSON value.
type Stay struct {
	Version  int           `json:"v"`
	Home     roam.Card     `json:"home"`
	Ticket   roam.Ticket   `json:"ticket"`
	Proof    string        `json:"proof,omitempty"` // Ticket as home signed it
	Profile  *roam.Profile `json:"profile,omitempty"`
	Contacts []Contact     `json:"contacts,omitempty"`
	Location roam.Location `json:"location"` // of the user, as home recorded it last
	Gone     *Gone         `json:"gone,omitempty"`
	Owes     *Unrecorded   `json:"owes,omitempty"`
	Rest     *Rest         `json:"rest,omitempty"`
}

// Gone is a tombstone: the device went elsewhere (250, 480).
type Gone struct {
	Epoch    roam.Epoch    `json:"epoch"` // of the device's move: older tickets are old
	Location roam.Location `json:"location"`
	Until    time.Time     `json:"until"`
	Net      netip.Prefix  `json:"net,omitzero"` // the subnet it was in
}

// PluggedIn says that somebody has plugged the device in, at that time, since it went elsewhere; at is zero when nobody has.
func (v *Visit) PluggedIn(at time.Time) bool {
	return !at.IsZero() && (v.Gone == nil || at.After(v.Gone.Until.Add(-v.Office.keep())))
}

// Carried says that f comes from another subnet than the device that went elsewhere was in: somebody has carried it since.
func (s *Stay) Carried(f roam.Flow) bool {
	return s.Gone != nil && s.Gone.Net.IsValid() && s.Gone.Net != subnet(f)
}

type visiting struct {
	stage stage
	legal Legal
	to    Stay
	d     degree
	what  purpose
	tx    uint64

	recorded bool // allocating: home has it already

	was     *Stay        // publishing: what the disk had before; nil: nothing was written
	refused roam.Refusal // R did not acknowledge it
}

// purpose is what a change of a visit is for.
type purpose uint8

const (
	begin  purpose = iota // or renew
	leave                 // the phone said so, or has expired
	obey                  // a supersede
	drop                  // home does not record it
	forget                // home knows now that it is over
	learn                 // a new profile
)

// Busy says that a change is under way: only its answers and Due may come in now.
func (v *Visit) Busy() bool { return v.now != nil }

// Serving says that the device is a visitor here now.
func (s *Stay) Serving() bool { return s.Gone == nil && len(s.Contacts) > 0 }

// Known is the epoch of the newest location that we know of the user: as home recorded it or, while home does not
// answer, of the ticket, which is news to everybody. An epoch of R's that is not below it is home's word.
func (s *Stay) Known() roam.Epoch {
	if s.Owes != nil {
		return max(s.Location.Epoch, s.Ticket.Epoch)
	}
	return s.Location.Epoch
}

// Empty says that there is nothing to keep.
func (s *Stay) Empty() bool {
	return s.Gone == nil && len(s.Contacts) == 0 && s.Owes == nil && s.Rest == nil
}

// Restore gives every binding one more interval, after a restart (DESIGN 8).
func (v *Visit) Restore(now time.Time, out []Action) []Action {
	v.Ticket.Proof = v.Proof
	for i := range v.Contacts {
		v.Contacts[i].Until = now.Add(v.Contacts[i].Grant)
	}
	if v.Owes != nil {
		v.Owes.Next = now.Add(v.spread(soon, v.Owes.Tries) - soon/2)
	}
	return v.wake(out)
}

// Step takes one event and appends what is to be done to out.
func (v Visit) Step(now time.Time, ev Event, out []Action) (Visit, []Action) {
	switch ev := ev.(type) {
	case Legal: // h begins (160, 370)
		return v.legal(now, ev, out)
	case Renew: // g and h of a refresh (140, 160)
		return v.renew(now, ev, out)
	case Renewed: // g and i, answered (150, 170)
		return v.renewed(now, ev, out)
	case Allocated: // h
		switch {
		case v.now == nil || v.now.stage != allocating:
			return v, out
		case ev.Why != roam.OK:
			return v.end(append(out, Answer{Tx: v.now.tx, Why: ev.Why}))
		case v.now.recorded:
			return v.save(*v.now, out)
		}
		return v.record(now, *v.now, out)
	case Recorded: // i, answered (170-180, 490)
		return v.recorded(now, ev, out)
	case Saved: // j follows (190, 500)
		if v.now != nil && v.now.stage == returning {
			return v.returned(now, ev.Err, out)
		}
		if v.now == nil || v.now.stage != saving {
			return v, out
		}
		return v.saved(now, ev.Err, out)
	case Reported:
		return v.reported(now, ev, out)
	case Superseded: // f (250-260, 480)
		return v.superseded(now, ev, out)
	case Carded: // M11
		if v.Busy() || !v.Serving() || v.Home.Office != ev.Card.Office {
			return v, out // what is under way brings its own
		}
		v.Home = ev.Card
		return v, append(out, Drift{})
	case Profiled: // M18
		return v.profiled(ev, out)
	case Confirm:
		return v.confirm(now, out)
	case Offline: // M12
		if !v.Serving() {
			return v, append(out, Answer{Tx: ev.Tx})
		}
		to := v.Stay
		if to.Contacts = ev.leaves(v.Contacts); len(to.Contacts) > 0 {
			v.Contacts = to.Contacts
			return v, v.wake(append(out, Drift{}, Answer{Tx: ev.Tx}))
		}
		return v.leave(now, visiting{to: to, tx: ev.Tx}, out)
	case Due:
		return v.due(now, out)
	}
	return v, out
}

// legal begins, renews or, with nothing left bound, ends the visit.
func (v Visit) legal(now time.Time, l Legal, out []Action) (Visit, []Action) {
	if l.Card.Foreign { // it draws no epochs: who was found legal last is the newest
		l.Ticket.Epoch = v.Ticket.Epoch
	} else if v.Gone != nil && v.Gone.Epoch > l.Ticket.Epoch {
		return v, append(out, Answer{Tx: l.Tx, Why: roam.Moved})
	}
	if v.Repeats(now, &l.Register) {
		return v, append(out, Answer{Tx: l.Tx, Location: v.Location})
	}
	if v.Serving() && v.Ticket.Epoch > l.Ticket.Epoch { // two requests of one phone crossed; their CSeq decides
		l.Ticket = v.Ticket
	}
	old := v.Contacts
	if l.Star {
		l.Contacts = nil
		for _, c := range old {
			c.Grant = 0
			l.Contacts = append(l.Contacts, c)
		}
	}
	cs, d, why := v.Office.bind(now, old, &l.Register)
	if why == roam.OK && len(cs) > max(v.Office.contacts(), len(old)) {
		why = roam.TooMany
	}
	if why != roam.OK {
		return v, append(out, Answer{Tx: l.Tx, Why: why})
	}
	to := Stay{Home: l.Card, Ticket: l.Ticket, Proof: l.Ticket.Proof, Profile: l.Profile, Contacts: cs, Location: v.Location}
	refreshes := v.Serving() && d < move && v.Ticket.Epoch == l.Ticket.Epoch
	if l.Silent {
		return v.unasked(now, visiting{legal: l, to: v.Stay, d: d, tx: l.Tx}, cs, refreshes, out)
	}
	c := visiting{stage: allocating, legal: l, to: to, d: d, tx: l.Tx}
	switch {
	case l.Away && v.Office.Strict && !(refreshes && v.told()):
		return v, append(out, Answer{Tx: l.Tx, Why: roam.StoreAway})
	case len(cs) == 0 && len(old) == 0:
		return v, append(out, Answer{Tx: l.Tx, Location: v.Location})
	case len(cs) == 0:
		return v.leave(now, c, out)
	case refreshes:
		if v.Owes != nil {
			c.d = move // once home records it, it is news
		}
		return v.record(now, c, out)
	}
	c.d = move
	v.now = &c
	return v, append(out, Allocate{to.line(&v)})
}

// Repeats says that r has been obeyed before and changes nothing: its answer got lost. It came by the flow that is
// bound, so there is nothing in the answer that its sender does not have.
func (v *Visit) Repeats(now time.Time, r *Register) bool {
	adds := slices.ContainsFunc(r.Contacts, func(c Contact) bool { return c.Grant > 0 })
	return v.now == nil && adds && v.told() && v.Office.repeats(now, v.Contacts, r)
}

// Targets is where the device is reached.
func (s *Stay) Targets() []roam.Target {
	ts := make([]roam.Target, len(s.Contacts))
	for i := range s.Contacts {
		ts[i] = s.Contacts[i].Target
	}
	return ts
}

// unasked is a REGISTER about which home could not be asked, from the phone that is here: by policy it stays a while, with what it has.
// Nobody else is told: that would be the visited office's word alone.
func (v Visit) unasked(now time.Time, c visiting, cs []Contact, refreshes bool, out []Action) (Visit, []Action) {
	c.to.Contacts = cs
	c.stage = recording
	switch {
	case len(cs) == 0 && v.Serving():
		c.what = leave
	case !refreshes || !v.told():
		return v, append(out, Answer{Tx: c.tx, Why: roam.HomeSilent})
	}
	v.now = &c
	return v.recorded(now, Recorded{Why: roam.HomeSilent}, out)
}

// record sends the registration message (160).
func (v Visit) record(now time.Time, c visiting, out []Action) (Visit, []Action) {
	if c.to.Home.Foreign {
		return v.mirrored(now, c, out)
	}
	c.stage = recording
	v.now = &c
	return v, append(out, c.to.message(now))
}

// leave ends the visit: home is told, unless the office keeps such things to itself (M13).
func (v Visit) leave(now time.Time, c visiting, out []Action) (Visit, []Action) {
	c.what = leave
	if v.Office.Quiet && !c.to.Home.Foreign {
		if c.to.Owes, c.to.Rest = nil, nil; v.Owes == nil && latest(v.Contacts).After(now) {
			c.to.Rest = &Rest{latest(v.Contacts)}
		}
		return v.save(c, out)
	}
	return v.record(now, c, out)
}

// message is the registration message for s: it lasts as long as the last of its bindings.
func (s *Stay) message(now time.Time) Record {
	m := Record{At: s.Home.Registrar, Ticket: s.Ticket}
	if len(s.Contacts) > 0 {
		last := &s.Contacts[len(s.Contacts)-1]
		m.Grant, m.CallID, m.Edge, m.Can = latest(s.Contacts).Sub(now), last.CallID, last.Target.Flow.Edge, last.Can
	}
	return m
}

// recorded is home's answer to the registration message, or its silence.
func (v Visit) recorded(now time.Time, ev Recorded, out []Action) (Visit, []Action) {
	if ev.Confirms {
		return v.confirmed(now, ev, out)
	}
	if v.now == nil || v.now.stage != recording {
		return v.settled(now, ev, out)
	}
	c := *v.now
	if ev.Why == roam.OK {
		v.doubt = time.Time{}
	}
	switch {
	case c.what == leave && v.Office.Strict && c.tx != 0 && busy(ev.Why): // nobody has heard it, as far as we know
		v.now = nil
		if v.Owes == nil { // though it may hear it yet, or once more
			v.Owes, out = v.doubtful(now), append(out, Drift{})
		}
		return v, v.wake(append(out, Answer{Tx: c.tx, Why: ev.Why}))
	case c.what == leave:
		if c.to.Location, c.to.Owes = ev.Location, nil; busy(ev.Why) {
			c.to.Owes = v.over(now, time.Time{})
		}
		return v.save(c, out)
	case ev.Why == roam.OK:
		c.to.Location, c.to.Owes = ev.Location, nil
		c.to.cut(now, ev.Grant)
		if ev.Held {
			v.said = ev.Location.Epoch
		}
	case ev.Why == roam.HomeSilent && !c.legal.Silence.Refuse && (!v.Office.Strict || c.legal.Silent): // the ticket proves the visit (DESIGN 10)
		c.to.Owes = v.provisional(now, &c)
		c.to.cut(now, or(c.legal.Silence.Grant, 90*time.Second))
		c.d = move
	default:
		return v.refused(now, c, ev.Why, out)
	}
	return v.kept(now, c, out)
}

// kept ends what home knows, or is owed: on the disk when it is news, else in memory.
func (v Visit) kept(now time.Time, c visiting, out []Action) (Visit, []Action) {
	if c.d == move {
		return v.save(c, out)
	}
	v.Stay, v.now = c.to, nil
	if c.d == drift {
		out = append(out, Drift{})
	}
	if !v.told() {
		return v.publish(c, nil, "repaired", out)
	}
	if v.unplaced() {
		out = append(out, Report{v.Location, "repaired"})
	}
	return v, v.wake(append(out, Answer{Tx: c.tx, Location: v.Location}))
}

// busy says that home could not do it now, and nothing is wrong with what it was asked.
func busy(why roam.Refusal) bool {
	return why == roam.HomeSilent || why == roam.TooBusy || why == roam.NoCapacity || why == roam.StoreAway
}

// cut shortens every binding to what home grants.
func (s *Stay) cut(now time.Time, grant time.Duration) {
	s.Contacts = slices.Clone(s.Contacts)
	for i := range s.Contacts {
		if c := &s.Contacts[i]; grant > 0 && c.Grant > grant {
			c.Grant = grant
			c.Until = now.Add(grant)
		}
	}
}

// refused ends a visit that home does not record.
func (v Visit) refused(now time.Time, c visiting, why roam.Refusal, out []Action) (Visit, []Action) {
	if !v.Serving() {
		out = append(out, Release{User: v.User, Device: v.Device}, Answer{Tx: c.tx, Why: why})
		if why != roam.HomeSilent {
			return v.end(out)
		}
		c.what, c.tx, c.to = forget, 0, v.takeBack(now, c.to) // it may have recorded us all the same
		return v.save(c, out)
	}
	if busy(why) { // nothing is wrong with the visit there is
		if why == roam.HomeSilent {
			v.doubt = now.Add(inFlight)
		}
		return v.end(append(out, Answer{Tx: c.tx, Why: why}))
	}
	c.what, c.to = drop, Stay{Gone: v.Gone}
	return v.save(c, append(out, Answer{Tx: c.tx, Why: why}))
}

// superseded drops the device, if the notice is newer than our ticket (260, 480). The
// acknowledgement names what it acknowledges: our epoch when that is newer.
func (v Visit) superseded(now time.Time, ev Superseded, out []Action) (Visit, []Action) {
	at := v.Ticket.Epoch
	if v.Gone != nil {
		at = max(at, v.Gone.Epoch)
	}
	if ev.Epoch <= at {
		return v, append(out, Answer{Tx: ev.Tx, Epoch: at})
	}
	if now.Before(v.doubt) { // home may have recorded us after it said so; if it has not, it says so again
		return v, append(out, Answer{Tx: ev.Tx, Why: roam.TooBusy})
	}
	gone := &Gone{Epoch: ev.Epoch, Location: ev.Location, Until: now.Add(v.Office.keep())}
	if len(v.Contacts) > 0 {
		gone.Net = subnet(v.Contacts[0].Target.Flow)
	} else if v.Gone != nil {
		gone.Net = v.Gone.Net
	}
	to := Stay{Home: v.Home, Ticket: v.Ticket, Location: ev.Location, Gone: gone}
	return v.save(visiting{what: obey, to: to, tx: ev.Tx}, out)
}

// profiled takes a changed profile, unless it is older than ours: two of home's notices may cross.
func (v Visit) profiled(ev Profiled, out []Action) (Visit, []Action) {
	switch {
	case !v.Serving():
		return v, append(out, Answer{Tx: ev.Tx, Why: roam.NoDialog})
	case v.Profile != nil && v.Profile.Rev >= ev.Profile.Rev:
		return v, append(out, Answer{Tx: ev.Tx})
	}
	to := v.Stay
	to.Profile = ev.Profile
	return v.save(visiting{what: learn, to: to, tx: ev.Tx}, out)
}
