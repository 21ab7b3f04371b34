package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"github.com/siproam/siproam/roam"
)

// place is where one listener is bound.
type place struct {
	transport roam.Transport
	at        netip.AddrPort
}

// String is p as Config writes it.
func (p place) String() string { return strings.ToLower(p.transport.String()) + ":" + p.at.String() }

// secure says that p needs our certificate.
func (p place) secure() bool { return p.transport == roam.TLS || p.transport == roam.WSS }

// webSocket says that what comes to p are WebSockets.
func (p place) webSocket() bool { return p.transport == roam.WS || p.transport == roam.WSS }

// parsePlace reads "udp:192.0.2.1:5060".
func parsePlace(s string) (p place, err error) {
	name, at, _ := strings.Cut(s, ":")
	for kind := roam.UDP; kind <= roam.WSS; kind++ {
		if name == strings.ToLower(kind.String()) {
			p.transport = kind
		}
	}
	if p.transport == roam.NoTransport {
		return p, fmt.Errorf("listen %s: transport must be udp, tcp, tls, ws or wss", s)
	}
	if p.at, err = netip.ParseAddrPort(at); err != nil {
		return p, fmt.Errorf("listen %s: want transport:address:port with a numeric address", s)
	}
	return p, nil
}

// Listen binds every listener, or none: an error names the one in use.
func (t *Transport) Listen() (err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state != idle {
		return errors.New("listen: called twice")
	}
	defer func() {
		if err != nil {
			t.unlisten()
		}
	}()
	if err := t.listenPhones(); err != nil {
		return err
	}
	if err := t.listenPartners(); err != nil {
		return err
	}
	if err := t.listenForeign(); err != nil {
		return err
	}
	t.state = listening
	return nil
}

func (t *Transport) unlisten() {
	for _, s := range t.sockets {
		s.c.Close()
	}
	for _, d := range t.doors {
		d.l.Close()
	}
	t.sockets, t.doors, t.places = nil, nil, nil
}

func (t *Transport) listenPhones() error {
	var asked []place
	for _, s := range t.cfg.Listen {
		p, err := parsePlace(s)
		if err != nil {
			return err
		}
		asked = append(asked, p)
	}
	for _, p := range asked {
		switch {
		case p.transport == roam.UDP:
			s, err := t.bindUDP(p, network(p, asked))
			if err != nil {
				return err
			}
			t.sockets = append(t.sockets, s)
			t.places = append(t.places, place{roam.UDP, s.local})
			continue
		case p.secure() && t.cfg.PhoneTLS == nil:
			return fmt.Errorf("listen %s: no certificate for phones", p)
		}
		var c *tls.Config
		if p.secure() {
			c = phoneTLS(t.cfg.PhoneTLS)
		}
		if err := t.bindStream(p, network(p, asked), phoneConn, c); err != nil {
			return err
		}
	}
	return nil
}

func (t *Transport) listenPartners() error {
	if t.cfg.PartnerListen == "" {
		return nil
	}
	p, err := parsePlace(t.cfg.PartnerListen)
	if err != nil {
		return err
	}
	if p.transport != roam.TLS {
		return fmt.Errorf("listen %s: partners are only known by TLS certificates", p)
	}
	c, err := partnerServerTLS(t.cfg.PartnerTLS)
	if err != nil {
		return fmt.Errorf("listen %s: %w", p, err)
	}
	return t.bindStream(p, network(p, []place{p}), partnerConn, c)
}

// network is the word package net has for p's family: [::] takes IPv4 too, unless an
// IPv4 listener wants the same port.
func network(p place, all []place) string {
	name := "tcp"
	if p.transport == roam.UDP {
		name = "udp"
	}
	if p.at.Addr().Is4() {
		return name + "4"
	}
	for _, q := range all {
		if q.at.Addr().Is4() && q.at.Port() == p.at.Port() && (q.transport == roam.UDP) == (p.transport == roam.UDP) {
			return name + "6"
		}
	}
	if !p.at.Addr().IsUnspecified() {
		return name + "6"
	}
	return name
}

func (t *Transport) bindUDP(p place, network string) (*socket, error) {
	pc, err := listenFallback(p, network, func(network, at string) (net.PacketConn, error) {
		return new(net.ListenConfig).ListenPacket(context.Background(), network, at)
	})
	if err != nil {
		return nil, err
	}
	return newSocket(t, pc.(*net.UDPConn), network == "udp")
}

func (t *Transport) bindStream(p place, network string, k kind, c *tls.Config) error {
	l, err := listenFallback(p, network, func(network, at string) (net.Listener, error) {
		lc := net.ListenConfig{KeepAliveConfig: keepAlive}
		return lc.Listen(context.Background(), network, at)
	})
	if err != nil {
		return err
	}
	at := place{p.transport, addrPort(l.Addr())}
	t.doors = append(t.doors, &door{t: t, l: l, place: at, kind: k, tls: c})
	t.places = append(t.places, at)
	return nil
}

// listenFallback listens; on a machine without IPv6, [::] means every IPv4 address.
func listenFallback[L any](p place, network string, listen func(network, at string) (L, error)) (L, error) {
	l, err := listen(network, p.at.String())
	if err != nil && network[3:] == "" && (errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)) {
		l, err = listen(network+"4", netip.AddrPortFrom(netip.IPv4Unspecified(), p.at.Port()).String())
	}
	if err != nil {
		return l, fmt.Errorf("listen %s: %w", p, cause(err))
	}
	return l, nil
}

// cause is the bare reason: package net repeats the address around it.
func cause(err error) error {
	if sys, found := errors.AsType[*os.SyscallError](err); found {
		return sys.Err
	}
	return err
}

func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return unmap(ap)
}

func unmap(ap netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()) }

// Addrs is every bound listener, as Config writes it, with the port it got: those of
// Listen in their order, then the partners', then UDP and TCP of each foreign one.
func (t *Transport) Addrs() []string {
	all := make([]string, len(t.places))
	for i, p := range t.places {
		all[i] = p.String()
	}
	return all
}
