package phone

import (
	"math"
	"testing"
	"time"
)

func TestG711(t *testing.T) {
	for kind, c := range codecs {
		for b := range 256 {
			sample := c.decode(byte(b))
			if again := c.decode(c.encode(sample)); again != sample {
				t.Errorf("%d: %#x is %d, which becomes %d", kind, b, sample, again)
			}
		}
		for s := -32768; s < 32768; s += 7 {
			got := int(c.decode(c.encode(int16(s))))
			if d := math.Abs(float64(got - s)); d > 16+math.Abs(float64(s))/16 {
				t.Fatalf("%d: %d became %d", kind, s, got)
			}
		}
		if s := c.decode(c.quiet); s < -8 || s > 8 {
			t.Errorf("%d: quiet is %d", kind, s)
		}
	}
	// ITU-T G.711 tables: the outermost and the middle values.
	for _, c := range []struct {
		got, want int16
	}{
		{decodeMu(0x80), 32124}, {decodeMu(0x00), -32124}, {decodeMu(0xff), 0}, {decodeMu(0xef), 132},
		{decodeA(0xaa), 32256}, {decodeA(0x2a), -32256}, {decodeA(0xd5), 8}, {decodeA(0x55), -8},
	} {
		if c.got != c.want {
			t.Errorf("got %d, want %d", c.got, c.want)
		}
	}
}

func TestEar(t *testing.T) {
	for _, hz := range []float64{350, 425, 440, 1000, 2600} {
		var e ear
		tn := tone{hz: hz}
		for range sampleRate {
			e.hear(decodeMu(encodeMu(tn.next())))
		}
		if got := e.time(hz); got < 980*time.Millisecond {
			t.Errorf("%v Hz for a second: heard for %s", hz, got)
		}
		if got := e.time(hz + 150); got != 0 {
			t.Errorf("%v Hz: heard %v Hz for %s", hz, hz+150, got)
		}
	}
	var e ear
	both := []tone{{hz: 440}, {hz: 1200}}
	for range sampleRate {
		e.hear(both[0].next()/2 + both[1].next()/2)
	}
	for range sampleRate {
		e.hear(3)
	}
	if e.time(440)+e.time(1200) != 0 {
		t.Error("one of two tones dominated, or silence did")
	}
}

func TestParseMedia(t *testing.T) {
	const start = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n"
	for body, want := range map[string]string{
		start + "c=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 96 8 0\r\n":                                                           "192.0.2.1:4000 [8 0] sendrecv",
		start + "t=0 0\na=sendonly\nm=audio 4000 RTP/AVP 0\nc=IN IP6 2001:db8::1\nm=video 6000 RTP/AVP 31\na=inactive\nc=IN IP4 192.0.2.9": "[2001:db8::1]:4000 [0] sendonly",
		start + "c=IN IP4 192.0.2.1\r\nm=audio 0 RTP/AVP 0\r\n":                                                                            "",
		start + "c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 96\r\n":                                                                        "",
		start + "c=IN IP4 host.example\r\nm=audio 4000 RTP/AVP 0\r\n":                                                                      "",
		"": "",
	} {
		m, err := parseMedia([]byte(body))
		got := ""
		if err == nil {
			got = m.to.String() + " " + fmtCodecs(m.codec) + " " + m.dir
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", body, got, want)
		}
	}
}

func fmtCodecs(list []uint8) string {
	s := "["
	for i, n := range list {
		if i > 0 {
			s += " "
		}
		s += string('0' + rune(n))
	}
	return s + "]"
}

func TestDirections(t *testing.T) {
	for _, c := range []struct {
		offer string
		held  bool
		want  string
	}{
		{sendrecv, false, sendrecv}, {sendonly, false, recvonly}, {recvonly, false, sendonly}, {inactive, false, inactive},
		{sendrecv, true, sendonly}, {sendonly, true, inactive}, {recvonly, true, sendonly}, {inactive, true, inactive},
	} {
		if got := (media{dir: c.offer}).answer(c.held); got != c.want {
			t.Errorf("%s, held %v: got %s, want %s", c.offer, c.held, got, c.want)
		}
	}
}
