package media

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/siproam/siproam/roam"
)

// feed gives t packets of PCMU with these sequence numbers, one each 20 ms.
func feed(t *tally, seqs ...uint16) {
	for i, seq := range seqs {
		t.add(packet(seq, 0), time.Duration(i)*20*time.Millisecond, nil)
	}
}

func TestLoss(t *testing.T) {
	for name, c := range map[string]struct {
		seqs []uint16
		want uint64
	}{
		"none":             {[]uint16{1, 2, 3, 4}, 0},
		"two":              {[]uint16{1, 2, 5, 6}, 2},
		"over the turn":    {[]uint16{65533, 65535, 0, 2}, 2},
		"out of order":     {[]uint16{1, 3, 2, 4}, 0},
		"late first":       {[]uint16{2, 1, 3}, 0},
		"late and a gap":   {[]uint16{3, 1}, 1},
		"late over a turn": {[]uint16{0, 65535, 1}, 0},
		"doubles":          {[]uint16{1, 1, 2, 2, 3}, 0},
		"a new start":      {[]uint16{1, 3, 40000, 40002}, 2},
	} {
		var tl tally
		feed(&tl, c.seqs...)
		var side roam.Traffic
		tl.addTo(&side)
		if side.Lost != c.want || side.Packets != uint64(len(c.seqs)) {
			t.Errorf("%s: got %d lost of %d, want %d of %d", name, side.Lost, side.Packets, c.want, len(c.seqs))
		}
	}
}

func TestLossOverSources(t *testing.T) {
	var tl tally
	feed(&tl, 1, 3)
	other := packet(9000, 0)
	copy(other[8:], "CRSS")
	tl.add(other, time.Second, nil)
	var side roam.Traffic
	tl.addTo(&side)
	if side.Lost != 1 {
		t.Errorf("got %d lost, want 1: another SSRC starts anew", side.Lost)
	}
}

func TestJitter(t *testing.T) {
	swing := func(n int, by time.Duration, clock uint32) float64 {
		var tl tally
		for i := range n {
			p := packet(uint16(i), 0)
			p[1] = 96
			binary.BigEndian.PutUint32(p[4:], uint32(i)*clock/50)
			at := time.Duration(i) * 20 * time.Millisecond
			if i%2 == 1 {
				at += by
			}
			tl.add(p, at, clocks{{96, clock}})
		}
		var side roam.Traffic
		tl.addTo(&side)
		return side.Jitter
	}
	for _, clock := range []uint32{8000, 48000} {
		if got := swing(200, 0, clock); got != 0 {
			t.Errorf("%d Hz, steady: got %v ms, want 0", clock, got)
		}
		// every difference is 5 ms, so the mean is too
		if got := swing(200, 5*time.Millisecond, clock); math.Abs(got-5) > .05 {
			t.Errorf("%d Hz, 5 ms to and fro: got %v ms, want 5", clock, got)
		}
		if got := swing(3, 16*time.Millisecond, clock); math.Abs(got-(1+15./16)) > .05 {
			t.Errorf("%d Hz, two differences of 16 ms: got %v ms, want 1.94 (RFC 3550 A.8)", clock, got)
		}
	}
}

// A key press, like a video frame, is several packets with the timestamp of its beginning.
func TestPacketsOfOneMomentDoNotJitter(t *testing.T) {
	var tl tally
	for i := range 60 {
		p := packet(uint16(i), 0)
		binary.BigEndian.PutUint32(p[4:], uint32(i/3*3)*160)
		tl.add(p, time.Duration(i)*20*time.Millisecond, nil)
	}
	if got := tl.jitterSeconds(); got != 0 {
		t.Errorf("got %v s, want 0", got)
	}
}

func TestOctetsArePayload(t *testing.T) {
	var tl tally
	p := packet(1, 0)
	p[0] |= 0x12 // two CSRC and an extension of one word
	p = append(p[:12], append([]byte{1, 1, 1, 1, 2, 2, 2, 2, 0xbe, 0xde, 0, 1, 3, 3, 3, 3}, p[12:]...)...)
	tl.add(p, 0, nil)
	cut := packet(2, 0)
	cut[0] |= 0x1f
	tl.add(cut[:12], 0, nil)
	if tl.octets != 20 {
		t.Errorf("got %d octets, want 20", tl.octets)
	}
}
