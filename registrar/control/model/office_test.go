package model

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/siproam/siproam/registrar/control"
	"github.com/siproam/siproam/roam"
)

// account is what an office keeps of a user who can log in.
type account struct{ password int }

// visitKey names a visit's row.
type visitKey struct {
	user   roam.UserID
	device roam.Device
}

// file is an office's disk: rows as package registrar writes them.
type file struct {
	accounts map[roam.UserID]account
	homes    map[roam.UserID][]byte
	visits   map[visitKey][]byte
	ceiling  roam.Epoch
}

func newFile() *file {
	return &file{map[roam.UserID]account{}, map[roam.UserID][]byte{}, map[visitKey][]byte{}, 0}
}

func (f *file) copy() *file {
	return &file{maps.Clone(f.accounts), maps.Clone(f.homes), maps.Clone(f.visits), f.ceiling}
}

// write is one change of a file, and who waits for it.
type write struct {
	of   roam.UserID
	do   func(*file)
	done func(error)
}

// silence is the policy of M9.
type silence struct {
	control.Silence
	known bool // admit-known
}

// office is package registrar around its cores, without SIP: what waits, what is written, who is asked.
type office struct {
	*world
	n       int
	id      roam.OfficeID
	policy  *control.Office
	silence silence
	up      bool
	boot    int
	booted  time.Time
	behind  time.Duration // its clock
	full    bool          // its disk takes nothing
	filled  bool          // and did so at times
	crowded bool          // its softswitch takes nobody

	disk    *file
	backup  *file // an old copy
	pending []write

	last, ceiling roam.Epoch
	subscribers   []*subscriber // in order
	visitors      []*visitor
	waits         map[uint64]func(control.Answer)
	renewals      map[uint64]*attempt
	tx            uint64
	owing         []owed // reports that R did not take
	retrying      bool
	seen          map[seenKey]bool // digest answers: the second one changes nothing
	places        map[roam.UserID]place
	recalls       [officesHere]time.Time // when what is owed to each was said again last; see records
	before        *published             // what was published when it was killed
}

type seenKey struct {
	phone *phone
	cseq  uint32
}

type owed struct {
	user roam.UserID
	at   roam.Location
}

type place struct {
	at    roam.Location
	until time.Time
}

// turn is one change at a time (registrar's turn).
type turn struct {
	queue []func()
	wake  *happening
	drift bool
}

func newOffice(w *world, n int, p policy) *office {
	id := officeID(n)
	o := &office{world: w, n: n, id: id, disk: newFile()}
	o.policy = &control.Office{Here: roam.Location{Office: id, Switch: "sip:" + string(id), Registrar: string(id)},
		Many: p.many, Quiet: p.quiet, Strict: p.strict, Contacts: 8}
	o.silence = silence{control.Silence{Refuse: p.refuse}, p.known}
	return o
}

// draw is registrar's: an epoch, with a ceiling on disk ahead of it.
func (o *office) draw() roam.Epoch {
	const ahead = roam.Epoch(10 * time.Minute / time.Microsecond)
	o.last = max(o.last+1, roam.Epoch(o.now.Add(-o.behind).UnixMicro()))
	if o.last+ahead/2 > o.ceiling {
		o.ceiling = o.last + ahead
		ceiling := o.ceiling
		o.write("", func(f *file) { f.ceiling = ceiling }, func(error) {})
	}
	return o.last
}

// write has do done on disk; all that queue during one commit go with the next.
func (o *office) write(of roam.UserID, do func(*file), done func(error)) {
	o.pending = append(o.pending, write{of, do, done})
	if len(o.pending) == 1 {
		o.after(o, 2*time.Millisecond, "commit", o.commit)
	}
}

func (o *office) commit() {
	all := o.pending
	o.pending = nil
	for _, w := range all {
		if o.full {
			w.done(errFull)
			continue
		}
		w.do(o.disk)
		w.done(nil)
	}
}

// kill ends the process; the first of what was being written got to the disk.
func (o *office) kill(written int) {
	if !o.up {
		return
	}
	o.log("%s: killed, %d of %d writes are on disk", o.id, min(written, len(o.pending)), len(o.pending))
	o.stats.crashes++
	o.before = o.publishes()
	for _, w := range o.pending[:min(written, len(o.pending))] {
		if !o.full {
			w.do(o.disk)
		}
	}
	o.pending = nil
	o.up = false
	o.boot++
	o.disturb()
}

// publishes is what the office has let others see.
func (o *office) publishes() *published {
	p := &published{homes: map[roam.UserID]control.Kept{}, visits: map[visitKey]control.Stay{}, spoilt: map[roam.UserID]bool{}}
	for _, w := range o.pending {
		p.spoilt[w.of] = true
	}
	for _, s := range o.subscribers {
		if !s.removed {
			p.homes[s.home.User] = s.home.Kept
		}
	}
	for _, v := range o.visitors {
		if !v.visit.Empty() {
			p.visits[visitKey{v.visit.User, v.visit.Device}] = v.visit.Stay
		}
	}
	return p
}

// start reads the file and goes on.
func (o *office) start() {
	o.up, o.booted = true, o.now
	o.log("%s: started", o.id)
	o.subscribers, o.visitors, o.waits, o.owing, o.retrying = nil, nil, map[uint64]func(control.Answer){}, nil, false
	o.renewals, o.recalls = map[uint64]*attempt{}, [officesHere]time.Time{}
	o.seen, o.places = map[seenKey]bool{}, map[roam.UserID]place{}
	o.ceiling, o.last = o.disk.ceiling, o.disk.ceiling
	for i := o.n; i < len(o.users); i += officesHere {
		id := o.users[i].id
		if _, known := o.disk.accounts[id]; !known {
			o.users[i].gone = true
			continue
		}
		o.users[i].gone = false
		s := o.enter(id)
		if doc := o.disk.homes[id]; doc != nil {
			o.unmarshal(doc, &s.home.Kept)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(o.disk.visits), func(a, b visitKey) int {
		return strings.Compare(string(a.user)+" "+string(a.device), string(b.user)+" "+string(b.device))
	}) {
		v := o.newVisitor(k.user, k.device)
		o.unmarshal(o.disk.visits[k], &v.visit.Stay)
	}
	if o.before != nil {
		o.survived(o, *o.before)
		o.before = nil
	}
	for _, s := range o.subscribers {
		s.told = s.home.Location.Office
		for _, a := range s.home.Restore(o.now, nil) {
			o.do(s, a)
		}
	}
	for _, v := range o.visitors {
		for _, a := range v.visit.Restore(o.now, nil) {
			o.doVisit(v, a)
		}
	}
	o.every(o, sweepEvery, "sweep", o.sweep)
	o.rejoin()
	o.disturb()
}

// rejoin tells every other office that we have started, until it has heard; and it and we confirm the visits between us.
func (o *office) rejoin() {
	if o.boot == 0 {
		return
	}
	for _, p := range o.offices {
		if p != o {
			o.after(o, time.Second, "rejoin", func() { o.tells(p) })
		}
	}
}

// tells is the notice to p that we have started.
func (o *office) tells(p *office) {
	ask(o, p.n, timerF, "started", func(reply func(bool)) {
		p.confirm(o)
		for _, s := range p.subscribers {
			p.step(s, control.Recall{To: string(o.id)})
		}
		reply(true)
	}, func(_ bool, err error) {
		if err != nil {
			o.after(o, 5*time.Second, "rejoin", func() { o.tells(p) })
			return
		}
		o.confirm(p)
	})
}

// confirm repeats what home should know of its visitors here.
func (o *office) confirm(home *office) {
	for _, v := range slices.Clone(o.visitors) {
		if v.visit.Home.Office == home.id {
			o.changeVisit(v, func() control.Event { return control.Confirm{} })
		}
	}
}

func (o *office) unmarshal(doc []byte, into any) {
	if err := json.Unmarshal(doc, into); err != nil {
		o.fail("%s: %s: %v", o.id, doc, err)
	}
}

// hold has answer called with a core's Answer.
func (o *office) hold(answer func(control.Answer)) uint64 {
	o.tx++
	o.waits[o.tx] = answer
	return o.tx
}

func (o *office) answer(a control.Answer) {
	if done := o.waits[a.Tx]; done != nil {
		delete(o.waits, a.Tx)
		done(a)
	}
}

// wakeAt is registrar's: an earlier call stands.
func (o *office) wakeAt(t *turn, at time.Time, due func()) {
	if t.wake != nil && t.wake.fn != nil && !at.Before(t.wake.at) {
		return
	}
	if t.wake != nil {
		t.wake.fn = nil
	}
	t.wake = o.after(o, max(at.Sub(o.now), time.Millisecond), "wake", nil)
	h := t.wake
	h.fn = func() { h.fn = nil; due() }
}

// drifts has save called some time soon, unless a change takes it along.
func (o *office) drifts(t *turn, save func()) {
	if t.drift {
		return
	}
	t.drift = true
	o.after(o, 500*time.Millisecond, "drift", func() {
		if t.drift {
			t.drift = false
			save()
		}
	})
}

// wait queues fn for when the change under way is over; at most four.
func (t *turn) wait(fn func()) bool {
	if len(t.queue) >= 4 {
		return false
	}
	t.queue = append(t.queue, fn)
	return true
}

func (t *turn) next(busy func() bool) {
	for len(t.queue) > 0 && !busy() {
		fn := t.queue[0]
		t.queue = t.queue[1:]
		fn()
	}
}

// report tells R; what it does not take is told again.
func (o *office) report(user roam.UserID, at roam.Location, why string, done func(roam.Location, error)) {
	if !o.reached(o, theStore) {
		o.owe(user, at)
		o.after(o, time.Millisecond, "R away", func() { done(roam.Location{}, roam.StoreAway) })
		return
	}
	ask(o, theStore, patience, "report", func(reply func(roam.Location)) {
		o.told(o.userOf(user), at)
		now := o.r.set(o.world, user, at, why)
		o.log("%s: reports %s at %q by %d: R has %q by %d", o.id, user, at.Office, at.Epoch, now.Office, now.Epoch)
		reply(now)
	}, func(now roam.Location, err error) {
		if err != nil {
			o.owe(user, at)
			err = roam.StoreAway
		} else {
			o.owing = slices.DeleteFunc(o.owing, func(w owed) bool { return w.user == user && w.at.Epoch <= now.Epoch })
		}
		done(now, err)
	})
}

func (o *office) owe(user roam.UserID, at roam.Location) {
	for i, w := range o.owing {
		if w.user == user {
			if w.at.Epoch <= at.Epoch {
				o.owing[i].at = at
			}
			return
		}
	}
	o.owing = append(o.owing, owed{user, at})
	o.retry()
}

// retry tells R what it owes, as often as it takes.
func (o *office) retry() {
	if o.retrying {
		return
	}
	o.retrying = true
	o.after(o, 10*time.Second, "R again", func() {
		o.retrying = false
		if o.reached(o, theStore) {
			for _, w := range o.owing {
				o.told(o.userOf(w.user), w.at)
				o.r.set(o.world, w.user, w.at, "again")
			}
			o.owing = nil
		} else {
			o.retry()
		}
	})
}

// sweep compares what R should hold of our users with what it holds (routesrv's).
func (o *office) sweep() {
	if !o.reached(o, theStore) {
		return
	}
	for _, s := range o.subscribers {
		if s.removed {
			continue
		}
		at, now := s.home.Location, o.r.read(s.home.User)
		switch {
		case now.Epoch > at.Epoch:
			o.ahead(s, now)
		case at.Epoch != 0 && (now.Epoch != at.Epoch || now.Office != at.Office):
			o.told(o.userOf(s.home.User), at)
			o.r.set(o.world, s.home.User, at, "repaired")
		}
	}
}

// believeAfter is how long after a start the visited offices may know better than our file.
const believeAfter = time.Minute

// ahead is registrar's: R holds a newer word about s than our file, above which ours is said again.
func (o *office) ahead(s *subscriber, now roam.Location) {
	if wait := believeAfter - o.now.Sub(o.booted); wait > 0 {
		o.after(o, wait, "ahead", func() { o.ahead(s, now) })
	} else if now.Epoch > s.home.Location.Epoch && !s.removed {
		o.step(s, control.Reported{Location: now})
	}
}

// userOf is whose id it is.
func (w *world) userOf(id roam.UserID) *user {
	n := 0
	for _, c := range id[:strings.IndexByte(string(id), '@')] {
		n = 10*n + int(c-'0')
	}
	return w.users[n-1000]
}
