//go:build unix && !linux

package media

import (
	"net"
	"syscall"
)

// setDSCP marks what c sends (RFC 2474, 3246). A socket for both families needs both options,
// and each family refuses the other's, so errors are of no interest.
func setDSCP(c *net.UDPConn, dscp int) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_TOS, dscp<<2)
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_TCLASS, dscp<<2)
	})
}
