package office

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/siproam/siproam/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMistakes: each file of testdata/config has one mistake (or a few), and what is said of it stands beside it.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("../testdata/config/*.bad.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".bad.yaml")
		t.Run(name, func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cfg := DefaultConfig()
			err = config.Parse(name+".bad.yaml", src, &cfg)
			if err == nil {
				t.Fatal("got no mistake")
			}
			got, golden := err.Error()+"\n", strings.TrimSuffix(file, ".bad.yaml")+".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// whole is the file of FACE: every key of this version.
const whole = `
office: south
domain: south.example
aliases: [sip.south.example]
timezone: America/Chicago
state: /var/lib/siproam
roles: [registrar, softswitch, dhcp]
listen:
  - udp:0.0.0.0:5060
  - tcp:0.0.0.0:5060
  - wss:[::]:8089
websocket: {origins: ["https://phone.example.org"]}
partner_listen: tls:[::]:5067
tls: {cert: /etc/siproam/tls/fullchain.pem, key: /etc/siproam/tls/privkey.pem, partner_ca: /etc/siproam/tls/partners.pem}
uri: "sip:sip.south.example:5067;transport=tls"
advertise: 203.0.113.20
local_networks: [10.2.0.0/16]
overload: {source: {per_second: 500, burst: 2000}, registered: {per_second: 1000, burst: 4000}, exempt: [127.0.0.0/8]}
media: {ports: 20000-20999, dscp: 46, idle: 60s, idle_on_hold: 30m, codecs: [PCMA, opus]}
numbers:
  country: "1"
  international: "011"
  national: "1"
  extensions: {"2xxx": "+15550002xxx"}
  emergency: ["911", "112"]
  other_offices: {"1xxx": north, "3xxx": west}
  ranges: ["+15550002xxx"]
abilities: {users: {transports: [tls, wss], require: [outbound]}, visitors: {transports: [tcp], refuse: [path]}}
capacity: {users: 500, visitors: 100, calls: 200}
users: {source: state}
registration: {expires: 300s, min: 60s, max: 1h, contacts: 5, devices: many, algorithms: [md5], challenge_calls: udp}
routes:
  redis: rediss://siproam-south@redis.example:6379/0
  password_file: /etc/siproam/redis.password
home_silent: {policy: refuse, after: 4s, expires: 90s, resend_for: 24h}
partners:
  - office: north
    certificate: sip.north.example
    visitors: {max: 50}
    roamers: {deny: ["2009"]}
    home_silent: {policy: admit-known}
  - {office: west, certificate: sip.west.example, visitors: {max: 20}}
  - office: acme
    foreign: {domain: acme.example, registrar: "sip:10.0.0.5:5060", listen: 10.2.0.1:5070, sources: [10.0.0.5, 10.0.1.0/24], expires: 120s, front: true}
    visitors: {max: 20}
dhcp:
  mode: server
  interfaces: [eth0, eth0.20]
  authoritative: true
  beside: false
  probe: 300ms
  relays: [10.3.0.1/32]
  lease: {time: 8h, min: 1m, max: 24h}
  dns: [10.2.0.1]
  domain: south.example
  ntp: [10.2.0.1]
  classes: [{vendor: "Yealink*", oui: ["00:15:65"], provision: "https://sip.south.example/{mac}", other: {"43.1": "ip:10.2.0.5"}}]
  subnets:
    - network: 10.2.0.0/24
      router: 10.2.0.254
      pools: [10.2.0.100-10.2.0.200]
      exclude: [10.2.0.150]
      site: "1 Long Street, Springfield"
      ports: {"sw1/3": "Room 12, 1 Long Street, Springfield"}
      voice_vlan: 20
      reservations: [{mac: "00:15:65:01:02:03", address: 10.2.0.7, host: lobby}]
  share: {part: 1, of: 2}
  limits: {per_port: 5, reserve: 10}
nameserver:
  listen: [10.2.0.1:53, "[2001:db8::1]:53"]
  networks: [10.2.0.0/16, "2001:db8::/48"]
  forward: [10.2.0.53, "10.2.0.54:5353"]
  ttl: 30s
  addresses: true
  per_second: 50
  burst: 200
provision:
  listen: ["http:10.2.0.1:8081", "https:[::]:8443"]
  url: "https://sip.south.example:8443/"
  templates: /etc/siproam/phones
  unknown: server
  first: certificate
  leases: ignored
  secret_file: /etc/siproam/phones.secret
  phone_ca: /etc/siproam/tls/phones.pem
  servers: [sip1.south.example, "10.2.0.1:5060", "[2001:db8::1]:5060"]
  transport: udp
  outbound_proxy: 10.2.0.1
  ntp: [10.2.0.1]
  timezone: Europe/Berlin
  voice_vlan: 20
  expires: 10m
  keys: [{label: Reception, dial: "2000"}]
  values: {pickup: "*8"}
  rate: {source: {per_second: 2, burst: 40}, total: {per_second: 500, burst: 5000}}
http: {listen: 127.0.0.1:8080}
log: {level: info, format: auto, sip: ["2001"]}
`

// TestWhole: the whole file is right, says what it says, and what check prints reads back the same.
func TestWhole(t *testing.T) {
	cfg := DefaultConfig()
	if err := config.Parse("office.yaml", []byte(whole), &cfg); err != nil {
		t.Fatal(err)
	}
	if cfg.Partners[0].Roamers.Deny[0] != "2009" || cfg.Numbers.OtherOffices["3xxx"] != "west" || cfg.Log.SIP[0] != "2001" || cfg.LocalNetworks[0].String() != "10.2.0.0/16" {
		t.Errorf("got %+v", cfg)
	}
	rc := registrarConfig(cfg, names(cfg), card(cfg))
	if p := rc.Partners[0].HomeSilent; p.Policy != "admit-known" || p.After != cfg.HomeSilent.After {
		t.Errorf("got %+v, want the policy filled from home_silent", p)
	}
	text, err := config.Format(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	again := DefaultConfig()
	if err := config.Parse("effective", text, &again); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if second, err := config.Format(&again); err != nil || string(second) != string(text) {
		t.Errorf("read back: got\n%s\nwant\n%s", second, text)
	}
}

// TestExample: office.example.yaml is right as it is, and with everything commented in.
func TestExample(t *testing.T) {
	src, err := os.ReadFile("../office.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	if err := config.Parse("office.example.yaml", src, &cfg); err != nil {
		t.Error(err)
	}
	var open strings.Builder
	for i, line := range strings.SplitAfter(string(src), "\n") {
		bare := strings.TrimLeft(line, " ")
		rest, commented := strings.CutPrefix(bare, "# ")
		if key, _, found := strings.Cut(rest, ":"); commented && i > 3 && (found && !strings.Contains(strings.TrimLeft(key, " -"), " ") || strings.HasPrefix(rest, "  - {")) {
			line = line[:len(line)-len(bare)] + rest
		}
		open.WriteString(line)
	}
	cfg = DefaultConfig()
	text := strings.Replace(open.String(), "redis: embedded", "redis: rediss://siproam-south@redis.example:6379/0", 1)
	text = strings.Replace(text, "roles: [registrar, softswitch]", "roles: [softswitch]", 1)          // as the processes commented in want
	text = strings.Replace(text, "listen: [10.2.0.1:53]", "listen: []", 1)                            // the registrar has it
	text = strings.Replace(text, `listen: ["http:10.2.0.1:8081"]`, "listen: []", 1)                   // likewise
	text = regexp.MustCompile(`(?m)foreign: .*$`).ReplaceAllString(text, "certificate: acme.example") // which are not for such an office
	if err := config.Parse("office.example.yaml", []byte(text), &cfg); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	if len(cfg.Partners) != 3 || cfg.PartnerListen == "" || !cfg.Advertise.IsValid() {
		t.Errorf("commented in: got %+v\n%s", cfg, text)
	}
}

func TestPortsAndDoubts(t *testing.T) {
	cfg := DefaultConfig()
	if err := config.Parse("office.yaml", []byte(whole), &cfg); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range cfg.Ports() {
		got = append(got, p.Port+" "+p.From)
	}
	want := "5060/udp phones, 5060/tcp phones, 8089/tcp phones, 5067/tcp other offices, 5070/udp acme, 5070/tcp acme, 20000-20999/udp phones and other offices, 67/udp phones and relays, 53/udp phones, 53/tcp phones, 53/udp phones, 53/tcp phones, 8081/tcp phones, 8443/tcp phones, 8080/tcp this machine only"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s\nwant %s", strings.Join(got, ", "), want)
	}
	cfg.HTTP.Listen, cfg.Partners[0].Visitors.Max = "0.0.0.0:8080", 0
	doubts := strings.Join(cfg.Doubts(), "\n")
	for _, want := range []string{"http.listen: 0.0.0.0:8080 is not on loopback", "partners[0].visitors.max: 0", "tls.cert: "} {
		if !strings.Contains(doubts, want) {
			t.Errorf("got %s, want %q", doubts, want)
		}
	}
}
