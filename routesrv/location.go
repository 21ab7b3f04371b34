package routesrv

import (
	"context"
	_ "embed"
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

// ackKey is where home says to the office, or softswitch, what it has kept of its records. It is home's alone to write.
func ackKey(o, home roam.OfficeID) string { return "roam:cdrack:{" + string(o) + "}:" + string(home) }

// channel says which location changed: "user epoch office".
const channel = "roam:ev"

// maxEpoch is what Lua and JSON still count exactly.
const maxEpoch = 1 << 53

// mostAhead is how far an epoch may be ahead of the clock; see location.lua. Half as much again here, for the clocks of readers
// and of R differ, too.
const mostAhead = 365 * 24 * time.Hour

// absurd says that no home can have given e.
func absurd(e roam.Epoch) bool {
	return e > maxEpoch || e > roam.Epoch(time.Now().Add(mostAhead*3/2).UnixMicro())
}

// readLocation is what the fields of roam:loc say. What is not ours to understand is the
// zero Location: a poisoned store leads nowhere, and crashes nothing.
func readLocation(f map[string]string) roam.Location {
	epoch, err := strconv.ParseUint(f["epoch"], 10, 64)
	if err != nil || absurd(roam.Epoch(epoch)) {
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
