package dialog

import (
	"math/rand/v2"
	"strconv"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// request takes a request of this dialog (12.2.2). An error is the answer.
func (d *Dialog) request(tx *transaction.Server, req *sip.Message) error {
	if err := d.admit(req); err != nil {
		return err
	}
	p := d.from(req)
	if req.Method() == sip.ACK {
		d.moved(req.Flow)
		if d.acked(req.CSeq()) && d.events != nil {
			d.events.Request(nil, req)
		}
		return nil
	}
	if req.CSeq() < p.seq {
		return roam.Stale
	}
	p.seq = req.CSeq()
	if d.table.required != nil {
		if err := d.table.required(req); err != nil {
			return err
		}
	}
	d.moved(req.Flow)
	switch {
	case req.Method() == sip.BYE:
		return d.bye(tx, req)
	case d.phase >= closing:
		return roam.NoDialog
	case req.Method() == sip.INVITE:
		return d.reinvite(tx)
	}
	d.events.Request(tx, req)
	return nil
}

// admit asks whether who sent req may speak for the other end.
func (d *Dialog) admit(req *sip.Message) error {
	f := req.Flow
	switch {
	case d.flow == nil || d.flow.Flow == f.Flow:
		return nil
	case d.flow.Office() != f.Office():
		return roam.NoDialog
	}
	if g, asked := d.events.(Guard); asked && !g.Admit(f, d.proof(req)) {
		return roam.NotAllowed
	}
	return nil
}

// moved follows a phone whose port, connection or address has changed (RFC 5626).
func (d *Dialog) moved(f *sip.Flow) {
	if d.server == nil { // an answer goes back by the INVITE's own flow
		d.flow = f
	}
}

// from is the fork that sent req.
func (d *Dialog) from(req *sip.Message) *peer {
	tag, _ := req.Tags()
	for _, p := range d.forks {
		if p.tag == string(tag) {
			return p
		}
	}
	return d.peer
}

// bye takes the other end's BYE (15.1.2). While our INVITE is unanswered it ends nothing: an early dialog
// is not for the callee to end so.
func (d *Dialog) bye(tx *transaction.Server, req *sip.Message) error {
	if d.client != nil {
		return roam.NoDialog
	}
	err := tx.Reply(200)
	d.end(End{Req: req, Remote: true})
	if d.byes && d.unacked != nil { // ours is needless now
		d.byes = false
		d.gone()
	}
	return err
}

// reinvite holds a re-INVITE and hands it to the leg, unless another is under way (14.2).
func (d *Dialog) reinvite(tx *transaction.Server) error {
	switch {
	case d.pending() || d.server != nil:
		after := strconv.Itoa(rand.IntN(11))
		return &sip.Refused{Why: roam.Stale, Code: 500, Reason: "Another INVITE Is Under Way", Fields: []sip.Field{{Name: sip.RetryAfter, Value: after}}}
	case d.inviting || d.client != nil:
		return &sip.Refused{Why: roam.TooBusy, Code: 491, Fields: []sip.Field{}}
	}
	d.invited = tx.Hold()
	tx.OnCancel(func(*sip.Message) { _ = d.Respond(tx, Answer{Code: 487}) })
	d.events.Request(tx, tx.Request())
	return nil
}

// pending says that a re-INVITE of theirs is unanswered; the leg may have refused it with tx.Refuse.
func (d *Dialog) pending() bool {
	if d.invited != nil && d.invited.Answered() {
		d.invited = nil
	}
	return d.invited != nil
}

// Request sends an in-dialog request. on gets each response but 100, or an error
// (481, 408 and a timeout end the dialog, after on). For INVITE, a 2xx needs Ack.
// Two INVITEs at once are refused with roam.TooBusy at once (14.1); the caller waits and repeats.
func (d *Dialog) Request(method sip.Method, a Answer, on func(res *sip.Message, err error)) {
	invite := method == sip.INVITE
	if err := d.mayAsk(invite); err != nil {
		d.table.loop.Later(func() { on(nil, err) })
		return
	}
	d.seq++
	d.inviting = d.inviting || invite
	seq, p := d.seq, d.peer
	d.table.tl.Request(d.destination(p), func(w *sip.Writer, f *sip.Flow) error {
		d.write(w, p, method, seq)
		if hasContact(method) {
			d.addContact(w, f)
		}
		w.AddFields(a.Fields)
		return w.End(a.Type, a.Body)
	}, func(res *sip.Message, err error) {
		d.answeredTo(method, seq, p, res, err)
		on(res, err)
		d.lost(res, err)
	})
}

// mayAsk says why no request can be sent now.
func (d *Dialog) mayAsk(invite bool) error {
	switch {
	case d.phase >= closing || d.peer.tag == "" && d.phase == early:
		return roam.NoDialog
	case invite && (d.inviting || d.phase == early || d.pending()):
		return roam.TooBusy
	}
	return nil
}

// answeredTo notes what a response changes: the target, and the 2xx that wants its ACK.
func (d *Dialog) answeredTo(method sip.Method, seq uint32, p *peer, res *sip.Message, err error) {
	if err == nil && res.Status() < 200 {
		return
	}
	if method == sip.INVITE {
		d.inviting = false
	}
	if err != nil || res.Status() >= 300 {
		return
	}
	if hasContact(method) {
		p.refresh(res) // 12.2.1.2
	}
	if method == sip.INVITE {
		if d.ack = (&ack{seq: seq}); d.phase >= closing { // the leg is gone: its BYE is on the way
			d.Ack("", nil)
		}
	}
}

// lost ends a dialog that the other end does not know, or that does not answer (12.2.1.2).
func (d *Dialog) lost(res *sip.Message, err error) {
	switch {
	case d.phase != confirmed:
	case err == roam.Timeout:
		d.sendBye(`SIP;cause=408`) // it may hear us all the same
		d.end(End{Err: err, Remote: true})
	case err == nil && res.Status() == 408:
		d.sendBye(`SIP;cause=408`)
		d.end(End{Res: res, Remote: true})
	case err == nil && res.Status() == 481:
		d.end(End{Res: res, Remote: true})
	}
}
