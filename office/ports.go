package office

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/siproam/siproam/config"
	"github.com/siproam/siproam/provision"
	"github.com/siproam/siproam/softswitch/plan"
)

// Port is something a firewall must let in.
type Port struct {
	Port string `json:"port"` // "5060/udp"
	From string `json:"from"`
	What string `json:"what"`
}

// wraps is what else TCP carries under SIP.
var wraps = map[string]string{"tls": "TLS", "ws": "WebSocket", "wss": "secure WebSocket"}

// Ports lists what this configuration listens on, for whoever keeps the firewall.
func (c *Config) Ports() (all []Port) {
	for _, l := range c.Listen {
		if transport, addr, err := splitListen(l); err == nil {
			what := "SIP at " + addr.Addr().String()
			if how, found := wraps[transport]; found {
				transport, what = "tcp", "SIP over "+how+" at "+addr.Addr().String()
			}
			all = append(all, Port{fmt.Sprintf("%d/%s", addr.Port(), transport), "phones", what})
		}
	}
	if _, addr, err := splitListen(c.PartnerListen); err == nil {
		all = append(all, Port{fmt.Sprintf("%d/tcp", addr.Port()), "other offices", "SIP over mutual TLS"})
	}
	for _, p := range c.foreign() {
		port, what := p.Foreign.Listen.Port(), "SIP at "+p.Foreign.Listen.Addr().String()
		all = append(all, Port{fmt.Sprintf("%d/udp", port), string(p.Office), what}, Port{fmt.Sprintf("%d/tcp", port), string(p.Office), what})
	}
	all = append(all, Port{c.Media.Ports + "/udp", "phones and other offices", "RTP and RTCP"})
	if c.has("dhcp") {
		all = append(all, Port{"67/udp", "phones and relays", "DHCP at " + strings.Join(c.DHCP.Interfaces, ", ")})
	}
	for _, l := range c.NameServer.Listen {
		what := "DNS at " + l.Addr().String()
		all = append(all, Port{fmt.Sprintf("%d/udp", l.Port()), "phones", what}, Port{fmt.Sprintf("%d/tcp", l.Port()), "phones", what})
	}
	for _, l := range c.Provision.Listen {
		if scheme, addr, err := splitListen(l); err == nil {
			all = append(all, Port{fmt.Sprintf("%d/tcp", addr.Port()), "phones", strings.ToUpper(scheme) + " at " + addr.Addr().String() + ": their settings"})
		}
	}
	if addr, err := splitHostPort(c.HTTP.Listen); err == nil {
		from := "this machine only"
		if !addr.Addr().IsLoopback() {
			from = "people you trust"
		}
		all = append(all, Port{fmt.Sprintf("%d/tcp", addr.Port()), from, "dashboard, metrics, health; no login"})
	}
	return all
}

// Clashes names the ranges of numbers that two of several offices have: nobody would know whose a number in it is.
func Clashes(all []Config) (found []string) {
	for i := range all {
		for _, r := range plan.Ranges(&all[i].Numbers) {
			for j := range all[:i] {
				if all[j].Office != all[i].Office && slices.Contains(plan.Ranges(&all[j].Numbers), r) {
					found = append(found, fmt.Sprintf("numbers.ranges: %s is a range of %s and of %s", r, all[j].Office, all[i].Office))
				}
			}
		}
	}
	return found
}

// Doubts says what is not wrong but probably not meant. Each begins with its key.
func (c *Config) Doubts() (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if addr, err := splitHostPort(c.HTTP.Listen); err == nil && !addr.Addr().IsLoopback() {
		say("http.listen: %s is not on loopback, and there is no login", addr)
	}
	for _, file := range []struct{ key, path string }{{"tls.cert", c.TLS.Cert}, {"tls.key", c.TLS.Key}, {"tls.partner_ca", c.TLS.PartnerCA}, {"routes.password_file", c.Routes.PasswordFile},
		{"provision.secret_file", c.Provision.SecretFile}, {"provision.phone_ca", c.Provision.PhoneCA}, {"provision.templates", c.Provision.Templates}} {
		if file.path == "" {
			continue
		}
		if info, err := os.Stat(file.path); err != nil {
			say("%s: %v", file.key, err)
		} else if slices.Contains([]string{"tls.key", "routes.password_file", "provision.secret_file"}, file.key) && info.Mode().Perm()&0o007 != 0 {
			say("%s: everybody on this machine may read %s", file.key, file.path)
		}
	}
	if c.Numbers.Country == "" {
		say("numbers.country: not given; only full numbers can be dialled outside extensions")
	}
	for key, public := range c.Numbers.Extensions {
		if public != "" && len(c.Numbers.Ranges) > 0 && !slices.Contains(c.Numbers.Ranges, public) {
			say("numbers.ranges: %s of extensions %s is none of them: others ask about it elsewhere, unless it is inside one", public, key)
		}
	}
	for i, p := range c.Partners {
		if front := p.Foreign != nil && p.Foreign.Domain == ""; p.Visitors.Max == 0 && !front {
			say("partners[%d].visitors.max: 0: no user of %s may visit", i, p.Office)
		}
	}
	if behindNAT(c) {
		say("advertise: not given, and every address here is private: phones elsewhere could not reach us")
	}
	for i, name := range c.DHCP.Interfaces {
		if _, err := net.InterfaceByName(name); err != nil && c.has("dhcp") {
			say("dhcp.interfaces[%d]: %s is not on this machine now; it is waited for", i, name)
		}
	}
	if c.NameServer.On() && len(c.NameServer.Forward) == 0 {
		say("nameserver.forward: not given: whoever asks our name server alone finds no other name")
	}
	if c.Provision.On() && c.Provision.Templates != "" {
		for _, err := range config.Flatten(provision.Check(c.Provision.Templates, c.Provision.Values)) {
			say("provision.templates: %v", err)
		}
	}
	if c.Provision.On() && !c.Provision.TLS() {
		say("provision.listen: without https what phones log in with can be read on the way to them")
	}
	if strings.HasSuffix(c.Domain, ".local") {
		say("domain: .local names belong to multicast DNS")
	}
	return all
}

// Files reads the files that the configuration names, those that are there, and gives what is wrong with them.
func (c *Config) Files() error {
	var errs []error
	if _, err := newPartners(*c); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	if c.Users.Source != "state" {
		f, err := os.Open(c.Users.Source)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("users.source: %w", err))...)
		}
		defer f.Close()
		if _, err := ReadAccounts(c, c.Users.Source, f); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// behindNAT says that local_networks names networks apart from others, and yet no address is told to those.
func behindNAT(c *Config) bool {
	if c.Advertise.IsValid() || len(c.LocalNetworks) == 0 {
		return false
	}
	for _, n := range names(*c) {
		if a, err := netip.ParseAddr(strings.Trim(n, "[]")); err == nil && !a.IsPrivate() && !a.IsLoopback() {
			return false
		}
	}
	return true
}
