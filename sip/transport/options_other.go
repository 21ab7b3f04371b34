//go:build !linux

package transport

import (
	"net"
	"time"
)

// setBuffers asks for size octets each way.
func setBuffers(c *net.UDPConn, size int) error {
	if err := c.SetReadBuffer(size); err != nil {
		return err
	}
	return c.SetWriteBuffer(size)
}

// askDestination does nothing: the route to a sender tells our address.
func askDestination(*net.UDPConn, bool) error { return nil }

// giveUpAfter does nothing: keep-alives must find it out.
func giveUpAfter(*net.TCPConn, time.Duration) {}
