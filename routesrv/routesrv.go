// Package routesrv is R, the routing store: locations and identities in Redis (DESIGN 7).
//
// One script writes locations, so the highest epoch wins whoever writes in whatever order.
// A bounded cache answers the loop, invalidated through a channel, served stale while Redis
// is away. What could not be written is written when Redis is back, and a slow sweep repairs
// what got lost. StartEmbedded serves the same commands when there is no Redis.
//
// Redis away never blocks the office: a question waits 300 ms at most, and after the first
// that failed none is asked until Redis answers a PING again.
package routesrv

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
)

const (
	patience     = 300 * time.Millisecond // for one question
	acknowledged = 2 * time.Second        // strict: for the acknowledgement of a move, which may wait for a disk and for replicas
	signOfLife   = 9 * time.Second        // TTL of roam:sw; with renewEvery and a question to who is silent, known in 15 s
	renewEvery   = 3 * time.Second
	locationTTL  = 7 * 24 * time.Hour // renewed by the sweep; the sign of life, not this, tells a dead office
	epochTTL     = 30 * 24 * time.Hour
	officeTTL    = 30 * 24 * time.Hour
	movesKept    = 100

	placesKept     = 100_000 // locations in memory
	identitiesKept = 100_000
	officesKept    = 10_000
	maxReports     = 1024 // reports waiting to be written: then they wait for the sweep
	maxOwing       = 20_000
)

// Store is one office's view of R. What is not said to be otherwise belongs to the loop.
type Store struct {
	client redis.UniversalClient
	loop   *loop.Loop
	log    zerolog.Logger
	here   roam.Card
	card   atomic.Pointer[roam.Card] // here, as it is published; see Announce
	anew   atomic.Bool               // it has changed
	node   string
	sender string // who charging records come from, and are acknowledged to: the office, or one of its softswitches
	boot   uint64

	up    atomic.Bool   // R answers; set by watch, cleared by whoever saw it fail
	since atomic.Int64  // Unix nanoseconds: R has answered from then on; 0 while it is away
	kick  chan struct{} // one place: watch should look now
	work  chan struct{} // one place: mend has something to do
	lost  atomic.Bool   // R may have lost what it held: mend writes all again

	places  *cache[roam.UserID, *place]
	gen     uint64 // grows when all that is remembered is doubtful
	flights map[roam.UserID]*flight

	names   *cache[string, name]
	naming  map[string][]func(name, error) // who waits for a question under way
	offices *cache[roam.OfficeID, *office]
	asking  map[roam.OfficeID][]func(*office, error)

	suspects map[string]*suspect // by URI of a softswitch of another office
	probe    func(o roam.OfficeID, uri string, done func(answered bool))
	returned func(roam.OfficeID)

	queue    queue                   // reports on their way to the writer
	limit    time.Duration           // for one batch of them
	replicas int                     // that must have them, too
	owing    map[roam.UserID]*report // what R did not take; the newest per user
	owed     atomic.Int64            // len(owing)
	owned    pages
	guests   pages
	ahead    func(roam.UserID, roam.Location)
	onLost   func() // never nil

	ours    map[claim]roam.Identity // everything published
	publish map[claim]roam.Identity // of these, what R may not have
	gone    map[claim]roam.Identity // withdrawn, and R may not know

	published atomic.Bool // R has all of publish and gone

	ev struct {
		sync.Mutex // guards what follows
		users      map[roam.UserID]roam.Epoch
		all        bool
		posted     bool
		again      bool // not the first subscription
	}

	acks struct {
		sync.Mutex // guards homes
		homes      []roam.OfficeID
	}

	trusts func(user roam.UserID, at roam.Location, done func(bool)) // nil: R is trusted

	lookups, stale *metric.Counter
	untrusted      *metric.Counter
	seconds        *metric.Histogram
	complained     atomic.Int64 // Unix seconds of the last line about an odd answer
}

// New makes the client; it connects in Run. here is our card, published as
// roam:office and roam:sw while Run runs. Of an embedded store cfg.Redis is the address,
// redis://127.0.0.1:6390. Without an office in here the store is an observer's: it gives no sign of life.
//
// node is this process's name: the file's, or where registrar and softswitches of an office are several processes
// "north/1" for a softswitch and "north" for the registrar, which is no softswitch and not listed as one.
func New(cfg Config, l *loop.Loop, here roam.Card, node string, boot uint64, m *metric.Set, log zerolog.Logger) (*Store, error) {
	if cfg.Redis == "embedded" {
		return nil, errors.New("routes.redis: the embedded store's address is missing")
	}
	o, err := cfg.options()
	if err != nil {
		return nil, fmt.Errorf("routes.redis: %w", err)
	}
	if o.Password, err = cfg.password(); err != nil {
		return nil, err
	}
	o.ClientName = "siproam-" + string(here.Office)
	logging.Disable() // it writes to stderr by itself; what matters we see and log
	s := &Store{
		client: redis.NewUniversalClient(o), loop: l, here: here, node: node, sender: string(here.Office), boot: boot,
		log:  log.With().Str("part", "routesrv").Logger(),
		kick: make(chan struct{}, 1), work: make(chan struct{}, 1),
		places: newCache[roam.UserID, *place](placesKept), flights: map[roam.UserID]*flight{},
		names: newCache[string, name](identitiesKept), naming: map[string][]func(name, error){},
		offices: newCache[roam.OfficeID, *office](officesKept), asking: map[roam.OfficeID][]func(*office, error){},
		suspects: map[string]*suspect{}, onLost: func() {},
		queue: queue{wake: make(chan struct{}, 1)}, limit: patience, replicas: cfg.WaitReplicas, owing: map[roam.UserID]*report{},
		ours: map[claim]roam.Identity{}, publish: map[claim]roam.Identity{}, gone: map[claim]roam.Identity{},
	}
	s.card.Store(&here)
	if cfg.Strict() {
		s.limit = acknowledged
	}
	if strings.HasPrefix(node, s.sender+"/") {
		s.sender = node
	}
	s.ev.users = map[roam.UserID]roam.Epoch{}
	s.measure(m)
	s.client.AddHook(hook{s})
	return s, nil
}

func (s *Store) measure(m *metric.Set) {
	s.lookups = m.Counter("routes_lookups_total", "Questions for a location, by where the answer came from.", "result")
	s.stale = m.Counter("routes_stale_writes_total", "Locations that the routing store refused because it had a newer one.")
	s.untrusted = m.Counter("routes_untrusted_total", "Locations in the routing store that no home has signed (routes.trust: signed).")
	s.seconds = m.Histogram("routes_command_duration_seconds", "How long the routing store took.", metric.Durations, "command")
	m.Gauge("routes_up", "1 while the routing store answers.", nil, func(emit func(float64, ...string)) {
		if s.Up() {
			emit(1)
		} else {
			emit(0)
		}
	})
	m.Gauge("routes_unpublished_users", "Users whose location the routing store did not take yet.", nil, func(emit func(float64, ...string)) {
		emit(float64(s.owed.Load()))
	})
}

// Run keeps the connection, the signs of life, invalidation, the sweep; until ctx ends. Then
// it takes our sign of life away and closes the client.
func (s *Store) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { s.watch(ctx) })
	all.Go(func() { s.listen(ctx) })
	all.Go(func() { s.mend(ctx) })
	all.Go(func() { s.write(ctx) })
	all.Wait()
	last, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if s.up.Swap(false) && !s.observes() { // calls for here need not wait until it expires
		s.client.Del(last, swKey(s.node))
	}
	s.since.Store(0)
	s.loop.Deliver(s.abandon)
	return s.client.Close()
}

// Up says that R answers now.
func (s *Store) Up() bool { return s.up.Load() }

// signal fills the one place of c.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// complain logs an answer of R that should not be, at most every 10 s.
func (s *Store) complain(event string, err error) {
	now, last := time.Now().Unix(), s.complained.Load()
	if now-last >= 10 && s.complained.CompareAndSwap(last, now) {
		s.log.Warn().Str("event", event).Err(err).Msg("routing store answers oddly")
	}
}
