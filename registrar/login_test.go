package registrar

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip/digest"
)

func TestLoginsAsKept(t *testing.T) {
	md5, sha := strings.Repeat("0a", 16), strings.Repeat("fb", 32)
	for name, want := range map[string][]string{"both": {md5, sha}, "md5": {md5}, "sha-256": {"", sha}} {
		kept := map[string][]string{"alice": want, "alice@north.example": want, "1001": want}
		u := subscriber{logins: logins("alice@north.example", kept, map[string][]string{"phone": want})}
		if got := texts(u.logins, false); !reflect.DeepEqual(got, kept) {
			t.Errorf("%s: got %v, want %v", name, got, kept)
		}
		if got := texts(u.logins, true); !reflect.DeepEqual(got, map[string][]string{"phone": want}) {
			t.Errorf("%s: got phones %v, want %v", name, got, want)
		}
		for _, login := range []string{"1001", "phone"} {
			l := u.login(login)
			if h := l.ha1(); (h[0] != nil) != (want[0] != "") || (h[1] != nil) != (len(want) > 1) || l.phone != (login == "phone") {
				t.Errorf("%s: got %v of %s, a phone's %v", name, h, login, l.phone)
			}
		}
		if u.login("bob") != nil {
			t.Errorf("%s: got an HA1 for bob, want none", name)
		}
	}
	for _, bad := range []string{"", "0a", md5 + "0a", "x" + md5[1:]} {
		if u := (subscriber{logins: logins("a@b", map[string][]string{"a": {bad}}, nil)}); u.logins[0].ha1()[0] != nil {
			t.Errorf("%q: got %v, want no HA1", bad, digest.HA1(u.logins[0].ha1()))
		}
	}
}

// What a change keeps must not lie in the buffer of a datagram, which the next one overwrites.
func TestChangeOwnsItsStrings(t *testing.T) {
	room := []byte("sip:alice@192.0.2.1 Phone/1 call-1 device-1")
	piece := func(s string) string {
		at := bytes.Index(room, []byte(s))
		return borrow(room[at : at+len(s)])
	}
	s := &Server{agents: agents{}}
	r := control.Register{CallID: piece("call-1"), Device: roam.Device(piece("device-1"))}
	r.Contacts = []control.Contact{{Target: roam.Target{URI: piece("sip:alice@192.0.2.1"), Agent: piece("Phone/1")}}}
	s.own(&r)
	clear(room)
	if c := r.Contacts[0].Target; r.CallID != "call-1" || r.Device != "device-1" || c.Device != "device-1" || c.URI != "sip:alice@192.0.2.1" || c.Agent != "Phone/1" {
		t.Errorf("got %+v, want what was there before the buffer was cleared", r)
	}
	if _, found := s.agents["Phone/1"]; !found {
		t.Errorf("got agents %q, want Phone/1", s.agents)
	}
}
