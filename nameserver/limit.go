package nameserver

import (
	"net/netip"
	"sync"
	"time"
)

// mostSources bounds what is remembered of who asked; when it is full of others, newcomers share one bucket.
const mostSources = 4096

// limiter keeps for every source the time at which its bucket will be full again (GCRA). One whose bucket is full has none.
type limiter struct {
	began time.Time // a second before it was made: no bucket is full at 0

	mu    sync.Mutex // guards what follows
	each  time.Duration
	depth time.Duration
	full  map[netip.Addr]time.Duration
}

func newLimiter() *limiter {
	return &limiter{began: time.Now().Add(-time.Second), full: map[netip.Addr]time.Duration{}}
}

// configure takes new figures; buckets stay as they are.
func (l *limiter) configure(perSecond, burst int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.each = 0
	if perSecond > 0 {
		l.each = time.Second / time.Duration(perSecond)
	}
	l.depth = l.each * time.Duration(burst)
}

// admit says that from may ask once more.
func (l *limiter) admit(from netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.each == 0 {
		return true
	}
	now, key := time.Since(l.began), sourceOf(from)
	if _, known := l.full[key]; !known && len(l.full) >= mostSources {
		if l.sweep(now); len(l.full) >= mostSources {
			key = netip.Addr{}
		}
	}
	full := max(l.full[key], now) + l.each
	if full > now+l.depth {
		return false
	}
	l.full[key] = full
	return true
}

// sweep forgets the buckets that are full.
func (l *limiter) sweep(now time.Duration) {
	for a, full := range l.full {
		if full <= now {
			delete(l.full, a)
		}
	}
}

// sourceOf is an address, or the /64 it is in: a phone has many of those. A link's own addresses share theirs, and count alone.
func sourceOf(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is4() || a.IsLinkLocalUnicast() {
		return a
	}
	p, _ := a.Prefix(64) // 64 bits always fit
	return p.Addr()
}
