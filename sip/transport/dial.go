package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// dialing is a connection of our making, or one under way that several may wait for.
type dialing struct {
	done   chan struct{} // closed when c or err is set; both are constant then
	c      *conn
	err    error
	cancel context.CancelFunc
}

// living says that d leads, or may yet lead, to a connection.
func (d *dialing) living() bool {
	select {
	case <-d.done:
		return d.err == nil && !d.c.isEnded()
	default:
		return true
	}
}

// Open gives a flow to h: the UDP socket, a connection we have to it, or a new one. It
// waits. A TLS connection is only given when the certificate has h.Name, and, with
// PartnerTLS, belongs to a partner.
func (t *Transport) Open(ctx context.Context, h sip.Hop) (*sip.Flow, error) {
	remote, err := netip.ParseAddrPort(h.Addr)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", h.Addr, err)
	}
	if h.Transport == roam.UDP {
		return t.openUDP(unmap(remote))
	}
	if h.Transport != roam.TCP && h.Transport != roam.TLS {
		return nil, fmt.Errorf("open %s: transport %q: %w", h.Addr, h.Transport, roam.NoRoute)
	}
	d, err := t.dialingTo(h, remote)
	if err != nil {
		return nil, err
	}
	return d.wait(ctx, h)
}

// wait is d's flow, once it has one.
func (d *dialing) wait(ctx context.Context, h sip.Hop) (*sip.Flow, error) {
	select {
	case <-d.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("open %s: %w", h.Addr, ctx.Err())
	}
	if d.err != nil {
		return nil, fmt.Errorf("open %s: %w", h.Addr, d.err)
	}
	return d.c.flow, nil
}

// dialingTo is the connection to h, started when there is none. It is nobody's in
// particular: it goes on when those who wait for it give up, and ends at limits.dial.
func (t *Transport) dialingTo(h sip.Hop, remote netip.AddrPort) (*dialing, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := t.pool[h]; d != nil && d.living() {
		return d, nil
	}
	return t.startLocked(t.pool, h, remote)
}

// startLocked begins a connection to h, and puts it into where.
func (t *Transport) startLocked(where map[sip.Hop]*dialing, h sip.Hop, remote netip.AddrPort) (*dialing, error) {
	if t.state != serving {
		return nil, fmt.Errorf("open %s: %w", h.Addr, net.ErrClosed)
	}
	if !t.enterLocked(dialledConn, remote.Addr()) {
		return nil, fmt.Errorf("open %s: too many connections: %w", h.Addr, roam.NoCapacity)
	}
	ctx, cancel := context.WithTimeout(context.Background(), t.limits.dial) // close cancels it, too
	d := &dialing{done: make(chan struct{}), cancel: cancel}
	where[h] = d
	go func() { // Serve waits for it: enter added it to wg
		defer t.exit(dialledConn, remote.Addr(), nil)
		t.dial(ctx, h, d)
	}()
	return d, nil
}

// dial makes the connection and serves it to its end.
func (t *Transport) dial(ctx context.Context, h sip.Hop, d *dialing) {
	d.c, d.err = t.connect(ctx, h)
	d.cancel()
	if d.err == nil && !t.register(d.c) {
		d.c.raw.Close()
		d.err = net.ErrClosed
	}
	if d.err != nil {
		t.forget(h, d)
		close(d.done)
		return
	}
	t.adopt(h, d)
	close(d.done)
	d.c.run()
	t.forget(h, d)
	t.remove(d.c)
}

func (t *Transport) forget(h sip.Hop, d *dialing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, where := range []map[sip.Hop]*dialing{t.pool, t.renewed} {
		if where[h] == d {
			delete(where, h)
		}
	}
}

func (t *Transport) connect(ctx context.Context, h sip.Hop) (*conn, error) {
	dialer := net.Dialer{KeepAliveConfig: keepAlive}
	nc, err := dialer.DialContext(ctx, "tcp", h.Addr)
	if err != nil {
		return nil, err
	}
	c := newConn(t, dialledConn, nc.(*net.TCPConn))
	tune(c.raw, c.kind, t.cfg.DSCP)
	local := addrPort(nc.LocalAddr())
	c.flow = t.newFlow(roam.Flow{Transport: h.Transport, Local: local, Remote: addrPort(nc.RemoteAddr())})
	c.flow.Here = t.here(c.flow.Remote.Addr(), netip.AddrPortFrom(local.Addr(), t.listeningPort(h.Transport, local.Port())))
	t.dialledForeign(c.flow)
	if h.Transport == roam.TLS {
		err = t.secure(ctx, c, h.Name)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// secure makes TLS of c, with an end whose certificate has name.
func (t *Transport) secure(ctx context.Context, c *conn, name string) error {
	secure := tls.Client(c.raw, t.dialTLS(name))
	if err := secure.HandshakeContext(ctx); err != nil {
		return err
	}
	c.nc = secure
	if t.cfg.PartnerTLS != nil && !t.identified(c.flow, secure, true) {
		t.count.refused("partner")
		t.noisy.Warn().Str("event", "connection.refused").Stringer("remote_ip", c.flow.Remote.Addr()).
			Strs("names", c.flow.Names).Err(errNoPartner).Msg("connection refused")
		return errNoPartner
	}
	return nil
}

// listeningPort is where new connections reach us by transport (18.1.1: Via names it,
// not the port a connection of ours happens to have).
func (t *Transport) listeningPort(transport roam.Transport, otherwise uint16) uint16 {
	for _, d := range t.doors {
		if d.kind == phoneConn && d.place.transport == transport {
			return d.place.at.Port()
		}
	}
	return otherwise
}
