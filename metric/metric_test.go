package metric

import "testing"

func TestCountsAndNil(t *testing.T) {
	var none *Set
	none.Counter("x_total", "").Add(1)
	none.Histogram("y_seconds", "", Durations).Observe(1)
	none.Gauge("z", "", nil, nil)
	s := &Set{}
	c := s.Counter("register_requests_total", "REGISTERs", "result")
	c.Add(2, "ok")
	c.With("ok").Add(1)
	if n, _ := c.With("ok").Count(); n != 3 {
		t.Errorf("counted %d, want 3", n)
	}
	h := s.Histogram("d_seconds", "", []float64{1, 2})
	for _, x := range []float64{.5, 1.5, 9} {
		h.Observe(x)
	}
	v := h.Family.With()
	if n, sum := v.Count(); n != 3 || sum != 11 {
		t.Errorf("count %d sum %v, want 3 and 11", n, sum)
	}
	if got := v.Cumulative(); got[1] != 1 || got[2] != 2 {
		t.Errorf("buckets %v", got)
	}
	none.Overload().Add(1, "x")
	s.Overload().Add(1, "loop")
	s.Overload().Add(1, "loop")
	if n, _ := s.Overload().With("loop").Count(); n != 2 || len(s.Families()) != 3 {
		t.Errorf("two parts counted %d into %d families, want 2 into 3", n, len(s.Families()))
	}
	defer func() {
		if recover() == nil {
			t.Error("a name used twice was taken")
		}
	}()
	s.Counter("d_seconds", "")
}
