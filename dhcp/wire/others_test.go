package wire

import (
	"bytes"
	"net/netip"
	"testing"
)

// offered makes the OFFER or ACK of a server to a DISCOVER of ours.
func offered(question []byte, kind byte, id netip.Addr) []byte {
	b := bytes.Clone(question[:fixedSize+len(cookie)])
	b[0] = 2
	copy(b[16:], []byte{192, 0, 2, 100})
	b = append(b, pad4, optMessageType, 1, kind, optServerID, 4)
	return append(append(b, id.AsSlice()...), optEnd4)
}

func TestParseOffer(t *testing.T) {
	id, xid := netip.MustParseAddr("192.0.2.53"), [4]byte{0, 1, 2, 3}
	question := appendDiscover(nil, us, xid)
	if len(question) != 300 || question[10] != 0x80 {
		t.Errorf("got %d octets, want 300, to be answered by broadcast", len(question))
	}
	if _, _, ok := parseOffer(question); ok {
		t.Error("a question is taken for an offer")
	}
	for kind := range byte(19) {
		o, gotX, ok := parseOffer(offered(question, kind, id))
		if want := kind == offer || kind == ack || kind == nak; ok != want {
			t.Errorf("type %d: got %v, want %v", kind, ok, want)
		} else if ok && (gotX != xid || o.ID != id || o.Offered != netip.MustParseAddr("192.0.2.100")) {
			t.Errorf("type %d: got %+v %x", kind, o, gotX)
		}
	}
	good := offered(question, offer, id)
	for i := range good { // whatever is missing, nothing panics
		parseOffer(good[:i])
	}
}

func TestParseAdvertise(t *testing.T) {
	xid := [4]byte{0, 1, 2, 3}
	b := appendSolicit(nil, us, xid)
	if _, _, ok := parseAdvertise(b); ok {
		t.Error("a question is taken for an answer")
	}
	a := netip.MustParseAddr("2001:db8::100")
	b[0] = advertise
	b = append(b[:len(b)-16], 0, 3, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 24)
	b = append(append(b, a.AsSlice()...), make([]byte, 8)...)
	if o, gotX, ok := parseAdvertise(b); !ok || gotX != xid || o.Offered != a {
		t.Errorf("got %+v %x %v, want %v", o, gotX, ok, a)
	}
	for i := range b {
		parseAdvertise(b[:i])
	}
}

func TestParseAdvertisement(t *testing.T) {
	a := netip.MustParseAddr("2001:db8::100")
	b := append([]byte{136, 0, 0, 0, 0x60, 0, 0, 0}, a.AsSlice()...)
	if has, who, ok := parseAdvertisement(b); !ok || has != a || who != (MAC{}) {
		t.Errorf("got %v %v %v", has, who, ok)
	}
	b = append(append(b, 1, 1, 9, 9, 9, 9, 9, 9, 2, 1), phone[:]...)
	if has, who, ok := parseAdvertisement(b); !ok || has != a || who != phone {
		t.Errorf("got %v %v %v", has, who, ok)
	}
	for i := range b {
		parseAdvertisement(b[:i])
	}
	b[25] = 0 // an option of no size would go on for ever
	parseAdvertisement(b)
}
