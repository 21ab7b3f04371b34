package dhcp

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

// office is a configuration with one subnet, as most have.
func office() Config {
	c := DefaultConfig()
	c.Mode, c.Interfaces = "server", []string{"eth0"}
	c.Subnets = []Subnet{{
		Network: netip.MustParsePrefix("10.2.0.0/24"), Router: netip.MustParseAddr("10.2.0.1"),
		Pools: []Range{rangeOf("10.2.0.100-10.2.0.200")},
	}}
	return c
}

func rangeOf(s string) (r Range) {
	if err := r.UnmarshalText([]byte(s)); err != nil {
		panic(err)
	}
	return r
}

func TestValidate(t *testing.T) {
	none := DefaultConfig()
	if err := none.Validate(); err != nil {
		t.Errorf("the default: got %v", err)
	}
	good := office()
	good.Options = Options{
		DNS: []netip.Addr{netip.MustParseAddr("10.2.0.1")}, Domain: "south.example", Search: []string{"south.example", "example"},
		Timezone: "America/Chicago", Provision: "https://sip.south.example/p/{mac}", VoiceVLAN: 20, VoicePriority: 5,
		Other: map[string]string{"128": "text:VLAN-A=20;", "176": "hex:01:02"},
	}
	good.Classes = []Class{{Vendor: "Yealink*", OUI: []string{"00:15:65"}, Options: Options{Other: map[string]string{"43.1": "ip:10.2.0.5", "125.3561.1": "uint16:8443"}}}}
	good.Subnets[0].Reservations = []Reservation{{MAC: "00:15:65:01:02:03", Address: netip.MustParseAddr("10.2.0.7"), Host: "lobby"}, {Port: "sw1/3", Address: netip.MustParseAddr("10.2.0.8")}}
	if err := good.Validate(); err != nil {
		t.Errorf("a good one: got %v", err)
	}
	for _, c := range []struct {
		name string
		make func(c *Config)
		want string
	}{
		{"mode", func(c *Config) { c.Mode = "off" }, `mode: "off" is not a mode; want none, server or proxy`},
		{"no interface", func(c *Config) { c.Interfaces = nil }, `interfaces: missing: where phones are, such as eth0`},
		{"no subnet", func(c *Config) { c.Subnets = nil }, `subnets: missing: the networks whose addresses are ours to give`},
		{"bits behind the mask", func(c *Config) { c.Subnets[0].Network = netip.MustParsePrefix("10.2.0.1/24") }, `subnets[0].network: 10.2.0.1/24 has bits behind its mask; want 10.2.0.0/24`},
		{"overlap", func(c *Config) { c.Subnets = append(c.Subnets, Subnet{Network: netip.MustParsePrefix("10.2.0.0/25")}) }, `subnets[1].network: 10.2.0.0/25 overlaps 10.2.0.0/24`},
		{"router elsewhere", func(c *Config) { c.Subnets[0].Router = netip.MustParseAddr("10.3.0.1") }, `subnets[0].router: 10.3.0.1 is not in 10.2.0.0/24`},
		{"pool elsewhere", func(c *Config) { c.Subnets[0].Pools[0] = rangeOf("10.2.0.100-10.2.1.7") }, `subnets[0].pools[0]: not in 10.2.0.0/24`},
		{"pool backwards", func(c *Config) { c.Subnets[0].Pools[0] = rangeOf("10.2.0.9-10.2.0.7") }, `subnets[0].pools[0]: 10.2.0.9 comes after 10.2.0.7`},
		{"pools overlap", func(c *Config) { c.Subnets[0].Pools = append(c.Subnets[0].Pools, rangeOf("10.2.0.200")) }, `subnets[0].pools[1]: overlaps another one`},
		{"times", func(c *Config) {
			c.Subnets[0].Lease.Min = roam.Duration(48 * time.Hour)
			c.Subnets[0].Lease.Max = roam.Duration(time.Hour)
		}, `subnets[0].lease.max: 1h is below min, 48h`},
		{"lease", func(c *Config) { c.Lease.Time = roam.Duration(time.Second) }, `lease.time: 1s is not between min, 1m, and max, 24h`},
		{"probe", func(c *Config) { c.Probe = roam.Duration(time.Minute) }, `probe: 1m is not between 0s and 2s`},
		{"dns", func(c *Config) { c.DNS = []netip.Addr{netip.IPv4Unspecified()} }, `dns[0]: 0.0.0.0 is no address anybody could ask`},
		{"domain", func(c *Config) { c.Subnets[0].Domain = "south..example" }, `subnets[0].domain: "south..example" is not a domain name`},
		{"long label", func(c *Config) { c.Search = []string{strings.Repeat("a", 64)} }, `search[0]: "` + strings.Repeat("a", 64) + `" is not a domain name`},
		{"zone", func(c *Config) { c.Timezone = "Moon/Base" }, `timezone: "Moon/Base" is unknown here, want a name such as America/Chicago`},
		{"vlan", func(c *Config) { c.VoiceVLAN = 5000 }, `voice_vlan: 5000 is not between 1 and 4094`},
		{"43 for all", func(c *Config) { c.Other = map[string]string{"43": "text:x"} }, `other.43: what it means is the vendor's: it goes to a class alone`},
		{"an option of ours", func(c *Config) { c.Other = map[string]string{"54": "ip:10.2.0.1"} }, `other.54: is no option that can be set here`},
		{"no form", func(c *Config) { c.Other = map[string]string{"128": "20"} }, `other.128: "20": want text:, hex:, ip:, name:, uint8:, uint16: or uint32: before it`},
		{"uint8", func(c *Config) { c.Other = map[string]string{"128": "uint8:256"} }, `other.128: "256" is not a number of 8 bits`},
		{"125 alone", func(c *Config) { c.Other = map[string]string{"125": "text:x"} }, `other.125: want code, 43.sub-option or 125.enterprise.sub-option`},
		{"125 too long", func(c *Config) {
			c.Classes = []Class{{Vendor: "x", Options: Options{Other: map[string]string{"125.1.1": "text:" + strings.Repeat("a", 200), "125.1.2": "text:" + strings.Repeat("a", 200)}}}}
		}, `classes[0].other.125.1: 404 octets of sub-options; 255 is the most`},
		{"a class of nobody", func(c *Config) { c.Classes = []Class{{}} }, `classes[0]: want vendor, oui or both: who is in it`},
		{"a star within", func(c *Config) { c.Classes = []Class{{Vendor: "a*b"}} }, `classes[0].vendor: "a*b": a * stands at the end only`},
		{"oui", func(c *Config) { c.Classes = []Class{{OUI: []string{"00:15"}}} }, `classes[0].oui[0]: "00:15" is not how a MAC begins, such as 00:15:65`},
		{"reservation of nobody", func(c *Config) { c.Subnets[0].Reservations = []Reservation{{Address: netip.MustParseAddr("10.2.0.7")}} }, `subnets[0].reservations[0]: want one of mac, client_id and port`},
		{"reservation twice", func(c *Config) {
			r := Reservation{MAC: "00:15:65:01:02:03", Address: netip.MustParseAddr("10.2.0.7")}
			again := Reservation{MAC: "00-15-65-01-02-03", Address: netip.MustParseAddr("10.2.0.8")}
			c.Subnets[0].Reservations = []Reservation{r, again}
		}, `subnets[0].reservations[1].mac: given twice in this subnet`},
		{"reservation elsewhere", func(c *Config) {
			c.Subnets[0].Reservations = []Reservation{{Port: "p", Address: netip.MustParseAddr("10.9.0.7")}}
		}, `subnets[0].reservations[0].address: want an address of 10.2.0.0/24`},
		{"share", func(c *Config) { c.Share = Share{3, 2} }, `share.part: 3 is not between 1 and 2`},
		{"limits", func(c *Config) { c.Limits.Offers = -1 }, `limits.offers: -1 is below 0`},
		{"hold", func(c *Config) { c.Limits.Hold = 0 }, `limits.hold: 0s is not between 5s and 10m`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := office()
			c.make(&cfg)
			err := cfg.Validate()
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestRange(t *testing.T) {
	for in, want := range map[string]string{
		"10.2.0.100-10.2.0.200": "10.2.0.100-10.2.0.200", "10.2.0.7": "10.2.0.7", "10.2.0.128/25": "10.2.0.128-10.2.0.255",
		"2001:db8::1:0/112": "2001:db8::1:0-2001:db8::1:ffff", "10.2.0.1 - 10.2.0.9": "10.2.0.1-10.2.0.9",
	} {
		r := rangeOf(in)
		if got, _ := r.MarshalText(); string(got) != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
	var r Range
	if err := r.UnmarshalText([]byte("10.2.0.300")); err == nil {
		t.Error("10.2.0.300 is taken for a range")
	}
}

// TestOptions: what is configured, octet for octet.
func TestOptions(t *testing.T) {
	at := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	all := &Options{
		DNS: []netip.Addr{at("10.2.0.1"), at("2001:db8::1"), at("10.2.0.2")}, NTP: []netip.Addr{at("10.2.0.3")}, Domain: "south.example",
		Search: []string{"south.example", "example."}, Timezone: "America/Chicago", Provision: "http://{server}/p/{mac}", VoiceVLAN: 20, VoicePriority: 5,
		TFTPServers: []netip.Addr{at("10.2.0.4")}, BootFile: "{MAC}.cfg",
	}
	class := &Options{Domain: "class.example", Other: map[string]string{
		"43.2": "text:hi", "43.1": "ip:10.2.0.5", "125.3561.1": "uint16:8443", "125.9.2": "text:x", "128": "text:VLAN-A=20;", "119": "name:a.example,b.example",
	}}
	got := map[byte]string{}
	s := compile(class, &Options{}, all)
	var order []byte
	for _, o := range s.options {
		order = append(order, o.code)
		got[o.code] = hex.EncodeToString(o.value)
	}
	for code, want := range map[byte]string{
		6: "0a0200010a020002", 42: "0a020003", 150: "0a020004", 15: hex.EncodeToString([]byte("class.example")),
		119: "0161076578616d706c6500" + "0162076578616d706c6500", 43: "01040a020005" + "02026869", 125: "00000009" + "03" + "020178" + "00000de9" + "04" + "010220fb",
		132: "3230", 133: "35", 100: hex.EncodeToString([]byte("CST6CDT,M3.2.0,M11.1.0")), 101: hex.EncodeToString([]byte("America/Chicago")), 2: "00000000",
		66: hex.EncodeToString([]byte("http://{server}/p/{mac}")), 160: hex.EncodeToString([]byte("http://{server}/p/{mac}")), 128: hex.EncodeToString([]byte("VLAN-A=20;")),
		67: hex.EncodeToString([]byte("{MAC}.cfg")), 120: "",
	} {
		if g, found := got[code]; !found || g != want {
			t.Errorf("option %d: got %s, want %s", code, g, want)
		}
	}
	if want := "\x06\x78\x84\x2b\x42\xa0\x96\x43\x7d\x2a\x64\x02\x65\x85\x0f\x77\x80"; string(order) != want {
		t.Errorf("got the order %v, want %v", order, []byte(want))
	}
	mac := []byte{0x00, 0x15, 0x65, 0xab, 0xcd, 0xef}
	secret := func(mac string) string { return "of-" + mac }
	if got := string(fill([]byte("http://{server}/{secret}/{mac}/{MAC}"), mac, at("10.2.0.1"), secret)); got != "http://10.2.0.1/of-001565abcdef/001565abcdef/001565ABCDEF" {
		t.Errorf("got %s", got)
	}
}

// TestSIPServers: RFC 3361, octet for octet: names alone, else addresses, never both.
func TestSIPServers(t *testing.T) {
	here := netip.MustParseAddr("10.2.0.1")
	ips := []netip.Addr{netip.IPv4Unspecified(), netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::1")}
	for _, c := range []struct {
		s    Servers
		want string
	}{
		{Servers{Addrs: ips}, "010a020001c0000207"},
		{Servers{Names: []string{"sip.o.test"}, Addrs: ips}, "00" + "03736970016f047465737400"},
		{Servers{Names: []string{"a.test", "b.test"}}, "00" + "0161047465737400" + "0162047465737400"},
		{Servers{Addrs: ips[2:]}, ""},
		{Servers{}, ""},
	} {
		if got := hex.EncodeToString(sipServers(c.s, here)); got != c.want {
			t.Errorf("%v: got %s, want %s", c.s, got, c.want)
		}
	}
}

// TestZones: as the zone files of IANA end.
func TestZones(t *testing.T) {
	now := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	for name, want := range map[string]string{
		"America/Chicago": "CST6CDT,M3.2.0,M11.1.0", "Europe/Berlin": "CET-1CEST,M3.5.0,M10.5.0/3", "Asia/Kolkata": "IST-5:30", "UTC": "UTC0",
		"Australia/Adelaide": "ACST-9:30ACDT,M10.1.0,M4.1.0/3", "America/Sao_Paulo": "<-03>3", "Pacific/Chatham": "<+1245>-12:45<+1345>,M9.5.0/2:45,M4.1.0/3:45",
		"Australia/Lord_Howe": "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "Europe/London": "GMT0BST,M3.5.0/1,M10.5.0",
	} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := posix(zone, now); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}
