package transport

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
)

var (
	stranger   = netip.MustParseAddrPort("192.0.2.9:5060")
	smallRates = Overload{Source: Rate{PerSecond: 10, Burst: 5}, Registered: Rate{PerSecond: 20, Burst: 10}}
)

// burst is how many datagrams in a row are admitted, of at most 100.
func (l *limiter) burst(from netip.AddrPort) (n int) {
	for range 100 {
		if l.admit(from, l.now()) {
			n++
		}
	}
	return n
}

// A source gets its burst, then its rate; its neighbours are none of its business.
func TestSourceLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &metric.Set{}
		l := newLimiter(smallRates, m, zerolog.Nop())
		for _, c := range []struct {
			name, from string
			after      time.Duration
			want       int
		}{
			{"a burst", "192.0.2.9:5060", 0, 5},
			{"the same address, another port", "192.0.2.9:5062", 0, 0},
			{"another address", "192.0.2.10:5060", 0, 5},
			{"a second later", "192.0.2.9:5060", time.Second, 5},
			{"three tenths later", "192.0.2.9:5060", 300 * time.Millisecond, 3},
			{"IPv6", "[2001:db8::1]:5060", 0, 5},
			{"the same /64", "[2001:db8::ffff:2]:5060", 0, 0},
			{"another /64", "[2001:db8:0:1::1]:5060", 0, 5},
			{"link-local", "[fe80::1%eth0]:5060", 0, 5},
			{"a neighbour there", "[fe80::2%eth0]:5060", 0, 5},
		} {
			time.Sleep(c.after)
			if got := l.burst(netip.MustParseAddrPort(c.from)); got != c.want {
				t.Errorf("%s: %d admitted, want %d", c.name, got, c.want)
			}
		}
		if n, _ := m.Overload().With("source").Count(); n != 1000-38 {
			t.Errorf("counted %d, want %d", n, 1000-38)
		}
	})
}

// A flow that carries registrations has a bucket of its own, for as long as it carries one.
func TestVouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &Transport{limit: newLimiter(smallRates, nil, zerolog.Nop())}
		one := roam.Flow{Transport: roam.UDP, Local: netip.MustParseAddrPort("192.0.2.1:5060"), Remote: stranger}
		two := one
		two.Local = netip.MustParseAddrPort("192.0.2.2:5060")
		beside := netip.AddrPortFrom(stranger.Addr(), 999)
		tr.limit.burst(beside)
		tr.Vouch(one, true)
		tr.Vouch(two, true)
		if got := tr.limit.burst(stranger); got != 10 {
			t.Errorf("registered, its address used up: %d admitted, want 10", got)
		}
		tr.Vouch(one, false)
		if !tr.Vouched(two) {
			t.Error("the second registration of the path is forgotten with the first")
		}
		tr.Vouch(two, false)
		if tr.Vouched(two) || len(tr.limit.vouched) != 0 || tr.limit.burst(stranger) != 0 {
			t.Error("it stays when the last registration has gone")
		}
		conn := roam.Flow{Transport: roam.TCP, Conn: 7, Remote: stranger}
		tr.Vouch(conn, true)
		if !tr.Vouched(conn) || tr.Vouched(one) {
			t.Error("a connection is told by its port")
		}
	})
}

// A stream owes what it sent too much, but never waits long.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(smallRates, nil, zerolog.Nop())
		f := roam.Flow{Transport: roam.TCP, Conn: 7, Remote: stranger}
		for _, c := range []struct {
			n    int
			want time.Duration
		}{{5, 0}, {0, 0}, {1, 100 * time.Millisecond}, {3, 400 * time.Millisecond}, {1000, 5 * time.Second}} {
			if got := l.wait(f, c.n); got != c.want {
				t.Errorf("%d more: wait %v, want %v", c.n, got, c.want)
			}
		}
	})
}

// What is charged is missing later.
func TestCharge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &Transport{limit: newLimiter(smallRates, nil, zerolog.Nop())}
		f := roam.Flow{Transport: roam.UDP, Remote: stranger}
		tr.Charge(f, 3)
		if got := tr.limit.burst(stranger); got != 2 {
			t.Errorf("%d admitted after 3 were charged, want 2", got)
		}
		tr.Charge(f, 1000)
		time.Sleep(5 * time.Second) // more is never owed
		if got := tr.limit.burst(stranger); got != 0 {
			t.Errorf("%d admitted, want 0", got)
		}
		time.Sleep(time.Second / 2)
		if got := tr.limit.burst(stranger); got != 5 {
			t.Errorf("%d admitted half a second later, want 5", got)
		}
	})
}

// The table stays as it is however many sources there are, and whoever is over his rate stays in it.
func TestManySources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(smallRates, nil, zerolog.Nop())
		l.burst(stranger)
		for i := range 100_000 {
			l.admit(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 5060), l.now())
		}
		if got := l.burst(stranger); got != 0 {
			t.Errorf("%d admitted after a flood from elsewhere, want 0", got)
		}
	})
}

// Exempt sources and a rate of 0 know no limit.
func TestExempt(t *testing.T) {
	o := smallRates
	o.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	l := newLimiter(o, nil, zerolog.Nop())
	if got := l.burst(stranger); got != 100 {
		t.Errorf("exempt: %d admitted, want 100", got)
	}
	l.configure(Overload{})
	if got := l.burst(netip.MustParseAddrPort("203.0.113.1:1")); got != 100 {
		t.Errorf("no limit: %d admitted, want 100", got)
	}
}

// One line of log a second says whom, and how much.
func TestLimitLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		l := newLimiter(smallRates, nil, zerolog.New(&out))
		l.burst(stranger)
		time.Sleep(time.Second)
		l.burst(stranger)
		want := `"remote_ip":"192.0.2.9","dropped":%d,`
		if n := strings.Count(out.String(), "\n"); n != 2 || !strings.Contains(out.String(), fmt.Sprintf(want, 1)) || !strings.Contains(out.String(), fmt.Sprintf(want, 95)) {
			t.Errorf("logged %s", out.String())
		}
	})
}

func TestOverloadValidate(t *testing.T) {
	for _, c := range []struct {
		change func(*Overload)
		want   string
	}{
		{func(*Overload) {}, ""},
		{func(o *Overload) { *o = Overload{} }, ""},
		{func(o *Overload) { o.Source.PerSecond = -1 }, "source: -1 per_second"},
		{func(o *Overload) { o.Source.Burst = 0 }, "source: burst 0"},
		{func(o *Overload) { o.Registered.PerSecond = 1 }, "registered: below source"},
	} {
		o := DefaultOverload()
		c.change(&o)
		err := o.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

// What every datagram pays: under 100 ns, and nothing allocated.
func BenchmarkAdmit(b *testing.B) {
	many := make([]netip.AddrPort, 4096)
	for i := range many {
		many[i] = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 5060)
	}
	for _, c := range []struct {
		name    string
		vouched bool
		rate    int
	}{{"strangers", false, 1_000_000}, {"registered", true, 1_000_000}, {"dropped", false, 1}} {
		b.Run(c.name, func(b *testing.B) {
			o := DefaultOverload()
			o.Source, o.Registered = Rate{c.rate, 1}, Rate{1_000_000, 1}
			l := newLimiter(o, &metric.Set{}, zerolog.Nop())
			for _, a := range many {
				if c.vouched {
					l.vouch(l.key(roam.Flow{Remote: a}), true)
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				l.admit(many[i%len(many)], int64(i)*1000)
			}
		})
	}
}
