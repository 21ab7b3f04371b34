package transport

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// maxHops is the most hops a name may have: each costs a caller the time of a transaction.
const maxHops = 16

// service is a name that has SRV records, and the transport they lead to.
type service struct {
	name      string
	transport roam.Transport
}

// services is which SRV names lead to a transport (RFC 3263 4.1, 4.2), and which NAPTR services.
var services = map[roam.Transport]struct{ srv, naptr string }{
	roam.UDP: {"_sip._udp.", "SIP+D2U"},
	roam.TCP: {"_sip._tcp.", "SIP+D2T"},
	roam.TLS: {"_sips._tcp.", "SIPS+D2T"},
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
		_, named := u.Params.Get("transport")
		if hops, err := t.byService(ctx, host, t.servicesOf(ctx, host, how, named)); len(hops) > 0 || err != nil {
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

// servicesOf is where to look for SRV: what the domain's NAPTR records say, unless the
// URI names its transport; without any, the name of each transport (4.1).
func (t *Transport) servicesOf(ctx context.Context, host string, how []roam.Transport, named bool) (all []service) {
	if !named {
		records, _ := t.cfg.Resolver.NAPTR(ctx, host) // on an error SRV may answer yet
		all = preferred(records, how)
	}
	if len(all) == 0 {
		for _, transport := range how {
			all = append(all, service{services[transport].srv + host, transport})
		}
	}
	return all
}

// preferred is the services of records that lead to one of the transports, in their
// order. Once an order has a service we have, later orders do not count (RFC 3403 4.1).
func preferred(records []*dns.NAPTR, how []roam.Transport) (all []service) {
	records = slices.Clone(records)
	slices.SortStableFunc(records, func(a, b *dns.NAPTR) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Preference, b.Preference))
	})
	var order uint16
	for _, r := range records {
		if len(all) > 0 && r.Order != order {
			break
		}
		i := slices.IndexFunc(how, func(t roam.Transport) bool { return strings.EqualFold(services[t].naptr, r.Service) })
		if i < 0 || !strings.EqualFold(r.Flags, "s") || r.Regexp != "" || len(all) == maxHops {
			continue
		}
		all, order = append(all, service{r.Replacement, how[i]}), r.Order
	}
	return all
}

// byService follows SRV records; no hop and no error when the domain has none. Every
// hop keeps host as its name: DNS does not vouch for certificates (RFC 5922 4).
func (t *Transport) byService(ctx context.Context, host string, all []service) (hops []sip.Hop, err error) {
	closed := false
	for _, s := range all {
		records, _ := t.cfg.Resolver.SRV(ctx, s.name) // on an error A and AAAA may answer yet
		for _, r := range drawn(records, rand.IntN) {
			target := strings.TrimSuffix(r.Target, ".")
			if target == "" { // RFC 2782: decidedly not here
				closed = true
				continue
			}
			if len(hops) == maxHops {
				return hops, nil
			}
			hop := sip.Hop{Transport: s.transport, Name: host}
			if more, lookup := t.byAddress(ctx, hops, hop, target, r.Port); lookup == nil {
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

// drawn is records in the order to try them: by priority, and among equals drawn by
// weight, so that each comes first as often as its weight says (RFC 2782). A weight of
// 0 is drawn rarely. below gives a number from 0 to n-1.
func drawn(records []*dns.SRV, below func(n int) int) []*dns.SRV {
	all := slices.Clone(records)
	slices.SortStableFunc(all, func(a, b *dns.SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(min(a.Weight, 1), min(b.Weight, 1)))
	})
	for i := range all {
		sum, end := 0, i
		for ; end < len(all) && all[end].Priority == all[i].Priority; end++ {
			sum += int(all[end].Weight)
		}
		mark, running := below(sum+1), 0
		for j := i; j < end; j++ {
			if running += int(all[j].Weight); running >= mark {
				one := all[j]
				copy(all[i+1:j+1], all[i:j]) // the others stay as they were
				all[i] = one
				break
			}
		}
	}
	return all
}

// byAddress appends a hop like h for each address of name.
func (t *Transport) byAddress(ctx context.Context, hops []sip.Hop, h sip.Hop, name string, port uint16) ([]sip.Hop, error) {
	addrs, err := t.cfg.Resolver.Addrs(ctx, name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reach %s: %w", name, roam.Timeout)
	case len(addrs) == 0:
		return nil, fmt.Errorf("reach %s: %w", name, roam.NoRoute)
	}
	for _, a := range addrs[:min(len(addrs), maxHops-len(hops))] {
		h.Addr = netip.AddrPortFrom(a.Unmap(), port).String()
		hops = append(hops, h)
	}
	return hops, nil
}
