package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Resolver asks DNS; *net.Resolver is one.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// maxHops is the most hops a name may have: each costs a caller the time of a transaction.
const maxHops = 16

// services is which SRV records lead to a transport (RFC 3263 4.1, 4.2).
var services = map[roam.Transport][2]string{
	roam.UDP: {"sip", "udp"},
	roam.TCP: {"sip", "tcp"},
	roam.TLS: {"sips", "tcp"},
}

// Reach gives the hops of u in the order to try them (RFC 3263). It waits for DNS.
// maddr is not obeyed. Errors: roam.NoRoute when the name leads nowhere, roam.Timeout
// when DNS does not say.
func (t *Transport) Reach(ctx context.Context, u sip.URI) ([]sip.Hop, error) {
	how, err := transportsOf(u)
	if err != nil {
		return nil, err
	}
	host := strings.Trim(u.Host, "[]")
	first := sip.Hop{Transport: how[0], Name: host}
	port := u.Port
	if port == 0 {
		port = defaultPort(first.Transport)
	}
	if ip, err := netip.ParseAddr(host); err == nil { // 4.2: no lookup
		first.Addr = netip.AddrPortFrom(ip, port).String()
		return []sip.Hop{first}, nil
	}
	if host == "" {
		return nil, fmt.Errorf("reach: no host: %w", roam.NoRoute)
	}
	if u.Port == 0 && host != "localhost" { // 4.2: a port given means no SRV
		if hops, err := t.byService(ctx, host, how); len(hops) > 0 || err != nil {
			return hops, err
		}
	}
	return t.byAddress(ctx, nil, first, host, port)
}

// transportsOf is what u allows, the preferred first; the first is meant without SRV (4.1).
func transportsOf(u sip.URI) ([]roam.Transport, error) {
	if u.Scheme != "sip" && u.Scheme != "sips" {
		return nil, fmt.Errorf("reach %s: %w", u.Scheme, roam.NoRoute)
	}
	name, _ := u.Params.Get("transport")
	name = strings.ToLower(name)
	switch {
	case name == "tls", u.Scheme == "sips" && (name == "" || name == "tcp"):
		return []roam.Transport{roam.TLS}, nil
	case u.Scheme == "sips": // never in the clear
	case name == "":
		return []roam.Transport{roam.UDP, roam.TCP}, nil
	case name == "udp":
		return []roam.Transport{roam.UDP}, nil
	case name == "tcp":
		return []roam.Transport{roam.TCP}, nil
	}
	return nil, fmt.Errorf("reach %s by %q: %w", u.Host, name, roam.NoRoute)
}

// byService follows SRV records, in the order of RFC 2782; none when the domain has none.
func (t *Transport) byService(ctx context.Context, host string, how []roam.Transport) (hops []sip.Hop, err error) {
	closed := false
	for _, transport := range how {
		s := services[transport]
		_, records, _ := t.resolver().LookupSRV(ctx, s[0], s[1], host) // on an error A and AAAA may answer yet
		for _, r := range records {
			if r.Target == "." || r.Target == "" { // RFC 2782: decidedly not here
				closed = true
				continue
			}
			hop := sip.Hop{Transport: transport, Name: host}
			if more, lookup := t.byAddress(ctx, hops, hop, strings.TrimSuffix(r.Target, "."), r.Port); lookup == nil {
				hops = more
			} else {
				err = lookup
			}
		}
	}
	switch {
	case len(hops) > 0:
		return hops, nil
	case closed && err == nil:
		err = fmt.Errorf("reach %s: no such service: %w", host, roam.NoRoute)
	}
	return nil, err
}

// byAddress appends a hop like h for each address of name.
func (t *Transport) byAddress(ctx context.Context, hops []sip.Hop, h sip.Hop, name string, port uint16) ([]sip.Hop, error) {
	addrs, err := t.resolver().LookupNetIP(ctx, "ip", name)
	if err == nil && len(addrs) == 0 {
		err = roam.NoRoute
	}
	switch {
	case err == nil:
	case missing(err):
		return nil, fmt.Errorf("reach %s: %w", name, roam.NoRoute)
	default:
		return nil, fmt.Errorf("reach %s: %w", name, roam.Timeout)
	}
	for _, a := range addrs[:min(len(addrs), maxHops-len(hops))] {
		h.Addr = netip.AddrPortFrom(a.Unmap(), port).String()
		hops = append(hops, h)
	}
	return hops, nil
}

func (t *Transport) resolver() Resolver {
	if t.cfg.Resolver != nil {
		return t.cfg.Resolver
	}
	return net.DefaultResolver
}

// missing says that DNS answered: there is no such name.
func missing(err error) bool {
	dns, found := errors.AsType[*net.DNSError](err)
	return err == roam.NoRoute || found && dns.IsNotFound
}
