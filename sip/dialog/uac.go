package dialog

import (
	"strconv"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/transaction"
)

// Invite is what an INVITE of ours says.
type Invite struct {
	To      transaction.Destination
	URI     string                   // Request-URI
	Route   []string                 // preloaded Route, Path of the binding
	From    sip.Address              // without tag
	ToAddr  sip.Address              // without tag
	CallID  string                   // "": a new one
	Max     uint32                   // Max-Forwards; 0: 70
	Contact func(f *sip.Flow) string // our Contact on that flow; nil: <sip:Here>
	Fields  []sip.Field
	Type    string // Content-Type, "" without a body
	Body    []byte
}

// Invite sends an INVITE. Of its forks the first 2xx wins; others are acknowledged and ended.
func (t *Table) Invite(in Invite, e Events) *Dialog {
	d := &Dialog{table: t, events: e, callID: in.CallID, local: transaction.NewTag(), target: in.URI, contact: in.Contact, to: in.To, flow: in.To.Flow, localSeq: 1}
	if d.callID == "" {
		d.callID = newCallID()
	}
	d.self, d.peer = withTag(in.From, d.local), withTag(in.ToAddr, "")
	if in.Max == 0 {
		in.Max = 70
	}
	t.calls[key(d.callID, d.local, "")] = d
	d.client = t.tl.Request(in.To, func(w *sip.Writer, f *sip.Flow) error {
		w.Request("INVITE", in.URI)
		w.AddInt(sip.MaxForwards, int64(in.Max))
		for _, r := range in.Route {
			w.Add(sip.Route, r)
		}
		w.Add(sip.From, d.self)
		w.Add(sip.To, d.peer)
		w.Add(sip.CallID, d.callID)
		w.Add(sip.CSeq, cseq(d.localSeq, "INVITE"))
		w.Add(sip.Contact, d.contactOn(f))
		w.AddFields(in.Fields)
		return w.End(in.Type, in.Body)
	}, d.answer)
	return d
}

func (d *Dialog) contactOn(f *sip.Flow) string {
	if d.contact != nil {
		return d.contact(f)
	}
	return ContactOn(f)
}

// ContactOn is our Contact as the other end of f reaches us.
func ContactOn(f *sip.Flow) string {
	switch f.Transport {
	case roam.UDP, roam.NoTransport:
		return "<sip:" + f.Here + ">"
	case roam.TCP:
		return "<sip:" + f.Here + ";transport=tcp>"
	case roam.TLS:
		return "<sip:" + f.Here + ";transport=tls>"
	}
	return "<sip:" + f.Here + ";transport=ws>"
}

// answer takes the responses to our first INVITE (13.2.2).
func (d *Dialog) answer(res *sip.Message, err error) {
	switch {
	case err != nil:
		d.forget()
		d.end(End{Err: err, Remote: !d.leaving})
	case res.Status() < 200:
		if d.events != nil && !d.leaving {
			d.events.Progress(res)
		}
	case res.Status() < 300:
		// Other forks may answer for a while (13.2.2.4).
		d.table.loop.After(64*transaction.T1, d.forget)
		d.confirm(res)
		if d.leaving { // CANCEL and 200 crossed (15)
			d.Ack("", nil)
			d.Bye(0, "")
			return
		}
		d.events.Progress(res)
	default:
		d.forget()
		d.end(End{Res: res, Remote: !d.leaving})
	}
}

// forget stops taking forks.
func (d *Dialog) forget() { delete(d.table.calls, key(d.callID, d.local, "")) }

// confirm makes the dialog of a 2xx (12.1.2).
func (d *Dialog) confirm(res *sip.Message) {
	d.client, d.confirmed, d.over = nil, true, false
	d.remote = res.ToTag()
	d.peer = string(res.Value(sip.To))
	d.flow = res.Flow
	d.learn(res, true)
	d.ackSeq, d.ack = res.CSeq(), nil
	d.table.dialogs[key(d.callID, d.local, d.remote)] = d
}

// Ack acknowledges the latest 2xx of our INVITE or re-INVITE; it is repeated for each repetition of that 2xx.
func (d *Dialog) Ack(contentType string, body []byte) {
	seq := d.ackSeq
	d.ack = func(w *sip.Writer, _ *sip.Flow) error {
		d.write(w, "ACK", seq)
		return w.End(contentType, body)
	}
	d.sendAck()
}

func (d *Dialog) sendAck() { d.table.tl.Ack(d.destination(), d.ack) }

// Request sends an in-dialog request. on gets each response but 100, or an error
// (481, 408 and a timeout end the dialog, after on). For INVITE, a 2xx needs Ack.
// Two INVITEs at once are refused with roam.TooBusy at once (14.1); the caller waits and repeats.
func (d *Dialog) Request(method sip.Method, a Answer, on func(res *sip.Message, err error)) {
	if d.over || method == sip.INVITE && (d.inviting || d.asked()) {
		d.table.loop.Later(func() { on(nil, roam.TooBusy) })
		return
	}
	d.localSeq++
	seq := d.localSeq
	d.inviting = d.inviting || method == sip.INVITE
	d.table.tl.Request(d.destination(), func(w *sip.Writer, f *sip.Flow) error {
		d.write(w, method.String(), seq)
		if method == sip.INVITE || method == sip.UPDATE {
			w.Add(sip.Contact, d.contactOn(f))
		}
		w.AddFields(a.Fields)
		return w.End(a.Type, a.Body)
	}, func(res *sip.Message, err error) {
		final := err != nil || res.Status() >= 200
		if final && method == sip.INVITE {
			d.inviting = false
		}
		if err == nil && res.Status()/100 == 2 && (method == sip.INVITE || method == sip.UPDATE) {
			d.refresh(res)
			if method == sip.INVITE {
				d.ackSeq, d.ack = seq, nil
			}
		}
		on(res, err)
		if err != nil && !d.over {
			d.end(End{Err: err})
		} else if err == nil && (res.Status() == 481 || res.Status() == 408) { // 12.2.1.2
			d.end(End{Res: res, Remote: true})
		}
	})
}

// Bye ends the dialog: BYE when confirmed, CANCEL when our INVITE is unanswered, the
// status code when the other end's is. reason is a Reason header's value or "". Ended
// comes with Remote false: after a CANCEL with the INVITE's final response, else in this turn.
func (d *Dialog) Bye(code int, reason string) {
	switch {
	case d.over:
	case d.client != nil:
		if !d.leaving {
			d.leaving = true
			d.client.Cancel(reason)
		}
	case d.server != nil:
		if code < 300 {
			code = 480
		}
		var fields []sip.Field
		if reason != "" {
			fields = []sip.Field{{Name: sip.Reason, Value: reason}}
		}
		d.Respond(d.server, Answer{Code: code, Fields: fields})
	default:
		d.localSeq++
		seq := d.localSeq
		d.table.tl.Request(d.destination(), func(w *sip.Writer, _ *sip.Flow) error {
			d.write(w, "BYE", seq)
			if reason != "" {
				w.Add(sip.Reason, reason)
			}
			return w.End("", nil)
		}, func(*sip.Message, error) {})
		d.ended(End{})
	}
}

// cseq is a CSeq's value.
func cseq(n uint32, method string) string {
	return strconv.FormatUint(uint64(n), 10) + " " + method
}
