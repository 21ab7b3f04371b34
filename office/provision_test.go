package office_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/provision"
)

// provisioned is three offices of which south gives phones their settings, to whoever has the secret.
func provisioned(t *testing.T) (x *three, c *office.Client, base string) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("a-secret-for-all-phones\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	x = startThree(t, func(cfg *office.Config) {
		if cfg.Office == "south" {
			p := &cfg.Provision
			p.Listen, p.Leases, p.First, p.SecretFile, p.Unknown = []string{"http:127.0.0.1:0"}, provision.Ignored, provision.BySecret, file, provision.Only
		}
	})
	c, err := office.Dial(x.dir)
	if err != nil {
		t.Fatal(err)
	}
	return x, c, "http://" + x.office("south").Settings()[0] + "/"
}

// fetch gets url as login; "" is without.
func fetch(t *testing.T, url, login, password string) (code int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if login != "" {
		r.SetBasicAuth(login, password)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// setting is what key is in settings of lines.
func setting(t *testing.T, text, key string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(key) + ` = (.*)$`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no %s in\n%s", key, text)
	}
	return m[1]
}

// TestProvisionedPhone: a phone that was given to a user fetches its account, registers with it here and in another office, and
// is refused when it was taken away. A new password of its user leaves it as it is.
func TestProvisionedPhone(t *testing.T) {
	x, c, base := provisioned(t)
	ask := func(method, path string, q url.Values, into any) error {
		return c.Ask(t.Context(), method, path, q, nil, into)
	}
	const mac, file = "00:15:65:a1:b2:c3", "001565a1b2c3.cfg"
	if code, text := fetch(t, base+"a-secret-for-all-phones/"+file, "", ""); code != 200 || strings.Contains(text, "password") {
		t.Errorf("nobody's phone: got %d\n%s", code, text)
	}
	var r *office.Refusal
	for _, bad := range []struct {
		method, path string
		q            url.Values
		exit         int
	}{
		{"POST", "/phone", url.Values{"mac": {mac}, "user": {"2999"}}, office.ExitUnknown},
		{"POST", "/phone", url.Values{"mac": {"nonsense"}, "user": {"2001"}}, office.ExitUsage},
		{"POST", "/phone", url.Values{"mac": {"01:00:5e:00:00:01"}, "user": {"2001"}}, office.ExitUsage},
		{"POST", "/phone", url.Values{"mac": {mac}, "user": {"2001"}, "vendor": {"nokia"}}, office.ExitUsage},
		{"POST", "/phone", url.Values{"mac": {mac}, "user": {"1001"}}, office.ExitUsage}, // north gives no settings
		{"DELETE", "/phone", url.Values{"mac": {mac}}, office.ExitUnknown},
		{"POST", "/phone/reset", url.Values{"mac": {mac}}, office.ExitUnknown},
		{"GET", "/phones", url.Values{"office": {"north"}}, office.ExitUsage},
	} {
		if err := ask(bad.method, bad.path, bad.q, nil); !errors.As(err, &r) || r.Exit != bad.exit {
			t.Errorf("%s %s %v: got %v, want exit %d", bad.method, bad.path, bad.q, err, bad.exit)
		}
	}
	var added office.OfficePhone
	if err := ask("POST", "/phone", url.Values{"mac": {mac}, "user": {"2001"}}, &added); err != nil || added.User != "2001@south.example" || added.Office != "south" {
		t.Fatalf("got %+v, %v", added, err)
	}
	code, text := fetch(t, base+"a-secret-for-all-phones/"+file, "", "")
	if code != 200 {
		t.Fatalf("got %d %s", code, text)
	}
	login, password := setting(t, text, "account.1.auth_name"), setting(t, text, "account.1.password")
	port := setting(t, text, "account.1.outbound_proxy.1.port")
	if _, want, _ := strings.Cut(x.addr("south", "udp"), ":"); setting(t, text, "account.1.outbound_proxy.1.address") != "127.0.0.1" || port != want {
		t.Errorf("got\n%s\nwant our listener %s", text, x.addr("south", "udp"))
	}
	if err := c.Ask(t.Context(), "PATCH", "/user", url.Values{"user": {"2001"}}, map[string]any{"Password": "another"}, nil); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"south", "north"} {
		unplug, err := x.plug(x.phone("2001", at, phone.Config{Login: login, Password: password, Instance: "urn:uuid:p"}))
		if err != nil {
			t.Fatalf("at %s: %v", at, err)
		}
		x.located("2001", at)
		var list []office.OfficePhone
		if err := ask("GET", "/phones", nil, &list); err != nil || len(list) != 1 || list[0].At == nil || string(list[0].At.Office) != at || !list[0].At.Registered || list[0].Fetched.IsZero() {
			t.Errorf("at %s: got %+v, %v", at, list, err)
		}
		unplug()
	}
	p := x.phone("2001", "south", phone.Config{Login: login, Password: password, Instance: "urn:uuid:p"})
	if _, err := x.plug(p); err != nil {
		t.Fatal(err)
	}
	x.located("2001", "south")
	if err := ask("DELETE", "/phone", url.Values{"mac": {mac}}, nil); err != nil {
		t.Fatal(err)
	}
	x.eventually("its registration has ended", func() error {
		w, err := x.house.Where(t.Context(), "2001", "")
		if err == nil && w.At != "" {
			err = fmt.Errorf("is at %s", w.At)
		}
		return err
	})
	if _, err := x.plug(x.phone("2001", "south", phone.Config{Login: login, Password: password, Instance: "urn:uuid:q"})); err == nil {
		t.Error("a phone that was taken away registers")
	}
	if code, _ := fetch(t, base+file, login, setting(t, text, "static.auto_provision.server.password")); code != 404 {
		t.Errorf("and fetches settings: got %d", code)
	}
}
