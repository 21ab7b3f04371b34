package provision

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
)

// Config is office.yaml's "provision", and what the server needs of the rest.
type Config struct {
	Listen     []string          `yaml:"listen"`         // "http:10.2.0.1:8081", "https:[::]:8443"; none: phones get no settings here
	URL        string            `yaml:"url"`            // how phones reach it, "https://sip.south.example:8443/"; "": made of the first listener
	Templates  string            `yaml:"templates"`      // folder of templates that add to the built in ones or take their place; "": none
	Unknown    string            `yaml:"unknown"`        // a phone that is nobody's: refuse, server, guest
	First      string            `yaml:"first"`          // what a phone shows for its first settings, later for all: lease, secret, certificate
	Leases     string            `yaml:"leases"`         // required: nothing for an address without a lease of ours; ignored: another server gives addresses
	SecretFile string            `yaml:"secret_file"`    // holds a secret that may stand in the URL for every phone's first fetch; "": each phone has its own
	PhoneCA    string            `yaml:"phone_ca"`       // PEM: who signs the certificates that phones come with, over https; "": nobody
	Servers    []string          `yaml:"servers"`        // where phones register, best first: "sip1.south.example", "10.2.0.1:5060"; none: the office's own
	Transport  string            `yaml:"transport"`      // udp, tcp or tls
	Proxy      string            `yaml:"outbound_proxy"` // "": the first of servers
	NTP        []string          `yaml:"ntp"`            // time servers
	Timezone   string            `yaml:"timezone"`       // of the phones; "": the office's
	VoiceVLAN  int               `yaml:"voice_vlan"`     // 1 to 4094; 0: none
	Expires    roam.Duration     `yaml:"expires"`        // phones ask for so long a registration; 0s: as registration.expires
	Keys       []Key             `yaml:"keys"`           // of every phone
	Values     map[string]string `yaml:"values"`         // for templates of one's own: {{.Values.name}}
	Rate       Rates             `yaml:"rate"`           //

	Domain    string   `yaml:"-"` // of the accounts, and their digest realm
	Emergency []string `yaml:"-"` // numbers
}

// Key is a key of the phone that dials.
type Key struct {
	Label string `yaml:"label"`
	Dial  string `yaml:"dial"`
}

// Rates is how often settings are asked for at most; beyond it the answer is 429 or 503 with Retry-After.
type Rates struct {
	Source Rate `yaml:"source"` // by one address; IPv6: one /64
	Total  Rate `yaml:"total"`  // by all
}

// Rate is a bucket of Burst requests that fills by PerSecond.
type Rate struct {
	PerSecond int `yaml:"per_second"`
	Burst     int `yaml:"burst"`
}

// The policies for a phone that is nobody's.
const (
	Refuse = "refuse" // 404: it keeps the settings it has
	Only   = "server" // where to register, no account: a visiting phone keeps its own
	Guest  = "guest"  // the same, and a label: there is no account
)

// What a phone shows for its first settings.
const (
	ByLease       = "lease"
	BySecret      = "secret"
	ByCertificate = "certificate"
)

// What leases are to the server.
const (
	Required = "required"
	Ignored  = "ignored"
)

// DefaultConfig has no listener: phones get no settings.
func DefaultConfig() Config {
	return Config{Unknown: Refuse, First: ByLease, Leases: Required, Transport: "udp",
		Rate: Rates{Source: Rate{PerSecond: 2, Burst: 40}, Total: Rate{PerSecond: 500, Burst: 5000}}}
}

// On says that there is a listener.
func (c *Config) On() bool { return len(c.Listen) > 0 }

// TLS says that a listener needs a certificate.
func (c *Config) TLS() bool {
	return slices.ContainsFunc(c.Listen, func(l string) bool { return strings.HasPrefix(l, "https:") })
}

// Validate finds what can be seen without files; each mistake begins with its key.
func (c *Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) { errs = append(errs, fmt.Errorf(key+": "+format, args...)) }
	for i, l := range c.Listen {
		if _, _, err := splitListen(l); err != nil {
			bad(fmt.Sprintf("listen[%d]", i), "%w", err)
		} else if slices.Contains(c.Listen[:i], l) && !strings.HasSuffix(l, ":0") {
			bad(fmt.Sprintf("listen[%d]", i), "%s is given twice", l)
		}
	}
	if u, err := url.Parse(c.URL); c.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil) {
		bad("url", "%q is not a URL such as https://sip.south.example:8443/", c.URL)
	}
	for _, w := range []struct {
		key, is string
		want    []string
	}{{"unknown", c.Unknown, []string{Refuse, Only, Guest}}, {"first", c.First, []string{ByLease, BySecret, ByCertificate}},
		{"leases", c.Leases, []string{Required, Ignored}}, {"transport", c.Transport, []string{"udp", "tcp", "tls"}}} {
		if !slices.Contains(w.want, w.is) {
			bad(w.key, "%q; want %s", w.is, strings.Join(w.want, ", "))
		}
	}
	if c.Leases == Ignored && c.First == ByLease {
		bad("first", "lease, and leases are ignored: anybody would get any phone's settings; want secret or certificate")
	}
	if c.First == ByCertificate && (c.PhoneCA == "" || c.On() && !c.TLS()) {
		bad("first", "certificate: needs phone_ca and an https listener")
	}
	for i, s := range c.Servers {
		if _, _, err := splitServer(s); err != nil {
			bad(fmt.Sprintf("servers[%d]", i), "%w", err)
		}
	}
	if _, _, err := splitServer(c.Proxy); err != nil && c.Proxy != "" {
		bad("outbound_proxy", "%w", err)
	}
	if _, err := time.LoadLocation(c.Timezone); err != nil {
		bad("timezone", "%q is unknown here, want a name such as America/Chicago", c.Timezone)
	}
	if c.VoiceVLAN < 0 || c.VoiceVLAN > 4094 {
		bad("voice_vlan", "%d is not between 1 and 4094", c.VoiceVLAN)
	}
	if c.Expires != 0 && (c.Expires.D() < time.Minute || c.Expires.D() > 24*time.Hour) {
		bad("expires", "%v is not between 1m and 24h", c.Expires)
	}
	for i, k := range c.Keys {
		if k.Label == "" || k.Dial == "" {
			bad(fmt.Sprintf("keys[%d]", i), "%q dials %q; a key has both", k.Label, k.Dial)
		}
	}
	for key, r := range map[string]Rate{"rate.source": c.Rate.Source, "rate.total": c.Rate.Total} {
		if r.PerSecond < 1 || r.Burst < 1 {
			bad(key, "%d per second, %d at once: want 1 or more", r.PerSecond, r.Burst)
		}
	}
	return errors.Join(errs...)
}

// splitListen takes "https:[::]:8443" apart.
func splitListen(l string) (scheme string, addr netip.AddrPort, err error) {
	scheme, rest, _ := strings.Cut(l, ":")
	if scheme != "http" && scheme != "https" {
		return "", addr, fmt.Errorf("%q is not http:address:port or https:address:port, such as http:10.2.0.1:8081", l)
	}
	if addr, err = netip.ParseAddrPort(rest); err != nil {
		return "", addr, fmt.Errorf("%q: %q is not address:port", l, rest)
	}
	return scheme, addr, nil
}

// splitServer takes "host", "host:port" or "[v6]:port" apart; port 0: not given.
func splitServer(s string) (host string, port int, err error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.String(), 0, nil
	}
	host, text, found := s, "", false
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		host, text, found = s[:i], s[i+1:], true
	}
	if found {
		if port, err = strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
			return "", 0, fmt.Errorf("%q is not host:port", s)
		}
	}
	host = strings.Trim(host, "[]")
	if a, err := netip.ParseAddr(host); err == nil {
		return a.String(), port, nil
	}
	if host == "" || strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" {
		return "", 0, fmt.Errorf("%q is neither a name nor an address", s)
	}
	return host, port, nil
}
