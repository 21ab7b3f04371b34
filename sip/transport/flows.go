package transport

import (
	"net/netip"
	"sync"

	"github.com/siproam/siproam/sip"
)

// path names a UDP flow of one socket.
type path struct {
	remote netip.AddrPort
	local  netip.Addr
}

// maxFlows is how many flows one generation holds: some 5 MB.
const maxFlows = 1 << 14

// flows remembers the UDP flows seen lately, so that a refresh allocates nothing. Two
// generations bound it: when the young one is full it becomes the old one, and what
// was old is forgotten. Whoever is heard between two floods of sources stays.
type flows struct {
	mu         sync.Mutex // guards young and old
	young, old map[path]*sip.Flow
}

// get is the flow of p, nil when it is not remembered.
func (c *flows) get(p path) *sip.Flow {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.young[p]; f != nil {
		return f
	}
	f := c.old[p]
	if f != nil {
		c.add(p, f)
	}
	return f
}

// put remembers f as the flow of p, unless somebody was faster: his is returned then.
func (c *flows) put(p path, f *sip.Flow) *sip.Flow {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.young[p]; other != nil {
		return other
	}
	c.add(p, f)
	return f
}

func (c *flows) add(p path, f *sip.Flow) {
	if c.young == nil || len(c.young) >= maxFlows {
		c.young, c.old = map[path]*sip.Flow{}, c.young
	}
	c.young[p] = f
}
