package wire

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// silence is how long nothing more is told of a server that was told of, and maxHeard of how many that is remembered.
const (
	silence  = time.Minute
	maxHeard = 256
)

// heard is the servers that were heard.
type heard struct {
	tell func(Other) // Config.Heard

	mu      sync.Mutex // guards what follows
	told    map[netip.Addr]time.Time
	looking []*search
}

// search is one Servers under way.
type search struct {
	index int
	xid   [4]byte
	found map[netip.Addr]Other
}

// listen starts what reads other than the sockets of p.
func (w *Wire) listen(p *port) {
	if p.frames != nil {
		w.readers.Go(func() { p.frames.read(func(b []byte, _ MAC) { w.heardARP(p, b) }) })
	}
	if p.ears != nil {
		w.readers.Go(func() { p.ears.read(func(b []byte, from MAC) { w.heardOffer(p, b, from) }) })
	}
	if p.ears6 != nil {
		w.readers.Go(func() { p.ears6.read(func(b []byte, from MAC) { w.heardAdvertise(p, b, from) }) })
	}
	if p.nd != nil {
		w.readers.Go(func() {
			p.nd.read(func(a netip.Addr, who MAC) { w.probes.answered(asked{p.index, a}, who) })
		})
	}
}

func (w *Wire) heardOffer(p *port, b []byte, mac MAC) {
	from, _, payload, ok := parseUDP4(b)
	if !ok || from.Port() != ServerPort4 {
		return
	}
	if o, xid, ok := parseOffer(payload); ok {
		o.Interface, o.From, o.MAC = p.name, from.Addr(), mac
		w.hear(p, o, xid)
	}
}

func (w *Wire) heardAdvertise(p *port, b []byte, mac MAC) {
	from, _, payload, ok := parseUDP6(b)
	if !ok {
		return
	}
	if o, xid, ok := parseAdvertise(payload); ok {
		o.Interface, o.From, o.MAC, o.ID = p.name, from.Addr(), mac, from.Addr()
		w.hear(p, o, xid)
	}
}

// hear takes word of a server. One with an address of this machine is ours.
func (w *Wire) hear(p *port, o Other, xid [4]byte) {
	for _, i := range w.Interfaces() {
		if slices.ContainsFunc(i.Addrs, func(a netip.Prefix) bool { return a.Addr() == o.ID || a.Addr() == o.From }) {
			return
		}
	}
	if w.heard.note(p.index, o, xid, time.Now()) && w.heard.tell != nil {
		w.heard.tell(o)
	}
}

// note keeps o for those who look for it; fresh is true when it was not heard of for a while.
func (h *heard) note(index int, o Other, xid [4]byte, now time.Time) (fresh bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.looking {
		if s.index == index && s.xid == xid {
			s.found[o.ID] = o
		}
	}
	if at, known := h.told[o.ID]; known && now.Sub(at) < silence {
		return false
	}
	if h.told == nil || len(h.told) >= maxHeard { // somebody makes them up
		h.told = map[netip.Addr]time.Time{}
	}
	h.told[o.ID] = now
	return true
}

// Servers asks which other DHCP servers, of IPv6 with six, answer on the interface with this index: with a DISCOVER or
// SOLICIT of our own, sent three times until ctx ends. It takes until the deadline of ctx, three seconds where that has
// none, and is only heard while Run runs. Errors: ErrNoInterface, ErrNoRaw, and of a ctx that was cancelled.
func (w *Wire) Servers(ctx context.Context, index int, six bool) ([]Other, error) {
	p, err := w.at(index)
	if err != nil {
		return nil, err
	}
	by, limited := ctx.Deadline()
	if !limited {
		by = time.Now().Add(3 * time.Second)
	}
	s := &search{index: index, found: map[netip.Addr]Other{}}
	_, _ = rand.Read(s.xid[1:]) // of IPv6 it has three octets
	w.heard.look(s)
	defer w.heard.forget(s)
	for range 3 {
		if err := p.search(s.xid, six); err != nil {
			return nil, fmt.Errorf("look for DHCP servers on %s: %w", p.name, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(by) / 3):
		}
	}
	if ctx.Err() == context.Canceled {
		return nil, ctx.Err()
	}
	return w.heard.of(s), nil
}

// search asks once.
func (p *port) search(xid [4]byte, six bool) error {
	mac := p.now.Load().MAC
	if six {
		if p.six == nil || p.ears6 == nil {
			return ErrNoRaw
		}
		_, err := p.six.c.WriteToUDPAddrPort(appendSolicit(nil, mac, xid), netip.AddrPortFrom(groups[0], ServerPort6))
		return err
	}
	if p.frames == nil || p.ears == nil {
		return ErrNoRaw
	}
	from := netip.AddrPortFrom(netip.IPv4Unspecified(), ClientPort4)
	to := netip.AddrPortFrom(Broadcast.Addr(), ServerPort4)
	return p.frames.send(appendUDP4(appendEther(nil, everyone, mac, typeIP), from, to, appendDiscover(nil, mac, xid)), typeIP)
}

func (h *heard) look(s *search) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looking = append(h.looking, s)
}

func (h *heard) forget(s *search) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looking = slices.DeleteFunc(h.looking, func(o *search) bool { return o == s })
}

// of is what s found, in the order of the identifiers.
func (h *heard) of(s *search) (all []Other) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range s.found {
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b Other) int { return a.ID.Compare(b.ID) })
	return all
}
