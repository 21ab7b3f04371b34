package media

import (
	"net"
	"net/netip"
	"strconv"
	"time"
)

// leg is one side of a call: what it said last, and its streams, in the order of its m= lines.
// The bridge's mutex guards it.
type leg struct {
	name    string
	origin  origin // of what we send it
	streams []*stream
	codecs  []payload // of its first live stream with sound
	spoke   int       // when its last SDP came, counted by the bridge; 0: never
	held    bool
}

// stream is one m= line of one leg: our sockets towards it, and where it is.
type stream struct {
	leg      *leg
	index    int
	ports    *pair // nil: not opened, or closed because it was rejected
	rejected bool  // its last SDP, or the other side's, said port 0
	raw      bool  // not RTP: relayed unread
	dtls     bool
	mux      bool // it offers, or takes, RTCP on the RTP port
	muted    bool // held by 0.0.0.0: nothing is sent to it
	media    path
	control  path
	origins  origins
	addr     netip.Addr // its SDP's, kept while that says 0.0.0.0
	rates    clocks
	tally    tally
}

func (l *leg) stream(i int) *stream {
	for len(l.streams) <= i {
		l.streams = append(l.streams, &stream{leg: l, index: len(l.streams)})
	}
	return l.streams[i]
}

// learn takes what leg l says of itself.
func (l *leg) learn(d *description, m *machine, peer Peer) {
	l.codecs, l.held = nil, false
	first := true
	for i, sec := range d.streams {
		s := l.stream(i)
		s.rejected = sec.port == 0 || !sec.relayed()
		if s.rejected {
			continue
		}
		s.learn(sec, m, peer)
		if first {
			first = false
			l.held = s.muted || sec.dir != "sendrecv"
		}
		if l.codecs == nil && sec.media == "audio" {
			l.codecs = sec.payloads
		}
	}
	for _, s := range l.streams[min(len(d.streams), len(l.streams)):] {
		s.rejected = true // RFC 3264 8 forbids it, phones do it
	}
}

// learn takes one live stream of the leg's SDP.
func (s *stream) learn(sec *section, m *machine, peer Peer) {
	s.raw, s.dtls, s.mux = !sec.rtp(), sec.dtls, sec.mux
	s.muted = sec.addr.IsValid() && sec.addr.IsUnspecified()
	if !s.muted {
		s.addr = sec.addr
		s.media.signal(onLink(netip.AddrPortFrom(sec.addr, sec.port), peer))
		s.control.signal(onLink(sec.control(), peer))
	}
	s.origins.set(m, s.addr, sec.rtcp.Addr(), peer.Signal.Unmap().WithZone(""))
}

// onLink is a with the zone of the link that peer's signalling comes by, as a number: SDP cannot say it of a
// link-local address (RFC 4007 11.2, RFC 4566 has none).
func onLink(a netip.AddrPort, peer Peer) netip.AddrPort {
	zone := peer.Signal.Zone()
	if zone == "" || !a.Addr().Is6() || !a.Addr().IsLinkLocalUnicast() {
		return a
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		zone = strconv.Itoa(i.Index)
	}
	return netip.AddrPortFrom(a.Addr().WithZone(zone), a.Port())
}

// control is where a stream wants its RTCP (RFC 3605): the port above RTP unless it says otherwise.
func (s *section) control() netip.AddrPort {
	addr, port := s.addr, s.port+1
	if s.rtcp.Port() != 0 {
		port = s.rtcp.Port()
	}
	if a := s.rtcp.Addr(); a.IsValid() && !a.IsUnspecified() {
		addr = a
	}
	return netip.AddrPortFrom(addr, port)
}

// learnRates notes the RTP clocks of a stream; both sides of it use them.
func (s *stream) learnRates(payloads []payload) {
	for _, p := range payloads {
		s.rates.learn(p)
	}
}

// clocks is the RTP clocks, Hz, of the payload types of a stream: two or three, so a list is smaller than a map.
type clocks []clock

type clock struct {
	kind uint8
	rate uint32
}

func (c *clocks) learn(p payload) {
	for i := range *c {
		if (*c)[i].kind == p.number {
			(*c)[i].rate = p.rate
			return
		}
	}
	*c = append(*c, clock{p.number, p.rate})
}

// of is the clock of a payload type, 8 kHz or what RFC 3551 says when no SDP named it.
func (c clocks) of(kind uint8) (rate uint32) {
	for _, k := range c {
		if k.kind == kind {
			return k.rate
		}
	}
	return static(kind).rate
}

// admit says that a packet from src on path p is the far end's, and latches it.
func (s *stream) admit(m *machine, p *path, src netip.AddrPort, now time.Time) (why dropped) {
	if src != p.latched {
		if !s.origins.allow(m, src.Addr()) {
			return stranger
		}
		if !p.latch(src, now) {
			return otherPort
		}
	}
	p.heard = now
	return taken
}
