package transport

import (
	"net"
	"time"
)

// When the places for phones are all taken, those who come are not turned away: a connection that carries no
// registration makes room, or a few sources that hold connections open would keep every phone out.

// guest is a phone's connection, from its first packet to its end.
type guest struct {
	c     *conn // nil: in its TLS handshake
	since time.Time
}

// Guests are looked at in a random order to find one that makes room: enough that the oldest of them is old, so
// that who came just now, and will register in a moment, stays; more while they are all registered.
const (
	looked     = 16
	lookedMost = 256
)

// comeLocked notes a connection, or what has become of it.
func (t *Transport) comeLocked(nc *net.TCPConn, c *conn) {
	since := time.Now()
	if g, found := t.guests[nc]; found {
		since = g.since
	} else if c != nil {
		return // it has made room meanwhile
	}
	t.guests[nc] = guest{c, since}
}

// makeRoomLocked ends a connection that carries no registration; false when none was found.
func (t *Transport) makeRoomLocked() bool {
	var oldest *net.TCPConn
	var since time.Time
	n := 0
	for nc, g := range t.guests { // the runtime begins at a random one
		if n++; n > looked && oldest != nil || n > lookedMost {
			break
		}
		if g.c != nil && t.Vouched(g.c.flow.Flow) || oldest != nil && !g.since.Before(since) {
			continue
		}
		oldest, since = nc, g.since
	}
	if oldest == nil {
		return false
	}
	delete(t.guests, oldest)
	_ = oldest.Close() // its goroutine ends, and gives its place back
	t.count.refused("made_room")
	return true
}
