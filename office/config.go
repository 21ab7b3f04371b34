package office

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/dhcp"
	"github.com/siproam/siproam/media"
	"github.com/siproam/siproam/nameserver"
	"github.com/siproam/siproam/provision"
	"github.com/siproam/siproam/registrar"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/routesrv"
	"github.com/siproam/siproam/sip/transport"
)

// Config is the whole of office.yaml. Each role's own Config stands under its section.
type Config struct {
	Office        roam.OfficeID       `yaml:"office"`         // our name among the offices
	Domain        string              `yaml:"domain"`         // SIP domain and digest realm; several offices may share one
	Aliases       []string            `yaml:"aliases"`        // other names that also mean us; our own addresses always do
	Timezone      string              `yaml:"timezone"`       // for listings; stored times are UTC. "": this machine's
	State         string              `yaml:"state"`          // directory of office.db and the control socket; a local disk
	Roles         []string            `yaml:"roles"`          // of this process: registrar, softswitch, or one of them; dhcp beside the registrar; routesrv serves the embedded store
	Processes     *Processes          `yaml:"processes"`      // of the office, when registrar and softswitches are several
	Listen        []string            `yaml:"listen"`         // for phones: "udp:0.0.0.0:5060", "tcp:[::]:5060", "tls:[::]:5061", "ws:[::]:8088", "wss:[::]:8089"
	WebSocket     WebSocket           `yaml:"websocket"`      // phones in web pages
	PartnerListen string              `yaml:"partner_listen"` // for other offices: "tls:[::]:5067"; "": none
	TLS           TLS                 `yaml:"tls"`            //
	URI           string              `yaml:"uri"`            // how other offices reach us; published in Redis
	Advertise     netip.Addr          `yaml:"advertise"`      // SIP and media address told to anyone outside local_networks
	LocalNetworks []netip.Prefix      `yaml:"local_networks"` // these see the address of the interface they came in on
	Overload      transport.Overload  `yaml:"overload"`       // how much one source may send
	Media         media.Config        `yaml:"media"`          //
	Numbers       roam.Numbers        `yaml:"numbers"`        // how people dial here
	Capacity      Capacity            `yaml:"capacity"`       // what this office can take
	Users         Users               `yaml:"users"`          //
	Abilities     registrar.Abilities `yaml:"abilities"`      // what phones must speak
	Registration  registrar.Config    `yaml:"registration"`   //
	Routes        routesrv.Config     `yaml:"routes"`         // the routing store all offices share
	HomeSilent    roam.SilencePolicy  `yaml:"home_silent"`    // M9, unless a partner has its own
	Partners      []roam.Partner      `yaml:"partners"`       // roaming agreements; not listed: no roaming
	DHCP          dhcp.Config         `yaml:"dhcp"`           // addresses of phones, and what they read at boot
	NameServer    nameserver.Config   `yaml:"nameserver"`     // for softphones that do not read DHCP
	Provision     provision.Config    `yaml:"provision"`      // settings of phones
	HTTP          HTTP                `yaml:"http"`           //
	Log           Log                 `yaml:"log"`            //
}

// WebSocket is who may open one.
type WebSocket struct {
	Origins []string `yaml:"origins"` // of web pages, "https://phone.example.org"; pages from our own names may, too
}

// TLS is the files of the partner listener, and of the phones' over TLS. They are read again on reload.
type TLS struct {
	Cert      string `yaml:"cert"`       // PEM: our certificate, then its chain; phones see it, too
	Key       string `yaml:"key"`        // PEM
	PartnerCA string `yaml:"partner_ca"` // PEM: who signs the certificates of other offices
}

// Users says where accounts come from.
type Users struct {
	Source string `yaml:"source"` // "state": `siproam user ...`; else a CSV file, read again on reload
}

// Capacity is how much this office can take (METHOD d, h); what does not fit is refused with 503.
type Capacity struct {
	Users    int `yaml:"users"`    // our users registered here at once; 0: no limit
	Visitors int `yaml:"visitors"` // users of all other offices here at once
	Calls    int `yaml:"calls"`    // calls at once
}

// HTTP is the pages for people.
type HTTP struct {
	Listen string `yaml:"listen"` // "127.0.0.1:8080"; "": none. There is no login, so keep it on loopback
}

// Log is what is logged, on stderr.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn or error; `siproam log level` changes it at run time
	Format string `yaml:"format"` // json, text, or auto: text on a terminal
	SIP    Traced `yaml:"sip"`    // none, all, or the users whose messages are logged, credentials masked
}

// Traced is whose messages are logged: "none", "all", or a list of users.
type Traced []string

// UnmarshalYAML reads a word or a list.
func (t *Traced) UnmarshalYAML(read func(any) error) error {
	var word string
	if err := read(&word); err == nil {
		*t = Traced{word}
		return nil
	}
	return read((*[]string)(t))
}

// MarshalYAML writes the word alone, as people write it.
func (t Traced) MarshalYAML() (any, error) {
	if len(t) == 1 && (t[0] == "none" || t[0] == "all") {
		return t[0], nil
	}
	return []string(t), nil
}

// DefaultConfig is what the file need not say. It has no office, domain or state: those must be given.
func DefaultConfig() Config {
	return Config{
		Roles:        []string{"registrar", "softswitch"},
		Listen:       []string{"udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"},
		Overload:     transport.DefaultOverload(),
		Media:        media.DefaultConfig(),
		Numbers:      roam.Numbers{Emergency: []string{"911", "112"}},
		Capacity:     Capacity{Visitors: 10_000, Calls: 10_000},
		Users:        Users{Source: "state"},
		Registration: registrar.DefaultConfig(),
		Routes:       routesrv.DefaultConfig(),
		HomeSilent: roam.SilencePolicy{
			Policy: "refuse", After: roam.Duration(4 * time.Second), Expires: roam.Duration(90 * time.Second), ResendFor: roam.Duration(24 * time.Hour),
		},
		DHCP:       dhcp.DefaultConfig(),
		NameServer: nameserver.DefaultConfig(),
		Provision:  provision.DefaultConfig(),
		HTTP:       HTTP{Listen: "127.0.0.1:8080"},
		Log:        Log{Level: "info", Format: "auto", SIP: Traced{"none"}},
	}
}

// Effective is c with what partners leave to home_silent filled in.
func (c Config) Effective() Config {
	c.Partners = slices.Clone(c.Partners)
	for i := range c.Partners {
		if p := &c.Partners[i]; p.HomeSilent != nil {
			filled := p.HomeSilent.Over(c.HomeSilent)
			p.HomeSilent = &filled
		}
	}
	return c
}

// speaksTLS says that some listener needs our certificate.
func (c *Config) speaksTLS() bool {
	return c.PartnerListen != "" || slices.ContainsFunc(c.Listen, overTLS) || c.Provision.TLS()
}

// overTLS says that a listener for phones needs our certificate.
func overTLS(listen string) bool {
	transport, _, _ := strings.Cut(listen, ":")
	return transport == "tls" || transport == "wss"
}

// Later names the keys of versions to come.
func (c *Config) Later() []string {
	return []string{"$.trunks", "$.services", "$.voicemail", "$.hep", "$.webhooks"}
}

// Zone is the timezone of listings. Validate has seen that it exists.
func (c *Config) Zone() *time.Location {
	if c.Timezone == "" {
		return time.Local
	}
	zone, err := time.LoadLocation(c.Timezone)
	if err != nil {
		return time.UTC
	}
	return zone
}
