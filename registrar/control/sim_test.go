package control

import (
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

const user = roam.UserID("1001@north.example")

type msg struct {
	to  string
	dev roam.Device
	ev  Event
	q   *Inquiry
}
type key struct {
	o roam.OfficeID
	d roam.Device
}
type net struct {
	t       *testing.T
	now     time.Time
	office  *Office
	offices map[roam.OfficeID]*Office
	home    Home
	visits  map[key]*Visit
	r       roam.Location
	floor   roam.Epoch
	q       []msg
	trace   []string
	ans     map[uint64]Answer
	pend    map[uint64]key
	tx      uint64
	clock   roam.Epoch
	rnd     *rand.Rand
	redis   bool
	full    bool
}

func location(o roam.OfficeID) roam.Location {
	return roam.Location{Office: o, Switch: "sip:" + string(o), Registrar: string(o)}
}
func newNet(t *testing.T, many bool) *net {
	n := &net{t: t, now: time.Unix(1e9, 0), visits: map[key]*Visit{}, ans: map[uint64]Answer{}, pend: map[uint64]key{}, redis: true, offices: map[roam.OfficeID]*Office{}}
	for _, o := range []roam.OfficeID{"north", "south", "west"} {
		n.offices[o] = &Office{Here: location(o), Many: many}
	}
	n.home = Home{User: user, Office: n.offices["north"], Profile: &roam.Profile{Version: 1}}
	return n
}
func (n *net) draw() roam.Epoch                        { n.clock++; return n.clock }
func (n *net) log(f string, a ...any)                  { n.trace = append(n.trace, fmt.Sprintf(f, a...)) }
func (n *net) post(to string, d roam.Device, ev Event) { n.q = append(n.q, msg{to, d, ev, nil}) }
func (n *net) visit(o roam.OfficeID, d roam.Device) *Visit {
	v := n.visits[key{o, d}]
	if v == nil {
		v = &Visit{User: user, Office: n.offices[o]}
		n.visits[key{o, d}] = v
	}
	return v
}
func (n *net) feed(m msg) {
	var out []Action
	if m.to == "north" {
		switch ev := m.ev.(type) { // drawn when the change begins, not when the request came
		case Register:
			ev.Next = n.draw()
			m.ev = ev
		case Registration:
			ev.Next = n.draw()
			m.ev = ev
		}
		n.home, out = n.home.Step(n.now, m.ev, nil)
	} else if r, ok := m.ev.(Register); ok || m.q != nil {
		if ok {
			m.q = &Inquiry{User: user}
			if v := n.visit(roam.OfficeID(m.to), m.dev); v.Gone != nil {
				m.q.Left = r.Contact.Device
			}
		}
		var l *Legal
		*m.q, out, l = m.q.Step(n.now, m.ev, nil)
		if l != nil {
			n.post(m.to, m.dev, *l)
		}
	} else {
		v := n.visit(roam.OfficeID(m.to), m.dev)
		*v, out = v.Step(n.now, m.ev, nil)
	}
	for _, a := range out {
		n.do(m, a)
	}
}
func (n *net) do(m msg, a Action) {
	back := func(ev Event) { n.q = append(n.q, msg{m.to, m.dev, ev, m.q}) }
	switch a := a.(type) {
	case Answer:
		n.log("%s answer %v", m.to, a.Why)
		if k, ok := n.pend[a.Tx]; ok && m.to == "north" {
			n.post(string(k.o), k.d, Recorded{a.Why, a.Location})
			return
		}
		n.ans[a.Tx] = a
	case Locate:
		n.log("%s locate", m.to)
		c := roam.Card{Office: "north", Registrar: "north", Switch: "sip:north"}
		if p := n.r; p.Office != "" && p.Office != "north" && string(p.Office) != m.to {
			c.Visitor = &p
		}
		back(Located{Card: c})
	case Query:
		n.log("%s identity query to %s", m.to, a.At)
		back(Queried{Ticket: roam.Ticket{User: user, Device: m.dev, Office: roam.OfficeID(m.to), Epoch: n.draw()}, Profile: n.home.Profile})
	case Allocate:
		n.log("%s allocate", m.to)
		back(Allocated{})
	case Release:
		n.log("%s release %s", m.to, a.Device)
	case Record:
		n.tx++
		n.pend[n.tx] = key{roam.OfficeID(m.to), m.dev}
		n.log("%s registration message to %s", m.to, a.At)
		n.post(a.At, m.dev, Registration{Tx: n.tx, Ticket: a.Ticket, Switch: "sip:" + m.to, Registrar: m.to, Token: "t", Grant: a.Grant})
	case Save:
		n.log("%s save", m.to)
		if n.full && m.to == "north" {
			back(Saved{errors.New("disk full")})
			return
		}
		back(Saved{})
	case Report:
		if !n.redis {
			back(Reported{Err: errors.New("away")})
			return
		}
		ok := a.Location.Epoch > n.floor || a.Location.Epoch == n.floor && a.Location.Office == n.r.Office
		n.log("%s report %s %d %v", m.to, a.Location.Office, a.Location.Epoch, ok)
		if ok {
			n.r, n.floor = a.Location, a.Location.Epoch
		}
		back(Reported{Location: n.r})
	case Supersede:
		n.log("%s supersede %s at %s", m.to, a.Device, a.To)
		if a.To == "north" {
			return
		}
		n.post(a.To, a.Device, Superseded{Epoch: a.Epoch, Location: a.Location})
		n.post(m.to, m.dev, Settled{To: a.To, Device: a.Device, Epoch: a.Epoch})
	}
}
func (n *net) run() {
	for spin := 0; len(n.q) > 0; {
		i := 0
		if n.rnd != nil {
			i = n.rnd.Intn(len(n.q))
			if s, ok := n.q[i].ev.(Superseded); ok && n.rnd.Intn(4) == 0 { // double it
				n.q = append(n.q, msg{n.q[i].to, n.q[i].dev, s, nil})
			}
		}
		m := n.q[i]
		n.q = append(n.q[:i:i], n.q[i+1:]...)
		wait := false
		switch m.ev.(type) {
		case Register, Registration:
			wait = m.to == "north" && n.home.Busy()
		case Legal:
			wait = n.visit(roam.OfficeID(m.to), m.dev).Busy()
		}
		if wait {
			if n.q = append(n.q, m); spin > 10000 {
				n.t.Fatalf("stuck\n%s", strings.Join(n.trace, "\n"))
			}
			spin++
			continue
		}
		n.feed(m)
	}
}
func (n *net) register(o roam.OfficeID, d roam.Device, person bool) uint64 {
	n.tx++
	n.log("phone %s at %s", d, o)
	n.post(string(o), d, Register{Tx: n.tx, Person: person, Contact: Contact{Device: d, CallID: fmt.Sprint(n.tx), CSeq: 1, Grant: time.Hour, Target: roam.Target{URI: fmt.Sprint("sip:", n.tx)}}})
	return n.tx
}
func (n *net) phone(o roam.OfficeID, d roam.Device, person bool) roam.Refusal {
	tx := n.register(o, d, person)
	n.run()
	return n.ans[tx].Why
}
func (n *net) check(id any) {
	n.t.Helper()
	fail := func(f string, a ...any) {
		n.t.Helper()
		n.t.Fatalf("%v: %s\n%s", id, fmt.Sprintf(f, a...), strings.Join(n.trace, "\n"))
	}
	w := n.home.where()
	if w.Office != n.home.Location.Office || w.Switch != n.home.Location.Switch {
		fail("location %v, devices say %v", n.home.Location, w)
	}
	if n.redis && (n.r.Epoch != n.home.Location.Epoch || n.r.Office != n.home.Location.Office) {
		fail("R has %v, home %v", n.r, n.home.Location)
	}
	if len(n.home.Owed) > 0 || n.home.Busy() {
		fail("owed %v", n.home.Owed)
	}
	at := map[key]bool{}
	for _, p := range n.home.At {
		at[key{p.Office, p.Device}] = true
	}
	if !n.home.Office.Many && len(at) > 1 {
		fail("two devices")
	}
	for k, v := range n.visits {
		if v.Serving() != at[k] {
			fail("%v serving %v, home says %v", k, v.Serving(), at[k])
		}
	}
}

func TestMethod2(t *testing.T) {
	n := newNet(t, true)
	for i, o := range []roam.OfficeID{"north", "south", "west", "north"} {
		if why := n.phone(o, "d", true); why != roam.OK || n.r.Office != o {
			t.Fatalf("%d: %v %v\n%s", i, why, n.r, strings.Join(n.trace, "\n"))
		}
		n.check(i)
	}
	t.Log("\n" + strings.Join(n.trace, "\n"))
}
func TestMany(t *testing.T) {
	n := newNet(t, true)
	n.phone("south", "cell", true)
	n.check(1)
	n.phone("west", "desk", true)
	if n.check(2); n.r.Office != "north" { // several offices: home rings them
		t.Fatal(n.r)
	}
	n.phone("west", "cell", true)
	if n.check(3); n.r.Office != "west" {
		t.Fatal(n.r)
	}
}
func TestOneNoPingPong(t *testing.T) {
	n := newNet(t, false)
	n.phone("north", "desk", true)
	n.phone("south", "cell", true)
	if why := n.phone("north", "desk", false); why != roam.Moved {
		t.Fatalf("desk took the user back: %v", why)
	}
	n.check(1)
	if why := n.phone("north", "desk", true); why != roam.OK {
		t.Fatal(why)
	}
	n.check(2)
	if why := n.phone("south", "cell", false); why != roam.Moved {
		t.Fatalf("cell took the user back: %v\n%s", why, strings.Join(n.trace, "\n"))
	}
}
func TestDiskFull(t *testing.T) {
	n := newNet(t, true)
	n.phone("north", "d", true)
	n.full = true
	if why := n.phone("south", "d", true); why == roam.OK {
		t.Fatal("200 without a disk")
	}
	n.check(1)
}
func TestRedisAway(t *testing.T) {
	n := newNet(t, true)
	n.redis = false
	if why := n.phone("south", "d", true); why != roam.OK {
		t.Fatal(why)
	}
	n.check(1)
}
func TestOldBackup(t *testing.T) {
	n := newNet(t, true)
	for i := 0; i < 5; i++ {
		n.phone([]roam.OfficeID{"north", "south"}[i%2], "d", true)
	}
	n.home, n.clock = Home{User: user, Office: n.offices["north"], Profile: n.home.Profile}, 0
	if why := n.phone("north", "d", true); why != roam.OK || n.r.Office != "north" || n.r.Epoch != n.home.Location.Epoch {
		t.Fatal(why, n.r)
	}
}

// Two devices, two tickets, recorded in the other order: both must be served.
func TestTicketsCross(t *testing.T) {
	n := newNet(t, true)
	n.phone("north", "x", true)
	ta := roam.Ticket{User: user, Device: "a", Office: "south", Epoch: n.draw()}
	tb := roam.Ticket{User: user, Device: "b", Office: "west", Epoch: n.draw()}
	n.post("north", "b", Registration{Tx: 901, Ticket: tb, Switch: "sip:west", Registrar: "west", Grant: time.Hour})
	n.run()
	n.post("north", "a", Registration{Tx: 902, Ticket: ta, Switch: "sip:south", Registrar: "south", Grant: time.Hour})
	n.run()
	if n.ans[901].Why != roam.OK || n.ans[902].Why != roam.OK {
		t.Fatal(n.ans[901].Why, n.ans[902].Why)
	}
}
func TestReordered(t *testing.T) {
	for seed := int64(0); seed < 20000; seed++ {
		n := newNet(t, seed%2 == 0)
		n.rnd = rand.New(rand.NewSource(seed))
		os := []roam.OfficeID{"north", "south", "west"}
		var last roam.Epoch
		for i := 0; i < 6; i++ {
			for k := 1 + n.rnd.Intn(3); k > 0; k-- {
				n.register(os[n.rnd.Intn(3)], roam.Device([]string{"a", "b"}[n.rnd.Intn(2)]), true)
			}
			n.run()
			n.check(fmt.Sprint("seed ", seed, " round ", i))
			if n.floor < last {
				t.Fatal("epoch fell")
			}
			last = n.floor
		}
	}
}
