package office_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/sip"
)

// TestAbilitiesOnTheWire: what a phone gets to read that lacks what home, or the visited office, demands, by UDP and TCP;
// `explain` shows what a device that was admitted can do.
func TestAbilitiesOnTheWire(t *testing.T) {
	x := startThree(t, func(c *office.Config) {
		switch c.Office {
		case "north":
			c.Abilities.Users.Require = []string{"gruu"}
		case "south":
			c.Abilities.Visitors.Transports, c.Abilities.Visitors.Refuse = []string{"tcp", "tls"}, []string{"outbound"}
		}
	})
	contact := "Contact: <sip:1001@192.0.2.9>;expires=300\nExpires: 300\n"
	for _, c := range []struct {
		what, network, at, user, headers string
		asked                            bool // for credentials, before the refusal
		code                             int
		field                            sip.Name
		value                            string
	}{
		{"home demands gruu", "udp", "north", "1001", contact, true, 421, sip.Require, "gruu"},
		{"home demands gruu, abroad", "tcp", "west", "1001", contact, true, 421, sip.Require, "gruu"},
		{"and has it", "udp", "north", "1001", contact + "Supported: gruu\n", true, 200, 0, ""},
		{"no visitors by UDP", "udp", "south", "1001", contact + "Supported: gruu\n", false, 488, sip.Warning, `399 south.example "this user registers over tcp or tls"`},
		{"no outbound for visitors", "tcp", "south", "1001", contact + "Supported: gruu\nRequire: outbound\n", false, 420, sip.Unsupported, "outbound"},
		{"its own users may", "udp", "south", "2001", contact + "Require: outbound\n", true, 200, 0, ""},
		{"a visitor by TCP", "tcp", "south", "1001", contact + "Supported: gruu, path\nAllow: INVITE\n", true, 200, 0, ""},
	} {
		w := x.dial(c.network, c.at)
		var res *sip.Message
		if c.asked {
			res = w.register(c.user, c.headers)
		} else {
			res = w.ask("REGISTER sip:"+c.at+".example", c.headers+"To: <sip:"+c.user+"@north.example>\n", "")
		}
		if got := string(res.Value(c.field)); res.Status() != c.code || got != c.value {
			t.Errorf("%s: got %d %s, %s: %q, want %d, %q", c.what, res.Status(), res.Reason(), c.field, got, c.code, c.value)
		}
	}
	x.located("1001", "south")
	e, err := x.house.Explain(t.Context(), "1001", "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range []*office.Standing{e.AtHome, e.There} {
		if st == nil || len(st.Stays) != 1 || st.Stays[0].Can == nil || !slices.Equal(st.Stays[0].Can.Supported, []string{"gruu", "path"}) || st.Stays[0].Can.Transport.Word() != "tcp" {
			t.Errorf("explain: got %+v, want a device by tcp that has gruu and path", st)
		}
	}
	if !slices.ContainsFunc(e.Policy, func(l string) bool { return strings.Contains(l, "devices over tcp, tls") }) || !slices.ContainsFunc(e.Policy, func(l string) bool { return strings.Contains(l, "devices that have gruu") }) {
		t.Errorf("explain: got %q, want what south and north demand of devices", e.Policy)
	}
}

// TestCapacityOnTheWire: a full office refuses the phone with 503 and when to come back (M7): at home (d) and away (h).
func TestCapacityOnTheWire(t *testing.T) {
	x := startThree(t, func(c *office.Config) {
		switch c.Office {
		case "north":
			c.Capacity.Users = 1
		case "south":
			c.Capacity.Visitors = 1
		}
	})
	for n, at := range map[string]string{"1001": "north", "1002": "south"} {
		if _, err := x.plug(x.phone(n, at, phone.Config{})); err != nil {
			t.Fatal(err)
		}
		x.located(n, at)
	}
	contact := "Contact: <sip:1003@192.0.2.9>;expires=300\nExpires: 300\n"
	for _, at := range []string{"north", "south"} {
		res := x.dial("udp", at).register("1003", contact)
		if after, found := res.Seconds(sip.RetryAfter); res.Status() != 503 || !found || after < 15 || after > 45 {
			t.Errorf("%s: got %d, Retry-After %d, want 503 and 15 to 45", at, res.Status(), after)
		}
	}
	x.located("1003", "")
	if res := x.dial("udp", "west").register("1003", contact); res.Status() != 200 {
		t.Errorf("west has room: got %d, want 200", res.Status())
	}
}

// TestCapacityAfterRestart: who was served before counts after a restart, too, before any phone has said a word.
func TestCapacityAfterRestart(t *testing.T) {
	x := startThree(t, func(c *office.Config) {
		if c.Office == "south" {
			c.Capacity.Visitors, c.Capacity.Users = 1, 1
		}
	})
	for n, home := range map[string]string{"1001": "north", "2001": "south"} {
		if res := x.dial("udp", "south").register(n, "Contact: <sip:"+n+"@192.0.2.9>;expires=300\nExpires: 300\n"); res.Status() != 200 {
			t.Fatalf("%s of %s: got %d, want 200", n, home, res.Status())
		}
		x.located(n, "south")
	}
	x.again()
	for n, want := range map[string]string{"1002": "503 Service Unavailable", "2002": "503 Service Unavailable", "1001": "200 OK", "2001": "200 OK"} {
		res := x.dial("udp", "south").register(n, "Contact: <sip:"+n+"@192.0.2.9>;expires=300\nExpires: 300\n")
		if got := fmt.Sprint(res.Status(), " ", res.Reason()); got != want {
			t.Errorf("%s after the restart: got %s, want %s", n, got, want)
		}
	}
}
