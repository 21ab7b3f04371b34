//go:build endpoints

package e2e

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// either is short, or long when soaking.
func either[T any](short, long T) T {
	if soaking {
		return long
	}
	return short
}

// hostileSite is a site with a wide LAN, phones on one cable and somebody else on another.
func hostileSite(t *testing.T, name string) (s site, phones, other *swarm) {
	t.Helper()
	s, err := newSite(name)
	must(t, err)
	s.wide(t)
	for i, w := range []**swarm{&phones, &other} {
		n := s.newcomer(t, []string{"phones", "other"}[i], i+1)
		n.plug(t, "north")
		*w = n.swarm(t)
	}
	return s, phones, other
}

// TestDHCPStarvation has somebody ask for addresses in the names of ever new devices, 1,000 a second, and take all that he is
// offered. 100 phones that the office has seen before get theirs within 10 s, out of a pool of 250.
func TestDHCPStarvation(t *testing.T) {
	s, phones, other := hostileSite(t, "starve")
	yaml := strings.Replace(wideYAML("10.128.1.1-10.128.1.250", "limits: {reserve: 45}"), "time: 1h", "time: 1h, min: 10s", 1)
	o := s.dhcpOffice(t, "north", "north", yaml, "10.128.0.2:5060").start()
	const known = 100
	var had [known]netip.Addr
	each(known, 20, func(i int) { // an ordinary day: they come,
		a, err := phones.bind(macOf(1, i), 20*time.Second)
		if err != nil {
			t.Error(err)
		}
		had[i] = a.yiaddr
	})
	time.Sleep(5100 * time.Millisecond) // half of the lease that they ask for is over,
	each(known, 20, func(i int) {       // they renew and are known from then on, and they go
		if err := phones.renew(macOf(1, i), had[i], 10*time.Second); err != nil {
			t.Error(err)
		}
		phones.send(dhcpMessage{mac: macOf(1, i), xid: rand.Uint32(), kind: dhcpRelease, ciaddr: had[i], from: had[i]})
	})
	floods := either(5000, 20000)
	other.greedy.Store(true)
	flooded := make(chan time.Duration)
	go func() {
		began := time.Now()
		for i := range floods {
			other.send(dhcpMessage{mac: macOf(rand.IntN(1<<15)+256, i), xid: rand.Uint32(), kind: dhcpDiscover})
			if ahead := time.Duration(i)*time.Millisecond - time.Since(began); ahead > 0 {
				time.Sleep(ahead) // 1,000 a second
			}
		}
		flooded <- time.Since(began)
	}()
	time.Sleep(time.Duration(floods) * time.Millisecond / 3) // all there is to take is taken by then
	took := make([]time.Duration, known)
	each(known, known, func(i int) {
		began := time.Now()
		if _, err := phones.bind(macOf(1, i), 15*time.Second); err != nil {
			t.Error(err)
		}
		took[i] = time.Since(began)
	})
	slices.Sort(took)
	rate := float64(floods) / (<-flooded).Seconds()
	t.Logf("%d DISCOVERs at %.0f/s: half of %d phones had an address after %v, all after %v; resident %d MiB",
		floods, rate, known, took[known/2].Round(time.Millisecond), took[known-1].Round(time.Millisecond), o.resident())
	if took[known-1] > 10*time.Second {
		t.Errorf("the last phone waited %v, want 10s", took[known-1])
	}
	if mib := o.resident(); mib > 100 {
		t.Errorf("resident %d MiB, want 100", mib)
	}
}

// TestDHCPSpoofed has somebody give back, and decline, the addresses of others in their names. They keep them, and nobody else
// gets one, however many ask.
func TestDHCPSpoofed(t *testing.T) {
	s, phones, other := hostileSite(t, "spoof")
	s.dhcpOffice(t, "north", "north", wideYAML("10.128.1.1-10.128.1.60", "limits: {reserve: 0}"), "10.128.0.2:5060").start()
	const victims = 50
	var lease [victims]dhcpReply
	mine := map[netip.Addr]bool{}
	var mu sync.Mutex
	each(victims, 20, func(i int) {
		a, err := phones.bind(macOf(1, i), 20*time.Second)
		if err != nil {
			t.Error(err)
		}
		lease[i] = a
		phones.has(macOf(1, i), a.yiaddr)
		mu.Lock()
		mine[a.yiaddr] = true
		mu.Unlock()
	})
	for i := range either(1000, 10000) {
		l := lease[i%victims]
		m := dhcpMessage{mac: macOf(1, i%victims), xid: rand.Uint32(), kind: dhcpRelease, ciaddr: l.yiaddr, options: option(54, four(l.server)...)}
		if i/victims%2 == 0 {
			m.from = l.yiaddr
		}
		other.send(m)
		m.kind, m.ciaddr, m.from = dhcpDecline, netip.Addr{}, netip.Addr{}
		m.options = append(m.options, option(50, four(l.yiaddr)...)...)
		other.send(m)
		if i%10 == 0 {
			time.Sleep(10 * time.Millisecond) // no flood
		}
	}
	each(100, 100, func(i int) { // they want whatever has come free
		if a, err := other.bind(macOf(2, i), 3*time.Second); err == nil && mine[a.yiaddr] {
			t.Errorf("%v is given to somebody else", a.yiaddr)
		}
	})
	for i, l := range lease {
		a, err := phones.reboot(macOf(1, i), l.yiaddr, 10*time.Second)
		if err != nil || a.yiaddr != l.yiaddr {
			t.Errorf("phone %d: got %v, %v, want %v as before", i, a.yiaddr, err, l.yiaddr)
		}
	}
}

// TestDHCPForged sends what no client and no relay sends. Nothing of it is answered, or harms; what was stored loads again.
func TestDHCPForged(t *testing.T) {
	s, phones, other := hostileSite(t, "forge")
	o := s.dhcpOffice(t, "north", "north", wideYAML("10.128.1.0-10.128.15.255", "limits: {offers: 4000}"), "10.128.0.2:5060").start()
	addr := netip.MustParseAddr
	nested := option(82, append(option(1, option(82, option(1, 'x')...)...), option(82, option(82, option(1)...)...)...)...)
	for name, m := range map[string]dhcpMessage{
		"option 82 of a client":              {options: option(82, option(1, []byte("port 7")...)...)},
		"option 82 in option 82, unrelayed":  {options: nested},
		"a relay that nobody knows":          {giaddr: addr("192.0.2.1"), from: addr("192.0.2.1"), to: addr("10.128.0.2"), options: option(82, option(1, []byte("port 7")...)...)},
		"a subnet selected that is not ours": {giaddr: addr("192.0.2.1"), from: addr("192.0.2.1"), to: addr("10.128.0.2"), options: option(82, option(5, 10, 128, 0, 0)...)},
		"an option longer than the message":  {options: []byte{12, 255, 'x'}},
		"option 82 longer than its option":   {options: option(82, 1, 200, 'x')},
		"a group's address":                  {options: option(50, 255, 255, 255, 255)},
	} {
		m.mac, m.kind, m.xid = macOf(3, len(name)), dhcpDiscover, rand.Uint32()
		if name == "a group's address" {
			m.mac[0] |= 1
		}
		replies := other.expects(m.mac)
		other.send(m)
		select {
		case r := <-replies:
			t.Errorf("%s: answered with type %d, %v", name, r.kind, r.yiaddr)
		case <-time.After(400 * time.Millisecond):
		}
	}
	// Names that are none, and everything that chance makes of a good message.
	each(20, 20, func(i int) {
		mac := macOf(4, i)
		replies := other.expects(mac)
		m := dhcpMessage{mac: mac, xid: rand.Uint32(), kind: dhcpDiscover, options: option(12, []byte("a\x00\n\x1b[2J'); DROP TABLE\xff\xfe<script>")...)}
		of, err := other.ask(replies, m, time.Second, time.Now().Add(5*time.Second), dhcpOffer)
		if err != nil {
			return // refused is as good as cleaned
		}
		m.kind, m.options = dhcpRequest, append(m.options, append(option(50, four(of.yiaddr)...), option(54, four(of.server)...)...)...)
		other.ask(replies, m, time.Second, time.Now().Add(5*time.Second), dhcpACK)
	})
	for i := range either(4000, 200000) {
		b := make([]byte, 300+rand.IntN(900))
		b[0], b[1], b[2] = 1, 1, 6
		mac := macOf(5, i)
		copy(b[28:], mac[:])
		copy(b[236:], []byte{99, 130, 83, 99, 53, 1, byte(1 + rand.IntN(8))})
		for j := 243; j < len(b); {
			j += copy(b[j:], option([]byte{12, 43, 50, 52, 54, 55, 57, 60, 61, 77, 82, 118, 119, 120, 124, 125, 255, byte(rand.IntN(256))}[rand.IntN(18)], junk(rand.IntN(80))...))
		}
		for range rand.IntN(4) {
			b[rand.IntN(len(b))] = byte(rand.IntN(256))
		}
		other.datagram(dhcpMessage{mac: mac}, b)
		if i%20 == 0 {
			time.Sleep(5 * time.Millisecond)
		}
	}
	first, err := phones.bind(macOf(1, 1), 10*time.Second)
	must(t, err)
	o.kill()
	o.start()
	again, err := phones.reboot(macOf(1, 1), first.yiaddr, 10*time.Second)
	if err != nil || again.yiaddr != first.yiaddr {
		t.Errorf("after a restart: got %v, %v, want %v", again.yiaddr, err, first.yiaddr)
	}
	if mib := o.resident(); mib > 100 {
		t.Errorf("resident %d MiB, want 100", mib)
	}
}

// junk is octets of chance.
func junk(n int) []byte {
	b := make([]byte, n, n+8)
	for i := 0; i < n; i += 8 {
		b = binary.LittleEndian.AppendUint64(b[:i], rand.Uint64())
	}
	return b[:n]
}

// holders is who has been given which address. Nobody in these tests gives one back, and leases outlast them.
type holders struct {
	t  *testing.T
	mu sync.Mutex // guards by
	by map[netip.Addr][6]byte
}

func (h *holders) given(a netip.Addr, mac [6]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if other, taken := h.by[a]; taken && other != mac {
		h.t.Errorf("%v is given to %x and to %x", a, other, mac)
	}
	h.by[a] = mac
}

// TestDHCPKilled kills the office at moments of chance while phones come; none is asked whether it uses its address. No address is
// given twice, and what was given is kept.
func TestDHCPKilled(t *testing.T) {
	s, phones, _ := hostileSite(t, "killed")
	o := s.dhcpOffice(t, "north", "north", wideYAML("10.128.1.0-10.128.255.250", "probe: 0s", "look: 0s", "beside: true"), "10.128.0.2:5060").start()
	h := &holders{t: t, by: map[netip.Addr][6]byte{}}
	done := make(chan struct{})
	var all sync.WaitGroup
	for worker := range 16 {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				mac := macOf(100+worker, i)
				if a, err := phones.bind(mac, 30*time.Second); err == nil {
					h.given(a.yiaddr, mac)
				} else {
					t.Error(err)
				}
			}
		})
	}
	for range either(4, 200) {
		time.Sleep(time.Duration(100+rand.IntN(400)) * time.Millisecond)
		o.kill()
		o.start()
	}
	close(done)
	all.Wait()
	given := len(h.by)
	each(min(given, 300), 100, func(i int) {
		for a, mac := range some(h, i) {
			if r, err := phones.reboot(mac, a, 20*time.Second); err != nil || r.yiaddr != a {
				t.Errorf("%x: got %v, %v, want %v as before", mac, r.yiaddr, err, a)
			}
		}
	})
	t.Logf("%d addresses given, none twice", given)
}

// some is one of those given, by its number.
func some(h *holders, i int) map[netip.Addr][6]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	for a, mac := range h.by {
		if i--; i < 0 {
			return map[netip.Addr][6]byte{a: mac}
		}
	}
	return nil
}

// TestDHCPTwoServers has two servers of one office answer on one LAN, each with its half of the pool; one is killed, and the other
// goes on.
func TestDHCPTwoServers(t *testing.T) {
	s, phones, _ := hostileSite(t, "two")
	second := s.newcomer(t, "second", 9)
	second.plug(t, "north")
	must(t, feed("link set eth0 down\nlink set eth0 name br0\naddr add 10.128.0.3/16 dev br0\nlink set br0 up\n", "ip", "-n", second.ns(), "-batch", "-"))
	one := s.dhcpOffice(t, "north", "north", wideYAML("10.128.1.0-10.128.2.255", "share: {part: 1, of: 2}", "probe: 0s"), "10.128.0.2:5060").start()
	s.dhcpOffice(t, "second", "north", wideYAML("10.128.1.0-10.128.2.255", "share: {part: 2, of: 2}", "probe: 0s"), "10.128.0.3:5060").start()
	h := &holders{t: t, by: map[netip.Addr][6]byte{}}
	by := map[netip.Addr]int{}
	var mu sync.Mutex
	come := func(maker, many int) {
		each(many, 20, func(i int) {
			a, err := phones.bind(macOf(maker, i), 20*time.Second)
			if err != nil {
				t.Error(err)
				return
			}
			h.given(a.yiaddr, macOf(maker, i))
			mu.Lock()
			defer mu.Unlock()
			by[a.server]++
		})
	}
	come(1, 120)
	one.kill()
	come(2, 100)
	if len(h.by) != 220 || by[netip.MustParseAddr("10.128.0.3")] < 100 {
		t.Errorf("got %d addresses, %v; want 220, of the second at least 100", len(h.by), by)
	}
	t.Log(fmt.Sprint("addresses by server: ", by))
}
