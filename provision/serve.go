package provision

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
)

// Bounds of connections: phones ask for a few small files, one after another.
const (
	mostConns  = 1024 // in all
	connsEach  = 16   // of one source
	headerMax  = 8 << 10
	headerFor  = 5 * time.Second
	answerFor  = 15 * time.Second
	idleFor    = 10 * time.Second
	closeFor   = 300 * time.Millisecond
	decideFor  = 5 * time.Second // the lease, the account and the disk
	realm      = "siproam"
	refuseText = "no settings here\n"
)

// counters is what is counted.
type counters struct {
	requests *metric.Counter
	overload *metric.Counter
	took     *metric.Histogram
}

func (s *Server) count(m *metric.Set) {
	s.requests = m.Counter("provision_requests_total", "Settings that phones have asked for, by what came of it.", "result", "vendor")
	s.took = m.Histogram("provision_duration_seconds", "How long the answer to a phone that asks for its settings took.", metric.Durations)
	s.overload = m.Overload()
	m.Gauge("provision_phones", "Phones that are somebody's, by whether they have fetched their settings.", []string{"fetched"}, func(emit func(float64, ...string)) {
		n := map[bool]int{}
		s.mu.Lock()
		for _, r := range s.phones {
			if r.User != "" {
				n[!r.First.IsZero()]++
			}
		}
		s.mu.Unlock()
		emit(float64(n[true]), "yes")
		emit(float64(n[false]), "no")
	})
}

// Listen binds the listeners. An error has bound none.
func (s *Server) Listen() (err error) {
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	for _, l := range s.cfg.Listen {
		scheme, addr, err := splitListen(l)
		if err != nil {
			return err
		}
		in, err := net.Listen("tcp", addr.String())
		if err != nil {
			return fmt.Errorf("provision %s: %w", l, err)
		}
		in = &gate{Listener: in, open: map[netip.Prefix]int{}, refused: s.overload.With("provision connections")}
		if scheme == "https" {
			if s.cert == nil {
				in.Close()
				return fmt.Errorf("provision %s: no certificate", l)
			}
			c := s.cert.Clone()
			c.NextProtos = []string{"http/1.1"}
			c.ClientAuth = tls.RequestClientCert // who shows none, or one that we do not know, is told apart in admit
			in = tls.NewListener(in, c)
		}
		s.listeners = append(s.listeners, in)
	}
	return nil
}

// Addrs is where the listeners are bound.
func (s *Server) Addrs() (all []string) {
	for _, l := range s.listeners {
		all = append(all, l.Addr().String())
	}
	return all
}

func (s *Server) close() {
	for _, l := range s.listeners {
		l.Close()
	}
	s.listeners = nil
}

// Run serves until ctx ends or a listener fails. It owns the listeners; when it returns, all it has started has ended.
func (s *Server) Run(ctx context.Context) error {
	hs := &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: headerFor, ReadTimeout: answerFor, WriteTimeout: answerFor, IdleTimeout: idleFor,
		MaxHeaderBytes: headerMax, ErrorLog: nil, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, Protocols: http1()}
	hs.ErrorLog = quiet()
	run, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var wg sync.WaitGroup
	for _, l := range s.listeners {
		wg.Go(func() {
			if err := hs.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				fail(fmt.Errorf("provision %v: %w", l.Addr(), err))
			}
		})
	}
	<-run.Done()
	soon, cancel := context.WithTimeout(context.Background(), closeFor)
	defer cancel()
	if hs.Shutdown(soon) != nil {
		hs.Close()
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(run)
}

func http1() *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP1(true)
	return p
}

// serve answers one request. The panic of one is a 500 of that one.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	began := s.now()
	defer func() {
		if v := recover(); v != nil {
			s.log.Error().Str("event", "provision.panic").Str("err", fmt.Sprint(v)).Str("stack", string(debug.Stack())).Msg("panic caught")
			s.requests.Add(1, "panic", "")
			w.WriteHeader(http.StatusInternalServerError)
		}
	}()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	a, no := apart(r)
	var g grant
	var text []byte
	if wait, all := s.limit.take(began, a.source); wait > 0 {
		no = &refusal{http.StatusTooManyRequests, "rate"}
		if all {
			no.code = http.StatusServiceUnavailable
		}
		s.overload.Add(1, "provision rate")
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	} else if no == nil {
		g, text, no = s.settings(r.Context(), &a)
	}
	s.took.Observe(s.now().Sub(began).Seconds())
	if no != nil {
		s.refuse(w, &a, &g, no)
		return
	}
	kind := "text/plain; charset=utf-8"
	if g.file.format == "xml" {
		kind = "text/xml; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
	s.said(&a, &g, "")
}

// settings is what a gets.
func (s *Server) settings(ctx context.Context, a *asked) (g grant, text []byte, no *refusal) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), decideFor) // some phones close their side when they have asked
	defer cancel()
	if g, no = s.admit(ctx, a); no != nil {
		return g, nil, no
	}
	s.mu.Lock()
	cfg := s.cfg
	s.mu.Unlock()
	v := s.common(&cfg, g.mac, g.file.vendor, a.here)
	if g.mine && g.file.own {
		account, err := s.accounts.Account(ctx, string(g.record.User))
		switch {
		case errors.Is(err, roam.NoSuchUser), errors.Is(err, roam.NotAllowed):
			return g, nil, &refusal{http.StatusNotFound, "user"}
		case err != nil:
			return g, nil, &refusal{http.StatusServiceUnavailable, "busy"}
		}
		v.give(account, s.secret, g.mac, g.record.Generation)
	} else if v.Guest = cfg.Unknown == Guest && !g.mine; v.Guest {
		v.Label = "Guest"
	}
	text, err := g.file.write(v)
	if err != nil {
		s.log.Error().Str("event", "provision.template").Err(err).Msg("template fails")
		return g, nil, &refusal{http.StatusInternalServerError, "template"}
	}
	if g.mine && g.file.own && !a.head {
		if no := s.fetched(ctx, a, &g); no != nil {
			return g, nil, no
		}
	}
	return g, text, nil
}

// fetched notes that the phone has its settings. The first time is on the disk before the answer goes out, and of several that
// come at once one is the first: nothing serves twice.
func (s *Server) fetched(ctx context.Context, a *asked, g *grant) *refusal {
	now := s.now().UTC()
	s.mu.Lock()
	r := s.copied(g.mac)
	if r.Generation != g.record.Generation || g.first && !r.First.IsZero() && r.Addr != a.source {
		s.mu.Unlock()
		return &refusal{http.StatusUnauthorized, "again"} // somebody was faster
	}
	r.Last, r.Addr, r.Agent = now, a.source, a.agent
	if g.first && r.First.IsZero() {
		r.First = now
	}
	if r.Vendor == "" {
		r.Vendor = g.file.vendor
	}
	wait := s.put(g.mac, &r, g.first)
	s.mu.Unlock()
	if wait(ctx) != nil {
		return &refusal{http.StatusServiceUnavailable, "busy"}
	}
	return nil
}

// refuse says no, and nothing of why but what HTTP needs.
func (s *Server) refuse(w http.ResponseWriter, a *asked, g *grant, no *refusal) {
	switch no.code {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="`+realm+`", charset="UTF-8"`)
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", "GET, HEAD")
	case http.StatusServiceUnavailable:
		if w.Header().Get("Retry-After") == "" {
			w.Header().Set("Retry-After", "2")
		}
	}
	http.Error(w, strings.TrimSpace(refuseText), no.code)
	s.said(a, g, no.why)
}

// said logs and counts. The path is not logged, since a secret may stand in it; a file of ours is. Refusals of a source that
// goes on are logged once a minute.
func (s *Server) said(a *asked, g *grant, why string) {
	vendor, name := "", ""
	if g.file != nil {
		vendor, name = g.file.vendor, g.file.name
	}
	e, msg := s.log.Info().Str("event", "provision.ok"), "phone got its settings"
	if why == "" {
		s.requests.Add(1, "ok", vendor)
	} else {
		s.requests.Add(1, why, vendor)
		since, worth := s.seldom.Worth(s.now(), why+" "+source(a.source).String())
		if !worth {
			return
		}
		e, msg = s.log.Warn().Str("event", "provision.refused").Str("reason", why).Uint64("since", since), "phone got no settings"
	}
	if g.has {
		e = e.Str("mac", g.mac.Colons())
	}
	if g.mine {
		e = e.Str("user", string(g.record.User))
	}
	e.Stringer("ip", a.source).Str("vendor", vendor).Str("file", name).Str("agent", a.agent).Msg(msg)
}
