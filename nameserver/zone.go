package nameserver

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Zone is what we answer ourselves.
type Zone struct {
	Domains []Domain
	Hosts   []Host // the softswitches, in the order in which phones should try them; without any nothing is answered
}

// Domain is a SIP domain whose phones belong here while they are here.
type Domain struct {
	Name string
	TLS  bool // the certificate phones see names it, so that they may be told of TLS (RFC 5922 4)
}

// Host is one softswitch as phones find it.
type Host struct {
	Name  string       // "sip.south.example"
	Addrs []netip.Addr // an unspecified one is the address of ours that was asked; none: the name is others' to answer
	UDP   uint16       // port; 0: it does not listen there
	TCP   uint16
	TLS   uint16
}

// services is the records below a domain, in the order in which NAPTR recommends them (RFC 3263 4.1).
var services = []struct {
	label, naptr string
	order        uint16
	port         func(Host) uint16
	tls          bool
}{
	{"_sips._tcp.", "SIPS+D2T", 10, func(h Host) uint16 { return h.TLS }, true},
	{"_sip._tcp.", "SIP+D2T", 20, func(h Host) uint16 { return h.TCP }, false},
	{"_sip._udp.", "SIP+D2U", 30, func(h Host) uint16 { return h.UDP }, false},
}

// answers is what there is at one name.
type answers struct {
	naptr []dns.NAPTR
	srv   []dns.SRV
	addrs []netip.Addr // of a host
	apex  []netip.Addr // of a domain, if addresses are configured
	zone  string       // the domain that the name belongs to, for negative answers
}

// zone is a Zone by canonical name: lower case, with the dot at the end.
type zone struct{ names map[string]*answers }

// compile makes z fit to be looked up. Names that are none are left out.
func (z Zone) compile() *zone {
	out := &zone{names: map[string]*answers{}}
	at := func(name, domain string) *answers {
		if out.names[name] == nil {
			out.names[name] = &answers{zone: domain}
		}
		return out.names[name]
	}
	var all []netip.Addr
	for _, h := range z.Hosts {
		all = append(all, h.Addrs...)
	}
	for _, d := range z.Domains {
		domain, ok := canonical(d.Name)
		if !ok || len(z.Hosts) == 0 || out.names[domain] != nil {
			continue
		}
		apex := at(domain, domain)
		apex.apex = all
		for _, s := range services {
			service := s.label + domain
			var srv []dns.SRV
			for i, h := range z.Hosts {
				name, ok := canonical(h.Name)
				if port := s.port(h); ok && port != 0 && (d.TLS || !s.tls) {
					srv = append(srv, dns.SRV{Priority: uint16(10 * (i + 1)), Port: port, Target: name})
				}
			}
			if len(srv) == 0 {
				continue
			}
			at(service, domain).srv = srv
			apex.naptr = append(apex.naptr, dns.NAPTR{Order: s.order, Preference: 10, Flags: "s", Service: s.naptr, Replacement: service})
		}
	}
	for _, h := range z.Hosts {
		if name, ok := canonical(h.Name); ok && len(h.Addrs) > 0 {
			a := at(name, z.domainOf(name))
			a.addrs = append(a.addrs, h.Addrs...)
		}
	}
	return out
}

// canonical is name as the map has it; ok: it is one.
func canonical(name string) (string, bool) {
	name = strings.ToLower(dns.Fqdn(name))
	_, ok := dns.IsDomainName(name)
	_, err := netip.ParseAddr(strings.TrimSuffix(name, "."))
	return name, ok && name != "." && err != nil
}

// domainOf is the domain of z that name is in, else name itself.
func (z Zone) domainOf(name string) string {
	best := ""
	for _, d := range z.Domains {
		if c, ok := canonical(d.Name); ok && dns.IsSubDomain(c, name) && len(c) > len(best) {
			best = c
		}
	}
	if best == "" {
		return name
	}
	return best
}

// answer is what z says to q, asked at our address to; nil: that is not ours to answer.
func (z *zone) answer(q *dns.Msg, to netip.Addr, cfg *Config) *dns.Msg {
	k := q.Question[0]
	a := z.names[strings.ToLower(k.Name)]
	if a == nil {
		return nil
	}
	w := &writer{z: z, to: to, cfg: cfg, ttl: uint32(cfg.TTL.D() / time.Second)}
	switch k.Qtype {
	case dns.TypeNAPTR:
		if len(a.naptr) == 0 {
			return nil
		}
		for _, n := range a.naptr {
			n.Hdr = w.header(k.Name, dns.TypeNAPTR)
			w.r.Answer = append(w.r.Answer, &n)
		}
	case dns.TypeSRV:
		if len(a.srv) == 0 {
			return nil
		}
		for _, s := range a.srv {
			s.Hdr = w.header(k.Name, dns.TypeSRV)
			w.r.Answer = append(w.r.Answer, &s)
			if h := z.names[s.Target]; h != nil {
				w.r.Extra = append(w.r.Extra, w.addrs(s.Target, h.addrs, 0)...)
			}
		}
	case dns.TypeA, dns.TypeAAAA:
		addrs := a.addrs
		if cfg.Addresses && len(addrs) == 0 {
			addrs = a.apex
		}
		if len(addrs) == 0 {
			return nil
		}
		if w.r.Answer = w.addrs(k.Name, addrs, k.Qtype); len(w.r.Answer) == 0 { // it has the other kind: there is no such data
			w.r.Ns = append(w.r.Ns, w.soa(a.zone))
		}
	default:
		return nil
	}
	w.r.Authoritative = true
	return &w.r
}

// writer makes the records of one answer.
type writer struct {
	r   dns.Msg
	z   *zone
	to  netip.Addr
	cfg *Config
	ttl uint32
}

func (w *writer) header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: w.ttl}
}

// addrs is the records of name's addresses, of one kind or (0) of both.
func (w *writer) addrs(name string, addrs []netip.Addr, kind uint16) (all []dns.RR) {
	var seen []netip.Addr
	for _, a := range addrs {
		if a.IsUnspecified() {
			a = w.here(a.Is4())
		}
		if a = a.Unmap().WithZone(""); !a.IsValid() || slices.Contains(seen, a) {
			continue
		}
		seen = append(seen, a)
		switch {
		case a.Is4() && kind != dns.TypeAAAA:
			all = append(all, &dns.A{Hdr: w.header(name, dns.TypeA), A: a.AsSlice()})
		case a.Is6() && kind != dns.TypeA:
			all = append(all, &dns.AAAA{Hdr: w.header(name, dns.TypeAAAA), AAAA: a.AsSlice()})
		}
	}
	return all
}

// here is the address of ours that the phone reaches: the one it asked, or of the other family the first where we are asked.
func (w *writer) here(four bool) netip.Addr {
	if w.to.Is4() == four {
		return w.to
	}
	for _, l := range w.cfg.Listen {
		if l.Addr().Is4() == four {
			return l.Addr()
		}
	}
	return netip.Addr{}
}

// soa says how long it holds that there is nothing (RFC 2308 3).
func (w *writer) soa(zone string) dns.RR {
	return &dns.SOA{Hdr: w.header(zone, dns.TypeSOA), Ns: zone, Mbox: "hostmaster." + zone, Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: w.ttl}
}
