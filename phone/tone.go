package phone

import (
	"math"
	"time"
)

// The form of G.711 in RTP.
const (
	sampleRate = 8000
	frameTime  = 20 * time.Millisecond
	frameSize  = 160 // samples in frameTime
)

// loudness is the amplitude of a tone, about -9 dBm0.
const loudness = 8000

// tone is a sine of hz, one sample after another.
type tone struct {
	hz float64
	n  int
}

// next is the next sample; a tone of 0 Hz is silence.
func (t *tone) next() int16 {
	if t.hz == 0 {
		return 0
	}
	t.n++
	return int16(loudness * math.Sin(2*math.Pi*t.hz*float64(t.n)/sampleRate))
}

// binWidth is what frameSize samples can tell apart, Hz.
const binWidth = sampleRate / frameSize

// ear listens for tones: it finds the loudest frequency of every frame.
type ear struct {
	frame [frameSize]float64
	n     int
	heard [frameSize / 2]time.Duration // by loudest bin
}

// hear takes one sample.
func (e *ear) hear(sample int16) {
	e.frame[e.n] = float64(sample)
	if e.n++; e.n == frameSize {
		e.n = 0
		if bin, found := e.loudest(); found {
			e.heard[bin] += frameTime
		}
	}
}

// quiet is the mean square below which a frame holds no tone.
const quiet = 100 * 100

// loudest is the bin that dominates the frame: with its neighbours, which a tone between two bins
// shares, it holds most of the energy.
func (e *ear) loudest() (bin int, found bool) {
	var energy float64
	for _, s := range e.frame {
		energy += s * s
	}
	if energy < quiet*frameSize {
		return 0, false
	}
	var power [frameSize / 2]float64
	for k := 1; k < len(power); k++ {
		power[k] = goertzel(e.frame[:], k)
		if power[k] > power[bin] {
			bin = k
		}
	}
	around := power[bin]
	if bin > 0 {
		around += power[bin-1]
	}
	if bin+1 < len(power) {
		around += power[bin+1]
	}
	// A pure tone of bin k has |X(k)|^2 = energy * N / 2.
	return bin, around > .6*energy*frameSize/2
}

// goertzel is the power of bin k in frame.
func goertzel(frame []float64, k int) float64 {
	c := 2 * math.Cos(2*math.Pi*float64(k)/float64(len(frame)))
	var s1, s2 float64
	for _, x := range frame {
		s1, s2 = x+c*s1-s2, s1
	}
	return s1*s1 + s2*s2 - c*s1*s2
}

// time is for how long hz has dominated, give or take a bin.
func (e *ear) time(hz float64) (sum time.Duration) {
	for k, d := range e.heard {
		if math.Abs(float64(k*binWidth)-hz) < binWidth {
			sum += d
		}
	}
	return sum
}
