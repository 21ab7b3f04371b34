package dialog

import (
	"time"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// Accept begins the UAS side of an INVITE: it holds tx and answers 100. contact is our Contact, "" for
// the one on tx's flow.
func (t *Table) Accept(tx *transaction.Server, contact string, e Events) *Dialog {
	req := tx.Hold().Request()
	d := &Dialog{table: t, events: e, callID: req.CallID(), local: tx.ToTag(), self: string(req.Value(sip.To)) + ";tag=" + tx.ToTag(),
		peer: ofRequest(req), flow: tx.Flow(), byFlow: true, server: tx}
	if contact != "" {
		d.contact = func(*sip.Flow) string { return contact }
	}
	t.live++
	d.enter(d.peer)
	if f := d.flow.Flow; f.Transport.Stream() {
		if t.waiting[f] == nil {
			t.waiting[f] = map[*Dialog]struct{}{}
		}
		t.waiting[f][d] = struct{}{}
	}
	tx.OnCancel(func(cancel *sip.Message) { d.end(End{Req: cancel, Remote: true}) })
	return d
}

// Answer is what we answer to an INVITE or another in-dialog request.
type Answer struct {
	Code   int
	Reason string // "": the standard phrase
	Fields []sip.Field
	Type   string
	Body   []byte
}

// Respond answers tx, the initial INVITE or a later request of this dialog. A 2xx to
// an INVITE is repeated until its ACK (T1 doubling to T2); without one for 64*T1 the dialog
// sends BYE and ends. A refusal of the initial INVITE ends the dialog.
func (d *Dialog) Respond(tx *transaction.Server, a Answer) error {
	if tx.Answered() {
		return transaction.ErrAnswered
	}
	req := tx.Request()
	w := tx.Start(a.Code, a.Reason)
	if a.Code > 100 && a.Code < 300 { // 12.1.1
		if req.Method() == sip.INVITE {
			w.Copy(req, sip.RecordRoute)
		}
		if hasContact(req.Method()) {
			d.addContact(w, tx.Flow())
		}
	}
	w.AddFields(a.Fields)
	if err := w.End(a.Type, a.Body); err != nil {
		return err
	}
	err := tx.Respond(w)
	if tx.Answered() {
		d.said(tx, req, a.Code)
	}
	return err
}

// said notes a final answer of ours.
func (d *Dialog) said(tx *transaction.Server, req *sip.Message, code int) {
	ok := code < 300
	first := tx == d.server
	if tx == d.invited {
		d.invited = nil
	}
	if ok && !first && hasContact(req.Method()) {
		d.from(req).refresh(req) // 12.2.2
	}
	if ok && req.Method() == sip.INVITE {
		d.awaitAck(tx, req.CSeq())
	}
	if !first {
		return
	}
	d.server = nil
	d.answered()
	if ok {
		d.phase = confirmed
	} else {
		d.end(End{})
	}
}

// unacked is a 2xx of ours that wants its ACK (13.3.1.4).
type unacked struct {
	d           *Dialog
	seq         uint32 // CSeq
	tx          *transaction.Server
	repeat, end loop.Timer
	wait        time.Duration // repeat's latest
	next        *unacked
}

func (u *unacked) stop() {
	u.repeat.Stop()
	u.end.Stop()
}

func (d *Dialog) awaitAck(tx *transaction.Server, seq uint32) {
	u := &unacked{d: d, seq: seq, tx: tx, wait: transaction.T1, next: d.unacked}
	d.unacked = u
	d.table.loop.Set(&u.repeat, u.wait, u)
	d.table.loop.Set(&u.end, 64*transaction.T1, u)
}

// Alarm is loop.Alarm's.
func (u *unacked) Alarm(t *loop.Timer) {
	if t == &u.end {
		u.d.noAck(u.seq)
		return
	}
	u.tx.Repeat()
	u.wait = min(2*u.wait, transaction.T2)
	u.d.table.loop.Set(&u.repeat, u.wait, u)
}

// noAck ends a dialog whose 2xx nobody confirmed.
func (d *Dialog) noAck(seq uint32) {
	d.acked(seq)
	if d.phase == confirmed {
		d.sendBye(`SIP;cause=408;text="no ACK"`)
		d.end(End{Err: roam.Timeout, Remote: true})
	}
}

// acked takes the ACK to a 2xx, or its time's end; found is false for a repetition. A BYE that had to
// wait for it goes now (15).
func (d *Dialog) acked(seq uint32) (found bool) {
	at := &d.unacked
	for *at != nil && (*at).seq != seq {
		at = &(*at).next
	}
	u := *at
	if u == nil {
		return false
	}
	u.stop()
	*at = u.next
	if d.byes && d.unacked == nil && d.phase == closing {
		d.sendBye(d.byeReason)
	}
	return true
}
