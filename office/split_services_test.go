package office_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// TestSplitServes: abilities and services are the same where registrar and softswitches are processes of their own: the
// registrar hears by what transport a phone came to a softswitch, the softswitch hears of a changed profile at once, and of
// other offices' numbers what they have published.
func TestSplitServes(t *testing.T) {
	x := startSplit(t, nil)
	north := &three{t: t, dir: filepath.Join(x.dir, "desk")}
	if err := north.set("1003", map[string]string{"abilities": "tcp"}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.plug(x.phone("1003", "", phone.Config{}, x.door(1, "udp"))); err == nil || !strings.Contains(err.Error(), "488") {
		t.Errorf("a phone by UDP whose account says TCP: got %v, want 488", err)
	}
	if _, err := x.plug(x.phone("1003", "", phone.Config{TCP: true}, x.door(1, "tcp"))); err != nil {
		t.Errorf("the same by TCP: got %v", err)
	}
	e, err := x.desk.Explain(t.Context(), "1003", "", "")
	if err != nil || e.AtHome == nil || len(e.AtHome.Stays) != 1 || e.AtHome.Stays[0].Can == nil || e.AtHome.Stays[0].Can.Transport != roam.TCP {
		t.Errorf("explain: got %+v, %v, want a device by tcp", e.AtHome, err)
	}

	caller, busy := x.phone("1001", "", phone.Config{}, x.door(1, "udp")), x.phone("1002", "", phone.Config{Answer: phone.Busy}, x.door(2, "udp"))
	other := x.phone("2001", "south", phone.Config{Answer: phone.Echo})
	for _, p := range []*phone.Phone{caller, busy, other} {
		if _, err := x.plug(p); err != nil {
			t.Fatal(err)
		}
	}
	x.located("2001", "south")
	if got := x.called(caller, "sip:1002@north.example"); !strings.Contains(got, "486") {
		t.Errorf("before: got %q, want 486", got)
	}
	if err := north.set("1002", map[string]string{"forward.busy": "+15550002001"}); err != nil {
		t.Fatal(err)
	}
	if err := north.set("1001", map[string]string{"bar": "+15550003"}); err != nil {
		t.Fatal(err)
	}
	var said atomic.Int32 // 404 of south, to another office
	t.Cleanup(x.office("south").Tap(func(f *sip.Flow, sent bool, b []byte) {
		if sent && f.Partner != "" && strings.HasPrefix(string(b), "SIP/2.0 404") {
			said.Add(1)
		}
	}))
	x.eventually("south is asked whom it has", func() error {
		if got := x.called(caller, "sip:+15550002999@north.example"); !strings.Contains(got, "404") || said.Load() == 0 {
			return errors.New(got + ", and not from south")
		}
		return nil
	})
	x.eventually("both softswitches know", func() error {
		if got := x.called(caller, "sip:1002@north.example"); got != "" {
			return roam.TooBusy
		}
		if got := x.called(caller, "sip:+15550003001@north.example"); !strings.Contains(got, "403") {
			return roam.NotAllowed
		}
		return nil
	})
}
