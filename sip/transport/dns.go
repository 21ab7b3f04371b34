package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Resolver asks DNS. An answer of none says that there is none, an error that DNS does
// not say. Answers are shared: nobody may change them.
type Resolver interface {
	NAPTR(ctx context.Context, name string) ([]*dns.NAPTR, error)
	SRV(ctx context.Context, name string) ([]*dns.SRV, error) // in the order of DNS: Reach does the choosing
	Addrs(ctx context.Context, host string) ([]netip.Addr, error)
}

const (
	tryFor    = 700 * time.Millisecond // of one server; Reach as a whole has some seconds
	tries     = 2                      // of each server
	impatient = 800 * time.Millisecond // for all servers, when the last good answer is at hand
	again     = 30 * time.Second       // resolv.conf is read
)

// errNoAnswer says that no server said anything of use.
var errNoAnswer = errors.New("name servers do not answer")

// DNS is a Resolver that asks the name servers itself, since the system's tells neither
// NAPTR nor how long an answer holds. What it learns it keeps: see known.
type DNS struct {
	hosts *net.Resolver // /etc/hosts alone, which comes first as everywhere
	known known

	mu      sync.Mutex // guards what follows
	servers []string   // host:port, asked in this order
	file    string     // resolv.conf, where they stand; "": they are constant
	read    time.Time
}

// NewDNS asks servers (host:port); without any those of /etc/resolv.conf.
func NewDNS(servers ...string) *DNS {
	d := &DNS{servers: servers, hosts: &net.Resolver{PreferGo: true, Dial: noDial}}
	if len(servers) == 0 {
		d.file = "/etc/resolv.conf"
	}
	return d
}

func noDial(context.Context, string, string) (net.Conn, error) { return nil, errNoAnswer }

// NAPTR is Resolver's.
func (d *DNS) NAPTR(ctx context.Context, name string) ([]*dns.NAPTR, error) {
	return lookup[*dns.NAPTR](ctx, d, name, dns.TypeNAPTR)
}

// SRV is Resolver's.
func (d *DNS) SRV(ctx context.Context, name string) ([]*dns.SRV, error) {
	return lookup[*dns.SRV](ctx, d, name, dns.TypeSRV)
}

// Addrs is Resolver's: IPv4 first, since over UDP a caller waits half a minute for an
// IPv6 that leads nowhere.
func (d *DNS) Addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	if all, err := d.hosts.LookupNetIP(ctx, "ip", host); err == nil && len(all) > 0 {
		return all, nil
	}
	if !d.serving() { // no resolv.conf, as on Windows: the system has its ways
		all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if no, found := errors.AsType[*net.DNSError](err); found && no.IsNotFound {
			err = nil
		}
		return all, err
	}
	var six []*dns.AAAA
	var sixErr error
	var wg sync.WaitGroup
	wg.Go(func() { six, sixErr = lookup[*dns.AAAA](ctx, d, host, dns.TypeAAAA) })
	four, err := lookup[*dns.A](ctx, d, host, dns.TypeA)
	wg.Wait()
	var all []netip.Addr
	for _, r := range four {
		all = appendAddr(all, r.A)
	}
	for _, r := range six {
		all = appendAddr(all, r.AAAA)
	}
	if len(all) > 0 {
		return all, nil
	}
	return nil, errors.Join(err, sixErr)
}

func appendAddr(all []netip.Addr, ip net.IP) []netip.Addr {
	if a, ok := netip.AddrFromSlice(ip); ok {
		return append(all, a.Unmap())
	}
	return all
}

// serving says that there are servers to ask.
func (d *DNS) serving() bool { return len(d.asked()) > 0 }

// asked is the servers. A laptop or a new lease has others.
func (d *DNS) asked() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file != "" && time.Since(d.read) > again {
		d.read = time.Now()
		if c, err := dns.ClientConfigFromFile(d.file); err == nil {
			d.servers = nil
			for _, s := range c.Servers {
				d.servers = append(d.servers, net.JoinHostPort(s, c.Port))
			}
		}
	}
	return d.servers
}

// lookup is the records of one kind that name has.
func lookup[R dns.RR](ctx context.Context, d *DNS, name string, kind uint16) (all []R, err error) {
	q := question{strings.ToLower(dns.Fqdn(name)), kind}
	records, state := d.known.recall(q)
	switch state {
	case unknown:
		records, err = d.ask(ctx, q)
	case stale:
		records = d.refresh(ctx, q, records)
	case lost:
		err = errNoAnswer
	}
	for _, r := range records {
		if one, is := r.(R); is {
			all = append(all, one)
		}
	}
	return all, err
}

// refresh asks q again, and keeps to the old answer when that does not come soon.
func (d *DNS) refresh(ctx context.Context, q question, old []dns.RR) []dns.RR {
	ctx, cancel := context.WithTimeout(ctx, impatient)
	defer cancel()
	if records, err := d.ask(ctx, q); err == nil {
		return records
	}
	return old
}

// ask asks one server after the other, and keeps the answer.
func (d *DNS) ask(ctx context.Context, q question) ([]dns.RR, error) {
	servers := d.asked()
	var last error = errNoAnswer
	for range tries {
		for _, s := range servers {
			m, err := d.exchange(ctx, q, s)
			if err == nil {
				records, ttl := answersTo(q, m)
				d.known.keep(q, records, ttl)
				return records, nil
			}
			last = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		d.known.lose(q)
	}
	return nil, fmt.Errorf("%w: %w", errNoAnswer, last)
}

// exchange is one question to one server: over TCP when the answer is cut short.
func (d *DNS) exchange(ctx context.Context, q question, server string) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	m := new(dns.Msg)
	m.SetQuestion(q.name, q.kind)
	m.SetEdns0(1232, false)
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network}
		r, _, err := c.ExchangeContext(ctx, m, server)
		switch {
		case err != nil:
			return nil, err
		case len(r.Question) != 1 || !strings.EqualFold(r.Question[0].Name, q.name) || r.Question[0].Qtype != q.kind:
			return nil, errors.New("answer to another question")
		case r.Truncated:
			continue
		case r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError:
			return nil, errors.New(dns.RcodeToString[r.Rcode])
		}
		return r, nil
	}
	return nil, errors.New("cut short over TCP")
}

// answersTo is what m says of q, following aliases, and how many seconds that holds.
// What it says of other names is not believed. That there is none holds as long as the
// zone says (RFC 2308 5).
func answersTo(q question, m *dns.Msg) (all []dns.RR, ttl uint32) {
	name, ttl := q.name, uint32(longest/time.Second)
	for range 8 { // aliases
		i := slices.IndexFunc(m.Answer, func(r dns.RR) bool {
			return r.Header().Rrtype == dns.TypeCNAME && strings.EqualFold(r.Header().Name, name)
		})
		if i < 0 {
			break
		}
		name, ttl = m.Answer[i].(*dns.CNAME).Target, min(ttl, m.Answer[i].Header().Ttl)
	}
	for _, r := range m.Answer {
		if h := r.Header(); h.Rrtype == q.kind && strings.EqualFold(h.Name, name) && len(all) < maxRecords {
			all, ttl = append(all, r), min(ttl, h.Ttl)
		}
	}
	if len(all) > 0 {
		return all, ttl
	}
	for _, r := range m.Ns {
		if soa, is := r.(*dns.SOA); is {
			return nil, min(soa.Hdr.Ttl, soa.Minttl, uint32(longestNone/time.Second))
		}
	}
	return nil, uint32(shortNone / time.Second)
}
