package lease

import "time"

// heap is entries by due, the first on top. A lease that is renewed stays where it is until its old time has come, so that
// renewing costs nothing here.
type heap []*entry

func (h *heap) set(e *entry) {
	if e.index < 0 {
		e.due, e.index = e.until, len(*h)
		*h = append(*h, e)
		h.up(e.index)
	} else if e.until < e.due {
		e.due = e.until
		h.up(e.index)
	}
}

func (h heap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].due <= h[i].due {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h heap) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h[child+1].due < h[child].due {
			child++
		}
		if h[i].due <= h[child].due {
			return
		}
		h.swap(i, child)
		i = child
	}
}

func (h heap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// again puts the first where its time belongs; pop takes it away.
func (h heap) again() { h[0].due = h[0].until; h.down(0) }

func (h *heap) pop() {
	old := *h
	last := len(old) - 1
	old.swap(0, last)
	old[last].index = -1
	old[last] = nil
	*h = old[:last]
	h.down(0)
}

// Next is when Expire has something to do, at the earliest; zero: never.
func (t *Table) Next() time.Time {
	if len(t.due) == 0 {
		return time.Time{}
	}
	return t.time(t.due[0].due)
}

// Expire ends what is over at now: offers, quarantines, and leases, which it returns as they were. It costs as much as there
// is to end. Nothing of it must be stored: a row says until when it is good.
func (t *Table) Expire(now time.Time) (over []Lease) {
	t.tick(now)
	for len(t.due) > 0 && t.due[0].due <= t.at {
		e := t.due[0]
		if e.used() && e.until > t.at {
			t.due.again()
			continue
		}
		t.due.pop()
		switch e.state {
		case Bound:
			over = append(over, t.lease(e))
			t.free(e)
		case Offered:
			t.unoffer(e)
		case Declined:
			e.use(-1)
			t.blank(e)
			e.doubt = t.at + e.sub.Max
			t.rest(e)
		}
	}
	return over
}

// free ends e's lease and remembers whose it was.
func (t *Table) free(e *entry) {
	e.use(-1)
	e.state = Free
	t.rest(e)
}

// unoffer takes an offer back: who had the address before is its last client again.
func (t *Table) unoffer(e *entry) {
	e.use(-1)
	b := e.before
	t.blank(e)
	if b != nil && e.sub.clients[b.client] == nil {
		e.client, e.mac, e.port, e.host, e.vendor, e.known = b.client, b.mac, b.port, b.host, b.vendor, b.known
		e.plugged, e.since, e.until = b.plugged, b.since, b.until
		e.sub.clients[e.client] = e
	}
	t.rest(e)
}

// blank makes e an address that nobody has had.
func (t *Table) blank(e *entry) {
	if e.sub.clients[e.client] == e {
		delete(e.sub.clients, e.client)
	}
	e.client, e.mac, e.port, e.host, e.vendor, e.known = "", "", "", "", "", false
	e.plugged, e.since, e.until, e.state, e.before = never, never, never, Free, nil
}

// rest puts a free address where the next who needs one finds it.
func (t *Table) rest(e *entry) {
	switch p := e.pool; {
	case p == nil:
		e.out()
	case e.doubt > t.at:
		p.doubt.push(e)
	case e.client == "":
		p.blank.push(e)
	case e.known:
		p.known.push(e)
	default:
		p.free.push(e)
	}
}
