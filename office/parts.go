package office

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/siproam/siproam/media"
	"github.com/siproam/siproam/registrar"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transport"
	"github.com/siproam/siproam/softswitch"
	"github.com/siproam/siproam/softswitch/plan"
)

// signalling is marked CS3 (RFC 4594 2.3).
const signallingDSCP = 24

// attributes are the inter-office protocols and attributes of our softswitch, told in the office card (M11).
var attributes = []string{"sip;transport=tls", "rtp", "srtp-end-to-end", "profile=1", "cdr=1"}

// speaks is the same for programs, with our limits.
func speaks(cfg *Config) *roam.Attributes {
	return &roam.Attributes{Software: "siproam", Transports: []string{"tls"}, Methods: []string{"INFO", "MESSAGE", "UPDATE"}, Codecs: cfg.Media.Codecs,
		Services: roam.Known, MessageMax: sip.MaxMessage, CallsMax: cfg.Capacity.Calls}
}

// isEmergency says that a Request-URI is that of an emergency call (RFC 5031, or a number of ours). It is asked when there is too
// much to do, by the transport's readers.
func (o *Office) isEmergency(uri []byte) bool {
	if sos := "urn:service:sos"; len(uri) >= len(sos) && strings.EqualFold(string(uri[:len(sos)]), sos) {
		return true
	}
	u, err := sip.ParseURI(uri)
	numbers := o.Config().Numbers
	return err == nil && plan.Emergency(u.User, &numbers)
}

// card is what we say of ourselves (130, 330-340).
func card(cfg Config) roam.Card {
	c := roam.Card{Version: 1, Office: cfg.Office, Domains: []string{cfg.Domain}, Switch: cfg.URI, Registrar: cfg.URI, Abilities: attributes}
	for _, a := range cfg.Aliases {
		if !isAddr(a) {
			c.Domains = append(c.Domains, a)
		}
	}
	if p := cfg.Processes; p != nil {
		if c.Registrar = p.Registrar.URI; cfg.has("registrar") {
			c.Switch = p.Softswitches[0].URI
		}
	}
	if c.Switch == "" { // no other offices: the domain finds us (RFC 3263)
		c.Switch = "sip:" + cfg.Domain
		c.Registrar = c.Switch
	}
	c.Speaks, c.Ranges = speaks(&cfg), plan.Ranges(&cfg.Numbers)
	c.Rev = c.Revision()
	return c
}

// partners is the offices that we have an agreement with and that are siproam.
func (c *Config) partners() (all []roam.OfficeID) {
	for i := range c.Partners {
		if c.Partners[i].Foreign == nil {
			all = append(all, c.Partners[i].Office)
		}
	}
	return all
}

func transportConfig(cfg Config, p *partners, boot uint64) (transport.Config, error) {
	tc := transport.Config{
		Listen: cfg.Listen, Foreign: foreignListeners(&cfg), PartnerListen: cfg.PartnerListen, PartnerTLS: p.tls(), PhoneTLS: p.phones(), Advertise: cfg.Advertise,
		LocalNetworks: cfg.LocalNetworks, Boot: boot, DSCP: signallingDSCP,
		Overload: cfg.Overload, Origins: cfg.WebSocket.Origins, Names: names(cfg),
	}
	if cfg.URI == "" {
		return tc, nil
	}
	var err error
	if tc.URI, err = sip.ParseURI([]byte(cfg.URI)); err != nil {
		return tc, fmt.Errorf("uri: %w", err)
	}
	return tc, nil
}

// mediaConfig binds media where phones and partners come: at the one address of all listeners, else of each leg at the
// address that it came to.
func mediaConfig(cfg Config) media.Config {
	mc := cfg.Media
	mc.Advertise, mc.LocalNetworks = cfg.Advertise, cfg.LocalNetworks
	listeners := slices.Concat(cfg.Listen, []string{cfg.PartnerListen})
	for _, p := range cfg.foreign() {
		listeners = append(listeners, "udp:"+p.Foreign.Listen.String())
	}
	for _, l := range listeners {
		_, at, err := splitListen(l)
		switch a := at.Addr(); {
		case err != nil, a == mc.Addr:
		case !mc.Addr.IsValid():
			mc.Addr = a
		case a.Is4() && mc.Addr.Is4():
			mc.Addr = netip.IPv4Unspecified()
		default:
			mc.Addr = netip.IPv6Unspecified()
		}
	}
	return mc
}

func (o *Office) switchConfig(cfg Config) softswitch.Config {
	foreign := map[roam.OfficeID]*roam.Foreign{}
	for _, p := range cfg.foreign() {
		foreign[p.Office] = p.Foreign
	}
	return softswitch.Config{
		Card: card(cfg), Names: names(cfg), Numbers: cfg.Numbers, Foreign: foreign, ChallengeCalls: cfg.Registration.ChallengeCalls,
		Users: cfg.Capacity.Users, Visitors: cfg.Capacity.Visitors, Calls: cfg.Capacity.Calls,
		Probe: cfg.Registration.Probe.D(), Node: o.file.Node(), Boot: o.file.Boot(),
	}
}

// registrarConfig is office.yaml's "registration", and what the registrar needs of the rest.
func registrarConfig(cfg Config, names []string, card roam.Card) registrar.Config {
	rc := cfg.Registration
	rc.HomeSilent, rc.Names, rc.Card, rc.Numbers = cfg.HomeSilent, names, card, &cfg.Numbers
	rc.Partners, rc.Strict, rc.Signed, rc.Abilities = cfg.Effective().Partners, cfg.Routes.Strict(), cfg.Routes.Signed(), cfg.Abilities
	if cfg.split() {
		rc.Edges = map[roam.SwitchID]string{}
		for _, p := range cfg.Processes.Softswitches {
			rc.Edges[p.ID] = p.URI
		}
	}
	return rc
}

// hostsOf is a as hosts in URIs; the unspecified address is every address of this machine.
func hostsOf(a netip.Addr) (all []string) {
	if !a.IsUnspecified() {
		return []string{a.String()}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, one := range addrs {
		if p, err := netip.ParsePrefix(one.String()); err == nil && (a.Is6() || p.Addr().Is4()) && !p.Addr().IsLinkLocalUnicast() {
			all = append(all, p.Addr().String())
		}
	}
	return all
}

// hostText is a host as it stands in a canonical URI: small letters, IPv6 in brackets.
func hostText(h string) string {
	if ip, err := netip.ParseAddr(strings.Trim(h, "[]")); err == nil && ip.Is6() {
		return "[" + ip.String() + "]"
	}
	return strings.ToLower(h)
}
