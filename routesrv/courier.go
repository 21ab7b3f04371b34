package routesrv

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/siproam/siproam/roam"
)

const (
	recordsKept = 1_000_000 // per home, about; a record pushed out is sent again by its office
	acksKept    = 100_000
	batch       = 100
	blockFor    = time.Second // XREAD waits this long for something; stopping waits for it
	orphanAfter = time.Minute // a record that another node of ours took and did not keep
	group       = "home"      // the consumer group of roam:cdr; its consumers are nodes
	slowest     = 10 * time.Second
)

// Send brings a charging record onto its way home (roam:cdr). It waits. Sent twice it
// arrives twice; the id makes it count once.
func (s *Store) Send(ctx context.Context, to roam.OfficeID, cdr []byte, id string) error {
	if !s.Up() {
		return roam.StoreAway
	}
	s.heed(to)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.refuse(s.client.XAdd(ctx, &redis.XAddArgs{Stream: cdrKey(to), MaxLen: recordsKept, Approx: true,
		Values: []any{"id", id, "office", s.sender, "cdr", cdr}}).Err())
}

// Receive gives each record on its way to us to keep, and acknowledges it (roam:cdrack)
// when keep returns nil; until ctx ends. What keep refuses comes again, after a while.
// Records that another node of ours took and never acknowledged come here, too.
func (s *Store) Receive(ctx context.Context, keep func(id string, from roam.OfficeID, cdr []byte) error) error {
	key := cdrKey(s.here.Office)
	return s.patiently(ctx, func() error {
		err := s.client.XGroupCreateMkStream(ctx, key, group, "0").Err()
		if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
			return err
		}
		if err := s.own(ctx, key, keep); err != nil {
			return err
		}
		for checked := time.Now(); ctx.Err() == nil; {
			if time.Since(checked) > orphanAfter {
				checked = time.Now()
				if err := s.adopt(ctx, key, keep); err != nil {
					return err
				}
			}
			news, err := s.read(ctx, key, ">")
			if err != nil {
				return err
			}
			if err := s.keepAll(ctx, key, news, keep); err != nil {
				return err
			}
		}
		return nil
	})
}

// own is what this node took before it stopped, or could not keep.
func (s *Store) own(ctx context.Context, key string, keep func(string, roam.OfficeID, []byte) error) error {
	for after := "0"; ; {
		pending, err := s.read(ctx, key, after)
		if err != nil || len(pending) == 0 {
			return err
		}
		after = pending[len(pending)-1].ID
		if err := s.keepAll(ctx, key, pending, keep); err != nil {
			return err
		}
	}
}

func (s *Store) adopt(ctx context.Context, key string, keep func(string, roam.OfficeID, []byte) error) error {
	for start := "0"; ; {
		orphans, next, err := s.client.XAutoClaim(ctx, &redis.XAutoClaimArgs{Stream: key, Group: group, Consumer: s.node,
			MinIdle: orphanAfter, Start: start, Count: batch}).Result()
		if err != nil {
			return err
		}
		if err := s.keepAll(ctx, key, orphans, keep); err != nil || next == "0-0" {
			return err
		}
		start = next
	}
}

func (s *Store) read(ctx context.Context, key, after string) ([]redis.XMessage, error) {
	got, err := s.client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: group, Consumer: s.node,
		Streams: []string{key, after}, Count: batch, Block: blockFor}).Result()
	if errors.Is(err, redis.Nil) || err == nil && len(got) == 0 {
		return nil, nil // nothing came
	} else if err != nil {
		return nil, err
	}
	return got[0].Messages, nil
}

// keepAll keeps records and then acknowledges them: first to the sender, then to the
// stream, so that at each step a crash repeats rather than forgets.
func (s *Store) keepAll(ctx context.Context, key string, all []redis.XMessage, keep func(string, roam.OfficeID, []byte) error) error {
	for _, m := range all {
		id, _ := m.Values["id"].(string)
		from, _ := m.Values["office"].(string)
		cdr, _ := m.Values["cdr"].(string)
		if id != "" && from != "" { // else nobody waits for an answer, and there is nothing to keep
			if err := keep(id, roam.OfficeID(from), []byte(cdr)); err != nil {
				return err
			}
		}
		if err := s.acknowledge(ctx, key, m.ID, roam.OfficeID(from), id); err != nil {
			return err
		}
	}
	return nil
}

// acknowledge is done for what was kept even when ctx has just ended.
func (s *Store) acknowledge(ctx context.Context, key, entry string, to roam.OfficeID, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	pipe := s.client.Pipeline()
	if id != "" && to != "" {
		ack := ackKey(to, s.here.Office)
		pipe.XAdd(ctx, &redis.XAddArgs{Stream: ack, MaxLen: acksKept, Approx: true, Values: []any{"id", id}})
		pipe.Expire(ctx, ack, officeTTL)
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
	}
	pipe.XAck(ctx, key, group, entry)
	pipe.XDel(ctx, key, entry)
	_, err := pipe.Exec(ctx)
	return err
}

// Acknowledged gives the ids that each home has kept, until ctx ends. They leave R when kept returns nil. from is whose word may
// be waiting; whom something is sent to is listened to from then on.
func (s *Store) Acknowledged(ctx context.Context, from []roam.OfficeID, kept func(home roam.OfficeID, ids []string) error) error {
	s.heed(from...)
	return s.patiently(ctx, func() error {
		for ctx.Err() == nil {
			homes := s.heeded()
			if len(homes) == 0 {
				select {
				case <-ctx.Done():
				case <-time.After(blockFor / 10):
				}
				continue
			}
			streams := make([]string, 2*len(homes))
			for i, home := range homes {
				streams[i], streams[len(homes)+i] = ackKey(roam.OfficeID(s.sender), home), "0"
			}
			got, err := s.client.XRead(ctx, &redis.XReadArgs{Streams: streams, Count: batch, Block: blockFor}).Result()
			if err != nil && !errors.Is(err, redis.Nil) {
				return err
			}
			for _, stream := range got {
				if err := s.hear(ctx, homes[slices.Index(streams, stream.Stream)], stream, kept); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// hear is what one home says that it has kept.
func (s *Store) hear(ctx context.Context, home roam.OfficeID, from redis.XStream, kept func(roam.OfficeID, []string) error) error {
	var ids, entries []string
	for _, m := range from.Messages {
		id, _ := m.Values["id"].(string)
		ids, entries = append(ids, id), append(entries, m.ID)
	}
	if err := kept(home, ids); err != nil {
		return err
	}
	return s.client.XDel(ctx, from.Stream, entries...).Err()
}

// heed has what homes acknowledge listened to.
func (s *Store) heed(homes ...roam.OfficeID) {
	s.acks.Lock()
	defer s.acks.Unlock()
	for _, home := range homes {
		if !slices.Contains(s.acks.homes, home) {
			s.acks.homes = append(s.acks.homes, home)
		}
	}
}

func (s *Store) heeded() []roam.OfficeID {
	s.acks.Lock()
	defer s.acks.Unlock()
	return slices.Clone(s.acks.homes)
}

// patiently repeats work, which waits for R, until ctx ends; after an error with a pause,
// longer each time that follows at once.
func (s *Store) patiently(ctx context.Context, work func() error) error {
	for pause := time.Duration(0); ; {
		start := time.Now()
		if s.Up() {
			if err := work(); err != nil && ctx.Err() == nil && !away(err) {
				s.complain("cdr.stuck", err)
			}
		}
		if time.Since(start) > slowest {
			pause = 0
		}
		pause = min(max(2*pause, blockFor/10), slowest)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}
