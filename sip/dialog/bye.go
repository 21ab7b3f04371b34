package dialog

import (
	"github.com/siproam/siproam/sip"
)

// Bye ends the dialog: BYE when confirmed, CANCEL when our INVITE is unanswered, the
// status code when the other end's is. reason is a Reason header's value or "". Ended
// comes with Remote false: after a CANCEL with the INVITE's final response, else at the end of this turn.
func (d *Dialog) Bye(code int, reason string) {
	switch {
	case d.phase >= closing || d.leaving:
	case d.client != nil:
		d.leaving = true
		d.client.Cancel(reason)
	case d.server != nil:
		if code < 300 {
			code = 480
		}
		var fields []sip.Field
		if reason != "" {
			fields = []sip.Field{{Name: sip.Reason, Value: reason}}
		}
		if d.Respond(d.server, Answer{Code: code, Fields: fields}) != nil && d.phase == early {
			d.end(End{}) // answered, or its connection is gone
		}
	default:
		d.hangUp(reason)
	}
}

// hangUp sends what a confirmed dialog needs to end: the ACK the leg owes, and BYE. A UAS
// sends its BYE once its 2xx is acknowledged, or that has taken too long (15).
func (d *Dialog) hangUp(reason string) {
	if d.ack != nil && !d.ack.written {
		d.Ack("", nil)
	}
	if d.byes, d.byeReason = true, reason; d.unacked == nil {
		d.sendBye(reason)
	}
	d.end(End{})
}

// sendBye sends the BYE. The dialog stays in the table until it is answered, for the
// other end's BYE may cross it.
func (d *Dialog) sendBye(reason string) {
	d.byes = true
	d.seq++
	seq, p := d.seq, d.peer
	d.table.tl.Request(d.destination(p), func(w *sip.Writer, _ *sip.Flow) error {
		d.write(w, p, sip.BYE, seq)
		if reason != "" {
			w.Add(sip.Reason, reason)
		}
		return w.End("", nil)
	}, func(res *sip.Message, err error) {
		if err != nil || res.Status() >= 200 {
			d.gone()
		}
	})
}
