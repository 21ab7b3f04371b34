package dhcp

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/rs/zerolog"

	"github.com/siproam/siproam/dhcp/lease"
	"github.com/siproam/siproam/dhcp/wire"
	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/store"
)

// lab is an office's DHCP server on one interface, 10.2.0.1/24, without a network.
type lab struct {
	t    testing.TB
	s    *Server
	loop *loop.Loop
	file *store.File
	m    *metric.Set
	log  bytes.Buffer
	eth0 *wire.Interface
	stop func()
	halt func()

	mu      sync.Mutex // guards what follows
	replies []wire.Reply
	busy    map[netip.Addr]wire.MAC // who answers probes
	probed  []netip.Addr
	others  []wire.Other
	ended   []netip.Addr // leases that were over
	take    func([]wire.Datagram)
}

var servers = Servers{Addrs: []netip.Addr{netip.IPv4Unspecified()}}

func (l *lab) Interfaces() []*wire.Interface { return []*wire.Interface{l.eth0} }

func (l *lab) Run(ctx context.Context, take func([]wire.Datagram)) error {
	l.mu.Lock()
	l.take = take
	l.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (l *lab) Send(all []wire.Reply) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range all {
		r.B = slices.Clone(r.B)
		l.replies = append(l.replies, r)
	}
}

func (l *lab) Probe(ctx context.Context, index int, ip netip.Addr, not wire.MAC) (bool, error) {
	l.mu.Lock()
	l.probed = append(l.probed, ip)
	who, there := l.busy[ip]
	l.mu.Unlock()
	if there && (who != not || who == wire.MAC{}) {
		return true, nil
	}
	<-ctx.Done()
	return false, nil
}

func (l *lab) Servers(context.Context, int, bool) ([]wire.Other, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.others, nil
}

// inLab runs fn with a server of cfg in a bubble.
func inLab(t *testing.T, cfg Config, fn func(l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, cfg)
		l.start(cfg)
		synctest.Wait()
		fn(l)
		l.stop()
	})
}

func newLab(t testing.TB, cfg Config) *lab {
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return &lab{t: t, busy: map[netip.Addr]wire.MAC{}, eth0: &wire.Interface{
		Index: 2, Name: "eth0", MAC: wire.MAC{2, 0, 0, 0, 0, 1}, Addrs: []netip.Prefix{netip.MustParsePrefix("10.2.0.1/24"), netip.MustParsePrefix("fe80::1/64")}, Up: true,
	}}
}

// start makes the server from its file and runs it.
func (l *lab) start(cfg Config) {
	var err error
	if l.file == nil {
		if l.file, err = store.Open(":memory:", Schema); err != nil {
			l.t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		end := make(chan struct{})
		go func() { l.file.Run(ctx); close(end) }()
		l.stop = func() { l.halt(); cancel(); <-end; l.file.Close() }
	}
	l.loop, l.m = loop.New(1000, 1000), &metric.Set{}
	if l.s, err = New(cfg, l.loop, l.file, l, func() Servers { return servers }, l.m, zerolog.New(&l.log)); err != nil {
		l.t.Fatal(err)
	}
	l.s.OnOver(func(ip netip.Addr) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ended = append(l.ended, ip)
	})
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { l.loop.Run(ctx) })
	all.Go(func() { l.s.Run(ctx) })
	l.halt = func() { cancel(); all.Wait() }
}

// restart is a process that died and one that takes its place: memory is gone, the file is there.
func (l *lab) restart(cfg Config) {
	l.halt()
	l.start(cfg)
	synctest.Wait()
}

// send has the server read one datagram, and waits until it has nothing more to do, probes left out. Time goes on by pace.
func (l *lab) send(d wire.Datagram) {
	l.t.Helper()
	if d.Interface == nil {
		d.Interface = l.eth0
	}
	if !d.From.IsValid() {
		d.From = netip.MustParseAddrPort("0.0.0.0:68")
	}
	if !d.To.IsValid() {
		d.To = wire.Broadcast.Addr()
	}
	l.take([]wire.Datagram{d})
	synctest.Wait()
	time.Sleep(pace) // for the disk
	synctest.Wait()
}

// sent is what the server has sent since it was last asked.
func (l *lab) sent() (all []wire.Reply) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all, l.replies = l.replies, nil
	return all
}

// answered is the one message that was sent, and where to; it fails where there is another number of them.
func (l *lab) answered() (*dhcpv4.DHCPv4, wire.Reply) {
	l.t.Helper()
	all := l.sent()
	if len(all) != 1 {
		l.t.Fatalf("got %d answers, want one\n%s", len(all), l.said())
	}
	m, err := dhcpv4.FromBytes(all[0].B)
	if err != nil {
		l.t.Fatal(err)
	}
	return m, all[0]
}

// silent fails where something was sent.
func (l *lab) silent() {
	l.t.Helper()
	for _, r := range l.sent() {
		m, _ := dhcpv4.FromBytes(r.B)
		l.t.Errorf("got %v to %v, want silence", m.MessageType(), r.To)
	}
}

// over is the addresses whose leases were over so far.
func (l *lab) over() []netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ended)
}

// at and lease ask the server on its loop.
func (l *lab) at(ip string) (got roam.Lease, found bool) {
	l.on(func() { got, found = l.s.At(at(ip)) })
	return got, found
}

func (l *lab) lease(ip string) (got lease.Lease) {
	l.on(func() { got, _ = l.s.table.At(at(ip)) })
	return got
}

func (l *lab) on(fn func()) {
	l.t.Helper()
	if err := l.loop.Do(context.Background(), fn); err != nil {
		l.t.Fatal(err)
	}
}

// has makes somebody answer for ip; nobody with the zero MAC.
func (l *lab) has(ip string, who wire.MAC) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if delete(l.busy, at(ip)); who != (wire.MAC{}) {
		l.busy[at(ip)] = who
	}
}

// questions is how many probes there were.
func (l *lab) questions() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.probed)
}

// said is the log so far.
func (l *lab) said() (text string) {
	l.on(func() { text = l.log.String() })
	return text
}

// probes waits until every probe is over.
func (l *lab) probes() {
	time.Sleep(l.s.cfg.Probe.D() + time.Millisecond)
	synctest.Wait()
}

// of is a message of the phone with this last octet in its MAC.
func (l *lab) of(phone byte, k dhcpv4.MessageType, with ...dhcpv4.Modifier) wire.Datagram {
	l.t.Helper()
	all := append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(mac(phone)), dhcpv4.WithRequestedOptions(
		dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer, dhcpv4.OptionSIPServers, dhcpv4.OptionTFTPServerName)}, with...)
	return wire.Datagram{B: asked(l.t, k, all...)}
}

func mac(phone byte) net.HardwareAddr { return net.HardwareAddr{0x00, 0x15, 0x65, 1, 2, phone} }

func wish(ip string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(ip)))
}

func server(ip string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(ip)))
}

// dora has a phone get an address, which it returns.
func (l *lab) dora(phone byte, with ...dhcpv4.Modifier) string {
	l.t.Helper()
	l.sent()
	l.send(l.of(phone, dhcpv4.MessageTypeDiscover, with...))
	l.probes()
	o, _ := l.answered()
	l.send(l.of(phone, dhcpv4.MessageTypeRequest, append(with, wish(o.YourIPAddr.String()), server("10.2.0.1"))...))
	a, _ := l.answered()
	if a.MessageType() != dhcpv4.MessageTypeAck || !a.YourIPAddr.Equal(o.YourIPAddr) {
		l.t.Fatalf("got %v of %v, want an ACK of %v", a.MessageType(), a.YourIPAddr, o.YourIPAddr)
	}
	return a.YourIPAddr.String()
}
