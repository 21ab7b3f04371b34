package digest

import (
	"errors"
	"strings"
	"testing"

	"github.com/siproam/siproam/sip"
)

// TestFindings: credentials that broke other servers, as values of our own, named after the finding. None is taken, none
// passes for the user's.
func TestFindings(t *testing.T) {
	const all = `Digest username="1001", realm="north.example", nonce="n", uri="sip:x", response="e"`
	g, ha1 := guard(), MakeHA1(login, realm, password)
	for _, f := range []struct{ name, value string }{
		{"CVE-2023-28098, OpenSIPS: cut after the scheme", "Digest"},
		{"CVE-2023-28098, OpenSIPS: cut in a name", "Digest usern"},
		{"CVE-2023-28098, OpenSIPS: cut at =", "Digest username="},
		{"CVE-2023-28098, OpenSIPS: cut in a value", `Digest username="10`},
		{"CVE-2023-28098, OpenSIPS: cut behind a backslash", `Digest username="10\`},
		{"CVE-2023-28098, OpenSIPS: cut after a comma", `Digest username="1001",`},
		{"0fadc0a6, OpenSIPS: odd names", `Digest u="1001", ="x", r=, n`},
		{"0fadc0a6, OpenSIPS: the name alone of each", "Digest username, realm, nonce, uri, response, qop, nc, cnonce"},
		{"0fadc0a6, OpenSIPS: a name of 10,000", "Digest " + strings.Repeat("n", 10000) + `="x"`},
		{"GHSA-64qc-9x89-rx5j, Asterisk: nothing but commas", "Digest ,,,,,,,,"},
		{"GHSA-64qc-9x89-rx5j, Asterisk: empty values", `Digest username="", realm="", nonce="", uri="", response=""`},
		{"GHSA-64qc-9x89-rx5j, Asterisk: a parameter twice", all + `, response="f"`},
		{"GHSA-64qc-9x89-rx5j, Asterisk: nc that is no number", all + `, qop=auth, cnonce="c", nc=zzzzzzzz`},
		{"GHSA-qqxj-v78h-hrf9, Asterisk: no response", `Digest username="1001", realm="north.example", nonce="n", uri="sip:x"`},
		{"CVE-2021-41158, FreeSWITCH: qop without its parts", all + ", qop=auth"},
	} {
		t.Run(f.name, func(t *testing.T) {
			for range 100 {
				c, ok, err := Parse([]byte(f.value))
				var r *sip.Refused
				if !ok || !errors.As(err, &r) || r.Code != 400 {
					t.Fatalf("got %+v, %v, %v, want a 400", c, ok, err)
				}
				if got := g.Check(now, "REGISTER", Place{}, &c, ha1, nil); got != Bad {
					t.Fatalf("what is left of it: got %v, want %v", got, Bad)
				}
			}
		})
	}
	for n := range len(all) { // of each that is cut
		if _, ok, err := Parse([]byte(all[:n])); ok && err == nil {
			t.Errorf("%q is taken", all[:n])
		}
	}
}
