package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

// req is a REGISTER as the tables write it: "call-id cseq contact=seconds contact=seconds ...", "*" for Contact: *.
func req(t *testing.T, d roam.Device, s string) Register {
	t.Helper()
	f := strings.Fields(s)
	r := Register{Device: d, CallID: f[0]}
	if _, err := fmt.Sscan(f[1], &r.CSeq); err != nil {
		t.Fatal(err)
	}
	for _, c := range f[2:] {
		if c == "*" {
			r.Star = true
			continue
		}
		uri, seconds, _ := strings.Cut(c, "=")
		n, id := 0, uint32(0)
		if _, err := fmt.Sscan(seconds, &n); err != nil {
			t.Fatal(err)
		}
		uri, reg, _ := strings.Cut(uri, "#")
		if reg != "" {
			_, _ = fmt.Sscan(reg, &id)
		}
		r.Contacts = append(r.Contacts, Contact{Target: roam.Target{URI: uri, Device: d, Q: 1000}, RegID: id, Grant: time.Duration(n) * time.Second})
	}
	return r
}

// bindings is what home has, as "contact=seconds left".
func bindings(w *world) string {
	var all []string
	for _, c := range w.home.Contacts() {
		all = append(all, fmt.Sprintf("%s=%d", c.Target.URI, c.Until.Sub(w.now)/time.Second))
	}
	return strings.Join(all, " ")
}

// TestBindings is RFC 3261 10.3 from step 6 on: each row registers on what the row before left.
func TestBindings(t *testing.T) {
	type row struct {
		device roam.Device
		req    string
		why    roam.Refusal
		want   string
	}
	for name, rows := range map[string][]row{
		"a question changes nothing": {
			{"", "x 1 a=60", roam.OK, "a=60"},
			{"", "x 2", roam.OK, "a=60"},
		},
		"several contacts at once": {
			{"", "x 1 a=60 b=120", roam.OK, "a=60 b=120"},
			{"", "x 2 a=0 c=30", roam.OK, "b=120 c=30"},
		},
		"two phones without a name": {
			{"", "x 1 a=60", roam.OK, "a=60"},
			{"", "y 1 b=60", roam.OK, "a=60 b=60"},
			{"", "x 2 a=30", roam.OK, "a=30 b=60"},
		},
		"CSeq orders one Call-ID": {
			{"", "x 5 a=60", roam.OK, "a=60"},
			{"", "x 4 a=90", roam.Stale, "a=60"},
			{"", "x 5 a=90", roam.Stale, "a=60"},
			{"", "y 1 a=90", roam.OK, "a=90"},
			{"", "x 6 a=0", roam.OK, ""},
		},
		"all or nothing": {
			{"", "x 5 a=60", roam.OK, "a=60"},
			{"", "x 4 b=60 a=60", roam.Stale, "a=60"},
		},
		"at most five": {
			{"", "x 1 a=60 b=60 c=60 d=60 e=60", roam.OK, "a=60 b=60 c=60 d=60 e=60"},
			{"", "y 1 f=60", roam.TooMany, "a=60 b=60 c=60 d=60 e=60"},
			{"", "y 2 f=60 a=0", roam.OK, "b=60 c=60 d=60 e=60 f=60"},
		},
		"the star": {
			{"", "x 1 a=60", roam.OK, "a=60"},
			{"urn:d", "y 1 b=60", roam.OK, "a=60 b=60"},
			{"urn:d", "y 1 *", roam.Stale, "a=60 b=60"},
			{"urn:d", "y 2 *", roam.OK, ""},
			{"urn:d", "y 3 *", roam.OK, ""},
		},
		"removing what is not there": {
			{"", "x 1 a=0", roam.OK, ""},
		},
		"an instance has one contact": {
			{"urn:d", "x 1 a=60", roam.OK, "a=60"},
			{"urn:d", "x 2 b=60", roam.OK, "b=60"},
			{"urn:d", "y 1 c=60", roam.OK, "c=60"},
			{"urn:e", "z 1 d=60", roam.OK, "c=60 d=60"},
		},
		"an instance has one contact for each reg-id": {
			{"urn:d", "x 1 a#1=60", roam.OK, "a=60"},
			{"urn:d", "x 2 b#2=60", roam.OK, "a=60 b=60"},
			{"urn:d", "x 3 c#2=60", roam.OK, "a=60 c=60"},
			{"urn:d", "x 4 d=60 e=60", roam.OK, "a=60 c=60 d=60 e=60"},
		},
		"two flows have the same URI": {
			{"urn:d", "x 1 a#1=60", roam.OK, "a=60"},
			{"urn:d", "y 1 a#2=90", roam.OK, "a=60 a=90"},
			{"urn:d", "x 2 a#1=30", roam.OK, "a=30 a=90"},
			{"urn:d", "y 1 a#2=70", roam.Stale, "a=30 a=90"},
			{"urn:e", "z 1 b#1=50", roam.OK, "a=30 a=90 b=50"},
			{"urn:d", "y 2 c#2=80", roam.OK, "b=50 a=30 c=80"},
			{"urn:d", "x 3 a#1=0", roam.OK, "b=50 c=80"},
		},
		"a contact becomes a flow": {
			{"urn:d", "x 1 a=60", roam.OK, "a=60"},
			{"urn:d", "x 2 a#1=50", roam.OK, "a=50"},
			{"urn:d", "x 3 a=0", roam.OK, ""},
		},
		"a MAC may be several programs": {
			{"mac:1", "x 1 a=60", roam.OK, "a=60"},
			{"mac:1", "y 1 b=60", roam.OK, "a=60 b=60"},
		},
		"a URI is bound once, whatever the phone calls itself": {
			{"", "x 1 a=60", roam.OK, "a=60"},
			{"urn:d", "y 1 a=30", roam.OK, "a=30"},
			{"", "y 1 a=0", roam.Stale, "a=30"},
			{"", "y 2 a=0", roam.OK, ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, true)
			w.offices["north"].Contacts = 5
			for _, row := range rows {
				if why := w.registers("north", req(t, row.device, row.req)); why != row.why {
					t.Errorf("%s: got %v, want %v", row.req, why, row.why)
				}
				if got := bindings(w); got != row.want {
					t.Errorf("%s: got %q, want %q", row.req, got, row.want)
				}
			}
		})
	}
}

// TestRepeats is a REGISTER whose 200 was lost, and one that somebody else made of it.
func TestRepeats(t *testing.T) {
	w := newWorld(t, true)
	ok(w, w.registers("north", req(t, "", "x 5 a=60")), roam.OK)
	for s, want := range map[string]bool{"x 5 a=60": true, "x 5 b=60": false, "x 5 a=0": false, "x 5 b=0": true, "x 6 a=60": false, "y 5 a=60": false, "x 5 *": false} {
		r := req(t, "", s)
		if got := w.home.Repeats(w.now, &r); got != want {
			t.Errorf("%s: got %v, want %v", s, got, want)
		}
	}
}

// TestRefreshAllocates: the short way costs no memory.
func TestRefreshAllocates(t *testing.T) {
	w := newWorld(t, true)
	r := req(t, "urn:d", "x 1 a=60")
	ok(w, w.registers("north", r), roam.OK)
	if n := testing.AllocsPerRun(100, func() {
		if r.CSeq++; !w.home.Refresh(w.now, &r) {
			t.Fatal("not a refresh")
		}
	}); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}
