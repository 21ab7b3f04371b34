package office_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/sip"
)

// gauge is the value of one of o's gauges.
func gauge(t *testing.T, o *office.Office, name string) (v float64) {
	t.Helper()
	for _, f := range o.Metrics().Families() {
		if f.Name == name {
			f.Read(func(x float64, _ ...string) { v = x })
			return v
		}
	}
	t.Fatalf("no gauge %s", name)
	return 0
}

// TestReload: a call and a registration outlive a reload; what cannot change says so; a bad file changes nothing.
func TestReload(t *testing.T) {
	x := startThree(t, nil)
	ctx := within(t, 20*time.Second)
	alice := x.phone("1001", "south", phone.Config{Tone: 440, Answer: phone.Talk})
	bob := x.phone("1002", "north", phone.Config{Tone: 880, Answer: phone.Talk})
	for _, p := range []*phone.Phone{alice, bob} {
		if _, err := x.plug(p); err != nil {
			t.Fatal(err)
		}
	}
	x.located("1001", "south")
	call, err := bob.Call(ctx, "sip:1001@north.example")
	if err != nil {
		t.Fatal(err)
	}
	south := x.office("south")
	cfg := south.Config()
	cfg.Listen, cfg.Domain, cfg.Timezone = []string{"udp:127.0.0.1:5999"}, "other.example", "UTC"
	cfg.Numbers.Emergency = []string{"999"}
	kept, err := south.Reload(ctx, cfg)
	if err != nil || !slices.Equal(kept, []string{"domain", "listen"}) {
		t.Errorf("got %v %v, want domain and listen kept as they were", kept, err)
	}
	if now := south.Config(); now.Domain != "south.example" || now.Timezone != "UTC" || now.Numbers.Emergency[0] != "999" {
		t.Errorf("got %+v, want what can change changed", now)
	}
	heard := call.Heard(440)
	for ctx.Err() == nil && call.Heard(440) < heard+300*time.Millisecond {
		time.Sleep(20 * time.Millisecond)
	}
	if got := call.Heard(440); got < heard+300*time.Millisecond {
		t.Errorf("heard %v after the reload, %v before: the call did not outlive it", got, heard)
	}
	if w, err := x.house.Where(ctx, "1001", ""); err != nil || w.At != "south" || len(w.Phones) != 1 {
		t.Errorf("got %+v %v, want alice still registered in south", w, err)
	}
	if got := gauge(t, south, "config_last_reload_successful"); got != 1 {
		t.Errorf("config_last_reload_successful: got %v, want 1", got)
	}
	bad := south.Config()
	bad.Numbers.Country = "zero"
	bad.Timezone = "America/Chicago"
	if _, err := south.Reload(ctx, bad); err == nil {
		t.Error("took a wrong configuration")
	}
	if got := south.Config().Timezone; got != "UTC" {
		t.Errorf("got %s, want nothing of a refused file taken", got)
	}
	if got := gauge(t, south, "config_last_reload_successful"); got != 0 {
		t.Errorf("config_last_reload_successful: got %v, want 0", got)
	}
	if err := call.Hangup(ctx); err != nil {
		t.Error(err)
	}
}

// TestReloadCertificate: a renewed certificate is taken, and one that does not fit its key is not.
func TestReloadCertificate(t *testing.T) {
	x := startThree(t, nil)
	ctx := within(t, 20*time.Second)
	south := x.office("south")
	before := gauge(t, south, "tls_certificate_expiry_timestamp_seconds")
	old := map[string][]byte{}
	for _, name := range []string{"south.pem", "south.key", "ca.pem"} {
		old[name], _ = os.ReadFile(x.pem(name))
	}
	time.Sleep(1100 * time.Millisecond) // certificates count in seconds
	x.certificates()
	if err := os.WriteFile(x.pem("south.key"), old["south.key"], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := south.Reload(ctx, south.Config()); err == nil {
		t.Error("took a certificate that does not fit its key")
	}
	if got := gauge(t, south, "tls_certificate_expiry_timestamp_seconds"); got != before {
		t.Errorf("expires at %v, want %v as before", got, before)
	}
	x.certificates()
	if _, err := south.Reload(ctx, south.Config()); err != nil {
		t.Fatal(err)
	}
	if got := gauge(t, south, "tls_certificate_expiry_timestamp_seconds"); got <= before {
		t.Errorf("expires at %v, want later than %v", got, before)
	}
}

// TestUsersFile: accounts come from a CSV, and follow it on reload.
func TestUsersFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users.csv")
	write := func(lines string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("user,name,password\n"+lines), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("2005,Eve,first\n2006,Frank,secret\n")
	x := startThree(t, func(c *office.Config) {
		if c.Office == "south" {
			c.Users.Source = file
		}
	})
	ctx := within(t, 20*time.Second)
	south := x.office("south")
	register := func(n, password string) error {
		unplug, err := x.plug(x.phone(n, "south", phone.Config{Password: password}))
		unplug()
		return err
	}
	if err := register("2005", "first"); err != nil {
		t.Errorf("2005: %v", err)
	}
	write("2005,Eve,second\n2007,Grace,secret\n")
	if _, err := south.Reload(ctx, south.Config()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		n, password string
		good        bool
	}{{"2005", "second", true}, {"2005", "first", false}, {"2006", "secret", false}, {"2007", "secret", true}} {
		if err := register(c.n, c.password); (err == nil) != c.good {
			t.Errorf("%s with %s: got %v, want registered %v", c.n, c.password, err, c.good)
		}
	}
	write("2005,Eve\n")
	if _, err := south.Reload(ctx, south.Config()); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v, want the file named", err)
	}
	if err := register("2007", "secret"); err != nil {
		t.Errorf("2007 after a refused file: %v", err)
	}
}

// TestTraceMasks: a trace shows a user's messages at every office, and no nonce, response or ticket that was on the wire.
func TestTraceMasks(t *testing.T) {
	x := startThree(t, nil)
	var mu sync.Mutex // guards secrets, seen
	var secrets []string
	var seen []office.Seen
	for _, o := range x.house.Offices {
		defer o.Tap(func(_ *sip.Flow, _ bool, b []byte) {
			mu.Lock()
			defer mu.Unlock()
			for line := range strings.Lines(string(b)) {
				name, value, _ := strings.Cut(line, ":")
				if name == "Roam-Ticket" {
					secrets = append(secrets, strings.TrimSpace(value))
				}
				for _, p := range []string{` nonce="`, `response="`, `cnonce="`} {
					if _, rest, found := strings.Cut(value, p); found && strings.Contains(strings.ToLower(name), "auth") {
						secret, _, _ := strings.Cut(rest, `"`)
						secrets = append(secrets, secret)
					}
				}
			}
		})()
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- x.house.Trace(ctx, []string{"1001"}, "", func(s office.Seen) error {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, s)
			return nil
		})
	}()
	time.Sleep(20 * time.Millisecond) // until the trace listens
	for _, n := range []string{"2001", "1001"} {
		if _, err := x.plug(x.phone(n, "south", phone.Config{})); err != nil {
			t.Fatal(err)
		}
	}
	x.located("1001", "south")
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(secrets) < 6 || len(seen) < 8 {
		t.Fatalf("got %d secrets on the wire and %d messages, want a registration of a visitor", len(secrets), len(seen))
	}
	offices := map[string]bool{}
	for _, s := range seen {
		offices[s.Office] = true
		if strings.HasPrefix(s.From, "2001") {
			t.Errorf("got a message of 2001: %s", s.Raw)
		}
		for _, secret := range secrets {
			if secret != "" && strings.Contains(string(s.Raw), secret) {
				t.Errorf("%q is shown in %s", secret, s.Raw)
			}
		}
	}
	if !offices["north"] || !offices["south"] {
		t.Errorf("got messages of %v, want both offices", fmt.Sprint(offices))
	}
}
