package routesrv

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/siproam/siproam/roam"
)

// Locations are written in batches: one write, one read and one post to the loop for all that came during the
// round trip before. A report by itself costs Redis 2.6 times as much, and us four system calls; in strict
// mode each move is one. BenchmarkReports counts it.

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
	todo = s.pipeline(ctx, all, todo, "evalsha", locationScript.Hash(), ends)
	if len(todo) > 0 { // a Redis that was started anew does not know the script
		s.pipeline(ctx, all, todo, "eval", locationLua, ends)
	}
	return ends
}

// pipeline runs the script for those of all that todo names, and gives those for which R does not know it.
func (s *Store) pipeline(ctx context.Context, all []*report, todo []int, how, script string, ends []end) (unknown []int) {
	if c, cluster := s.client.(*redis.ClusterClient); cluster && s.replicas > 0 {
		return s.pipelines(ctx, c, all, todo, how, script, ends)
	}
	return s.exec(ctx, s.client.Pipeline(), all, todo, how, script, ends)
}

// pipelines is pipeline with a WAIT for each node of a cluster: it has no key that would lead it there.
func (s *Store) pipelines(ctx context.Context, c *redis.ClusterClient, all []*report, todo []int, how, script string, ends []end) (unknown []int) {
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
		unknown = append(unknown, s.exec(ctx, n.Pipeline(), all, some, how, script, ends)...)
		for _, i := range some {
			if err := ends[i].err; err != nil && !errors.Is(err, errFew) { // another node may have the slot, or be primary now
				c.ReloadState(ctx)
				s.saw(ctx, "pipeline", start, err)
				break
			}
		}
	}
	return unknown
}

// errFew fails what R has and its replicas have not. R answers all the same, so it does not count as away.
var errFew = errors.New("too few replicas have it")

// exec is one pipeline to one Redis.
func (s *Store) exec(ctx context.Context, pipe redis.Pipeliner, all []*report, todo []int, how, script string, ends []end) (unknown []int) {
	cmds, words := make([]*redis.Cmd, len(todo)), make([]words, len(todo))
	for n, i := range todo {
		cmds[n] = words[n].command(ctx, how, script, all[i])
		pipe.Process(ctx, cmds[n])
	}
	var wait *redis.Cmd
	if s.replicas > 0 {
		wait = pipe.Do(ctx, "wait", s.replicas, (s.limit / 2).Milliseconds())
	}
	pipe.Exec(ctx) // each command has its own error
	var few error
	if wait != nil {
		if n, err := wait.Int(); err != nil || n < s.replicas {
			few = errors.Join(fmt.Errorf("%w: %d, want %d", errFew, n, s.replicas), err)
		}
	}
	for n, i := range todo {
		switch got, err := cmds[n].Result(); {
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

// words is what one command says. go-redis writes what a pointer leads to, so that a batch of reports is one
// allocation of these and not a dozen small ones for each.
type words struct {
	loc, ep, moves, user, office, device, since string
	args                                        [18]any
}

// command is location.lua, by how, for r.
func (w *words) command(ctx context.Context, how, script string, r *report) *redis.Cmd {
	w.user, w.office, w.device, w.since = string(r.user), string(r.at.Office), string(r.at.Device), ""
	keys := locKey(r.user) + epKey(r.user) + movesKey(r.user)
	n := len("roam:loc:{}") + len(r.user)
	w.loc, w.ep, w.moves = keys[:n], keys[n:2*n-1], keys[2*n-1:]
	if !r.at.Since.IsZero() {
		w.since = r.at.Since.UTC().Format(time.RFC3339Nano)
	}
	w.args = [...]any{how, script, 3, &w.loc, &w.ep, &w.moves,
		&w.user, (*uint64)(&r.at.Epoch), &w.office, &r.at.Switch, &r.at.Registrar, &w.device, &w.since, &r.at.Sig, &r.why,
		int64(locationTTL / time.Second), int64(epochTTL / time.Second), movesKept}
	return redis.NewCmd(ctx, w.args[:]...)
}

// outcome reads what location.lua has returned to r.
func (r *report) outcome(reply any) end {
	if text, short := reply.(string); short { // taken, and nothing stands but what r says
		epoch, move, _ := strings.Cut(text, " ")
		n, err := strconv.ParseUint(epoch, 10, 64)
		if err != nil || n > maxEpoch {
			return end{err: fmt.Errorf("location script: %q", text)}
		}
		now := r.taken(roam.Epoch(n))
		now.Move, _ = strconv.ParseUint(move, 10, 64)
		return end{now: now, won: true}
	}
	got, _ := reply.([]any)
	if len(got) != 3 {
		return end{err: fmt.Errorf("location script: got %d values, want 3", len(got))}
	}
	word, _ := got[1].(string)
	n, err := strconv.ParseUint(word, 10, 64)
	epoch := roam.Epoch(n)
	if err != nil || absurd(epoch) { // not our script's: somebody has written nonsense there
		epoch = 0
	}
	now := readLocation(fields(got[2]))
	if got[0] != int64(1) && epoch > now.Epoch {
		now = roam.Location{Epoch: epoch} // only roam:ep is left
	}
	return end{now: now, won: got[0] == int64(1)}
}

// taken is what R holds when it has just taken r.
func (r *report) taken(epoch roam.Epoch) roam.Location {
	if r.at.Office == "" {
		return roam.Location{Epoch: epoch}
	}
	now := r.at
	now.Epoch = epoch
	return now
}
