package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const typeIPv6 = 0x86dd

// packets is a packet socket (packet(7)) of one interface and one type of frame. Anyone may send; one goroutine reads. A
// nil one is closed.
type packets struct {
	f      *os.File
	raw    syscall.RawConn
	index  int
	closed atomic.Bool // a RawConn does not say so with os.ErrClosed
}

// openPackets opens one; whole has the Ethernet header be part of what is sent and read. A filter lets through what it wants.
func openPackets(p *port, kind uint16, whole bool, filter []bpf.Instruction) (_ *packets, err error) {
	form := unix.SOCK_DGRAM
	if whole {
		form = unix.SOCK_RAW
	}
	fd, err := unix.Socket(unix.AF_PACKET, form|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0) // 0: it hears nothing before it is bound
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, fmt.Errorf("packets on %s: %w", p.name, ErrNoRaw) // the last where systemd restricts address families
	}
	if err == nil {
		defer func() {
			if err != nil {
				unix.Close(fd)
			}
		}()
		err = attach(fd, filter)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: network(kind), Ifindex: p.index})
	}
	if err != nil {
		return nil, fmt.Errorf("packets on %s: %w", p.name, err)
	}
	s := &packets{f: os.NewFile(uintptr(fd), "packets on "+p.name), index: p.index}
	if s.raw, err = s.f.SyscallConn(); err != nil {
		return nil, err
	}
	return s, nil
}

// attach gives a socket its filter.
func attach(fd int, filter []bpf.Instruction) error {
	if filter == nil {
		return nil
	}
	raw, err := bpf.Assemble(filter)
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
}

// network is a number as the network writes it.
func network(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

func (s *packets) close() {
	if s != nil {
		s.closed.Store(true)
		s.f.Close()
	}
}

// send sends a whole frame, and never waits.
func (s *packets) send(frame []byte, kind uint16) (err error) {
	to := &unix.SockaddrLinklayer{Protocol: network(kind), Ifindex: s.index, Halen: 6}
	copy(to.Addr[:], frame[:6])
	if e := s.raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), frame, unix.MSG_DONTWAIT, to)
		return true
	}); e != nil {
		return e
	}
	return err
}

// read gives take what comes in until s is closed; b is valid until take returns. What this machine itself sends is left out.
func (s *packets) read(take func(b []byte, from MAC)) {
	room := make([]byte, maxRead)
	for {
		n, from, err := s.receive(room)
		switch {
		case err != nil && s.closed.Load():
			return
		case err != nil: // the interface went down, or no memory just now
			time.Sleep(pause)
		case from != nil && from.Pkttype != unix.PACKET_OUTGOING:
			take(room[:n], MAC(from.Addr[:6]))
		}
	}
}

func (s *packets) receive(room []byte) (n int, from *unix.SockaddrLinklayer, err error) {
	e := s.raw.Read(func(fd uintptr) bool {
		var at unix.Sockaddr
		n, at, err = unix.Recvfrom(int(fd), room, unix.MSG_DONTWAIT)
		from, _ = at.(*unix.SockaddrLinklayer)
		return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
	})
	if e != nil {
		return 0, nil, e
	}
	return n, from, err
}

// toPort4 lets whole datagrams of IPv4 to a port through, as read from the IP header on.
func toPort4(port uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 6},
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x3fff, SkipTrue: 4}, // a part of one
		bpf.LoadMemShift{Off: 0},                                    // the size of the header
		bpf.LoadIndirect{Off: 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: port, SkipTrue: 1},
		bpf.RetConstant{Val: maxRead},
		bpf.RetConstant{Val: 0},
	}
}

// toPort6 is toPort4 of IPv6, for datagrams without extension headers.
func toPort6(port uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 3},
		bpf.LoadAbsolute{Off: 42, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: port, SkipTrue: 1},
		bpf.RetConstant{Val: maxRead},
		bpf.RetConstant{Val: 0},
	}
}
