package media

import (
	"slices"
	"strings"
)

// statics is the payload types that need no rtpmap (RFC 3551 6).
var statics = map[uint8]payload{
	0: {0, "PCMU", 8000}, 3: {3, "GSM", 8000}, 4: {4, "G723", 8000}, 5: {5, "DVI4", 8000},
	6: {6, "DVI4", 16000}, 7: {7, "LPC", 8000}, 8: {8, "PCMA", 8000}, 9: {9, "G722", 8000},
	10: {10, "L16", 44100}, 11: {11, "L16", 44100}, 12: {12, "QCELP", 8000}, 13: {13, "CN", 8000},
	14: {14, "MPA", 90000}, 15: {15, "G728", 8000}, 16: {16, "DVI4", 11025}, 17: {17, "DVI4", 22050},
	18: {18, "G729", 8000}, 25: {25, "CelB", 90000}, 26: {26, "JPEG", 90000}, 28: {28, "nv", 90000},
	31: {31, "H261", 90000}, 32: {32, "MPV", 90000}, 33: {33, "MP2T", 90000}, 34: {34, "H263", 90000},
}

// static is what a payload type means before any rtpmap: dynamic ones have no name, and 8 kHz.
func static(number uint8) payload {
	if p, found := statics[number]; found {
		return p
	}
	return payload{number: number, rate: 8000}
}

// speech says that p carries sound, neither key presses nor comfort noise.
func (p payload) speech() bool {
	return p.name != "" && !strings.EqualFold(p.name, "telephone-event") && !strings.EqualFold(p.name, "CN")
}

// Codecs is the names of what carries sound in an SDP body, each once; none when there is nothing to be read in it.
func Codecs(sdp []byte) (names []string) {
	d, err := parse(sdp)
	if err != nil {
		return nil
	}
	for _, s := range d.streams {
		for _, p := range s.payloads {
			if s.media == "audio" && p.speech() && !slices.Contains(names, p.name) {
				names = append(names, p.name)
			}
		}
	}
	return names
}

// codec is what the last answer chose: the first codec of the newer body that the older one
// names too. It is so also while an offer is out, and after 183 and 200 both brought the answer.
func codec(newer, older []payload) string {
	for _, p := range newer {
		if !p.speech() {
			continue
		}
		for _, q := range older {
			if strings.EqualFold(p.name, q.name) && p.rate == q.rate {
				return p.name
			}
		}
	}
	return ""
}
