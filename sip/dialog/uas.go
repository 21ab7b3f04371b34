package dialog

import (
	"time"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// Answer is what we answer to an INVITE or another in-dialog request.
type Answer struct {
	Code   int
	Reason string // "": the standard phrase
	Fields []sip.Field
	Type   string
	Body   []byte
}

// Accept begins the UAS side of an INVITE: it holds tx and answers 100. contact is our Contact, "" for
// the one on tx's flow.
func (t *Table) Accept(tx *transaction.Server, contact string, e Events) *Dialog {
	tx.Hold()
	req := tx.Request()
	if contact == "" {
		contact = ContactOn(tx.Flow())
	}
	d := &Dialog{table: t, events: e, callID: req.CallID(), local: tx.ToTag(), remote: req.FromTag(), flow: tx.Flow(),
		peer: string(req.Value(sip.From)), self: string(req.Value(sip.To)) + ";tag=" + tx.ToTag(), remoteSeq: req.CSeq(), server: tx,
		contact: func(*sip.Flow) string { return contact }, to: transaction.Destination{Flow: tx.Flow()}}
	d.learn(req, false)
	t.dialogs[key(d.callID, d.local, d.remote)] = d
	tx.OnCancel(func(cancel *sip.Message) {
		tx.Reply(487)
		d.server = nil
		d.end(End{Req: cancel.Keep(), Remote: true})
	})
	return d
}

// waiting is a 2xx of ours that wants its ACK (13.3.1.4).
type waiting struct {
	tx          *transaction.Server
	repeat, end *loop.Timer
}

func (w *waiting) stop() {
	w.repeat.Stop()
	w.end.Stop()
}

// Respond answers tx, the initial INVITE or a later request of this dialog. A 2xx to
// an INVITE is repeated until its ACK (T1 doubling to T2); without one for 64*T1 the dialog
// sends BYE and ends.
func (d *Dialog) Respond(tx *transaction.Server, a Answer) error {
	w := tx.Start(a.Code, a.Reason)
	req := tx.Request()
	makes := a.Code > 100 && a.Code < 300
	if makes && (req.Method() == sip.INVITE || req.Method() == sip.UPDATE) {
		w.Copy(req, sip.RecordRoute)
		w.Add(sip.Contact, d.contactOn(tx.Flow()))
	}
	w.AddFields(a.Fields)
	if err := w.End(a.Type, a.Body); err != nil {
		return err
	}
	if err := tx.Respond(w); err == transaction.ErrAnswered {
		return err
	}
	if a.Code < 200 {
		return nil
	}
	if req.Method() == sip.INVITE && a.Code < 300 {
		d.awaitAck(tx, req.CSeq())
	}
	if tx == d.invited {
		d.invited = nil
		if a.Code < 300 {
			d.refresh(req)
		}
	}
	if tx == d.server {
		d.server = nil
		if d.confirmed = a.Code < 300; !d.confirmed {
			d.ended(End{})
		}
	}
	return nil
}

func (d *Dialog) awaitAck(tx *transaction.Server, seq uint32) {
	if d.waiting == nil {
		d.waiting = map[uint32]*waiting{}
	}
	w := &waiting{tx: tx}
	d.waiting[seq] = w
	w.again(d.table.loop, transaction.T1)
	w.end = d.table.loop.After(64*transaction.T1, func() {
		w.stop()
		delete(d.waiting, seq)
		events := d.events
		d.events = nil
		d.Bye(0, `SIP;cause=408;text="no ACK"`)
		if events != nil {
			events.Ended(End{Err: roam.Timeout, Remote: true})
		}
	})
}

func (w *waiting) again(l *loop.Loop, after time.Duration) {
	w.repeat = l.After(after, func() {
		w.tx.Repeat()
		w.again(l, min(2*after, transaction.T2))
	})
}

// asked says that a re-INVITE of theirs waits for its answer, which may also come by tx.Refuse.
func (d *Dialog) asked() bool { return d.invited != nil && !d.invited.Answered() }

// request takes a request of this dialog (12.2.2).
func (d *Dialog) request(tx *transaction.Server, req *sip.Message) error {
	d.flow = req.Flow // a phone may have come back by another way
	if req.Method() == sip.ACK {
		if w := d.waiting[req.CSeq()]; w != nil {
			w.stop()
			delete(d.waiting, req.CSeq())
			d.events.Request(nil, req)
		}
		return nil
	}
	if req.CSeq() < d.remoteSeq {
		return roam.Stale
	}
	d.remoteSeq = req.CSeq()
	switch req.Method() {
	case sip.BYE: // 15.1.2
		tx.Reply(200)
		if d.server != nil && !d.server.Answered() {
			d.server.Reply(487)
		}
		d.end(End{Req: req.Keep(), Remote: true})
		return nil
	case sip.INVITE: // 14.2
		if d.asked() || d.server != nil {
			return &sip.Refused{Why: roam.Stale, Code: 500, Fields: []sip.Field{{Name: sip.RetryAfter, Value: "3"}}}
		}
		if d.inviting {
			return &sip.Refused{Why: roam.TooBusy, Code: 491}
		}
		d.invited = tx.Hold()
		tx.OnCancel(func(*sip.Message) { d.Respond(tx, Answer{Code: 487}) })
		req = tx.Request()
	case sip.UPDATE:
		d.refresh(req)
	}
	d.events.Request(tx, req)
	return nil
}
