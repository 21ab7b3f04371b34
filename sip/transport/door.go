package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// kind is whom a connection is with.
type kind uint8

const (
	phoneConn   kind = iota // came to a phone listener
	partnerConn             // came to the partner listener
	foreignConn             // came to the listener of a partner that is no siproam
	dialledConn             // of our making
	kinds
)

// keepAlive finds a dead peer within a minute.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}

// How long the other end may leave what we sent unacknowledged: a phone, or a server, which should not be without the network
// for long. The latter is shorter than any wait for an answer of an office, so that a request which was given up has
// arrived or never will, and a link that comes back is used at once, not when TCP tries again.
const (
	unacknowledged       = 20 * time.Second
	unacknowledgedServer = 3500 * time.Millisecond
)

// door is one stream listener.
type door struct {
	t     *Transport
	l     net.Listener
	place place
	kind  kind
	tls   *tls.Config // nil: TCP

	foreign *Foreign // whose it is; nil: phones' or offices'
}

// serve accepts until the door is closed. A lack of descriptors passes.
func (d *door) serve(ctx context.Context) error {
	for {
		nc, err := d.l.Accept()
		switch {
		case err == nil:
			d.admit(ctx, nc.(*net.TCPConn))
		case errors.Is(err, net.ErrClosed):
			return nil
		default:
			d.t.noisy.Warn().Str("event", "accept").Err(err).Stringer("listener", d.place).Msg("connection not accepted")
			time.Sleep(pause)
		}
	}
}

// admit starts a connection's goroutine, unless there are too many.
func (d *door) admit(ctx context.Context, nc *net.TCPConn) {
	from := addrPort(nc.RemoteAddr()).Addr()
	if !d.foreign.knows(from) {
		d.t.notFrom(d.foreign, from)
		nc.Close()
		return
	}
	if !d.t.enter(d.kind, from, nc) {
		d.t.count.refused("connection_limit")
		d.t.noisy.Warn().Str("event", "connection.limit").Stringer("remote_ip", from).Msg("too many connections")
		nc.Close()
		return
	}
	go func() { // Serve waits for it: enter added it to wg
		defer d.t.exit(d.kind, from, nc)
		d.welcome(ctx, nc)
	}()
}

// welcome makes a connection of nc and serves it to its end.
func (d *door) welcome(ctx context.Context, nc *net.TCPConn) {
	t := d.t
	tune(nc, d.kind, t.cfg.DSCP)
	c := newConn(t, d.kind, nc)
	_ = nc.SetDeadline(time.Now().Add(t.limits.first))
	name := roam.Flow{Transport: d.place.transport, Local: addrPort(nc.LocalAddr()), Remote: addrPort(nc.RemoteAddr())}
	c.flow = d.foreign.name(t.newFlow(name))
	if d.tls != nil {
		secure := tls.Server(nc, d.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			d.refuse(c, err)
			return
		}
		c.nc = secure
	}
	if d.place.webSocket() {
		if err := d.upgrade(c); err != nil {
			d.refuse(c, err)
			return
		}
	}
	if d.kind == partnerConn {
		c.stranger = !t.identified(c.flow, c.nc.(*tls.Conn), false)
		if c.stranger && len(c.flow.Names) == 0 {
			d.refuse(c, errNoPartner)
			return
		}
		if c.stranger { // one of our authority's, which is told that there is no agreement
			d.refused(c, errNoPartner)
		}
	}
	_ = nc.SetDeadline(time.Time{})
	if t.register(c) {
		c.run()
		t.remove(c)
	}
	nc.Close()
}

// refuse ends a connection that was not let in.
func (d *door) refuse(c *conn, err error) {
	c.raw.Close()
	d.refused(c, err)
}

func (d *door) refused(c *conn, err error) {
	e := d.t.noisy.Debug()
	if d.kind == partnerConn {
		d.t.count.refused("partner")
		e = d.t.noisy.Warn()
	}
	e.Str("event", "connection.refused").Stringer("remote_ip", c.flow.Remote.Addr()).Strs("names", c.flow.Names).
		Stringer("listener", d.place).Err(err).Msg("connection refused")
}

var errNoPartner = errors.New("certificate of no partner")

// identified fills in the names the other end proved, and its partner if it is one.
func (t *Transport) identified(f *sip.Flow, c *tls.Conn, dialled bool) bool {
	f.Names = provenNames(c.ConnectionState(), dialled)
	if len(f.Names) == 0 {
		return false
	}
	if t.cfg.URI.Host != "" {
		f.Here = t.partnerHere()
	}
	f.Partner = t.identify(f)
	return f.Partner != ""
}

func tune(c *net.TCPConn, k kind, dscp int) {
	markStream(c, dscp)
	limit := unacknowledgedServer
	if k == phoneConn {
		limit = unacknowledged
	}
	giveUpAfter(c, limit)
}

// enter counts one more connection of kind k from an address, and has Serve wait for it;
// false when there are too many, or the end has come.
func (t *Transport) enter(k kind, from netip.Addr, nc *net.TCPConn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.enterLocked(k, from) {
		return false
	}
	if k == phoneConn {
		t.comeLocked(nc, nil)
	}
	return true
}

func (t *Transport) enterLocked(k kind, from netip.Addr) bool {
	s := source(from)
	if t.state != serving || k != dialledConn && t.sources[s] >= t.cfg.MaxConnsPerSource {
		return false
	}
	if t.kinds[k] >= t.cfg.MaxConns && (k != phoneConn || !t.makeRoomLocked()) {
		return false
	}
	t.kinds[k]++
	if k != dialledConn {
		t.sources[s]++
	}
	t.wg.Add(1)
	return true
}

// exit undoes enter.
func (t *Transport) exit(k kind, from netip.Addr, nc *net.TCPConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.guests, nc)
	t.kinds[k]--
	if s := source(from); k != dialledConn {
		if t.sources[s]--; t.sources[s] == 0 {
			delete(t.sources, s)
		}
	}
	t.wg.Done()
}

// source is whom an address counts for: of IPv6 one subscriber has a whole /64.
func source(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	p, _ := a.WithZone("").Prefix(64) // 64 fits
	return p.Addr()
}

// register names c and makes it one that Send and Find know; false at the end of Serve.
func (t *Transport) register(c *conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state != serving {
		return false
	}
	t.lastID++
	c.flow.Conn = t.cfg.Boot<<32 | uint64(t.lastID)
	t.conns[c.flow.Conn] = c
	if c.kind == phoneConn {
		t.comeLocked(c.raw, c)
	}
	return true
}

// remove forgets c, and tells the receiver unless all are being closed.
func (t *Transport) remove(c *conn) {
	t.mu.Lock()
	delete(t.conns, c.flow.Conn)
	tell := t.state == serving
	t.mu.Unlock()
	if tell {
		t.receiver.Closed(c.flow)
	}
}

// connections is the gauge's reading.
func (t *Transport) connections(emit func(v float64, labels ...string)) {
	var n [roam.WSS + 1]int
	t.mu.RLock()
	for _, c := range t.conns {
		n[c.flow.Transport]++
	}
	t.mu.RUnlock()
	for kind := roam.TCP; kind <= roam.WSS; kind++ {
		emit(float64(n[kind]), kind.String())
	}
}
