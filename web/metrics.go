package web

import (
	"net/http"
	"runtime"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/siproam/siproam/metric"
)

// prefix stands before every name of ours.
const prefix = "siproam_"

// metrics shows what all offices have counted, in a registry of its own.
func (s *Server) metrics() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(&counted{s}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 4, ErrorLog: complaint{s}})
}

// complaint logs what the exporter finds wrong with a metric.
type complaint struct{ s *Server }

// Println is promhttp.Logger's.
func (c complaint) Println(v ...any) {
	c.s.log.Error().Str("event", "metrics.wrong").Any("err", v).Msg("metric not shown")
}

// counted makes constant metrics of every office's Set at each scrape.
type counted struct{ s *Server }

// Describe says nothing beforehand: which families there are, the parts of an office decide.
func (c *counted) Describe(chan<- *prometheus.Desc) {}

// Collect is prometheus.Collector's.
func (c *counted) Collect(out chan<- prometheus.Metric) {
	for _, src := range c.s.sources {
		info := prometheus.NewDesc(prefix+"build_info", "What is running; always 1.", []string{"office", "version", "go"}, nil)
		out <- prometheus.MustNewConstMetric(info, prometheus.GaugeValue, 1, src.Name(), c.s.version, runtime.Version())
		for _, f := range src.Metrics().Families() {
			collect(out, src.Name(), f)
		}
	}
}

// collect shows one family of one office. Every series carries the office as its first label.
func collect(out chan<- prometheus.Metric, office string, f *metric.Family) {
	desc := prometheus.NewDesc(prefix+f.Name, f.Help, append([]string{"office"}, f.Labels...), nil)
	show := func(m prometheus.Metric, err error) {
		if err != nil {
			m = prometheus.NewInvalidMetric(desc, err)
		}
		out <- m
	}
	switch f.Kind {
	case metric.KindGauge:
		f.Read(func(v float64, labels ...string) {
			show(prometheus.NewConstMetric(desc, prometheus.GaugeValue, v, values(office, labels)...))
		})
	case metric.KindCounter:
		f.Each(func(v *metric.Value) {
			n, _ := v.Count()
			show(prometheus.NewConstMetric(desc, prometheus.CounterValue, float64(n), values(office, v.Labels)...))
		})
	case metric.KindHistogram:
		f.Each(func(v *metric.Value) {
			n, sum := v.Count()
			show(prometheus.NewConstHistogram(desc, n, sum, v.Cumulative(), values(office, v.Labels)...))
		})
	}
}

func values(office string, labels []string) []string {
	return slices.Concat([]string{office}, labels)
}
