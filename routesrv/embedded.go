package routesrv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
)

const (
	tickEvery     = 500 * time.Millisecond // a key expires at most this late; see rest
	snapshotEvery = 5 * time.Second        // this much is lost at kill -9; see rest
	stuckAfter    = time.Second            // a client that reads nothing for so long is cut off
)

// Embedded is a Redis for one machine: the same commands on a TCP port, kept in a snapshot
// file. It is for up to some 20,000 users; beyond, and wherever a second machine needs it,
// a real Redis does the same.
type Embedded struct {
	store  *miniredis.Miniredis
	listen net.Listener
	client *redis.Client // over connections of our own (dial)
	path   string
	dirty  atomic.Bool // something to be kept has changed since the last snapshot
}

// StartEmbedded listens at addr, which should be on loopback as it asks for no password,
// and loads path; an empty path keeps nothing.
func StartEmbedded(addr, path string) (*Embedded, error) { return StartGuarded(addr, path, "") }

// StartGuarded is StartEmbedded for a network: clients must know the password (AUTH), unless it is empty.
func StartGuarded(addr, path, password string) (*Embedded, error) {
	e := &Embedded{store: miniredis.NewMiniRedis(), path: path}
	if password != "" {
		e.store.RequireAuth(password)
	}
	e.client = redis.NewClient(&redis.Options{Password: password, DisableIdentity: true, MaxRetries: -1, PoolSize: 2,
		ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		Dialer: func(context.Context, string, string) (net.Conn, error) { return e.dial() }})
	first, err := e.store.Dial() // starts it
	if err == nil {
		first.Close()
	}
	if err == nil && path != "" {
		err = e.load(context.Background())
	}
	if err == nil {
		e.store.Server().SetPreHook(e.seen)
		e.listen, err = net.Listen("tcp", addr)
	}
	if err != nil {
		e.client.Close()
		e.store.Close()
		return nil, fmt.Errorf("embedded routing store: %w", err)
	}
	return e, nil
}

// dial is a connection to the store that nobody else can have. It is one of the kernel's, for miniredis
// answers while a pipeline is still being written: with a net.Pipe, which holds nothing, each would wait for the other.
func (e *Embedded) dial() (net.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	for {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return nil, err
		}
		far, err := l.Accept()
		if err != nil {
			c.Close()
			return nil, err
		}
		if far.RemoteAddr().String() == c.LocalAddr().String() {
			e.store.Server().ServeConn(far)
			return c, nil
		}
		c.Close() // a stranger was quicker; ours waits behind him and is closed with l
		far.Close()
	}
}

// Addr is where it listens.
func (e *Embedded) Addr() string { return e.listen.Addr().String() }

// Run serves, expires keys and saves snapshots until ctx ends, then saves once more and closes.
func (e *Embedded) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(e.accept)
	tick, snapshot := time.NewTimer(tickEvery), time.NewTimer(snapshotEvery)
	defer tick.Stop()
	defer snapshot.Stop()
	var err error
	for last := time.Now(); ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-tick.C: // nothing expires by itself
			now := time.Now()
			e.store.FastForward(now.Sub(last))
			last = now
			tick.Reset(rest(tickEvery, now))
		case <-snapshot.C:
			now := time.Now()
			err = e.save(context.WithoutCancel(ctx))
			snapshot.Reset(rest(snapshotEvery, now))
		}
	}
	e.listen.Close()
	all.Wait()
	err = errors.Join(err, e.save(context.WithoutCancel(ctx)))
	e.client.Close()
	e.store.Close()
	return err
}

// rest is how long to wait before the next of something that began at start: usually, or
// longer when with many keys it would take more than a twentieth of the time.
func rest(usually time.Duration, start time.Time) time.Duration {
	return max(usually, 20*time.Since(start))
}

func (e *Embedded) accept() {
	for {
		c, err := e.listen.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many files: later
			time.Sleep(stuckAfter / 10)
			continue
		}
		e.store.Server().ServeConn(impatient{c})
	}
}

// impatient is a connection whose other end must read: miniredis writes to a subscriber
// while it holds its one lock, so one who does not read would stop everybody.
type impatient struct{ net.Conn }

// Write gives the other end a second.
func (c impatient) Write(b []byte) (int, error) {
	c.SetWriteDeadline(time.Now().Add(stuckAfter))
	n, err := c.Conn.Write(b)
	if err != nil {
		c.Close()
	}
	return n, err
}

// reading are the commands that change nothing worth a snapshot, of those people and we use.
var reading = map[string]bool{
	"PING": true, "HELLO": true, "AUTH": true, "CLIENT": true, "SELECT": true, "COMMAND": true, "QUIT": true, "INFO": true,
	"GET": true, "MGET": true, "HGET": true, "HGETALL": true, "HMGET": true, "EXISTS": true, "TTL": true, "PTTL": true,
	"TYPE": true, "SCAN": true, "KEYS": true, "XRANGE": true, "XREVRANGE": true, "XLEN": true, "XREAD": true,
	"XREADGROUP": true, "XPENDING": true, "XINFO": true, "SUBSCRIBE": true, "UNSUBSCRIBE": true, "PUBLISH": true,
	"XAUTOCLAIM": true, "LRANGE": true, "SMEMBERS": true, "ZRANGE": true, "HLEN": true, "STRLEN": true, "DBSIZE": true,
}

// seen is called before every command, and never handles it.
func (e *Embedded) seen(_ *server.Peer, cmd string, args ...string) bool {
	if !e.dirty.Load() && !reading[cmd] && (len(args) == 0 || !strings.HasPrefix(args[0], "roam:sw:")) {
		e.dirty.Store(true)
	}
	return false
}
