package registrar

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// TestAuthenticate checks the credentials of a call: our own user's here, a visitor's at home.
func TestAuthenticate(t *testing.T) {
	for _, at := range []roam.OfficeID{"north", "south"} {
		inWorld(t, func(w *world) {
			p := w.phone().carry(at)
			p.want(200)
			w.agree(at)
			p.method, p.uri, p.nonce = "INVITE", "sip:+15550003001@north.example", ""
			invite := func() (code int, challenge string) {
				authorization := ""
				if p.nonce != "" {
					authorization = "Proxy-" + p.authorization()
				}
				text := strings.NewReplacer("REGISTER", "INVITE", "Contact", "X-Contact").Replace(p.text(authorization))
				m := &sip.Message{Flow: p.flow()}
				if err := sip.Parse([]byte(strings.ReplaceAll(text, "\n", "\r\n")), m); err != nil {
					t.Fatal(err)
				}
				got := make(chan error, 1)
				w.offices[at].loop.Do(context.Background(), func() {
					w.offices[at].reg.Authenticate(m, alice, func(user roam.UserID, err error) {
						if err == nil && user != alice {
							t.Errorf("got %s, want alice", user)
						}
						got <- err
					})
				})
				err := <-got
				if err == nil {
					return 200, ""
				}
				var r *sip.Refused
				if errors.As(err, &r) && len(r.Fields) > 0 && r.Fields[0].Name == sip.ProxyAuthenticate {
					challenge = r.Fields[0].Value
				}
				code, _, _ = sip.Status(err)
				return code, challenge
			}
			var code int
			var challenge string
			requests, _ := w.cost(func() { code, challenge = invite() })
			if code != 407 || challenge == "" {
				t.Fatalf("at %s: got %d with %q, want 407 and a challenge", at, code, challenge)
			}
			if _, other := invite(); other == challenge { // each call's its own, for a phone counts the uses of each from one
				t.Errorf("at %s: two calls were challenged alike: %s", at, challenge)
			}
			p.nonce, p.nc = nonceIn(challenge), 0
			more, commands := w.cost(func() { code, _ = invite() })
			if code != 200 {
				t.Errorf("at %s: got %d, want the call admitted", at, code)
			}
			if want := map[roam.OfficeID]int{"south": 1}[at]; requests != 0 || more != want || commands != 0 {
				t.Errorf("at %s: the challenge took %d requests, the call %d and %d commands, want 0, %d and 0", at, requests, more, commands, want)
			}
			p.nc-- // the same answer again
			if code, _ = invite(); code != 407 {
				t.Errorf("at %s: replayed: got %d, want 407", at, code)
			}
			p.password = "guess"
			if code, _ = invite(); code != 407 {
				t.Errorf("at %s: wrong password: got %d, want 407", at, code)
			}
			p.password, p.method = "secret-1001", "REGISTER" // what a REGISTER was answered with is no answer for a call
			if code, _ = invite(); code != 407 {
				t.Errorf("at %s: a REGISTER's digest: got %d, want 407", at, code)
			}
			w.agree(at)
			q := *p // the phone refreshes, with a nonce of its own
			q.nonce, q.uri = "", "sip:north.example"
			if requests, _ = w.cost(func() { q.want(200) }); requests > 1 {
				t.Errorf("at %s: the refresh after a call took %d requests, want one", at, requests)
			}
		})
	}
}
