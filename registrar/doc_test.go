package registrar

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
)

var update = flag.Bool("update", false, "write testdata anew")

// TestDocuments holds every row and every body against its file: what an older or newer office
// reads must not change by accident.
func TestDocuments(t *testing.T) {
	since := time.Date(2026, 11, 22, 15, 14, 3, 0, time.UTC)
	location := roam.Location{Epoch: 1795360443000000, Office: "south", Switch: partnerURI("south"), Registrar: partnerURI("south"), Device: "urn:uuid:a", Since: since, Sig: "s"}
	flow := roam.Flow{Transport: roam.TCP, Conn: 7, Local: netip.MustParseAddrPort("192.0.2.1:5060"), Remote: netip.MustParseAddrPort("198.51.100.7:40001")}
	contact := control.Contact{Target: roam.Target{URI: "sip:1001@198.51.100.7:40001", Route: []string{"<sip:edge.example;lr>"}, Flow: flow, Q: 1000, Device: "urn:uuid:a", Agent: "test"},
		RegID: 1, CallID: "c", CSeq: 2, Grant: 300 * time.Second,
		Can: &roam.Abilities{Transport: roam.TCP, Require: []string{"outbound"}, Supported: []string{"outbound", "path"}, Methods: []string{"INVITE"}}}
	card := roam.Card{Version: 1, Office: "north", Domains: []string{"north.example"}, Switch: partnerURI("north"), Registrar: partnerURI("north"), Key: []byte{1, 2},
		Rev: "7c1f0e9a44d2b6e3", Ranges: []string{"+15550001xxx"}, Speaks: &roam.Attributes{Software: "siproam", Transports: []string{"tls"}, Methods: []string{"INFO"},
			Codecs: []string{"PCMA"}, Services: []string{"bar"}, MessageMax: 65535, CallsMax: 100}}
	ticket := roam.Ticket{User: alice, Device: "urn:uuid:a", Office: "south", Home: "north", Epoch: 1795360442000000, Until: since.Add(24 * time.Hour)}
	profile := &roam.Profile{Version: 1, Name: "alice", Number: "+15550001001", Short: "1001", Class: "staff", Calls: 2, Dial: &roam.Numbers{Country: "1", Extensions: map[string]string{"1xxx": "+15550001xxx"}},
		Bar: []string{"+1900"}, Allow: []string{"+19005"}, Forward: &roam.Forward{Busy: "+15550002001", After: 15, Unknown: map[string]json.RawMessage{"fax": []byte(`"+1"`)}},
		Device: &roam.Demands{Transports: []string{"tls"}, Require: []string{"outbound"}, Refuse: []string{"path"}}, Declared: []string{"gruu"},
		Unknown: map[string]json.RawMessage{"voicemail": []byte(`{"pin": true}`)}}
	for name, doc := range map[string]any{
		"user.json": &account{Version: 1, Name: "alice", Number: "+15550001001", Short: "1001", Aliases: []string{"alice@north.example"}, Calls: 2, Class: "staff",
			Abilities: []string{"tls", "gruu"}, Bar: []string{"+1900"}, Allow: []string{"+19005"}, Forward: &roam.Forward{Always: "+15550002001"},
			Logins: map[string][]string{"1001": {"00112233445566778899aabbccddeeff", ""}}, Phones: map[string][]string{"phone-001565a1b2c3": {"ffeeddccbbaa99887766554433221100", ""}}},
		"home.json": &control.Kept{Version: 1, Location: location,
			At:    []control.Presence{{Device: "urn:uuid:a", Office: "north", Switch: card.Switch, Registrar: card.Registrar, Epoch: 5, CallID: "m", CSeq: 3, Contacts: []control.Contact{contact}}},
			Left:  []control.Left{{Device: "urn:uuid:b", Office: "west", CallID: "d", Epoch: 4, Until: since}},
			Owed:  []control.Debt{{To: partnerURI("west"), Contact: "sip:t@west.example", Device: "urn:uuid:b", Epoch: 5, Tries: 1, Until: since}},
			Takes: []control.Take{{Device: "urn:uuid:b", At: since}}, Been: []control.Been{{Office: "west", From: 1795360443000, To: 1795360503000}}, Floor: 3},
		"visit.json": &visitDoc{Stay: control.Stay{Version: 1, Home: card, Ticket: ticket, Proof: "p", Profile: profile, Contacts: []control.Contact{contact}, Location: location,
			Gone: &control.Gone{Epoch: 6, Location: location, Until: since}, Owes: &control.Unrecorded{Tries: 1, Until: since, Asked: since}, Rest: &control.Rest{Until: since}}, Token: "t"},
		"office-card.json": &card,
		"visit-body.json":  &visitBody{1, alice, profile, &challengeDoc{300, []string{`Digest realm="north.example", nonce="n"`}, 7200}, &location, true},
		"location.json":    &locationBody{1, location, true},
		"ticket.json":      &ticketDoc{1, ticket},
		"reginfo.xml": &reginfo{State: "partial", Registration: registration{AOR: "sip:" + string(alice), ID: "r1", State: "terminated",
			Contact: regContact{ID: "c1", State: "terminated", Event: "deactivated", URI: "sip:t@south.example"}, Gone: goneTo{9, "west", partnerURI("west"), partnerURI("west"), "s"}}},
	} {
		t.Run(name, func(t *testing.T) {
			marshal, unmarshal := func(v any) ([]byte, error) { return json.MarshalIndent(v, "", "  ") }, json.Unmarshal
			if filepath.Ext(name) == ".xml" {
				marshal, unmarshal = func(v any) ([]byte, error) { return xml.MarshalIndent(v, "", "  ") }, xml.Unmarshal
			}
			got, err := marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			path := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %s\nwant %s, %v", got, want, err)
			}
			again := reflect.New(reflect.TypeOf(doc).Elem()).Interface()
			if err := unmarshal(want, again); err != nil {
				t.Fatal(err)
			}
			if back, _ := marshal(again); !bytes.Equal(append(back, '\n'), want) {
				t.Errorf("read back: got %s\nwant %s", back, want)
			}
		})
	}
}
