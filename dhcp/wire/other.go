//go:build !linux

package wire

import (
	"context"
	"net/netip"
)

// Wire is the sockets of all interfaces. It cannot be had on this system.
type Wire struct{}

// Open refuses.
func Open(Config) (*Wire, error) { return nil, ErrUnsupported }

// Close does nothing.
func (*Wire) Close() {}

// Run refuses.
func (*Wire) Run(context.Context, func([]Datagram)) error { return ErrUnsupported }

// Interfaces is none.
func (*Wire) Interfaces() []*Interface { return nil }

// Send sends nothing.
func (*Wire) Send([]Reply) {}

// Probe refuses.
func (*Wire) Probe(context.Context, int, netip.Addr, MAC) (bool, error) { return false, ErrUnsupported }

// Servers refuses.
func (*Wire) Servers(context.Context, int, bool) ([]Other, error) { return nil, ErrUnsupported }
