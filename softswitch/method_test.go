package softswitch

import (
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// The six calls of METHOD 4: D2 (1001 of north) is visiting south. Each call is answered,
// carries SDP through the relay of every office it passes, and leaves the records METHOD asks for.
func TestMethod4(t *testing.T) {
	const d2, local, home, third = roam.UserID("1001@north.example"), roam.UserID("2001@south.example"), roam.UserID("1002@north.example"), roam.UserID("3001@west.example")
	type row struct {
		office  roam.OfficeID
		user    roam.UserID
		home    roam.OfficeID
		role    string
		kind    roam.Kind
		roaming bool
	}
	for _, c := range []struct {
		name     string
		from, to roam.UserID
		dial     string // as the caller dials it
		via      string // SDP as the callee gets it
		shown    string // From as the callee gets it
		rows     []row
	}{
		{"S1's user to D2", local, d2, "+15550001001", "south>A>B:offer", "sip:+15550002001@north.example", []row{
			{"south", local, "south", "caller", roam.InOffice, false}, {"south", d2, "north", "callee", roam.InOffice, true}}},
		{"D2 to S1's user, by number", d2, local, "1%20(555)%20000-2001", "south>A>B:offer", "sip:+15550001001@south.example", []row{
			{"south", d2, "north", "caller", roam.InOffice, true}, {"south", local, "south", "callee", roam.InOffice, false}}},
		{"S2's user to D2", home, d2, "1001", "south>A>B:north>A>B:offer", "sip:1002@north.example", []row{
			{"north", home, "north", "caller", roam.Outgoing, false}, {"south", d2, "north", "callee", roam.Incoming, true}}},
		{"D2 to S2's user, by home's short number", d2, home, "1002", "north>A>B:south>A>B:offer", "sip:1001@north.example", []row{
			{"south", d2, "north", "caller", roam.Outgoing, true}, {"north", home, "north", "callee", roam.Incoming, false}}},
		{"S3's user to D2", third, d2, "1001", "south>A>B:west>A>B:offer", "sip:+15550003001@north.example", []row{
			{"west", third, "west", "caller", roam.Outgoing, false}, {"south", d2, "north", "callee", roam.Incoming, true}}},
		{"D2 to S3's user", d2, third, "3001", "west>A>B:south>A>B:offer", "sip:+15550001001@west.example", []row{
			{"south", d2, "north", "caller", roam.Outgoing, true}, {"west", third, "west", "callee", roam.Incoming, false}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			world(t, func(t *testing.T, net *network, north, south, west *office) {
				phones := map[roam.UserID]*phone{
					d2:    net.phone(d2, "198.51.100.1:5060").register(south, "north", 10),
					local: net.phone(local, "198.51.100.2:5060").register(south, "", 10),
					home:  net.phone(home, "198.51.100.3:5060").register(north, "", 10),
					third: net.phone(third, "198.51.100.4:5060").register(west, "", 10),
				}
				a, b := phones[c.from], phones[c.to]
				a.call(c.dial, "offer", sip.Field{Name: sip.Subject, Value: "lunch"})
				net.pass(2 * time.Second)
				if a.last() != 200 || b.offered != c.via {
					t.Fatalf("the caller got %v, the callee was offered %q, want 200 and %q", a.got, b.offered, c.via)
				}
				from, _ := b.invited[0].From()
				if from.Raw != c.shown || from.Display != "User "+strings.TrimSuffix(string(c.from), "@"+sip.AOR(c.from).Host()) {
					t.Errorf("the callee was shown %s, want %s", from, c.shown)
				}
				if to, _ := b.invited[0].To(); to.Raw != "sip:"+string(c.to) {
					t.Errorf("To of the callee: got %s, want %s", to.Raw, c.to)
				}
				for _, n := range []sip.Name{sip.PAssertedIdentity, sip.PChargingVector, sip.RoamEpoch} {
					if v := b.invited[0].Value(n); v != nil {
						t.Errorf("the phone was told %s: %s", n, v)
					}
				}
				if got := string(b.invited[0].Value(sip.Subject)); got != "lunch" {
					t.Errorf("Subject: got %q, want lunch", got)
				}
				net.pass(10 * time.Second)
				a.bye()
				if len(b.ended) != 1 || b.ended[0].Req == nil || !strings.HasPrefix(string(b.ended[0].Req.Value(sip.Reason)), "Q.850;cause=16") {
					t.Errorf("the callee's end: %+v, want one BYE with a Reason", b.ended)
				}
				icid, session := "", ""
				all := 0
				for _, w := range c.rows {
					r := net.offices[w.office].row(w.user)
					if (row{r.Office, r.User, r.Home, r.Role, r.Kind, r.Roaming}) != w || r.From != string(c.from) || r.To != string(c.to) ||
						r.Status != 200 || r.Cause != 16 || r.By != "caller" || r.Reason != "normal" || r.Codec != "PCMA" || r.End.Sub(r.Answered).Round(time.Second) != 11*time.Second {
						t.Errorf("record %+v, want %+v", r, w)
					}
					if icid != "" && (icid != r.ICID || session != r.Session) || r.ICID == "" || r.Session == "" {
						t.Errorf("icid %q and session %q, want %q and %q in all records", r.ICID, r.Session, icid, session)
					}
					icid, session = r.ICID, r.Session
				}
				for _, o := range net.offices {
					all += len(o.rows)
				}
				if all != len(c.rows) {
					t.Errorf("%d records in all, want %d", all, len(c.rows))
				}
				if south.writes != nil && south.writes[0] != c.rows[0].role+" open" && len(south.writes) == 4 {
					t.Errorf("south wrote %v, want open records first", south.writes)
				}
			})
		})
	}
}
