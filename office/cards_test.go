package office_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
)

// TestCardChanges: what an office says of itself is shown at the home of its visitors, and 15 s after a reload the other
// offices know what has changed, without a restart and without a word of a phone.
func TestCardChanges(t *testing.T) {
	x := startThree(t, nil)
	if _, err := x.plug(x.phone("1001", "south", phone.Config{})); err != nil {
		t.Fatal(err)
	}
	x.located("1001", "south")
	says := func(calls int) error {
		e, err := x.house.Explain(t.Context(), "1001", "", "")
		if err != nil {
			return err
		}
		if e.AtHome == nil || len(e.AtHome.Stays) != 1 || e.AtHome.Stays[0].Speaks == nil {
			return fmt.Errorf("home knows nothing of south: %+v", e.AtHome)
		}
		a := e.AtHome.Stays[0].Speaks
		if len(a.Transports) != 1 || a.Transports[0] != "tls" || len(a.Services) == 0 || a.MessageMax != 65535 || a.CallsMax != calls {
			return fmt.Errorf("home knows %+v of south, want %d calls", a, calls)
		}
		return nil
	}
	if err := says(office.DefaultConfig().Capacity.Calls); err != nil {
		t.Error(err)
	}
	south := x.office("south")
	cfg := south.Config()
	cfg.Capacity.Calls = 77
	if _, err := south.Reload(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for says(77) != nil && time.Since(began) < 15*time.Second {
		time.Sleep(20 * time.Millisecond)
	}
	if err := says(77); err != nil {
		t.Errorf("15 s after the reload: %v", err)
	}
}
