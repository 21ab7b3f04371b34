package lease

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestModel: whatever clients ask for, in whatever order, of two servers that share a pool; whatever is released, declined,
// forged; whichever server dies, with its offers, and comes back with its rows, or with fewer and damaged ones: no address
// is ever valid for two clients. What is in doubt is probed first; nothing else is, so the table alone holds the rest.
func TestModel(t *testing.T) {
	for range 20 { // times -rapid.checks
		rapid.Check(t, func(t *rapid.T) {
			m := &model{now: time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC), uses: map[netip.Addr]map[int]time.Time{}}
			for part := range m.servers {
				m.servers[part].disk = map[netip.Addr]Lease{}
				m.start(t, part)
			}
			t.Repeat(map[string]func(*rapid.T){
				"discover": m.discover, "request": m.request, "renew": m.renew, "release": m.release, "decline": m.decline,
				"forge": m.forge, "wait": m.wait, "restart": m.restart, "reload": m.reload, "": m.check,
			})
		})
	}
}

const modelClients = 14

// model is two servers, and clients that believe what they are told.
type model struct {
	now     time.Time
	servers [2]struct {
		table *Table
		disk  map[netip.Addr]Lease
		scars bool // its disk has rows that cannot be read, and so says at every start
	}
	uses map[netip.Addr]map[int]time.Time // by client, until when it may use the address
}

// modelSubnet has 12 addresses for 14 clients; one is reserved, and with narrow one is excluded.
func modelSubnet(part int, narrow bool) []Subnet {
	at := netip.MustParseAddr
	s := Subnet{
		Prefix: netip.MustParsePrefix("10.2.0.0/24"), Pools: []Pool{{Range: Range{at("10.2.0.10"), at("10.2.0.21")}}},
		Time: 10 * time.Minute, Min: time.Minute, Max: 20 * time.Minute, Hold: 45 * time.Second, Decline: 5 * time.Minute,
		Reservations: []Reservation{{MAC: mac(0), Addr: at("10.2.0.12")}}, Share: Share{Part: part + 1, Of: 2},
	}
	if narrow {
		s.Exclude = []Range{{at("10.2.0.15"), at("10.2.0.15")}}
	}
	return []Subnet{s}
}

func mac(client int) string { return fmt.Sprintf("00:15:65:00:00:%02x", client) }

func (m *model) start(t *rapid.T, part int) {
	s := &m.servers[part]
	table, err := New(modelSubnet(part, false))
	if err != nil {
		t.Fatal(err)
	}
	table.Restore(m.now, slices.Collect(maps.Values(s.disk)), s.scars)
	s.table = table
}

// ask is a message of a client, which says who it is.
func (m *model) ask(t *rapid.T) (client int, q Ask) {
	client = rapid.IntRange(0, modelClients-1).Draw(t, "client")
	q = Ask{Client: fmt.Sprint("id", client), MAC: mac(client), Link: netip.MustParseAddr("10.2.0.1")}
	q.Time = time.Duration(rapid.SampledFrom([]int{0, 0, 1, 90, 5000}).Draw(t, "seconds")) * time.Second
	return client, q
}

func (m *model) part(t *rapid.T) int { return rapid.IntRange(0, 1).Draw(t, "server") }

func address(t *rapid.T) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 2, 0, byte(rapid.IntRange(9, 22).Draw(t, "address"))})
}

// users is who may use a.
func (m *model) users(a netip.Addr) (all []int) {
	for client, until := range m.uses[a] {
		if m.now.Before(until) {
			all = append(all, client)
		}
	}
	return all
}

// used is every address that somebody was given, in order: a history is to be played again.
func (m *model) used() []netip.Addr { return slices.SortedFunc(maps.Keys(m.uses), netip.Addr.Compare) }

func (m *model) discover(t *rapid.T) {
	client, q := m.ask(t)
	if rapid.Bool().Draw(t, "wishes") {
		q.Addr = address(t)
	}
	part := m.part(t)
	s := &m.servers[part]
	l, err := s.table.Offer(m.now, q)
	if err != nil {
		return
	}
	if others := slices.DeleteFunc(m.users(l.Addr), func(c int) bool { return c == client }); l.Doubt && len(others) > 0 {
		if row, done := s.table.Busy(m.now, l.Addr); done { // somebody answers the probe
			s.disk[row.Addr] = row
		}
		return
	}
	if l.Doubt && len(m.users(l.Addr)) == 0 { // else who asks may be the one who is there
		s.table.Clear(l.Addr)
	}
	if rapid.IntRange(0, 3).Draw(t, "takes") > 0 {
		m.bind(t, part, client, q, l.Addr)
	}
}

// request is a REQUEST of an address of chance: an INIT-REBOOT, a mistake, or one that was offered long ago.
func (m *model) request(t *rapid.T) {
	client, q := m.ask(t)
	m.bind(t, m.part(t), client, q, address(t))
}

// renew is one of an address that the client has.
func (m *model) renew(t *rapid.T) {
	client, q := m.ask(t)
	for _, a := range m.used() {
		by := m.uses[a]
		if m.now.Before(by[client]) {
			for part := range m.servers {
				m.bind(t, part, client, q, a)
			}
			return
		}
	}
}

// bind is a REQUEST: the server may die before the row is stored, and the answer may be lost after it.
func (m *model) bind(t *rapid.T, part, client int, q Ask, a netip.Addr) {
	s := &m.servers[part]
	l, verdict := s.table.Bind(m.now, q, a)
	if verdict != Granted {
		return
	}
	if l.Addr != a || l.Until.Before(m.now.Add(l.Time)) {
		t.Fatalf("asked for %v: told %v for %v, kept until %v", a, l.Addr, l.Time, l.Until)
	}
	fate := rapid.SampledFrom([]string{"told", "told", "told", "told", "dies", "lost"}).Draw(t, "fate")
	if fate == "dies" {
		m.start(t, part)
		return
	}
	s.disk[a] = l
	if fate == "told" {
		if m.uses[a] == nil {
			m.uses[a] = map[int]time.Time{}
		}
		m.uses[a][client] = m.now.Add(l.Time)
	}
}

func (m *model) release(t *rapid.T) {
	client, q := m.ask(t)
	for _, a := range m.used() {
		by := m.uses[a]
		if !m.now.Before(by[client]) {
			continue
		}
		q.Source = a
		delete(by, client) // it is silent from then on, whatever becomes of its message
		for part := range m.servers {
			if l, done := m.servers[part].table.Release(m.now, q, a); done && rapid.Bool().Draw(t, "stored") {
				m.servers[part].disk[a] = l
			}
		}
		return
	}
}

func (m *model) decline(t *rapid.T) {
	client, q := m.ask(t)
	a, part := address(t), m.part(t)
	if l, done := m.servers[part].table.Decline(m.now, q, a); done {
		delete(m.uses[a], client)
		m.servers[part].disk[a] = l
	}
}

// forge is a RELEASE or a REQUEST in the name of another, by somebody who does not know all that they say of themselves.
func (m *model) forge(t *rapid.T) {
	_, q := m.ask(t)
	a, part := address(t), m.part(t)
	if rapid.Bool().Draw(t, "by MAC") {
		q.Client = "forged"
	} else {
		q.MAC = "02:00:00:00:00:01"
	}
	if l, done := m.servers[part].table.Release(m.now, q, a); done {
		t.Fatalf("a forged RELEASE ended the lease %+v", l)
	}
}

// wait passes time. Ends are noticed late at times.
func (m *model) wait(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(1, 900).Draw(t, "seconds")) * time.Second)
	for part := range m.servers {
		if rapid.Bool().Draw(t, "notices") {
			for _, l := range m.servers[part].table.Expire(m.now) {
				if users := m.users(l.Addr); l.State == Free && len(users) > 0 {
					t.Fatalf("%v is over, and %v may use it still", l.Addr, users)
				}
			}
		}
	}
}

// restart kills a server. Its disk may have lost rows, or hold nonsense.
func (m *model) restart(t *rapid.T) {
	part := m.part(t)
	if s := &m.servers[part]; rapid.IntRange(0, 2).Draw(t, "damaged") == 0 {
		s.scars = true
		disk := s.disk
		for _, a := range slices.SortedFunc(maps.Keys(disk), netip.Addr.Compare) {
			l := disk[a]
			switch rapid.IntRange(0, 3).Draw(t, "damage") {
			case 0:
				delete(disk, a)
			case 1:
				l.State = Offered + State(rapid.SampledFrom([]int{0, 7}).Draw(t, "state"))
				disk[a] = l
			}
		}
	}
	m.start(t, part)
}

// reload takes an address out of a pool, or puts it back.
func (m *model) reload(t *rapid.T) {
	part := m.part(t)
	if _, err := m.servers[part].table.Configure(m.now, modelSubnet(part, rapid.Bool().Draw(t, "narrow"))); err != nil {
		t.Fatal(err)
	}
}

func (m *model) check(t *rapid.T) {
	for _, a := range m.used() {
		if users := m.users(a); len(users) > 1 {
			t.Fatalf("%v is valid for clients %v at once", a, users)
		}
	}
}
