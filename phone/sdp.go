package phone

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// The directions of a stream (RFC 3264 6.1).
const (
	sendrecv = "sendrecv"
	sendonly = "sendonly"
	recvonly = "recvonly"
	inactive = "inactive"
)

// media is the audio stream of one SDP body.
type media struct {
	to    netip.AddrPort // where its sender wants RTP; the address is 0.0.0.0 on an old hold
	codec []uint8        // payload types, best first
	dir   string
}

// errNoMedia says that a body has no audio stream we could take part in.
var errNoMedia = errors.New("no usable audio")

// body writes SDP for one G.711 stream.
func (m media) body(session, version uint64) []byte {
	kind := "IP4"
	if m.to.Addr().Is6() {
		kind = "IP6"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=- %d %d IN %s %s\r\ns=-\r\nc=IN %s %s\r\nt=0 0\r\nm=audio %d RTP/AVP",
		session, version, kind, m.to.Addr(), kind, m.to.Addr(), m.to.Port())
	for _, n := range m.codec {
		fmt.Fprintf(&b, " %d", n)
	}
	b.WriteString("\r\n")
	for _, n := range m.codec {
		fmt.Fprintf(&b, "a=rtpmap:%d %s/8000\r\n", n, codecs[n].name)
	}
	fmt.Fprintf(&b, "a=ptime:20\r\na=%s\r\n", m.dir)
	return []byte(b.String())
}

// parseMedia reads the first audio stream of an SDP body; only the G.711 payload types are kept.
func parseMedia(body []byte) (media, error) {
	m := media{dir: sendrecv}
	var host, session string
	audio, others := false, false
	for l := range strings.Lines(string(body)) {
		l = strings.TrimRight(l, "\r\n")
		switch {
		case strings.HasPrefix(l, "m="):
			others = audio
			f := strings.Fields(l[2:])
			if audio || len(f) < 4 || f[0] != "audio" {
				continue
			}
			audio = true
			port, err := strconv.ParseUint(f[1], 10, 16)
			if err != nil || port == 0 {
				return m, errNoMedia
			}
			m.to = netip.AddrPortFrom(netip.Addr{}, uint16(port))
			for _, format := range f[3:] {
				if n, err := strconv.ParseUint(format, 10, 7); err == nil && codecs[uint8(n)].name != "" {
					m.codec = append(m.codec, uint8(n))
				}
			}
		case others:
		case strings.HasPrefix(l, "c="):
			if f := strings.Fields(l[2:]); len(f) == 3 && audio {
				host = f[2]
			} else if len(f) == 3 {
				session = f[2]
			}
		case l == "a=sendrecv", l == "a=sendonly", l == "a=recvonly", l == "a=inactive":
			m.dir = l[2:]
		}
	}
	if host == "" {
		host = session
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || !audio || len(m.codec) == 0 {
		return m, errNoMedia
	}
	m.to = netip.AddrPortFrom(addr, m.to.Port())
	return m, nil
}

// hears says that the far end takes RTP.
func (m media) hears() bool {
	return (m.dir == sendrecv || m.dir == recvonly) && !m.to.Addr().IsUnspecified()
}

// answer is the direction that answers the far end's, on hold by us or not (RFC 3264 6.1).
func (m media) answer(held bool) string {
	switch {
	case m.dir == inactive, held && m.dir == sendonly:
		return inactive
	case m.dir == sendonly:
		return recvonly
	case m.dir == recvonly, held:
		return sendonly
	}
	return sendrecv
}
