package registrar

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
)

// events is the log of o, as "event kind user", without what only degrees of load say.
func (o *site) events(t *testing.T) (all []string) {
	for _, l := range strings.Split(strings.TrimSpace(o.log.String()), "\n") {
		var line map[string]any
		if l == "" {
			continue
		}
		if err := json.Unmarshal([]byte(l), &line); err != nil {
			t.Fatalf("%v: %s", err, l)
		}
		if line["level"] == "debug" {
			continue
		}
		all = append(all, strings.TrimSpace(fmt.Sprint(line["event"], " ", line["kind"], " ", line["remote_ip"])))
	}
	return all
}

// TestLog: one line for each registration that changed, none for a refresh, one for each refused
// login with the phone's address; and never a secret.
func TestLog(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone()
		p.want(200)
		p.want(200)
		p.carry("south").want(200)
		p.want(200)
		w.agree("south")
		guess := w.phone().carry("south")
		guess.password = "guess"
		guess.want(401)
		p.expires = 0
		p.want(200)
		w.agree("")
		for o, want := range map[roam.OfficeID][]string{
			"north": {"register.ok home 198.51.100.7", "register.ok visited <nil>",
				"auth.failed <nil> <nil>", "register.ok remove <nil>"},
			"south": {"register.ok visited 198.51.100.7", "auth.failed <nil> 198.51.100.7", "register.ok remove 198.51.100.7"},
		} {
			if got := w.offices[o].events(t); !slices.Equal(got, want) {
				t.Errorf("%s: got\n%s\nwant\n%s", o, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			for _, secret := range []string{p.password, "guess", p.nonce, guess.nonce, "response", "Digest"} {
				if strings.Contains(w.offices[o].log.String(), secret) {
					t.Errorf("%s logged %q", o, secret)
				}
			}
		}
		got := map[string]uint64{}
		for _, f := range w.offices["north"].m.Families() {
			if f.Name == "register_requests_total" || f.Name == "moves_total" || f.Name == "auth_failures_total" {
				f.Each(func(v *metric.Value) { got[f.Name+" "+strings.Join(v.Labels, " ")], _ = v.Count() })
			}
		}
		for name, want := range map[string]uint64{"register_requests_total home challenged": 1, "register_requests_total home ok": 1, "register_requests_total refresh ok": 2,
			"register_requests_total visited ok": 1, "register_requests_total remove ok": 1, "register_requests_total query ok": 2, "moves_total none north": 1,
			"moves_total north south": 1, "moves_total south none": 1, "auth_failures_total credentials": 1} {
			if got[name] != want {
				t.Errorf("%s: got %d, want %d in %v", name, got[name], want, got)
			}
		}
	})
}

// TestEpochs: they grow, also when the clock goes back over a restart, and stay below 2^53.
func TestEpochs(t *testing.T) {
	inWorld(t, func(w *world) {
		draw := func() (e roam.Epoch) {
			w.on("north", func(s *Server) { e = s.draw() })
			return e
		}
		a, b := draw(), draw()
		if b <= a || b >= 1<<53 {
			t.Errorf("got %d after %d", b, a)
		}
		settle(time.Second)
		w.offices["north"].restart() // the clock stands at less than the ceiling that is on disk
		if c := draw(); c <= b+roam.Epoch(time.Minute/time.Microsecond) {
			t.Errorf("got %d after a restart, want it above the ceiling, which is above %d", c, b)
		}
	})
}

// TestQueue: one change of a user is under way; four wait, the sixth is refused.
func TestQueue(t *testing.T) {
	inWorld(t, func(w *world) {
		ran := 0
		w.on("north", func(s *Server) {
			u := s.users[alice]
			ok := true
			for i := range 6 {
				ok = s.change(u, func() control.Event {
					ran++
					return control.Register{Device: "urn:uuid:a", CallID: "c", CSeq: uint32(i), Contacts: []control.Contact{
						{Target: roam.Target{URI: fmt.Sprint("sip:", i, "@192.0.2.9"), Device: "urn:uuid:a"}, Grant: time.Minute}}}
				})
				if want := i < 5; ok != want {
					t.Errorf("change %d: got %v, want %v", i, ok, want)
				}
			}
		})
		settle(time.Second)
		if ran != 5 {
			t.Errorf("got %d changes, want 5", ran)
		}
	})
}

// TestReload: a new configuration drops nothing.
func TestReload(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone().carry("south")
		p.want(200)
		for id, o := range w.offices {
			w.on(id, func(s *Server) {
				cfg := o.cfg
				cfg.Algorithms, cfg.Expires = []string{"sha-256"}, roam.Duration(2*time.Minute)
				s.Reload(cfg)
			})
		}
		w.agree("south")
		p.want(401) // MD5 is not offered any more: no downgrade
		st, err := w.offices["south"].reg.Where(context.Background(), string(alice))
		if err != nil || len(st.Devices) != 1 || !st.Visitor {
			t.Errorf("got %+v, %v", st, err)
		}
	})
}
