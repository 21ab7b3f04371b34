package provision

import (
	"cmp"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
)

// Values is what a template is given. Without an account User, Login, Password and the like are empty.
type Values struct {
	MAC    string // 12 small hex digits
	Colons string // 00:15:65:a1:b2:c3
	Vendor string

	User     string // user part of the account
	Domain   string // of the account, and its digest realm
	Login    string // under which the phone registers
	Password string // with which it does
	Name     string // of the person
	Number   string // E.164
	Short    string // extension
	Label    string // of the line: extension, else the user; of a guest phone "Guest"
	Guest    bool   // the phone is nobody's, and has a label for that

	HTTPUser     string // with which the phone fetches its settings after the first time
	HTTPPassword string
	URL          string // where it does; "": as DHCP says

	Servers   []Place // where phones register, best first; never empty
	Server    Place   // the first
	Proxy     Place   // outbound proxy
	Proxies   []Place // the same, and what to try after it
	Transport string  // udp, tcp, tls
	Expires   int     // seconds

	NTP       []string
	Timezone  string // "America/Chicago"
	Offset    int    // of the standard time, seconds east of UTC
	Summer    bool   // the zone has a summer time
	VLAN      int    // 0: none
	Emergency []string
	Keys      []Key
	Values    map[string]string
}

// Place is a SIP server.
type Place struct {
	Host string // a name, or an address without brackets
	Port int    // never 0
}

// String is s as it stands in a URI.
func (s Place) String() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// Addr is the host as it stands in a URI.
func (s Place) Addr() string {
	if strings.Contains(s.Host, ":") {
		return "[" + s.Host + "]"
	}
	return s.Host
}

// Hours is Offset as phones write it: "-6", "+5:30".
func (v *Values) Hours() string {
	sign, off := "+", v.Offset
	if off < 0 {
		sign, off = "-", -off
	}
	text := sign + strconv.Itoa(off/3600)
	if m := off % 3600 / 60; m != 0 {
		text += ":" + strconv.Itoa(m)
	}
	return text
}

// GMT is Offset as "GMT-06:00".
func (v *Values) GMT() string {
	return "GMT" + time.Date(2000, 1, 1, 0, 0, 0, 0, time.FixedZone("", v.Offset)).Format("-07:00")
}

// Account is a user as phones are told.
type Account struct {
	User   roam.UserID
	Name   string
	Number string
	Short  string
}

// common is what every phone is told, at the address of ours that it has asked.
func (s *Server) common(cfg *Config, m MAC, vendor string, here netip.Addr) *Values {
	v := &Values{MAC: m.String(), Colons: m.Colons(), Vendor: vendor, Domain: cfg.Domain, Transport: cfg.Transport, Expires: int(cfg.Expires.D().Seconds()),
		NTP: cfg.NTP, Timezone: cfg.Timezone, VLAN: cfg.VoiceVLAN, Emergency: cfg.Emergency, Keys: cfg.Keys, Values: cfg.Values, URL: cfg.URL}
	for _, text := range cfg.Servers {
		v.Servers = append(v.Servers, serverOf(text, cfg.Transport))
	}
	if len(v.Servers) == 0 { // the address that the phone has reached is ours
		v.Servers = []Place{{here.Unmap().WithZone("").String(), cmp.Or(s.port(cfg.Transport), portOf(cfg.Transport))}}
	}
	v.Server, v.Proxy, v.Proxies = v.Servers[0], v.Servers[0], v.Servers
	if cfg.Proxy != "" {
		v.Proxy = serverOf(cfg.Proxy, cfg.Transport)
		v.Proxies = []Place{v.Proxy}
	}
	v.Offset, v.Summer = standard(cfg.Timezone, s.now())
	return v
}

func serverOf(text, transport string) Place {
	host, port, _ := splitServer(text) // Validate has read it
	if port == 0 {
		port = portOf(transport)
	}
	return Place{host, port}
}

// portOf is where SIP is (RFC 3261 19.1.2).
func portOf(transport string) int {
	if transport == "tls" {
		return 5061
	}
	return 5060
}

// standard is the offset of the standard time of zone, and whether it has another.
func standard(zone string, now time.Time) (offset int, summer bool) {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return 0, false
	}
	_, jan := time.Date(now.Year(), 1, 1, 0, 0, 0, 0, loc).Zone()
	_, jul := time.Date(now.Year(), 7, 1, 0, 0, 0, 0, loc).Zone()
	return min(jan, jul), jan != jul
}

// give adds a's account of phone m to v.
func (v *Values) give(a Account, secret []byte, m MAC, generation uint64) {
	v.User, _, _ = strings.Cut(string(a.User), "@")
	v.Login, v.Password = Login(m), derive(secret, forSIP, m, generation)
	v.HTTPUser, v.HTTPPassword = Login(m), derive(secret, forHTTP, m, generation)
	v.Name, v.Number, v.Short = a.Name, a.Number, a.Short
	if v.Name == "" {
		v.Name = v.User
	}
	v.Label = v.User
	if v.Short != "" {
		v.Label = v.Short
	}
}

// sample is what templates are tried with; name is what people write, values the operator's own.
func sample(name string, values map[string]string, account bool) *Values {
	v := &Values{MAC: "001565a1b2c3", Colons: "00:15:65:a1:b2:c3", Vendor: "sample", Domain: "south.example", Transport: "tls", Expires: 300, NTP: []string{"192.0.2.1"},
		Timezone: "America/Chicago", Offset: -21600, Summer: true, VLAN: 20, Emergency: []string{"911", "112"}, Keys: []Key{{name, "2000"}}, Values: values,
		Servers: []Place{{"192.0.2.1", 5061}, {"sip2.south.example", 5061}}, Guest: !account, Label: "Guest"}
	v.Server, v.Proxy, v.Proxies = v.Servers[0], v.Servers[0], v.Servers
	if account {
		v.give(Account{User: "2001@south.example", Name: name, Number: "+15550002001", Short: "2001"}, make([]byte, secretBytes), MAC{0, 0x15, 0x65, 0xa1, 0xb2, 0xc3}, 1)
	}
	return v
}
