package model

import (
	"time"

	"pgregory.net/rapid"
)

// event is one thing that happens in a history. What its numbers mean depends on what it is.
type event struct {
	what   string
	user   int
	phone  int
	office int
	other  int
	flag   bool
	n      uint64
	pause  time.Duration // goes by afterwards
}

// kinds is what can happen, some of it more often.
var kinds = []string{
	"move", "move", "move", "move", "move", "carry", "carry", "refresh", "refresh", "off", "bye", "bye", "silent", "call", "call",
	"drop", "drop", "duplicate", "duplicate", "delay", "reorder", "late", "late", "weather",
	"kill", "kill", "back up", "restore", "part", "part", "isolate", "R down", "R wiped", "R older", "heal",
	"disk full", "crowded", "delete", "password", "stranger",
}

// pauses is how long it is until the next event.
var pauses = []time.Duration{
	0, 0, 0, 2 * time.Millisecond, 5 * time.Millisecond, 5 * time.Millisecond, 12 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond,
	time.Second, 3 * time.Second, 15 * time.Second, 40 * time.Second, 3 * time.Minute, 11 * time.Minute,
}

// scope is how many of the users and offices a history is about: few, so that much happens to each, or all.
type scope struct{ users, offices int }

var drawnScope = rapid.Custom(func(t *rapid.T) scope {
	return scope{rapid.SampledFrom([]int{1, 2, 5, usersHere}).Draw(t, "users"), rapid.SampledFrom([]int{2, 3, 4, officesHere}).Draw(t, "offices")}
})

// within is e in s.
func (e event) within(s scope) event {
	e.user %= s.users
	e.office %= s.offices
	if e.other < officesHere {
		e.other %= s.offices
	}
	return e
}

// drawn is a generator of events. Rapid prefers small numbers, so that most of them are about a few of the users.
var drawn = rapid.Custom(func(t *rapid.T) event {
	return event{
		what:   rapid.SampledFrom(kinds).Draw(t, "what"),
		user:   rapid.IntRange(0, usersHere-1).Draw(t, "user"),
		phone:  rapid.IntRange(0, 2).Draw(t, "phone"),
		office: rapid.IntRange(0, officesHere-1).Draw(t, "office"),
		other:  rapid.IntRange(0, officesHere).Draw(t, "other"),
		flag:   rapid.Bool().Draw(t, "flag"),
		n:      rapid.Uint64().Draw(t, "n"),
		pause:  rapid.SampledFrom(pauses).Draw(t, "pause"),
	}
})

var drawnPolicy = rapid.Custom(func(t *rapid.T) policy {
	n := rapid.IntRange(0, 31).Draw(t, "policy")
	return policy{many: n&1 == 0, strict: n&2 != 0, quiet: n&4 != 0, refuse: n&8 != 0, known: n&16 != 0}
})

// play has e happen.
func (w *world) play(e event) {
	u := w.users[e.user]
	p := u.phones[e.phone%len(u.phones)]
	o := w.offices[e.office]
	switch e.what {
	case "move": // carried, and started there
		w.plug(p, e.office, true, e.flag)
	case "carry": // running
		w.plug(p, e.office, false, e.flag)
	case "refresh":
		if p.at >= 0 && p.try == nil {
			w.register(p, p.grant(), false)
		}
	case "off":
		w.off(p)
	case "bye":
		w.bye(p, e.flag && e.n%2 == 0)
	case "silent":
		if p.at < 0 && o.up {
			o.silent(p)
		}
	case "call":
		if o.up {
			w.call(o, u)
		}
	case "drop", "duplicate", "delay", "reorder":
		w.meddle(e)
	case "late": // what has arrived once arrives once more
		if len(w.past) > 0 {
			m := w.past[e.n%uint64(len(w.past))]
			w.log("  once more: %s", m.label)
			w.again(m, latency)
			w.disturb()
		}
	case "weather":
		w.bad = weather{e.flag, e.n}
		w.log("weather %v", e.flag)
		w.disturb()
	case "kill":
		o.kill(int(e.n % 4))
		w.after(nil, down(e), "start", func() { o.startOnce() })
	case "back up":
		o.backup = o.disk.copy()
	case "restore":
		w.restore(o, e)
	case "part":
		if e.office != e.other {
			w.log("%s and %d: cut %v", o.id, e.other, e.flag)
			w.part(e.office, e.other, e.flag)
		}
	case "isolate":
		for i := range ends {
			if i != e.office && i != phones {
				w.part(e.office, i, true)
			}
		}
		w.log("%s: isolated", o.id)
	case "heal":
		w.log("healed")
		w.heal()
	case "R down":
		w.log("R down %v", e.flag)
		w.r.down = e.flag
		w.disturb()
	case "R wiped":
		w.log("R wiped")
		w.lose(nil)
	case "R older":
		if w.r.backup == nil || e.flag {
			w.r.backup = w.r.copy()
		} else {
			w.log("R has older data")
			w.lose(w.r.backup)
			w.r.backup = nil
		}
	case "disk full":
		o.full, o.filled = e.flag, true
		w.disturb()
	case "crowded":
		o.crowded = e.flag
		w.disturb()
	case "delete":
		w.remove(u, e.flag)
	case "password":
		w.password(u, p, e.flag)
	case "stranger":
		w.stranger(p, o)
	}
	w.pass(e.pause)
}
