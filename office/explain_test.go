package office_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/roam"
)

// pbx has office o take pbx.example for the domain of a foreign home that listens nowhere.
func pbx(x *three, c *office.Config) {
	at := netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", x.freePorts(1)[0]))
	c.Partners = append(c.Partners, roam.Partner{Office: "pbx", Foreign: &roam.Foreign{Listen: at, Registrar: "sip:127.0.0.1:9", Domain: "pbx.example",
		Sources: []roam.Net{{Prefix: netip.MustParsePrefix("127.0.0.1/32")}}}})
}

// TestExplain: why a user is where he is, and what a call would do, agree with what a call does; a released user is
// offline everywhere, and back with the next REGISTER.
func TestExplain(t *testing.T) {
	x := startThree(t, func(c *office.Config) {
		if c.Office == "west" {
			pbx(&three{t: t}, c)
		}
	})
	explain := func(from string) office.Explanation {
		t.Helper()
		e, err := x.house.Explain(t.Context(), "1001", from, "")
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	follows := func(e office.Explanation, want ...string) {
		t.Helper()
		if len(e.Call) != len(want) {
			t.Fatalf("got %q, want %d steps", e.Call, len(want))
		}
		for i, w := range want {
			if !strings.HasPrefix(e.Call[i], w) {
				t.Errorf("step %d: got %q, want %q", i, e.Call[i], w)
			}
		}
	}
	follows(explain(""), "north reads the routing store: nowhere", "north answers 480")
	follows(explain("west"), "west reads the routing store: nowhere", "west sends INVITE to north (sip:127.0.0.1:", "north reads", "north answers 480")

	unplug, err := x.plug(x.phone("1001", "south", phone.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	x.located("1001", "south")
	follows(explain("west"), "west reads the routing store: south", "west sends INVITE to south", "south rings 127.0.0.1:")
	follows(explain("north"), "north sends INVITE to south", "south rings")
	follows(explain("south"), "south reads the routing store: south", "south rings")
	e := explain("")
	if want := []string{"agreement north -> south: admitted, roamers: no lists", "agreement south <- north: admitted, visitors: no lists; 1 of 50 visitors; home silent: refuse"}; !slices.Equal(e.Policy, want) {
		t.Errorf("got %q, want %q", e.Policy, want)
	}
	if e.AtHome == nil || e.There == nil || len(e.AtHome.Stays) != 1 || len(e.There.Stays) != 1 || e.AtHome.Stays[0].Epoch != e.There.Stays[0].Epoch || e.Next.IsZero() {
		t.Errorf("got %+v and %+v, want the same visit at home and there", e.AtHome, e.There)
	} else if c := e.There.Stays[0].Check; c == nil || c.By != "north" || c.Millis <= 0 || c.At.IsZero() || c.Rev != e.AtHome.Profile.Rev {
		t.Errorf("got %+v, want to read that north has checked the digest, and its profile", c)
	}
	if len(e.Moves) != 1 || e.Moves[0].To != "south" || e.Moves[0].Why != "registered" {
		t.Errorf("got %+v, want the one move to south", e.Moves)
	}

	unplug() // says goodbye: the phone must not come back by itself while we look
	x.located("1001", "")
	if _, err := x.plug(x.phone("1001", "south", phone.Config{})); err != nil {
		t.Fatal(err)
	}
	x.located("1001", "south")
	all, err := x.house.Release(t.Context(), "1001", "")
	if err != nil || len(all) != 1 || all[0] != (office.Released{User: "1001@north.example", Office: "north", Devices: 1}) {
		t.Errorf("got %v %v, want one device released at north", all, err)
	}
	x.located("1001", "")
	x.eventually("south has been told", func() error {
		if st, err := x.office("south").Where(t.Context(), "1001"); err == nil && len(st.Phones) > 0 {
			return errors.New("it still has the phone")
		}
		return nil
	})
	if e := explain(""); e.Moves[0].To != "" || e.Moves[0].Why != "released" && e.Moves[0].Why != "superseded" { // south may be first to report
		t.Errorf("got %+v, want the release as the newest move", e.Moves[0])
	}
	if _, err := x.plug(x.phone("1001", "west", phone.Config{})); err != nil {
		t.Errorf("after a release: got %v, want to be registered", err)
	}
	x.located("1001", "west")
	if _, err := x.house.Explain(t.Context(), "7777", "", ""); !errors.Is(err, roam.NoSuchUser) {
		t.Errorf("nobody: got %v, want %v", err, roam.NoSuchUser)
	}
	if _, err := x.house.Explain(t.Context(), "1001", "east", ""); err == nil {
		t.Error("a call from an office that does not run here: got no error")
	}
	abroad, err := x.house.Explain(t.Context(), "8001@pbx.example", "west", "")
	if err != nil || abroad.Home != "pbx" || !abroad.Foreign || abroad.Online() {
		t.Errorf("got %+v %v, want a user of pbx, who is at none of our offices", abroad, err)
	}
	follows(abroad, "west reads the routing store: nowhere", "west sends INVITE to pbx (sip:127.0.0.1:9), by way of home")
	if said := x.house.Resync(""); len(said) != 3 || said["north"] != "begun" {
		t.Errorf("got %v, want begun at three offices", said)
	}
}
