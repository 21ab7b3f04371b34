package model

import (
	"time"

	"github.com/siproam/siproam/roam"
)

// meddle does something to one message that is on its way.
func (w *world) meddle(e event) {
	if len(w.air) == 0 {
		return
	}
	m := w.air[e.n%uint64(len(w.air))]
	w.log("  %s: %s", e.what, m.label)
	switch e.what {
	case "drop":
		w.land(m)
		m.due.fn = nil
	case "duplicate":
		w.again(m, latency)
	case "delay":
		w.land(m)
		m.due.fn = nil
		w.again(m, time.Duration(e.n%40)*time.Second)
	case "reorder": // behind what goes next
		w.land(m)
		m.due.fn = nil
		w.again(m, 3*latency)
	}
	w.disturb()
}

// down is how long a killed office is away.
func down(e event) time.Duration {
	return []time.Duration{10 * time.Millisecond, 2 * time.Second, 20 * time.Second, 8 * time.Minute}[e.n/4%4]
}

func (o *office) startOnce() {
	if !o.up {
		o.start()
	}
}

// restore kills an office and has it start from an old file.
func (w *world) restore(o *office, e event) {
	if o.backup == nil || !o.up {
		return
	}
	o.kill(0)
	w.log("%s: an old file", o.id)
	o.before = nil // all that was answered since is lost, and said to be
	for _, u := range w.users {
		if u.home == o.n {
			clear(u.said) // an epoch may come again, until home sees R's
		}
	}
	o.disk = o.backup.copy()
	if e.flag { // and a machine whose clock is late
		o.behind += time.Hour
	}
	for id := range o.disk.accounts { // its users are as they were, too
		u := w.userOf(id)
		u.password = o.disk.accounts[id].password
		u.changes++
	}
	w.after(nil, down(e), "start", func() { o.startOnce() })
}

// lose has R come back with other data than it had; every office finds out within ten seconds and writes what it has.
func (w *world) lose(rows map[roam.UserID]*row) {
	w.r.older = w.r.older || rows != nil
	if rows == nil {
		rows = map[roam.UserID]*row{}
	}
	w.r.rows = rows
	for i, o := range w.offices {
		if o.up {
			w.after(o, time.Second+time.Duration(i)*time.Second, "resync", o.resync)
		}
	}
	w.disturb()
}

// resync is a sweep, as soon as there is a way to R.
func (o *office) resync() {
	if !o.reached(o, theStore) {
		o.after(o, 5*time.Second, "resync", o.resync)
		return
	}
	o.sweep()
}

// remove deletes the account of u, or makes it again.
func (w *world) remove(u *user, back bool) {
	home := w.offices[u.home]
	if !home.up || home.full {
		return
	}
	_, exists := home.disk.accounts[u.id]
	switch {
	case exists && !back && home.subscriber(u.id) != nil:
		w.log("%s: deleted", u.id)
		u.gone = true
		home.remove(u.id)
	case !exists && back:
		w.log("%s: made again", u.id)
		u.gone = false
		home.write(u.id, func(f *file) { f.accounts[u.id] = account{u.password} }, func(error) {})
		home.enter(u.id)
	default:
		return
	}
	u.changes++
}

// password gives u a new password, which one phone, or all, have at once.
func (w *world) password(u *user, p *phone, all bool) {
	home := w.offices[u.home]
	if s := home.subscriber(u.id); !home.up || home.full || s == nil {
		return
	}
	u.password++
	u.changes++
	word := u.password
	home.disk.accounts[u.id] = account{word} // it waits for the disk
	for _, q := range u.phones {
		if all || q == p {
			q.password = word
		}
	}
	w.log("%s: password %d, all phones %v", u.id, word, all)
}

// stranger is somebody with a phone like p, at its address, and no password.
func (w *world) stranger(p *phone, o *office) {
	a := &attempt{phone: p, at: o.n, device: p.device, callID: "stranger", cseq: 1, grant: p.grant(), password: -1, passwordThen: -2, sent: w.now}
	w.log("a stranger as %s at %s", p.name, o.id)
	w.request(a)
}
