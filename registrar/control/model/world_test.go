package model

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
)

const (
	officesHere = 8
	usersHere   = 200
	sweepEvery  = 10 * time.Minute // as package routesrv does
)

// tester is what a world needs of *rapid.T and *testing.T.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// world is the offices, the users, R, what is on its way between them, and the time.
type world struct {
	t       tester
	now     time.Time
	offices [officesHere]*office
	users   []*user
	r       *redis
	agenda  agenda
	n       uint64 // orders what is due at the same time
	net
	disturbed time.Time // when the last fault was, or ended
	stats     stats
	onMove    func(roam.UserID, roam.OfficeID)
	trace     []line
}

// stats is what a history has come to, so that one can see that it is about something.
type stats struct{ answers, moves, refusals, calls, supersedes, crashes int }

// user is one person.
type user struct {
	id       roam.UserID
	home     int
	phones   []*phone
	password int // as the person knows it
	gone     bool
	said     map[roam.Epoch]roam.OfficeID // I1
	changes  int                          // grows with whatever the person does
}

// idle says that nothing has ever been done with the user.
func (u *user) idle() bool { return u.changes == 0 }

// on says that one of u's phones is plugged in at o.
func (u *user) on(o *office) bool {
	return slices.ContainsFunc(u.phones, func(p *phone) bool { return p.at == o.n })
}

// policy is what differs from office to office.
type policy struct{ many, strict, quiet, refuse, known bool }

// newWorld is offices with nobody registered yet. policies has one of each.
func newWorld(t tester, policies [officesHere]policy) *world {
	w := &world{t: t, now: time.Unix(1e9, 0), r: newRedis()}
	w.net.world, w.r.onEv = w, w.changed
	for i := range w.offices {
		w.offices[i] = newOffice(w, i, policies[i])
	}
	w.users = make([]*user, usersHere)
	for i := range w.users {
		w.users[i] = newUser(i)
		home := w.offices[w.users[i].home]
		home.disk.accounts[w.users[i].id] = account{}
	}
	for _, o := range w.offices {
		o.start()
	}
	return w
}

// newUser is the i'th user, with one to three phones; every fifth phone or so does not say who it is, or is known by its lease.
func newUser(i int) *user {
	u := &user{home: i % officesHere, said: map[roam.Epoch]roam.OfficeID{}}
	u.id = roam.UserID(fmt.Sprintf("%d@%s.example", 1000+i, officeID(u.home)))
	for k := range 1 + i%3 {
		p := &phone{user: u, n: k, at: -1, name: fmt.Sprintf("%d.%d", 1000+i, k)}
		switch {
		case (i+k)%5 == 4:
		case (i+k)%7 == 6:
			p.device = roam.Device("mac:" + p.name)
		default:
			p.device = roam.Device("urn:" + p.name)
		}
		u.phones = append(u.phones, p)
	}
	return u
}

func officeID(i int) roam.OfficeID { return roam.OfficeID("o" + string(rune('1'+i))) }

// office is the one called id.
func (w *world) office(id roam.OfficeID) *office { return w.offices[id[1]-'1'] }

// line is one line of the trace; it is written only when a test fails.
type line struct {
	at     time.Time
	format string
	args   []any
}

func (w *world) log(format string, args ...any) { w.trace = append(w.trace, line{w.now, format, args}) }

// fail ends the test with what has happened.
func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, format+"\n", args...)
	for _, l := range w.trace[max(0, len(w.trace)-400):] {
		fmt.Fprintf(&b, "%9.3f "+l.format+"\n", append([]any{l.at.Sub(time.Unix(1e9, 0)).Seconds()}, l.args...)...)
	}
	fmt.Fprintf(&b, format, args...)
	w.t.Fatalf("%s", b.String())
}

// happening is something that will happen.
type happening struct {
	at       time.Time
	n        uint64
	fn       func()
	o        *office // whose it is: it dies with the office's process; nil: nobody's
	boot     int
	label    string
	periodic bool
}

// off says that its owner is gone.
func (d *happening) off() bool { return d.o != nil && d.o.boot != d.boot || d.fn == nil }

type agenda []*happening

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if a[i].at.Equal(a[j].at) {
		return a[i].n < a[j].n
	}
	return a[i].at.Before(a[j].at)
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(*happening)) }
func (a *agenda) Pop() any {
	old := *a
	x := old[len(old)-1]
	*a = old[:len(old)-1]
	return x
}

// after has fn done after d, unless o is killed before.
func (w *world) after(o *office, d time.Duration, label string, fn func()) *happening {
	w.n++
	h := &happening{at: w.now.Add(d), n: w.n, fn: fn, o: o, label: label}
	if o != nil {
		h.boot = o.boot
	}
	heap.Push(&w.agenda, h)
	return h
}

// every has fn done each d.
func (w *world) every(o *office, d time.Duration, label string, fn func()) {
	w.after(o, d, label, func() { fn(); w.every(o, d, label, fn) }).periodic = true
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for n := 0; len(w.agenda) > 0 && !w.agenda[0].at.After(end); n++ {
		h := heap.Pop(&w.agenda).(*happening)
		if h.at.After(w.now) {
			w.now = h.at
		}
		if !h.off() {
			h.fn()
		}
		if n > 1_000_000 {
			w.fail("it never ends: %s", h.label)
		}
	}
	w.now = end
}

// quiet waits until nothing is on its way: a phone may be refreshing just now.
func (w *world) quiet() {
	for range 1000 {
		busy := len(w.air) > 0
		for _, o := range w.offices {
			busy = busy || len(o.pending) > 0
		}
		if !busy {
			return
		}
		w.pass(3 * time.Millisecond)
	}
	w.fail("it is never quiet")
}

// moved is a phone that has been told 200, for I4.
type moved struct {
	p       *phone
	at      time.Time
	changes int // of its user then
}

// promise has I4 checked for p, which has its 200 now.
func (w *world) promise(p *phone) {
	m := moved{p, w.now, p.user.changes}
	w.after(nil, 2*time.Second, "I4", func() {
		if w.calm(10*time.Second) && m.changes == p.user.changes && p.at >= 0 && w.offices[p.at].serves(p) {
			w.reaches(p)
		}
	})
}

// calm says that nothing has been broken for d.
func (w *world) calm(d time.Duration) bool { return !w.broken() && w.now.Sub(w.disturbed) > d }

// disturb notes a fault.
func (w *world) disturb() { w.disturbed = w.now }
