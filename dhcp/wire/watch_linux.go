package wire

import (
	"errors"
	"os"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// watch says, at least once after each, that an interface or an address has come, gone or changed. The channel is nil when
// the system does not tell: then one has to look. stop ends it.
func watch(log zerolog.Logger) (changed <-chan struct{}, stop func()) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR})
		if err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		log.Debug().Err(err).Msg("changes of interfaces are looked for")
		return nil, func() {}
	}
	f, c, done := os.NewFile(uintptr(fd), "netlink"), make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		for room := make([]byte, 8192); ; {
			if _, err := f.Read(room); errors.Is(err, os.ErrClosed) {
				return
			}
			select { // an error is that there were more than it could hold: a change, too
			case c <- struct{}{}:
			default: // it is known already
			}
		}
	}()
	return c, func() {
		f.Close()
		<-done
	}
}
