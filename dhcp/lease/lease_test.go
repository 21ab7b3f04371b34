package lease

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var (
	start = time.Date(2026, 11, 25, 6, 0, 0, 0, time.UTC)
	link  = netip.MustParseAddr("192.0.2.1")
)

func addr(last int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(last)}) }

// office is a subnet whose pool has the addresses first to last.
func office(first, last int) Subnet {
	return Subnet{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Exclude: []Range{{link, link}}, Pools: []Pool{{Range: Range{addr(first), addr(last)}}}}
}

// phone is what phone i says.
func phone(i int) Ask {
	mac := fmt.Sprintf("00:15:65:%02x:%02x:%02x", i>>16&255, i>>8&255, i&255)
	return Ask{Client: "\x01" + mac, MAC: mac, Link: link}
}

// rig is a table at a time.
type rig struct {
	*testing.T
	*Table
	now time.Time
}

func newRig(t *testing.T, subnets ...Subnet) *rig {
	t.Helper()
	table, err := New(subnets)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t, table, start}
}

// pass lets d pass, and returns what ended.
func (r *rig) pass(d time.Duration) []Lease { r.now = r.now.Add(d); return r.Expire(r.now) }

func (r *rig) offer(q Ask, want int) Lease {
	r.Helper()
	l, err := r.Offer(r.now, q)
	if err != nil || l.Addr != addr(want) {
		r.Fatalf("offered %s, %v, want .%d", l.Addr, err, want)
	}
	return l
}

func (r *rig) refuse(q Ask, want error) {
	r.Helper()
	if l, err := r.Offer(r.now, q); !errors.Is(err, want) {
		r.Fatalf("offered %s, %v, want %v", l.Addr, err, want)
	}
}

func (r *rig) bind(q Ask, a int, want Verdict) Lease {
	r.Helper()
	l, v := r.Bind(r.now, q, addr(a))
	if v != want {
		r.Fatalf("bind .%d: got %s, want %s", a, v, want)
	}
	return l
}

// get is offer and bind.
func (r *rig) get(q Ask, want int) Lease {
	r.Helper()
	r.offer(q, want)
	return r.bind(q, want, Granted)
}

func TestLife(t *testing.T) {
	r := newRig(t, office(10, 12))
	l := r.offer(phone(1), 10)
	if !l.Anew || l.Doubt || l.Time != 8*time.Hour || l.State != Offered {
		t.Errorf("got %+v, want a new offer of 8 h", l)
	}
	r.offer(phone(1), 10)
	r.offer(phone(2), 11)
	l = r.bind(phone(1), 10, Granted)
	if l.State != Bound || l.Since != start || l.Until != start.Add(8*time.Hour) || l.Plugged != start {
		t.Errorf("got %+v, want a lease of 8 h", l)
	}
	r.bind(phone(2), 10, NotYours)
	r.bind(phone(3), 12, Unknown)
	if over := r.pass(time.Minute); over != nil {
		t.Errorf("got %v over, want an offer's end to be silent", over)
	}
	r.bind(phone(2), 11, Unknown)
	r.offer(phone(3), 11)
	r.pass(4*time.Hour - time.Minute)
	if l = r.bind(phone(1), 10, Granted); l.Since != start || l.Until != start.Add(12*time.Hour) || !l.Known {
		t.Errorf("renewed %+v, want since %s, and known", l, start)
	}
	if want := start.Add(12 * time.Hour); r.pass(4*time.Hour) != nil || !r.Next().Equal(want) {
		t.Errorf("next %s, want %s", r.Next(), want)
	}
	if over := r.pass(4 * time.Hour); len(over) != 1 || over[0].Addr != addr(10) {
		t.Errorf("over %v, want .10", over)
	}
	if at, found := r.At(addr(10)); !found || at.State != Free || at.Client != phone(1).Client {
		t.Errorf("got %+v, want .10 free and its last client", at)
	}
	r.offer(phone(4), 11)
	r.offer(phone(5), 12)
	if l := r.offer(phone(1), 10); l.Anew {
		t.Error("its old address is said to be new")
	}
}

func TestOldestFirst(t *testing.T) {
	r := newRig(t, office(10, 12))
	for i := range 3 {
		r.get(phone(i), 10+i)
		r.pass(time.Second)
	}
	r.pass(time.Minute)
	r.Release(r.now, phone(1), addr(11))
	r.Release(r.now, phone(0), addr(10))
	r.get(phone(7), 11)
	r.get(phone(8), 10)
	r.refuse(phone(9), ErrFull)
}

func TestWhereItIsFrom(t *testing.T) {
	far := Subnet{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Pools: []Pool{{Range: Range{netip.MustParseAddr("198.51.100.5"), netip.MustParseAddr("198.51.100.5")}}}}
	r := newRig(t, office(10, 12), far)
	r.get(phone(1), 10)
	moved := phone(1)
	moved.Link = far.Pools[0].First
	r.bind(moved, 10, WrongNet)
	if l, err := r.Offer(r.now, moved); err != nil || l.Addr != far.Pools[0].First {
		t.Errorf("got %s, %v", l.Addr, err)
	}
	moved.Link = netip.MustParseAddr("203.0.113.1")
	r.refuse(moved, ErrNoSubnet)
	if l := r.Of(phone(1).Client); len(l) != 2 || l[0].State != Bound || l[1].State != Offered {
		t.Errorf("got %+v, want an address in each subnet", l)
	}
	r.refuse(Ask{Link: link}, ErrNoClient)
}

func TestGivingUp(t *testing.T) {
	r := newRig(t, office(10, 10))
	r.get(phone(1), 10)
	forged := phone(1)
	forged.Source = addr(11)
	for name, q := range map[string]Ask{"another client": phone(2), "another source": forged, "another card": {Client: phone(1).Client, MAC: phone(2).MAC}} {
		if _, done := r.Release(r.now, q, addr(10)); done {
			t.Errorf("%s released it", name)
		}
		if _, done := r.Decline(r.now, q, addr(10)); done {
			t.Errorf("%s declined it", name)
		}
	}
	if l, done := r.Release(r.now, phone(1), addr(10)); !done || l.State != Free || l.Client != phone(1).Client {
		t.Errorf("got %+v, %v, want it free", l, done)
	}
	r.get(phone(2), 10)
	if l, done := r.Decline(r.now, phone(2), addr(10)); !done || l.State != Declined {
		t.Errorf("got %+v, %v, want it declined", l, done)
	}
	r.bind(phone(2), 10, NotYours)
	r.refuse(phone(2), ErrFull)
	if over := r.pass(time.Hour); over != nil {
		t.Errorf("got %v over", over)
	}
	if l := r.offer(phone(2), 10); !l.Anew || !l.Doubt {
		t.Errorf("got %+v, want it probed first", l)
	}
	if _, done := r.Busy(r.now, addr(10)); !done {
		t.Error("an answered probe changes nothing")
	}
	r.refuse(phone(2), ErrFull)
}

func TestReservations(t *testing.T) {
	c := office(10, 11)
	c.Reservations = []Reservation{{MAC: phone(1).MAC, Addr: addr(10), Host: "lobby"}, {Client: "cid", Addr: addr(200)}, {Port: "1/0/7", Addr: addr(201)}}
	r := newRig(t, c)
	r.get(phone(2), 11)
	r.refuse(phone(3), ErrFull)
	if l := r.get(phone(1), 10); l.Host != "lobby" || !l.Known {
		t.Errorf("got %+v", l)
	}
	other := phone(1)
	other.Client = "another system"
	r.get(other, 10)
	q := phone(4)
	q.Client = "cid"
	r.get(q, 200)
	q = phone(5)
	q.Port = "1/0/7"
	r.get(q, 201)
	behind := phone(6) // a computer behind that phone
	behind.Port = "1/0/7"
	r.refuse(behind, ErrFull)
	r.bind(behind, 201, NotYours)
	r.pass(8 * time.Hour)
	r.get(behind, 201)
}

func TestProblems(t *testing.T) {
	bad := office(10, 12)
	bad.Pools = append(bad.Pools, Pool{Range: Range{addr(12), addr(9)}}, Pool{Range: Range{addr(11), netip.MustParseAddr("192.0.3.1")}}, Pool{Range: Range{addr(11), addr(20)}})
	bad.Reservations = []Reservation{{Addr: addr(7)}, {MAC: "a", Addr: addr(7)}, {MAC: "a", Addr: addr(8)}}
	bad.Share = Share{3, 2}
	bad.Min, bad.Max = time.Hour, time.Minute
	var got []string
	for _, err := range bad.Problems() {
		got = append(got, err.Error())
	}
	want := []string{
		"subnet 192.0.2.0/24: pool 192.0.2.12-192.0.2.9 is no range",
		"subnet 192.0.2.0/24: pool 192.0.2.11-192.0.3.1 is outside",
		"subnet 192.0.2.0/24: pools 192.0.2.10-192.0.2.12 and 192.0.2.11-192.0.2.20 overlap",
		"subnet 192.0.2.0/24: reservation of 192.0.2.7 names 0 of mac, client id and port, want one",
		"subnet 192.0.2.0/24: 192.0.2.7 is reserved twice",
		"subnet 192.0.2.0/24: one client has two reservations, one of them 192.0.2.8",
		"subnet 192.0.2.0/24: part 3 of 2",
		"subnet 192.0.2.0/24: shortest lease 1h0m0s is above the longest, 1m0s",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := New([]Subnet{office(1, 2), {Prefix: netip.MustParsePrefix("192.0.2.128/25")}}); err == nil {
		t.Error("two subnets overlap, and nobody says so")
	}
}
