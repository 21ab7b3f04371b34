package media

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestPoolTakesTheLongestResting(t *testing.T) {
	now := time.Now()
	p := newPool(20000, 20005, 2, 30*time.Second)
	take := func(after time.Duration, want int, bound bool) *pair {
		t.Helper()
		got, port, found := p.take(loopback, now.Add(after))
		if !found || port != want || (got != nil) != bound {
			t.Errorf("after %s: got %d, bound %v, found %v, want %d, %v", after, port, got != nil, found, want, bound)
		}
		if got == nil {
			return &pair{at: loopback, port: port}
		}
		return got
	}
	counts := func(after time.Duration, all, resting int) {
		t.Helper()
		if a, r := p.idle(now.Add(after)); a != all || r != resting {
			t.Errorf("after %s: got %d idle and %d resting, want %d and %d", after, a, r, all, resting)
		}
	}
	a := take(0, 20000, false)
	if !p.keep(a, now) {
		t.Error("the first pair was not kept")
	}
	b := take(0, 20002, false) // 20000 rests
	c := take(0, 20004, false)
	counts(0, 1, 1)
	take(0, 20000, true) // nothing else is left
	if _, _, found := p.take(loopback, now); found {
		t.Error("took a port that is in use")
	}
	if p.used != 3 {
		t.Errorf("%d used, want 3", p.used)
	}
	if !p.keep(c, now) || !p.keep(b, now.Add(time.Second)) || p.keep(a, now) {
		t.Error("want two pairs kept and no third")
	}
	p.release(a.port, now.Add(-time.Second))
	for after, want := range map[time.Duration]int{0: 3, 29 * time.Second: 2, 30 * time.Second: 1, 31 * time.Second: 0} {
		counts(after, 3, want)
	}
	take(0, 20000, false)                  // of three that have rested too little the one that has longest
	take(32*time.Second, 20004, true)      // one that is bound before one that is not
	p.release(20000, now.Add(time.Second)) // as long as the other
	take(32*time.Second, 20002, true)
	take(32*time.Second, 20000, false)
	counts(time.Hour, 0, 0)
	if p.bound != 0 || p.longest() != nil {
		t.Error("a pair is left")
	}
}

// A pair that is bound elsewhere is taken when there is no other, and bound anew.
func TestPairsMoveToWhereTheyAreWanted(t *testing.T) {
	now, other := time.Now(), netip.MustParseAddr("192.0.2.1")
	p := newPool(20000, 20003, 9, 30*time.Second)
	for range 2 {
		p.take(loopback, now)
	}
	a := &pair{at: loopback, port: 20000}
	p.keep(a, now)
	if got, port, found := p.take(other, now); got != a || port != 20000 || !found {
		t.Errorf("got %v %d %v, want the pair at %s", got, port, found, loopback)
	}
	p.keep(a, now)
	p.release(20002, now.Add(-30*time.Second))
	if got, port, _ := p.take(other, now); got != nil || port != 20002 {
		t.Errorf("got %v %d, want 20002, which is free", got, port)
	}

	r, _ := newRelay(t, 2, func(c *Config) { c.Addr = netip.IPv4Unspecified() })
	first, second := netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")
	for _, at := range []netip.Addr{first, second, first} {
		x, err := r.openPair(at)
		if err != nil {
			t.Fatal(err)
		}
		y, err := r.openPair(at)
		if err != nil || x.at != at || y.at != at {
			t.Fatalf("%v, bound at %s and %s, want %s", err, x.at, y.at, at)
		}
		if n := bound(r); n != 4 {
			t.Errorf("%d ports bound, want 4", n)
		}
		r.putBack([]*pair{x, y})
	}
}

// bound is how many ports r has bound.
func bound(r *Relay) (n int) {
	for i := range r.bound {
		if r.bound[i].Load() != nil {
			n++
		}
	}
	return n
}

// A pair of a call that is over stays bound and is taken again when it has rested.
func TestPairsStayBound(t *testing.T) {
	r, _ := newRelay(t, 8, func(c *Config) { c.Rest = 1 })
	br, a, _ := answered(t, r)
	port, first := a.relay.Port(), map[*pair]bool{br.find("A").streams[0].ports: true, br.find("B1").streams[0].ports: true}
	br.Close()
	if free(int(port), 2) {
		t.Errorf("port %d is not bound while it rests", port)
	}
	if used, free, resting := r.Ports(); used != 0 || free != 16 || resting != 0 {
		t.Errorf("ports %d %d %d, want 0 16 0", used, free, resting)
	}
	br, a, b := answered(t, r)
	if !first[br.find("A").streams[0].ports] || !first[br.find("B1").streams[0].ports] {
		t.Error("other pairs were bound while these had rested")
	}
	a.send('1')
	hear(t, b.rtp, 12, '1')
	br.Close()
	r.shrink(time.Now().Add(keepFor - time.Second))
	if free(int(port), 2) {
		t.Error("closed too early")
	}
	r.shrink(time.Now().Add(keepFor + time.Second))
	if !free(int(port), 2) {
		t.Error("a pair that nobody wants was not closed")
	}
	if used, free, resting := r.Ports(); used != 0 || free != 16 || resting != 0 {
		t.Errorf("ports %d %d %d after that, want 0 16 0", used, free, resting)
	}
	_, a, b = answered(t, r)
	a.send('2')
	hear(t, b.rtp, 12, '2')
}

// Who sends on to a port after its call neither is heard by the next call there, nor hears it.
func TestTheLastCallIsNotHeardInTheNext(t *testing.T) {
	r, m := newRelay(t, 2)
	br, a, b := answered(t, r)
	a.send('1')
	hear(t, b.rtp, 12, '1')
	b.send('2')
	hear(t, a.rtp, 12, '2')
	br.Close()
	a.send('3') // to a port that rests
	a.report(a.rtcp, a.relayRTCP(), '4')
	waitFor(t, "drop", func() bool { return dropCount(m, resting) == 2 })
	next, c, d := answered(t, r)
	if c.relay != a.relay && c.relay != b.relay {
		t.Fatalf("another pair, %s, of a relay that has two", c.relay)
	}
	st := next.State()
	next.mu.Lock()
	s := next.find("A").streams[0]
	if st.A.Packets != 0 || st.B.Packets != 0 || !st.Heard.IsZero() || s.media.latched.IsValid() || s.tally.source != 0 {
		t.Errorf("the next call begins with %+v, latched to %s, source %x", st, s.media.latched, s.tally.source)
	}
	next.mu.Unlock()
	c.send('5')
	hear(t, d.rtp, 12, '5')
	d.send('z')
	hear(t, c.rtp, 12, 'z')
	a.relay = c.relay
	a.send('6') // it is on this machine, as the new phone is, but another port than the one that talks
	waitFor(t, "drop", func() bool { return dropCount(m, otherPort) == 1 })
	sendTo(t, d.rtp, d.relay, packet(7, 'y'))
	hear(t, c.rtp, 12, 'y')
	sendTo(t, d.rtp, a.rtp.LocalAddr().(*net.UDPAddr).AddrPort(), packet(8, 'z'))
	silence(t, a.rtp, "the phone of the last call")
}

// Close leaves no port bound.
func TestCloseUnbindsWhatRests(t *testing.T) {
	r, _ := newRelay(t, 4)
	br, a, _ := answered(t, r)
	_, c, _ := answered(t, r)
	br.Close()
	r.Close()
	for _, port := range []uint16{a.relay.Port(), c.relay.Port()} {
		if !free(int(port), 2) {
			t.Errorf("port %d is bound", port)
		}
	}
	if n := len(r.open()); n != 0 || r.pool.bound != 0 {
		t.Errorf("%d calls, %d pairs", n, r.pool.bound)
	}
}

// A relay keeps only as many pairs as the limit of open files leaves room for.
func TestPairsKeptAreBounded(t *testing.T) {
	r, _ := newRelay(t, 4)
	r.pool.most = 1
	br, a, b := answered(t, r)
	br.Close()
	if n := r.pool.bound; n != 1 {
		t.Errorf("%d pairs rest bound, want 1", n)
	}
	if free(int(a.relay.Port()), 2) == free(int(b.relay.Port()), 2) {
		t.Error("want one of both pairs bound")
	}
	if used, _, resting := r.Ports(); used != 0 || resting != 4 {
		t.Errorf("%d used, %d resting, want 0 and 4", used, resting)
	}
}
