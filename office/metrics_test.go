package office_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/rs/zerolog"

	"github.com/siproam/siproam/phone"
	"github.com/siproam/siproam/web"
)

// promised is every metric of this version, without its prefix.
var promised = strings.Fields(`
	bindings register_requests_total register_duration_seconds auth_failures_total moves_total supersedes_total visitors_provisional calls
	call_attempts_total call_setup_duration_seconds call_duration_seconds sip_requests_total sip_responses_total sip_retransmissions_total
	sip_refused_messages_total sip_transactions sip_connections overload_rejections_total media_ports media_packets_total media_packets_dropped_total
	media_packets_lost_total media_jitter_seconds media_timeouts_total routes_up routes_command_duration_seconds routes_lookups_total
	routes_stale_writes_total routes_unpublished_users partner_up partner_request_duration_seconds cdrs_total cdrs_pending
	cdr_oldest_pending_timestamp_seconds state_commit_duration_seconds tls_certificate_expiry_timestamp_seconds
	config_last_reload_successful config_last_reload_success_timestamp_seconds slow_turns_total panics_total`)

// labels is every label there may be: none of them can name a person, a phone or a call.
var labels = strings.Fields("kind result reason from to partner method transport direction code state command home name type where why")

// TestMetrics: what was promised is counted, everything is named as Prometheus asks, and nothing tells of people.
func TestMetrics(t *testing.T) {
	x := startThree(t, nil)
	ctx := within(t, 20*time.Second)
	alice, bob := x.phone("1001", "south", phone.Config{Answer: phone.Talk, Tone: 440}), x.phone("1002", "north", phone.Config{})
	for _, p := range []*phone.Phone{alice, bob} {
		if _, err := x.plug(p); err != nil {
			t.Fatal(err)
		}
	}
	x.located("1001", "south")
	call, err := bob.Call(ctx, "sip:1001@north.example")
	if err != nil {
		t.Fatal(err)
	}
	sources := make([]web.Source, 0, 3)
	for _, o := range x.house.Offices {
		sources = append(sources, o)
	}
	pages := web.New("test", "127.0.0.1:0", zerolog.Nop(), sources...)
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	pages.ServeHTTP(w, r)
	if err := call.Hangup(ctx); err != nil {
		t.Error(err)
	}
	text := w.Body.String()
	if w.Code != 200 {
		t.Fatalf("got %d: %s", w.Code, text)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	var names []string
	for _, o := range x.house.Offices[:1] {
		for _, f := range o.Metrics().Families() {
			names = append(names, f.Name)
			for _, l := range f.Labels {
				if !slices.Contains(labels, l) {
					t.Errorf("%s: label %s is not one of %v", f.Name, l, labels)
				}
			}
		}
	}
	for _, p := range promised {
		if !slices.Contains(names, p) {
			t.Errorf("%s is promised and not counted", p)
		}
	}
	for _, secret := range []string{"1001", "1002", "north.example", "127.0.0.1"} {
		if strings.Contains(strings.ReplaceAll(text, "siproam_build_info", ""), `"`+secret) {
			t.Errorf("a label holds %s", secret)
		}
	}
}
