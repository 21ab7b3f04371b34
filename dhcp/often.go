package dhcp

import (
	"hash/maphash"
	"time"
)

// often keeps one client from taking all our time: so many messages in a second are read, the rest is dropped. It knows
// clients by their hardware address. Who changes that with every message is one of many and met by the limits on offers.
type often struct {
	most   int
	seed   maphash.Seed
	second int64
	seen   map[uint64]int
}

// mostSeen is how many clients are counted in a second; above, none is dropped.
const mostSeen = 1 << 16

func newOften(most int) often {
	return often{most: most, seed: maphash.MakeSeed(), seen: map[uint64]int{}}
}

// admit counts a message of hardware.
func (o *often) admit(now time.Time, hardware []byte) bool {
	if second := now.Unix(); second != o.second {
		o.second = second
		clear(o.seen)
	}
	key := maphash.Bytes(o.seed, hardware)
	n := o.seen[key]
	if n >= o.most {
		return false
	}
	if n > 0 || len(o.seen) < mostSeen {
		o.seen[key] = n + 1
	}
	return true
}
