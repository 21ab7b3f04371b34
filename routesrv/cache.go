package routesrv

// cache remembers the most recently used of what it was given: at least max/2, at most
// max. It is two maps: when the young one is full it becomes the old one, and what is
// asked for in the old one moves over. The loop owns it.
type cache[K comparable, V any] struct {
	young, old map[K]V
	max        int
}

func newCache[K comparable, V any](max int) *cache[K, V] {
	return &cache[K, V]{young: map[K]V{}, max: max}
}

func (c *cache[K, V]) get(k K) (v V, found bool) {
	if v, found = c.young[k]; found {
		return v, true
	}
	if v, found = c.old[k]; found {
		c.put(k, v)
	}
	return v, found
}

func (c *cache[K, V]) put(k K, v V) {
	if _, here := c.young[k]; !here && len(c.young) >= c.max/2 {
		c.old, c.young = c.young, make(map[K]V, c.max/8)
	}
	c.young[k] = v
}

// each gives everything, newest version first.
func (c *cache[K, V]) each(fn func(K, V)) {
	for k, v := range c.young {
		fn(k, v)
	}
	for k, v := range c.old {
		if _, newer := c.young[k]; !newer {
			fn(k, v)
		}
	}
}
