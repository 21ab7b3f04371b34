package routesrv

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/siproam/siproam/roam"
)

//go:embed raise.lua
var raiseLua string

var raiseScript = redis.NewScript(raiseLua)

// auditPace is the pause after each page of an audit.
const auditPace = 50 * time.Millisecond

// observes says that this is no office's store.
func (s *Store) observes() bool { return s.here.Office == "" }

// Offices is every office that R has heard of, by name. It waits.
func (s *Store) Offices(ctx context.Context) (all []roam.Peer, err error) {
	err = s.scan(ctx, "roam:office:*", func(ctx context.Context, keys []string) error {
		for _, k := range keys {
			o, err := s.fetchOffice(ctx, roam.OfficeID(inner(k)))
			if err != nil {
				return err
			}
			if o != nil {
				all = append(all, o.peer(func(w softswitch) bool { return o.judged && !w.alive }))
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b roam.Peer) int { return strings.Compare(string(a.Office), string(b.Office)) })
	return all, err
}

// Audited is what one audit found.
type Audited struct {
	Users  int // that have a location, or had one
	Raised int // whose roam:ep was lost or behind, so that an old write could have won
	Odd    int // keys that are not as we write them; left as they are
}

// Audit looks through every location, paced, and repairs what needs no home's word: that roam:ep is at least the
// location's epoch. Where a user is only home knows; what is wrong there home's own sweep repairs.
func (s *Store) Audit(ctx context.Context) (a Audited, err error) {
	err = s.scan(ctx, "roam:loc:*", func(ctx context.Context, keys []string) error {
		for _, k := range keys {
			user := roam.UserID(inner(k))
			raised, err := raiseScript.Run(ctx, s.client, []string{k, epKey(user)}, int(epochTTL.Seconds())).Int()
			switch {
			case away(err):
				return err
			case err != nil:
				a.Odd++
			}
			a.Users++
			a.Raised += raised
		}
		select {
		case <-time.After(auditPace):
		case <-ctx.Done():
			return ctx.Err()
		}
		return nil
	})
	return a, err
}

// scan calls page with the keys of a pattern, some at a time, on every node that has keys.
func (s *Store) scan(ctx context.Context, pattern string, page func(ctx context.Context, keys []string) error) error {
	one := func(ctx context.Context, c redis.Cmdable) error {
		for cursor := uint64(0); ; {
			keys, next, err := c.Scan(ctx, cursor, pattern, pageSize).Result()
			if err != nil {
				return err
			}
			if err := page(ctx, keys); err != nil {
				return err
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	}
	var err error
	if c, cluster := s.client.(*redis.ClusterClient); cluster {
		lock := make(chan struct{}, 1) // the client asks its nodes side by side
		err = c.ForEachMaster(ctx, func(ctx context.Context, n *redis.Client) error {
			lock <- struct{}{}
			defer func() { <-lock }()
			return one(ctx, n)
		})
	} else {
		err = one(ctx, s.client)
	}
	if err != nil {
		return fmt.Errorf("scan of %s: %w", pattern, s.refuse(err))
	}
	return nil
}

// inner is what stands between the braces of a key.
func inner(key string) string {
	_, rest, _ := strings.Cut(key, "{")
	return strings.TrimSuffix(rest, "}")
}
