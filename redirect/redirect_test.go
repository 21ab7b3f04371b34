package redirect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/routesrv"
	"github.com/siproam/siproam/web"
)

// rig is a routing store in which south has alice of north, and a server that answers where she is.
type rig struct {
	t     *testing.T
	s     *Server
	store func() // ends the routing store

	office func(user roam.UserID, at roam.Location) // what south reports
	http   *httptest.Server
	udp    *net.UDPConn
}

func newRig(t *testing.T, allow ...string) *rig {
	t.Helper()
	return newRigWith(t, func(cfg *Config) {
		for _, a := range allow {
			cfg.Allow = append(cfg.Allow, netip.MustParsePrefix(a))
		}
	})
}

// newRigWith changes the server's configuration first.
func newRigWith(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	e, err := routesrv.StartEmbedded("127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, store: background(t, e.Run)}
	routes := routesrv.Config{Redis: "redis://" + e.Addr() + "/0"}
	r.office = report(t, routes)
	cfg := Config{Listen: []string{"udp:127.0.0.1:0"}, Routes: routes}
	change(&cfg)
	if r.s, err = New(cfg, zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	background(t, func(ctx context.Context) error { return r.s.Run(ctx, func() { close(ready) }) })
	<-ready
	pages := web.New("test", "127.0.0.1:0", zerolog.Nop(), r.s)
	r.s.Show(pages)
	r.http = httptest.NewServer(pages)
	t.Cleanup(r.http.Close)
	to, err := net.ResolveUDPAddr("udp", strings.TrimPrefix(r.s.Addrs()[0], "udp:"))
	if err != nil {
		t.Fatal(err)
	}
	if r.udp, err = net.DialUDP("udp", nil, to); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.udp.Close() })
	for end := time.Now().Add(5 * time.Second); !r.s.routes.Up(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the routing store does not answer")
		}
	}
	return r
}

// background runs until the test ends, or the returned function is called.
func background(t *testing.T, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	over := false
	stop = func() {
		if cancel(); !over {
			over = true
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(stop)
	return stop
}

// report has south tell the store that it has alice, and that bob is nowhere; and what it is told later.
func report(t *testing.T, cfg routesrv.Config) func(roam.UserID, roam.Location) {
	t.Helper()
	l := loop.New(64, 16)
	card := roam.Card{Office: "south", Domains: []string{"south.example"}, Switch: "sip:sip.south.example:5067;transport=tls", Registrar: "sip:sip.south.example:5067;transport=tls"}
	s, err := routesrv.New(cfg, l, card, "n1", 1, &metric.Set{}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) error { l.Run(ctx); return nil })
	background(t, s.Run)
	reported := make(chan error, 1)
	for end := time.Now().Add(5 * time.Second); !s.Up() && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if err := l.Do(t.Context(), func() {
		s.Publish([]roam.Identity{{Name: "1001@north.example", User: "1001@north.example", Home: "north"}, {Name: "+15550001001", User: "1001@north.example", Home: "north"},
			{Name: "1001", User: "1001@north.example", Home: "north"}, {Name: "1002@north.example", User: "1002@north.example", Home: "north"}, {Name: "1004@north.example", User: "1004@north.example", Home: "north"}}, nil)
	}); err != nil {
		t.Fatal(err)
	}
	tell := func(user roam.UserID, at roam.Location) {
		t.Helper()
		for end := time.Now().Add(5 * time.Second); ; {
			if err := l.Do(t.Context(), func() { s.Report(user, at, "registered", func(_ roam.Location, err error) { reported <- err }) }); err != nil {
				t.Fatal(err)
			}
			err := <-reported
			if err == nil {
				return
			}
			if !errors.Is(err, roam.StoreAway) || time.Now().After(end) { // a busy machine is slower than a store may be
				t.Fatal(err)
			}
		}
	}
	tell("1001@north.example", roam.Location{Epoch: 41, Office: "south", Switch: card.Switch, Registrar: card.Registrar, Since: time.Now()})
	return tell
}

var branches int

// ask sends a request and gives its final answer; an INVITE's is acknowledged.
func (r *rig) ask(method, uri string) string {
	r.t.Helper()
	branches++
	msg := func(method string) string {
		return fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%d\r\nMax-Forwards: 70\r\nFrom: <sip:switch@example.org>;tag=1\r\nTo: <sip:x@example.org>\r\n"+
			"Call-ID: %d@example.org\r\nCSeq: 1 %s\r\nContact: <sip:switch@%s>\r\nContent-Length: 0\r\n\r\n", method, uri, r.udp.LocalAddr(), branches, branches, method, r.udp.LocalAddr())
	}
	if _, err := r.udp.Write([]byte(msg(method))); err != nil {
		r.t.Fatal(err)
	}
	room := make([]byte, 4096)
	for {
		r.udp.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := r.udp.Read(room)
		if err != nil {
			r.t.Fatalf("%s %s: %v", method, uri, err)
		}
		if answer := string(room[:n]); !strings.HasPrefix(answer, "SIP/2.0 1") {
			if method == "INVITE" {
				r.udp.Write([]byte(msg("ACK")))
			}
			return answer
		}
	}
}

func TestRedirects(t *testing.T) {
	r := newRig(t)
	where := "Contact: <sip:1001@north.example:5067;maddr=sip.south.example;transport=tls>;office=south\r\n"
	for _, c := range []struct{ method, uri, status, has string }{
		{"INVITE", "sip:1001@north.example", "302", where},
		{"OPTIONS", "sip:1001@north.example", "302", where},
		{"INVITE", "sip:+15550001001@127.0.0.1", "302", where},
		{"INVITE", "tel:+1-555-000-1001", "302", where},
		{"INVITE", "sip:1001@127.0.0.1", "302", where},
		{"INVITE", "sip:1001@NORTH.example;user=phone", "302", "Roam-Epoch: 41\r\n"},
		{"INVITE", "sip:1002@north.example", "480", ""},
		{"INVITE", "sip:1003@north.example", "404", ""},
		{"INVITE", "sip:127.0.0.1", "404", ""},
		{"OPTIONS", "sip:127.0.0.1", "200", "Allow: "},
		{"REGISTER", "sip:north.example", "405", "Allow: "},
		{"INVITE", "sip:1001@north.example?x", "400", ""},
	} {
		if got := r.ask(c.method, c.uri); !strings.HasPrefix(got, "SIP/2.0 "+c.status) || !strings.Contains(got, c.has) {
			t.Errorf("%s %s: got\n%s\nwant %s %s", c.method, c.uri, got, c.status, c.has)
		}
	}
	r.store() // away: what is remembered is better than nothing
	if got := r.ask("INVITE", "sip:1001@north.example"); !strings.Contains(got, where) {
		t.Errorf("with the store away: got\n%s\nwant the place remembered", got)
	}
	for end := time.Now().Add(5 * time.Second); r.s.routes.Up() && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if got := r.ask("INVITE", "sip:2001@south.example"); !strings.HasPrefix(got, "SIP/2.0 503") || !strings.Contains(got, "Retry-After") {
		t.Errorf("with the store away, nothing remembered: got\n%s\nwant 503 with Retry-After", got)
	}
}

// TestStrangers: where people are is told to the networks that may ask.
func TestStrangers(t *testing.T) {
	r := newRig(t, "192.0.2.0/24")
	for _, method := range []string{"INVITE", "OPTIONS"} {
		if got := r.ask(method, "sip:1001@north.example"); !strings.HasPrefix(got, "SIP/2.0 403") || strings.Contains(got, "south") {
			t.Errorf("%s: got\n%s\nwant 403 and nothing told", method, got)
		}
	}
}

func TestView(t *testing.T) {
	r := newRig(t)
	get := func(path string, into any) int {
		t.Helper()
		res, err := http.Get(r.http.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(into); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return res.StatusCode
	}
	for _, name := range []string{"1001@north.example", "+15550001001", "1001"} {
		var p Place
		if code := get("/users/"+name, &p); code != 200 || p.User != "1001@north.example" || p.Home != "north" || p.Location.Office != "south" || p.Location.Epoch != 41 {
			t.Errorf("%s: got %d %+v, want alice at south", name, code, p)
		}
	}
	var moves []routesrv.Move
	if code := get("/users/1001/moves", &moves); code != 200 || len(moves) != 1 || moves[0].To != "south" {
		t.Errorf("got %d %+v, want one move", code, moves)
	}
	var offices []roam.Peer
	if code := get("/offices", &offices); code != 200 || len(offices) != 1 || offices[0].Office != "south" || !offices[0].Alive {
		t.Errorf("got %d %+v, want south, alive", code, offices)
	}
	var problem map[string]string
	if code := get("/users/9999", &problem); code != 404 || problem["error"] == "" {
		t.Errorf("got %d %v, want 404", code, problem)
	}
	req, _ := http.NewRequest("GET", r.http.URL+"/users/1001", nil)
	req.Host = "evil.example" // a page that made a name of its own point to us
	if res, err := http.DefaultClient.Do(req); err != nil || res.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("another host's name: got %v %v, want 421", res, err)
	}
	if res, err := http.Post(r.http.URL+"/users/1001", "", nil); err != nil || res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %v %v, want 405", res, err)
	}
	if res, err := http.Get(r.http.URL + "/metrics"); err != nil || res.StatusCode != 200 {
		t.Errorf("metrics: got %v %v, want 200", res, err)
	}
}
