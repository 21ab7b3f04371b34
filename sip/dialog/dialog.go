// Package dialog keeps tags, route sets, targets and the INVITE's own rules (RFC 3261
// 12-15): 2xx repeated until its ACK, ACK repeated for every 2xx, forks, glare.
// It runs on the loop and knows nothing of calls, SDP or users.
//
// A Dialog is one leg of a call from the first INVITE on: of the early dialogs that forking
// proxies make of it, one is answered and stays. Leaves out reliable provisional
// responses (RFC 3262), subscriptions and session timers.
package dialog

import (
	"math/rand/v2"

	"hash/maphash"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/seal"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// Events is what a dialog tells its leg.
type Events interface {
	// Progress: a 101-199 or the 2xx of our INVITE. On a 2xx the leg calls Ack, in this turn or later.
	Progress(res *sip.Message)
	// Request: an in-dialog request other than BYE; the leg answers it (Respond) or refuses it (tx.Refuse).
	// The ACK to a 2xx of ours comes with tx nil.
	Request(tx *transaction.Server, req *sip.Message)
	// Ended: once; nothing comes after it.
	Ended(end End)
}

// Guard is an Events that is asked whether the other end may speak on f, another flow than
// the dialog's so far, with what it shows. If not, the request is refused 403 and changes nothing.
type Guard interface {
	Admit(f *sip.Flow, p Proof) bool
}

// Returner is an Events that knows whether a phone whose connection has ended has come back by another
// flow (RFC 5626 4.5). nil: it has not.
type Returner interface {
	Returned() *sip.Flow
}

// End says why a dialog, early or confirmed, is over.
type End struct {
	Res    *sip.Message // the final response that refused our INVITE, or said that there is no dialog; else nil
	Req    *sip.Message // the BYE or CANCEL that ended it, else nil; valid until Ended returns
	Err    error        // roam.Timeout, no ACK, a lost connection; else nil
	Remote bool         // the other end did it
}

// Table is all dialogs of one office: the Handler before the Mux.
type Table struct {
	loop *loop.Loop
	tl   *transaction.Layer
	next transaction.Handler
	log  zerolog.Logger

	required func(req *sip.Message) error // of Require; nil: nothing is checked

	dialogs map[uint64]*Dialog                 // by key, early ones of forks included
	forked  *loop.Recent[struct{}]             // keys of our answered INVITEs, while a 2xx of a fork may come, and of what lost
	waiting map[roam.Flow]map[*Dialog]struct{} // unanswered INVITEs of connections
	live    int                                // those whose Ended has not come

	stamps  *seal.Stamps // of flow tokens
	tokens  uint64       // given
	room    []byte       // scratch: a Contact
	bound   []byte       // scratch: what a token binds
	seed    maphash.Seed
	scratch []byte
}

// lateMost is how many answered INVITEs may still hear of a fork; beyond, the oldest are forgotten, whose
// forks would have answered long ago.
const lateMost = 1 << 19

// New makes a table. What belongs to no dialog goes to next; an in-dialog request
// (To tag) that matches none is answered 481.
func New(l *loop.Loop, tl *transaction.Layer, next transaction.Handler, log zerolog.Logger) *Table {
	t := &Table{loop: l, tl: tl, next: next, log: log, stamps: seal.NewStamps(), tokens: rand.Uint64(),
		dialogs: map[uint64]*Dialog{}, forked: loop.NewRecent[struct{}](l, 64*transaction.T1, lateMost), // a forking proxy may bring a 2xx that long (13.2.2.4)
		waiting: map[roam.Flow]map[*Dialog]struct{}{}, seed: maphash.MakeSeed()}
	tl.Stray(t.stray)
	tl.OnClosed(t.closed)
	return t
}

// Require has required asked about each in-dialog request but ACK: its error is the answer (8.2.2.3).
func (t *Table) Require(required func(req *sip.Message) error) { t.required = required }

// Len is the number of dialogs, early ones included.
func (t *Table) Len() int { return t.live }

// key names a dialog (12) in 64 bits under a seed of the process: two of a hundred thousand meet in no
// office's lifetime. remote is empty where only our own INVITE is meant.
func key[T string | []byte](t *Table, callID, local, remote T) uint64 {
	t.scratch = append(append(append(append(append(t.scratch[:0], callID...), 0), local...), 0), remote...)
	return maphash.Bytes(t.seed, t.scratch)
}

// ServeSIP is transaction.Handler's (12.2.2).
func (t *Table) ServeSIP(tx *transaction.Server, req *sip.Message) error {
	remote, local := req.Tags()
	ack := req.Method() == sip.ACK
	if len(local) == 0 && !ack {
		return t.next.ServeSIP(tx, req)
	}
	d := t.dialogs[key(t, req.Value(sip.CallID), local, remote)]
	var err error = roam.NoDialog
	if d != nil {
		err = d.request(tx, req)
	}
	if ack {
		return nil // never answered
	}
	return err
}

// closed ends what cannot be answered any more: the answer to an INVITE goes back by its
// connection only. Other dialogs wait for their phone to come back by another.
func (t *Table) closed(f *sip.Flow) {
	for d := range t.waiting[f.Flow] {
		d.end(End{Err: transaction.ErrClosed, Remote: true})
	}
}

// phase is how far a dialog is.
type phase uint8

const (
	early     phase = iota
	confirmed       // a 2xx was given
	closing         // Ended has been said; a BYE or its time is still to come
	over
)

// Dialog is one dialog, or a call attempt that is to become one.
type Dialog struct {
	table  *Table
	events Events // nil after Ended

	phase    phase
	byFlow   bool   // the other end is reached by flow, not by its Contact
	leaving  bool   // Bye was called while our INVITE was unanswered
	inviting bool   // a re-INVITE of ours is under way
	byes     bool   // our BYE is under way, or waits for their ACK
	seq      uint32 // CSeq of our last request

	callID, local string
	self          string  // our From in requests, with the tag
	peer          *peer   // the other end: of several forks the last heard of, then the one that answered
	forks         []*peer // early dialogs
	contact       func(f *sip.Flow) string

	flow  *sip.Flow
	named *sip.Flow // by the token in our last Contact, nil: none was given

	client    *transaction.Client // our first INVITE while it is unanswered
	server    *transaction.Server // theirs while it is unanswered
	invited   *transaction.Server // a re-INVITE of theirs is
	unacked   *unacked            // 2xx of ours without their ACK
	ack       *ack                // for the last 2xx of theirs
	byeReason string              // of our BYE
}

// ID is Call-ID, local tag, remote tag ("" before the first response).
func (d *Dialog) ID() (callID, local, remote string) { return d.callID, d.local, d.peer.tag }

// Flow is the flow the dialog's requests take, nil before the first.
func (d *Dialog) Flow() *sip.Flow {
	if d.flow == nil && d.client != nil {
		return d.client.Flow()
	}
	return d.flow
}

// Heard says that any response to our INVITE has come, 100 included.
func (d *Dialog) Heard() bool { return d.client == nil || d.client.Heard() }

// Confirmed says that a 2xx has made it a dialog that is not over.
func (d *Dialog) Confirmed() bool { return d.phase == confirmed }

// enter puts d into the table under the tag of p.
func (d *Dialog) enter(p *peer) { d.table.dialogs[key(d.table, d.callID, d.local, p.tag)] = d }

// leave takes d out from under the tag of p.
func (d *Dialog) leave(p *peer) {
	if at := key(d.table, d.callID, d.local, p.tag); d.table.dialogs[at] == d {
		delete(d.table.dialogs, at)
	}
}

// end says the last word to the leg. What is unanswered is answered.
func (d *Dialog) end(e End) {
	if d.phase >= closing {
		return
	}
	d.phase = closing
	d.table.live--
	d.answered()
	for _, tx := range [...]*transaction.Server{d.server, d.invited} {
		if tx != nil && !tx.Answered() {
			_ = tx.Reply(487) // a lost connection is why, then
		}
	}
	d.server, d.invited = nil, nil
	if !d.byes {
		d.gone()
	}
	events := d.events
	d.events = nil
	if e.Remote || e.Res != nil || e.Err != nil {
		events.Ended(e)
	} else {
		d.table.loop.Later(func() { events.Ended(e) }) // the leg did it: not within its own call
	}
}

// gone forgets the dialog.
func (d *Dialog) gone() {
	d.phase = over
	for u := d.unacked; u != nil; u = u.next {
		u.stop()
	}
	d.unacked = nil
	d.leave(d.peer)
	for _, p := range d.forks {
		d.leave(p)
	}
	d.forks = nil
}

// answered takes d from those that wait for the answer to a connection's INVITE.
func (d *Dialog) answered() {
	if d.flow == nil {
		return
	}
	if set := d.table.waiting[d.flow.Flow]; set != nil {
		if delete(set, d); len(set) == 0 {
			delete(d.table.waiting, d.flow.Flow)
		}
	}
}
