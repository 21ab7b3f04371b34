package registrar

import (
	"testing"
	"testing/synctest"

	"github.com/siproam/siproam/roam"
)

// TestSharedDomain: two offices have one domain. Whom the one does not know, R and the other may know; whom
// nobody knows gets what a wrong password gets.
func TestSharedDomain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.on("south", func(s *Server) {
			cfg := s.cfg
			cfg.Names = append([]string{"north.example"}, cfg.Names...)
			s.Reload(cfg)
			s.domains = map[roam.OfficeID][]string{"north": {"north.example"}}
		})
		synctest.Wait()
		p := w.phone().carry("south")
		p.want(200)
		w.agree("south")
		p = w.phone().carry("south")
		p.to = "sip:1999@north.example"
		p.want(401)
	})
}
