package roam

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
)

// TestNewerProfile: a profile of a newer home is read as far as it is known, kept as it came, and what it asks for that
// is not done here is named.
func TestNewerProfile(t *testing.T) {
	text := `{"v":2,"rev":7,"name":"alice","bar":["+1900"],"forward":{"busy":"+15550002001","fax":"+15550009999"},"pickup":{"group":3},"voicemail":"sip:vm@north.example"}`
	var p Profile
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	if p.Name != "alice" || p.Rev != 7 || p.Forward.Busy != "+15550002001" || !slices.Equal(p.Bar, []string{"+1900"}) {
		t.Errorf("got %+v %+v, want what is known", p, p.Forward)
	}
	want := []string{"forward.fax", "pickup", "voicemail", "what profiles of version 2 mean"}
	if got := p.Cannot(); !slices.Equal(got, want) {
		t.Errorf("cannot: got %q, want %q", got, want)
	}
	if got := p.Services(); !slices.Equal(got, []string{"bar", "forward", "pickup", "voicemail"}) {
		t.Errorf("services: got %q", got)
	}
	b, err := json.Marshal(&p)
	if err != nil {
		t.Fatal(err)
	}
	var again, was any
	if json.Unmarshal(b, &again) != nil || json.Unmarshal([]byte(text), &was) != nil || !reflect.DeepEqual(again, was) {
		t.Errorf("got %s, want %s", b, text)
	}
	for _, broken := range []string{`{"v":"one"}`, `{"forward":[]}`, `[]`} {
		if err := json.Unmarshal([]byte(broken), &Profile{}); err == nil {
			t.Errorf("%s: got no error", broken)
		}
	}
}

// TestProfileKeys: every field of a profile is known to itself; one that is forgotten would be called unknown.
func TestProfileKeys(t *testing.T) {
	p := Profile{Version: 1, Rev: 1, Name: "a", Number: "+1", Short: "1", Class: "c", Dial: &Numbers{}, Calls: 1, Bar: []string{"+"}, Allow: []string{"+1"},
		Forward: &Forward{Always: "a", Busy: "b", NoAnswer: "c", Offline: "d", After: 1}, Device: &Demands{}, Declared: []string{"x"}}
	v := reflect.ValueOf(p)
	for i := range v.NumField() {
		if f := v.Type().Field(i); v.Field(i).IsZero() && f.Tag.Get("json") != "-" {
			t.Errorf("%s is not set here", f.Name)
		}
	}
	b, err := json.Marshal(&p)
	if err != nil {
		t.Fatal(err)
	}
	var back Profile
	if err := json.Unmarshal(b, &back); err != nil || len(back.Cannot()) > 0 || !reflect.DeepEqual(back, p) {
		t.Errorf("got %+v, cannot %q, %v, want %+v", back, back.Cannot(), err, p)
	}
	if got := p.Services(); !slices.Equal(got, Known) {
		t.Errorf("a profile with everything needs %q, and %q are known", got, Known)
	}
}
