package dialog

import (
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// State is a confirmed dialog as a value, for an office that is started again to take the call over.
type State struct {
	Version   int       `json:"v"`
	CallID    string    `json:"call_id"`
	Local     string    `json:"local"`  // tag
	Remote    string    `json:"remote"` // tag
	From      string    `json:"from"`   // of our requests, with the tag
	To        string    `json:"to"`
	Target    string    `json:"target"`
	Routes    []string  `json:"routes,omitempty"`
	Seq       uint32    `json:"seq"`
	RemoteSeq uint32    `json:"remote_seq"`
	Contact   string    `json:"contact"`
	Flow      roam.Flow `json:"flow"`
	ByFlow    bool      `json:"by_flow,omitempty"` // reached by its flow rather than by its Contact
}

// seqGap is left for requests sent after the State was saved: CSeq must only grow (12.2.1.1).
const seqGap = 1000

// State is the dialog as a value; found is false unless it is confirmed.
func (d *Dialog) State() (s State, found bool) {
	if d.phase != confirmed || d.flow == nil {
		return State{}, false
	}
	p := d.peer
	return State{Version: 1, CallID: d.callID, Local: d.local, Remote: p.tag, From: d.self, To: p.addr, Target: p.target,
		Routes: p.routes, Seq: d.seq, RemoteSeq: p.seq, Contact: d.contactOn(d.flow), Flow: d.flow.Flow, ByFlow: d.byFlow}, true
}

// Restore takes up a dialog. A connection it went by is gone with the process: until the
// other end comes by a new one, requests go to its Contact.
func (t *Table) Restore(s State, e Events) *Dialog {
	p := &peer{tag: s.Remote, addr: s.To, target: s.Target, routes: s.Routes, seq: s.RemoteSeq}
	d := &Dialog{table: t, events: e, phase: confirmed, callID: s.CallID, local: s.Local, self: s.From, peer: p, seq: s.Seq + seqGap,
		byFlow: s.ByFlow, contact: func(*sip.Flow) string { return s.Contact }}
	if to, err := t.tl.Target(roam.Target{Flow: s.Flow}); err == nil {
		d.flow = to.Flow
	}
	t.live++
	d.enter(p)
	return d
}
