package web

import (
	"context"
	"net/http"
	"time"
)

// Health is what one office says of itself.
type Health struct {
	Office string `json:"office"`
	Ready  bool   `json:"ready"` // listeners bound and the state file open
	Parts  []Part `json:"parts"`
}

// Part is one thing the office uses. Only what belongs to the office itself makes it unready: while Redis, a
// partner or a home office is away, phones are served from memory.
type Part struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// healthz is 200 while every office's loop turns.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	all, alive, _ := s.health(r.Context())
	if !alive {
		writeJSON(w, http.StatusServiceUnavailable, all)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz is 200 while every office can serve phones; its body lists what is away.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	all, alive, ready := s.health(r.Context())
	code := http.StatusOK
	if !alive || !ready {
		code = http.StatusServiceUnavailable
	}
	writeJSON(w, code, all)
}

// health asks every office; one that does not answer within two seconds is not alive.
func (s *Server) health(ctx context.Context) (all []Health, alive, ready bool) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	alive, ready = true, true
	for _, src := range s.sources {
		v, err := src.Snapshot(ctx, AskHealth, "", 0)
		h, ok := v.(Health)
		if err != nil || !ok {
			h = Health{Office: src.Name(), Parts: []Part{{Name: "loop", Detail: "does not answer"}}}
			alive = false
		}
		ready = ready && h.Ready
		all = append(all, h)
	}
	return all, alive, ready
}
