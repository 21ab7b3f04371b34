package dhcp

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/rs/zerolog"

	"github.com/siproam/siproam/dhcp/lease"
	"github.com/siproam/siproam/dhcp/wire"
	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/store"
)

// FuzzServer: two messages of anybody. Nothing panics; there are at most two answers, each no longer than its client takes,
// each to be read; what is stored can be read again and is the same.
func FuzzServer(f *testing.F) {
	cfg := remote()
	cfg.Probe, cfg.Snooping, cfg.Limits.PerSecond = 0, true, 1<<30
	cfg.Classes = []Class{{Vendor: "yea*", OUI: []string{"00:15:65"}, Options: Options{Provision: "http://{server}/{mac}", Other: map[string]string{"43.1": "text:x"}}}}
	agent := generic(82, 1, 2, 'g', '1', 5, 4, 10, 4, 0, 1, 11, 4, 10, 3, 0, 1)
	f.Add(asked(f, tDiscover, generic(80), generic(12, []byte("a\x00\x1b[2Jb")...), generic(60, []byte("yealink")...)), asked(f, tRequest, wish("10.2.0.100"), server("10.2.0.1")))
	f.Add(asked(f, tDiscover, agent, dhcpv4.WithRelay([]byte{10, 3, 0, 1})), asked(f, tRequest, agent, dhcpv4.WithRelay([]byte{10, 3, 0, 1}), wish("10.4.0.100"), server("10.3.0.1")))
	f.Add(asked(f, tDiscover, generic(80), generic(61, 255, 0, 1)), asked(f, tRelease, generic(61, 255, 0, 1), ciaddr("10.2.0.100"), server("10.2.0.1")))
	f.Add(asked(f, tInform, ciaddr("10.2.0.7")), asked(f, tDecline, wish("10.2.0.100"), server("10.2.0.1")))
	start := fuzzed(f, cfg)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		l := start(t)
		var err error
		rows := map[netip.Addr]lease.Lease{}
		for _, raw := range [][]byte{first, second} {
			was := bytes.Clone(raw)
			l.s.serve([]wire.Datagram{{B: raw, Interface: l.eth0, From: netip.MustParseAddrPort("10.2.0.100:68"), To: wire.Broadcast.Addr()}})
			for _, e := range l.s.book.next {
				if rows[e.lease.Addr], err = readRow(e.lease.Addr.AsSlice(), appendRow(nil, &e.lease)); err != nil {
					t.Errorf("%+v cannot be read again: %v", e.lease, err)
				}
				e.done(nil)
			}
			l.s.book.next = nil
			l.Send(l.s.out)
			l.s.out = nil
			if !bytes.Equal(was, raw) {
				t.Error("the octets have changed")
			}
			var m, a message
			_ = m.parse(raw)
			sent := l.sent()
			if len(sent) > 1 {
				t.Errorf("got %d answers to one message", len(sent))
			}
			for _, r := range sent {
				if err := a.parse(r.B); err != nil || a.raw[0] != 2 || !bytes.Equal(a.xid(), m.xid()) {
					t.Errorf("our answer: %v", err)
				}
				if len(r.B) > max(m.size(), leastSize) || !bytes.Equal(a.get(optAgent), m.get(optAgent)) && len(m.get(optAgent)) > 0 {
					t.Errorf("got %d octets, want %d; option 82 %x, want %x", len(r.B), m.size(), a.get(optAgent), m.get(optAgent))
				}
			}
		}
		again, err := lease.New(cfg.leases())
		if err != nil {
			t.Fatal(err)
		}
		if errs := again.Restore(l.loop.Now(), slices.Collect(maps.Values(rows)), false); errs != nil {
			t.Errorf("not taken again: %v", errs)
		}
		for was := range l.s.table.All {
			is, _ := again.At(was.Addr)
			if was.State == lease.Bound && (is.Client != was.Client || is.MAC != was.MAC || is.Host != was.Host || is.Port != was.Port ||
				is.Vendor != was.Vendor || is.State != was.State || is.Until.Sub(was.Until).Abs() > time.Millisecond) {
				t.Errorf("got %+v from the file, want %+v", is, was)
			}
		}
	})
}

// fuzzed makes servers of cfg that are called without their loop. Their file is read at each start; rows are written and read
// by the target, as SQLite is slow to fuzz.
func fuzzed(f *testing.F, cfg Config) func(t *testing.T) *lab {
	file, err := store.Open(":memory:", Schema)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { file.Close() })
	return func(t *testing.T) *lab {
		l := newLab(t, cfg)
		l.loop = loop.New(100, 10)
		if l.s, err = New(cfg, l.loop, file, l, func() Servers { return servers }, nil, zerolog.New(failing{t}).Level(zerolog.ErrorLevel)); err != nil {
			t.Fatal(err)
		}
		return l
	}
}

// failing fails its test when something is logged.
type failing struct{ t *testing.T }

func (f failing) Write(b []byte) (int, error) {
	f.t.Errorf("said: %s", b)
	return len(b), nil
}
