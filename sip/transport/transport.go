// Package transport owns the sockets (RFC 3261 18, 3581, 5626) and finds hops (RFC 3263).
//
// It reads, bounds and parses what arrives, answers what cannot be parsed, answers
// keep-alives (CRLF, STUN), and hands the rest over a batch at a time. It keeps no
// transaction and knows no policy but who may connect.
package transport

import (
	"context"
	"crypto/tls"
	"net/netip"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Receiver takes what arrived, in order, a batch at a time. It is called on the
// readers' goroutines; the messages borrow buffers until release is called.
type Receiver interface {
	Receive(batch []*sip.Message, release func())
	Closed(f *sip.Flow) // a connection ended; never called for UDP
}

// Config is where to listen and how others see us.
type Config struct {
	Listen        []string       // phones: "udp:0.0.0.0:5060", "tcp:[::]:5060"; port 0: any
	PartnerListen string         // partners: "tls:[::]:5067"; "": none
	PartnerTLS    *tls.Config    // mutual TLS, both for accepting and dialling partners
	URI           sip.URI        // how other offices reach us: Here of partner flows
	Advertise     netip.Addr     // told to anyone outside LocalNetworks; invalid: the interface's
	LocalNetworks []netip.Prefix // these see the address of the interface they came in on
	Boot          uint64         // grows with every start: makes connection ids unique
	DSCP          int            // of signalling; 24 is CS3
	MaxConns      int            // connections in all; 0: 10,000
}

// Tap sees every message as it was received or sent. b is borrowed.
type Tap func(f *sip.Flow, sent bool, b []byte)

// Transport is every socket of one office.
type Transport struct{}

// New opens nothing. identify names the partner whose certificate names a flow
// has, "" for none: such a connection to the partner listener is closed.
func New(cfg Config, identify func(*sip.Flow) roam.OfficeID, m *metric.Set, log zerolog.Logger) *Transport {
	panic("transport: not built")
}

// Listen binds every listener, or none: an error names the one in use.
func (t *Transport) Listen() error { panic("transport: not built") }

// Addrs is every bound listener, as Config writes it, with the port it got.
func (t *Transport) Addrs() []string { panic("transport: not built") }

// Serve reads until ctx ends, then closes everything and waits for what it started.
func (t *Transport) Serve(ctx context.Context, r Receiver) error { panic("transport: not built") }

// Tap has every message shown to tap, until the returned function is called.
func (t *Transport) Tap(tap Tap) (stop func()) { panic("transport: not built") }

// Send queues b for f and never blocks. A UDP datagram leaves at Flush; a connection
// whose queue is full is closed. It never dials. b may be reused when Send returns.
func (t *Transport) Send(f *sip.Flow, b []byte) error { panic("transport: not built") }

// Flush sends what the turn queued for UDP (sendmmsg).
func (t *Transport) Flush() { panic("transport: not built") }

// Find gives the living flow that key names: the open connection, or the UDP path
// from our socket. found is false for a connection that is gone.
func (t *Transport) Find(key roam.Flow) (f *sip.Flow, found bool) { panic("transport: not built") }

// Reach gives the hops of u in the order to try them (RFC 3263). It waits for DNS.
func (t *Transport) Reach(ctx context.Context, u sip.URI) ([]sip.Hop, error) {
	panic("transport: not built")
}

// Open gives a flow to h: the UDP socket, a connection we have to it, or a new one. It waits.
func (t *Transport) Open(ctx context.Context, h sip.Hop) (*sip.Flow, error) {
	panic("transport: not built")
}
