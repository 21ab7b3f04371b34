package registrar

import (
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/digest"
)

// subscriber is one of our own users.
type subscriber struct {
	account // but for its Logins
	logins  []login
	home    control.Home
	nonces  digest.Windows
	turn    turn

	removed bool          // the account is gone; what remains is to tell others
	at      roam.OfficeID // where R was told last

	elsewhere roam.Location // what R held, when that was newer than what our file says; see Ahead
	flows     []roam.Flow   // as indexed in Server.flows
	behind    []roam.Target // fronts, as indexBehind gave them
	counts    [2]int64      // bindings here, devices away, as counted in Server.bound
}

// newSubscriber makes a subscriber without registrations.
func (s *Server) newSubscriber(id roam.UserID, a account) *subscriber {
	u := &subscriber{}
	u.home = control.Home{User: id, Office: s.office}
	s.use(u, a)
	return u
}

// use takes a as u's account.
func (s *Server) use(u *subscriber, a account) {
	u.account, u.logins = a, logins(u.home.User, a.Logins, a.Phones)
	u.account.Logins, u.account.Phones = nil, nil
	u.home.Profile = s.profile(&a)
}

// document is what is kept of u's account.
func (u *subscriber) document() account {
	a := u.account
	a.Logins, a.Phones = texts(u.logins, false), texts(u.logins, true)
	return a
}

// profile is what travels with the user.
func (s *Server) profile(a *account) *roam.Profile {
	p := &roam.Profile{Version: docVersion, Rev: uint64(s.loop.Now().UnixMicro()), Name: a.Name, Number: a.Number, Short: a.Short, Class: a.Class, Dial: s.cfg.Numbers, Calls: a.Calls}
	p.Bar, p.Allow, p.Forward = a.Bar, a.Allow, a.Forward
	p.Device, p.Declared = s.demands(a)
	return p
}

// enter makes u known under all its names.
func (s *Server) enter(u *subscriber) {
	s.users[u.home.User] = u
	s.onChanged(u.home.User)
	for _, id := range s.identities(u) {
		if id.Name != string(u.home.User) {
			s.names[id.Name] = u
		}
	}
}

// named is who is called name, nil for nobody: an alias, number or extension, or the canonical name.
func (s *Server) named(name string) *subscriber {
	if u := s.names[name]; u != nil {
		return u
	}
	if u := s.users[roam.UserID(name)]; u != nil && !u.removed {
		return u
	}
	return nil
}

// leave forgets u's names.
func (s *Server) leave(u *subscriber) {
	s.onChanged(u.home.User)
	for _, id := range s.identities(u) {
		if s.names[id.Name] == u {
			delete(s.names, id.Name)
		}
	}
}

// identities is what R should know u by: canonical, aliases, number and extension.
func (s *Server) identities(u *subscriber) []roam.Identity {
	names := append([]string{string(u.home.User)}, u.Aliases...)
	for _, n := range []string{u.Number, u.Short} {
		if n != "" {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	ids := make([]roam.Identity, 0, len(names))
	for _, n := range slices.Compact(names) {
		ids = append(ids, roam.Identity{Name: n, User: u.home.User, Home: s.cfg.Card.Office})
	}
	return ids
}

// domain is our SIP domain and digest realm.
func (s *Server) domain() string { return s.cfg.Names[0] }

// ours says that host means this office: a name of ours, or the address f came to.
func (s *Server) ours(host string, f *sip.Flow) bool {
	if host == s.domain() || s.hosts[host] {
		return true
	}
	if f == nil {
		return false
	}
	here := f.Here
	if i := strings.LastIndexByte(here, ':'); i > strings.LastIndexByte(here, ']') {
		here = here[:i]
	}
	return host == here || host == f.Local.Addr().Unmap().String()
}

// ownName says that host is our domain or an alias of it, not an address.
func (s *Server) ownName(host string) bool {
	return s.hosts[host] && (strings.IndexFunc(host, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }) >= 0 && host[0] != '[')
}

// find is our subscriber that u names, nil when it is none of ours.
func (s *Server) find(u sip.URI, f *sip.Flow) *subscriber {
	u.Host = strings.TrimSuffix(u.Host, ".")
	if u.Scheme == "tel" || u.User != "" && s.ours(u.Host, f) {
		if found := s.named(u.User); found != nil {
			return found
		}
		u.Scheme, u.Host = "sip", s.domain()
	}
	var room [128]byte
	full := append(append(append(room[:0], u.User...), '@'), u.Host...)
	if found := s.named(borrow(full)); found != nil {
		return found
	}
	aor, err := u.AOR() // with escapes, or a number with dashes
	if err != nil {
		return nil
	}
	if found := s.named(string(aor)); found != nil || u.Host != s.domain() {
		return found
	}
	return s.named(aor.User())
}

// turn is what both cores need around them: a change at a time, a wake-up call, and drift to be written.
type turn struct {
	queue []func() // at most mostQueued: later ones get 503
	wake  loop.Timer
	at    time.Time // of wake
	due   func()    // what it calls
	drift bool
}

const (
	mostQueued = 4
	driftAfter = 500 * time.Millisecond
)

// wait queues fn for when the change under way has ended; ok is false when too many wait.
func (t *turn) wait(fn func()) (ok bool) {
	if len(t.queue) >= mostQueued {
		return false
	}
	t.queue = append(t.queue, fn)
	return true
}

// next runs what waits, while nothing is under way.
func (t *turn) next(busy func() bool) {
	for len(t.queue) > 0 && !busy() {
		fn := t.queue[0]
		t.queue = slices.Delete(t.queue, 0, 1)
		fn()
	}
}

// wakeAt has due called at at; an earlier call stands.
func (t *turn) wakeAt(l *loop.Loop, at time.Time, due func()) {
	if t.wake.IsSet() && !at.Before(t.at) {
		return
	}
	t.at, t.due = at, due
	l.Set(&t.wake, max(at.Sub(l.Now()), time.Millisecond), t)
}

// Alarm is loop.Alarm's.
func (t *turn) Alarm(*loop.Timer) { t.due() }
