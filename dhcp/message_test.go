package dhcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// asked is a message of a client as the library writes it.
func asked(t testing.TB, k dhcpv4.MessageType, with ...dhcpv4.Modifier) []byte {
	t.Helper()
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithMessageType(k), dhcpv4.WithHwAddr(net.HardwareAddr{0x02, 0x15, 0x65, 1, 2, 3})}, with...)...)
	if err != nil {
		t.Fatal(err)
	}
	return m.ToBytes()
}

func generic(code byte, value ...byte) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(code), value))
}

// header is 236 octets of a request and the cookie, then options.
func header(options ...byte) []byte {
	b := make([]byte, headerSize, 400)
	b[0], b[1], b[2] = 1, 1, 6
	return append(binary.BigEndian.AppendUint32(b, cookie), options...)
}

func TestMessage(t *testing.T) {
	overloaded := header(53, 1, 1, 52, 1, 3, 60, 2, 'a', 'b', 255)
	copy(overloaded[fileAt:], []byte{60, 1, 'c', 12, 2, 'h', 'i', 255, 12, 1, 'x'})
	copy(overloaded[snameAt:], []byte{52, 1, 3, 60, 1, 'd', 255})
	for _, c := range []struct {
		name string
		raw  []byte
		want error
		code byte
		is   string
	}{
		{"as the library writes it", asked(t, dhcpv4.MessageTypeDiscover, generic(60, []byte("yealink")...)), nil, 60, "yealink"},
		{"pieces are joined, RFC 3396", header(53, 1, 1, 60, 2, 'a', 'b', 12, 1, 'x', 60, 1, 'c', 255), nil, 60, "abc"},
		{"file, then sname, RFC 3396 5", overloaded, nil, 60, "abcd"},
		{"behind an end is nothing", overloaded, nil, 12, "hi"},
		{"an overload in sname means nothing", overloaded, nil, 52, "\x03\x03"},
		{"pads", header(0, 0, 53, 1, 1, 0, 0, 12, 0, 60, 1, 'a'), nil, 60, "a"},
		{"an empty option is there", header(53, 1, 1, 80, 0, 255), nil, 80, ""},
		{"no end", header(53, 1, 1), nil, 53, "\x01"},
		{"empty", nil, errShort, 0, ""},
		{"header only", header()[:headerSize], errShort, 0, ""},
		{"an option over the end", header(53, 1, 1, 60, 9, 'a'), errShort, 0, ""},
		{"a code alone", header(53, 1, 1, 60), errShort, 0, ""},
		{"BOOTP", header(60, 1, 'a', 255), errForeign, 0, ""},
		{"another cookie", func() []byte { b := header(53, 1, 1); b[headerSize] = 0; return b }(), errForeign, 0, ""},
		{"neither question nor answer", func() []byte { b := header(53, 1, 1); b[0] = 3; return b }(), errForeign, 0, ""},
		{"a hardware address over its field", func() []byte { b := header(53, 1, 1); b[2] = 17; return b }(), errForeign, 0, ""},
		{"a type of two octets", header(53, 2, 1, 1), errOption, 0, ""},
		{"half an address", header(53, 1, 3, 50, 2, 10, 0), errOption, 0, ""},
		{"two servers", header(53, 1, 3, 54, 4, 10, 0, 0, 1, 54, 4, 10, 0, 0, 2), errOption, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m message
			was := slices.Clone(c.raw)
			if err := m.parse(c.raw); !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if got := m.get(c.code); c.want == nil && (got == nil || string(got) != c.is) {
				t.Errorf("got option %d %q, want %q", c.code, got, c.is)
			}
			if !bytes.Equal(was, c.raw) {
				t.Error("the octets have changed")
			}
		})
	}
}

// TestMessageAgain: nothing of a message is left in the next one.
func TestMessageAgain(t *testing.T) {
	var m message
	if err := m.parse(header(53, 1, 1, 60, 1, 'a', 82, 4, 1, 2, 'x', 'y', 255)); err != nil {
		t.Fatal(err)
	}
	if got := string(m.agent(1)); got != "xy" || m.agent(2) != nil {
		t.Errorf("got circuit %q and remote %q, want xy and none", got, m.agent(2))
	}
	if err := m.parse(header(53, 1, 3, 255)); err != nil {
		t.Fatal(err)
	}
	if m.kind != request || m.get(60) != nil || m.get(82) != nil {
		t.Errorf("got %v with 60 %q and 82 %q, want a request with neither", m.kind, m.get(60), m.get(82))
	}
}

func TestSize(t *testing.T) {
	for _, c := range []struct {
		asked []byte
		want  int
	}{{nil, 548}, {[]byte{57, 2, 0, 100}, 548}, {[]byte{57, 2, 5, 220}, 1472}, {[]byte{57, 2, 255, 255}, 1472}, {[]byte{57, 1, 9}, 548}} {
		var m message
		if err := m.parse(header(append([]byte{53, 1, 1}, c.asked...)...)); err != nil {
			t.Fatal(err)
		}
		if got := m.size(); got != c.want {
			t.Errorf("%v: got %d, want %d", c.asked, got, c.want)
		}
	}
}

// TestAnswer: what the library and our own reader see of what is written.
func TestAnswer(t *testing.T) {
	var m message
	agent := []byte{1, 3, 'p', '/', '1', 2, 2, 'r', '1'}
	if err := m.parse(asked(t, dhcpv4.MessageTypeDiscover, generic(82, agent...), dhcpv4.WithRelay(net.IPv4(10, 2, 0, 9)),
		dhcpv4.WithBroadcast(true), generic(57, 2, 64))); err != nil {
		t.Fatal(err)
	}
	a := m.begin(offer)
	a.yiaddr(netip.MustParseAddr("10.2.0.100"))
	a.number(optTime, 3600)
	var put []int
	for n := range 12 { // 12 x 50: more than there is room for
		if a.put(byte(200+n), bytes.Repeat([]byte{byte(n)}, 48)...) {
			put = append(put, n)
		}
	}
	long := bytes.Repeat([]byte("x"), 30)
	a.put(67, long...)
	raw := a.seal()
	if len(raw) > m.size() {
		t.Errorf("got %d octets, want at most %d", len(raw), m.size())
	}
	if len(put) == 12 || len(put) < 8 || a.dropped != 12-len(put) {
		t.Errorf("put %v and left out %d", put, a.dropped)
	}
	lib, err := dhcpv4.FromBytes(raw)
	if err != nil {
		t.Fatal(err)
	}
	if lib.OpCode != dhcpv4.OpcodeBootReply || lib.TransactionID != [4]byte(m.xid()) || !lib.IsBroadcast() || lib.HopCount != 0 ||
		!lib.YourIPAddr.Equal(net.IPv4(10, 2, 0, 100)) || !lib.GatewayIPAddr.Equal(net.IPv4(10, 2, 0, 9)) || lib.ClientHWAddr.String() != "02:15:65:01:02:03" {
		t.Errorf("got %v", lib.Summary())
	}
	if at := len(raw) - len(agent) - 3; raw[at] != 82 || raw[len(raw)-1] != 255 || !bytes.Equal(raw[at+2:len(raw)-1], agent) {
		t.Errorf("got %x at the end, want option 82 and the end", raw[at:])
	}
	var back message
	if err := back.parse(raw); err != nil {
		t.Fatal(err)
	}
	for _, n := range put {
		if got := back.get(byte(200 + n)); !bytes.Equal(got, bytes.Repeat([]byte{byte(n)}, 48)) {
			t.Errorf("option %d: got %x", 200+n, got)
		}
	}
	if back.kind != offer || !bytes.Equal(back.get(67), long) || len(back.get(optOverload)) != 1 {
		t.Errorf("got %v, 67 %q, overload %x", back.kind, back.get(67), back.get(optOverload))
	}
}

// TestShortAnswer: relays of BOOTP get as many octets as they want.
func TestShortAnswer(t *testing.T) {
	var m message
	if err := m.parse(header(53, 1, 3, 255)); err != nil {
		t.Fatal(err)
	}
	if got := len(m.begin(nak).seal()); got != leastSize {
		t.Errorf("got %d octets, want %d", got, leastSize)
	}
}

// TestLongOption: RFC 3396, over 255 octets in pieces.
func TestLongOption(t *testing.T) {
	var m, back message
	if err := m.parse(header(53, 1, 1, 57, 2, 5, 220, 255)); err != nil {
		t.Fatal(err)
	}
	long := bytes.Repeat([]byte("0123456789"), 60)
	a := m.begin(ack)
	a.put(120, long...)
	raw := a.seal()
	if err := back.parse(raw); err != nil || !bytes.Equal(back.get(120), long) {
		t.Errorf("got %v and %d octets, want 600", err, len(back.get(120)))
	}
	if lib, err := dhcpv4.FromBytes(raw); err != nil || !bytes.Equal(lib.Options.Get(dhcpv4.OptionSIPServers), long) {
		t.Errorf("the library: got %v", err)
	}
}

// FuzzMessage: nothing panics; what is read is what the library reads where it reads all; an answer is never longer than
// the client takes, and can be read.
func FuzzMessage(f *testing.F) {
	f.Add(asked(f, dhcpv4.MessageTypeDiscover, generic(60, []byte("yealink")...), generic(57, 2, 64), generic(82, 1, 2, 3, 4)))
	f.Add(asked(f, dhcpv4.MessageTypeRequest, generic(50, 10, 2, 0, 100), generic(54, 10, 2, 0, 1), generic(55, 1, 3, 6, 120)))
	f.Add(header(53, 1, 1, 52, 1, 3, 60, 2, 'a', 'b', 60, 1, 'c', 255))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m, back message
		was := slices.Clone(raw)
		if m.parse(raw) != nil {
			return
		}
		if m.get(optOverload) == nil {
			lib, err := dhcpv4.FromBytes(raw)
			if err != nil {
				t.Skip() // it refuses some headers
			}
			for i, code := range m.codes {
				if got := lib.Options.Get(dhcpv4.GenericOptionCode(code)); !bytes.Equal(got, m.values[i]) {
					t.Errorf("option %d: got %x, the library %x", code, m.values[i], got)
				}
			}
		}
		a := m.begin(ack)
		for i, code := range m.codes {
			if code != optKind && code != optAgent && code != optOverload {
				a.put(code, m.values[i]...)
			}
		}
		out := a.seal()
		if len(m.get(optAgent)) <= 255 && len(out) > max(m.size(), leastSize) {
			t.Errorf("got %d octets, want at most %d", len(out), m.size())
		}
		if err := back.parse(out); err != nil || back.kind != ack {
			t.Errorf("our own answer: %v, %v", err, back.kind)
		}
		if !bytes.Equal(was, raw) {
			t.Error("the octets have changed")
		}
	})
}

// TestFullAnswer: however much is put and whatever a relay said, an answer is no longer than its client takes, and can be read.
func TestFullAnswer(t *testing.T) {
	for agent := range 100 {
		var m, back message
		if err := m.parse(header(append(append([]byte{53, 1, 1, 82, byte(agent)}, make([]byte, agent)...), 255)...)); err != nil {
			t.Fatal(err)
		}
		a := m.begin(offer)
		for a.put(200, 'x') {
		}
		raw := a.seal()
		if err := back.parse(raw); err != nil || len(raw) > m.size() || len(raw) < m.size()-2 || len(back.get(optAgent)) != agent {
			t.Fatalf("option 82 of %d: got %d octets, %v, want %d", agent, len(raw), err, m.size())
		}
	}
}
