package model

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/siproam/siproam/roam"
)

// scriptPath is the rule of R: the very script that Redis runs.
var scriptPath = "../../../routesrv/location.lua"

// redis is R: what location.lua keeps of each user.
type redis struct {
	rows   map[roam.UserID]*row
	down   bool
	backup map[roam.UserID]*row // an old copy
	older  bool                 // it has come back with such a copy
	engine *engine
	onEv   func(user roam.UserID, epoch roam.Epoch) // roam:ev
}

// row is the keys of one user.
type row struct {
	loc map[string]string
	ep  string
}

func newRedis() *redis { return &redis{rows: map[roam.UserID]*row{}, engine: engines.Get().(*engine)} }

// engine runs the script on one row.
type engine struct {
	l      *lua.LState
	script *lua.LFunction
	row    *row
	now    time.Time
}

var engines = sync.Pool{New: func() any { return newEngine(readScript()) }}

var readScript = sync.OnceValue(func() string {
	if p := os.Getenv("MODEL_SCRIPT"); p != "" { // a mutant, see mutants_test.go
		scriptPath = p
	}
	text, err := os.ReadFile(scriptPath)
	if err != nil {
		panic(err)
	}
	return string(text)
})

func newEngine(script string) *engine {
	e := &engine{l: lua.NewState()}
	fn, err := e.l.LoadString(script)
	if err != nil {
		panic(err)
	}
	e.script = fn
	t := e.l.NewTable()
	t.RawSetString("call", e.l.NewFunction(e.call))
	e.l.SetGlobal("redis", t)
	return e
}

// call is redis.call, for what the script calls.
func (e *engine) call(l *lua.LState) int {
	switch name := l.CheckString(1); name {
	case "HMGET":
		t := l.NewTable()
		for i := 3; i <= l.GetTop(); i++ {
			if v, found := e.row.loc[l.CheckString(i)]; found {
				t.RawSetInt(i-2, lua.LString(v))
			} else {
				t.RawSetInt(i-2, lua.LFalse)
			}
		}
		l.Push(t)
		return 1
	case "TIME":
		t := l.NewTable()
		t.Append(lua.LString(strconv.FormatInt(e.now.Unix(), 10)))
		t.Append(lua.LString(strconv.Itoa(e.now.Nanosecond() / 1000)))
		l.Push(t)
		return 1
	case "GET":
		if e.row.ep == "" {
			l.Push(lua.LFalse)
		} else {
			l.Push(lua.LString(e.row.ep))
		}
		return 1
	case "HGETALL":
		t := l.NewTable()
		for _, k := range slices.Sorted(maps.Keys(e.row.loc)) {
			t.Append(lua.LString(k))
			t.Append(lua.LString(e.row.loc[k]))
		}
		l.Push(t)
		return 1
	case "DEL":
		clear(e.row.loc)
	case "HSET":
		for i := 3; i < l.GetTop(); i += 2 {
			e.row.loc[l.CheckString(i)] = l.CheckString(i + 1)
		}
	case "SET":
		e.row.ep = l.CheckString(3)
	case "XADD", "EXPIRE", "PUBLISH":
	default:
		panic("location.lua calls " + name)
	}
	return 0
}

// set is a report; now is what R holds after it. That what is older was refused, and what is newer stands, is I2.
func (r *redis) set(w *world, user roam.UserID, at roam.Location, why string) (now roam.Location) {
	k := r.rows[user]
	if k == nil {
		k = &row{loc: map[string]string{}}
		r.rows[user] = k
	}
	was := r.read(user)
	e := r.engine
	e.row, e.now = k, w.now
	argv := e.l.NewTable()
	for _, a := range [...]string{string(user), strconv.FormatUint(uint64(at.Epoch), 10), string(at.Office), at.Switch, at.Registrar, string(at.Device), "", "", why, "1", "1", "50"} {
		argv.Append(lua.LString(a))
	}
	keys := e.l.NewTable()
	for range 3 {
		keys.Append(lua.LString("k"))
	}
	e.l.SetGlobal("KEYS", keys)
	e.l.SetGlobal("ARGV", argv)
	e.l.Push(e.script)
	if err := e.l.PCall(0, 1, nil); err != nil {
		w.fail("location.lua: %v", err)
	}
	got := e.l.Get(-1)
	e.l.Pop(1)
	won := got.Type() == lua.LTString
	if t, is := got.(*lua.LTable); is {
		won = t.RawGetInt(1) == lua.LNumber(1)
	}
	now = r.read(user)
	if t, is := got.(*lua.LTable); is && !won { // only roam:ep may be left
		if n, _ := strconv.ParseUint(lua.LVAsString(t.RawGetInt(2)), 10, 64); roam.Epoch(n) > now.Epoch {
			now = roam.Location{Epoch: roam.Epoch(n)}
		}
	}
	if newer := at.Epoch > was.Epoch || at.Epoch == was.Epoch && at.Office == was.Office; newer != won || won && now.Epoch != at.Epoch || !won && now.Epoch < was.Epoch {
		w.fail("I2: R had %v, was told %v by %s: won %v, now %v", was, at, why, won, now)
	}
	if now.Epoch != was.Epoch && r.onEv != nil {
		r.onEv(user, now.Epoch)
	}
	return now
}

// read is where user is by R.
func (r *redis) read(user roam.UserID) (at roam.Location) {
	k := r.rows[user]
	if k == nil {
		return at
	}
	n, _ := strconv.ParseUint(k.loc["epoch"], 10, 64)
	at.Epoch = roam.Epoch(n)
	if k.loc["office"] != "" {
		at.Office, at.Switch, at.Registrar = roam.OfficeID(k.loc["office"]), k.loc["sw"], k.loc["reg"]
	}
	return at
}

// copy is what a snapshot of R holds.
func (r *redis) copy() map[roam.UserID]*row {
	c := make(map[roam.UserID]*row, len(r.rows))
	for u, k := range r.rows {
		c[u] = &row{loc: maps.Clone(k.loc), ep: k.ep}
	}
	return c
}
