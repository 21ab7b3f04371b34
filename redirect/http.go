package redirect

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/web"
)

// answerFor is how long one HTTP answer may take.
const answerFor = 2 * time.Second

// Show adds the read-only view to pages: /users/NAME, /users/NAME/moves and /offices, as JSON.
func (s *Server) Show(pages *web.Server) {
	on := func(pattern string, do func(ctx context.Context, r *http.Request) (any, error)) {
		pages.Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), answerFor)
			defer cancel()
			v, err := do(ctx, r)
			code := http.StatusOK
			if err != nil {
				code, v = problem(err), map[string]string{"error": err.Error()}
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			out := json.NewEncoder(w)
			out.SetIndent("", "  ")
			out.Encode(v) // an error is the reader's hanging up
		}))
	}
	on("GET /users/{name}", func(ctx context.Context, r *http.Request) (any, error) { return s.Where(ctx, r.PathValue("name")) })
	on("GET /users/{name}/moves", func(ctx context.Context, r *http.Request) (any, error) {
		p, err := s.Where(ctx, r.PathValue("name"))
		if err != nil {
			return nil, err
		}
		return s.routes.Moves(ctx, p.User, 100)
	})
	on("GET /offices", func(ctx context.Context, _ *http.Request) (any, error) { return s.routes.Offices(ctx) })
}

func problem(err error) int {
	switch {
	case errors.Is(err, roam.NoSuchUser):
		return http.StatusNotFound
	case errors.Is(err, roam.Ambiguous):
		return http.StatusMultipleChoices
	case errors.Is(err, roam.StoreAway):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// Where is where a user is: name is a number, extension or user@domain. roam.NoSuchUser, Ambiguous, StoreAway. It waits.
func (s *Server) Where(ctx context.Context, name string) (Place, error) {
	type answer struct {
		p   Place
		err error
	}
	got := make(chan answer, 1)
	if err := s.loop.Post(func() {
		s.whereIs(names(sip.AOR(name)), func(p Place, err error) { got <- answer{p, err} })
	}); err != nil {
		return Place{}, err
	}
	select {
	case a := <-got:
		return a.p, a.err
	case <-ctx.Done():
		return Place{}, ctx.Err()
	}
}

// Name is web.Source's.
func (s *Server) Name() string { return "routesrv" }

// Metrics is web.Source's.
func (s *Server) Metrics() *metric.Set { return s.metrics }

// Snapshot is web.Source's: this process has no people and no calls of its own.
func (s *Server) Snapshot(_ context.Context, what, _ string, _ int) (any, error) {
	up := s.routes.Up()
	store := "up"
	if !up {
		store = "away"
	}
	switch what {
	case web.AskHealth:
		return web.Health{Office: s.Name(), Ready: true, Parts: []web.Part{{Name: "routing store", OK: up}}}, nil
	case web.AskPlace:
		return web.Place{Office: s.Name(), Listen: s.cfg.Listen, Store: store, Uptime: time.Since(s.began).Seconds()}, nil
	}
	return nil, nil
}

// Audit has the store looked through now and then, until ctx ends.
func (s *Server) Audit(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !s.routes.Up() {
			continue
		}
		a, err := s.routes.Audit(ctx)
		e := s.log.Info()
		if err != nil || a.Raised > 0 || a.Odd > 0 {
			e = s.log.Warn()
		}
		e.Str("event", "routes.audit").Err(err).Int("users", a.Users).Int("raised", a.Raised).Int("odd", a.Odd).Msg("routing store looked through")
	}
}
