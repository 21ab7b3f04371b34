package control

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

const user = roam.UserID("1001@north.example")

// place is one core of the model: home, or a visit.
type place struct {
	office roam.OfficeID
	device roam.Device
}

var home = place{office: "north"}

// delivery is an event on its way to a core.
type delivery struct {
	to    place
	ev    Event
	q     *Inquiry
	boot  int // of the office; what an office told itself dies with it
	inner bool
}

// world is three offices, R, and whatever is between them.
type world struct {
	t       *testing.T
	rnd     *rand.Rand // nil: everything arrives, in order
	faults  bool
	now     time.Time
	clock   roam.Epoch
	offices map[roam.OfficeID]*Office
	boot    map[roam.OfficeID]int

	home    Home
	homeRow Kept
	visits  map[place]*Visit
	rows    map[place]Stay
	wakes   map[place]time.Time
	r       roam.Location
	floor   roam.Epoch
	away    bool // R does not answer
	full    bool // home's disk takes nothing

	queue   []delivery
	tx      uint64
	answers map[uint64]Answer
	adds    map[uint64]*Register // by tx
	records map[uint64]place     // registration messages home has not answered
	renewed map[uint64]Renewed   // those of them that are renewals, with home's word on the credentials
	notices map[uint64]Settled   // supersedes not acknowledged
	trace   []line
}

// line is one line of the trace; it is written only when a test fails.
type line struct {
	format string
	args   []any
}

func newWorld(t *testing.T, many bool) *world {
	w := &world{t: t, now: time.Unix(1e9, 0), offices: map[roam.OfficeID]*Office{}, boot: map[roam.OfficeID]int{},
		visits: map[place]*Visit{}, rows: map[place]Stay{}, wakes: map[place]time.Time{}, answers: map[uint64]Answer{},
		adds: map[uint64]*Register{}, records: map[uint64]place{}, renewed: map[uint64]Renewed{}, notices: map[uint64]Settled{}}
	for _, o := range []roam.OfficeID{"north", "south", "west"} {
		w.offices[o] = &Office{Here: roam.Location{Office: o, Switch: "sip:" + string(o), Registrar: string(o)}, Many: many, Contacts: 8}
	}
	w.home = Home{User: user, Office: w.offices["north"], Profile: &roam.Profile{Version: 1}}
	return w
}

func (w *world) log(f string, a ...any) { w.trace = append(w.trace, line{f, a}) }

func (w *world) fail(f string, a ...any) {
	w.t.Helper()
	lines := make([]string, len(w.trace))
	for i, l := range w.trace {
		lines[i] = fmt.Sprintf(l.format, l.args...)
	}
	w.t.Fatalf("%s\n%s", fmt.Sprintf(f, a...), strings.Join(lines, "\n"))
}

func (w *world) chance(n int) bool { return w.rnd != nil && w.faults && w.rnd.Intn(n) == 0 }
func (w *world) draw() roam.Epoch  { w.clock++; return w.clock }

func (w *world) send(to place, ev Event) {
	w.queue = append(w.queue, delivery{to: to, ev: ev, boot: w.boot[to.office]})
}

func (w *world) visit(p place) *Visit {
	v := w.visits[p]
	if v == nil {
		v = &Visit{User: user, Device: p.device, Office: w.offices[p.office]}
		w.visits[p] = v
	}
	return v
}

// waits says that d must wait for the change under way.
func (w *world) waits(d delivery) bool {
	switch d.ev.(type) {
	case Register, Registration, Offline:
		return d.to == home && w.home.Busy()
	case Legal, Superseded:
		return w.visit(d.to).Busy()
	}
	return false
}

// run delivers until nothing is on its way; with faults in any order.
func (w *world) run() {
	for spin := 0; len(w.queue) > 0; spin++ {
		i := 0
		if w.rnd != nil {
			i = w.rnd.Intn(len(w.queue))
		}
		d := w.queue[i]
		w.queue = slices.Delete(w.queue, i, i+1)
		switch {
		case d.inner && d.boot != w.boot[d.to.office]:
		case w.waits(d):
			w.queue = append(w.queue, d)
		default:
			w.feed(d)
			w.holds()
		}
		if spin > 20000 {
			w.fail("never ends: %T", w.queue[0].ev)
		}
	}
}

// feed gives d to its core and does what comes out.
func (w *world) feed(d delivery) {
	var out []Action
	if r, ok := d.ev.(Register); ok {
		r.Away = w.away
		d.ev = r
	}
	if d.to == home {
		d.ev = w.dated(d.ev)
		if r, ok := d.ev.(Register); ok {
			w.shortWay(r)
		}
		w.home, out = w.home.Step(w.now, d.ev, nil)
	} else if r, ok := d.ev.(Register); ok && w.renews(&d, r) {
		v := w.visit(d.to)
		*v, out = v.Step(w.now, Renew{Register: r}, nil)
	} else if ok || d.q != nil {
		if ok {
			d.q = &Inquiry{User: user}
			d.to.device = r.Device
		}
		var l *Legal
		*d.q, out, l = d.q.Step(w.now, d.ev, nil)
		if l != nil {
			w.queue = append(w.queue, delivery{to: d.to, ev: *l, boot: d.boot, inner: true})
		}
	} else {
		v := w.visit(d.to)
		*v, out = v.Step(w.now, d.ev, nil)
	}
	for _, a := range out {
		w.do(d, a)
	}
}

// dated gives ev an epoch: drawn when the change begins, not when the request came.
func (w *world) dated(ev Event) Event {
	switch ev := ev.(type) {
	case Register:
		ev.Next = w.draw()
		return ev
	case Registration:
		ev.Next, ev.Away = w.draw(), w.away
		return ev
	case Offline:
		ev.Next = w.draw()
		return ev
	case Due:
		ev.Next = w.draw()
		return ev
	}
	return ev
}

// shortWay holds Refresh against Step.
func (w *world) shortWay(r Register) {
	short, long := w.home, w.home
	short.At = cloneAt(short.At)
	if !short.Refresh(w.now, &r) {
		return
	}
	long, out := long.Step(w.now, r, nil)
	if a, ok := out[0].(Answer); !ok || a.Why != roam.OK || !reflect.DeepEqual(long.At, short.At) {
		w.fail("the short way says yes, the long way %v\n%v\n%v", out, short.At, long.At)
	}
}

func (w *world) do(d delivery, a Action) {
	back := func(ev Event) {
		w.queue = append(w.queue, delivery{to: d.to, ev: ev, q: d.q, boot: w.boot[d.to.office], inner: true})
	}
	switch a := a.(type) {
	case Answer:
		w.answer(d.to, a)
	case Locate:
		l := Located{Card: roam.Card{Office: "north", Registrar: "north", Switch: "sip:north"}}
		if p := w.r; p.Office != "" && p.Office != "north" && p.Office != d.to.office {
			l.Former = &p
		}
		back(l)
	case Query:
		back(w.query(d))
	case Allocate:
		back(Allocated{})
	case Release:
		w.log("%s: release %s", d.to.office, a.Device)
	case Record:
		w.record(d.to, a)
	case Renewal:
		w.renew(d.to, a)
	case Save:
		w.save(a.Kept, back)
	case SaveVisit:
		w.rows[d.to] = a.Stay
		back(Saved{})
	case Drift:
		if w.rnd == nil || w.rnd.Intn(2) == 0 {
			w.drift(d.to)
		}
	case Report:
		back(w.report(d.to, a.Location))
	case Supersede:
		w.supersede(d.to, a)
	case Wake:
		if at, ok := w.wakes[d.to]; !ok || a.At.Before(at) {
			w.wakes[d.to] = a.At
		}
	default:
		w.fail("action %T", a)
	}
}

func (w *world) drift(p place) {
	if p == home {
		w.homeRow = w.home.Kept
	} else {
		w.rows[p] = w.visit(p).Stay
	}
}

// answer brings an Answer where it was waited for, and holds a 200 to its promise.
func (w *world) answer(from place, a Answer) {
	if a.Tx == 0 {
		return
	}
	w.log("%s: answer %d: %v", from.office, a.Tx, a.Why)
	w.promised(from, a)
	if p, ok := w.records[a.Tx]; ok {
		delete(w.records, a.Tx)
		if n, ok := w.renewed[a.Tx]; ok {
			n.Why, n.Location, n.Grant, n.Held = a.Why, a.Location, a.Grant, a.Held
			w.send(p, n)
			return
		}
		w.send(p, Recorded{Why: a.Why, Location: a.Location, Grant: a.Grant, Held: a.Held})
		return
	}
	if s, ok := w.notices[a.Tx]; ok {
		delete(w.notices, a.Tx)
		s.Epoch = a.Epoch
		if w.chance(4) {
			s.Err = errors.New("lost")
		}
		w.send(home, s)
		return
	}
	w.answers[a.Tx] = a
	if r := w.adds[a.Tx]; r != nil && a.Why == roam.OK && from == home {
		i := w.homeRow.find(r.Device, "north")
		if i < 0 && len(r.Contacts) > 0 && r.Contacts[0].Grant > 0 {
			w.fail("200 without a row: %v", w.homeRow)
		}
	}
}

// promised holds a 200 of a strict office: R has what it was said of.
func (w *world) promised(from place, a Answer) {
	_, message := w.records[a.Tx]
	if a.Why != roam.OK || !message && w.adds[a.Tx] == nil || !w.offices[from.office].Strict {
		return
	}
	at := w.home.Location
	if from != home {
		if at = w.visit(from).Location; !a.Changed && !w.visit(from).Serving() {
			return // there was nothing to remove
		}
	}
	if w.floor < at.Epoch {
		w.fail("200 at %s for %v, R has %d", from.office, at, w.floor)
	}
}

// query is the identity query and home's answer.
func (w *world) query(d delivery) Queried {
	r := d.q.req
	w.log("%s: identity query for %s", d.to.office, r.Device)
	if w.chance(10) {
		return Queried{Why: roam.HomeSilent}
	}
	if _, is := w.home.Superseded(w.now, r.Device, d.to.office, r.CallID, r.Person); is {
		return Queried{Why: roam.Moved}
	}
	e := w.home.Ticket(w.now, r.Device, d.to.office, w.draw())
	return Queried{Ticket: roam.Ticket{User: user, Device: r.Device, Office: d.to.office, Home: "north", Epoch: e}, Profile: w.home.Profile}
}

// record is the registration message, which may be lost, doubled, or have its answer lost.
func (w *world) record(from place, a Record) {
	w.log("%s: registration message %d for %s, %v", from.office, a.Ticket.Epoch, from.device, a.Grant > 0)
	if w.chance(6) {
		w.send(from, Recorded{Why: roam.HomeSilent})
		return
	}
	w.tx++
	m := Registration{Tx: w.tx, Ticket: a.Ticket, CallID: w.callID(from), CSeq: uint32(w.tx), Switch: "sip:" + string(from.office), Registrar: string(from.office),
		Contact: Contact{Target: roam.Target{URI: "sip:" + string(from.device) + "@" + string(from.office)}, CallID: a.CallID, Grant: a.Grant}}
	if w.chance(6) {
		w.send(from, Recorded{Why: roam.HomeSilent})
	} else {
		w.records[w.tx] = from
	}
	w.send(home, m)
	if w.chance(6) {
		m.Tx = 0
		w.send(home, m)
	}
}

// callID is of the registration messages of a visit, new with each start of its office.
func (w *world) callID(from place) string {
	return fmt.Sprintf("%s.%s.%d", from.office, from.device, w.boot[from.office])
}

// renews says that r goes home in one message.
func (w *world) renews(d *delivery, r Register) bool {
	d.to.device = r.Device
	v := w.visits[d.to]
	return v != nil && v.Renews(w.now, &r)
}

// renew is a registration message with credentials, which may be lost, or have its answer lost.
func (w *world) renew(from place, a Renewal) {
	r := w.adds[a.Tx]
	_, superseded := w.home.Superseded(w.now, r.Device, from.office, r.CallID, r.Person)
	w.log("%s: renewal for %s, %v", from.office, from.device, a.Grant)
	switch {
	case w.chance(8):
		w.send(from, Renewed{Why: roam.HomeSilent, Silent: w.chance(2)})
		return
	case superseded:
		w.send(from, Renewed{Why: roam.Moved})
		return
	}
	w.tx++
	t := roam.Ticket{User: user, Device: r.Device, Office: from.office, Home: "north", Epoch: w.home.Ticket(w.now, r.Device, from.office, w.draw())}
	m := Registration{Tx: w.tx, Ticket: t, CallID: w.callID(from), CSeq: uint32(w.tx), Switch: "sip:" + string(from.office), Registrar: string(from.office),
		Contact: Contact{Target: roam.Target{URI: "sip:" + string(from.device) + "@" + string(from.office)}, CallID: a.CallID, Grant: a.Grant}}
	w.records[w.tx], w.renewed[w.tx] = from, Renewed{Ticket: t, Profile: w.home.Profile}
	if w.chance(8) {
		delete(w.records, w.tx)
		w.send(from, Renewed{Why: roam.HomeSilent})
	}
	w.send(home, m)
}

func (w *world) save(k Kept, back func(Event)) {
	if w.full {
		back(Saved{errors.New("disk full")})
		return
	}
	w.homeRow = k
	back(Saved{})
}

// report is the location script.
func (w *world) report(from place, at roam.Location) Reported {
	if w.away {
		return Reported{Epoch: at.Epoch, Err: errors.New("away")}
	}
	ok := at.Epoch > w.floor || at.Epoch == w.floor && at.Office == w.r.Office
	w.log("%s: report %s %d: %v", from.office, at.Office, at.Epoch, ok)
	if ok {
		w.r, w.floor = at, at.Epoch
	}
	if w.chance(8) {
		return Reported{Epoch: at.Epoch, Err: errors.New("its answer got lost")}
	}
	return Reported{Epoch: at.Epoch, Location: w.r}
}

// supersede is the NOTIFY, which may be lost, doubled, or have its answer lost.
func (w *world) supersede(from place, a Supersede) {
	w.log("%s: supersede %s at %s with %d", from.office, a.Device, a.To, a.Epoch)
	s := Settled{To: a.To, Device: a.Device, Epoch: a.Epoch}
	to := place{roam.OfficeID(a.To), a.Device}
	ev := Superseded{Epoch: a.Epoch, Location: a.Location}
	if w.chance(3) {
		if s.Err = errors.New("lost"); from == home {
			w.send(home, s)
		}
		return
	}
	if w.chance(4) {
		w.send(to, ev)
	}
	if w.tx++; from == home {
		ev.Tx = w.tx
		w.notices[w.tx] = s
	}
	w.send(to, ev)
}

// crash kills one office and starts it again from its rows.
func (w *world) crash(o roam.OfficeID) {
	w.log("%s: crash", o)
	w.boot[o]++
	if o == "north" {
		w.home = Home{User: user, Office: w.offices[o], Profile: w.home.Profile, Kept: w.homeRow.clone(w.now)}
		for tx, p := range w.records {
			delete(w.records, tx)
			if _, ok := w.renewed[tx]; ok {
				w.send(p, Renewed{Why: roam.HomeSilent})
			} else {
				w.send(p, Recorded{Why: roam.HomeSilent})
			}
		}
		w.restored(home, w.home.Restore(w.now, nil))
		return
	}
	for p := range w.visits {
		if p.office != o {
			continue
		}
		delete(w.visits, p)
		delete(w.wakes, p)
		if row := w.rows[p]; !row.Empty() {
			v := w.visit(p)
			v.Stay = row
			v.Contacts = slices.Clone(row.Contacts)
			w.restored(p, v.Restore(w.now, nil))
		}
	}
	for tx, s := range w.notices {
		if s.To == string(o) {
			delete(w.notices, tx)
			s.Err = errors.New("lost")
			w.send(home, s)
		}
	}
}

func (w *world) restored(p place, out []Action) {
	delete(w.wakes, p)
	for _, a := range out {
		w.do(delivery{to: p}, a)
	}
}

// pass lets time go by, with a Due for each Wake on the way.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for n := 0; ; n++ {
		var next place
		at := end
		for p, t := range w.wakes {
			if t.Before(at) || t.Equal(at) && (next == place{} || cmp.Compare(p.device, next.device) < 0) {
				next, at = p, t
			}
		}
		if next == (place{}) {
			break
		}
		if n > 20000 {
			w.fail("wakes for ever: %v at %v", next, at)
		}
		delete(w.wakes, next)
		if at.After(w.now) {
			w.now = at
		}
		w.feed(delivery{to: next, ev: Due{}})
		w.run()
	}
	w.now = end
}

// holds is what must be true after every event.
func (w *world) holds() {
	h := &w.home
	if l := h.where(h.At); l.Office != h.Location.Office || l.Switch != h.Location.Switch {
		w.fail("location %v, devices say %v", h.Location, l)
	}
	if h.Location.Epoch < w.homeRow.Location.Epoch && !h.Busy() {
		w.fail("location %d, on disk %d", h.Location.Epoch, w.homeRow.Location.Epoch)
	}
	seen := map[roam.Device]bool{}
	for _, p := range h.At {
		if seen[p.Device] || len(p.Contacts) == 0 || !h.Office.Many && len(h.At) > 1 {
			w.fail("devices %v", h.At)
		}
		seen[p.Device] = true
	}
	if h.count() > 8 || len(h.Left) > 64 || len(h.Owed) > 64 {
		w.fail("%d bindings, %d left, %d owed", h.count(), len(h.Left), len(h.Owed))
	}
}

// agree is what must be true when nothing is on its way and nothing is lost for good.
func (w *world) agree() {
	w.t.Helper()
	if !w.away && (w.r.Epoch != w.home.Location.Epoch || w.r.Office != w.home.Location.Office) {
		w.fail("R has %v, home %v", w.r, w.home.Location)
	}
	if len(w.home.Owed) > 0 || w.home.Busy() {
		w.fail("owed %v, busy %v", w.home.Owed, w.home.Busy())
	}
	at := map[place]bool{}
	for _, p := range w.home.At {
		at[place{p.Office, p.Device}] = true
	}
	for p, v := range w.visits {
		if v.Serving() != at[p] || v.Owes != nil || v.Busy() {
			w.fail("%v serving %v, home says %v, owes %v, busy %v", p, v.Serving(), at[p], v.Owes, v.Busy())
		}
		delete(at, p)
	}
	for p := range at {
		if p.office != "north" {
			w.fail("home has %v, nobody else", p)
		}
	}
}

// phone is one phone; its Call-ID changes when it restarts.
type phone struct {
	device roam.Device
	n      int
	boots  int
	cseq   uint32
}

func (p *phone) restart() { p.boots++ }

func (p *phone) request(o roam.OfficeID, grant time.Duration) Register {
	p.cseq++
	return Register{Device: p.device, CallID: fmt.Sprintf("%d.%d", p.n, p.boots), CSeq: p.cseq, Contacts: []Contact{{
		Target: roam.Target{URI: fmt.Sprintf("sip:phone%d@%s", p.n, o), Device: p.device, Q: 1000}, Grant: grant}}}
}

// asks sends r, and returns the number of its answer.
func (w *world) asks(o roam.OfficeID, r Register) uint64 {
	w.tx++
	r.Tx = w.tx
	w.adds[r.Tx] = &r
	w.log("phone %s at %s: %s %d, %v", r.Device, o, r.CallID, r.CSeq, r.Contacts)
	w.send(place{office: o}, r)
	return r.Tx
}

// registers is asks, with its answer.
func (w *world) registers(o roam.OfficeID, r Register) roam.Refusal {
	w.t.Helper()
	tx := w.asks(o, r)
	w.run()
	a, ok := w.answers[tx]
	if !ok {
		w.fail("no answer")
	}
	return a.Why
}
