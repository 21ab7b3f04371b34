package media

import (
	"encoding/binary"
	"time"

	"github.com/siproam/siproam/roam"
)

// tally counts the RTP that one stream of one leg sent us, from headers alone (RFC 3550 6.4, A).
type tally struct {
	packets, octets uint64 // octets of payload
	lost            uint64 // of sources that have ended
	source          uint32 // SSRC
	base, top       uint32 // first and highest extended sequence number of source
	received        uint64 // of source
	clock           uint32 // Hz of the payload type that came last; 0: none yet
	kind            uint8  // that payload type
	transit         uint32 // arrival minus timestamp, in clock units
	stamped         uint32 // the timestamp that came last
	timed           bool   // transit and stamped hold
	jitter          float64
	rate            uint32 // Hz that jitter is counted in
}

// maxDropout is the jump in sequence numbers that is a new start, not loss (RFC 3550 A.1).
const maxDropout = 3000

// headerOctets is the length of pkt's RTP header; pkt has at least 12 octets.
func headerOctets(pkt []byte) int {
	n := 12 + 4*int(pkt[0]&0x0f)
	if pkt[0]&0x10 != 0 && len(pkt) >= n+4 {
		n += 4 + 4*int(binary.BigEndian.Uint16(pkt[n+2:]))
	}
	return n
}

// add counts one packet that came at arrival, a time since some fixed moment. rates is the RTP clock
// of each payload type, Hz.
func (t *tally) add(pkt []byte, arrival time.Duration, rates clocks) {
	t.packets++
	if n := headerOctets(pkt); n < len(pkt) {
		t.octets += uint64(len(pkt) - n)
	}
	t.count(binary.BigEndian.Uint32(pkt[8:]), binary.BigEndian.Uint16(pkt[2:]))
	kind := pkt[1] & 0x7f
	if t.clock == 0 || kind != t.kind {
		t.kind, t.clock, t.timed = kind, rates.of(kind), false
	}
	t.time(binary.BigEndian.Uint32(pkt[4:]), arrival)
}

// count follows sequence numbers over their turns (RFC 3550 A.1).
func (t *tally) count(source uint32, seq uint16) {
	ahead := seq - uint16(t.top)
	behind := uint16(t.top) - seq
	switch {
	case t.received == 0 || source != t.source || ahead >= maxDropout && behind >= maxDropout:
		t.lost += t.missing()
		t.source, t.received, t.timed = source, 1, false
		t.base = 1<<16 | uint32(seq) // room below for packets that come late
		t.top = t.base
		return
	case ahead < maxDropout:
		t.top += uint32(ahead)
	default:
		t.base = min(t.base, t.top-uint32(behind)) // it began before the first that came
	}
	t.received++
}

// missing is what source has sent and we have not seen (RFC 3550 A.3); doubles hide losses, as there.
func (t *tally) missing() uint64 {
	if t.received == 0 {
		return 0
	}
	expected := uint64(t.top-t.base) + 1
	return expected - min(expected, t.received)
}

// time smooths the jitter (RFC 3550 A.8). Packets of one video frame or one key press share a
// timestamp, the time of its beginning: only the first tells.
func (t *tally) time(stamp uint32, arrival time.Duration) {
	if t.timed && stamp == t.stamped {
		return
	}
	if t.rate != t.clock {
		t.jitter, t.rate, t.timed = t.jitterSeconds()*float64(t.clock), t.clock, false
	}
	whole, part := int64(arrival/time.Second), int64(arrival%time.Second)
	transit := uint32(whole*int64(t.clock)+part*int64(t.clock)/int64(time.Second)) - stamp
	if t.timed {
		d := float64(int32(transit - t.transit))
		t.jitter += (max(d, -d) - t.jitter) / 16
	}
	t.transit, t.stamped, t.timed = transit, stamp, true
}

func (t *tally) jitterSeconds() float64 {
	if t.rate == 0 {
		return 0
	}
	return t.jitter / float64(t.rate)
}

// addTo adds t to what the side has sent in all; the jitter shown is that of the first stream heard.
func (t *tally) addTo(side *roam.Traffic) {
	if side.Packets == 0 {
		side.Jitter = t.jitterSeconds() * 1000
	}
	side.Packets += t.packets
	side.Octets += t.octets
	side.Lost += t.lost + t.missing()
}
