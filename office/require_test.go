package office_test

import (
	"slices"
	"testing"

	"github.com/siproam/siproam/sip"
)

// TestRequireIsHonest: what an office does not do it does not take a request for (RFC 3261 8.2.2.3), and it names each
// option it lacks.
func TestRequireIsHonest(t *testing.T) {
	x := startThree(t, nil)
	w := x.dial("tcp", "north")
	lacking := []string{"100rel", "path", "timer", "replaces", "gruu", "histinfo", "precondition", "eventlist", "tdialog", "norefersub"}
	for _, line := range []string{"REGISTER sip:north.example", "OPTIONS sip:north.example", "INVITE sip:1001@north.example", "MESSAGE sip:1001@north.example"} {
		for _, option := range lacking {
			for _, header := range []string{"Require: ", "Proxy-Require: "} {
				res := w.ask(line, header+option+"\nContact: <sip:someone@192.0.2.9>\n", "")
				var named []string
				for v := range res.Values(sip.Unsupported) {
					named = append(named, string(v))
				}
				if res.Status() != 420 || !slices.Equal(named, []string{option}) {
					t.Errorf("%s with %s%s: got %d, Unsupported %q, want 420 that names it", line, header, option, res.Status(), named)
				}
			}
		}
	}
}
