package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/rs/zerolog"

	"github.com/siproam/siproam/metric"
)

// office is a Source that says what it is told to.
type office struct {
	name string
	says map[string]any
	set  *metric.Set
}

func (o *office) Name() string         { return o.name }
func (o *office) Metrics() *metric.Set { return o.set }
func (o *office) Snapshot(ctx context.Context, what, after string, max int) (any, error) {
	if v, ok := o.says[what]; ok {
		return v, nil
	}
	return nil, errors.New("does not answer")
}

// counts is a Set with one family of each kind, as every office has them.
func counts() *metric.Set {
	s := &metric.Set{}
	s.Counter("register_requests_total", "REGISTERs by kind and result.", "kind", "result").Add(3, "home", "ok")
	s.Gauge("bindings", "Bindings by kind.", []string{"kind"}, func(emit func(float64, ...string)) { emit(2, "home"); emit(1, "visitor") })
	h := s.Histogram("register_duration_seconds", "Time from REGISTER to its answer.", metric.Durations, "kind")
	h.Observe(.003, "home")
	h.Observe(70, "home")
	return s
}

func three() []Source {
	var all []Source
	for _, name := range []string{"north", "south", "west"} {
		all = append(all, &office{name: name, set: counts(), says: map[string]any{
			AskHealth: Health{Office: name, Ready: true, Parts: []Part{{Name: "redis", Detail: "connection refused"}}},
			AskPlace:  Place{Office: name, Domain: name + ".example"},
			AskPeople: []Person{{User: "1@" + name + ".example", Home: name}},
			AskCalls:  []Call{},
			AskMoves:  []Move{{User: "1@" + name + ".example", Move: 1}},
		}})
	}
	return all
}

// get asks s for path by the name host.
func get(s *Server, host, path string) (code int, body string) {
	r := httptest.NewRequest("GET", path, nil)
	r.Host = host
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestMetrics(t *testing.T) {
	s := New("0.1.0", "127.0.0.1:8080", zerolog.Nop(), three()...)
	code, body := get(s, "127.0.0.1:8080", "/metrics")
	if code != http.StatusOK {
		t.Fatalf("got %d: %s", code, body)
	}
	for _, want := range []string{
		`siproam_register_requests_total{kind="home",office="north",result="ok"} 3`,
		`siproam_bindings{kind="visitor",office="west"} 1`,
		`siproam_register_duration_seconds_bucket{kind="home",office="south",le="0.005"} 1`,
		`siproam_register_duration_seconds_bucket{kind="home",office="south",le="+Inf"} 2`,
		`siproam_register_duration_seconds_sum{kind="home",office="south"} 70.003`,
		`siproam_build_info{`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("got no %s", want)
		}
	}
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestHealth(t *testing.T) {
	all := three()
	s := New("0.1.0", "127.0.0.1:8080", zerolog.Nop(), all...)
	want := func(path string, code int, text string) {
		t.Helper()
		got, body := get(s, "localhost:8080", path)
		if got != code || !strings.Contains(body, text) {
			t.Errorf("%s: got %d %s, want %d with %q", path, got, body, code, text)
		}
	}
	want("/healthz", 200, "ok")
	want("/readyz", 200, "connection refused") // Redis is away: listed, but the office serves
	south := all[1].(*office)
	south.says[AskHealth] = Health{Office: "south"}
	want("/healthz", 200, "ok")
	want("/readyz", 503, `"south"`)
	delete(south.says, AskHealth)
	want("/healthz", 503, "does not answer")
	want("/readyz", 503, "does not answer")
}

func TestState(t *testing.T) {
	all := three()
	all[2].(*office).says = nil
	s := New("0.1.0", "127.0.0.1:8080", zerolog.Nop(), all...)
	code, body := get(s, "[::1]:8080", "/api/state")
	var st State
	if err := json.Unmarshal([]byte(body), &st); err != nil || code != 200 {
		t.Fatalf("got %d %v %s", code, err, body)
	}
	if len(st.Places) != 2 || len(st.People) != 2 || len(st.Moves) != 2 || st.Calls == nil || len(st.Silent) != 1 || st.Silent[0] != "west" {
		t.Errorf("got %+v, want two offices and west silent", st)
	}
}

// TestRebinding: on loopback, a name that an attacker's DNS gives for 127.0.0.1 is refused.
func TestRebinding(t *testing.T) {
	for _, c := range []struct {
		addr, host string
		want       int
	}{
		{"127.0.0.1:8080", "127.0.0.1:8080", 200},
		{"127.0.0.1:8080", "localhost", 200},
		{"127.0.0.1:8080", "evil.example:8080", 421},
		{"127.0.0.1:8080", "", 421},
		{"0.0.0.0:8080", "siproam.example:8080", 200},
	} {
		s := New("0.1.0", c.addr, zerolog.Nop())
		if got, _ := get(s, c.host, "/healthz"); got != c.want {
			t.Errorf("at %s, asked as %q: got %d, want %d", c.addr, c.host, got, c.want)
		}
	}
}

// TestPage: the page and what it needs are there, read-only, and load nothing from elsewhere.
func TestPage(t *testing.T) {
	s := New("0.1.0", "127.0.0.1:0", zerolog.Nop(), three()...)
	for path, want := range map[string]string{"/": "<title>siproam</title>", "/page.js": "api/state", "/page.css": "--ink", "/icon.svg": "<svg"} {
		code, body := get(s, "localhost", path)
		if code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: got %d, want 200 with %q", path, code, want)
		}
		if strings.Contains(strings.ReplaceAll(body, "http://www.w3.org/2000/svg", ""), "://") {
			t.Errorf("%s loads something from elsewhere", path)
		}
	}
	r := httptest.NewRequest("POST", "/api/state", nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %d, want %d", w.Code, http.StatusMethodNotAllowed)
	}
}

func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- New("0.1.0", l.Addr().String(), zerolog.Nop()).Serve(ctx, l) }()
	r, err := http.Get("http://" + l.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, r.Body)
	r.Body.Close()
	if r.StatusCode != 200 || r.Header.Get("Content-Security-Policy") == "" {
		t.Errorf("got %s %v, want 200 with a policy", r.Status, r.Header)
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("did not end")
	}
}
