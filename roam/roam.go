// Package roam holds the words every part of siproam shares, as plain values.
// It imports nothing of ours and knows no SIP type.
package roam

import (
	"net/netip"
	"strings"
	"time"
)

// UserID is a user's one canonical address, "1001@north.example"; other AORs
// and numbers are aliases of it (DESIGN 4).
type UserID string

// OfficeID names an office, "north".
type OfficeID string

// SwitchID names a softswitch of an office that has several, or one in a process of its own: "north/1" (M16).
type SwitchID string

// Device names a phone: its +sip.instance, else its MAC, else "" (unknown).
type Device string

// Epoch orders every write about one user. Home issues it; it only grows and
// stays below 2^53, so that Lua and JSON keep it exactly.
type Epoch uint64

// Location is where a user's calls go: the serving softswitch and registrar
// (METHOD 1, "location"). The zero Location means: nowhere.
type Location struct {
	Epoch     Epoch     `json:"epoch"`
	Office    OfficeID  `json:"office"`
	Switch    string    `json:"sw"`  // SIP URI of the softswitch
	Registrar string    `json:"reg"` // SIP URI of the registrar
	Device    Device    `json:"dev,omitempty"`
	Since     time.Time `json:"since"`
	Move      uint64    `json:"move,omitempty"` // a small count for people, kept by R
	Sig       string    `json:"sig,omitempty"`  // home's signature of it, where R is not trusted

	Suspect bool `json:"-"` // R's answer: the softswitch gives no sign of life
	Stale   bool `json:"-"` // R's answer: from memory, R itself is away
}

// Owned is what R should hold of one of our users.
type Owned struct {
	User UserID
	At   Location
}

// Ticket is home's word that it has checked one device for one office (step 150).
type Ticket struct {
	User   UserID    `json:"user"`
	Device Device    `json:"dev,omitempty"`
	Office OfficeID  `json:"office"` // the visited office
	Home   OfficeID  `json:"home"`
	Epoch  Epoch     `json:"epoch"`
	Until  time.Time `json:"until"`
	Proof  string    `json:"-"` // the signed ticket as it goes over the wire (package seal)
}

// Card is what an office says of itself (130, 330-340).
type Card struct {
	Version   int      `json:"v"`
	Office    OfficeID `json:"office"`
	Domains   []string `json:"domains"`
	Switch    string   `json:"softswitch"` // SIP URI
	Registrar string   `json:"registrar"`  // SIP URI
	Abilities []string `json:"attributes,omitempty"`

	Rev    string      `json:"rev,omitempty"`    // changes with the card; see Revision
	Speaks *Attributes `json:"speaks,omitempty"` // with other offices
	Ranges []string    `json:"ranges,omitempty"` // of numbers whose users are its own: "+15550001xxx"

	Key     []byte    `json:"key,omitempty"`     // Ed25519 public key, checks tickets and sig
	Visitor *Location `json:"visitor,omitempty"` // of the user asked about, where he was a visitor: a hint
	Home    *Card     `json:"home,omitempty"`    // of that visitor: his home office, as we know it
	Foreign bool      `json:"foreign,omitempty"` // no siproam: what is known of it is our own configuration
	Mirrors []Mirror  `json:"mirrors,omitempty"` // of that visitor, whose home is foreign
}

// Transport is a SIP transport.
type Transport uint8

// The transports, in the order of Flow.Transport.
const (
	NoTransport Transport = iota
	UDP
	TCP
	TLS
	WS
	WSS
)

var transports = [...]string{"", "UDP", "TCP", "TLS", "WS", "WSS"}

// String is the transport as Via writes it.
func (t Transport) String() string { return transports[t] }

// Stream says that messages are framed by Content-Length.
func (t Transport) Stream() bool { return t >= TCP }

// Flow names the path a phone opened (RFC 5626). It is comparable and can be
// stored; package transport finds the socket or connection it means.
type Flow struct {
	Transport Transport      `json:"t"`
	Conn      uint64         `json:"c,omitempty"` // 0 for UDP; else unique over restarts
	Local     netip.AddrPort `json:"l"`
	Remote    netip.AddrPort `json:"r"`
	Edge      SwitchID       `json:"e,omitempty"` // the softswitch that holds it; "": this process
}

// Target is one way to reach a user's phone.
type Target struct {
	URI    string   `json:"uri"`             // the Contact
	Route  []string `json:"route,omitempty"` // Path, RFC 3327
	Flow   Flow     `json:"flow"`            // the zero Flow: resolve URI
	Q      uint16   `json:"q"`               // thousandths; 1000 when not given
	Device Device   `json:"dev,omitempty"`
	RegID  uint32   `json:"-"`               // not 0: one of several flows of Device (RFC 5626 4.2), which are tried one after the other
	Agent  string   `json:"agent,omitempty"` // User-Agent, for people
	Spot   *Spot    `json:"spot,omitempty"`  // where the phone stands; nil: DHCP is not ours. Nobody may change it
	Office OfficeID `json:"-"`               // set when the device is a visitor of another office: Flow is zero and URI is its softswitch
}

// Numbers is how people dial at one office (FACE.md, "numbers"). Keys of the
// two maps are patterns: digits and trailing "x", one digit each.
type Numbers struct {
	Country       string              `json:"country,omitempty" yaml:"country"`             // "1"
	International string              `json:"international,omitempty" yaml:"international"` // "011"
	National      string              `json:"national,omitempty" yaml:"national"`           // "1"
	Extensions    map[string]string   `json:"extensions,omitempty" yaml:"extensions"`       // "2xxx": "+15550002xxx"
	Emergency     []string            `json:"emergency,omitempty" yaml:"emergency"`
	OtherOffices  map[string]OfficeID `json:"other_offices,omitempty" yaml:"other_offices"` // "1xxx": north
	Ranges        []string            `json:"-" yaml:"ranges"`                              // numbers whose users are this office's: "+15550002xxx"; none: those of extensions
}

// Line is what the softswitch serves: one user here with profile and targets,
// or, when Gone is set, the tombstone that says where the user went.
type Line struct {
	User    UserID
	Visitor bool
	Home    Card  // of a visitor: the home office
	Epoch   Epoch // of the newest location known here
	Profile *Profile
	Targets []Target // best first; empty: offline
	Gone    *Location
}

// Lease is a phone as DHCP sees it: evidence of a person (M2, M3), and where the phone stands.
type Lease struct {
	MAC     string
	Plugged time.Time    // last DISCOVER
	Port    string       // what a relay calls the place where it is plugged in (option 82); empty: no relay said any
	Subnet  netip.Prefix // the link that it is on
	Site    string       // of the subnet: the civic address for emergency calls
	Since   time.Time    // it has the address without a break
	Until   time.Time    // as it was told
	Host    string       // what it calls itself
	Vendor  string       // option 60
}

// Spot is where the phone stands.
func (l *Lease) Spot() Spot { return Spot{l.Port, l.Subnet, l.Site} }

// Spot is where a phone stands, as DHCP says. It is comparable.
type Spot struct {
	Port   string       `json:"port,omitempty"`  // of a switch, as in Lease
	Subnet netip.Prefix `json:"subnet,omitzero"` //
	Site   string       `json:"site,omitempty"`  // the civic address; "": nobody has said
}

// String is s as people read it: "sw1/3, 1 Long Street"; the subnet where there is no port.
func (s *Spot) String() string {
	if s == nil {
		return ""
	}
	at := s.Port
	if at == "" && s.Subnet.IsValid() {
		at = s.Subnet.String()
	}
	if at != "" && s.Site != "" {
		at += ", "
	}
	return at + s.Site
}

// Partner is a roaming agreement with another office (FACE.md, "partners").
type Partner struct {
	Office      OfficeID `yaml:"office"`
	Certificate string   `yaml:"certificate"` // the name in its certificate is who it is
	Domains     []string `yaml:"domains"`     // its SIP domains; not given: those that it says it has
	Visitors    struct {
		Max   int      `yaml:"max"`   // their users here at most; 0: none
		Allow []string `yaml:"allow"` // them alone: users, or "class:guest"; empty: everybody
		Deny  []string `yaml:"deny"`  // nor these of them
	} `yaml:"visitors"`
	Roamers struct {
		Allow []string `yaml:"allow"` // our users that alone may roam there
		Deny  []string `yaml:"deny"`  // those that may not
	} `yaml:"roamers"`
	HomeSilent *SilencePolicy `yaml:"home_silent"`
	Foreign    *Foreign       `yaml:"foreign"` // set: it is no siproam, and has no certificate
}

// ClassOf begins an entry of Allow or Deny that means a class of users.
const ClassOf = "class:"

// IsClass says that name can be a class: small letters, digits and dashes, at most 32.
func IsClass(name string) bool {
	return name != "" && len(name) <= 32 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// SilencePolicy is the policy of M9: what to do when a visitor's home does not answer.
type SilencePolicy struct {
	Policy    string   `yaml:"policy"`     // refuse; admit-known: a device that is here stays; refuse-unrecorded: not even one whose credentials home has checked
	After     Duration `yaml:"after"`      // how long to wait for home
	Expires   Duration `yaml:"expires"`    // granted to a visitor admitted without home
	ResendFor Duration `yaml:"resend_for"` // how long the registration message is re-sent
}

// Over is p with what it leaves out taken from base.
func (p SilencePolicy) Over(base SilencePolicy) SilencePolicy {
	if p.Policy != "" {
		base.Policy = p.Policy
	}
	for _, d := range []struct{ to, is *Duration }{{&base.After, &p.After}, {&base.Expires, &p.Expires}, {&base.ResendFor, &p.ResendFor}} {
		if *d.is != 0 {
			*d.to = *d.is
		}
	}
	return base
}

// Identity is one row of roam:id: a number or AOR, whose it is and where home is.
type Identity struct {
	Name string // "+15550001001", "alice@north.example"; no scheme
	User UserID
	Home OfficeID
}

// Peer is what R knows of an office (roam:office, roam:sw).
type Peer struct {
	Office    OfficeID    `json:"office"`
	Domains   []string    `json:"domains"`
	Switch    string      `json:"softswitch"` // SIP URI of a living softswitch, or the last known
	Registrar string      `json:"registrar"`
	Alive     bool        `json:"alive"`
	Rev       string      `json:"rev,omitempty"`    // of its card
	Ranges    []string    `json:"ranges,omitempty"` // of numbers, as in its card
	Speaks    *Attributes `json:"speaks,omitempty"` // likewise
}

// Duration is a time.Duration that YAML, JSON and people write as "60s" or "5m".
type Duration time.Duration

// String is d as people write it: "60s" is "1m", not "1m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// D is d as a time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

// MarshalText writes d as "60s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads "60s", "5m", "1h30m".
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}
