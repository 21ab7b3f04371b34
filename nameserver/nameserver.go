// Package nameserver is a small DNS answer in the office, for softphones that do not read DHCP: the SIP records of our
// domains and of our partners' lead to the softswitches of this office, so that an unmodified softphone set to
// north.example uses south's registrar while it is in south.
//
// It answers NAPTR of such a domain, SRV of _sip._udp, _sip._tcp and _sips._tcp below it, and A and AAAA of our hosts
// (RFC 3263, 2782, 3403). Every other question is put to the configured resolvers, or refused when there are none. It keeps
// nothing: a forged answer, should one get through, is believed by one phone once. Only configured networks may ask, each
// address of them so often; it is never an open resolver. It implements RFC 1035 over UDP and TCP (7766), EDNS0 (6891) and
// negative answers (2308), keeps the case of names as asked, and leaves out zone transfers, updates, DNSSEC of its own answers.
package nameserver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/rs/zerolog"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
)

// Config is office.yaml's "nameserver".
type Config struct {
	Listen    []netip.AddrPort `yaml:"listen"`     // UDP and TCP, an address each: "10.2.0.1:53"; none: no name server
	Networks  []netip.Prefix   `yaml:"networks"`   // who may ask; none: local_networks
	Forward   []Resolver       `yaml:"forward"`    // are asked for every other name, in this order; none: such a name is refused
	TTL       roam.Duration    `yaml:"ttl"`        // how long a phone may keep our answers, and so how long it looks for a softswitch that is gone; 30s
	Addresses bool             `yaml:"addresses"`  // A and AAAA of the domains themselves, too, for softphones that ask for no SRV; their web pages are not found then
	PerSecond int              `yaml:"per_second"` // questions of one address (IPv6: one /64); 0: no limit
	Burst     int              `yaml:"burst"`      // and at once by one that was silent before
}

// DefaultConfig listens nowhere.
func DefaultConfig() Config {
	return Config{TTL: roam.Duration(30 * time.Second), PerSecond: 50, Burst: 200}
}

// Resolver is a name server to ask: "192.0.2.53", or with a port "192.0.2.53:5353".
type Resolver struct{ netip.AddrPort }

// UnmarshalText reads either.
func (r *Resolver) UnmarshalText(b []byte) (err error) {
	if a, bad := netip.ParseAddr(string(b)); bad == nil {
		r.AddrPort = netip.AddrPortFrom(a, 53)
		return nil
	}
	r.AddrPort, err = netip.ParseAddrPort(string(b))
	return err
}

// MarshalText writes an address alone where the port is 53.
func (r Resolver) MarshalText() ([]byte, error) {
	if r.Port() == 53 {
		return r.Addr().MarshalText()
	}
	return r.AddrPort.MarshalText()
}

// On says that there is a name server.
func (c *Config) On() bool { return len(c.Listen) > 0 }

// Validate finds what is wrong, all at once; each error begins with its key.
func (c *Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) { errs = append(errs, fmt.Errorf(key+": "+format, args...)) }
	for i, l := range c.Listen {
		key := fmt.Sprintf("listen[%d]", i)
		switch {
		case l.Addr().IsUnspecified():
			bad(key, "%s is every address: name those that phones ask, since an answer must come from the one that was asked", l.Addr())
		case slices.Contains(c.Listen[:i], l) && l.Port() != 0:
			bad(key, "%s is given twice", l)
		}
	}
	for i, p := range c.Networks {
		key := fmt.Sprintf("networks[%d]", i)
		switch {
		case p.Bits() == 0:
			bad(key, "%s is everybody; a resolver that is open to everybody is used for attacks on others", p)
		case p != p.Masked():
			bad(key, "%s has bits outside its mask; %s is meant?", p, p.Masked())
		}
	}
	if c.On() && len(c.Networks) == 0 {
		bad("networks", "not given, and there are no local_networks: who may ask?")
	}
	for i, r := range c.Forward {
		key := fmt.Sprintf("forward[%d]", i)
		switch {
		case r.Port() == 0 || r.Addr().IsUnspecified() || r.Addr().IsMulticast():
			bad(key, "%s is not a server to ask", r.AddrPort)
		case slices.Contains(c.Listen, r.AddrPort):
			bad(key, "%s is ourselves: the question would go round for ever", r.AddrPort)
		}
	}
	if c.TTL.D() < time.Second || c.TTL.D() > time.Hour {
		bad("ttl", "%s is not between 1s and 1h", c.TTL)
	}
	if c.PerSecond < 0 || c.PerSecond > 1_000_000 {
		bad("per_second", "%d is not between 0, no limit, and 1000000", c.PerSecond)
	}
	if c.PerSecond > 0 && (c.Burst < 1 || c.Burst > 1_000_000) {
		bad("burst", "%d is not between 1 and 1000000", c.Burst)
	}
	return errors.Join(errs...)
}

// Server answers at the listeners of one office. Its methods are safe anywhere.
type Server struct {
	doors     []*door
	listeners []netip.AddrPort // as bound
	log       zerolog.Logger
	limit     *limiter
	forward   *forwarder
	wait      sync.WaitGroup // of questions under way

	conf atomic.Pointer[Config]
	zone atomic.Pointer[zone]

	count  *metric.Counter
	seldom metric.Seldom
}

// New makes a server that knows no domain yet; see [Server.Answer]. Listen binds, Run serves.
func New(cfg Config, m *metric.Set, log zerolog.Logger) *Server {
	s := &Server{log: log, limit: newLimiter(), count: m.Counter("nameserver_questions_total", "Questions of softphones to our name server.", "result")}
	s.forward = newForwarder(m)
	s.Reload(cfg)
	s.Answer(Zone{})
	return s
}

// Reload takes a new configuration; the listeners stay as they are.
func (s *Server) Reload(cfg Config) {
	cfg.Networks, cfg.Forward = slices.Clone(cfg.Networks), slices.Clone(cfg.Forward)
	s.limit.configure(cfg.PerSecond, cfg.Burst)
	s.conf.Store(&cfg)
}

// Answer has z answered from now on.
func (s *Server) Answer(z Zone) { s.zone.Store(z.compile()) }

// Addrs is the bound listeners.
func (s *Server) Addrs() []netip.AddrPort { return s.listeners }

// Listen binds every listener, UDP and TCP, or none.
func (s *Server) Listen() error {
	for _, l := range s.conf.Load().Listen {
		d, err := openDoor(l)
		if err != nil {
			s.close()
			return fmt.Errorf("nameserver %s: %w", l, err)
		}
		s.doors = append(s.doors, d)
		s.listeners = append(s.listeners, d.at)
	}
	return nil
}

func (s *Server) close() {
	for _, d := range s.doors {
		d.close()
	}
}

// Run answers until ctx ends or a listener fails. When it returns, the listeners are closed and all it started has ended.
func (s *Server) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	for _, d := range s.doors {
		wg.Go(func() { stop(s.datagrams(ctx, d)) })
		wg.Go(func() { stop(s.streams(ctx, d)) })
	}
	<-ctx.Done()
	s.close()
	wg.Wait()
	s.wait.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// admitted says that from may ask.
func (c *Config) admitted(from netip.Addr) bool {
	from = from.WithZone("")
	return slices.ContainsFunc(c.Networks, func(p netip.Prefix) bool { return p.Contains(from) })
}

// respond is the answer to one message that came from an address to the one of ours, over UDP or TCP. later is what is to be
// done for it elsewhere, since it waits for a resolver; with neither the message is dropped.
func (s *Server) respond(m []byte, from, to netip.Addr, stream bool) (answer []byte, later func(context.Context) []byte) {
	defer s.caught()
	q, code := read(m)
	if q == nil {
		s.count.Add(1, "dropped")
		return nil, nil
	}
	cfg := s.conf.Load()
	if code == dns.RcodeSuccess && !cfg.admitted(from) {
		code = dns.RcodeRefused
		if since, yes := s.seldom.Worth(time.Now(), "network"); yes {
			s.log.Warn().Str("event", "nameserver.refused").Stringer("remote_ip", from).Uint64("since", since).Msg("question from a network that may not ask")
		}
	}
	if code != dns.RcodeSuccess {
		s.count.Add(1, "refused")
		return failure(q, code), nil
	}
	if r := s.zone.Load().answer(q, to, cfg); r != nil {
		s.count.Add(1, "ours")
		r.RecursionAvailable = len(cfg.Forward) > 0
		return pack(q, r, room(q, stream)), nil
	}
	if len(cfg.Forward) == 0 || !q.RecursionDesired {
		s.count.Add(1, "refused")
		return failure(q, dns.RcodeRefused), nil
	}
	return nil, func(ctx context.Context) []byte { return s.forwarded(ctx, q, cfg.Forward, room(q, stream)) }
}

// forwarded is a resolver's answer to q, or that there is none. It waits.
func (s *Server) forwarded(ctx context.Context, q *dns.Msg, servers []Resolver, room int) []byte {
	defer s.caught()
	r, err := s.forward.ask(ctx, q, servers)
	if err != nil {
		s.count.Add(1, "failed")
		if since, yes := s.seldom.Worth(time.Now(), "forward"); yes {
			s.log.Warn().Str("event", "nameserver.forward").Err(err).Uint64("since", since).Msg("resolvers do not answer")
		}
		return failure(q, dns.RcodeServerFailure)
	}
	s.count.Add(1, "forwarded")
	return pack(q, r, room)
}

// caught keeps a panic to the question it happened in, which gets no answer.
func (s *Server) caught() {
	if v := recover(); v != nil {
		s.count.Add(1, "panic")
		s.log.Error().Str("event", "nameserver.panic").Str("err", fmt.Sprint(v)).Msg("panic caught")
	}
}
