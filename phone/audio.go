package phone

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/rtp"
)

// audio is the RTP of one call. The RTCP port above is held too, so that nobody else gets what is
// sent there.
type audio struct {
	rtp, rtcp *net.UDPConn

	mu      sync.Mutex // guards the fields below
	started bool
	to      netip.AddrPort
	sends   bool
	kind    uint8 // payload type
	echo    bool
	header  rtp.Header // of the last packet sent
	tone    tone
	ear     ear
}

// openAudio takes an even port and the odd one above it on host.
func openAudio(open func(*net.UDPAddr) (*net.UDPConn, error), host string) (*audio, error) {
	ip := net.ParseIP(host)
	for tries := 0; ; tries++ {
		first, err := open(&net.UDPAddr{IP: ip})
		if err != nil {
			return nil, err
		}
		port := first.LocalAddr().(*net.UDPAddr).Port
		second, err := open(&net.UDPAddr{IP: ip, Port: port ^ 1})
		switch {
		case err == nil && port%2 == 0:
			return newAudio(first, second), nil
		case err == nil:
			return newAudio(second, first), nil
		}
		_ = first.Close()
		if tries == 50 {
			return nil, err
		}
	}
}

func newAudio(rtpConn, rtcpConn *net.UDPConn) *audio {
	return &audio{rtp: rtpConn, rtcp: rtcpConn, header: rtp.Header{
		Version: 2, SSRC: rand.Uint32(), SequenceNumber: uint16(rand.Uint32()), Timestamp: rand.Uint32(),
	}}
}

// here is where we take RTP.
func (a *audio) here() netip.AddrPort {
	at := a.rtp.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// set takes what was agreed.
func (a *audio) set(m media, held bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.to, a.kind, a.sends = m.to, m.codec[0], m.hears() && !held
}

// start begins to listen and to play; l waits for both. A second start does nothing.
func (a *audio) start(l *line, hz float64, echo bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.started {
		return
	}
	a.started, a.echo, a.tone = true, echo, tone{hz: hz}
	ended := make(chan struct{})
	l.spawn(func() { defer close(ended); a.listen() })
	if !echo {
		l.spawn(func() { a.play(ended) })
	}
}

// close ends both.
func (a *audio) close() {
	_ = a.rtp.Close()
	_ = a.rtcp.Close()
}

// listen hears what comes, and sends it back when the phone is an echo, until the socket is closed.
func (a *audio) listen() {
	buf := make([]byte, 2048)
	var p rtp.Packet
	for {
		n, _, err := a.rtp.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if p.Unmarshal(buf[:n]) != nil {
			continue
		}
		c, known := codecs[p.PayloadType]
		if !known {
			continue // RTCP too, whose types are no G.711
		}
		a.mu.Lock()
		for _, b := range p.Payload {
			a.ear.hear(c.decode(b))
		}
		echo := a.echo
		a.mu.Unlock()
		if echo {
			a.send(p.PayloadType, p.Payload)
		}
	}
}

// play sends a frame every 20 ms until ended is closed.
func (a *audio) play(ended <-chan struct{}) {
	tick := time.NewTicker(frameTime)
	defer tick.Stop()
	frame := make([]byte, frameSize)
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			a.mu.Lock()
			kind, c := a.kind, codecs[a.kind]
			for i := range frame {
				frame[i] = c.encode(a.tone.next())
			}
			a.mu.Unlock()
			a.send(kind, frame)
		}
	}
}

// send sends one packet, when the far end hears.
func (a *audio) send(kind uint8, payload []byte) {
	a.mu.Lock()
	a.header.SequenceNumber++
	a.header.Timestamp += uint32(len(payload))
	a.header.PayloadType = kind
	packet, err := (&rtp.Packet{Header: a.header, Payload: payload}).Marshal()
	to, sends := a.to, a.sends
	a.mu.Unlock()
	if err == nil && sends {
		_, _ = a.rtp.WriteToUDPAddrPort(packet, to) // lost like any packet
	}
}

// heard is for how long in all hz has dominated.
func (a *audio) heard(hz float64) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ear.time(hz)
}
