package control

import (
	"encoding/json"
	"math/rand"
	"net/netip"
	"reflect"
	"testing"
	"testing/quick"
	"time"

	"github.com/siproam/siproam/roam"
)

// TestRow: what AppendJSON writes is what json.Marshal writes, whatever is in it.
func TestRow(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	texts := []string{"", "plain", `"quoted"\`, "<sip:a@b>&", "tab\t", "Ünïcode", "\xff", "\u2028", "sip:1001@[2001:db8::1]:5060;transport=tls"}
	text := func() string { return texts[rnd.Intn(len(texts))] }
	value := func(zero any) reflect.Value {
		v, _ := quick.Value(reflect.TypeOf(zero), rnd)
		return v
	}
	number := func() uint64 { return value(uint64(0)).Uint() >> rnd.Intn(64) }
	location := func() roam.Location {
		return roam.Location{Epoch: roam.Epoch(number()), Office: roam.OfficeID(text()), Switch: text(), Registrar: text(), Device: roam.Device(text()),
			Since: time.Unix(rnd.Int63n(1e10), rnd.Int63n(1e9)).In(time.FixedZone("", rnd.Intn(9)*1800-7200)), Move: number(), Sig: text()}
	}
	addrs := []netip.AddrPort{{}, netip.MustParseAddrPort("192.0.2.1:5060"), netip.MustParseAddrPort("[2001:db8::1]:5061"), netip.MustParseAddrPort("[::ffff:192.0.2.1]:1")}
	for range 3000 {
		k := Kept{Version: rnd.Intn(3), Location: location()}
		for range rnd.Intn(3) {
			p := Presence{Device: roam.Device(text()), Office: roam.OfficeID(text()), Switch: text(), Registrar: text(), Epoch: roam.Epoch(number()), CallID: text(), CSeq: uint32(number())}
			for range rnd.Intn(3) {
				c := Contact{RegID: uint32(number()), CallID: text(), CSeq: uint32(number()), Grant: time.Duration(rnd.Int63())}
				c.Target = roam.Target{URI: text(), Q: uint16(number()), Device: roam.Device(text()), Agent: text()}
				c.Target.Flow = roam.Flow{Transport: roam.Transport(rnd.Intn(6)), Conn: number(), Local: addrs[rnd.Intn(4)], Remote: addrs[rnd.Intn(4)], Edge: roam.SwitchID(text())}
				if rnd.Intn(2) == 0 {
					c.Target.Route = []string{text(), text()}
				}
				if rnd.Intn(2) == 0 {
					c.Target.Spot = &roam.Spot{Port: text(), Subnet: []netip.Prefix{{}, netip.MustParsePrefix("10.2.0.0/24")}[rnd.Intn(2)], Site: text()}
				}
				switch rnd.Intn(3) {
				case 0:
					c.Can = &roam.Abilities{Transport: roam.Transport(rnd.Intn(6)), Require: []string{text()}, Methods: []string{text(), text()}}
				case 1:
					c.Can = &roam.Abilities{Supported: []string{text()}}
				}
				p.Contacts = append(p.Contacts, c)
			}
			k.At = append(k.At, p)
		}
		if rnd.Intn(2) == 0 {
			k.Left = []Left{{Device: roam.Device(text()), CallID: text(), Epoch: 4, Until: k.Location.Since}}
			k.Owed = []Debt{{To: text(), Contact: text(), Epoch: 5, Tries: 1, Until: k.Location.Since}}
			k.Floor = 7
			k.Been = []Been{{roam.OfficeID(text()), 5, 6}, {"west", 7, 1795360443000}}
			k.Takes = []Take{{Device: "d", At: k.Location.Since}}
		}
		want, err := json.Marshal(&k)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.AppendJSON(nil); string(got) != string(want) {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}

// BenchmarkRow is one subscriber with one phone.
func BenchmarkRow(b *testing.B) {
	k := Kept{Version: 1, Location: roam.Location{Epoch: 1795551427970107, Office: "north", Switch: "sip:sip.north.example:5067;transport=tls", Registrar: "sip:sip.north.example:5067;transport=tls", Since: time.Unix(1795551427, 970107814).UTC()}}
	k.At = []Presence{{Device: "urn:uuid:d4fb0aca-5161-e99a-7fef-6745b7322f27", Office: "north", Switch: k.Location.Switch, Registrar: k.Location.Registrar, Epoch: 1795551427970107,
		Contacts: []Contact{{Target: roam.Target{URI: "sip:1001@192.0.2.7:40001", Q: 1000, Agent: "phone 1.0", Flow: roam.Flow{Transport: roam.UDP,
			Local: netip.MustParseAddrPort("192.0.2.1:5060"), Remote: netip.MustParseAddrPort("192.0.2.7:40001")}}, CallID: "abcdef@192.0.2.7", CSeq: 7, Grant: time.Hour}}}}
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		var row []byte
		for b.Loop() {
			row = k.AppendJSON(row[:0])
		}
	})
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			json.Marshal(&k)
		}
	})
}
