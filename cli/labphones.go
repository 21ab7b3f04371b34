package cli

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/office"
	"github.com/siproam/siproam/phone"
)

// goodbye is how long the phones may take to de-register at the end.
const goodbye = time.Second

// runPhones runs phones from the moment the offices serve until ctx ends, and waits for their goodbyes.
func runPhones(ctx context.Context, h *office.House, phones []*phone.Phone, log zerolog.Logger) {
	for _, o := range h.Offices {
		select {
		case <-o.Ready():
		case <-ctx.Done():
			return
		}
	}
	var all sync.WaitGroup
	for _, p := range phones {
		all.Go(func() {
			if err := p.Run(ctx); err != nil && ctx.Err() == nil {
				log.Warn().Str("event", "phone.end").Err(err).Msg("built-in phone ended")
			}
		})
	}
	<-ctx.Done()
	gone := make(chan struct{})
	go func() { all.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-time.After(goodbye):
	}
}

// reachable says in one sentence why a Redis cannot be used, before anything is started.
func reachable(redis string) error {
	u, err := url.Parse(redis)
	if err != nil || u.Host == "" {
		return misuse("--redis %q: not a URL such as redis://127.0.0.1:6379/0", redis)
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = "6379"
	}
	c, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), 3*time.Second)
	if err != nil {
		return fmt.Errorf("routing store %s: %w", net.JoinHostPort(host, port), office.Reason(err))
	}
	return c.Close()
}
