// Package dialog keeps tags, route sets, targets and the INVITE's own rules (RFC 3261
// 12-15): 2xx repeated until its ACK, ACK repeated for every 2xx, forks, glare.
// It runs on the loop and knows nothing of calls, SDP or users.
package dialog

import (
	"strings"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
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
// the dialog's so far. If not, the request is refused 403 and changes nothing.
type Guard interface {
	Admit(f *sip.Flow) bool
}

// End says why a dialog, early or confirmed, is over.
type End struct {
	Res    *sip.Message // the final response that refused our INVITE, else nil
	Req    *sip.Message // the BYE or CANCEL that ended it, else nil; it owns its bytes
	Err    error        // roam.Timeout, no ACK, a lost connection; else nil
	Remote bool         // the other end did it
}

// Table is all dialogs of one office: the Handler before the Mux.
type Table struct {
	loop    *loop.Loop
	tl      *transaction.Layer
	next    transaction.Handler
	log     zerolog.Logger
	dialogs map[string]*Dialog // by Call-ID, local and remote tag
	calls   map[string]*Dialog // INVITEs of ours by Call-ID and local tag, for their forks
}

// New makes a table. What belongs to no dialog goes to next; an in-dialog request
// (To tag) that matches none is answered 481.
func New(l *loop.Loop, tl *transaction.Layer, next transaction.Handler, log zerolog.Logger) *Table {
	t := &Table{loop: l, tl: tl, next: next, log: log, dialogs: map[string]*Dialog{}, calls: map[string]*Dialog{}}
	tl.Stray(t.stray)
	return t
}

// Len is the number of dialogs, early ones included.
func (t *Table) Len() int { return len(t.dialogs) + len(t.calls) }

func key(callID, local, remote string) string { return callID + "\x00" + local + "\x00" + remote }

// ServeSIP is transaction.Handler's (12.2.2).
func (t *Table) ServeSIP(tx *transaction.Server, req *sip.Message) error {
	local := req.ToTag()
	if local == "" {
		if req.Method() == sip.ACK {
			return nil
		}
		return t.next.ServeSIP(tx, req)
	}
	d := t.dialogs[key(req.CallID(), local, req.FromTag())]
	if d == nil || d.flow != nil && d.flow.Partner != req.Flow.Partner {
		if req.Method() == sip.ACK {
			return nil
		}
		return roam.NoDialog
	}
	if g, ok := d.events.(Guard); ok && d.flow != nil && d.flow.Flow != req.Flow.Flow && !g.Admit(req.Flow) {
		if req.Method() == sip.ACK {
			return nil
		}
		return roam.NotAllowed
	}
	return d.request(tx, req)
}

// stray takes a 2xx to an INVITE whose transaction is over: a repetition, or another fork (13.2.2.4).
func (t *Table) stray(res *sip.Message) {
	if d := t.dialogs[key(res.CallID(), res.FromTag(), res.ToTag())]; d != nil {
		if d.ack != nil && res.CSeq() == d.ackSeq {
			d.sendAck()
		}
		return
	}
	d := t.calls[key(res.CallID(), res.FromTag(), "")]
	if d == nil {
		return
	}
	fork := *d
	fork.events, fork.remote = nil, ""
	fork.confirm(res)
	fork.Ack("", nil)
	fork.Bye(0, "")
}

// Dialog is one dialog, or a call attempt that is to become one.
type Dialog struct {
	table  *Table
	events Events

	callID, local, remote string   // tags
	self, peer            string   // From and To of our requests, with their tags
	target                string   // remote target
	routes                []string // route set, first hop first
	contact               func(f *sip.Flow) string
	localSeq, remoteSeq   uint32
	to                    transaction.Destination // where the first request went, or came from
	flow                  *sip.Flow

	confirmed, over bool
	client          *transaction.Client // our INVITE while it is unanswered
	server          *transaction.Server // theirs while it is unanswered
	leaving         bool                // Bye was called before our INVITE was answered

	inviting bool                // a re-INVITE of ours is under way
	invited  *transaction.Server // a re-INVITE of theirs is
	waiting  map[uint32]*waiting // 2xx of ours without their ACK, by CSeq
	ack      func(w *sip.Writer, f *sip.Flow) error
	ackSeq   uint32
}

// ID is Call-ID, local tag, remote tag ("" before the first response).
func (d *Dialog) ID() (callID, local, remote string) { return d.callID, d.local, d.remote }

// Flow is the flow the dialog's requests take, nil before the first.
func (d *Dialog) Flow() *sip.Flow {
	if d.flow == nil && d.client != nil {
		return d.client.Flow()
	}
	return d.flow
}

// Heard says that any response to our INVITE has come, 100 included.
func (d *Dialog) Heard() bool { return d.client == nil || d.client.Heard() }

// Confirmed says that a 2xx has made it a dialog.
func (d *Dialog) Confirmed() bool { return d.confirmed && !d.over }

// destination is where an in-dialog request goes: down the flow the dialog uses while it
// lives, else where the route set or the remote target leads (12.2.1.1, RFC 5626 5.3).
func (d *Dialog) destination() transaction.Destination {
	next := d.target
	if len(d.routes) > 0 {
		if a, err := sip.ParseAddress([]byte(d.routes[0])); err == nil {
			next = a.Raw
		}
	}
	if d.flow != nil {
		if to, err := d.table.tl.Target(roam.Target{Flow: d.flow.Flow}); err == nil {
			return to
		}
	}
	u, err := sip.ParseURI([]byte(next))
	if err != nil {
		return d.to
	}
	return transaction.Destination{URI: u}
}

// write begins an in-dialog request: line, route set, From, To, Call-ID, CSeq, Max-Forwards (12.2.1.1).
func (d *Dialog) write(w *sip.Writer, method string, seq uint32) {
	uri, routes := d.target, d.routes
	if len(routes) > 0 {
		first, err := sip.ParseAddress([]byte(routes[0]))
		if _, loose := first.URI.Params.Get("lr"); err == nil && !loose { // a strict router
			uri = first.Raw
			routes = append(append([]string(nil), routes[1:]...), "<"+d.target+">")
		}
	}
	w.Request(method, uri)
	w.AddInt(sip.MaxForwards, 70)
	for _, r := range routes {
		w.Add(sip.Route, r)
	}
	w.Add(sip.From, d.self)
	w.Add(sip.To, d.peer)
	w.Add(sip.CallID, d.callID)
	w.Add(sip.CSeq, cseq(seq, method))
}

// learn takes tag, route set and target from the first message that makes a dialog (12.1).
func (d *Dialog) learn(m *sip.Message, reverse bool) {
	d.routes = d.routes[:0:0]
	for r := range m.Values(sip.RecordRoute) {
		d.routes = append(d.routes, string(r))
	}
	if reverse {
		for i, j := 0, len(d.routes)-1; i < j; i, j = i+1, j-1 {
			d.routes[i], d.routes[j] = d.routes[j], d.routes[i]
		}
	}
	d.refresh(m)
}

// refresh takes the remote target from Contact (12.2.1.2, 12.2.2).
func (d *Dialog) refresh(m *sip.Message) {
	for c := range m.Values(sip.Contact) {
		if a, err := sip.ParseAddress(c); err == nil && !a.Star {
			d.target = a.Raw
		}
		return
	}
}

// end says the last word to the leg and forgets the dialog.
func (d *Dialog) end(e End) {
	if d.over {
		return
	}
	d.over = true
	for _, w := range d.waiting {
		w.stop()
	}
	delete(d.table.dialogs, key(d.callID, d.local, d.remote))
	if d.invited != nil && !d.invited.Answered() {
		d.invited.Reply(487)
	}
	if d.events != nil {
		d.events.Ended(e)
	}
}

// ended is end in a later moment of this turn, for what the leg did itself.
func (d *Dialog) ended(e End) {
	if !d.over {
		events := d.events
		d.events = nil
		d.end(e)
		if events != nil {
			d.table.loop.Later(func() { events.Ended(e) })
		}
	}
}

// withTag is an address as From or To with our or their tag.
func withTag(a sip.Address, tag string) string {
	a.Params = ""
	s := a.String()
	if tag != "" {
		s += ";tag=" + tag
	}
	return s
}

func newCallID() string { return strings.ToLower(transaction.NewTag() + transaction.NewTag()) }
