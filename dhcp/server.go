package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/dhcp/lease"
	"github.com/siproam/siproam/dhcp/wire"
	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/store"
)

// ErrBeside says that another DHCP server answers on one of our interfaces.
var ErrBeside = errors.New("another DHCP server answers")

// Wire is the network; *wire.Wire.
type Wire interface {
	Run(ctx context.Context, take func(batch []wire.Datagram)) error
	Interfaces() []*wire.Interface
	Send(all []wire.Reply)
	Probe(ctx context.Context, index int, ip netip.Addr, not wire.MAC) (busy bool, err error)
	Servers(ctx context.Context, index int, six bool) ([]wire.Other, error)
}

// Server is the DHCP server of one office. Its methods run on the loop unless they take a ctx or say otherwise.
type Server struct {
	cfg     Config
	loop    *loop.Loop
	wire    Wire
	servers func() Servers
	log     zerolog.Logger

	nets      []*network // as in cfg.Subnets
	elsewhere *network   // clients in none of them: INFORM in mode proxy
	classes   []class    // as in cfg.Classes
	names     []string   // of the classes

	table   *lease.Table
	book    *book
	q       question                // the one being answered
	often   often                   // who sends too much
	probing map[netip.Addr]struct{} // addresses that are asked for now
	out     []wire.Reply            // of this turn
	alarm   loop.Timer              // when the next lease is over
	due     time.Time               // what it is set for
	over    []func(netip.Addr)
	known   func(mac string) bool
	secret  func(mac string) string
	ready   atomic.Bool // set once nobody else answers: until then nothing is read

	mu      sync.Mutex // guards trouble, and cfg outside the loop, which alone changes it
	trouble error

	messages  *metric.Counter
	probes    *metric.Counter
	others    *metric.Counter
	overloads *metric.Counter
	short     *metric.Value
	spoofs    *metric.Value
	seldom    metric.Seldom
}

// New makes the server of cfg, which Validate has passed, with the leases that are in f. servers says, on the loop, what
// option 120 tells. w is nil in no mode but none. It waits for the file.
func New(cfg Config, l *loop.Loop, f *store.File, w Wire, servers func() Servers, m *metric.Set, log zerolog.Logger) (*Server, error) {
	s := &Server{cfg: cfg, loop: l, wire: w, servers: servers, log: log, often: newOften(cfg.Limits.PerSecond), probing: map[netip.Addr]struct{}{},
		secret: func(string) string { return "" }}
	s.prepare()
	var err error
	if s.table, err = lease.New(cfg.leases()); err != nil {
		return nil, fmt.Errorf("dhcp: %w", err)
	}
	if s.book, err = openBook(f, l, s.table, log); err != nil {
		return nil, fmt.Errorf("dhcp: %w", err)
	}
	s.messages = m.Counter("dhcp_messages_total", "Messages of DHCP clients and what became of them.", "type", "result")
	s.probes = m.Counter("dhcp_probes_total", "Addresses asked for before they are offered or taken back: free, busy, error.", "result")
	s.others = m.Counter("dhcp_other_servers_total", "Signs of DHCP servers that are not ours.", "interface")
	s.short = m.Counter("dhcp_options_left_out_total", "Options that clients asked for and that had no room in the answer.").With()
	s.spoofs = m.Counter("dhcp_spoofed_total", "Addresses given back or declined in the name of a client that has them.").With()
	s.overloads = m.Overload()
	m.Gauge("dhcp_leases", "Addresses by state.", []string{"state"}, s.gauge)
	l.EachTurn(s.turn)
	return s, nil
}

// OnOver has fn told on the loop of each address whose lease is over, or goes to another client. Before Run.
func (s *Server) OnOver(fn func(netip.Addr)) { s.over = append(s.over, fn) }

// OnKnown has fn asked on the loop whether a phone is somebody's: such clients find an address when strangers do not. Before Run.
func (s *Server) OnKnown(fn func(mac string) bool) { s.known = fn }

// OnSecret has fn asked on the loop for the secret that stands in the URL of a phone's settings ({secret}). Before Run.
func (s *Server) OnSecret(fn func(mac string) string) { s.secret = fn }

// Run serves until ctx ends, and returns what wire's Run returns. While another server answers on an interface and the
// configuration does not say that one may, nothing is served: see [Server.Trouble].
func (s *Server) Run(ctx context.Context) error {
	run, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ended := make(chan error, 1)
	go func() { ended <- s.wire.Run(run, s.take) }() // heard below
	s.await(run)
	s.ready.Store(run.Err() == nil)
	s.log.Info().Str("event", "dhcp.serve").Str("mode", s.config().Mode).Strs("interfaces", s.config().Interfaces).Msg("DHCP serves")
	watched := make(chan struct{})
	go func() { defer close(watched); s.watch(run) }()
	err := <-ended
	stop(nil)
	<-watched
	return err
}

// lookAgain is how often it is looked whether the server that keeps us from serving has gone.
const lookAgain = 30 * time.Second

// await waits until we may serve. An office's calls do not stop for somebody who plugs in a router of his own.
func (s *Server) await(ctx context.Context) {
	for {
		err := s.alone(ctx)
		s.mu.Lock()
		s.trouble = err
		s.mu.Unlock()
		if err == nil || ctx.Err() != nil {
			return
		}
		s.log.Error().Str("event", "dhcp.beside").Err(err).Msg("DHCP is not served")
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookAgain):
		}
	}
}

// config is the configuration in force, from any goroutine.
func (s *Server) config() Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg
}

// Trouble is why nothing is served, or not everywhere: ErrBeside, or an interface that is not there. From any goroutine.
func (s *Server) Trouble() error {
	s.mu.Lock()
	err := s.trouble
	s.mu.Unlock()
	if err != nil {
		return err
	}
	there := s.wire.Interfaces()
	for _, name := range s.config().Interfaces {
		if !slices.ContainsFunc(there, func(i *wire.Interface) bool { return i.Name == name }) {
			return fmt.Errorf("%w: %s", wire.ErrNoInterface, name)
		}
	}
	return nil
}

// alone says that nobody else answers where we are to give addresses.
func (s *Server) alone(ctx context.Context) error {
	if cfg := s.config(); cfg.Mode != "server" || cfg.Beside || cfg.Share.Of > 1 {
		return nil
	}
	if others := s.look(ctx); len(others) > 0 {
		o := others[0]
		return fmt.Errorf("%w on %s: %v, %v; to serve beside it set dhcp.beside: true", ErrBeside, o.Interface, o.ID, o.MAC)
	}
	return nil
}

// take has a batch answered on the loop. It is called by wire's readers.
func (s *Server) take(batch []wire.Datagram) {
	if !s.ready.Load() {
		return
	}
	if s.loop.PostTo(loop.Last, func() { s.serve(batch) }) != nil {
		s.overloads.Add(uint64(len(batch)), "dhcp")
	}
}

func (s *Server) serve(batch []wire.Datagram) {
	for i := range batch {
		if batch[i].Six() {
			s.serve6(&batch[i])
		} else {
			s.serve4(&batch[i])
		}
	}
	s.expire()
}

// send sends r at the end of the turn.
func (s *Server) send(r wire.Reply) { s.out = append(s.out, r) }

// turn ends one: everything that is to be said goes out at once.
func (s *Server) turn() {
	if len(s.out) > 0 {
		s.wire.Send(s.out)
		clear(s.out)
		s.out = s.out[:0]
	}
	s.book.turn()
}

// keep stores l and then sends r; before is what the address was. When it cannot be stored nothing is said, and the
// client asks again.
func (s *Server) keep(l, before lease.Lease, r wire.Reply) {
	if before.State == lease.Bound && before.MAC != l.MAC {
		s.ended(l.Addr)
	}
	s.book.keep(l, func(err error) {
		if err != nil {
			s.log.Error().Str("event", "dhcp.store").Str("mac", l.MAC).Stringer("ip", l.Addr).Err(err).Msg("lease not stored")
			return
		}
		s.send(r)
		e := s.log.Debug()
		if before.State != lease.Bound || before.Client != l.Client {
			e = s.log.Info()
		}
		e.Str("event", "dhcp.ack").Str("mac", l.MAC).Stringer("ip", l.Addr).Str("host", l.Host).Str("port", l.Port).
			Dur("lease_ms", l.Time).Msg("address given")
	})
}

// change stores what became of a lease that is the client's no more.
func (s *Server) change(l lease.Lease, changed bool) {
	if !changed {
		return
	}
	s.ended(l.Addr)
	s.book.keep(l, func(err error) {
		if err != nil {
			s.log.Error().Str("event", "dhcp.store").Stringer("ip", l.Addr).Err(err).Msg("lease not stored")
		}
	})
}

func (s *Server) ended(ip netip.Addr) {
	for _, fn := range s.over {
		fn(ip)
	}
}

// Alarm ends what is over.
func (s *Server) Alarm(*loop.Timer) {
	for _, l := range s.table.Expire(s.loop.Now()) {
		s.log.Info().Str("event", "dhcp.expired").Str("mac", l.MAC).Stringer("ip", l.Addr).Msg("lease over")
		s.ended(l.Addr)
	}
	s.expire()
}

// leastWait is how long the ends of leases may be late, so that many come at once.
const leastWait = time.Second

// expire sets the alarm for the next end there is.
func (s *Server) expire() {
	next := s.table.Next()
	if next.IsZero() || s.alarm.IsSet() && !next.Before(s.due) {
		return
	}
	s.due = next
	s.loop.Set(&s.alarm, max(next.Sub(s.loop.Now()), leastWait), s)
}

// At says which phone has ip, and when it was plugged in; it is registrar.Leases'.
func (s *Server) At(ip netip.Addr) (roam.Lease, bool) {
	l, found := s.table.At(ip.Unmap())
	if !found || l.State != lease.Bound {
		return roam.Lease{}, false
	}
	return roam.Lease{MAC: l.MAC, Plugged: l.Plugged, Port: l.Port, Subnet: l.Subnet, Site: s.cfg.Site(l.Addr, l.Port), Since: l.Since, Until: l.Until, Host: l.Host, Vendor: l.Vendor}, true
}

// Leases is every address that somebody has, was offered or had, by address.
func (s *Server) Leases(ctx context.Context) (all []lease.Lease, err error) {
	err = s.loop.Do(ctx, func() {
		for l := range s.table.All {
			all = append(all, l)
		}
	})
	slices.SortFunc(all, func(a, b lease.Lease) int { return a.Addr.Compare(b.Addr) })
	return all, err
}

// Counts is how many addresses of each subnet are in each state.
func (s *Server) Counts(ctx context.Context) (all []lease.Count, err error) {
	err = s.loop.Do(ctx, func() { all = s.table.Counts() })
	return all, err
}

// gaugeWithin is how long who looks at the metrics waits for the loop.
const gaugeWithin = time.Second

func (s *Server) gauge(emit func(v float64, labels ...string)) {
	ctx, stop := context.WithTimeout(context.Background(), gaugeWithin)
	defer stop()
	counts, err := s.Counts(ctx)
	if err != nil {
		return
	}
	var all lease.Count
	for _, c := range counts {
		all.Free, all.Offered, all.Bound, all.Declined = all.Free+c.Free, all.Offered+c.Offered, all.Bound+c.Bound, all.Declined+c.Declined
	}
	emit(float64(all.Free), "free")
	emit(float64(all.Offered), "offered")
	emit(float64(all.Bound), "bound")
	emit(float64(all.Declined), "declined")
}

// count counts a message.
func (s *Server) count(k kind, r result) { s.messages.With(k.String(), string(r)).Add(1) }

// traced is a line for each message, at debug.
func (s *Server) traced(q *question, d *wire.Datagram, r result) {
	if e := s.log.Debug(); e.Enabled() {
		e.Str("event", "dhcp.message").Stringer("type", q.m.kind).Str("result", string(r)).Str("interface", d.Interface.Name).
			Stringer("from", d.From).Str("mac", q.ask.MAC).Msg("DHCP message")
	}
}
