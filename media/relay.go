package media

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
)

// Relay hands out bridges. It is safe from any goroutine.
type Relay struct {
	cfg     Config
	log     zerolog.Logger
	machine machine
	eyes    eyes
	readers sync.WaitGroup // the goroutines that read sockets
	watcher sync.WaitGroup // the goroutine that looks for silent calls and unused ports
	stop    chan struct{}  // closed by Close; ends watcher

	base  int                      // the first port
	bound []atomic.Pointer[socket] // by port, from base; nil: not bound

	received, sent *metric.Value
	drops          [droppedEnd]*metric.Value
	lost, silences *metric.Value
	jitter         *metric.Histogram

	mu      sync.Mutex // guards the fields below; taken after a bridge's, never before
	pool    pool
	bridges map[*Bridge]struct{}
	watched bool // watcher runs
	closed  bool
}

// New opens no port yet.
func New(cfg Config, m *metric.Set, log zerolog.Logger) (*Relay, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if !cfg.Addr.IsValid() {
		cfg.Addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if cfg.Rest == 0 {
		cfg.Rest = roam.Duration(defaultRest)
	}
	cfg.Addr = bindable(cfg.Addr)
	first, last, err := portRange(cfg.Ports)
	if err != nil {
		return nil, err
	}
	r := &Relay{cfg: cfg, log: log, stop: make(chan struct{}), bridges: map[*Bridge]struct{}{},
		base: first, bound: make([]atomic.Pointer[socket], last-first+1)}
	r.pool = newPool(first, last, files()/4, cfg.Rest.D())
	r.machine.look()
	r.count(m)
	return r, nil
}

// bindable is a, or on a machine without IPv6 every IPv4 address for [::].
func bindable(a netip.Addr) netip.Addr {
	if a != netip.IPv6Unspecified() {
		return a
	}
	c, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6unspecified})
	if err != nil {
		return netip.IPv4Unspecified()
	}
	c.Close()
	return a
}

// count makes the metrics of FACE.md.
func (r *Relay) count(m *metric.Set) {
	packets := m.Counter("media_packets_total", "RTP and RTCP packets accepted from (in) and sent to (out) the ends of calls.", "direction")
	r.received, r.sent = packets.With("in"), packets.With("out")
	drops := m.Counter("media_packets_dropped_total", "Packets on media ports that went no further.", "reason")
	for why := taken + 1; why < droppedEnd; why++ {
		r.drops[why] = drops.With(droppedNames[why])
	}
	r.lost = m.Counter("media_packets_lost_total", "RTP packets missing from what calls sent us, counted when a call ends.").With()
	r.silences = m.Counter("media_timeouts_total", "Calls found silent.").With()
	r.jitter = m.Histogram("media_jitter_seconds", "Interarrival jitter (RFC 3550) of each side when a call ends.",
		[]float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2})
	m.Gauge("media_ports", "Media ports by state.", []string{"state"}, func(emit func(float64, ...string)) {
		used, free, resting := r.Ports()
		emit(float64(used), "used")
		emit(float64(free), "free")
		emit(float64(resting), "resting")
	})
}

// Open begins the media of one call; no port is opened before the first [Bridge.Pass]. silent is
// called once, on a goroutine of media's, when after [Bridge.Join] nothing has come from either
// side for Idle (IdleOnHold while held). Errors are [roam.NoCapacity]: no ports for another call, or closed.
func (r *Relay) Open(call string, silent func()) (*Bridge, error) {
	b := &Bridge{relay: r, call: call, silent: silent, opened: time.Now()}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.pool.free)+r.pool.bound < 2 {
		return nil, roam.NoCapacity
	}
	r.bridges[b] = struct{}{}
	if !r.watched {
		r.watched = true
		r.watcher.Go(r.watch)
	}
	return b, nil
}

// Ports is how many ports are in use, free and resting.
func (r *Relay) Ports() (used, free, resting int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	idle, resting := r.pool.idle(time.Now())
	return 2 * r.pool.used, 2 * (idle - resting), 2 * resting
}

// Close ends every bridge and waits until every goroutine of the relay has returned.
func (r *Relay) Close() {
	r.mu.Lock()
	first := !r.closed
	r.closed = true
	r.mu.Unlock()
	if first {
		close(r.stop)
	}
	for _, b := range r.open() {
		b.Close()
	}
	r.watcher.Wait()
	r.mu.Lock()
	idle := r.pool.unused(time.Now().Add(2 * r.cfg.Rest.D()))
	r.mu.Unlock()
	r.drop(idle)
	r.eyes.close()
	r.readers.Wait()
}

// open is the bridges there are.
func (r *Relay) open() []*Bridge {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*Bridge, 0, len(r.bridges))
	for b := range r.bridges {
		list = append(list, b)
	}
	return list
}

// lookEvery is how often the machine's addresses are read anew.
const lookEvery = 30

// watch looks for silent calls and unused ports once a second.
func (r *Relay) watch() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-r.stop:
			return
		case now := <-tick.C:
			r.scan(now)
			r.shrink(now)
		}
		if n%lookEvery == 0 {
			r.machine.look()
		}
	}
}

// scan tells the calls that are silent at now.
func (r *Relay) scan(now time.Time) {
	for _, b := range r.open() {
		if b.fallSilent(now) {
			r.silences.Add(1)
			b.silent()
		}
	}
}

// ours says that a is one of this relay's own bound ports: media sent there would go round for ever.
func (r *Relay) ours(a netip.AddrPort) bool {
	bound := a.Addr() == r.cfg.Addr || r.cfg.Addr.IsUnspecified() && r.machine.has(a.Addr())
	if !bound && a.Addr() != r.cfg.Advertise || !a.Addr().IsValid() {
		return false
	}
	i := int(a.Port()) - r.base
	return i >= 0 && i < len(r.bound) && r.bound[i].Load() != nil
}

// bindTo is where the ports towards a far end are bound. Where every address is ours that is the one it
// reaches us at: packets must leave from there too, or a NAT before it would not let them in.
func (r *Relay) bindTo(p Peer) netip.Addr {
	here := p.Here.Unmap()
	if !r.cfg.Addr.IsUnspecified() || !here.IsValid() || here.IsUnspecified() || here.Is6() && here.IsLinkLocalUnicast() ||
		here.Is6() && r.cfg.Addr.Is4() || !r.machine.has(here) {
		return r.cfg.Addr
	}
	return here
}

// told is the address the far end of a leg is given: the advertised one for partners and strange networks of
// its family, else the one that is bound, else the one its flow came in on.
func (r *Relay) told(p Peer) netip.Addr {
	adv, signal := r.cfg.Advertise, p.Signal.Unmap()
	if adv.IsValid() && (p.Partner || !r.local(signal)) && (!signal.IsValid() || signal.Is4() == adv.Is4()) {
		return adv
	}
	switch here := p.Here.Unmap().WithZone(""); {
	case !r.cfg.Addr.IsUnspecified():
		return r.cfg.Addr
	case here.IsValid() && !here.IsUnspecified():
		return here
	case adv.IsValid():
		return adv
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1}) // bound to every address and told none: only this machine can be meant
}

func (r *Relay) local(a netip.Addr) bool {
	if !a.IsValid() || r.machine.has(a) {
		return true
	}
	for _, n := range r.cfg.LocalNetworks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
