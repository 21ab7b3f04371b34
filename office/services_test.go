package office_test

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/roam"
)

// set is `siproam user set`.
func (x *three) set(user string, settings map[string]string) error {
	x.t.Helper()
	c, err := office.Dial(x.dir)
	if err != nil {
		x.t.Fatal(err)
	}
	return c.Ask(x.t.Context(), "PATCH", "/user", url.Values{"user": {user}}, map[string]any{"Set": settings}, nil)
}

// TestServicesRoam: what `user set` changes at home holds at home and where the user visits, at once: barring and each
// forwarding, dialled from home, from where he is, and from a third office; the records of the one who forwards go home;
// and `explain` says what a call would do.
func TestServicesRoam(t *testing.T) {
	x := startThree(t, nil)
	phones := map[string]*phone.Phone{}
	for n, at := range map[string]string{"1002": "north", "2001": "south", "3001": "west"} {
		p := x.phone(n, at, phone.Config{Answer: phone.Echo})
		if _, err := x.plug(p); err != nil {
			t.Fatal(err)
		}
		x.located(n, at)
		phones[n] = p
	}
	calls := func(p *phone.Phone, to string) error {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		c, err := p.Call(ctx, to)
		if err == nil {
			c.Hangup(ctx)
		}
		return err
	}
	records := func() (n int) {
		t.Helper()
		all, err := x.house.Records(t.Context(), "1001@north.example", "north", "", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			if r.Role == "forwarder" && !r.End.IsZero() {
				n++
			}
		}
		return n
	}
	forwards := 0
	for _, at := range []string{"north", "south"} {
		alice := x.phone("1001", at, phone.Config{Answer: phone.Busy})
		unplug, err := x.plug(alice)
		if err != nil {
			t.Fatal(err)
		}
		x.located("1001", at)

		if err := x.set("1001", map[string]string{"bar": "+1555000300", "forward.busy": "3001"}); err != nil {
			t.Fatal(err)
		}
		x.eventually("the services are where she is", func() error {
			line, err := x.house.Explain(t.Context(), "1001", "", "")
			if err == nil && (line.There == nil && at != "north" || line.There != nil && line.There.Profile.Forward == nil) {
				err = roam.HomeSilent
			}
			return err
		})
		for n, p := range phones {
			if n == "3001" {
				continue
			}
			if err := calls(p, "+15550001001"); err != nil {
				t.Errorf("%s at %s, busy: %s calls: got %v, want 3001 to answer", "1001", at, n, err)
			}
			forwards++
		}
		if err := calls(alice, "+15550003001"); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("at %s: a barred number: got %v, want 403", at, err)
		}
		if err := calls(alice, "+15550002001"); err != nil {
			t.Errorf("at %s: another number: got %v", at, err)
		}

		unplug()
		x.located("1001", "")
		if err := x.set("1001", map[string]string{"bar": "", "forward.busy": "", "forward.offline": "2001"}); err != nil {
			t.Fatal(err)
		}
		if err := calls(phones["3001"], "+15550001001"); err != nil {
			t.Errorf("offline: 3001 calls: got %v, want 2001 to answer", err)
		}
		forwards++
		e, err := x.house.Explain(t.Context(), "1001", "west", "")
		if err != nil || !slices.ContainsFunc(e.Call, func(s string) bool {
			return s == "north forwards the call (unavailable) to 2001@south.example, by the profile"
		}) {
			t.Errorf("explain: got %q, %v", e.Call, err)
		}
		x.eventually("the records are at home", func() error {
			if n := records(); n != forwards {
				return roam.Timeout
			}
			return nil
		})
	}
	for _, c := range []struct{ key, value string }{{"forward.always", "7777"}, {"forward.busy", "911"}, {"forward.never", "1002"}, {"bar", "everything"}} {
		if err := x.set("1001", map[string]string{c.key: c.value}); err == nil {
			t.Errorf("%s=%s: got no error", c.key, c.value)
		}
	}
}
