package edge

import (
	"cmp"
	"hash/maphash"
	"slices"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// mostTold is about how many octets one roam-lines holds: a message has at most 65,535 (package transport). pageOf is how
// many users are looked at in one turn while everything is told.
const (
	mostTold = 40_000
	pageOf   = 200
)

var hashSeed = maphash.MakeSeed()

// Changed notes that the softswitches must hear of user again.
func (f *Far) Changed(user roam.UserID) {
	for _, r := range f.switches {
		if r.up && !(r.all && user > r.cursor) {
			r.mark(user)
		}
	}
	f.soon()
}

func (r *remote) mark(user roam.UserID) {
	if !r.marked[user] {
		r.marked[user] = true
		r.dirty = append(r.dirty, user)
	}
}

// soon has push called at the end of the turn.
func (f *Far) soon() {
	if f.pushing {
		return
	}
	f.pushing = true
	f.loop.Later(func() {
		f.pushing = false
		for _, r := range f.switches {
			f.push(r)
		}
	})
}

// hello is a roam-edge.
func (f *Far) hello(tx *transaction.Server, req *sip.Message, r *remote) error {
	var d edgeDoc
	if err := readBody(req, &d, &d.Version); err != nil {
		return err
	}
	if d.ID != r.ID {
		return f.stranger(req)
	}
	r.heard, r.calls, r.full = f.loop.Now(), d.Calls, d.Full || d.Stopping
	switch {
	case d.Stopping:
		f.down(r, "it stops")
	case !r.up || r.boot != d.Boot:
		r.boot = d.Boot
		f.everything(r, d.Have)
		f.changedUp(r)
	case r.checked.after(d.Have) || d.Have.after(mark{r.told.Boot, r.told.Sync, r.told.N + 1}): // it has lost something, or we have
		f.everything(r, d.Have)
	}
	r.checked = r.told
	for _, flow := range d.Closed {
		flow.Edge = r.ID
		f.flows.Closed(&sip.Flow{Flow: flow})
	}
	for _, flow := range d.Silent {
		flow.Edge = r.ID
		f.flows.Silent(flow)
	}
	return tx.Reply(200)
}

// everything begins to tell r everything, above all that it has heard before.
func (f *Far) everything(r *remote, have mark) {
	if have.after(mark{Boot: f.boot, Sync: r.told.Sync + 1}) { // our file is an older one than we had when it heard that
		f.boot = have.Boot + 1
	}
	r.up, r.lost, r.all, r.cursor, r.flying, r.flight = true, false, true, "", false, nil
	r.alive.Store(true)
	r.told, r.checked = mark{Boot: f.boot, Sync: r.told.Sync + 1}, mark{}
	r.dirty, r.marked, r.sent, r.put = nil, map[roam.UserID]bool{}, map[roam.UserID]uint64{}, map[roam.UserID]bool{}
	f.log.Info().Str("event", "edge.tell").Str("softswitch", string(r.ID)).Uint64("sync", r.told.Sync).Msg("softswitch is told everything")
	f.soon()
}

// down notes that r is away: what it has is left out of what others are told.
func (f *Far) down(r *remote, why string) {
	if !r.up {
		return
	}
	r.up, r.lost, r.all, r.flying, r.flight = false, true, false, false, nil
	r.alive.Store(false)
	f.log.Warn().Str("event", "edge.down").Str("softswitch", string(r.ID)).Str("reason", why).Msg("softswitch is away")
	f.changedUp(r)
}

// changedUp has the others told of everybody again: what r has counts, or does not. Who is not concerned costs no message.
func (f *Far) changedUp(r *remote) {
	users := f.dir.Everybody("", 1<<30)
	for _, o := range f.switches {
		if o == r || !o.up {
			continue
		}
		for _, u := range users {
			if !(o.all && u > o.cursor) {
				o.mark(u)
			}
		}
	}
	f.soon()
}

// look finds the softswitches that have been silent for too long, since we started when they have said nothing yet.
func (f *Far) look() {
	for _, r := range f.switches {
		switch silent := f.loop.Now().Sub(r.heard) > awayAfter; {
		case silent && r.up:
			f.down(r, "no sign of life")
		case silent && !r.lost:
			r.lost = true
			f.changedUp(r)
		}
	}
	f.loop.After(helloEvery, f.look)
}

// push tells r what is to be told, one message at a time.
func (f *Far) push(r *remote) {
	if !r.up || r.flying {
		return
	}
	d := linesDoc{Version: docVersion, mark: mark{r.told.Boot, r.told.Sync, r.told.N + 1}, Released: r.released, Charged: r.charged, Started: r.started}
	d.First = r.told.N == 0
	card := f.cfg.Card()
	if h := maphash.Bytes(hashSeed, encode(card)); d.First || r.card != h {
		d.Card, r.card = &card, h
	}
	hashes := map[roam.UserID]uint64{}
	size, looked, paged, last := 0, 0, 0, false
	tell := func(user roam.UserID) {
		looked++
		line := f.lineFor(user, r)
		b := encode(line)
		h := maphash.Bytes(hashSeed, b)
		if was, known := r.sent[user]; known && was == h || !known && line.Nobody {
			return
		}
		hashes[user], size = h, size+len(b)
		d.Lines = append(d.Lines, line)
	}
	if r.all {
		page := f.dir.Everybody(r.cursor, pageOf)
		for _, user := range page {
			paged++
			if f.othersFirst(user, r) {
				r.mark(user)
				r.put[user] = true
				continue
			}
			if tell(user); size >= mostTold {
				break
			}
		}
		if paged > 0 {
			r.cursor = page[paged-1]
		}
		last = paged == len(page) && len(page) < pageOf
	}
	n := 0
	var later []roam.UserID
	for ; n < len(r.dirty) && size < mostTold && looked < pageOf; n++ {
		user := r.dirty[n]
		if f.othersFirst(user, r) {
			later = append(later, user)
			continue
		}
		delete(r.marked, user)
		delete(r.put, user)
		tell(user)
	}
	r.dirty = append(later, r.dirty[n:]...)
	if last && len(r.put) == 0 { // what was put off belongs to everything: untold, it would be forgotten
		r.all, d.Whole = false, true
	}
	if len(d.Lines)+len(d.Released)+len(d.Charged)+len(d.Started) == 0 && d.Card == nil && !d.Whole {
		if len(r.dirty) > len(later) || r.all && !last { // none of these has changed
			f.loop.After(time.Millisecond, func() { f.push(r) })
		}
		if n > len(later) {
			f.soon() // somebody may have waited for r to know them
		}
		return
	}
	r.released, r.charged, r.started, r.flying = nil, nil, nil, true
	r.flight = hashes
	f.send(r, &d, hashes)
}

// othersFirst says that r must wait with user until the other softswitches know: r has the phone that came last, whose
// 200 it keeps until it hears of it (Near.whenKnown). So a call that follows the 200 finds the phone from everywhere.
func (f *Far) othersFirst(user roam.UserID, r *remote) bool {
	for _, o := range f.switches {
		if _, flies := o.flight[user]; o == r || !o.up || o.all || !flies && !o.marked[user] {
			continue
		}
		line, _ := f.dir.Line(user)
		return len(line.Targets) > 0 && line.Targets[0].Flow.Edge == r.ID
	}
	return false
}

// send brings d to r. When it is not taken r counts as away until it gives a sign of life, and is told everything then.
func (f *Far) send(r *remote, d *linesDoc, hashes map[roam.UserID]uint64) {
	f.ask(r, LinesEvent, encode(d), func(res *sip.Message, err error) {
		if d.Boot != r.told.Boot || d.Sync != r.told.Sync || !r.flying { // told anew meanwhile
			return
		}
		r.flying, r.flight = false, nil
		if err != nil || res.Status()/100 != 2 {
			why := "it takes nothing"
			if err != nil {
				why = err.Error()
			}
			f.down(r, why)
			return
		}
		r.told = d.mark
		for _, l := range d.Lines {
			if r.sent[l.User] = hashes[l.User]; l.Nobody {
				delete(r.sent, l.User)
			}
		}
		f.soon()
	})
}

// ask sends a NOTIFY to r; done comes once, with a final response, or an error when none came in time.
func (f *Far) ask(r *remote, event string, body []byte, done func(*sip.Message, error)) {
	u, err := sip.ParseURI([]byte(r.URI))
	if err != nil {
		f.loop.Later(func() { done(nil, err) })
		return
	}
	over := false
	once := func(res *sip.Message, err error) {
		if over || res != nil && res.Status() < 200 {
			return
		}
		over = true
		done(res, err)
	}
	late := f.loop.After(patience, func() { once(nil, roam.Timeout) })
	f.tl.Request(transaction.Destination{URI: u}, func(w *sip.Writer, flow *sip.Flow) error {
		if !r.is(flow, f.cfg.Office) {
			return errWrongProcess
		}
		addressed(w, "NOTIFY", r.URI, f.cfg.URI, r.URI)
		w.Add(sip.Event, event)
		w.Add(sip.SubscriptionState, "active")
		w.Add(sip.Contact, "<"+f.cfg.URI+">")
		return w.End(bodyType, body)
	}, func(res *sip.Message, err error) {
		if res == nil || res.Status() >= 200 {
			late.Stop()
		}
		once(res, err)
	})
}

// lineFor is user as to is told: what a softswitch that is away has is left out, unless that is to itself. One that we have
// not heard of since we started is not away yet: it had its phones all the while, and calls must find them.
func (f *Far) lineFor(user roam.UserID, to *remote) lineDoc {
	line, found := f.dir.Line(user)
	if !found {
		return lineDoc{User: user, Nobody: true}
	}
	line.Targets = slices.DeleteFunc(slices.Clone(line.Targets), func(t roam.Target) bool {
		if t.Office != "" {
			return false
		}
		r := f.of(t.Flow.Edge)
		return r == nil || r != to && r.lost
	})
	d := lineOf(&line, f.dir.Names(user))
	d.Owed = f.cfg.Provisional(user)
	return d
}

// living is the softswitches that give signs of life and are not full, the least busy first, then the others that live.
func (f *Far) living() (rs []*remote) {
	for _, r := range f.switches {
		if r.up {
			rs = append(rs, r)
		}
	}
	slices.SortStableFunc(rs, func(a, b *remote) int {
		if a.full != b.full {
			if a.full {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.calls, b.calls)
	})
	return rs
}

// View is one softswitch as people, and whoever tells phones where to go (DHCP option 120), see it.
type View struct {
	ID     roam.SwitchID `json:"id"`
	URI    string        `json:"uri"`
	Phones string        `json:"phones,omitempty"`
	Up     bool          `json:"up"`
	Full   bool          `json:"full,omitempty"`
	Calls  int           `json:"calls"`
}

// Switches is the softswitches in the order in which phones should try them: those that live, the least busy first,
// then those that do not.
func (f *Far) Switches() (all []View) {
	rs := f.living()
	for _, r := range f.switches {
		if !r.up {
			rs = append(rs, r)
		}
	}
	for _, r := range rs {
		all = append(all, View{r.ID, r.URI, r.Phones, r.up, r.full, r.calls})
	}
	return all
}

// Allocate is registrar.Switch's (d, h): every softswitch that the line is new to is asked, and one refusal is one. A line
// that no softswitch has, as that of a user who is away, needs nobody's leave.
func (f *Far) Allocate(line roam.Line, done func(roam.Refusal)) {
	asked, left, why := map[roam.SwitchID]bool{}, 1, roam.OK
	end := func(refused roam.Refusal) {
		if refused != roam.OK {
			why = refused
		}
		if left--; left == 0 {
			done(why)
		}
	}
	for _, t := range line.Targets {
		r := f.of(t.Flow.Edge)
		if r == nil || t.Office != "" || asked[r.ID] || !r.up {
			continue
		}
		asked[r.ID] = true
		left++
		mine := line
		mine.Targets = slices.DeleteFunc(slices.Clone(line.Targets), func(t roam.Target) bool { return t.Flow.Edge != r.ID })
		body := encode(serveDoc{docVersion, lineOf(&mine, nil)})
		f.ask(r, ServeEvent, body, func(res *sip.Message, err error) {
			switch {
			case err != nil:
				end(roam.NoCapacity)
			case res.Status()/100 == 2:
				end(roam.OK)
			default:
				end(refusalOf(res))
			}
		})
	}
	f.loop.Later(func() { end(roam.OK) })
}

// Release is registrar.Switch's (260, 480): whoever may have the device hears it.
func (f *Far) Release(user roam.UserID, device roam.Device, gone roam.Location) {
	for _, r := range f.switches {
		if r.up {
			r.released = append(r.released, released{user, device, gone})
		}
	}
	f.soon()
}

// Failed notes that a phone gave wrong credentials: its softswitch counts it against its address.
func (f *Far) Failed(flow roam.Flow) {
	if r := f.of(flow.Edge); r != nil && r.up && len(r.charged) < mostNews {
		flow.Edge = ""
		r.charged = append(r.charged, flow)
		f.soon()
	}
}

// Started notes that home o has started from a file that was written last at t.
func (f *Far) Started(o roam.OfficeID, t time.Time) {
	for _, r := range f.switches {
		if r.up {
			r.started = append(r.started, started{o, t})
		}
	}
	f.soon()
}
