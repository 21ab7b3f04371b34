// Package web shows people what the offices of this process are doing: pages, metrics, health. Snapshots only.
//
// Everything is read-only and without a login, so it belongs on loopback; there it answers only to
// names of loopback, so that a page from elsewhere cannot read it through the browser. One server shows all
// offices of the process. It waits for their loops and never changes anything in them.
package web

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/metric"
)

// Source is one office as people see it.
type Source interface {
	Name() string
	// Snapshot gives what (a constant of this package) after one entry, at most max; 0: as many as is usual.
	Snapshot(ctx context.Context, what, after string, max int) (any, error)
	Metrics() *metric.Set
}

// What a Source is asked for.
const (
	AskHealth = "health" // Health
	AskPlace  = "place"  // Place
	AskPeople = "people" // []Person
	AskCalls  = "calls"  // []Call
	AskMoves  = "moves"  // []Move
)

// Server is the pages of one process.
type Server struct {
	version  string
	loopback bool // listening on loopback: only its names are answered
	sources  []Source
	log      zerolog.Logger
	mux      *http.ServeMux
}

//go:embed page
var page embed.FS

// New makes the pages of sources; addr is where they will be served.
func New(version, addr string, log zerolog.Logger, sources ...Source) *Server {
	s := &Server{version: version, loopback: isLoopback(addr), sources: sources, log: log, mux: http.NewServeMux()}
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err)
	}
	s.mux.Handle("GET /", http.FileServerFS(files))
	s.mux.HandleFunc("GET /api/state", s.state)
	s.mux.HandleFunc("GET /healthz", s.healthz)
	s.mux.HandleFunc("GET /readyz", s.readyz)
	s.mux.Handle("GET /metrics", s.metrics())
	return s
}

// Handle adds a page at a pattern of http.ServeMux, behind the guards of all others. Before Serve.
func (s *Server) Handle(pattern string, h http.Handler) { s.mux.Handle(pattern, h) }

// ServeHTTP answers a request, if it is addressed to us.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.loopback && !isLoopback(r.Host) {
		http.Error(w, "this page is for this machine only", http.StatusMisdirectedRequest)
		return
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	s.mux.ServeHTTP(w, r)
}

// Serve answers on l until ctx ends. It owns l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	hs := &http.Server{
		Handler: s, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	stop := context.AfterFunc(ctx, func() { hs.Close() })
	defer stop()
	if err := hs.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// isLoopback says that hostport (or a host alone) names this machine for itself.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.Encode(v) // an error is the reader's hanging up
}
