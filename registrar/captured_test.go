package registrar

import (
	"reflect"
	"strings"
	"testing"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// TestCaptured: credentials that somebody has seen on the wire, even before they came where they were sent, bind nothing at
// another address, at home and away; the phone they are of is served all the same, and again when its own address changes.
func TestCaptured(t *testing.T) {
	for _, at := range []roam.OfficeID{"north", "south"} {
		inWorld(t, func(w *world) {
			p := w.phone().carry(at)
			p.want(200)
			seen := p.text(p.authorization()) // and held back
			before := w.state()
			thief := *p
			for _, change := range [][2]string{{"", ""}, {"198.51.100.7", "203.0.113.66"}, {"Call-ID: ", "Call-ID: x"}, {"Expires: 300", "Expires: 0"}, {";+sip.instance=\"<urn:uuid:a>\"", ""}} {
				thief.ip = "203.0.113.66"
				res := thief.send(strings.ReplaceAll(strings.ReplaceAll(seen, change[0], change[1]), "branch=z9hG4bK", "branch=z9hG4bK"+thief.callID+change[1][:min(1, len(change[1]))]))
				if stale := strings.Contains(string(res.Value(sip.WWWAuthenticate)), "stale=true"); res.Status() != 401 || !stale {
					t.Errorf("%s, %q: got %d, stale %v, want a new challenge", at, change[1], res.Status(), stale)
				}
			}
			if after := w.state(); !reflect.DeepEqual(before, after) {
				t.Errorf("%s: changed: before %v\nafter %v", at, before, after)
			}
			p.port++ // a NAT gives another port: no new challenge
			if res := p.send(p.text(p.authorization())); res.Status() != 200 {
				t.Errorf("%s: another port: got %d, want 200", at, res.Status())
			}
			p.ip, p.callID = "198.51.100.8", p.callID+"b" // another address: one more
			if res := p.send(p.text(p.authorization())); res.Status() != 401 {
				t.Errorf("%s: another address: got %d, want 401", at, res.Status())
			}
			p.want(200)
			w.agree(at)
		})
	}
}
