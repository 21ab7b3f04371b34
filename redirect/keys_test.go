package redirect

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/routesrv"
	"github.com/siproam/siproam/seal"
)

// TestOnlySigned: a switch is sent where home has signed that the user is, and to home for everything else: what another office
// says of him, what another office has signed, and somebody who is nowhere.
func TestOnlySigned(t *testing.T) {
	north, south := seal.NewSigner(bytes.Repeat([]byte{1}, 32)), seal.NewSigner(bytes.Repeat([]byte{2}, 32))
	store := routesrv.Config{}
	r := newRigWith(t, func(cfg *Config) {
		store = cfg.Routes
		cfg.Keys = []roam.OfficeKey{{Office: "north", Domains: []string{"north.example"}, Public: north.Public()}, {Office: "south", Domains: []string{"south.example"}, Public: south.Public()}}
	})
	l := loop.New(64, 16)
	home, err := routesrv.New(store, l, roam.Card{Office: "north", Domains: []string{"north.example"}, Switch: "sip:sip.north.example:5067;transport=tls"}, "north:1", 1, &metric.Set{}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) error { l.Run(ctx); return nil })
	background(t, home.Run)
	const alice, toHome, toSouth = "1001@north.example", "sip.north.example;transport=tls>;office=north", "sip.south.example;transport=tls>;office=south"
	goes := func(user, want string) {
		t.Helper()
		got := ""
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) { // what is remembered is so for 2 s
			if got = r.ask("INVITE", "sip:"+user); strings.HasPrefix(got, "SIP/2.0 302") && strings.Contains(got, want) {
				return
			}
		}
		t.Errorf("%s: got\n%s\nwant 302 to %s", user, got, want)
	}
	goes(alice, toHome) // south says it has her, without a word of home's
	at := roam.Location{Epoch: 42, Office: "south", Switch: "sip:sip.south.example:5067;transport=tls", Registrar: "sip:sip.south.example:5067;transport=tls"}
	at.Sig = north.Attest(roam.LocationSeal, at.Attested(alice))
	r.office(alice, at)
	goes(alice, toSouth)
	const carol, bob = "1004@north.example", "1002@north.example"
	at.Switch = "sip:evil.example" // with home's word of before
	r.office(carol, at)
	goes(carol, toHome)
	at.Epoch++
	at.Sig = south.Attest(roam.LocationSeal, at.Attested(carol))
	r.office(carol, at)
	goes(carol, toHome)
	at.Epoch++
	seen := r.untrusted()
	r.office(alice, at)
	for end := time.Now().Add(5 * time.Second); r.untrusted() == seen && time.Now().Before(end); {
		goes(alice, toSouth) // the last word of home's that we know still stands
	}
	if r.untrusted() == seen {
		t.Error("what south says was not read")
	}
	goes(alice, toSouth)
	goes(bob, toHome) // nowhere: home may forward
}

// untrusted is how many places were read that home has not signed.
func (r *rig) untrusted() (n uint64) {
	for _, f := range r.s.metrics.Families() {
		if f.Name == "routes_untrusted_total" {
			n, _ = f.With().Count()
		}
	}
	return n
}

func TestReadKeys(t *testing.T) {
	key := base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	for text, want := range map[string]string{
		"# ours\nnorth North.example,voice.example " + key + " # since May\n": "",
		"north north.example\n":                 "want an office",
		"north north.example " + key[2:] + "\n": "is no key",
		"\n# nothing\n":                         "no keys",
	} {
		path := filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := ReadKeys(path)
		if want == "" && (err != nil || len(keys) != 1 || keys[0].Office != "north" || strings.Join(keys[0].Domains, " ") != "north.example voice.example") {
			t.Errorf("got %+v, %v", keys, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	if _, err := ReadKeys(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("got no error for a file that is not there")
	}
}
