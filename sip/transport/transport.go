// Package transport owns the sockets (RFC 3261 18, 3581, 5626) and finds hops (RFC 3263).
//
// It reads, bounds and parses what arrives, answers what cannot be parsed, answers
// keep-alives (CRLF, STUN), and hands the rest over a batch at a time. It keeps no
// transaction and knows no policy but who may connect.
//
// A response goes back by the flow its request came by: to the source of a datagram
// whatever Via says (RFC 3581 4 for everybody; maddr and sent-by are not obeyed, since
// they would let a stranger aim our answers), and never by a connection of our making.
package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Receiver takes what arrived, in order, a batch at a time. It is called on the
// readers' goroutines; the messages borrow buffers, and the batch itself, until
// release is called.
type Receiver interface {
	Receive(batch []*sip.Message, release func())
	Closed(f *sip.Flow) // a connection ended by itself; never called for UDP, nor for what Serve closes at its end
}

// Config is where to listen and how others see us.
type Config struct {
	Listen            []string       // phones: "udp:0.0.0.0:5060", "tcp:[::]:5060", "tls:[::]:5061", "ws:[::]:8088", "wss:[::]:8089"; port 0: any
	PhoneTLS          *tls.Config    // our certificate for phones; needed by "tls:" and "wss:" in Listen
	Origins           []string       // of pages that may open a WebSocket, "https://phone.example.org"; those of Names may, too
	Names             []string       // hosts that mean us
	PartnerListen     string         // partners: "tls:[::]:5067"; "": none
	PartnerTLS        *tls.Config    // mutual TLS, both for accepting and dialling partners
	Foreign           []Foreign      // partners without certificates, each with a listener of its own
	URI               sip.URI        // how other offices reach us: Here of partner flows
	Advertise         netip.Addr     // told to anyone outside LocalNetworks; invalid: the interface's
	LocalNetworks     []netip.Prefix // these see the address of the interface they came in on
	Boot              uint64         // grows with every start: makes connection ids unique
	DSCP              int            // of signalling; 24 is CS3
	MaxConns          int            // connections of phones, and apart from these of partners; 0: 10,000
	MaxConnsPerSource int            // of one address (IPv6: one /64); 0: 1,000
	Idle              time.Duration  // a phone's connection without traffic is closed; 0: 10 min
	Resolver          Resolver       // nil: NewDNS()
	Overload          Overload       // the zero value: no limits
}

// ErrGone says that the path of a flow is no more: its connection ended, or the socket is not ours.
var ErrGone = errors.New("connection gone")

// ErrTooLong says that a message does not fit a datagram.
var ErrTooLong = errors.New("message too long for UDP")

// ErrFull says that the other end does not read: its connection was closed.
var ErrFull = errors.New("connection does not take more")

// Tap sees every message as it was received or sent. b is borrowed.
type Tap func(f *sip.Flow, sent bool, b []byte)

// Transport is every socket of one office.
type Transport struct {
	cfg      Config
	identify func(*sip.Flow) roam.OfficeID
	limits   limits
	limit    *limiter
	log      zerolog.Logger
	noisy    zerolog.Logger // for what a stranger can cause as often as he likes
	count    *counters
	machine  machine
	batches  sync.Pool
	parse    func([]byte, *sip.Message) error // sip.Parse

	sockets []*socket // UDP, in the order of Listen; constant after Listen
	doors   []*door   // stream listeners, likewise
	places  []place   // all of them, as Addrs tells

	taps     atomic.Pointer[[]*Tap] // never changed, only replaced, under mu
	receiver Receiver               // set by Serve before anything reads
	wg       sync.WaitGroup         // everything Serve must wait for
	ending   chan struct{}          // closed when Serve begins to end

	mu      sync.RWMutex // guards what follows
	state   state
	lastID  uint32
	conns   map[uint64]*conn       // living, by Flow.Conn
	pool    map[sip.Hop]*dialing   // connections of our making, and those under way
	renewed map[sip.Hop]*dialing   // under way, to take the place of one in pool: see Renew
	guests  map[*net.TCPConn]guest // phones', by what was accepted
	sources map[netip.Addr]int     // accepted connections by source
	kinds   [kinds]int             // connections by kind
}

type state uint8

const (
	idle state = iota
	listening
	serving
	ended
)

// limits are the times after which a connection is given up.
type limits struct {
	first   time.Duration // for the TLS handshake, and again to the first octets
	message time.Duration // from a message's first octet to its last
	idle    time.Duration // without anything from a phone
	pulse   time.Duration // the same from a WebSocket, until it is asked whether it lives: no page can do that by itself
	write   time.Duration // for the other end to take what is written
	drain   time.Duration // for last words before closing
	dial    time.Duration // to connect, TLS handshake included
}

// New opens nothing. identify names the partner whose certificate names a flow
// has, "" for none: such a connection to the partner listener is closed.
func New(cfg Config, identify func(*sip.Flow) roam.OfficeID, m *metric.Set, log zerolog.Logger) *Transport {
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 10_000
	}
	if cfg.MaxConnsPerSource == 0 {
		cfg.MaxConnsPerSource = 1_000
	}
	if cfg.Idle == 0 {
		cfg.Idle = 10 * time.Minute
	}
	if cfg.Resolver == nil {
		cfg.Resolver = NewDNS()
	}
	t := &Transport{
		cfg:      cfg,
		identify: identify,
		limits: limits{first: 10 * time.Second, message: 30 * time.Second, idle: cfg.Idle, pulse: 30 * time.Second,
			write: 10 * time.Second, drain: 2 * time.Second, dial: 10 * time.Second},
		log:     log,
		noisy:   log.Sample(&zerolog.BurstSampler{Burst: 10, Period: time.Second}),
		parse:   sip.Parse,
		conns:   map[uint64]*conn{},
		pool:    map[sip.Hop]*dialing{},
		renewed: map[sip.Hop]*dialing{},
		guests:  map[*net.TCPConn]guest{},
		sources: map[netip.Addr]int{},
		ending:  make(chan struct{}),
	}
	t.count = newCounters(m, t.connections)
	t.limit = newLimiter(cfg.Overload, m, log)
	t.batches.New = func() any { return newBatch(&t.batches) }
	return t
}

// Serve reads until ctx ends, then closes everything and waits for what it started.
// It returns nil when ctx ended it, else the first listener's error. It may be called
// once; with a ctx that has ended it only undoes Listen.
func (t *Transport) Serve(ctx context.Context, r Receiver) error {
	run, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	t.mu.Lock()
	if t.state != listening {
		t.mu.Unlock()
		return errors.New("serve: not listening")
	}
	t.state, t.receiver = serving, r
	t.mu.Unlock()
	for _, s := range t.sockets {
		t.wg.Go(func() { fail(s.serve()) })
	}
	for _, d := range t.doors {
		t.wg.Go(func() { fail(d.serve(run)) })
	}
	<-run.Done()
	t.close()
	t.wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(run)
}

// close is the start in reverse: no new connections, last words, no sockets.
func (t *Transport) close() {
	t.mu.Lock()
	t.state = ended
	close(t.ending)
	conns := make([]*conn, 0, len(t.conns))
	for _, c := range t.conns {
		conns = append(conns, c)
	}
	for _, dialled := range []map[sip.Hop]*dialing{t.pool, t.renewed} {
		for _, d := range dialled {
			d.cancel()
		}
	}
	t.mu.Unlock()
	for _, d := range t.doors {
		d.l.Close()
	}
	for _, c := range conns {
		c.leave()
	}
	t.Flush()
	for _, s := range t.sockets {
		s.c.Close()
	}
}

// Tap has every message shown to tap, until the returned function is called. tap is
// called on many goroutines, in the midst of receiving and sending: it must be quick.
func (t *Transport) Tap(tap Tap) (stop func()) {
	mine := &tap
	t.changeTaps(func(all []*Tap) []*Tap { return append(all, mine) })
	return func() {
		t.changeTaps(func(all []*Tap) []*Tap {
			return slices.DeleteFunc(all, func(p *Tap) bool { return p == mine })
		})
	}
}

func (t *Transport) changeTaps(change func([]*Tap) []*Tap) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*Tap
	if old := t.taps.Load(); old != nil {
		all = slices.Clone(*old)
	}
	if all = change(all); len(all) == 0 {
		t.taps.Store(nil)
		return
	}
	t.taps.Store(&all)
}

func (t *Transport) show(f *sip.Flow, sent bool, b []byte) {
	if all := t.taps.Load(); all != nil {
		for _, tap := range *all {
			(*tap)(f, sent, b)
		}
	}
}

// Send queues b for f and never blocks. A UDP datagram leaves at Flush; a connection
// whose queue is full is closed. It never dials. b may be reused when Send returns.
// Errors: ErrGone, ErrTooLong, ErrFull.
func (t *Transport) Send(f *sip.Flow, b []byte) error { return t.send(f, b, false) }

// SendNow is Send without waiting for Flush, for goroutines that have no turns: an
// answer given on a reader's goroutine.
func (t *Transport) SendNow(f *sip.Flow, b []byte) error { return t.send(f, b, true) }

func (t *Transport) send(f *sip.Flow, b []byte, now bool) error {
	var err error
	if f.Transport == roam.UDP {
		err = t.sendDatagram(f, b, now)
	} else {
		err = t.sendStream(f, b)
	}
	if err != nil {
		return err
	}
	t.count.sent(f.Transport, b)
	return nil
}

func (t *Transport) sendDatagram(f *sip.Flow, b []byte, now bool) error {
	s := t.socketOf(f.Local)
	switch {
	case s == nil:
		return ErrGone
	case len(b) > maxDatagram:
		return ErrTooLong
	}
	t.show(f, true, b) // first: whoever sees both ends sees it sent before it is received
	if now {
		return s.sendNow(f, b)
	}
	s.queue(f, b)
	return nil
}

func (t *Transport) sendStream(f *sip.Flow, b []byte) error {
	t.mu.RLock()
	c := t.conns[f.Conn]
	t.mu.RUnlock()
	if c == nil {
		return ErrGone
	}
	t.show(f, true, b)
	return c.send(b)
}

// Flush sends what the turn queued for UDP (sendmmsg).
func (t *Transport) Flush() {
	for _, s := range t.sockets {
		s.flush()
	}
}

// Find gives the living flow that key names: the open connection, or the UDP path
// from our socket. found is false for a connection that is gone, and for a path from
// an address this machine no longer has.
func (t *Transport) Find(key roam.Flow) (f *sip.Flow, found bool) {
	if key.Transport == roam.UDP {
		s := t.socketOf(key.Local)
		if s == nil || s.wild && !t.machine.has(key.Local.Addr()) {
			return nil, false
		}
		return s.flow(key.Remote, key.Local.Addr()), true
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	c := t.conns[key.Conn]
	if c == nil || c.flow.Flow != key {
		return nil, false
	}
	return c.flow, true
}
