package cli

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/roam"
)

// TestLeaseText: whose an address is, where he is and until when, in one line; and a phone's line in where has its spot.
func TestLeaseText(t *testing.T) {
	now := time.Date(2026, 11, 22, 17, 25, 3, 0, time.UTC)
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	writeLease(w, &office.OfficeLease{Addr: netip.MustParseAddr("10.2.0.100"), State: "bound", MAC: "00:15:65:01:02:03", Host: "lobby", Vendor: "yealink", Port: "sw1/3",
		Subnet: netip.MustParsePrefix("10.2.0.0/24"), Site: "1 Long Street", Users: []roam.UserID{"1001@north.example"}, Plugged: now.Add(-3 * time.Hour),
		Until: now.Add(5 * time.Hour), Zone: "UTC"}, now)
	writeLease(w, &office.OfficeLease{Addr: netip.MustParseAddr("10.2.0.101"), State: "declined", Subnet: netip.MustParsePrefix("10.2.0.0/24"), Zone: "UTC"}, now)
	w.Flush()
	for _, want := range []string{
		"10.2.0.100  bound     00:15:65:01:02:03  lobby  yealink  sw1/3, 1 Long Street  1001@north.example  3 h ago  2026-11-22 22:25:03 +00:00",
		"10.2.0.101  declined                     -      -        10.2.0.0/24           -                   -        -",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got\n%s\nwant\n%s", out.String(), want)
		}
	}
	p := office.PhoneAt{Office: "south", Addr: "10.2.0.100:5060", Transport: "UDP", Device: "mac:00:15:65:01:02:03", Spot: &roam.Spot{Port: "sw1/3", Site: "1 Long Street"}}
	if got, want := phoneLine(p, &office.Whereabouts{At: "south"}, now), "10.2.0.100:5060 udp   device mac:00:15:65:01:02:03   stands at sw1/3, 1 Long Street"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
