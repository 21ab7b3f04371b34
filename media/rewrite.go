package media

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// origin is our o= line on one leg: one session whose version rises with every change (RFC 3264 5, 8).
type origin struct {
	session uint64
	version uint64
	last    uint64 // hash of what was sent last, without its o= line
}

// rewrite gives the body that the other leg is sent: d with our address, and for each stream our
// RTP port (0: rejected), RTCP being the port above. ICE goes, as the relay is the only candidate; a
// hold by 0.0.0.0 stays one (RFC 3264 8.4). Everything else stays as it was.
func (o *origin) rewrite(d *description, told netip.Addr, ports []uint16) []byte {
	w := writer{told: told, out: make([]byte, 0, d.size+128)}
	w.session(d.session)
	for i, s := range d.streams {
		w.stream(s, ports[i])
	}
	if hash := maphash.Bytes(bodySeed, w.out); hash != o.last {
		o.version++
		o.last = hash
	}
	var room [128]byte
	from := strconv.AppendUint(append(room[:0], "o=- "...), o.session, 10)
	from = strconv.AppendUint(append(from, ' '), o.version, 10)
	from = append(appendConnection(append(from, ' '), told), "\r\n"...)
	return slices.Insert(w.out, w.origin, from...)
}

var bodySeed = maphash.MakeSeed()

// writer writes lines; the o= line is put in at origin when all else is known.
type writer struct {
	told   netip.Addr
	out    []byte
	origin int
}

func (w *writer) put(kind byte, value string) {
	w.out = append(w.out, kind, '=')
	w.out = append(w.out, value...)
	w.out = append(w.out, "\r\n"...)
}

func (w *writer) session(lines []line) {
	connected := false
	for _, l := range lines {
		switch l.kind {
		case 'v':
			w.put(l.kind, l.value)
			w.origin = len(w.out) // RFC 4566 5: o= follows v=
		case 'o':
		case 'c':
			w.connect(l.value, &connected)
		default:
			w.keep(l)
		}
	}
}

func (w *writer) stream(s *section, port uint16) {
	w.out = append(append(append(w.out, "m="...), s.media...), ' ')
	w.out = append(append(strconv.AppendUint(w.out, uint64(port), 10), ' '), s.proto...)
	for _, f := range s.formats {
		w.out = append(append(w.out, ' '), f...)
	}
	w.out = append(w.out, "\r\n"...)
	connected := false
	for _, l := range s.lines[1:] {
		switch {
		case l.kind == 'c':
			w.connect(l.value, &connected)
		case l.kind == 'a' && strings.HasPrefix(l.value, "rtcp:"):
			if port != 0 {
				w.rtcp(port+1, s.rtcp.Addr().IsValid())
			}
		default:
			w.keep(l)
		}
	}
}

// connect writes our address in place of the first c= of a part, and nothing for more of them.
func (w *writer) connect(value string, connected *bool) {
	if *connected {
		return
	}
	*connected = true
	addr := w.told
	if a, _ := parseConnection(value); a.IsValid() && a.IsUnspecified() {
		addr = a // on hold
	}
	w.out = append(appendConnection(append(w.out, "c="...), addr), "\r\n"...)
}

func (w *writer) rtcp(port uint16, named bool) {
	w.out = strconv.AppendUint(append(w.out, "a=rtcp:"...), uint64(port), 10)
	if named {
		w.out = appendConnection(append(w.out, ' '), w.told)
	}
	w.out = append(w.out, "\r\n"...)
}

// keep writes l as it came, unless it would lead the far end around the relay.
func (w *writer) keep(l line) {
	if l.kind == 'a' && pathAttribute(l.value) {
		return
	}
	w.put(l.kind, l.value)
}

// pathAttribute says that an attribute is of ICE (RFC 8839) or BUNDLE (RFC 9143).
func pathAttribute(value string) bool {
	name, arg, _ := strings.Cut(value, ":")
	switch name {
	case "candidate", "remote-candidates", "end-of-candidates", "bundle-only":
		return true
	case "group":
		return strings.HasPrefix(arg, "BUNDLE")
	}
	return strings.HasPrefix(name, "ice-")
}

// appendConnection appends "IN IP4 192.0.2.1".
func appendConnection(b []byte, a netip.Addr) []byte {
	if a.Is6() {
		return a.AppendTo(append(b, "IN IP6 "...))
	}
	return a.AppendTo(append(b, "IN IP4 "...))
}
