package media

import (
	"net/netip"
	"time"

	"github.com/siproam/siproam/roam"
)

// pair is the two sockets of one stream of one leg (RFC 3550 11: RTP even, RTCP the odd one above). A pair that no
// call has rests: it stays bound and is read, and what comes is dropped. To bind and close four ports for each
// call was an eighth of what a call cost.
type pair struct {
	at        netip.Addr
	port      int
	rtp, rtcp *socket
	until     time.Time // it rests until then
	next      *pair     // in the pool
}

// give has what comes in given to stream s of b. What came before is forgotten.
func (p *pair) give(b *Bridge, s *stream) {
	p.rtp.own(receiver{b, s, false})
	p.rtcp.own(receiver{b, s, true})
}

// pool is the port pairs of a relay that no call has, each named by its even port. Until a pair has rested, the phone
// of its last call may still send to it. The relay's mutex guards it.
type pool struct {
	rest  time.Duration
	most  int // bound pairs kept
	used  int
	free  []idle                // not bound; taken at the front and given back at the end, so the first has rested longest
	kept  map[netip.Addr]*queue // bound, by where
	bound int                   // in all of kept
}

// idle is a pair of ports that is not bound.
type idle struct {
	port  int
	until time.Time
}

// queue is bound pairs, the one that has rested longest first.
type queue struct{ first, last *pair }

func (q *queue) push(p *pair) {
	if q.last == nil {
		q.first = p
	} else {
		q.last.next = p
	}
	q.last = p
}

func (q *queue) pop() *pair {
	p := q.first
	if q.first = p.next; q.first == nil {
		q.last = nil
	}
	p.next = nil
	return p
}

func newPool(first, last, most int, rest time.Duration) pool {
	p := pool{rest: rest, most: most, kept: map[netip.Addr]*queue{}}
	for port := first; port < last; port += 2 {
		p.free = append(p.free, idle{port: port})
	}
	return p
}

// take gives a pair that has rested: one that is bound at that address (got) before one that is to be bound (port). On a full
// relay it is the one that has rested longest of those that have not rested enough: a caller is better served by that
// than by a refusal. A pair bound elsewhere is to be closed first.
func (p *pool) take(at netip.Addr, now time.Time) (got *pair, port int, found bool) {
	best := p.kept[at]
	if best == nil || best.first == nil || now.Before(best.first.until) {
		best = p.longest()
		if len(p.free) > 0 && (best == nil || !now.Before(p.free[0].until) || p.free[0].until.Before(best.first.until)) {
			port, p.free = p.free[0].port, p.free[1:]
			p.used++
			return nil, port, true
		}
	}
	if best == nil {
		return nil, 0, false
	}
	got = best.pop()
	p.bound--
	p.used++
	return got, got.port, true
}

// longest is the queue whose first pair has rested longest, nil when no pair is bound.
func (p *pool) longest() (best *queue) {
	for _, q := range p.kept {
		if q.first != nil && (best == nil || q.first.until.Before(best.first.until)) {
			best = q
		}
	}
	return best
}

// keep puts a used pair back, to rest; kept is false when there are enough: then it is to be closed, and released.
func (p *pool) keep(got *pair, now time.Time) (kept bool) {
	if p.bound >= p.most {
		return false
	}
	q := p.kept[got.at]
	if q == nil {
		q = &queue{}
		p.kept[got.at] = q
	}
	got.until = now.Add(p.rest)
	q.push(got)
	p.used--
	p.bound++
	return true
}

// release puts a used pair of ports back that is not bound any more, to rest.
func (p *pool) release(port int, now time.Time) {
	p.used--
	p.free = append(p.free, idle{port, now.Add(p.rest)})
}

// unused takes out bound pairs that nobody has wanted since before. They count as used until they are released.
func (p *pool) unused(before time.Time) (old []*pair) {
	for at, q := range p.kept {
		for q.first != nil && q.first.until.Before(before) {
			old = append(old, q.pop())
			p.bound--
			p.used++
		}
		if q.first == nil { // addresses come and go with DHCP
			delete(p.kept, at)
		}
	}
	return old
}

// idle is how many pairs no call has, and how many of them have not rested enough.
func (p *pool) idle(now time.Time) (all, resting int) {
	for i := len(p.free) - 1; i >= 0 && now.Before(p.free[i].until); i-- {
		resting++
	}
	for _, q := range p.kept {
		for b := q.first; b != nil; b = b.next {
			if now.Before(b.until) {
				resting++
			}
		}
	}
	return len(p.free) + p.bound, resting
}

const (
	maxOccupied = 64              // pairs that another program holds, passed over before giving up: a turn of the loop waits for this
	keepFor     = 2 * time.Minute // after its rest a bound pair nobody wants is closed
)

// openPair gives a pair that is bound at that address, read, and nobody's; the error is [roam.NoCapacity].
func (r *Relay) openPair(at netip.Addr) (*pair, error) {
	for range maxOccupied {
		r.mu.Lock()
		p, port, found := r.pool.take(at, time.Now())
		r.mu.Unlock()
		if !found {
			break
		}
		if p != nil && p.at == at {
			return p, nil
		}
		if p != nil {
			r.unbind(p)
		}
		p, err := r.bind(at, port)
		if err == nil {
			return p, nil
		}
		r.release(port) // somebody else has it; it waits at the end of the queue
		r.log.Debug().Err(err).Int("port", port).Msg("media port taken")
	}
	return nil, roam.NoCapacity
}

// bind opens the pair at port and has it read.
func (r *Relay) bind(at netip.Addr, port int) (*pair, error) {
	p := &pair{at: at, port: port}
	var err error
	if p.rtp, err = r.listen(at, port); err != nil {
		return nil, err
	}
	if p.rtcp, err = r.listen(at, port+1); err != nil {
		p.rtp.close()
		return nil, err
	}
	r.bound[port-r.base].Store(p.rtp)
	r.bound[port+1-r.base].Store(p.rtcp)
	p.rtp.serve(r)
	p.rtcp.serve(r)
	return p, nil
}

// unbind closes both sockets of a pair that is not in the pool.
func (r *Relay) unbind(p *pair) {
	r.bound[p.port-r.base].Store(nil)
	r.bound[p.port+1-r.base].Store(nil)
	p.rtp.close()
	p.rtcp.close()
}

// drop closes pairs that are not in the pool, and lets their ports rest.
func (r *Relay) drop(list []*pair) {
	for _, p := range list {
		r.unbind(p)
		r.release(p.port)
	}
}

// putBack lets pairs rest that no call has any more.
func (r *Relay) putBack(list []*pair) {
	if len(list) == 0 {
		return
	}
	for _, p := range list {
		p.rtp.own(receiver{})
		p.rtcp.own(receiver{})
	}
	now, many := time.Now(), list[:0:0]
	r.mu.Lock()
	for _, p := range list {
		if r.closed || !r.pool.keep(p, now) {
			many = append(many, p)
		}
	}
	r.mu.Unlock()
	r.drop(many)
}

func (r *Relay) release(port int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pool.release(port, time.Now())
}

// shrink closes the pairs that nobody has wanted for long.
func (r *Relay) shrink(now time.Time) {
	r.mu.Lock()
	old := r.pool.unused(now.Add(-keepFor))
	r.mu.Unlock()
	r.drop(old)
}
