package office

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transport"
)

// foreign are the partners that are no siproam.
func (c *Config) foreign() (all []*roam.Partner) {
	for i := range c.Partners {
		if c.Partners[i].Foreign != nil {
			all = append(all, &c.Partners[i])
		}
	}
	return all
}

// foreignListeners is what the transport must know of them.
func foreignListeners(c *Config) (all []transport.Foreign) {
	for _, p := range c.foreign() {
		f := transport.Foreign{Office: p.Office, Listen: p.Foreign.Listen}
		for _, n := range p.Foreign.Sources {
			f.Sources = append(f.Sources, n.Masked())
		}
		all = append(all, f)
	}
	return all
}

// keepForeign leaves in cfg the foreign partners of was where they differ: their sockets are bound once. It says so.
func keepForeign(was, cfg *Config) (kept bool) {
	shape := func(c *Config) (all []roam.Partner) {
		for _, p := range c.foreign() {
			all = append(all, roam.Partner{Office: p.Office, Foreign: p.Foreign})
		}
		return all
	}
	if reflect.DeepEqual(shape(was), shape(cfg)) {
		return false
	}
	cfg.Partners = slices.DeleteFunc(slices.Clone(cfg.Partners), func(p roam.Partner) bool { return p.Foreign != nil })
	for _, p := range was.foreign() {
		cfg.Partners = append(cfg.Partners, *p)
	}
	return true
}

// foreign: a partner without a certificate is known by its addresses, at a listener of its own.
func (f *findings) foreign(c *Config, i int) {
	p := &c.Partners[i]
	is, path := p.Foreign, fmt.Sprintf("partners[%d].foreign", i)
	if p.Certificate != "" {
		f.at(fmt.Sprintf("partners[%d].certificate", i), "%q: a foreign partner has none, or it is none", p.Certificate)
	}
	if is.Registrar == "" && !is.Front {
		f.at(path, "neither registrar, as a home of visitors has, nor front: true")
	}
	if (is.Registrar == "") != (is.Domain == "") {
		f.at(path, "registrar and domain belong together: its users, and who knows them")
	}
	switch {
	case is.Domain == "":
	case !hostName.MatchString(is.Domain):
		f.at(path+".domain", "%q is not a domain name", is.Domain)
	case strings.EqualFold(is.Domain, c.Domain) || slices.ContainsFunc(c.Aliases, func(a string) bool { return strings.EqualFold(a, is.Domain) }):
		f.at(path+".domain", "%q is ours", is.Domain)
	}
	f.foreignAddresses(c, i, path)
	if e := is.Expires.D(); e != 0 && (e < time.Minute || e > time.Hour) {
		f.at(path+".expires", "%v is not between 1m and 1h", is.Expires)
	}
}

// foreignAddresses: where it is, and where we are for it.
func (f *findings) foreignAddresses(c *Config, i int, path string) {
	is := c.Partners[i].Foreign
	if len(is.Sources) == 0 {
		f.at(path+".sources", "missing: the addresses that it comes from")
	}
	for j, n := range is.Sources {
		if n.Bits() == 0 {
			f.at(fmt.Sprintf("%s.sources[%d]", path, j), "%v is everybody", n.Prefix)
		}
	}
	if is.Registrar != "" {
		u, err := sip.ParseURI([]byte(is.Registrar))
		ip, _ := netip.ParseAddr(strings.Trim(u.Host, "[]"))
		switch {
		case err != nil || u.Scheme != "sip":
			f.at(path+".registrar", "%q is not a SIP URI, such as sip:10.0.0.5:5060", is.Registrar)
		case u.User != "":
			f.at(path+".registrar", "%q names a user; it is the partner's", is.Registrar)
		case !slices.Contains([]string{"", "udp", "tcp"}, strings.ToLower(u.Transport())):
			f.at(path+".registrar", "%q: a partner without certificates speaks UDP or TCP", is.Registrar)
		case ip.IsValid() && !within(is.Sources, ip):
			f.at(path+".sources", "%v, the registrar, is not among them", ip)
		}
	}
	at := is.Listen
	if !at.IsValid() {
		f.at(path+".listen", "missing: our address for this partner alone, such as 10.2.0.1:5070")
	}
	for _, l := range c.Listen {
		if _, phones, err := splitListen(l); err == nil && overlap(at, phones) {
			f.at(path+".listen", "%v is for phones, too: there nobody is a partner", at)
		}
	}
	for j, o := range c.Partners[:i] {
		if o.Foreign == nil {
			continue
		}
		if overlap(at, o.Foreign.Listen) {
			f.at(path+".listen", "%v is the listener of partners[%d], too", at, j)
		}
		if is.Domain != "" && strings.EqualFold(is.Domain, o.Foreign.Domain) {
			f.at(path+".domain", "%q is that of partners[%d]", is.Domain, j)
		}
		for _, n := range is.Sources {
			if slices.ContainsFunc(o.Foreign.Sources, func(m roam.Net) bool { return n.Overlaps(m.Prefix) }) {
				f.at(path+".sources", "%v is partners[%d], too: it cannot be told who calls", n.Prefix, j)
			}
		}
	}
}

// within says that one of nets has a.
func within(nets []roam.Net, a netip.Addr) bool {
	return slices.ContainsFunc(nets, func(n roam.Net) bool { return n.Contains(a.Unmap()) })
}

// overlap says that two listeners would meet.
func overlap(a, b netip.AddrPort) bool {
	return a.Port() != 0 && a.Port() == b.Port() && (a.Addr() == b.Addr() || a.Addr().IsUnspecified() || b.Addr().IsUnspecified())
}
