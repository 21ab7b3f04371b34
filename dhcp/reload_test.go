package dhcp

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/siproam/siproam/dhcp/wire"
)

// TestReload: reservations and what phones are told change while the server runs; a lease whose subnet is gone is over, and what
// is wrong changes nothing.
func TestReload(t *testing.T) {
	cfg := office()
	inLab(t, cfg, func(l *lab) {
		ip := netip.MustParseAddr(l.dora(1))
		var over []netip.Addr
		next := office()
		next.Subnets[0].Reservations = []Reservation{{MAC: "00:15:65:01:02:09", Address: netip.MustParseAddr("10.2.0.7")}}
		next.Interfaces = []string{"eth9"}
		l.loop.Do(context.Background(), func() {
			l.s.OnOver(func(ip netip.Addr) { over = append(over, ip) })
			if err := l.s.Reload(next); err != nil {
				t.Error(err)
			}
			if got := l.s.config().Interfaces; len(got) != 1 || got[0] != "eth0" {
				t.Errorf("got interfaces %v, want those there were", got)
			}
			if _, found := l.s.At(ip); !found || len(over) > 0 {
				t.Errorf("the lease of %v did not stay", ip)
			}
		})
		if got := l.dora(9); got != "10.2.0.7" {
			t.Errorf("got %v, want the new reservation", got)
		}
		next.Subnets[0].Network, next.Subnets[0].Router = netip.MustParsePrefix("10.9.0.0/24"), netip.Addr{}
		next.Subnets[0].Pools, next.Subnets[0].Reservations = []Range{rangeOf("10.9.0.100-10.9.0.200")}, nil
		l.loop.Do(context.Background(), func() {
			if err := l.s.Reload(next); err != nil {
				t.Error(err)
			}
			if _, found := l.s.At(ip); found || len(over) != 2 {
				t.Errorf("got %v over, want both leases of the subnet that is gone", over)
			}
		})
	})
}

// TestBesideGone: while another server answers nothing is served, and the reason can be read; when it has gone we serve.
func TestBesideGone(t *testing.T) {
	cfg := office()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, cfg)
		l.others = []wire.Other{{Interface: "eth0", ID: netip.MustParseAddr("10.2.0.66")}}
		l.start(cfg)
		defer func() { l.stop() }()
		synctest.Wait()
		if err := l.s.Trouble(); !errors.Is(err, ErrBeside) || !strings.Contains(err.Error(), "10.2.0.66") {
			t.Errorf("got %v, want the other server named", err)
		}
		l.send(l.of(1, tDiscover))
		l.silent()
		l.mu.Lock()
		l.others = nil
		l.mu.Unlock()
		time.Sleep(lookAgain + serversFor)
		synctest.Wait()
		if err := l.s.Trouble(); err != nil {
			t.Errorf("got %v, want none: it has gone", err)
		}
		l.dora(1)
	})
}
