// Package metric counts. Every part of an office counts into the office's Set; package web
// shows it. A nil Set, Counter or Histogram counts nothing, so tests need none.
package metric

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// Kind is counter, gauge or histogram.
type Kind uint8

// The kinds.
const (
	KindCounter Kind = iota
	KindGauge
	KindHistogram
)

// Family is one metric with its label names; it is what web reads.
type Family struct {
	Name, Help string
	Kind       Kind
	Labels     []string
	Buckets    []float64 // of a histogram, upper bounds in rising order, +Inf left out

	read func(emit func(v float64, labels ...string)) // of a gauge

	mu     sync.RWMutex // guards series
	series map[string]*Value
}

// Value is one time series.
type Value struct {
	Labels []string
	n      atomic.Uint64
	sum    atomic.Uint64 // float64 bits; of a histogram
	counts []atomic.Uint64
	upper  []float64
}

// Set is all metrics of one office.
type Set struct {
	mu       sync.Mutex // guards families
	families []*Family
}

// Counter is a family of counters.
type Counter struct{ *Family }

// Histogram is a family of histograms.
type Histogram struct{ *Family }

// Durations are buckets for seconds, from 1 ms to 60 s.
var Durations = []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60}

func (s *Set) add(f *Family) *Family {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.families, func(g *Family) bool { return g.Name == f.Name }) {
		panic("metric: " + f.Name + " twice")
	}
	f.series = map[string]*Value{}
	s.families = append(s.families, f)
	return f
}

// Counter makes a counter; name without the prefix, ending in _total.
func (s *Set) Counter(name, help string, labels ...string) *Counter {
	if s == nil {
		return nil
	}
	return &Counter{s.add(&Family{Name: name, Help: help, Kind: KindCounter, Labels: labels})}
}

// Overload is overload_rejections_total, the one family into which every place with a bound counts what
// it refused, by its own reason: whoever asks first makes it.
func (s *Set) Overload() *Counter {
	return s.shared("overload_rejections_total", "Requests refused or dropped because too much was under way.", "reason")
}

// shared is a counter that several parts count into. They are made one after another.
func (s *Set) shared(name, help string, labels ...string) *Counter {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	i := slices.IndexFunc(s.families, func(f *Family) bool { return f.Name == name })
	s.mu.Unlock()
	if i >= 0 {
		return &Counter{s.families[i]}
	}
	return s.Counter(name, help, labels...)
}

// Histogram makes a histogram.
func (s *Set) Histogram(name, help string, buckets []float64, labels ...string) *Histogram {
	if s == nil {
		return nil
	}
	return &Histogram{s.add(&Family{Name: name, Help: help, Kind: KindHistogram, Labels: labels, Buckets: buckets})}
}

// Gauge makes a gauge that read tells when somebody looks; read is called on any
// goroutine and must be safe there.
func (s *Set) Gauge(name, help string, labels []string, read func(emit func(v float64, labels ...string))) {
	if s != nil {
		s.add(&Family{Name: name, Help: help, Kind: KindGauge, Labels: labels, read: read})
	}
}

// Families is every family, in the order they were made.
func (s *Set) Families() []*Family {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.families)
}

// With is the series of these label values; keep it where it is counted often.
func (f *Family) With(labels ...string) *Value {
	if f == nil {
		return nil
	}
	var room [128]byte // found without making a string of it: some are counted with every message
	key := room[:0]
	for _, l := range labels {
		key = append(append(key, l...), 0)
	}
	f.mu.RLock()
	v := f.series[string(key)]
	f.mu.RUnlock()
	if v != nil {
		return v
	}
	if len(labels) != len(f.Labels) {
		panic("metric: " + f.Name + " has other labels")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if v = f.series[string(key)]; v == nil {
		v = &Value{Labels: slices.Clone(labels), upper: f.Buckets, counts: make([]atomic.Uint64, len(f.Buckets))}
		f.series[string(key)] = v
	}
	return v
}

// With is the series of these label values.
func (c *Counter) With(labels ...string) *Value {
	if c == nil {
		return nil
	}
	return c.Family.With(labels...)
}

// Add counts n.
func (c *Counter) Add(n uint64, labels ...string) { c.With(labels...).Add(n) }

// Observe counts one observation of v.
func (h *Histogram) Observe(v float64, labels ...string) {
	if h != nil {
		h.With(labels...).Observe(v)
	}
}

// Add counts n.
func (v *Value) Add(n uint64) {
	if v != nil {
		v.n.Add(n)
	}
}

// Observe counts one observation.
func (v *Value) Observe(x float64) {
	if v == nil {
		return
	}
	v.n.Add(1)
	for {
		old := v.sum.Load()
		if v.sum.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+x)) {
			break
		}
	}
	for i, u := range v.upper {
		if x <= u {
			v.counts[i].Add(1)
			break
		}
	}
}

// Count is how often, and for a histogram the sum of what was observed.
func (v *Value) Count() (n uint64, sum float64) {
	if v == nil {
		return 0, 0
	}
	return v.n.Load(), math.Float64frombits(v.sum.Load())
}

// Cumulative is a histogram's counts by upper bound.
func (v *Value) Cumulative() map[float64]uint64 {
	out := make(map[float64]uint64, len(v.upper))
	var n uint64
	for i, u := range v.upper {
		n += v.counts[i].Load()
		out[u] = n
	}
	return out
}

// Each gives every series of a counter or histogram.
func (f *Family) Each(fn func(v *Value)) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, v := range f.series {
		fn(v)
	}
}

// Read gives every value of a gauge.
func (f *Family) Read(emit func(v float64, labels ...string)) { f.read(emit) }
