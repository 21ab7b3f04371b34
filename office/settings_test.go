package office

import (
	"net/netip"
	"testing"

	"github.com/siproam/siproam/provision"
)

// TestSettingsURL: DHCP tells phones where their settings are without being told itself, and phones learn from it what both say.
func TestSettingsURL(t *testing.T) {
	for _, c := range []struct {
		listen, url, first, file, dhcp, want string
	}{
		{"", "", provision.ByLease, "", "", ""},
		{"http:0.0.0.0:8081", "", provision.ByLease, "", "", "http://{server}:8081/"},
		{"http:10.2.0.1:8081", "", provision.BySecret, "", "", "http://10.2.0.1:8081/{secret}/"},
		{"https:[::]:8443", "https://sip.south.example:8443", provision.BySecret, "", "", "https://sip.south.example:8443/{secret}/"},
		{"https:[::]:8443", "https://sip.south.example:8443/", provision.ByLease, "", "", "https://sip.south.example:8443/"},
		{"http:10.2.0.1:8081", "", provision.BySecret, "/x", "", "http://10.2.0.1:8081/"},
		{"http:10.2.0.1:8081", "", provision.BySecret, "", "http://10.2.0.9/", "http://10.2.0.9/"},
	} {
		cfg := DefaultConfig()
		if c.listen != "" {
			cfg.Provision.Listen = []string{c.listen}
		}
		cfg.Provision.URL, cfg.Provision.First, cfg.Provision.SecretFile, cfg.DHCP.Provision = c.url, c.first, c.file, c.dhcp
		if got := cfg.dhcp().Provision; got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
	cfg := DefaultConfig()
	cfg.DHCP.NTP, cfg.DHCP.VoiceVLAN = []netip.Addr{netip.MustParseAddr("10.2.0.1")}, 20
	if p := cfg.settings(); len(p.NTP) != 1 || p.NTP[0] != "10.2.0.1" || p.VoiceVLAN != 20 || p.Timezone != "UTC" || p.Expires != cfg.Registration.Expires {
		t.Errorf("got %+v", p)
	}
	cfg.Provision.NTP, cfg.Provision.VoiceVLAN, cfg.Timezone = []string{"10.2.0.2"}, 30, "Europe/Berlin"
	if p := cfg.settings(); p.NTP[0] != "10.2.0.2" || p.VoiceVLAN != 30 || p.Timezone != "Europe/Berlin" {
		t.Errorf("got %+v", p)
	}
}
