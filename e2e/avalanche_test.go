//go:build endpoints

package e2e

import (
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// TestDHCPAvalanche is a building whose power comes back: the office, killed, has just started, and all phones ask at once, half
// for the address they had (INIT-REBOOT), half from the beginning. SIPROAM_DHCP_CLIENTS of them, else 400, must all have their
// address within 60 s.
func TestDHCPAvalanche(t *testing.T) {
	many := 400
	if n, err := strconv.Atoi(os.Getenv("SIPROAM_DHCP_CLIENTS")); err == nil {
		many = n
	}
	s, err := newSite("avalanche")
	must(t, err)
	s.wide(t)
	o := s.dhcpOffice(t, "north", "north", wideYAML("10.128.1.0-10.128.63.255"), "10.128.0.2:5060").start()
	n := s.newcomer(t, "crowd", 1)
	n.plug(t, "north")
	w := n.swarm(t)
	had := make([]netip.Addr, many)
	began := time.Now()
	each(many, 100, func(i int) {
		a, err := w.bind(macOf(1, i), 60*time.Second)
		if err != nil {
			t.Error(err)
		}
		had[i] = a.yiaddr
	})
	t.Logf("%d clients bound one after another in %v", many, time.Since(began).Round(time.Millisecond))
	o.kill()
	o.start()
	began = time.Now()
	took := make([]time.Duration, many)
	have := make([]netip.Addr, many)
	each(many, many, func(i int) {
		var a dhcpReply
		var err error
		if i%2 == 0 {
			a, err = w.reboot(macOf(1, i), had[i], 60*time.Second)
		} else {
			a, err = w.bind(macOf(1, i), 60*time.Second)
		}
		if err != nil {
			t.Error(err)
		}
		took[i], have[i] = time.Since(began), a.yiaddr
	})
	holder := map[netip.Addr]int{}
	for i, a := range have {
		if a != had[i] {
			t.Errorf("client %d: got %v, want the address it had, %v", i, a, had[i])
		}
		if other, taken := holder[a]; taken {
			t.Errorf("%v is of clients %d and %d", a, other, i)
		}
		holder[a] = i
	}
	slices.Sort(took)
	t.Logf("%d clients at once: half after %v, 99 of 100 after %v, all after %v; resident %d MiB",
		many, took[many/2].Round(time.Millisecond), took[many*99/100].Round(time.Millisecond), took[many-1].Round(time.Millisecond), o.resident())
	if took[many-1] > 60*time.Second {
		t.Errorf("all after %v, want 60s", took[many-1])
	}
}

// each calls do with 0 to n-1, so many at once.
func each(n, atOnce int, do func(i int)) {
	var all sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i := range n {
		places <- struct{}{}
		all.Go(func() {
			do(i)
			<-places
		})
	}
	all.Wait()
}
