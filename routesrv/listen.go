package routesrv

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/siproam/siproam/roam"
)

// maxNews is how many users' news wait for the loop; with more all is doubtful.
const maxNews = 10_000

// listen hears roam:ev. A channel gives no promise: after every (re)subscription something
// may have been missed, so all that is remembered becomes doubtful. It never lets
// messages wait: miniredis stands still for a subscriber who does not read.
func (s *Store) listen(ctx context.Context) {
	sub := s.client.Subscribe(ctx, channel)
	defer sub.Close()
	news := sub.ChannelWithSubscriptions(redis.WithChannelSize(4096), redis.WithChannelSendTimeout(time.Second))
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case m, open := <-news:
			if !open {
				return
			}
			s.heard(m)
		case <-again.C: // the loop was full
			s.post()
		}
	}
}

func (s *Store) heard(m any) {
	s.ev.Lock()
	switch m := m.(type) {
	case *redis.Subscription:
		s.ev.all = true
		if s.ev.again && m.Kind == "subscribe" { // the connection had broken: R may have started anew with what it once had
			s.since.Store(time.Now().UnixNano())
			s.lose()
			signal(s.work)
		}
		s.ev.again = true
	case *redis.Message:
		user, rest, _ := strings.Cut(m.Payload, " ")
		epoch, _, _ := strings.Cut(rest, " ")
		if n, err := strconv.ParseUint(epoch, 10, 64); err == nil && n <= maxEpoch && len(s.ev.users) < maxNews {
			u := roam.UserID(user)
			s.ev.users[u] = max(s.ev.users[u], roam.Epoch(n))
		} else {
			s.ev.all = true
		}
	}
	s.ev.Unlock()
	s.post()
}

// post brings what was heard to the loop, in one turn for all that came meanwhile.
func (s *Store) post() {
	s.ev.Lock()
	defer s.ev.Unlock()
	if !s.ev.posted && (s.ev.all || len(s.ev.users) > 0) {
		s.ev.posted = s.loop.Post(s.tell) == nil
	}
}

// tell runs on the loop.
func (s *Store) tell() {
	s.ev.Lock()
	users, all := s.ev.users, s.ev.all
	s.ev.users, s.ev.all, s.ev.posted = map[roam.UserID]roam.Epoch{}, false, false
	s.ev.Unlock()
	if all {
		s.gen++
	}
	for u, epoch := range users {
		s.forget(u, epoch)
	}
}
