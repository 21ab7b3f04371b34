package office_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/roam"
)

// called is what came of p's call to a number: "" when it was answered.
func (x *three) called(p *phone.Phone, to string) string {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), 8*time.Second)
	defer cancel()
	c, err := p.Call(ctx, to)
	if err != nil {
		return err.Error()
	}
	c.Hangup(ctx)
	return ""
}

// TestNumberRanges: a number in an office's range that nobody has is refused by that office, whether it was dialled in full or
// short, from home or by a visitor; R holds the ranges.
func TestNumberRanges(t *testing.T) {
	x := startThree(t, nil)
	e := x.listen()
	alice := x.phone("1001", "north", phone.Config{})
	bob := x.phone("1002", "west", phone.Config{})
	for p, at := range map[*phone.Phone]string{alice: "north", bob: "west"} {
		if _, err := x.plug(p); err != nil {
			t.Fatal(err)
		}
		x.located(map[*phone.Phone]string{alice: "1001", bob: "1002"}[p], at)
	}
	x.eventually("R has told north of south's range", func() error {
		e.clear()
		got := x.called(alice, "sip:+15550002999@north.example")
		if !strings.Contains(strings.Join(e.settled(), "\n"), "north > south  INVITE") {
			return errors.New(got + " from north itself")
		}
		return nil
	})
	for _, c := range []struct {
		by     *phone.Phone
		dial   string
		invite string // between offices
	}{
		{alice, "sip:+15550002999@north.example", "north > south  INVITE"}, {alice, "sip:2999@north.example", "north > south  INVITE"},
		{alice, "sip:+15550001999@north.example", ""}, {alice, "sip:+4930123456@north.example", ""}, {bob, "sip:+15550001999@north.example", "west  > north  INVITE"},
	} {
		e.settled()
		e.clear()
		if got := x.called(c.by, c.dial); !strings.Contains(got, "404") {
			t.Errorf("%s: got %q, want 404", c.dial, got)
		}
		lines := slices.DeleteFunc(e.settled(), func(l string) bool {
			return !strings.Contains(l, "INVITE") || !strings.Contains(strings.SplitN(l, "INVITE", 2)[0], "south") && !strings.HasPrefix(l, "west  > north")
		})
		if got := strings.Join(lines, "\n"); c.invite == "" && got != "" || !strings.HasPrefix(got, c.invite) {
			t.Errorf("%s: got %q between offices, want %q", c.dial, got, c.invite)
		}
	}
}

// TestOverlappingExtensionsOnTheWire: north and south each have a private 1001, and both of them sit in west. Who dials 1001
// in north reaches north's, in south south's; in west, which has none, nobody; and a phone that registers as no more than
// 1001 at west's address is told to use the full number.
func TestOverlappingExtensionsOnTheWire(t *testing.T) {
	x := startThree(t, func(c *office.Config) {
		c.Numbers = roam.Numbers{Country: "1", Extensions: map[string]string{"1xxx": "", "2xxx": "", "3xxx": ""}}
	})
	control, err := office.Dial(x.dir)
	if err != nil {
		t.Fatal(err)
	}
	account := map[string]any{"user": "1001@south.example", "Password": "secret-1001"}
	if err := control.Ask(t.Context(), "POST", "/users", url.Values{"office": {"south"}}, account, nil); err != nil {
		t.Fatal(err)
	}
	south1001, err := phone.New(phone.Config{AOR: "sip:1001@south.example", Password: "secret-1001", Proxy: x.addr("west", "udp"), Answer: phone.Busy, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	north1001 := x.phone("1001", "west", phone.Config{Answer: phone.Echo})
	bob, carol, wanda := x.phone("1002", "north", phone.Config{}), x.phone("2001", "south", phone.Config{}), x.phone("3001", "west", phone.Config{})
	for _, p := range []*phone.Phone{south1001, north1001, bob, carol, wanda} {
		if _, err := x.plug(p); err != nil {
			t.Fatal(err)
		}
	}
	x.located("1001@north.example", "west")
	x.located("1001@south.example", "west")
	for _, c := range []struct {
		by         *phone.Phone
		dial, want string // "": north's answers; 486: south's rings
	}{
		{bob, "sip:1001@north.example", ""}, {carol, "sip:1001@south.example", "486"}, {wanda, "sip:1001@west.example", "404"},
		{wanda, "sip:1001@north.example", ""}, {wanda, "sip:1001@south.example", "486"}, {bob, "sip:1001@south.example", "486"}, {carol, "sip:1001@north.example", ""},
	} {
		if got := x.called(c.by, c.dial); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.dial, got, c.want)
		}
	}
	res := x.dial("udp", "west").ask("REGISTER sip:127.0.0.1", "To: <sip:1001@127.0.0.1>\nContact: <sip:1001@192.0.2.9>;expires=300\nExpires: 300\n", "")
	if res.Status() != 404 || res.Reason() != "Use The Full Number" {
		t.Errorf("a bare 1001: got %d %s, want 404 Use The Full Number", res.Status(), res.Reason())
	}
}
