package provision

import (
	"bytes"
	"context"
	"flag"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/store"
)

var update = flag.Bool("update", false, "write testdata anew")

// Phones of the tests.
var (
	yealink = MAC{0x00, 0x15, 0x65, 0xa1, 0xb2, 0xc3}
	desk    = netip.MustParseAddr("192.0.2.31")
)

// registrar is the accounts of the tests.
type registrar struct {
	mu     sync.Mutex // guards what follows
	users  map[string]Account
	phones map[roam.UserID]map[string]string
	told   int
}

func (r *registrar) Account(_ context.Context, name string) (Account, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, a := range r.users {
		if name == id || name == a.Short {
			return a, nil
		}
	}
	return Account{}, roam.NoSuchUser
}

func (r *registrar) SetPhones(_ context.Context, phones map[roam.UserID]map[string]string, all bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if all {
		clear(r.phones)
	}
	for u, p := range phones {
		r.phones[u] = p
	}
	r.told++
	return nil
}

func (r *registrar) password(user roam.UserID, m MAC) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.phones[user][Login(m)]
}

// leases is DHCP's.
type leases map[netip.Addr]string

func (l leases) At(_ context.Context, a netip.Addr) (roam.Lease, bool, error) {
	mac, found := l[a]
	return roam.Lease{MAC: mac, Port: "sw1/7"}, found, nil
}

// world is a server with its neighbours.
type world struct {
	t      testing.TB
	server *Server
	cfg    Config
	reg    *registrar
	leases leases
	m      *metric.Set
	path   string // of the file
	now    time.Time
	stop   func()

	mu  sync.Mutex // guards log
	log bytes.Buffer
}

func (w *world) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

func (w *world) logged() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// newWorld starts a server whose configuration change has changed.
func newWorld(t testing.TB, change func(*Config)) *world {
	t.Helper()
	w := &world{t: t, cfg: DefaultConfig(), leases: leases{desk: yealink.Colons()}, path: filepath.Join(t.TempDir(), "office.db"), now: time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC),
		reg: &registrar{users: map[string]Account{"2001@south.example": {User: "2001@south.example", Name: "Alice", Number: "+15550002001", Short: "2001"},
			"2002@south.example": {User: "2002@south.example", Short: "2002"}}, phones: map[roam.UserID]map[string]string{}}}
	w.cfg.Listen, w.cfg.Domain, w.cfg.Timezone, w.cfg.Expires = []string{"http:127.0.0.1:0"}, "south.example", "America/Chicago", roam.Duration(5*time.Minute)
	w.cfg.Servers, w.cfg.Emergency = []string{"192.0.2.1"}, []string{"911"}
	if change != nil {
		change(&w.cfg)
	}
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *world) start() {
	w.t.Helper()
	f, err := store.Open(w.path, Schema)
	if err != nil {
		w.t.Fatal(err)
	}
	w.m = &metric.Set{}
	ctx, halt := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- f.Run(ctx) }()
	w.server, err = New(w.cfg, Parts{File: f, Accounts: w.reg, Leases: w.leases, Metrics: w.m, Log: zerolog.New(w)})
	w.stop = sync.OnceFunc(func() {
		halt()
		<-over
		f.Close()
	})
	if err != nil {
		w.stop()
		w.t.Fatal(err)
	}
	w.server.Now = func() time.Time { return w.now }
	if err := w.server.Settle(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

func (w *world) add(m MAC, user string) {
	w.t.Helper()
	if _, err := w.server.Add(context.Background(), m, user, ""); err != nil {
		w.t.Fatal(err)
	}
}

// ask is a phone's request; how changes it.
func (w *world) ask(path string, how ...func(*http.Request)) *http.Response {
	w.t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	r.URL.Path, r.RequestURI = path, path
	r.RemoteAddr = netip.AddrPortFrom(desk, 40000).String()
	r.Header.Set("User-Agent", "Yealink SIP-T46S 66.85.0.5 00:15:65:a1:b2:c3")
	for _, h := range how {
		h(r)
	}
	out := httptest.NewRecorder()
	w.server.serve(out, r)
	return out.Result()
}

func from(a string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(a), 40000).String() }
}

func as(agent string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("User-Agent", agent) }
}

func with(login, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(login, password) }
}

// want asks and compares the code.
func (w *world) want(code int, path string, how ...func(*http.Request)) string {
	w.t.Helper()
	res := w.ask(path, how...)
	var b bytes.Buffer
	b.ReadFrom(res.Body)
	if res.StatusCode != code {
		w.t.Fatalf("%s: got %s, want %d\n%s", path, res.Status, code, b.String())
	}
	if code != http.StatusOK && strings.TrimSpace(b.String()) != strings.TrimSpace(refuseText) {
		w.t.Errorf("%s: a refusal says %q", path, b.String())
	}
	if res.Header.Get("Cache-Control") != "no-store" {
		w.t.Errorf("%s: what proxies may keep", path)
	}
	return b.String()
}

// why is the reason of the last refusal.
func (w *world) why(reason string) {
	w.t.Helper()
	if log := w.logged(); !strings.Contains(log, `"reason":"`+reason+`"`) {
		w.t.Errorf("got %s, want %s", log, reason)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log.Reset()
	w.server.seldom = metric.Seldom{}
}

// golden compares got with its file.
func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}
