package routesrv

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
)

// hook sees every command of the client: it measures, and notices that R is away.
type hook struct{ s *Store }

// DialHook leaves dialling as it is.
func (h hook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook is for one command.
func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		start := time.Now()
		err := next(ctx, cmd)
		name := cmd.Name()
		h.s.saw(ctx, name, start, err)
		return err
	}
}

// ProcessPipelineHook is for several at once.
func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		start := time.Now()
		err := next(ctx, cmds)
		h.s.saw(ctx, "pipeline", start, err)
		return err
	}
}

func (s *Store) saw(ctx context.Context, name string, start time.Time, err error) {
	if name != "xread" && name != "xreadgroup" { // these wait for something to happen
		s.seconds.Observe(time.Since(start).Seconds(), name)
	}
	switch {
	case !away(err) || context.Cause(ctx) == context.Canceled:
	case time.Since(start) > absent: // it is we who were away: watch finds out
		signal(s.kick)
	case s.up.CompareAndSwap(true, false):
		signal(s.kick)
	}
}

// absent is longer than any command waits for R: a process that was stopped meanwhile.
const absent = patience + time.Second

// away says that err means a Redis that cannot be reached or cannot serve now; any other
// error is an answer.
func away(err error) bool {
	if err == nil || errors.Is(err, redis.Nil) {
		return false
	}
	var answer redis.Error
	if !errors.As(err, &answer) {
		return true
	}
	for _, p := range []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS"} {
		if strings.HasPrefix(answer.Error(), p) {
			return true
		}
	}
	return false
}

// refuse is err as the rest of the office hears it: a routing store that does not serve.
func (s *Store) refuse(err error) error {
	if err == nil || err == roam.StoreAway {
		return err
	}
	if err == loop.ErrFull { // it has been asked too much already
		return roam.TooBusy
	}
	if !away(err) {
		s.complain("routes.odd", err)
	}
	return roam.StoreAway
}

// watch is the breaker: it alone says that R is back, and it keeps the signs of life.
func (s *Store) watch(ctx context.Context) {
	var renewed time.Time
	pause, failed := time.Duration(0), true
	for ctx.Err() == nil {
		err := s.ping(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.up.Store(false)
			s.since.Store(0)
			if !failed || pause == 0 {
				s.log.Warn().Str("event", "routes.away").Err(err).Msg("routing store away")
				pause = 50 * time.Millisecond
			}
			failed, pause = true, min(2*pause, time.Second)
		default:
			if failed {
				s.since.Store(time.Now().UnixNano())
				s.lose()
				s.log.Info().Str("event", "routes.up").Msg("routing store answers")
			}
			if failed || time.Since(renewed) >= renewEvery {
				if s.renew(ctx, failed) {
					renewed = time.Now()
				}
			}
			failed, pause = false, time.Second
			if !s.up.Swap(true) {
				signal(s.work)
			}
		}
		select {
		case <-ctx.Done():
		case <-s.kick:
		case <-time.After(pause):
		}
	}
}

func (s *Store) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if c, cluster := s.client.(*redis.ClusterClient); cluster && !s.Up() {
		c.ReloadState(ctx) // another node may be primary now, and nobody tells a client whose node is dead
	}
	err := s.client.Ping(ctx).Err()
	if errors.As(err, new(redis.Error)) && !away(err) { // NOAUTH, NOPERM: it will not serve us either
		s.complain("routes.refused", err)
	}
	return err
}
