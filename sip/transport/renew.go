package transport

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/siproam/siproam/sip"
)

// retiredFor is how long a connection lives after another has taken its place: as long as a transaction may wait for what
// comes by it (Timers B and F), and a little more.
const retiredFor = 40 * time.Second

// Renew is Open for who has heard nothing by old since then, and doubts that it leads anywhere: the other end may have given it up
// without our hearing of it. It gives a new connection, from now on everybody's, or another that has come meanwhile; old itself if
// anything has been heard by it. Until the new one stands, old is everybody's still: a server that is slow takes none either.
func (t *Transport) Renew(ctx context.Context, h sip.Hop, old *sip.Flow, since time.Time) (*sip.Flow, error) {
	remote, err := netip.ParseAddrPort(h.Addr)
	if err != nil || !h.Transport.Stream() {
		return nil, fmt.Errorf("renew %s: no connection", h.Addr)
	}
	d, err := t.renewing(h, remote, old, since)
	switch {
	case err != nil:
		return nil, err
	case d == nil:
		return t.Open(ctx, h)
	}
	return d.wait(ctx, h)
}

// renewing is what takes old's place; nil when there is nothing to be replaced.
func (t *Transport) renewing(h sip.Hop, remote netip.AddrPort, old *sip.Flow, since time.Time) (*dialing, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.pool[h]
	if d == nil || !d.living() || !d.leads(old) || d.c.heard.Load() > since.UnixNano() {
		return nil, nil
	}
	if n := t.renewed[h]; n != nil {
		return n, nil
	}
	return t.startLocked(t.renewed, h, remote)
}

// leads says that d is f, and not another connection or one under way.
func (d *dialing) leads(f *sip.Flow) bool {
	select {
	case <-d.done:
		return d.err == nil && d.c.flow == f
	default:
		return false
	}
}

// adopt puts a new connection where the one is that it replaces, which ends when nobody waits for anything by it any more.
func (t *Transport) adopt(h sip.Hop, d *dialing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.renewed[h] != d {
		return
	}
	delete(t.renewed, h)
	if was := t.pool[h]; was != nil {
		select {
		case <-was.done:
			if was.err == nil {
				was.c.retire()
			}
		default: // what it should replace has ended, and another is under way
			d.c.retire()
			return
		}
	}
	t.pool[h] = d
}

// retire has the reader end c some time soon.
func (c *conn) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired = time.Now().Add(retiredFor); !c.ended {
		_ = c.nc.SetReadDeadline(c.retired)
	}
}
