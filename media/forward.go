package media

import (
	"net/netip"
	"time"
)

// maxPacket is more than any RTP packet that fits an Ethernet frame. A longer one is dropped.
const maxPacket = 1600

// dropped is why a packet went no further.
type dropped uint8

const (
	taken     dropped = iota
	malformed         // neither RTP nor RTCP, too short or too long
	stranger          // from an address that is not the leg's (RTP injection, scanners)
	otherPort         // from the right address, while another port of it is talking
	unjoined          // nobody to hear it: a fork that has not won, a call not answered
	nowhere           // the other side's address is not known, or it is on hold by 0.0.0.0
	unsent            // the system refused to send it
	resting           // to a port that no call has: late packets of the last one, scanners
	droppedEnd
)

var droppedNames = [droppedEnd]string{"", "malformed", "source", "port", "unjoined", "nowhere", "send", "resting"}

// content is what a datagram on a media port holds.
type content uint8

const (
	junk content = iota
	rtp
	rtcp
	opaque // of a stream we do not read
)

// classify tells RTP from RTCP by the ranges of RFC 5761 4 and RFC 7983. STUN is junk here: ICE
// lines do not pass, so nobody was asked to send any.
func classify(pkt []byte, raw, dtls bool) content {
	switch {
	case len(pkt) == 0 || len(pkt) == maxPacket:
		return junk
	case raw:
		return opaque
	case dtls && pkt[0] >= 20 && pkt[0] <= 63:
		return opaque
	case len(pkt) < 8 || pkt[0]>>6 != 2:
		return junk
	case pkt[1] >= 192 && pkt[1] <= 223:
		return rtcp
	case len(pkt) < 12:
		return junk
	}
	return rtp
}

// receiver is whose a socket is.
type receiver struct {
	b       *Bridge
	s       *stream
	control bool // it is the RTCP socket
}

// receive passes on what came in from src.
func (r receiver) receive(pkt []byte, src netip.AddrPort) {
	out, to, why := r.b.pass(r.s, r.control, pkt, src)
	if why == taken {
		if out.write(pkt, to) == nil {
			r.b.relay.sent.Add(1)
			return
		}
		why = unsent
	}
	r.b.relay.drops[why].Add(1)
}

// pass decides where a datagram from src goes, and counts it. Its lock is held for well under a
// microsecond; it allocates nothing.
func (b *Bridge) pass(s *stream, control bool, pkt []byte, src netip.AddrPort) (out *socket, to netip.AddrPort, why dropped) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	what := classify(pkt, s.raw, s.dtls)
	if what == junk || control && what == rtp {
		return nil, to, malformed
	}
	from := &s.media
	if control {
		from = &s.control
	}
	if why = s.admit(&b.relay.machine, from, src, now); why != taken {
		return nil, to, why
	}
	b.heard = now
	b.relay.received.Add(1)
	if what == rtp {
		s.tally.add(pkt, now.Sub(b.opened), s.rates)
	}
	return b.across(s, what == rtcp || control)
}

// across is where what s's leg sends must go: the same stream of the other side.
func (b *Bridge) across(s *stream, control bool) (out *socket, to netip.AddrPort, why dropped) {
	other := b.other(s.leg)
	if other == nil || s.index >= len(other.streams) {
		return nil, to, unjoined
	}
	o := other.streams[s.index]
	if o.ports == nil || o.muted {
		return nil, to, nowhere
	}
	far := &o.media
	out = o.ports.rtp
	if control && !(s.mux && o.mux) {
		far, out = &o.control, o.ports.rtcp
	}
	to, ok := far.dest()
	if !ok {
		return nil, to, nowhere
	}
	return out, to, taken
}
