//go:build !unix

package media

import "net"

// setDSCP does nothing: Windows marks packets by policy, not by socket.
func setDSCP(*net.UDPConn, int) {}
