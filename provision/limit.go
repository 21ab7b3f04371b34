package provision

import (
	"net/netip"
	"sync"
	"time"
)

// mostSources bounds the addresses that are counted; more than that at once are refused as too many in all.
const mostSources = 8192

// limiter is the buckets of rate.
type limiter struct {
	mu      sync.Mutex // guards what follows
	rates   Rates
	total   bucket
	sources map[netip.Prefix]*bucket
	swept   time.Time
}

// bucket is how many requests are left, as of at.
type bucket struct {
	left float64
	at   time.Time
}

// take takes one, or says how long until there is one.
func (b *bucket) take(now time.Time, r Rate) (wait time.Duration) {
	if b.at.IsZero() {
		b.left = float64(r.Burst)
	} else if since := now.Sub(b.at); since > 0 {
		b.left = min(float64(r.Burst), b.left+since.Seconds()*float64(r.PerSecond))
	}
	b.at = now
	if b.left < 1 {
		return max(time.Second, time.Duration((1-b.left)/float64(r.PerSecond)*float64(time.Second)))
	}
	b.left--
	return 0
}

// full says that b is as if it had never been used.
func (b *bucket) full(now time.Time, r Rate) bool {
	return b.left+now.Sub(b.at).Seconds()*float64(r.PerSecond) >= float64(r.Burst)
}

// source is what of a address is one source.
func source(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // bits fit
	return p
}

// take lets one request of a through, or says how long it is to wait and whether that is because of all.
func (l *limiter) take(now time.Time, a netip.Addr) (wait time.Duration, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := source(a)
	b := l.sources[key]
	if b == nil {
		if len(l.sources) >= mostSources && now.Sub(l.swept) >= time.Second { // a sweep is long, and seldom
			l.swept = now
			l.sweep(now)
		}
		if len(l.sources) >= mostSources {
			return time.Second, true
		}
		b = &bucket{}
		l.sources[key] = b
	}
	if wait = b.take(now, l.rates.Source); wait > 0 {
		return wait, false
	}
	if wait = l.total.take(now, l.rates.Total); wait > 0 {
		return wait, true
	}
	return 0, false
}

// sweep forgets who has not asked for as long as it takes to fill a bucket.
func (l *limiter) sweep(now time.Time) {
	for key, b := range l.sources {
		if b.full(now, l.rates.Source) {
			delete(l.sources, key)
		}
	}
}

// set takes new rates.
func (l *limiter) set(r Rates) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rates = r
	if l.sources == nil {
		l.sources = map[netip.Prefix]*bucket{}
	}
}
