package registrar

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

func TestSettings(t *testing.T) {
	var u User
	for _, c := range []struct{ key, value, text string }{
		{"name", " Alice ", "Alice"}, {"class", "guest", "guest"}, {"calls", "2", "2"}, {"abilities", "tls outbound,tls", "tls,outbound"},
		{"bar", "+1900, 0190 @west.example +", "+1900,0190,@west.example,+"}, {"allow", "+1555", "+1555"},
		{"forward.always", "+15550002001", "+15550002001"}, {"forward.busy", "bob@north.example", "bob@north.example"},
		{"forward.noanswer", "1002@north.example", "1002@north.example"}, {"forward.offline", "+4930123456", "+4930123456"}, {"forward.after", "15", "15"},
	} {
		if err := u.Set(c.key, c.value); err != nil || u.Text(c.key) != c.text {
			t.Errorf("%s=%s: got %q, %v, want %q", c.key, c.value, u.Text(c.key), err, c.text)
		}
	}
	for _, key := range Settings {
		if u.Text(key) == "" {
			t.Errorf("%s is not tested", key)
		}
		if err := u.Set(key, ""); err != nil || u.Text(key) != "" {
			t.Errorf("%s taken back: got %q, %v", key, u.Text(key), err)
		}
	}
	if !reflect.DeepEqual(u, User{Abilities: u.Abilities, Bar: u.Bar, Allow: u.Allow}) || len(u.Abilities)+len(u.Bar)+len(u.Allow) > 0 || u.Forward != nil {
		t.Errorf("all taken back: got %+v", u)
	}
	for _, c := range []struct {
		key, value string
		want       error
	}{
		{"colour", "red", ErrSetting}, {"class", "No Class", ErrClass}, {"calls", "-1", ErrSetting}, {"abilities", "TLS", ErrAbility}, {"bar", "x", ErrPrefix}, {"allow", "@", ErrPrefix},
		{"forward.always", "1002", ErrForward}, {"forward.busy", "+12", ErrForward}, {"forward.noanswer", "a@b@c", ErrForward}, {"forward.offline", "@x", ErrForward},
		{"forward.after", "4", ErrAfter}, {"forward.after", "soon", ErrAfter},
	} {
		if err := (&User{}).Set(c.key, c.value); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.key) {
			t.Errorf("%s=%s: got %v, want %v", c.key, c.value, err, c.want)
		}
	}
}

// TestServicesReachTheVisitor: what is set at home is the visited office's within 5 s without a word of the phone, though
// half of the notices get lost, and survives both offices' restarts.
func TestServicesReachTheVisitor(t *testing.T) {
	inWorld(t, func(w *world) {
		w.phone().carry("south").want(200)
		for i, to := range []string{"bob@north.example", "+15550001002", ""} {
			lost := 0
			w.mu.Lock()
			w.lose = func(_, _ roam.OfficeID, m *sip.Message) bool {
				if m.Method() != sip.NOTIFY {
					return false
				}
				lost++
				return lost%2 == 1
			}
			w.mu.Unlock()
			set := map[string]string{"forward.always": to, "bar": "+1900"}
			if err := w.offices["north"].reg.Change(context.Background(), alice, Change{Set: set}); err != nil {
				t.Fatal(err)
			}
			settle(5 * time.Second)
			w.on("south", func(s *Server) {
				line, _ := s.Line(alice)
				got := ""
				if f := line.Profile.Forward; f != nil {
					got = f.Always
				}
				if got != to || !slices.Equal(line.Profile.Bar, []string{"+1900"}) {
					t.Errorf("change %d: south has forward %q, bar %q, want %q and +1900", i, got, line.Profile.Bar, to)
				}
			})
			w.mu.Lock()
			if w.lose = nil; lost < 2 {
				t.Errorf("change %d: nothing was lost", i)
			}
			w.mu.Unlock()
		}
		w.offices["north"].restart()
		w.offices["south"].restart()
		for _, o := range []roam.OfficeID{"north", "south"} {
			w.on(o, func(s *Server) {
				if line, _ := s.Line(alice); line.Profile == nil || !slices.Equal(line.Profile.Bar, []string{"+1900"}) {
					t.Errorf("%s after a restart: got %+v", o, line.Profile)
				}
			})
		}
	})
}

// TestNewerProfileIsNamed: what a newer home's profile asks for and we do not do is kept, shown, and logged once.
func TestNewerProfileIsNamed(t *testing.T) {
	inWorld(t, func(w *world) {
		w.phone().carry("south").want(200)
		body := []byte(`{"v":1,"user":"1001@north.example","profile":{"v":2,"rev":` + "4503599627370496" + `,"name":"alice","forward":{"busy":"+15550001002","fax":"+1"},"voicemail":"sip:vm@north.example"}}`)
		w.on("north", func(s *Server) {
			for range 2 { // it is repeated
				s.tellOffice(partnerURI("south"), func(out *sip.Writer) error {
					addressed(out, "NOTIFY", partnerURI("south"), partnerURI("north"), partnerURI("south"), transaction.NewTag(), 1)
					out.Add(sip.Event, profileEvent)
					out.Add(sip.SubscriptionState, "terminated")
					out.Add(sip.Contact, "<"+partnerURI("north")+">")
					return out.End(visitType, body)
				}, func(*sip.Message, error) {})
			}
		})
		settle(time.Second)
		want := []string{"forward.fax", "voicemail", "what profiles of version 2 mean"}
		for range 2 {
			st, err := w.offices["south"].reg.Standing(context.Background(), alice)
			if err != nil || !slices.Equal(st.Cannot, want) || st.Profile.Forward.Busy != "+15550001002" {
				t.Errorf("got %q and %+v, %v, want %q", st.Cannot, st.Profile, err, want)
			}
			b, _ := json.Marshal(st.Profile)
			if !strings.Contains(string(b), `"voicemail":"sip:vm@north.example"`) || !strings.Contains(string(b), `"fax":"+1"`) {
				t.Errorf("not kept as it came: %s", b)
			}
			w.offices["south"].restart()
		}
		if log := w.offices["south"].log.String(); strings.Count(log, `"event":"profile.partly"`) != 1 || !strings.Contains(log, `"cannot":["forward.fax","voicemail"`) {
			t.Errorf("want one line that names them in the log: %s", log)
		}
	})
}

// TestServicesAfterSilence: a change that the visited office could not be told, for it was cut off longer than home repeats
// the notice, is there with the next refresh of the phone.
func TestServicesAfterSilence(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.phone().carry("south")
		p.want(200)
		w.mu.Lock()
		w.lose = func(_, _ roam.OfficeID, m *sip.Message) bool { return m.Method() == sip.NOTIFY }
		w.mu.Unlock()
		if err := w.offices["north"].reg.Change(context.Background(), alice, Change{Set: map[string]string{"bar": "+1900"}}); err != nil {
			t.Fatal(err)
		}
		settle(150 * time.Second)
		bar := func() (bar []string) {
			w.on("south", func(s *Server) {
				if line, found := s.Line(alice); found {
					bar = line.Profile.Bar
				}
			})
			return bar
		}
		if got := bar(); len(got) > 0 {
			t.Fatalf("before the refresh: got %q, though every notice was lost", got)
		}
		p.want(200)
		settle(time.Second)
		if got := bar(); !slices.Equal(got, []string{"+1900"}) {
			t.Errorf("after the refresh: got %q, want +1900", got)
		}
	})
}
