package office

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/nameserver"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// nameServer is office.yaml's "nameserver" with what it leaves to the rest of the file filled in.
func (c *Config) nameServer() nameserver.Config {
	n := c.NameServer
	if len(n.Networks) == 0 {
		n.Networks = c.LocalNetworks
	}
	return n
}

// nameServer: the name server is where the registrar is, and not for everybody.
func (f *findings) nameServer(c *Config) {
	n := c.nameServer()
	f.below("nameserver", n.Validate())
	if n.On() && !c.has("registrar") {
		f.at("nameserver.listen", "the registrar's process knows which softswitches live: it is the one to have the name server")
	}
}

// listenNames binds the name server's listeners, if there is one.
func (o *Office) listenNames() error {
	if o.names == nil {
		return nil
	}
	return o.names.Listen()
}

// Names is where our name server is asked, once Ready; none: there is no name server.
func (o *Office) Names() []netip.AddrPort {
	if o.names == nil {
		return nil
	}
	return o.names.Addrs()
}

// naming tells the name server who belongs here: our domains and those of partners whose users may visit, and where the
// softswitches are that live. It is on the loop.
type naming struct {
	o       *Office
	domains map[roam.OfficeID][]string // of partners, as R said last
	said    nameserver.Zone
}

// nameZone has the name server know by and by what changes, from the loop's first turn on.
func (o *Office) nameZone() {
	n := &naming{o: o, domains: map[roam.OfficeID][]string{}}
	o.loop.After(0, n.look)
}

func (n *naming) look() {
	cfg := n.o.Config()
	for _, p := range cfg.Partners {
		switch {
		case p.Foreign != nil:
			n.domains[p.Office] = nil
			if p.Foreign.Domain != "" {
				n.domains[p.Office] = []string{p.Foreign.Domain}
			}
		case len(p.Domains) > 0:
			n.domains[p.Office] = p.Domains
		default:
			if card, found := n.o.reg.OfficeCard(p.Office); found && len(n.domains[p.Office]) == 0 {
				n.domains[p.Office] = card.Domains
			}
			n.o.routes.Peer(p.Office, func(is roam.Peer, err error) {
				if err == nil { // else the last word stands: visitors come while the routing store is away, too
					n.domains[p.Office] = is.Domains
				}
			})
		}
	}
	if z := n.zone(&cfg); !reflect.DeepEqual(z, n.said) {
		n.said = z
		n.o.names.Answer(z)
	}
	n.o.loop.After(n.again(&cfg), n.look)
}

// again is when to look once more: soon while there are partners of whom nothing is known, as at the start.
func (n *naming) again(cfg *Config) time.Duration {
	for _, p := range cfg.Partners {
		if _, known := n.domains[p.Office]; !known && time.Since(n.o.made) < time.Minute {
			return lookEvery / 20
		}
	}
	return lookEvery
}

// zone is what the name server answers now.
func (n *naming) zone(cfg *Config) nameserver.Zone {
	var z nameserver.Zone
	add := func(domain string) {
		domain = strings.ToLower(domain)
		if isAddr(domain) || slices.ContainsFunc(z.Domains, func(d nameserver.Domain) bool { return d.Name == domain }) {
			return
		}
		z.Domains = append(z.Domains, nameserver.Domain{Name: domain, TLS: certifies(n.o.partners.cert.Load(), domain)})
	}
	for _, d := range append([]string{cfg.Domain}, cfg.Aliases...) {
		add(d)
	}
	for _, p := range cfg.Partners {
		if p.Visitors.Max > 0 {
			for _, d := range n.domains[p.Office] {
				add(d)
			}
		}
	}
	z.Hosts = n.o.hosts(cfg)
	return z
}

// certifies says that a certificate names domain, letter by letter, as phones should want it (RFC 5922 7.2: no wildcards).
func certifies(cert *tls.Certificate, domain string) bool {
	if cert == nil || cert.Leaf == nil {
		return false
	}
	for _, u := range cert.Leaf.URIs {
		if strings.EqualFold(u.String(), "sip:"+domain) {
			return true
		}
	}
	return slices.ContainsFunc(cert.Leaf.DNSNames, func(name string) bool { return strings.EqualFold(name, domain) })
}

// hosts is the softswitches for phones, best first: ourselves, or those of an office that has them in other processes. It is
// on the loop.
func (o *Office) hosts(cfg *Config) (all []nameserver.Host) {
	if o.far == nil {
		return []nameserver.Host{ownHost(cfg, o.transport.Addrs())}
	}
	for i, s := range o.softswitches() {
		if !s.Up {
			continue
		}
		if h, ok := hostAt(s.Phones, fmt.Sprintf("softswitch-%d.%s", i+1, cfg.Domain)); ok {
			all = append(all, h)
		}
	}
	return all
}

// ownHost is the softswitch in this process, at its listeners for phones. Of several ports of one transport the first counts.
func ownHost(cfg *Config, bound []string) nameserver.Host {
	h := nameserver.Host{Name: "softswitch." + cfg.Domain}
	if u, err := sip.ParseURI([]byte(cfg.URI)); err == nil && !isAddr(u.Host) {
		h.Name = u.Host // the certificate is likely to name it
	}
	for _, l := range bound {
		transport, at, err := splitListen(l)
		port := map[string]*uint16{"udp": &h.UDP, "tcp": &h.TCP, "tls": &h.TLS}[transport]
		if err != nil || port == nil || *port != 0 && *port != at.Port() {
			continue
		}
		*port = at.Port()
		addrs := []netip.Addr{at.Addr()}
		if at.Addr() == netip.IPv6Unspecified() { // IPv4, too
			addrs = append(addrs, netip.IPv4Unspecified())
		}
		for _, a := range addrs {
			if !slices.Contains(h.Addrs, a) {
				h.Addrs = append(h.Addrs, a)
			}
		}
	}
	return h
}

// hostAt is a softswitch where phones is the SIP URI at which they find it; one that is an address is called name. A name that
// stands in phones is for others to resolve.
func hostAt(phones, name string) (h nameserver.Host, ok bool) {
	u, err := sip.ParseURI([]byte(phones))
	if phones == "" || err != nil {
		return h, false
	}
	h.Name = u.Host
	if a, err := netip.ParseAddr(strings.Trim(u.Host, "[]")); err == nil {
		h.Name, h.Addrs = name, []netip.Addr{a}
	}
	plain, secure := u.Port, u.Port
	if u.Port == 0 {
		plain, secure = 5060, 5061
	}
	switch t := u.Transport(); {
	case t == "tls" || u.Scheme == "sips":
		h.TLS = secure
	case t == "tcp":
		h.TCP = plain
	case t == "udp":
		h.UDP = plain
	default:
		h.UDP, h.TCP = plain, plain
	}
	return h, true
}
