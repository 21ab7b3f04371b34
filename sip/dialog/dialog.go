// Package dialog keeps tags, route sets, targets and the INVITE's own rules (RFC 3261
// 12-15): 2xx repeated until its ACK, ACK repeated for every 2xx, forks, glare.
// It runs on the loop and knows nothing of calls, SDP or users.
package dialog

import (
	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
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

// End says why a dialog, early or confirmed, is over.
type End struct {
	Res    *sip.Message // the final response that refused our INVITE, else nil
	Req    *sip.Message // the BYE or CANCEL that ended it, else nil
	Err    error        // roam.Timeout, no ACK, a lost connection; else nil
	Remote bool         // the other end did it
}

// Table is all dialogs of one office: the Handler before the Mux.
type Table struct{}

// New makes a table. What belongs to no dialog goes to next; an in-dialog request
// (To tag) that matches none is answered 481.
func New(l *loop.Loop, tl *transaction.Layer, next transaction.Handler, log zerolog.Logger) *Table {
	panic("dialog: not built")
}

// ServeSIP is transaction.Handler's.
func (t *Table) ServeSIP(tx *transaction.Server, req *sip.Message) error {
	panic("dialog: not built")
}

// Len is the number of dialogs, early ones included.
func (t *Table) Len() int { panic("dialog: not built") }

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

// Dialog is one dialog, or a call attempt that is to become one.
type Dialog struct{}

// Invite sends an INVITE. Of its forks the first 2xx wins; others are acknowledged and ended.
func (t *Table) Invite(in Invite, e Events) *Dialog { panic("dialog: not built") }

// Accept begins the UAS side of an INVITE: it holds tx and answers 100. contact is our Contact.
func (t *Table) Accept(tx *transaction.Server, contact string, e Events) *Dialog {
	panic("dialog: not built")
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
// sends BYE and ends.
func (d *Dialog) Respond(tx *transaction.Server, a Answer) error { panic("dialog: not built") }

// Ack acknowledges the latest 2xx of our INVITE or re-INVITE; it is repeated for each repetition of that 2xx.
func (d *Dialog) Ack(contentType string, body []byte) { panic("dialog: not built") }

// Request sends an in-dialog request. on gets each response but 100, or an error
// (481, 408 and a timeout end the dialog, after on). For INVITE, a 2xx needs Ack.
// Two INVITEs at once are refused with roam.TooBusy at once (14.1); the caller waits and repeats.
func (d *Dialog) Request(method sip.Method, a Answer, on func(res *sip.Message, err error)) {
	panic("dialog: not built")
}

// Bye ends the dialog: BYE when confirmed, CANCEL when our INVITE is unanswered, the
// status code when the other end's is. reason is a Reason header's value or "". Ended
// comes with Remote false.
func (d *Dialog) Bye(code int, reason string) { panic("dialog: not built") }

// ID is Call-ID, local tag, remote tag ("" before the first response).
func (d *Dialog) ID() (callID, local, remote string) { panic("dialog: not built") }

// Flow is the flow the dialog's requests take, nil before the first.
func (d *Dialog) Flow() *sip.Flow { panic("dialog: not built") }
