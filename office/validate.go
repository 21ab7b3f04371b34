package office

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/siproam/siproam/config"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/softswitch/plan"
)

// findings collects what is wrong, each at its place.
type findings []error

func (f *findings) at(path, format string, args ...any) {
	*f = append(*f, &config.At{Path: "$." + path, Err: fmt.Errorf(format, args...)})
}

// Validate finds every mistake that can be seen without the files and the network. It is config.Validator's.
func (c *Config) Validate() error {
	var f findings
	f.names(c)
	f.listeners(c)
	f.section("overload", c.Overload.Validate())
	f.section("media", c.Media.Validate())
	f.section("numbers", plan.Validate(&c.Numbers))
	f.section("registration", c.Registration.Validate())
	f.demands("abilities.users", &c.Abilities.Users)
	f.demands("abilities.visitors", &c.Abilities.Visitors)
	f.section("routes", c.Routes.Validate())
	f.capacity(&c.Capacity)
	if c.Routes.Signed() && c.split() {
		f.at("routes.trust", "signed: not yet where registrar and softswitch are processes of their own")
	}
	f.silence("home_silent", &c.HomeSilent)
	f.partners(c)
	f.processes(c)
	f.dhcp(c)
	f.nameServer(c)
	f.settings(c)
	f.rest(c)
	return errors.Join(f...)
}

var (
	officeName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)
	optionTag  = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,63}$`)
	hostName   = regexp.MustCompile(`^([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)*[a-zA-Z]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$`)
)

// names: who we are. None of these has a default.
func (f *findings) names(c *Config) {
	switch {
	case c.Office == "":
		f.at("office", "missing: our name among the offices")
	case !officeName.MatchString(string(c.Office)):
		f.at("office", "%q is not a name of small letters, digits and dashes, at most 32", c.Office)
	}
	switch {
	case c.Domain == "":
		f.at("domain", "missing: the SIP domain of our users")
	case !hostName.MatchString(c.Domain):
		f.at("domain", "%q is not a domain name", c.Domain)
	}
	for i, a := range c.Aliases {
		if !hostName.MatchString(a) && !isAddr(a) {
			f.at(fmt.Sprintf("aliases[%d]", i), "%q is neither a name nor an address", a)
		}
	}
	switch {
	case c.State == "":
		f.at("state", "missing: the directory of office.db and the control socket")
	case !filepath.IsAbs(c.State):
		f.at("state", "%q is not an absolute path", c.State)
	}
	if _, err := time.LoadLocation(c.Timezone); err != nil {
		f.at("timezone", "%q is unknown here, want a name such as America/Chicago", c.Timezone)
	}
	for i, r := range c.Roles {
		switch r {
		case "registrar", "softswitch", "dhcp", "routesrv":
		default:
			f.at(fmt.Sprintf("roles[%d]", i), "%q is not a role; want registrar, softswitch, dhcp, routesrv", r)
		}
	}
}

// listeners: where we are, for phones and for other offices.
func (f *findings) listeners(c *Config) {
	if len(c.Listen) == 0 && c.has("softswitch") {
		f.at("listen", "empty: phones would reach nobody")
	}
	seen := map[string]bool{}
	for i, l := range c.Listen {
		path := fmt.Sprintf("listen[%d]", i)
		switch transport, _, err := splitListen(l); {
		case err != nil:
			f.at(path, "%v", err)
		case !slices.Contains([]string{"udp", "tcp", "tls", "ws", "wss"}, transport):
			f.at(path, "%q is not a transport; want udp, tcp, tls, ws or wss", transport)
		case seen[l] && !strings.HasSuffix(l, ":0"):
			f.at(path, "%s is given twice", l)
		}
		seen[l] = true
	}
	for i, o := range c.WebSocket.Origins {
		if u, err := url.Parse(o); err != nil || u.Scheme == "" || u.Hostname() == "" || o != u.Scheme+"://"+u.Host {
			f.at(fmt.Sprintf("websocket.origins[%d]", i), "%q is not the origin of a web page, such as https://phone.example.org", o)
		}
	}
	f.certificate(c)
	f.partnerSide(c)
	if c.Advertise.IsValid() && c.Advertise.IsUnspecified() {
		f.at("advertise", "%v is no address anybody could send to", c.Advertise)
	}
}

// certificate: whoever speaks TLS has one.
func (f *findings) certificate(c *Config) {
	if !c.speaksTLS() {
		return
	}
	who := "partner_listen"
	if c.Provision.TLS() {
		who = "provision.listen"
	}
	if i := slices.IndexFunc(c.Listen, overTLS); i >= 0 {
		who = "listen " + c.Listen[i]
	}
	for _, file := range []struct{ key, path string }{{"cert", c.TLS.Cert}, {"key", c.TLS.Key}} {
		if file.path == "" {
			f.at("tls."+file.key, "missing: %s needs it", who)
		}
	}
}

// partnerSide: the partner listener, its certificate and the URI we publish belong together.
func (f *findings) partnerSide(c *Config) {
	if c.PartnerListen == "" {
		if len(c.Partners) > len(c.foreign()) {
			f.at("partner_listen", "missing: other offices are listed under partners")
		}
		return
	}
	if transport, _, err := splitListen(c.PartnerListen); err != nil {
		f.at("partner_listen", "%v", err)
	} else if transport != "tls" {
		f.at("partner_listen", "%q: offices speak mutual TLS only, tls:[::]:5067", transport)
	}
	if c.TLS.PartnerCA == "" {
		f.at("tls.partner_ca", "missing: partner_listen needs it")
	}
	if c.URI == "" {
		f.at("uri", "missing: how other offices reach us, such as \"sip:sip.%s:5067;transport=tls\"", c.Domain)
		return
	}
	u, err := sip.ParseURI([]byte(c.URI))
	switch {
	case err != nil:
		f.at("uri", "%q is not a SIP URI", c.URI)
	case u.User != "":
		f.at("uri", "%q names a user; it is the office's", c.URI)
	case u.Transport() != "tls":
		f.at("uri", "%q: offices speak TLS, add ;transport=tls", c.URI)
	}
}

// capacity: an office that takes no visitors says so in its agreements.
func (f *findings) capacity(c *Capacity) {
	if c.Users < 0 {
		f.at("capacity.users", "%d is below 0", c.Users)
	}
	if c.Visitors < 1 {
		f.at("capacity.visitors", "%d is below 1; to take none, list no partners", c.Visitors)
	}
	if c.Calls < 1 {
		f.at("capacity.calls", "%d is below 1", c.Calls)
	}
}

// demands: transports that there are, option tags that are tokens, and nothing asked for and refused at once.
func (f *findings) demands(path string, d *roam.Demands) {
	for i, t := range d.Transports {
		if _, found := roam.TransportOf(t); !found {
			f.at(fmt.Sprintf("%s.transports[%d]", path, i), "%q is not a transport; want udp, tcp, tls, ws or wss", t)
		}
	}
	for key, tags := range map[string][]string{"require": d.Require, "refuse": d.Refuse} {
		for i, tag := range tags {
			if !optionTag.MatchString(tag) {
				f.at(fmt.Sprintf("%s.%s[%d]", path, key, i), "%q is not an option tag such as outbound or path", tag)
			} else if key == "refuse" && slices.Contains(d.Require, tag) {
				f.at(fmt.Sprintf("%s.%s[%d]", path, key, i), "%q stands under require, too", tag)
			}
		}
	}
}

// silence: the policy of M9.
func (f *findings) silence(path string, p *roam.SilencePolicy) {
	if !slices.Contains([]string{"refuse", "admit-known", "refuse-unrecorded"}, p.Policy) {
		f.at(path+".policy", "%q is not a policy; want refuse, admit-known or refuse-unrecorded", p.Policy)
	}
	for _, d := range []struct {
		key      string
		is       roam.Duration
		min, max time.Duration
	}{{"after", p.After, 100 * time.Millisecond, 30 * time.Second}, {"expires", p.Expires, 10 * time.Second, time.Hour}, {"resend_for", p.ResendFor, time.Minute, 30 * 24 * time.Hour}} {
		if d.is.D() < d.min || d.is.D() > d.max {
			f.at(path+"."+d.key, "%v is not between %v and %v", d.is, roam.Duration(d.min), roam.Duration(d.max))
		}
	}
}

// partners: each office once, each with a name of its own.
func (f *findings) partners(c *Config) {
	offices, names := map[roam.OfficeID]bool{}, map[string]bool{}
	for i := range c.Partners {
		p, path := &c.Partners[i], fmt.Sprintf("partners[%d]", i)
		switch {
		case p.Office == "":
			f.at(path+".office", "missing")
		case p.Office == c.Office:
			f.at(path+".office", "%q is ourselves", p.Office)
		case offices[p.Office]:
			f.at(path+".office", "%q is listed twice", p.Office)
		}
		name := strings.ToLower(p.Certificate)
		switch {
		case p.Foreign != nil:
			f.foreign(c, i)
		case name == "":
			f.at(path+".certificate", "missing: the name in its certificate is who it is")
		case names[name]:
			f.at(path+".certificate", "%q is another partner's name", p.Certificate)
		}
		offices[p.Office], names[name] = true, p.Foreign == nil
		if p.Visitors.Max < 0 {
			f.at(path+".visitors.max", "%d is below 0", p.Visitors.Max)
		}
		for i, d := range p.Domains {
			if !hostName.MatchString(d) {
				f.at(fmt.Sprintf("%s.domains[%d]", path, i), "%q is not a domain", d)
			}
		}
		f.lists(path+".visitors", p.Visitors.Allow, p.Visitors.Deny)
		f.lists(path+".roamers", p.Roamers.Allow, p.Roamers.Deny)
		if p.HomeSilent != nil {
			filled := p.HomeSilent.Over(c.HomeSilent)
			f.silence(path+".home_silent", &filled)
		}
	}
	for pattern, o := range c.Numbers.OtherOffices {
		if o == c.Office && o != "" {
			f.at("numbers.other_offices."+pattern, "%q is ourselves: that belongs under extensions", o)
		}
	}
}

// lists: one side of an agreement names users and classes, each once.
func (f *findings) lists(path string, allow, deny []string) {
	seen := map[string]string{}
	for _, list := range []struct {
		key     string
		entries []string
	}{{"allow", allow}, {"deny", deny}} {
		for i, e := range list.entries {
			at := fmt.Sprintf("%s.%s[%d]", path, list.key, i)
			class, isClass := strings.CutPrefix(e, roam.ClassOf)
			switch {
			case e == "" || strings.ContainsAny(e, " \t"):
				f.at(at, "%q is neither a user nor \"class:guest\"", e)
			case isClass && !roam.IsClass(class):
				f.at(at, "%q: a class is small letters, digits and dashes, at most 32", e)
			case seen[e] != "":
				f.at(at, "%q is in %s already", e, seen[e])
			}
			seen[e] = list.key
		}
	}
}

// rest: users, pages and logs.
func (f *findings) rest(c *Config) {
	if c.Users.Source == "" {
		f.at("users.source", "empty; want state or a CSV file")
	}
	if c.HTTP.Listen != "" {
		if _, err := splitHostPort(c.HTTP.Listen); err != nil {
			f.at("http.listen", "%v", err)
		}
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		f.at("log.level", "%q is not a level; want debug, info, warn or error", c.Log.Level)
	}
	if !slices.Contains([]string{"auto", "json", "text"}, c.Log.Format) {
		f.at("log.format", "%q is not a format; want auto, json or text", c.Log.Format)
	}
	if len(c.Log.SIP) > 1 && (slices.Contains(c.Log.SIP, "none") || slices.Contains(c.Log.SIP, "all")) {
		f.at("log.sip", "want none, all, or a list of users")
	}
}

// roleError is how roles word their mistakes: `ports: …`, `media.ports: …`, `extensions "2xxx": …`.
var roleError = regexp.MustCompile(`(?s)^(?:[a-z_]+\.)?([a-z_]+)(?: "([^"]*)")?: (.*)$`)

// section places the mistakes that a role found in its own section.
func (f *findings) section(name string, err error) {
	for _, one := range config.Flatten(err) {
		m := roleError.FindStringSubmatch(one.Error())
		if m == nil {
			f.at(name, "%w", one)
			continue
		}
		path, text := name+"."+m[1], m[3]
		switch {
		case m[1] == name:
			path = name
		case m[1] == "extensions" || m[1] == "other_offices":
			path += "." + m[2]
		case m[2] != "":
			text = strconv.Quote(m[2]) + ": " + text
		}
		f.at(path, "%s", text)
	}
}

// keyed is a mistake that begins with its key below the section: "subnets[0].pools[1]: ...".
var keyed = regexp.MustCompile(`(?s)^([a-z0-9_]+(?:\[\d+\])?(?:\.\w+(?:\[\d+\])?)*): (.*)$`)

// below places the mistakes of a part that names each by its key.
func (f *findings) below(section string, err error) {
	for _, one := range config.Flatten(err) {
		if m := keyed.FindStringSubmatch(one.Error()); m != nil {
			f.at(section+"."+m[1], "%s", m[2])
		} else {
			f.at(section, "%w", one)
		}
	}
}

// splitListen takes "udp:0.0.0.0:5060" apart.
func splitListen(s string) (transport string, addr netip.AddrPort, err error) {
	transport, rest, found := strings.Cut(s, ":")
	if !found {
		return "", addr, fmt.Errorf("%q is not transport:address:port, such as udp:0.0.0.0:5060", s)
	}
	addr, err = splitHostPort(rest)
	return transport, addr, err
}

// splitHostPort reads address:port; "localhost" is 127.0.0.1.
func splitHostPort(s string) (netip.AddrPort, error) {
	if port, found := strings.CutPrefix(s, "localhost:"); found {
		s = "127.0.0.1:" + port
	}
	addr, err := netip.ParseAddrPort(s)
	if err != nil {
		return addr, fmt.Errorf("%q is not address:port, such as 0.0.0.0:5060 or [::]:5060", s)
	}
	return addr, nil
}

func isAddr(s string) bool { return net.ParseIP(strings.Trim(s, "[]")) != nil }
