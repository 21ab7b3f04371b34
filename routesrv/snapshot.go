package routesrv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// A snapshot is the commands that make what the store holds, in RESP, as in an append-only
// file of Redis: `redis-cli --pipe < file` brings it into a real one. It holds the types
// that we use: strings, hashes, streams.

// save writes a snapshot if something has changed. Commands run meanwhile, so it is no
// single point in time; the location script and the ids of records bear that.
func (e *Embedded) save(ctx context.Context) (err error) {
	if e.path == "" || !e.dirty.Swap(false) {
		return nil
	}
	defer func() {
		if err != nil {
			e.dirty.Store(true)
			err = fmt.Errorf("snapshot %s: %w", e.path, err)
		}
	}()
	f, err := os.OpenFile(e.path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w := &dump{e.client, bufio.NewWriterSize(f, 1<<16)}
	if err = errors.Join(w.all(ctx), w.out.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(e.path+".new", e.path); err != nil {
		return err
	}
	if dir, err := os.Open(filepath.Dir(e.path)); err == nil { // the name, too, survives power loss
		dir.Sync() // which Windows cannot
		dir.Close()
	}
	return nil
}

type dump struct {
	client *redis.Client
	out    *bufio.Writer
}

func (d *dump) all(ctx context.Context) error {
	for cursor := uint64(0); ; {
		keys, next, err := d.client.Scan(ctx, cursor, "*", 100_000).Result() // miniredis sorts all keys at each SCAN
		if err != nil {
			return err
		}
		for len(keys) > 0 {
			n := min(len(keys), 200)
			if err := d.keys(ctx, keys[:n]); err != nil {
				return err
			}
			keys = keys[n:]
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// keys writes some keys: what they are and when they expire, then what they hold.
func (d *dump) keys(ctx context.Context, keys []string) error {
	types, ttls := make([]*redis.StatusCmd, len(keys)), make([]*redis.DurationCmd, len(keys))
	held := make([]redis.Cmder, len(keys))
	pipe := d.client.Pipeline()
	for i, k := range keys {
		types[i], ttls[i] = pipe.Type(ctx, k), pipe.PTTL(ctx, k)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	now := time.Now()
	for i, k := range keys {
		if ttl := ttls[i].Val(); ttl > 0 && ttl <= signOfLife {
			continue // it will have expired
		}
		switch types[i].Val() {
		case "string":
			held[i] = pipe.Get(ctx, k)
		case "hash":
			held[i] = pipe.HGetAll(ctx, k)
		case "stream":
			held[i] = pipe.XRange(ctx, k, "-", "+")
		}
	}
	if _, err := pipe.Exec(ctx); err != nil && err != redis.Nil {
		return err
	}
	for i, k := range keys {
		switch cmd := held[i].(type) {
		case *redis.StringCmd:
			d.command("SET", k, cmd.Val())
		case *redis.MapStringStringCmd:
			d.hash(k, cmd.Val())
		case *redis.XMessageSliceCmd:
			if err := d.stream(ctx, k, cmd.Val()); err != nil {
				return err
			}
		default:
			continue
		}
		if ttl := ttls[i].Val(); ttl > 0 {
			d.command("PEXPIREAT", k, strconv.FormatInt(now.Add(ttl).UnixMilli(), 10))
		}
	}
	return nil
}

func (d *dump) hash(key string, fields map[string]string) {
	if len(fields) == 0 {
		return
	}
	words := []string{"HSET", key}
	for f, v := range fields {
		words = append(words, f, v)
	}
	d.command(words...)
}

// stream writes the entries with their ids, then the groups with who has what unacknowledged.
func (d *dump) stream(ctx context.Context, key string, entries []redis.XMessage) error {
	for _, m := range entries {
		words := []string{"XADD", key, m.ID}
		for f, v := range m.Values {
			words = append(words, f, fmt.Sprint(v))
		}
		d.command(words...)
	}
	groups, err := d.client.XInfoGroups(ctx, key).Result()
	if err != nil && !strings.Contains(err.Error(), "no such key") { // it went meanwhile
		return err
	}
	for _, g := range groups {
		d.command("XGROUP", "CREATE", key, g.Name, g.LastDeliveredID, "MKSTREAM")
		if g.Pending == 0 {
			continue
		}
		pending, err := d.client.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: key, Group: g.Name, Start: "-", End: "+", Count: g.Pending}).Result()
		if err != nil {
			return err
		}
		for _, p := range pending {
			d.command("XCLAIM", key, g.Name, p.Consumer, "0", p.ID, "IDLE", strconv.FormatInt(p.Idle.Milliseconds(), 10),
				"RETRYCOUNT", strconv.FormatInt(p.RetryCount, 10), "FORCE", "JUSTID")
		}
	}
	return nil
}

// command writes one command. An error stays in out until it is flushed.
func (d *dump) command(words ...string) {
	fmt.Fprintf(d.out, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(d.out, "$%d\r\n%s\r\n", len(w), w)
	}
}

// load runs the commands of the snapshot; no file is an empty store.
func (e *Embedded) load(ctx context.Context) error {
	f, err := os.Open(e.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	bad := func(err error) error {
		return fmt.Errorf("snapshot %s: %w; move it away to start with an empty store", e.path, err)
	}
	in := bufio.NewReaderSize(f, 1<<16)
	pipe := e.client.Pipeline()
	for end := false; !end; {
		words, err := readCommand(in)
		if end = err == io.EOF; err != nil && !end {
			return bad(err)
		}
		if !end {
			pipe.Do(ctx, words...)
		}
		if pipe.Len() >= 500 || end && pipe.Len() > 0 {
			if _, err := pipe.Exec(ctx); err != nil && err != redis.Nil {
				return bad(err)
			}
		}
	}
	return nil
}

// readCommand reads one RESP array of strings; io.EOF at the end of the file only.
func readCommand(in *bufio.Reader) (words []any, err error) {
	n, err := readLength(in, '*')
	if err != nil {
		return nil, err
	}
	for range n {
		size, err := readLength(in, '$')
		if err == nil {
			b := make([]byte, size+2)
			_, err = io.ReadFull(in, b)
			words = append(words, string(b[:size]))
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
	}
	return words, nil
}

func readLength(in *bufio.Reader, kind byte) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		if line != "" {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimRight(line[1:], "\r\n"))
	if line[0] != kind || err != nil || n < 0 || n == 0 && kind == '*' || n > 64<<20 {
		return 0, errors.New("damaged")
	}
	return n, nil
}
