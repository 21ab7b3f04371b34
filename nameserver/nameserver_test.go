package nameserver

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rs/zerolog"
)

// TestNotOpen: who is in no configured network is refused, ours and others' names alike, with an answer no longer than the question.
func TestNotOpen(t *testing.T) {
	up := resolver(t, world, nil)
	s := start(t, south, func(c *Config) {
		to(up)(c)
		c.Networks = []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}
	})
	for _, name := range []string{"www.north.example.", "north.example."} {
		r := ask(t, s, "udp", name, dns.TypeNAPTR, nil)
		isCode(t, name, r, dns.RcodeRefused)
		if r.Len() > len(name)+1+16 || len(r.Answer)+len(r.Ns)+len(r.Extra) > 0 {
			t.Errorf("%s: got %d bytes for the question", name, r.Len())
		}
	}
	if r, err := exchange(s, "tcp", "north.example.", dns.TypeNAPTR, nil); err == nil {
		t.Errorf("got %v over TCP, want the connection closed", r)
	}
}

// TestRefused: what is no plain question is refused by its own code, and an answer is never answered.
func TestRefused(t *testing.T) {
	s := start(t, south, to(resolver(t, world, nil)))
	for _, c := range []struct {
		what   string
		change func(*dns.Msg)
		want   int
	}{
		{"any", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeANY }, dns.RcodeRefused},
		{"transfer", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }, dns.RcodeRefused},
		{"chaos", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, dns.RcodeRefused},
		{"update", func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }, dns.RcodeNotImplemented},
		{"notify", func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, dns.RcodeNotImplemented},
		{"no question", func(m *dns.Msg) { m.Question = nil }, dns.RcodeFormatError},
		{"two questions", func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, dns.RcodeFormatError},
		{"EDNS1", func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) }, dns.RcodeBadVers},
		{"two EDNS", func(m *dns.Msg) { m.SetEdns0(1232, false); m.Extra = append(m.Extra, m.Extra[0]) }, dns.RcodeFormatError},
	} {
		m := new(dns.Msg).SetQuestion("north.example.", dns.TypeNAPTR)
		c.change(m)
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		answer, later := s.respond(b, loopback, loopback, false)
		r := new(dns.Msg)
		if later != nil || r.Unpack(answer) != nil {
			t.Errorf("%s: got %x", c.what, answer)
			continue
		}
		isCode(t, c.what, r, c.want)
		if r.Id != m.Id || !r.Response || len(r.Answer) > 0 {
			t.Errorf("%s: got %v", c.what, r)
		}
	}
	m := new(dns.Msg).SetQuestion("north.example.", dns.TypeNAPTR)
	m.Response = true
	b, _ := m.Pack()
	if answer, later := s.respond(b, loopback, loopback, false); answer != nil || later != nil {
		t.Error("an answer was answered")
	}
	broken := append([]byte{7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, 63, 'x')
	answer, _ := s.respond(broken, loopback, loopback, false)
	if r := new(dns.Msg); r.Unpack(answer) != nil || r.Rcode != dns.RcodeFormatError || r.Id != 0x708 {
		t.Errorf("got %x for half a message", answer)
	}
	if answer, later := s.respond(broken[:11], loopback, loopback, false); answer != nil || later != nil {
		t.Error("half a header was answered")
	}
}

// TestLimit: who asks too often is not heard for a while; others are.
func TestLimit(t *testing.T) {
	l := newLimiter()
	l.configure(10, 5)
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	n := 0
	for range 100 {
		if l.admit(one) {
			n++
		}
	}
	if n < 5 || n > 8 {
		t.Errorf("got %d of 100 at once, want the burst of 5", n)
	}
	if !l.admit(other) {
		t.Error("another pays for it")
	}
	six := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	if sourceOf(six("2001:db8::1")) != sourceOf(six("2001:db8::ffff")) || sourceOf(six("fe80::1%lo")) == sourceOf(six("fe80::2%lo")) || sourceOf(six("::ffff:192.0.2.1")) != one {
		t.Error("sources are not what they should be")
	}
	l.configure(1, 1)
	for i := range mostSources + 100 {
		l.admit(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	if len(l.full) > mostSources+1 {
		t.Errorf("got %d sources remembered", len(l.full))
	}
	if l.admit(netip.MustParseAddr("192.0.2.77")) {
		t.Error("those beyond the table do not share a bucket")
	}
	l.configure(0, 0)
	if !l.admit(one) {
		t.Error("limited without a limit")
	}

	s := start(t, south, func(c *Config) { c.PerSecond, c.Burst = 1, 3 })
	for range 3 {
		ask(t, s, "udp", "north.example.", dns.TypeNAPTR, nil)
	}
	if r, err := exchange(s, "tcp", "north.example.", dns.TypeNAPTR, nil); err == nil {
		t.Errorf("got %v over TCP beyond the burst", r)
	}
	if counted(s, "limited") != 1 || counted(s, "ours") != 3 {
		t.Errorf("got %d limited, %d ours", counted(s, "limited"), counted(s, "ours"))
	}
}

// TestStream: one connection carries many questions, written together; one source has so many connections.
func TestStream(t *testing.T) {
	s := start(t, south, nil)
	dial := func() net.Conn {
		c, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(5 * time.Second))
		return c
	}
	var all []byte
	for id := range uint16(5) {
		m := new(dns.Msg).SetQuestion("_sip._udp.north.example.", dns.TypeSRV)
		m.Id = id
		b, _ := m.Pack()
		all = append(binary.BigEndian.AppendUint16(all, uint16(len(b))), b...)
	}
	c := dial()
	for _, b := range all { // as slowly as can be
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	conn := &dns.Conn{Conn: c}
	for id := range uint16(5) {
		r, err := conn.ReadMsg()
		if err != nil || r.Id != id || len(r.Answer) != 2 {
			t.Fatalf("got %v, %v, want answer %d", r, err, id)
		}
	}
	for range connsOfOne - 1 {
		dial()
	}
	extra := dial()
	if n, err := extra.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("got %d, %v, want one connection too many closed", n, err)
	}
}

// TestReload: who may ask and who is asked change while it runs.
func TestReload(t *testing.T) {
	s := start(t, south, nil)
	isCode(t, "before", ask(t, s, "udp", "www.north.example.", dns.TypeA, nil), dns.RcodeRefused)
	cfg := *s.conf.Load()
	to(resolver(t, world, nil))(&cfg)
	s.Reload(cfg)
	isCode(t, "after", ask(t, s, "udp", "www.north.example.", dns.TypeA, nil), dns.RcodeSuccess)
}

// TestListen: of several listeners all are bound, or none.
func TestListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := DefaultConfig()
	cfg.Listen = []netip.AddrPort{netip.AddrPortFrom(loopback, 0), taken.Addr().(*net.TCPAddr).AddrPort()}
	s := New(cfg, nil, zerolog.Nop())
	if err := s.Listen(); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("got %v, want the address in use", err)
	}
	if c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(s.Addrs()[0])); err != nil {
		t.Errorf("the first is still bound: %v", err)
	} else {
		c.Close()
	}
}

func TestValidate(t *testing.T) {
	good := func() Config {
		c := DefaultConfig()
		c.Listen = []netip.AddrPort{netip.MustParseAddrPort("10.2.0.1:53")}
		c.Networks = []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}
		return c
	}
	for _, c := range []struct {
		change func(*Config)
		want   []string
	}{
		{func(*Config) {}, nil},
		{func(c *Config) { *c = DefaultConfig() }, nil},
		{func(c *Config) { c.Listen[0] = netip.MustParseAddrPort("0.0.0.0:53") }, []string{"listen[0]"}},
		{func(c *Config) { c.Listen = append(c.Listen, c.Listen[0]) }, []string{"listen[1]"}},
		{func(c *Config) { c.Networks = nil }, []string{"networks"}},
		{func(c *Config) { c.Networks = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} }, []string{"networks[0]"}},
		{func(c *Config) { c.Networks = []netip.Prefix{netip.MustParsePrefix("10.2.0.1/16")} }, []string{"networks[0]"}},
		{func(c *Config) { c.Forward = []Resolver{{c.Listen[0]}, {netip.MustParseAddrPort("0.0.0.0:53")}} }, []string{"forward[0]", "forward[1]"}},
		{func(c *Config) { c.TTL = 0; c.PerSecond = -1 }, []string{"ttl", "per_second"}},
		{func(c *Config) { c.Burst = 0 }, []string{"burst"}},
	} {
		cfg := good()
		c.change(&cfg)
		var got []string
		if all, is := cfg.Validate().(interface{ Unwrap() []error }); is {
			for _, err := range all.Unwrap() {
				key, _, _ := strings.Cut(err.Error(), ": ")
				got = append(got, key)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("got %v, want %v: %v", got, c.want, cfg.Validate())
		}
	}
	var r Resolver
	for text, want := range map[string]string{"192.0.2.53": "192.0.2.53", "192.0.2.53:5353": "192.0.2.53:5353", "2001:db8::53": "2001:db8::53", "[2001:db8::53]:53": "2001:db8::53"} {
		if err := r.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if b, _ := r.MarshalText(); string(b) != want {
			t.Errorf("%s: got %s, want %s", text, b, want)
		}
	}
	if r.UnmarshalText([]byte("dns.example")) == nil {
		t.Error("got a name taken for a resolver's address")
	}
}
