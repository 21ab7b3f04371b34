package dhcp

import (
	"context"
	"net/netip"
	"time"

	"github.com/siproam/siproam/dhcp/wire"
)

// serversFor is how long a look for other servers waits for answers.
const serversFor = 2 * time.Second

// look is the servers that answer on our interfaces and are not us. It waits.
func (s *Server) look(ctx context.Context) (all []wire.Other) {
	for _, i := range s.wire.Interfaces() {
		within, stop := context.WithTimeout(ctx, serversFor)
		others, err := s.wire.Servers(within, i.Index, false)
		stop()
		if err != nil && ctx.Err() == nil {
			s.log.Warn().Str("event", "dhcp.look").Str("interface", i.Name).Err(err).Msg("other servers not looked for")
		}
		all = append(all, others...)
	}
	return all
}

// watch looks for other servers every cfg.Look until ctx ends.
func (s *Server) watch(ctx context.Context) {
	cfg := s.config()
	if cfg.Look == 0 || cfg.Mode != "server" {
		return
	}
	tick := time.NewTicker(cfg.Look.D())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, o := range s.look(ctx) {
			s.Heard(o)
		}
	}
}

// Heard notes another server that has answered a client of ours; wire tells it. From any goroutine.
func (s *Server) Heard(o wire.Other) { s.heard(o.Interface, o.ID, o.From) }

// heard says that there is another server: once a minute for each, as it may answer every client, and eight times at most, as
// clients can speak of any.
func (s *Server) heard(on string, id, from netip.Addr) {
	s.others.Add(1, on)
	if since, worth := s.seldom.Worth(time.Now(), on+string('0'+id.As16()[15]%8)); worth {
		s.log.Warn().Str("event", "dhcp.other").Str("interface", on).Stringer("server", id).Stringer("from", from).Uint64("since", since).
			Msg("another DHCP server answers")
	}
}
