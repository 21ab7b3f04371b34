package dhcp

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
)

// Config is office.yaml's "dhcp".
type Config struct {
	Mode          string         `yaml:"mode"`          // none; server; proxy: options only, another server gives addresses
	Interfaces    []string       `yaml:"interfaces"`    // where clients and relays are heard: eth0, eth0.20
	Authoritative bool           `yaml:"authoritative"` // the subnets are ours: an address that is wrong here is refused (NAK) at once; true
	Beside        bool           `yaml:"beside"`        // start though another server answers on an interface
	Look          roam.Duration  `yaml:"look"`          // other servers are looked for so often; 5m; 0s: only at the start and by what clients say
	Probe         roam.Duration  `yaml:"probe"`         // an address is asked for so long whether somebody has it before it is offered anew; 300ms; 0s: not
	Relays        []netip.Prefix `yaml:"relays"`        // relays that are believed; empty: all whose subnet is listed
	Snooping      bool           `yaml:"snooping"`      // switches that are no relays add option 82: it is believed. Else such messages are dropped
	RapidCommit   bool           `yaml:"rapid_commit"`  // two messages in place of four for clients that ask for it (RFC 4039); true
	Lease         Times          `yaml:"lease"`         // where a subnet says nothing
	Options       `yaml:",inline"`
	Classes       []Class  `yaml:"classes"` // of phones; where several hold, what the first one says goes before
	Subnets       []Subnet `yaml:"subnets"` //
	Share         Share    `yaml:"share"`   // the pools, with a second server of this office
	Limits        Limits   `yaml:"limits"`  //
}

// Times is how long a lease lasts.
type Times struct {
	Time roam.Duration `yaml:"time"` // when the client wishes for nothing; 8h
	Min  roam.Duration `yaml:"min"`  // a shorter wish is lengthened; 1m
	Max  roam.Duration `yaml:"max"`  // a longer one is cut; 24h
}

// Subnet is one network with phones in it. Clients on our own interfaces are in the one that holds the interface's
// address, clients behind a relay in the one that holds the relay's, or that it selects (RFC 3527).
type Subnet struct {
	Network      netip.Prefix      `yaml:"network"`
	Router       netip.Addr        `yaml:"router"` // none: phones reach nothing but this network
	Pools        []Range           `yaml:"pools"`  // "10.2.0.100-10.2.0.200", one address, or a prefix; none: reservations only
	Exclude      []Range           `yaml:"exclude"`
	Lease        Times             `yaml:"lease"`
	Site         string            `yaml:"site"`  // the physical spot: a civic address, for emergency calls; "": what the switch port says
	Ports        map[string]string `yaml:"ports"` // and of single ports of switches, by what a relay says of them: "sw1/3": "Room 12, 1 Long Street"
	Options      `yaml:",inline"`
	Reservations []Reservation `yaml:"reservations"`
}

// Reservation is an address that one client, or what is plugged into one port, gets.
type Reservation struct {
	MAC      string     `yaml:"mac"`       // "00:15:65:01:02:03"
	ClientID string     `yaml:"client_id"` // option 61 in hex: "01:00:15:65:01:02:03"; of DHCPv6 the DUID
	Port     string     `yaml:"port"`      // what a relay says in option 82: "circuit" or "circuit/remote", as `siproam leases` shows it
	Address  netip.Addr `yaml:"address"`
	Host     string     `yaml:"host"` // told to the client as its name
}

// Class is phones of one make. All that is given must hold.
type Class struct {
	Name    string   `yaml:"name"`
	Vendor  string   `yaml:"vendor"` // option 60, in any case, * for any end: "yealink*"
	OUI     []string `yaml:"oui"`    // how the MAC begins: "00:15:65"
	Pools   []Range  `yaml:"pools"`  // of the subnets, for this class alone
	Proxy   bool     `yaml:"proxy"`  // mode proxy: it understands an offer that has options and no address, as PXE clients do
	Options `yaml:",inline"`
}

// Options is what phones read. What a class says goes before what a subnet says, and that before what stands for all.
type Options struct {
	DNS           []netip.Addr      `yaml:"dns"`            // option 6
	Domain        string            `yaml:"domain"`         // 15
	Search        []string          `yaml:"search"`         // 119
	NTP           []netip.Addr      `yaml:"ntp"`            // 42
	Timezone      string            `yaml:"timezone"`       // 2, 100, 101: America/Chicago
	Provision     string            `yaml:"provision"`      // 66 and 160: the URL where phones find their settings; {mac}, {MAC}, {server} and {secret} are filled in
	TFTP          string            `yaml:"tftp"`           // 66, where it is not provision
	TFTPServers   []netip.Addr      `yaml:"tftp_servers"`   // 150
	BootFile      string            `yaml:"boot_file"`      // 67: "{mac}.cfg"
	VoiceVLAN     int               `yaml:"voice_vlan"`     // 132
	VoicePriority int               `yaml:"voice_priority"` // 133: 802.1p, 1 to 7
	Other         map[string]string `yaml:"other"`          // by code: "128": "text:VLAN-A=20;", a sub-option of 43: "43.1", of 125: "125.3561.1"
}

// Share is the part of each pool that is ours. Two servers of one office give none of the other's.
type Share struct {
	Part int `yaml:"part"` // from 1
	Of   int `yaml:"of"`   // 1: all
}

// Limits keep an attacker from taking all addresses.
type Limits struct {
	PerPort   int           `yaml:"per_port"`   // addresses behind one switch port (option 82); 0: no limit
	PerOUI    int           `yaml:"per_oui"`    // addresses of one maker; 0: no limit
	Reserve   int           `yaml:"reserve"`    // free addresses of each pool that only known phones get; 0: as many as they had last, two fifths at most
	Offers    int           `yaml:"offers"`     // addresses of each pool held for strangers that have not answered; 0: a quarter of it
	Hold      roam.Duration `yaml:"hold"`       // how long an offer is held; 45s
	Declined  roam.Duration `yaml:"declined"`   // how long an address that somebody else has is left alone; 1h
	PerSecond int           `yaml:"per_second"` // messages of one client in a second; 20
}

// Site is the civic address of what has an address: of its switch port, else of its subnet; "": nobody has said.
func (c *Config) Site(a netip.Addr, port string) string {
	for i := range c.Subnets {
		if s := &c.Subnets[i]; s.Network.Contains(a) {
			return cmp.Or(s.Ports[port], s.Site)
		}
	}
	return ""
}

// Range is addresses from First to Last.
type Range struct{ First, Last netip.Addr }

// UnmarshalText reads "10.2.0.100-10.2.0.200", "10.2.0.100" or "10.2.0.128/25".
func (r *Range) UnmarshalText(b []byte) (err error) {
	text := string(b)
	if prefix, err := netip.ParsePrefix(text); err == nil {
		*r = Range{prefix.Masked().Addr(), lastOf(prefix)}
		return nil
	}
	first, last, found := strings.Cut(text, "-")
	if r.First, err = netip.ParseAddr(strings.TrimSpace(first)); err == nil && found {
		r.Last, err = netip.ParseAddr(strings.TrimSpace(last))
	} else {
		r.Last = r.First
	}
	if err != nil {
		return fmt.Errorf("%q is no range of addresses, such as 10.2.0.100-10.2.0.200", text)
	}
	return nil
}

// MarshalText writes it as it is read.
func (r Range) MarshalText() ([]byte, error) {
	if r.First == r.Last {
		return []byte(r.First.String()), nil
	}
	return []byte(r.First.String() + "-" + r.Last.String()), nil
}

// lastOf is the last address of p.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	ip, _ := netip.AddrFromSlice(b)
	return ip
}

// DefaultConfig is a DHCP server that is not there: mode none. With a mode, leases last 8 hours.
func DefaultConfig() Config {
	return Config{
		Mode: "none", Authoritative: true, Look: roam.Duration(5 * time.Minute), Probe: roam.Duration(300 * time.Millisecond), RapidCommit: true,
		Lease: Times{roam.Duration(8 * time.Hour), roam.Duration(time.Minute), roam.Duration(24 * time.Hour)},
		Share: Share{1, 1},
		Limits: Limits{
			Hold: roam.Duration(45 * time.Second), Declined: roam.Duration(time.Hour), PerSecond: 20,
		},
	}
}
