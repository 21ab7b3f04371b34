package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"net/netip"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
)

// Overload is office.yaml's "overload": how much one source may send.
type Overload struct {
	Source     Rate           `yaml:"source"`     // of one address (IPv6: one /64), all that has not registered behind it together
	Registered Rate           `yaml:"registered"` // of one flow that carries a registration, whatever its address sends beside it
	Exempt     []netip.Prefix `yaml:"exempt"`     // never limited; by default this machine, where load tests and front proxies run
}

// Rate is a token bucket: messages per second for ever, and at once by one who was silent before.
type Rate struct {
	PerSecond int `yaml:"per_second"` // 0: no limit
	Burst     int `yaml:"burst"`      // at least 1 where there is a limit
}

// DefaultOverload lets 300 phones behind one address come back at once: six messages each, as a phone sends
// them until it has registered. 500 a second of strangers are half a percent of a core.
func DefaultOverload() Overload {
	return Overload{
		Source: Rate{PerSecond: 500, Burst: 2000}, Registered: Rate{PerSecond: 1000, Burst: 4000},
		Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	}
}

// Validate finds what is wrong with office.yaml's "overload"; each error begins with its key.
func (o *Overload) Validate() error {
	var errs []error
	for _, one := range []struct {
		key string
		r   Rate
	}{{"source", o.Source}, {"registered", o.Registered}} {
		switch {
		case one.r.PerSecond < 0 || one.r.PerSecond > 1_000_000:
			errs = append(errs, fmt.Errorf("%s: %d per_second is not between 0, no limit, and 1000000", one.key, one.r.PerSecond))
		case one.r.PerSecond > 0 && (one.r.Burst < 1 || one.r.Burst > 1_000_000):
			errs = append(errs, fmt.Errorf("%s: burst %d is not between 1 and 1000000", one.key, one.r.Burst))
		}
	}
	if o.Registered.PerSecond > 0 && (o.Source.PerSecond == 0 || o.Registered.PerSecond < o.Source.PerSecond) {
		errs = append(errs, errors.New("registered: below source; a phone would lose by registering"))
	}
	return errors.Join(errs...)
}

// The table of sources: sets of ways entries, some 400 KiB in all.
const (
	ways    = 8
	setBits = 11
)

// limiter keeps every bucket as the time at which it will be full again (GCRA): a source that has not been heard
// for a while has none. Strangers' buckets stand in a table of fixed size, where one that is full, or nearly so, gives way
// to the next source. Those of registered flows stand in a map, which grows with the registrations and nothing else.
type limiter struct {
	began   time.Time // a second before it was made: a bucket that is full at 0 is none
	mix     [3]uint64 // nobody outside knows which sources share a set, or a hash
	log     zerolog.Logger
	dropped *metric.Value
	paced   *metric.Value

	mu         sync.Mutex // guards what follows
	source     pace
	registered pace
	exempt     []netip.Prefix
	all        [1 << setBits][ways]bucket
	vouched    map[uint64]vouched
	unsaid     uint64 // dropped since the last line of log
	said       int64  // when that was
}

// pace is a Rate in nanoseconds; zero: no limit.
type pace struct {
	each  int64 // between two messages
	depth int64 // how far ahead of the clock a bucket may be
}

// bucket is a stranger's: full is when it will be full again, in nanoseconds since the limiter began.
type bucket struct {
	hi, lo uint64
	full   int64
}

// vouched is a flow's that carries bindings.
type vouched struct {
	full  int64
	flows int // of ours to the same remote address
}

func newLimiter(o Overload, m *metric.Set, log zerolog.Logger) *limiter {
	l := &limiter{began: time.Now().Add(-time.Second), log: log, vouched: map[uint64]vouched{}}
	for i := range l.mix {
		l.mix[i] = maphash.String(maphash.MakeSeed(), "") | 1
	}
	l.dropped, l.paced = m.Overload().With("source"), m.Overload().With("paced")
	l.configure(o)
	return l
}

// configure takes o; buckets stay as they are.
func (l *limiter) configure(o Overload) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.source, l.registered, l.exempt = o.Source.pace(), o.Registered.pace(), o.Exempt
}

func (r Rate) pace() pace {
	if r.PerSecond <= 0 {
		return pace{}
	}
	each := int64(time.Second) / int64(r.PerSecond)
	return pace{each: each, depth: each * int64(r.Burst)}
}

// now is the clock of all buckets; a reader asks once for all that one read brought.
func (l *limiter) now() int64 { return int64(time.Since(l.began)) }

// admit says whether a datagram from a source may be looked at. It allocates nothing.
func (l *limiter) admit(from netip.AddrPort, now int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free(from.Addr()) || l.spend(from.Addr(), l.hash(from.Addr(), uint64(from.Port())), now, 1, false) == 0 {
		return true
	}
	l.tell(from.Addr(), now)
	return false
}

// wait is how long a connection should not be read on, after n messages from it. Nothing is dropped:
// the sender waits, as TCP has it.
func (l *limiter) wait(f roam.Flow, n int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n == 0 || l.free(f.Remote.Addr()) {
		return 0
	}
	owed := l.spend(f.Remote.Addr(), l.key(f), l.now(), n, true)
	if owed > 0 {
		l.paced.Add(1)
	}
	return time.Duration(owed)
}

func (l *limiter) free(a netip.Addr) bool {
	if l.source.each == 0 {
		return true
	}
	for _, p := range l.exempt {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// longestWait bounds what a stream may owe, and so how long it is not read.
const longestWait = int64(5 * time.Second)

// spend takes n messages from the bucket of the flow that key names, if somebody vouches for it, else from
// that of its address. owed is how long the last of them came too early, 0 when it did not; then they are
// charged only if taken says that they are taken all the same.
func (l *limiter) spend(from netip.Addr, key uint64, now int64, n int, taken bool) (owed int64) {
	if v, found := l.vouched[key]; found {
		v.full, owed = l.registered.spend(v.full, now, n, taken)
		l.vouched[key] = v
		return owed
	}
	b := l.bucket(from, now)
	b.full, owed = l.source.spend(b.full, now, n, taken)
	return owed
}

func (p pace) spend(full, now int64, n int, taken bool) (after, owed int64) {
	full = max(full, now)
	after = min(full+int64(n)*p.each, now+p.depth+longestWait)
	owed = max(after-now-p.depth, 0)
	if owed > 0 && !taken {
		after = full
	}
	return after, owed
}

// bucket is the one of a's source. Where its set is full of others, the one that is nearest to being
// full itself gives way: it is the one that says least.
func (l *limiter) bucket(a netip.Addr, now int64) *bucket {
	hi, lo := sourceKey(a)
	set := &l.all[l.fold(hi, lo, 0)>>(64-setBits)]
	least := &set[0]
	for i := range set {
		b := &set[i]
		if b.hi == hi && b.lo == lo && b.full != 0 {
			return b
		}
		if b.full < least.full {
			least = b
		}
	}
	*least = bucket{hi: hi, lo: lo, full: now}
	return least
}

// sourceKey is source as two words; of a link-local IPv6 address all of it counts, since the whole
// network shares its /64.
func sourceKey(a netip.Addr) (hi, lo uint64) {
	b := a.As16()
	hi, lo = binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	if !a.Is4() && !a.IsLinkLocalUnicast() {
		lo = 0
	}
	return hi, lo
}

// hash names an address, and a port or whatever else belongs to it.
func (l *limiter) hash(a netip.Addr, more uint64) uint64 {
	b := a.As16()
	return l.fold(binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]), more)
}

// fold is a keyed hash of three words.
func (l *limiter) fold(hi, lo, more uint64) uint64 {
	a, b := bits.Mul64(hi^l.mix[0], lo^l.mix[1])
	a, b = bits.Mul64(a^b^l.mix[2], more^l.mix[0])
	return (a ^ b) * l.mix[1]
}

// key names a flow: a connection by its number, a UDP flow by its remote end.
func (l *limiter) key(f roam.Flow) uint64 {
	return l.hash(f.Remote.Addr(), f.Conn<<16|uint64(f.Remote.Port()))
}

// tell logs at most one line a second about what is dropped. The caller holds mu.
func (l *limiter) tell(from netip.Addr, now int64) {
	l.dropped.Add(1)
	l.unsaid++
	if now-l.said < int64(time.Second) {
		return
	}
	l.log.Warn().Str("event", "overload.source").Stringer("remote_ip", from).Uint64("dropped", l.unsaid).Msg("source sends too much")
	l.said, l.unsaid = now, 0
}

// Vouch tells that a flow carries registrations, or no longer does: it gets a bucket of its own, and goes
// first when there is too much to do. It is called in pairs, from any goroutine.
func (t *Transport) Vouch(f roam.Flow, carries bool) { t.limit.vouch(t.limit.key(f), carries) }

// Charge takes n messages more from the bucket of a flow, for something that should be rarer than messages are.
func (t *Transport) Charge(f roam.Flow, n int) {
	l := t.limit
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.free(f.Remote.Addr()) {
		l.spend(f.Remote.Addr(), l.key(f), l.now(), n, true)
	}
}

// Vouched says that f is one of those.
func (t *Transport) Vouched(f roam.Flow) bool {
	l := t.limit
	key := l.key(f)
	l.mu.Lock()
	defer l.mu.Unlock()
	_, found := l.vouched[key]
	return found
}

// Overload takes new rates.
func (t *Transport) Overload(o Overload) { t.limit.configure(o) }

func (l *limiter) vouch(key uint64, carries bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := l.vouched[key]
	if carries {
		v.flows++
	} else if v.flows--; v.flows <= 0 {
		delete(l.vouched, key)
		return
	}
	l.vouched[key] = v
}
