package routesrv

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
)

// A Locate that is answered from memory, on the loop.
func BenchmarkCached(b *testing.B) {
	l := loop.New(8, 8)
	s, err := New(Config{Redis: "redis://127.0.0.1:1"}, l, card("north"), "node", 1, nil, zerolog.Nop())
	if err != nil {
		b.Fatal(err)
	}
	defer s.client.Close()
	for i := range 10_000 {
		s.remember(user(i), at(1, "south"), true)
		s.places.young[user(i)].until = time.Now().Add(time.Hour)
	}
	u, done := user(7), func(roam.Location, error) {}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go l.Run(ctx)
	b.ReportAllocs()
	l.Do(ctx, func() {
		for range b.N {
			s.Locate(u, false, done)
		}
	})
}

// A report on the embedded store, and what a snapshot and a tick of 20,000 users cost.
func BenchmarkEmbedded(b *testing.B) {
	e, err := StartEmbedded("127.0.0.1:0", filepath.Join(b.TempDir(), "snapshot"))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go e.accept()
	defer func() { cancel(); e.listen.Close(); e.client.Close(); e.store.Close() }()
	s, err := New(Config{Redis: "redis://" + e.Addr()}, loop.New(8, 8), card("north"), "node", 1, nil, zerolog.Nop())
	if err != nil {
		b.Fatal(err)
	}
	defer s.client.Close()
	b.Run("report", func(b *testing.B) {
		for i := range b.N {
			if _, _, err := s.set(ctx, user(i%20_000), at(roam.Epoch(i+1), "south"), "registered"); err != nil {
				b.Fatal(err)
			}
		}
	})
	for i := range 20_000 {
		s.set(ctx, user(i), at(1<<40, "south"), "registered")
	}
	b.Run("snapshot of 20000", func(b *testing.B) {
		for range b.N {
			e.dirty.Store(true)
			if err := e.save(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("tick of 20000", func(b *testing.B) {
		for range b.N {
			e.store.FastForward(time.Millisecond)
		}
	})
}
