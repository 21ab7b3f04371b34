package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/siproam/siproam/metric"
)

// How long an interface that has changed has to come to rest, and how often they are all looked at anyway.
const (
	settle = 20 * time.Millisecond
	review = 10 * time.Second
	retry  = time.Second // where one that we want is not served
)

// Wire is the sockets of all interfaces.
type Wire struct {
	cfg     Config
	probes  *probes
	heard   heard
	sent    *metric.Counter
	dropped *metric.Counter

	mu      sync.RWMutex     // guards ports and missing
	ports   map[string]*port // by name of interface
	missing map[string]error // why one that we want is not served

	readers sync.WaitGroup
}

// Open opens the sockets of every interface that is there, or none. An interface that is not there is waited for. The
// error names what is missing: ErrInUse, or a privilege. The caller calls Run once, or Close.
func Open(cfg Config) (*Wire, error) {
	if cfg.port4 == 0 {
		cfg.port4 = ServerPort4
	}
	if cfg.port6 == 0 {
		cfg.port6 = ServerPort6
	}
	w := &Wire{cfg: cfg, ports: map[string]*port{}, missing: map[string]error{}, heard: heard{tell: cfg.Heard}}
	w.sent = cfg.Metrics.Counter("dhcp_datagrams_total", "DHCP datagrams by direction (in, out, frame).", "direction")
	w.dropped = cfg.Metrics.Counter("dhcp_datagrams_dropped_total", "DHCP datagrams not read or not sent, by reason.", "reason")
	cfg.Metrics.Gauge("dhcp_interface_served", "Whether an interface is served: it is there and its sockets are open.", []string{"interface"}, w.gauge)
	w.probes = newProbes(cfg.Log)
	for _, name := range cfg.Interfaces {
		now, err := look(name)
		if err != nil {
			w.missing[name] = err
			cfg.Log.Warn().Str("interface", name).Msg("DHCP interface not there yet")
			continue
		}
		if w.ports[name], err = w.openPort(now); err != nil {
			delete(w.ports, name)
			w.Close()
			return nil, err
		}
	}
	return w, nil
}

// Close closes every socket.
func (w *Wire) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.ports {
		p.close()
	}
	clear(w.ports)
	w.probes.close()
}

func (w *Wire) gauge(emit func(v float64, labels ...string)) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, name := range w.cfg.Interfaces {
		v := 0.0
		if w.ports[name] != nil {
			v = 1
		}
		emit(v, name)
	}
}

// Run reads until ctx ends and follows the interfaces meanwhile; then it closes every socket. take is called from one
// goroutine per interface and family; the batch and what is in it are take's to keep.
func (w *Wire) Run(ctx context.Context, take func(batch []Datagram)) error {
	defer w.readers.Wait()
	defer w.Close()
	w.mu.RLock()
	for _, p := range w.ports {
		w.serve(p, take)
	}
	w.mu.RUnlock()
	changed, stop := watch(w.cfg.Log)
	defer stop()
	for {
		wait := review
		if w.wanting() || changed == nil {
			wait = retry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			time.Sleep(settle)
		case <-time.After(wait):
		}
		w.follow(take)
	}
}

// serve starts the readers of p.
func (w *Wire) serve(p *port, take func([]Datagram)) {
	for _, s := range p.sockets() {
		w.readers.Go(func() { s.read(w, take) })
	}
	w.listen(p)
}

// wanting says that an interface that we want is not served.
func (w *Wire) wanting() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return len(w.missing) > 0
}

// follow brings the ports to what the interfaces are now.
func (w *Wire) follow(take func([]Datagram)) {
	for _, name := range w.cfg.Interfaces {
		w.mu.RLock()
		p := w.ports[name]
		w.mu.RUnlock()
		now, err := look(name)
		if err == nil && p != nil && p.same(now) {
			p.now.Store(now)
			continue
		}
		if p != nil { // gone, or another one of its name
			w.cfg.Log.Warn().Str("interface", name).Msg("DHCP interface gone")
			w.put(name, nil, ErrNoInterface)
			p.close()
		}
		if err == nil {
			p, err = w.openPort(now)
		} else {
			p = nil
		}
		if err == nil {
			w.cfg.Log.Info().Str("interface", name).Msg("DHCP interface served")
			w.put(name, p, nil)
			w.serve(p, take)
		} else if w.put(name, nil, err) && !errors.Is(err, ErrNoInterface) {
			w.cfg.Log.Error().Err(err).Msg("DHCP interface not served")
		}
	}
}

// put says how an interface is served; fresh is true when it was not told so before.
func (w *Wire) put(name string, p *port, err error) (fresh bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p != nil {
		w.ports[name] = p
		delete(w.missing, name)
		return true
	}
	delete(w.ports, name)
	before := w.missing[name]
	w.missing[name] = err
	return before == nil || before.Error() != err.Error()
}

// Interfaces is every interface that is served now, in the order of Config.
func (w *Wire) Interfaces() (all []*Interface) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, name := range w.cfg.Interfaces {
		if p := w.ports[name]; p != nil {
			all = append(all, p.now.Load())
		}
	}
	return all
}

// at is the port of an interface.
func (w *Wire) at(index int) (*port, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, p := range w.ports {
		if p.index == index {
			return p, nil
		}
	}
	return nil, fmt.Errorf("interface %d: %w", index, ErrNoInterface)
}

// Send sends rs and never waits: what the system cannot take now is dropped and counted, as on a full link; a client
// asks again. rs and their octets are the caller's again when it returns.
func (w *Wire) Send(rs []Reply) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	sent := 0
	for _, p := range w.ports {
		sent += p.send(w, rs)
	}
	if lost := len(rs) - sent; lost > 0 {
		w.dropped.Add(uint64(lost), "no_interface")
	}
}

// look is an interface as it is now.
func look(name string) (*Interface, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, ErrNoInterface)
	}
	now := &Interface{Index: i.Index, Name: i.Name, Up: i.Flags&net.FlagRunning != 0}
	if len(i.HardwareAddr) == len(now.MAC) && i.Flags&net.FlagLoopback == 0 {
		now.MAC = MAC(i.HardwareAddr)
	}
	addrs, err := i.Addrs()
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, ErrNoInterface)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !slices.Contains(now.Addrs, p) {
			now.Addrs = append(now.Addrs, p)
		}
	}
	return now, nil
}
