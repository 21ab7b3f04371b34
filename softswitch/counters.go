package softswitch

import (
	"sync/atomic"
	"time"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
)

// kinds is every kind of call, in the order of counters.up.
var kinds = [...]roam.Kind{roam.InOffice, roam.Outgoing, roam.Incoming, roam.Transit, roam.Trunk, roam.Unknown}

// counters is what people count of calls (FACE.md, "Metrics").
type counters struct {
	now      [len(kinds)]atomic.Int64 // read away from the loop
	attempts *metric.Counter
	setup    *metric.Histogram
	talk     *metric.Histogram
	probes   *metric.Counter
	circles  *metric.Counter

	trespasses *metric.Counter
}

func (n *counters) make(m *metric.Set) {
	n.attempts = m.Counter("call_attempts_total", "Call attempts by kind and result.", "kind", "result")
	n.trespasses = m.Trespasses()
	n.probes = m.Counter("phone_probes_total", "Phones asked whether they live, by what came of it.", "result")
	n.circles = m.Counter("call_circles_total", "Calls that were sent on no more: they had been here before (path), were redirected too often, or to who had been asked.", "why")
	n.setup = m.Histogram("call_setup_duration_seconds", "From INVITE to ringing, or to the answer when nothing rang.", metric.Durations, "kind")
	n.talk = m.Histogram("call_duration_seconds", "From answer to end.", []float64{1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200}, "kind")
	m.Gauge("calls", "Calls in progress.", []string{"kind"}, func(emit func(v float64, labels ...string)) {
		for i, k := range kinds[:len(kinds)-1] {
			emit(float64(n.now[i].Load()), string(k))
		}
	})
}

// up adds d calls of kind k to those in progress.
func (n *counters) up(k roam.Kind, d int64) {
	for i := range kinds {
		if kinds[i] == k {
			n.now[i].Add(d)
		}
	}
}

// tried counts an attempt with its result.
func (n *counters) tried(k roam.Kind, result string) { n.attempts.Add(1, string(k), result) }

// ended counts a call at its end.
func (n *counters) ended(c *Call, end time.Time) {
	kind := string(c.kind)
	n.tried(c.kind, result(c))
	if !c.rang.IsZero() {
		n.setup.Observe(c.rang.Sub(c.start).Seconds(), kind)
	}
	if !c.answered.IsZero() {
		n.talk.Observe(end.Sub(c.answered).Seconds(), kind)
	}
}

// result is one of few words for a label.
func result(c *Call) string {
	switch e := c.ended; {
	case !c.answered.IsZero():
		return "answered"
	case e.status == 486 || e.status == 600:
		return "busy"
	case e.status == 487:
		return "cancelled"
	case e.cause == 19:
		return "no answer"
	case e.cause == subscriberAbsent && e.status == 480:
		return "offline"
	case e.status == 404 || e.status == 484:
		return "no such number"
	case e.status == 302:
		return "redirected"
	case e.status == 503:
		return "no capacity"
	case e.by == "callee":
		return "declined"
	case e.status == 403:
		return "refused"
	}
	return "failed"
}
