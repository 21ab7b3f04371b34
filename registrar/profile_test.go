package registrar

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// rename changes alice's name at home.
func (w *world) rename(name string) {
	w.t.Helper()
	if err := w.offices["north"].reg.Change(context.Background(), alice, Change{Name: &name}); err != nil {
		w.t.Fatal(err)
	}
}

// knownAs is what an office takes alice's name to be.
func (w *world) knownAs(o roam.OfficeID) (name string) {
	w.t.Helper()
	w.on(o, func(s *Server) {
		if line, found := s.Line(alice); found && line.Profile != nil {
			name = line.Profile.Name
		}
	})
	return name
}

// TestProfileChanges: what home changes, the visited office knows at once, without a word of the phone, and after
// its restart; a lost notice is repeated; an office that has no such visitor is left alone.
func TestProfileChanges(t *testing.T) {
	inWorld(t, func(w *world) {
		w.phone().carry("south").want(200)
		w.rename("alice b.")
		settle(time.Second)
		if got := w.knownAs("south"); got != "alice b." {
			t.Errorf("got %q, want the new name", got)
		}
		w.offices["south"].restart()
		settle(time.Second)
		if got := w.knownAs("south"); got != "alice b." {
			t.Errorf("after a restart: got %q, want the new name", got)
		}

		notices := 0
		w.mu.Lock()
		w.lose = func(_, to roam.OfficeID, m *sip.Message) bool {
			if m.Method() != sip.NOTIFY || !m.IsRequest() {
				return false
			}
			notices++
			return notices < 3
		}
		w.mu.Unlock()
		w.rename("alice c.")
		settle(time.Second)
		w.rename("alice d.") // overtakes the one that was lost
		settle(10 * time.Second)
		if got := w.knownAs("south"); got != "alice d." {
			t.Errorf("after lost notices: got %q, want the newest name", got)
		}
		w.mu.Lock()
		w.lose = nil
		w.ladder = nil
		w.mu.Unlock()
		settle(5 * time.Minute)
		w.rename("alice e.") // nobody has her
		settle(time.Minute)
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, r := range w.ladder {
			if strings.HasSuffix(r.text, "NOTIFY") && r.at.After(time.Now().Add(-61*time.Second)) {
				t.Errorf("told nobody's visitor: %s", r.text)
			}
		}
	})
}

// TestNumberingChanges: a dialling plan that changes at home goes to everybody who is away; a reload that changes
// nothing of it tells nobody.
func TestNumberingChanges(t *testing.T) {
	inWorld(t, func(w *world) {
		w.phone().carry("south").want(200)
		north := w.offices["north"]
		for _, c := range []struct {
			country string
			notices int
		}{{"1", 0}, {"49", 1}} {
			w.mu.Lock()
			w.ladder = nil
			w.mu.Unlock()
			cfg := north.cfg
			cfg.Numbers = &roam.Numbers{Country: c.country}
			w.on("north", func(s *Server) { s.Reload(cfg) })
			settle(time.Second)
			notices := 0
			w.mu.Lock()
			for _, r := range w.ladder {
				if strings.HasSuffix(r.text, "NOTIFY") {
					notices++
				}
			}
			w.mu.Unlock()
			if notices != c.notices {
				t.Errorf("country %s: got %d notices, want %d", c.country, notices, c.notices)
			}
			w.on("south", func(s *Server) {
				if line, _ := s.Line(alice); line.Profile == nil || line.Profile.Dial.Country != c.country {
					t.Errorf("south dials by %+v, want country %s", line.Profile, c.country)
				}
			})
		}
	})
}

// TestForeignProfile: nobody but home says what a user may do, and no older word undoes a newer one.
func TestForeignProfile(t *testing.T) {
	inWorld(t, func(w *world) {
		w.phone().carry("south").want(200)
		tell := func(from roam.OfficeID, rev uint64, name string) (code int) {
			body := []byte(`{"v":1,"user":"1001@north.example","profile":{"v":1,"rev":` + strconv.FormatUint(rev, 10) + `,"name":"` + name + `"}}`)
			w.on(from, func(s *Server) {
				s.tellOffice(partnerURI("south"), func(out *sip.Writer) error {
					addressed(out, "NOTIFY", partnerURI("south"), partnerURI(from), partnerURI("south"), transaction.NewTag(), 1)
					out.Add(sip.Event, profileEvent)
					out.Add(sip.SubscriptionState, "terminated")
					out.Add(sip.Contact, "<"+partnerURI(from)+">")
					return out.End(visitType, body)
				}, func(res *sip.Message, err error) {
					if err == nil {
						code = res.Status()
					}
				})
			})
			settle(time.Second)
			return code
		}
		for _, c := range []struct {
			from roam.OfficeID
			rev  uint64
			code int
			want string
		}{
			{"west", 1 << 52, 403, "alice"},  // not her home
			{"north", 1, 200, "alice"},       // late: acknowledged, and nothing changes
			{"north", 1 << 52, 200, "queen"}, // home
		} {
			if code := tell(c.from, c.rev, "queen"); code != c.code {
				t.Errorf("%s, revision %d: got %d, want %d", c.from, c.rev, code, c.code)
			}
			if got := w.knownAs("south"); got != c.want {
				t.Errorf("%s, revision %d: south knows %q, want %q", c.from, c.rev, got, c.want)
			}
		}
		if log := w.offices["south"].log.String(); !strings.Contains(log, `"event":"partner.trespass","peer":"west","reason":"profile"`) {
			t.Errorf("the log says nothing of it: %s", log)
		}
	})
}
