package dhcp

import (
	"context"
	"encoding/binary"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/rs/zerolog"

	"github.com/siproam/siproam/dhcp/wire"
	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/store"
)

// counted is a Wire that counts what is sent.
type counted struct {
	*lab
	n int
}

func (c *counted) Send(all []wire.Reply) { c.n += len(all) }

// BenchmarkExchange is DISCOVER, OFFER, REQUEST and ACK of clients never seen before, 32 of them in a turn, as they come from
// the network together, with the leases in a file and without.
func BenchmarkExchange(b *testing.B) {
	for _, stored := range []bool{false, true} {
		name := "memory"
		if stored {
			name = "file"
		}
		b.Run(name, func(b *testing.B) { benchmarkExchange(b, stored) })
	}
}

func benchmarkExchange(b *testing.B, stored bool) {
	cfg := office()
	cfg.Probe, cfg.Limits.PerSecond = 0, 1<<30
	cfg.Subnets[0].Network, cfg.Subnets[0].Router = netip.MustParsePrefix("10.0.0.0/8"), netip.MustParseAddr("10.0.0.1")
	cfg.Subnets[0].Pools = []Range{rangeOf("10.4.0.0-10.7.255.255")}
	cfg.Lease.Max = roam.Duration(cfg.Lease.Time.D())
	c := &counted{lab: newLab(b, cfg)}
	c.eth0.Addrs = []netip.Prefix{netip.MustParsePrefix("10.0.0.2/8")}
	file, err := store.Open(filepath.Join(b.TempDir(), "office.db"), Schema)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	l := loop.New(1000, 1000)
	s, err := New(cfg, l, file, c, func() Servers { return servers }, nil, zerolog.Nop())
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ends := make(chan struct{}, 2)
	go func() { l.Run(ctx); ends <- struct{}{} }()
	go func() { file.Run(ctx); ends <- struct{}{} }()
	defer func() { cancel(); <-ends; <-ends }()

	const together = 32
	say := func(first int, messages [][]byte) (sent int) {
		done := make(chan struct{})
		_ = l.Post(func() {
			c.n = 0
			batch := make([]wire.Datagram, together)
			for i := range batch {
				raw := messages[i]
				binary.BigEndian.PutUint32(raw[30:], uint32(first+i)) // chaddr
				batch[i] = wire.Datagram{B: raw, Interface: c.eth0, From: netip.MustParseAddrPort("0.0.0.0:68"), To: wire.Broadcast.Addr()}
			}
			s.serve(batch)
			if !stored {
				for _, e := range s.book.next {
					e.done(nil)
				}
				clear(s.book.next)
				s.book.next = s.book.next[:0]
			}
			l.Later(func() { close(done) })
		})
		<-done
		for sent < together {
			_ = l.Do(ctx, func() { sent = c.n })
		}
		return sent
	}
	lists := dhcpv4.WithRequestedOptions(dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer, dhcpv4.OptionSIPServers)
	var discovers, requests [][]byte
	for range together {
		discovers = append(discovers, asked(b, tDiscover, lists))
		requests = append(requests, asked(b, tRequest, lists, generic(50, 0, 0, 0, 0), server("10.0.0.2")))
	}
	place := 0
	for i := headerSize + cookieSize; i < len(requests[0]); i += 2 + int(requests[0][i+1]) {
		if requests[0][i] == optAddress {
			place = i + 2
			break
		}
	}
	b.ReportAllocs()
	for done := 0; b.Loop(); done++ {
		if done%together != 0 {
			continue
		}
		first := done % (1 << 17)
		say(first, discovers)
		for i := range requests {
			one := discovers[i]
			got := s.table.Of(string(append([]byte{1}, one[28:34]...)))
			copy(requests[i][place:], got[0].Addr.AsSlice())
		}
		say(first, requests)
	}
}
