package media

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
	"unique"

	"github.com/siproam/siproam/roam"
)

// The limits of a body. Real phones send 300 to 3,000 bytes and one to three streams.
const (
	maxBody    = 32 << 10
	maxLines   = 1000
	maxStreams = 8
)

// line is one line of SDP, "a=sendrecv" as {'a', "sendrecv"}.
type line struct {
	kind  byte
	value string
}

// description is an SDP body as lines, in the order they came. Lines that mean nothing to us stay
// as they are: a relay that understands all of SDP breaks the phones that do not.
type description struct {
	size    int // of the body
	session []line
	streams []*section
}

// section is an m= line and what belongs to it.
type section struct {
	lines    []line // the m= line is the first
	media    string // "audio", "video", "image"
	port     uint16 // 0: rejected
	proto    string // "RTP/AVP", "udptl"
	formats  []string
	addr     netip.Addr     // c= of the stream, or of the session; invalid: a host name
	rtcp     netip.AddrPort // a=rtcp; the address is invalid when it names none, the port 0 without the line
	dir      string         // "sendrecv", "sendonly", "recvonly", "inactive"
	mux      bool           // a=rtcp-mux
	dtls     bool           // a=fingerprint: DTLS goes before SRTP on the same port
	payloads []payload
}

// payload is a payload type with what it stands for.
type payload struct {
	number uint8
	name   string // "PCMU"
	rate   uint32 // RTP clock, Hz
}

// parse reads SDP as phones write it: LF or CRLF, the last one missing, lines in odd order, lines
// unknown. What would make a media address or port doubtful is refused; the error is
// [roam.NotAcceptable].
func parse(body []byte) (*description, error) {
	if len(body) > maxBody || bytes.IndexByte(body, 0) >= 0 {
		return nil, roam.NotAcceptable
	}
	d := &description{size: len(body)}
	var version, lines, began int
	all := make([]line, 0, min(bytes.Count(body, []byte{'\n'})+1, maxLines)) // one slice, which its parts share
	end := func() {
		if n := len(d.streams); n > 0 {
			d.streams[n-1].lines = all[began:]
		} else {
			d.session = all
		}
		began = len(all)
	}
	for text := range strings.Lines(string(body)) {
		text = strings.TrimRight(text, "\r\n")
		if text == "" {
			continue
		}
		if lines++; lines > maxLines {
			return nil, roam.NotAcceptable
		}
		l, ok := parseLine(text)
		if !ok {
			return nil, roam.NotAcceptable
		}
		switch {
		case l.kind == 'a' && l.value == "":
			continue // says nothing, and has crashed others
		case l.kind == 'v':
			version++
		case l.kind == 'm':
			end()
			d.streams = append(d.streams, &section{})
		}
		all = append(all, l)
	}
	end()
	if version != 1 || len(d.streams) > maxStreams {
		return nil, roam.NotAcceptable
	}
	return d, d.understand()
}

func parseLine(text string) (l line, ok bool) {
	if len(text) < 2 || text[1] != '=' || text[0] < 'A' || text[0] > 'z' {
		return line{}, false
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' && c != '\t' || c == 0x7f {
			return line{}, false
		}
	}
	return line{text[0], strings.TrimSpace(text[2:])}, true
}

// understand fills in what the relay must know of each stream.
func (d *description) understand() error {
	shared := section{dir: "sendrecv"}
	named := false // the session has a c=
	for _, l := range d.session {
		if l.kind == 'c' {
			named = true
		}
		if !shared.note(l) {
			return roam.NotAcceptable
		}
	}
	for _, s := range d.streams {
		s.addr, s.dir, s.dtls = shared.addr, shared.dir, shared.dtls
		if !s.parseMedia(s.lines[0].value) {
			return roam.NotAcceptable
		}
		own := false
		for _, l := range s.lines[1:] {
			if l.kind == 'c' && own {
				continue // the first c= of a stream is the one that counts
			}
			own = own || l.kind == 'c'
			if !s.note(l) {
				return roam.NotAcceptable
			}
		}
		if s.port != 0 && !own && !named {
			return roam.NotAcceptable // RFC 4566 5.7: a stream without an address
		}
	}
	return nil
}

// parseMedia reads "audio 49170 RTP/AVP 0 8" (RFC 4566 5.14).
func (s *section) parseMedia(value string) bool {
	f := strings.Fields(value)
	if len(f) < 4 {
		return false
	}
	number, count, counted := strings.Cut(f[1], "/")
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil || counted && count != "1" {
		return false // several ports in a row: layered multicast, no phone
	}
	s.media, s.port, s.proto, s.formats = f[0], uint16(port), f[2], f[3:]
	if !s.rtp() {
		return true
	}
	s.payloads = make([]payload, 0, len(s.formats))
	for _, format := range s.formats {
		n, err := strconv.ParseUint(format, 10, 7)
		if err != nil {
			return false
		}
		s.payloads = append(s.payloads, static(uint8(n)))
	}
	return true
}

// rtp says that the stream is RTP of some profile, "RTP/AVP" to "UDP/TLS/RTP/SAVPF".
func (s *section) rtp() bool { return strings.Contains(strings.ToUpper(s.proto), "RTP/") }

// relayed says that the stream goes over UDP, so that we can carry it.
func (s *section) relayed() bool { return !strings.HasPrefix(strings.ToUpper(s.proto), "TCP") }

// note takes what the relay must know from one line; ok is false when it makes no sense.
func (s *section) note(l line) (ok bool) {
	switch l.kind {
	case 'c':
		s.addr, ok = parseConnection(l.value)
		return ok
	case 'a':
		return s.noteAttribute(l.value)
	}
	return true
}

func (s *section) noteAttribute(value string) (ok bool) {
	name, arg, _ := strings.Cut(value, ":")
	switch name {
	case "sendrecv", "sendonly", "recvonly", "inactive":
		s.dir = name
	case "rtcp-mux":
		s.mux = true
	case "fingerprint":
		s.dtls = true
	case "rtcp":
		return s.noteRTCP(arg)
	case "rtpmap":
		s.noteRtpmap(arg)
	}
	return true
}

// noteRTCP reads "53020" or "53020 IN IP4 192.0.2.1" (RFC 3605).
func (s *section) noteRTCP(arg string) bool {
	number, conn, named := strings.Cut(arg, " ")
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return false
	}
	var addr netip.Addr
	if named {
		var ok bool
		if addr, ok = parseConnection(conn); !ok {
			return false
		}
	}
	s.rtcp = netip.AddrPortFrom(addr, uint16(port))
	return true
}

// noteRtpmap reads "96 opus/48000/2"; a line that is not so is somebody else's trouble.
func (s *section) noteRtpmap(arg string) {
	number, what, _ := strings.Cut(arg, " ")
	n, err := strconv.ParseUint(number, 10, 7)
	if err != nil {
		return
	}
	name, rest, _ := strings.Cut(strings.TrimSpace(what), "/")
	clock, _, _ := strings.Cut(rest, "/")
	rate, err := strconv.ParseUint(clock, 10, 32)
	if err != nil || rate == 0 || name == "" {
		return
	}
	for i := range s.payloads {
		if p := &s.payloads[i]; p.number == uint8(n) {
			if p.rate = uint32(rate); p.name != name {
				p.name = unique.Make(name).Value() // a call keeps it, and would keep the whole body with it
			}
		}
	}
}

// parseConnection reads "IN IP4 192.0.2.1". The address is invalid for a host name: such a phone
// is heard at its signalling address, and sent to once it was heard.
func parseConnection(value string) (addr netip.Addr, ok bool) {
	var f [4]string
	n := 0
	for word := range strings.FieldsSeq(value) {
		if f[n] = word; n == 3 {
			break
		}
		n++
	}
	if n != 3 || f[3] != "" || !strings.EqualFold(f[0], "IN") {
		return addr, false
	}
	six := strings.EqualFold(f[1], "IP6")
	if !six && !strings.EqualFold(f[1], "IP4") {
		return addr, false
	}
	host, _, _ := strings.Cut(f[2], "/") // a TTL, which only multicast needs
	if host == "" {
		return addr, false
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		last := host[len(host)-1:]
		return netip.Addr{}, !strings.Contains(host, ":") && !strings.Contains("0123456789]", last) // else an address that is none
	}
	addr = addr.Unmap().WithZone("")
	return addr, !addr.IsMulticast() && addr != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
