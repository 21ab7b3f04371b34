package transport

import (
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// markDatagrams sets the DSCP of c (RFC 4594: CS3 for signalling). A socket for both
// families has two options; one that a system lacks is no reason to stop.
func markDatagrams(c *net.UDPConn, dscp int) {
	if dscp != 0 {
		_ = ipv4.NewPacketConn(c).SetTOS(dscp << 2)
		_ = ipv6.NewPacketConn(c).SetTrafficClass(dscp << 2)
	}
}

// markStream is markDatagrams for a connection.
func markStream(c *net.TCPConn, dscp int) {
	if dscp != 0 {
		_ = ipv4.NewConn(c).SetTOS(dscp << 2)
		_ = ipv6.NewConn(c).SetTrafficClass(dscp << 2)
	}
}
