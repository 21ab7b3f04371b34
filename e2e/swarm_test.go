//go:build endpoints

package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Types of DHCPv4 messages (RFC 2132 9.6).
const (
	dhcpDiscover = 1 + iota
	dhcpOffer
	dhcpRequest
	dhcpDecline
	dhcpACK
	dhcpNAK
	dhcpRelease
	dhcpInform
)

// swarm is any number of DHCPv4 clients on one cable, honest and other, by whole Ethernet frames.
type swarm struct {
	t     *testing.T
	fd    int
	index int

	greedy  atomic.Bool // whatever is offered to a client that nobody waits for is taken
	replies atomic.Int64

	mu      sync.Mutex // guards clients, owns
	clients map[[6]byte]chan dhcpReply
	owns    map[netip.Addr][6]byte // addresses that are answered for when somebody asks by ARP
}

// dhcpMessage is what a client says. The zero values of addresses are 0.0.0.0, or for to the broadcast address.
type dhcpMessage struct {
	mac     [6]byte
	xid     uint32
	kind    byte
	ciaddr  netip.Addr
	giaddr  netip.Addr
	from    netip.Addr
	to      netip.Addr
	options []byte // after 53
}

// dhcpReply is what a server says to one.
type dhcpReply struct {
	mac     [6]byte
	xid     uint32
	kind    byte
	yiaddr  netip.Addr
	server  netip.Addr
	options map[byte][]byte
}

// swarm makes clients on the device's cable, until the test ends.
func (n *newcomer) swarm(t *testing.T) *swarm {
	t.Helper()
	w := &swarm{t: t, clients: map[[6]byte]chan dhcpReply{}, owns: map[netip.Addr][6]byte{}}
	must(t, within(n.ns(), func() (err error) {
		i, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		w.index = i.Index
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20)
		unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000})
		return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: 0x0300, Ifindex: w.index}) // ETH_P_ALL
	}))
	var stopped atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 65536)
		for !stopped.Load() {
			n, from, err := unix.Recvfrom(w.fd, b, 0)
			if ll, ours := from.(*unix.SockaddrLinklayer); err == nil && ours && ll.Pkttype != unix.PACKET_OUTGOING {
				w.hear(b[:n])
			}
		}
	}()
	t.Cleanup(func() { stopped.Store(true); <-ended; unix.Close(w.fd) })
	return w
}

// has makes the client answer for an address, as a phone does that uses it.
func (w *swarm) has(mac [6]byte, a netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owns[a] = mac
}

// arp answers who has an address.
func (w *swarm) arp(frame []byte) {
	if binary.BigEndian.Uint16(frame[20:]) != 1 {
		return
	}
	w.mu.Lock()
	mac, ours := w.owns[netip.AddrFrom4([4]byte(frame[38:42]))]
	w.mu.Unlock()
	if !ours {
		return
	}
	f := append(append([]byte{}, frame[6:12]...), mac[:]...)
	f = append(f, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2)
	f = append(append(f, mac[:]...), frame[38:42]...)
	f = append(f, frame[22:32]...)
	_ = unix.Sendto(w.fd, f, 0, &unix.SockaddrLinklayer{Ifindex: w.index})
}

// hear gives a reply to the client that it is for.
func (w *swarm) hear(frame []byte) {
	if len(frame) >= 42 && binary.BigEndian.Uint16(frame[12:]) == 0x0806 {
		w.arp(frame)
		return
	}
	if len(frame) < 14+20+8+240 || binary.BigEndian.Uint16(frame[12:]) != 0x0800 || frame[14] != 0x45 || frame[23] != 17 || binary.BigEndian.Uint16(frame[36:]) != 68 {
		return
	}
	b := frame[42:]
	r := dhcpReply{mac: [6]byte(b[28:34]), xid: binary.BigEndian.Uint32(b[4:]), yiaddr: netip.AddrFrom4([4]byte(b[16:20])), options: map[byte][]byte{}}
	for o := b[240:]; len(o) >= 2 && o[0] != 255; {
		if o[0] == 0 {
			o = o[1:]
			continue
		}
		end := 2 + int(o[1])
		if end > len(o) {
			break
		}
		r.options[o[0]] = append(r.options[o[0]], o[2:end]...) // RFC 3396
		o = o[end:]
	}
	if k := r.options[53]; len(k) == 1 {
		r.kind = k[0]
	}
	if s := r.options[54]; len(s) == 4 {
		r.server = netip.AddrFrom4([4]byte(s))
	}
	w.replies.Add(1)
	w.mu.Lock()
	c := w.clients[r.mac]
	w.mu.Unlock()
	if c == nil && r.kind == dhcpOffer && w.greedy.Load() {
		w.send(dhcpMessage{mac: r.mac, xid: r.xid, kind: dhcpRequest, options: append(option(50, four(r.yiaddr)...), option(54, four(r.server)...)...)})
	}
	select {
	case c <- r:
	default: // nobody waits
	}
}

// expects makes replies to mac come.
func (w *swarm) expects(mac [6]byte) chan dhcpReply {
	c := make(chan dhcpReply, 4)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clients[mac] = c
	return c
}

// option is one option's octets.
func option(code byte, value ...byte) []byte { return append([]byte{code, byte(len(value))}, value...) }

// four is an address's octets, of none 0.0.0.0.
func four(a netip.Addr) []byte {
	if !a.IsValid() {
		return make([]byte, 4)
	}
	b := a.As4()
	return b[:]
}

// send sends a message; one that the kernel has no room for is lost, as on a wire.
func (w *swarm) send(m dhcpMessage) {
	b := make([]byte, 240, 600)
	b[0], b[1], b[2] = 1, 1, 6
	if m.giaddr.IsValid() {
		b[3] = 1
	}
	binary.BigEndian.PutUint32(b[4:], m.xid)
	copy(b[12:], four(m.ciaddr))
	copy(b[24:], four(m.giaddr))
	copy(b[28:], m.mac[:])
	copy(b[236:], []byte{99, 130, 83, 99})
	b = append(append(append(b, option(53, m.kind)...), m.options...), 255)
	w.datagram(m, b)
}

// datagram sends octets in place of a message's own.
func (w *swarm) datagram(m dhcpMessage, b []byte) {
	for len(b) < 300 {
		b = append(b, 0)
	}
	to := []byte{255, 255, 255, 255}
	if m.to.IsValid() {
		to = four(m.to)
	}
	port := uint16(68)
	if m.giaddr.IsValid() {
		port = 67
	}
	f := append([]byte{255, 255, 255, 255, 255, 255}, m.mac[:]...)
	f = append(f, 8, 0, 0x45, 0)
	f = binary.BigEndian.AppendUint16(f, uint16(28+len(b)))
	f = append(f, 0, 0, 0, 0, 64, 17, 0, 0)
	f = append(append(f, four(m.from)...), to...)
	sum := uint32(0)
	for i := 14; i < 34; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(f[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(f[24:], ^uint16(sum))
	for _, v := range []uint16{port, 67, uint16(8 + len(b)), 0} { // no checksum: a datagram may have none
		f = binary.BigEndian.AppendUint16(f, v)
	}
	_ = unix.Sendto(w.fd, append(f, b...), 0, &unix.SockaddrLinklayer{Ifindex: w.index})
}

// macOf is the address of a client by its number, of a maker.
func macOf(maker, number int) [6]byte {
	return [6]byte{2, byte(maker >> 8), byte(maker), byte(number >> 16), byte(number >> 8), byte(number)}
}

var errNAK = errors.New("refused (NAK)")

// ask sends m until an answer of one of kinds comes, or NAK, with the pauses of RFC 2131 4.1 from first on.
func (w *swarm) ask(replies chan dhcpReply, m dhcpMessage, first time.Duration, end time.Time, kinds ...byte) (dhcpReply, error) {
	for pause := first; ; pause = min(2*pause, 16*time.Second) {
		w.send(m)
		wait := time.NewTimer(pause + time.Duration(rand.Int64N(int64(pause/4)+1)))
		for waiting := true; waiting; {
			select {
			case r := <-replies:
				for _, k := range kinds {
					if r.xid == m.xid && r.kind == k {
						wait.Stop()
						return r, nil
					}
				}
				if r.xid == m.xid && r.kind == dhcpNAK && m.kind == dhcpRequest {
					wait.Stop()
					return r, errNAK
				}
			case <-wait.C:
				waiting = false
			}
		}
		if time.Now().After(end) {
			return dhcpReply{}, fmt.Errorf("%x: no answer to a message of type %d", m.mac, m.kind)
		}
	}
}

// bind is DISCOVER to ACK, begun anew after a NAK, within limit.
func (w *swarm) bind(mac [6]byte, limit time.Duration) (dhcpReply, error) {
	end, replies := time.Now().Add(limit), w.expects(mac)
	for {
		m := dhcpMessage{mac: mac, xid: rand.Uint32(), kind: dhcpDiscover, options: option(55, 1, 3, 6, 51, 54, 120)}
		o, err := w.ask(replies, m, time.Second, end, dhcpOffer)
		if err != nil {
			return o, err
		}
		m.kind = dhcpRequest
		m.options = append(append(option(50, four(o.yiaddr)...), option(54, four(o.server)...)...), m.options...)
		a, err := w.ask(replies, m, time.Second, time.Now().Add(4*time.Second), dhcpACK)
		if err == nil || time.Now().After(end) {
			return a, err
		}
	}
}

// reboot is what a phone does whose power is back: REQUEST of the address it had, and from the beginning when that is refused.
func (w *swarm) reboot(mac [6]byte, had netip.Addr, limit time.Duration) (dhcpReply, error) {
	began, replies := time.Now(), w.expects(mac)
	m := dhcpMessage{mac: mac, xid: rand.Uint32(), kind: dhcpRequest, options: append(option(50, four(had)...), option(55, 1, 3, 6, 51, 54, 120)...)}
	a, err := w.ask(replies, m, time.Second, began.Add(limit/2), dhcpACK)
	if err == nil {
		return a, nil
	}
	return w.bind(mac, limit-time.Since(began))
}

// renew prolongs the lease of an address for a time (RFC 2131 4.3.2, RENEWING; broadcast, which servers take as well). The client
// has the address meanwhile, for that is where the answer goes.
func (w *swarm) renew(mac [6]byte, had netip.Addr, lease time.Duration) error {
	w.has(mac, had)
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.owns, had)
	}()
	m := dhcpMessage{mac: mac, xid: rand.Uint32(), kind: dhcpRequest, ciaddr: had, from: had,
		options: option(51, binary.BigEndian.AppendUint32(nil, uint32(lease/time.Second))...)}
	_, err := w.ask(w.expects(mac), m, time.Second, time.Now().Add(10*time.Second), dhcpACK)
	return err
}
