package wire

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
)

var (
	phone = MAC{0x00, 0x15, 0x65, 1, 2, 3}
	us    = MAC{2, 0, 0, 0, 0, 1}
)

// TestUDP4 holds a frame against bytes whose checksums tshark has found good.
func TestUDP4(t *testing.T) {
	from, to := netip.MustParseAddrPort("192.0.2.1:67"), netip.MustParseAddrPort("192.0.2.100:68")
	got := appendUDP4(appendEther(nil, phone, us, typeIP), from, to, []byte("odd"))
	want := "001565010203" + "020000000001" + "0800" +
		"4500001f000040004011b668c0000201c0000264" + "00430044000ba786" + "6f6464"
	if hex.EncodeToString(got) != want {
		t.Errorf("got  %x, want %s", got, want)
	}
	gotFrom, gotTo, payload, ok := parseUDP4(got[etherSize:])
	if !ok || gotFrom != from || gotTo != to || string(payload) != "odd" {
		t.Errorf("got %v %v %q %v, want it back", gotFrom, gotTo, payload, ok)
	}
	if fold(sum(0, got[etherSize:etherSize+ipSize])) != 0xffff {
		t.Error("the header's checksum does not fit")
	}
}

// TestUDP4Refused: what is no whole datagram is none.
func TestUDP4Refused(t *testing.T) {
	good := appendUDP4(nil, netip.MustParseAddrPort("192.0.2.1:67"), Broadcast, []byte("payload"))
	for name, change := range map[string]func([]byte) []byte{
		"short":            func(b []byte) []byte { return b[:19] },
		"cut":              func(b []byte) []byte { return b[:len(b)-1] },
		"IPv6":             func(b []byte) []byte { b[0] = 0x65; return b },
		"TCP":              func(b []byte) []byte { b[9] = 6; return b },
		"first part":       func(b []byte) []byte { b[6] = 0x20; return b },
		"later part":       func(b []byte) []byte { b[7] = 1; return b },
		"header too short": func(b []byte) []byte { b[0] = 0x44; return b },
		"header too long":  func(b []byte) []byte { b[0] = 0x4f; return b },
		"datagram longer":  func(b []byte) []byte { b[25]++; return b },
		"datagram of none": func(b []byte) []byte { b[25] = 7; return b },
	} {
		if _, _, payload, ok := parseUDP4(change(bytes.Clone(good))); ok {
			t.Errorf("%s: got %q, want it refused", name, payload)
		}
	}
	if _, _, payload, ok := parseUDP4(append(bytes.Clone(good), 0, 0)); !ok || string(payload) != "payload" { // Ethernet pads
		t.Errorf("padded: got %q %v", payload, ok)
	}
}

func TestChecksumOfZero(t *testing.T) {
	for i := range 0x10000 { // one of them has a sum of 0xffff, and so a checksum of 0, which would say that there is none
		b := appendUDP4(nil, netip.MustParseAddrPort("192.0.2.1:67"), Broadcast, []byte{byte(i >> 8), byte(i)})
		if b[26] == 0 && b[27] == 0 {
			t.Fatalf("payload %04x: got checksum 0, want ffff", i)
		}
	}
}

func TestARP(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.100")
	probe := appendARPProbe(nil, us, a)
	if want := "0001080006040001" + "020000000001" + "00000000" + "000000000000" + "c0000264"; hex.EncodeToString(probe) != want {
		t.Errorf("got %x, want %s", probe, want)
	}
	if _, _, ok := parseARP(probe); ok {
		t.Error("a probe says that somebody has an address")
	}
	answer := bytes.Clone(probe)
	answer[7] = 2
	copy(answer[8:], phone[:])
	copy(answer[14:], a.AsSlice())
	if who, has, ok := parseARP(answer); !ok || who != phone || has != a {
		t.Errorf("got %v %v %v, want %v has %v", who, has, ok, phone, a)
	}
	for _, b := range [][]byte{nil, answer[:27], append([]byte{0, 6}, answer[2:]...)} {
		if _, _, ok := parseARP(b); ok {
			t.Errorf("%x: taken", b)
		}
	}
}
