//go:build endpoints

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// firmware is what a phone does by itself with what DHCP tells it: its settings are fetched from the URL of option 66 or 160, and
// baresip is started with them. A phone that gets no settings in an office keeps the account it has, and registers where option 120 says.
type firmware struct {
	t     *testing.T
	on    *newcomer
	dhcp  *dhcpClient
	phone *baresip // nil before the first boot
	tone  float64
}

// accountLine is the account of the settings of a baresip.
var accountLine = regexp.MustCompile(`<(sip:[^;>]+)[^>]*>.*;auth_user=([^;]+);auth_pass=([^;]+);outbound="sip:([^;"]+)`)

// boot waits for an address in office and has the phone registered there.
func (f *firmware) boot(office string) {
	f.t.Helper()
	e := f.dhcp.waits("BOUND REBOOT", 10*time.Second)
	at, err := netip.ParseAddr(e.says(toldAddress))
	if lan := netip.MustParsePrefix(lan(office, 0) + "/24"); err != nil || !lan.Contains(at) {
		f.t.Fatalf("address %v, %v; want one of %v", at, err, lan)
	}
	settings, status := f.settings(e)
	if f.phone == nil {
		found := accountLine.FindStringSubmatch(settings)
		if found == nil {
			f.t.Fatalf("settings: %d, no account in %q", status, settings)
		}
		f.phone = newBaresip(f.t, f.tone, account{aor: found[1], login: found[2], password: found[3], proxy: found[4]})
		f.phone.netns, f.phone.iface = f.on.ns(), "eth0"
	} else {
		f.phone.kill()
		f.phone.accounts[0].proxy = e.says(toldSIP) + ":5060"
	}
	f.phone.listen = at.String() + ":5060"
	f.phone.start().registered()
}

// settings fetches the phone's accounts from its office.
func (f *firmware) settings(e told) (text string, status int) {
	f.t.Helper()
	url := e.says(told160)
	if url == "" {
		url = e.says(toldURL)
	}
	if url == "" {
		f.t.Fatalf("no URL of settings in %v", e)
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		err = within(f.on.ns(), func() (err error) {
			c, err = (&net.Dialer{}).DialContext(ctx, network, addr)
			return err
		})
		return c, err
	}}}
	ask, err := http.NewRequest("GET", strings.TrimSuffix(url, "/")+"/"+strings.ReplaceAll(f.on.mac, ":", "")+".accounts", nil)
	must(f.t, err)
	ask.Header.Set("User-Agent", "baresip v1.0.0 (x86_64/linux)")
	r, err := client.Do(ask)
	must(f.t, err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	must(f.t, err)
	return string(b), r.StatusCode
}

// TestPlugIn is a phone out of the box: no address, no settings. Plugged into north it has an address, its settings and its number, and
// calls with audio. Then the cable is moved to south: the old address is refused (NAK), and within 10 s it has a new one, is registered with south
// under the number it had, and calls with audio; and home again.
func TestPlugIn(t *testing.T) {
	plan := draw(t)
	for o := range labOrder {
		text := strings.Replace(plan.yaml[o], "  - softswitch\n", "  - softswitch\n  - dhcp\n", 1)
		text = section(text, "dhcp", dhcpYAML(o))
		plan.yaml[o] = section(text, "provision", fmt.Sprintf("provision: {listen: [\"http:%s:8081\"], unknown: server}\n", lan(o, officeHost)))
	}
	s, err := newSite("plug")
	must(t, err)
	w, err := plan.open(s, build(t))
	must(t, err)
	t.Cleanup(w.close)
	t.Cleanup(func() {
		for o := range labOrder {
			if t.Failed() {
				t.Logf("%s\n%s", o, tail(w.proc(o).out.String(), 6000))
			}
		}
	})
	desk := func(number, office string, hz float64) *baresip {
		b := newBaresip(t, hz, account{aor: "sip:" + number + "@" + office + ".example", login: number, password: "demo-" + number, proxy: proxy(office)})
		b.netns, b.iface, b.listen = s.ns("desk-"+office), "eth0", lan(office, deskHost)+":5060"
		return b.start().registered()
	}
	bob, carol := desk("1002", "north", 880), desk("2001", "south", 660)

	n := s.newcomer(t, "phone", 1)
	if out, errs, code := run(t, "", "phones", "add", n.mac, "1001", "--vendor", "baresip", "--state", filepath.Join(w.dir, "north")); code != 0 {
		t.Fatalf("phones add: exit %d %s%s", code, out, errs)
	}
	f := &firmware{t: t, on: n, dhcp: n.client(t, "dhcpcd"), tone: 440}
	f.dhcp.start()
	began := time.Now()
	n.plug(t, "north")
	f.boot("north")
	t.Logf("out of the box in north: registered after %v", time.Since(began).Round(time.Millisecond))
	talk(t, "bob -> the new phone", bob, f.phone, "sip:1001@north.example", false)
	talk(t, "the new phone -> carol in south", f.phone, carol, "sip:2001@south.example", false)

	for _, move := range []struct {
		office string
		peer   *baresip
	}{{"south", carol}, {"north", bob}} {
		began = time.Now()
		n.plug(t, move.office)
		f.dhcp.waits("NAK", 5*time.Second)
		refused := time.Since(began)
		f.boot(move.office)
		registered := time.Since(began)
		talk(t, "to the number, now in "+move.office, move.peer, f.phone, "sip:1001@north.example", false)
		heard := time.Since(began)
		t.Logf("moved to %s: refused after %v, registered after %v, called and heard both ways after %v",
			move.office, refused.Round(time.Millisecond), registered.Round(time.Millisecond), heard.Round(time.Millisecond))
		if heard > 10*time.Second {
			t.Errorf("moved to %s: heard after %v, want 10s", move.office, heard)
		}
		talk(t, "from "+move.office+" to the other office", f.phone, map[string]*baresip{"south": bob, "north": carol}[move.office],
			map[string]string{"south": "sip:1002@north.example", "north": "sip:2001@south.example"}[move.office], false)
	}
}

// section is an office's file with another text for one of its sections.
func section(file, name, text string) string {
	return regexp.MustCompile(`(?m)^`+name+`:\n(  .*\n)*`).ReplaceAllLiteralString(file, text)
}
