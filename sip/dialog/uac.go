package dialog

import (
	"slices"

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
	Allow   func(f *sip.Flow) error // whether it may go by that flow; nil: by any
	Type    string                  // Content-Type, "" without a body
	Body    []byte
	Offer   func(f *sip.Flow) ([]byte, error) // the body for the flow that the INVITE goes by, as often as one is tried; nil: Body
}

// forksMost is how many early dialogs one INVITE may make; further ones are heard, but not kept.
const forksMost = 32

// Invite sends an INVITE. Of its forks the first 2xx wins; others are acknowledged and ended.
func (t *Table) Invite(in Invite, e Events) *Dialog {
	d := &Dialog{table: t, events: e, callID: in.CallID, local: transaction.NewTag(), contact: in.Contact, seq: 1,
		flow: in.To.Flow, byFlow: in.To.Flow != nil, peer: &peer{target: in.URI, addr: withTag(in.ToAddr, ""), routes: in.Route}}
	if d.callID == "" {
		d.callID = transaction.NewCallID()
	}
	d.self = withTag(in.From, d.local)
	max := in.Max
	if max == 0 {
		max = 70
	}
	t.live++
	d.client = t.tl.Request(in.To, func(w *sip.Writer, f *sip.Flow) error {
		if in.Allow != nil {
			if err := in.Allow(f); err != nil {
				return err
			}
		}
		uri, routes, _ := d.peer.route()
		w.Request("INVITE", uri)
		w.AddInt(sip.MaxForwards, int64(max))
		for _, r := range routes {
			w.Add(sip.Route, r)
		}
		w.Add(sip.From, d.self)
		w.Add(sip.To, d.peer.addr)
		w.Add(sip.CallID, d.callID)
		w.AddCSeq(1, "INVITE")
		d.addContact(w, f)
		w.AddFields(in.Fields)
		body := in.Body
		if in.Offer != nil {
			var err error
			if body, err = in.Offer(f); err != nil {
				return err
			}
		}
		return w.End(in.Type, body)
	}, d.answer)
	return d
}

// withTag is an address as From or To, with a tag.
func withTag(a sip.Address, tag string) string {
	a.Params = ""
	if tag != "" {
		a.Params = sip.Params("tag=" + tag)
	}
	return a.String()
}

// answer takes the responses to our first INVITE (13.2.2).
func (d *Dialog) answer(res *sip.Message, err error) {
	if err == nil && res.Status() < 200 {
		d.progress(res)
		return
	}
	d.client = nil
	d.table.forked.Put(key(d.table, d.callID, d.local, ""), struct{}{})
	switch {
	case err != nil:
		d.end(End{Err: err, Remote: !d.leaving})
	case res.Status() >= 300:
		d.end(End{Res: res, Remote: !d.leaving})
	default:
		d.accepted(res)
	}
}

// progress makes or keeps the early dialog of a 101-199 (12.1.2).
func (d *Dialog) progress(res *sip.Message) {
	if _, tag := res.Tags(); len(tag) > 0 && d.phase == early {
		i := slices.IndexFunc(d.forks, func(p *peer) bool { return p.tag == string(tag) })
		switch {
		case i >= 0:
			d.peer = d.forks[i]
			d.peer.refresh(res)
		case len(d.forks) < forksMost:
			d.peer = ofResponse(res, d.peer.target)
			d.forks = append(d.forks, d.peer)
			d.enter(d.peer)
		}
		d.heardFrom(res.Flow)
	}
	if d.events != nil && !d.leaving {
		d.events.Progress(res)
	}
}

// accepted takes the first 2xx: the other early dialogs are over, the route set is the
// 2xx's (13.2.2.4).
func (d *Dialog) accepted(res *sip.Message) {
	var p *peer
	_, tag := res.Tags()
	for _, f := range d.forks {
		if f.tag == string(tag) {
			p = f
			p.answered(res)
		} else {
			d.leave(f)
		}
	}
	if p == nil {
		p = ofResponse(res, d.peer.target)
		d.enter(p)
	}
	d.forks, d.peer = nil, p
	d.heardFrom(res.Flow)
	d.phase = confirmed
	d.ack = &ack{seq: res.CSeq()}
	if d.leaving { // CANCEL and 200 crossed (15)
		d.hangUp("")
		return
	}
	d.events.Progress(res)
}

// heardFrom notes the flow that is alive.
func (d *Dialog) heardFrom(f *sip.Flow) {
	if f != nil {
		d.flow = f
	}
}

// ack is the ACK to a 2xx. It keeps what it was written with, so that it can be repeated.
type ack struct {
	seq     uint32
	written bool
	target  string
	answer  *body // to a late offer; nil: none
}

// body is a body and its Content-Type.
type body struct {
	kind string
	b    []byte
}

// Ack acknowledges the latest 2xx of our INVITE or re-INVITE; it is repeated for each repetition of that 2xx.
func (d *Dialog) Ack(contentType string, b []byte) {
	if d.ack == nil || d.phase == over {
		return
	}
	*d.ack = ack{seq: d.ack.seq, written: true, target: d.peer.target}
	if contentType != "" {
		d.ack.answer = &body{contentType, slices.Clone(b)}
	}
	d.sendAck(d.peer, d.ack)
}

func (d *Dialog) sendAck(to *peer, a *ack) {
	p := *to
	p.target = a.target
	d.table.tl.Ack(d.destination(&p), func(w *sip.Writer, _ *sip.Flow) error {
		d.write(w, &p, sip.ACK, a.seq)
		if a.answer == nil {
			return w.End("", nil)
		}
		return w.End(a.answer.kind, a.answer.b)
	})
}

// stray takes a 2xx to an INVITE that no transaction waits for: a repetition, whose ACK
// was lost, or another fork, which lost (13.2.2.4). Others' 2xx are ignored: an answer
// to them would let strangers have us send requests.
func (t *Table) stray(res *sip.Message) {
	callID := res.Value(sip.CallID)
	local, remote := res.Tags()
	at := key(t, callID, local, remote)
	if d := t.dialogs[at]; d != nil && d.phase != early {
		if d.ack != nil && d.ack.seq == res.CSeq() && d.ack.written {
			d.sendAck(d.peer, d.ack)
		}
		return
	}
	_, ours := t.forked.Get(key(t, callID, local, nil))
	p := ofResponse(res, "")
	if !ours || res.CSeq() != 1 || p.target == "" {
		return
	}
	d := &Dialog{table: t, phase: over, callID: string(callID), local: string(local), self: string(res.Value(sip.From)), peer: p, // it has no leg
		flow: res.Flow, byFlow: true}
	d.sendAck(p, &ack{seq: 1, target: p.target})
	if _, ending := t.forked.Get(at); ending {
		return // its BYE is under way
	}
	t.forked.Put(at, struct{}{})
	t.tl.Request(d.destination(p), func(w *sip.Writer, _ *sip.Flow) error {
		d.write(w, p, sip.BYE, 2)
		return w.End("", nil)
	}, func(*sip.Message, error) {})
}
