package e2e

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const (
	toneRate = 8000 // Hz, samples per second

)

// writeTone writes a mono 16 bit WAV of a sine of hz.
func writeTone(path string, hz float64, d time.Duration) error {
	n := int(d.Seconds() * toneRate)
	b := make([]byte, 0, 44+2*n)
	b = append(b, "RIFF"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(36+2*n))
	b = append(b, "WAVEfmt "...)
	for _, v := range []uint32{16, 1 | 1<<16, toneRate, 2 * toneRate, 2 | 16<<16} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(2*n))
	for i := range n {
		s := int16(9000 * math.Sin(2*math.Pi*hz*float64(i)/toneRate))
		b = binary.LittleEndian.AppendUint16(b, uint16(s))
	}
	return os.WriteFile(path, b, 0o644)
}

// toneIn says for how long hz dominates the mono 16 bit WAV at path; the file may still be growing.
func toneIn(path string, hz float64) (time.Duration, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	if len(b) < 44 || string(b[:4]) != "RIFF" {
		return 0, fmt.Errorf("%s: not a WAV file", path)
	}
	rate := float64(binary.LittleEndian.Uint32(b[24:]))
	frame := int(rate) / 20
	s := make([]float64, (len(b)-44)/2)
	for i := range s {
		s[i] = float64(int16(binary.LittleEndian.Uint16(b[44+2*i:])))
	}
	var heard time.Duration
	for ; len(s) >= frame; s = s[frame:] {
		var sum float64
		for _, x := range s[:frame] {
			sum += x * x
		}
		rms := math.Sqrt(sum / float64(frame))
		if rms > 200 && goertzel(s[:frame], rate, hz) > rms*math.Sqrt2*0.7 {
			heard += 50 * time.Millisecond
		}
	}
	return heard, nil
}

// goertzel is the amplitude of hz in s.
func goertzel(s []float64, rate, hz float64) float64 {
	c := 2 * math.Cos(2*math.Pi*hz/rate)
	var a, b float64
	for _, x := range s {
		a, b = x+c*a-b, a
	}
	return math.Sqrt(max(a*a+b*b-c*a*b, 0)) * 2 / float64(len(s))
}

func TestToneIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.wav")
	if err := writeTone(path, 440, time.Second); err != nil {
		t.Fatal(err)
	}
	right, err := toneIn(path, 440)
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := toneIn(path, 880)
	if err != nil || right < 950*time.Millisecond || wrong != 0 {
		t.Errorf("440 Hz for %v, 880 Hz for %v, %v; want 1s and 0", right, wrong, err)
	}
}
