// Package dhcp is the office's DHCP server: G of the method. A phone gets its address, the way to the softswitch and the
// place of its settings from it, and the registrar learns which phone has an address and when it was plugged in.
//
// It owns the state machines of DHCPv4 and DHCPv6 and what is told to clients. It does not own which address is whose (package lease),
// nor sockets, frames and probes (package wire). Its state lives on the office's loop.
// Implements RFC 2131, 2132, 3046, 3361, 3396, 3527, 4039, 5107, 6842, 8357, and of RFC 8415 addresses, settings and relays;
// leaves out BOOTP, and of RFC 3118 everything.
package dhcp
