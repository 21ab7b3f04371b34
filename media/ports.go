package media

import (
	"net/netip"
	"time"

	"github.com/siproam/siproam/roam"
)

// pool is which port pairs are in use, free and resting. A pair is named by its even port. The
// relay's mutex guards it.
type pool struct {
	rest time.Duration
	idle []idle // taken at the front and given back at the end, so the first has rested longest
	used map[int]bool
}

// idle is a pair nobody has. Until it has rested, the phone of its last call may still send to it.
type idle struct {
	port  int
	until time.Time
}

func newPool(first, last int, rest time.Duration) pool {
	p := pool{rest: rest, used: map[int]bool{}}
	for port := first; port < last; port += 2 {
		p.idle = append(p.idle, idle{port: port})
	}
	return p
}

// take gives the pair that has rested longest. It may have rested too little: on a full relay a
// caller is better served by that than by a refusal.
func (p *pool) take() (port int, found bool) {
	if len(p.idle) == 0 {
		return 0, false
	}
	port, p.idle = p.idle[0].port, p.idle[1:]
	p.used[port] = true
	return port, true
}

// give puts a pair back, to rest.
func (p *pool) give(port int, now time.Time) {
	delete(p.used, port)
	p.idle = append(p.idle, idle{port, now.Add(p.rest)})
}

// resting is how many of the idle pairs have not rested enough.
func (p *pool) resting(now time.Time) (n int) {
	for i := len(p.idle) - 1; i >= 0 && now.Before(p.idle[i].until); i-- {
		n++
	}
	return n
}

// maxOccupied is how many pairs that another program holds are passed over before giving up: a
// turn of the loop waits for this.
const maxOccupied = 64

// pair is the two sockets of one stream of one leg (RFC 3550 11: RTP even, RTCP the odd one above).
type pair struct {
	at        netip.Addr
	port      int
	rtp, rtcp *socket
}

// openPair binds a pair of ports of at; the error is [roam.NoCapacity].
func (r *Relay) openPair(at netip.Addr) (*pair, error) {
	for range maxOccupied {
		r.mu.Lock()
		port, found := r.pool.take()
		r.mu.Unlock()
		if !found {
			break
		}
		p := &pair{at: at, port: port}
		var err error
		if p.rtp, err = r.listen(at, port); err == nil {
			if p.rtcp, err = r.listen(at, port+1); err == nil {
				return p, nil
			}
			p.rtp.close()
		}
		r.putBack(port) // somebody else has it; it waits at the end of the queue
		r.log.Debug().Err(err).Int("port", port).Msg("media port taken")
	}
	return nil, roam.NoCapacity
}

// close closes both sockets and lets the ports rest.
func (p *pair) close(r *Relay) {
	p.rtp.close()
	p.rtcp.close()
	r.putBack(p.port)
}

func (r *Relay) putBack(port int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pool.give(port, time.Now())
}
