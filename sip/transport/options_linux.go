package transport

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// setBuffers asks for size octets each way, beyond net.core.rmem_max where we may.
func setBuffers(c *net.UDPConn, size int) error {
	if setOption(c, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) == nil &&
		setOption(c, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, size) == nil {
		return nil
	}
	if err := c.SetReadBuffer(size); err != nil {
		return err
	}
	return c.SetWriteBuffer(size)
}

// askDestination has every datagram carry the address it was sent to. Of an IPv6 socket
// that takes IPv4 too, the one option tells both.
func askDestination(c *net.UDPConn, four bool) error {
	if four {
		return setOption(c, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	}
	return setOption(c, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
}

// giveUpAfter ends a connection when what was sent is not acknowledged for d. Without it
// the system tries for a quarter of an hour, and so would all that reuse the connection.
func giveUpAfter(c *net.TCPConn, d time.Duration) {
	_ = setOption(c, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds())) // keep-alives find most of it out, too
}

func setOption(c syscall.Conn, level, name, value int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = unix.SetsockoptInt(int(fd), level, name, value) }); err != nil {
		return err
	}
	return result
}
