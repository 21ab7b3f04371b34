package routesrv

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestSnapshotOfMany: more keys than a connection without a buffer could take at once. It used to stop for good
// when answers came while questions were still being written.
func TestSnapshotOfMany(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot")
	e, err := StartEmbedded("127.0.0.1:0", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	c := redis.NewClient(&redis.Options{Addr: e.Addr(), DisableIdentity: true})
	defer c.Close()
	const users = 500
	for i := range users {
		if err := c.HSet(ctx, fmt.Sprintf("roam:loc:{%d@north.example}", i), "office", "south", "sw", "sip:127.0.0.1:5167;transport=tls").Err(); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the snapshot does not end")
	}
	again, err := StartEmbedded("127.0.0.1:0", path)
	if err != nil {
		t.Fatal(err)
	}
	if n := again.client.DBSize(context.Background()).Val(); n != users {
		t.Errorf("got %d keys, want %d", n, users)
	}
	ctx, stop = context.WithCancel(context.Background())
	stop()
	if err := again.Run(ctx); err != nil {
		t.Error(err)
	}
}
