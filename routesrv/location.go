package routesrv

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/siproam/siproam/roam"
)

//go:embed location.lua
var locationLua string

//go:embed withdraw.lua
var withdrawLua string

var (
	locationScript = redis.NewScript(locationLua)
	withdrawScript = redis.NewScript(withdrawLua)
)

// The keys. Braces keep those of one user in one slot of a Redis Cluster.
func locKey(u roam.UserID) string      { return "roam:loc:{" + string(u) + "}" }
func epKey(u roam.UserID) string       { return "roam:ep:{" + string(u) + "}" }
func movesKey(u roam.UserID) string    { return "roam:moves:{" + string(u) + "}" }
func idKey(name string) string         { return "roam:id:{" + name + "}" }
func extKey(short string) string       { return "roam:ext:{" + short + "}" }
func officeKey(o roam.OfficeID) string { return "roam:office:{" + string(o) + "}" }
func swKey(node string) string         { return "roam:sw:{" + node + "}" }
func cdrKey(home roam.OfficeID) string { return "roam:cdr:{" + string(home) + "}" }
func ackKey(o roam.OfficeID) string    { return "roam:cdrack:{" + string(o) + "}" }

// channel says which location changed: "user epoch office".
const channel = "roam:ev"

// maxEpoch is what Lua and JSON still count exactly.
const maxEpoch = 1 << 53

// readLocation is what the fields of roam:loc say. What is not ours to understand is the
// zero Location: a poisoned store leads nowhere, and crashes nothing.
func readLocation(f map[string]string) roam.Location {
	epoch, err := strconv.ParseUint(f["epoch"], 10, 64)
	if err != nil || epoch > maxEpoch {
		return roam.Location{}
	}
	at := roam.Location{Epoch: roam.Epoch(epoch)}
	at.Move, _ = strconv.ParseUint(f["move"], 10, 64)
	if f["office"] == "" {
		return at // removed, by the word of this epoch
	}
	at.Office, at.Switch, at.Registrar = roam.OfficeID(f["office"]), f["sw"], f["reg"]
	at.Device, at.Sig = roam.Device(f["dev"]), f["sig"]
	at.Since, _ = time.Parse(time.RFC3339Nano, f["since"])
	return at
}

// end is how a report ended: now is what R holds after it, of whoever won.
type end struct {
	now roam.Location
	won bool
	err error
}

// set writes one report.
func (s *Store) set(ctx context.Context, user roam.UserID, at roam.Location, why string) (now roam.Location, won bool, err error) {
	e := s.setAll(ctx, []*report{{user: user, at: at, why: why}})[0]
	return e.now, e.won, e.err
}

// setAll runs location.lua for each of all in one pipeline, and gives their ends in that order. It waits, at
// most s.limit. With replicas to wait for, those which do not have all in time make it fail, though R has it.
func (s *Store) setAll(ctx context.Context, all []*report) []end {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limit)
	defer cancel()
	ends := make([]end, len(all))
	todo := make([]int, 0, len(all))
	for i, r := range all {
		if r.at.Epoch > maxEpoch || strings.ContainsAny(string(r.user), "{} \r\n") {
			ends[i].err = fmt.Errorf("not a location: %s epoch %d", r.user, r.at.Epoch)
		} else {
			todo = append(todo, i)
		}
	}
	todo = s.pipeline(ctx, all, todo, locationScript.EvalSha, ends)
	if len(todo) > 0 { // a Redis that was started anew does not know the script
		s.pipeline(ctx, all, todo, locationScript.Eval, ends)
	}
	return ends
}

// evaluate is how a script is run: by its hash, or with its text.
type evaluate func(ctx context.Context, c redis.Scripter, keys []string, args ...any) *redis.Cmd

// pipeline runs the script for those of all that todo names, and gives those for which R does not know it.
func (s *Store) pipeline(ctx context.Context, all []*report, todo []int, run evaluate, ends []end) (unknown []int) {
	if c, cluster := s.client.(*redis.ClusterClient); cluster && s.replicas > 0 {
		return s.pipelines(ctx, c, all, todo, run, ends)
	}
	return s.exec(ctx, s.client.Pipeline(), all, todo, run, ends)
}

// pipelines is pipeline with a WAIT for each node of a cluster: it has no key that would lead it there.
func (s *Store) pipelines(ctx context.Context, c *redis.ClusterClient, all []*report, todo []int, run evaluate, ends []end) (unknown []int) {
	nodes := map[*redis.Client][]int{}
	for _, i := range todo {
		n, err := c.MasterForKey(ctx, locKey(all[i].user))
		if err != nil {
			ends[i].err = err
			continue
		}
		nodes[n] = append(nodes[n], i)
	}
	for n, some := range nodes {
		start := time.Now()
		unknown = append(unknown, s.exec(ctx, n.Pipeline(), all, some, run, ends)...)
		for _, i := range some {
			if err := ends[i].err; err != nil { // another node may have the slot, or be primary now
				c.ReloadState(ctx)
				s.saw(ctx, "pipeline", start, err)
				break
			}
		}
	}
	return unknown
}

func (s *Store) exec(ctx context.Context, pipe redis.Pipeliner, all []*report, todo []int, run evaluate, ends []end) (unknown []int) {
	cmds := make([]*redis.Cmd, len(todo))
	for n, i := range todo {
		r := all[i]
		cmds[n] = run(ctx, pipe, []string{locKey(r.user), epKey(r.user), movesKey(r.user)}, s.arguments(r)...)
	}
	var wait *redis.Cmd
	if s.replicas > 0 {
		wait = pipe.Do(ctx, "wait", s.replicas, (s.limit / 2).Milliseconds())
	}
	pipe.Exec(ctx) // each command has its own error
	var few error
	if wait != nil {
		if n, err := wait.Int(); err != nil || n < s.replicas {
			few = errors.Join(fmt.Errorf("%d replicas have it, want %d", n, s.replicas), err)
		}
	}
	for n, i := range todo {
		switch got, err := cmds[n].Slice(); {
		case redis.HasErrorPrefix(err, "NOSCRIPT"):
			unknown = append(unknown, i)
		case err != nil:
			ends[i] = end{err: err}
		default:
			if ends[i] = all[i].outcome(got); ends[i].err == nil {
				ends[i].err = few
			}
		}
	}
	return unknown
}

// arguments is ARGV of location.lua.
func (s *Store) arguments(r *report) []any {
	since := ""
	if !r.at.Since.IsZero() {
		since = r.at.Since.UTC().Format(time.RFC3339Nano)
	}
	return []any{string(r.user), uint64(r.at.Epoch), string(r.at.Office), r.at.Switch, r.at.Registrar, string(r.at.Device), since, r.at.Sig, r.why,
		int(locationTTL.Seconds()), int(epochTTL.Seconds()), movesKept}
}

// outcome reads what location.lua has returned to r.
func (r *report) outcome(got []any) end {
	if len(got) != 3 {
		return end{err: fmt.Errorf("location script: got %d values, want 3", len(got))}
	}
	word, _ := got[1].(string)
	n, err := strconv.ParseUint(word, 10, 64)
	epoch := roam.Epoch(n)
	if err != nil || epoch > maxEpoch { // not our script's: somebody has written nonsense there
		epoch = 0
	}
	if got[0] == int64(1) {
		return end{now: r.stands(epoch, got[2]), won: true}
	}
	now := readLocation(fields(got[2]))
	if epoch > now.Epoch {
		now = roam.Location{Epoch: epoch} // only roam:ep is left
	}
	return end{now: now}
}

// stands is what R holds after it took r: that, and what it had of the same epoch and r does not say.
func (r *report) stands(epoch roam.Epoch, had any) roam.Location {
	list, _ := had.([]any)
	now := roam.Location{Epoch: epoch}
	if r.at.Office != "" {
		now = r.at
		now.Epoch, now.Move = epoch, 0
	}
	for i := 0; i+1 < len(list); i += 2 {
		v, _ := list[i+1].(string)
		switch list[i] {
		case "move":
			now.Move, _ = strconv.ParseUint(v, 10, 64)
		case "sw":
			now.Switch = v
		case "reg":
			now.Registrar = v
		case "dev":
			now.Device = roam.Device(v)
		case "since":
			now.Since, _ = time.Parse(time.RFC3339Nano, v)
		case "sig":
			now.Sig = v
		}
	}
	return now
}

// fields is a flat list of names and values as a map.
func fields(list any) map[string]string {
	l, _ := list.([]any)
	m := make(map[string]string, len(l)/2)
	for i := 0; i+1 < len(l); i += 2 {
		k, _ := l[i].(string)
		v, _ := l[i+1].(string)
		m[k] = v
	}
	return m
}

// Move is one entry of roam:moves.
type Move struct {
	Move   uint64        `json:"move"`
	At     string        `json:"at"` // RFC 3339, UTC
	From   roam.OfficeID `json:"from,omitempty"`
	To     roam.OfficeID `json:"to,omitempty"`
	Device roam.Device   `json:"device,omitempty"`
	Why    string        `json:"why,omitempty"`
}

// Moves is the last moves of user, newest first, for people. It waits.
func (s *Store) Moves(ctx context.Context, user roam.UserID, max int) ([]Move, error) {
	entries, err := s.client.XRevRangeN(ctx, movesKey(user), "+", "-", int64(max)).Result()
	if err != nil {
		return nil, fmt.Errorf("moves of %s: %w", user, s.refuse(err))
	}
	moves := make([]Move, 0, len(entries))
	for _, e := range entries {
		f := func(name string) string { v, _ := e.Values[name].(string); return v }
		m := Move{From: roam.OfficeID(f("from")), To: roam.OfficeID(f("to")), Device: roam.Device(f("dev")), Why: f("why")}
		m.Move, _ = strconv.ParseUint(f("move"), 10, 64)
		ms, _, _ := strings.Cut(e.ID, "-")
		if n, err := strconv.ParseInt(ms, 10, 64); err == nil {
			m.At = time.UnixMilli(n).UTC().Format("2006-01-02T15:04:05.000Z07:00")
		}
		moves = append(moves, m)
	}
	return moves, nil
}
