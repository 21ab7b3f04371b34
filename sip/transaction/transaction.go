// Package transaction matches, retransmits and times out (RFC 3261 17, 6026, 4320),
// and sends each request to its role (Mux). Everything but Layer.Receive and
// Layer.Closed runs on the loop.
package transaction

import (
	"context"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Sender is what the layer needs of a transport.
type Sender interface {
	Send(f *sip.Flow, b []byte) error // queues, never blocks; Flush sends
	Find(key roam.Flow) (*sip.Flow, bool)
	Reach(ctx context.Context, u sip.URI) ([]sip.Hop, error)
	Open(ctx context.Context, h sip.Hop) (*sip.Flow, error)
}

// Handler takes a request that no transaction claims. It runs on the loop and must
// not block. It answers, or returns an error that the Layer answers (sip.Status),
// or holds the transaction (tx.Hold) and answers in a later turn.
type Handler interface {
	ServeSIP(tx *Server, req *sip.Message) error
}

// HandlerFunc is a Handler.
type HandlerFunc func(tx *Server, req *sip.Message) error

// ServeSIP calls f.
func (f HandlerFunc) ServeSIP(tx *Server, req *sip.Message) error { return f(tx, req) }

// Layer is all transactions of one office.
type Layer struct{}

// NewLayer makes a layer; Handle must be called before the first Receive.
func NewLayer(l *loop.Loop, s Sender, m *metric.Set, log zerolog.Logger) *Layer {
	panic("transaction: not built")
}

// Handle says who takes the requests that no transaction claims. ACKs to 2xx come
// here too, with a tx on which nothing can be answered.
func (l *Layer) Handle(h Handler) { panic("transaction: not built") }

// OnClosed has fn called on the loop when a connection has ended.
func (l *Layer) OnClosed(fn func(*sip.Flow)) { panic("transaction: not built") }

// Stray says who takes a 2xx to INVITE that no transaction claims any more: a
// retransmission (the dialog repeats its ACK) or another fork.
func (l *Layer) Stray(fn func(res *sip.Message)) { panic("transaction: not built") }

// Receive is transport.Receiver's.
func (l *Layer) Receive(batch []*sip.Message, release func()) { panic("transaction: not built") }

// Closed is transport.Receiver's.
func (l *Layer) Closed(f *sip.Flow) { panic("transaction: not built") }

// Destination is where a request goes: down a flow, or to where URI leads (RFC
// 3263, the next hop on 503, timeout and transport error, each with a new branch).
type Destination struct {
	Flow *sip.Flow
	URI  sip.URI
}

// Target is the destination of t: its flow while that lives (found), else its URI. A
// flow of a connection that is gone gives roam.NotRegistered.
func (l *Layer) Target(t roam.Target) (Destination, error) { panic("transaction: not built") }

// Client is a client transaction, over all the hops it may try.
type Client struct{}

// Request sends the request that build writes and calls on for each response but
// 100, in order, and at last for a final response or an error (roam.Timeout, a
// transport error): then res is nil. build is called once per hop, with the flow
// it goes by, and must write everything but Via: start line, From, To, Call-ID,
// CSeq, Max-Forwards, Contact (flow.Here is our address as the other end sees it).
func (l *Layer) Request(to Destination, build func(w *sip.Writer, f *sip.Flow) error, on func(res *sip.Message, err error)) *Client {
	panic("transaction: not built")
}

// Ack sends an ACK to a 2xx: no transaction, a new branch, sent once per call.
func (l *Layer) Ack(to Destination, build func(w *sip.Writer, f *sip.Flow) error) {
	panic("transaction: not built")
}

// Cancel sends a CANCEL for an INVITE, with reason as its Reason unless "", as soon as
// a provisional response allows it (9.1). The final response still comes to on; if
// none comes for 64*T1, on gets a 487 of our own making.
func (c *Client) Cancel(reason string) { panic("transaction: not built") }

// Flow is the flow the request went by last, nil before.
func (c *Client) Flow() *sip.Flow { panic("transaction: not built") }

// Server is a server transaction. A REGISTER or OPTIONS answered in the turn it came in leaves
// nothing behind (8.2.7); Hold keeps it.
type Server struct{}

// Hold keeps the transaction for a later turn: retransmissions are absorbed, and the
// request is kept (Request). An unanswered non-INVITE gets 500 after 10 s. It returns s.
func (s *Server) Hold() *Server { panic("transaction: not built") }

// Request is the request; after Hold it owns its bytes.
func (s *Server) Request() *sip.Message { panic("transaction: not built") }

// Flow is the flow the request came by.
func (s *Server) Flow() *sip.Flow { panic("transaction: not built") }

// ToTag is the tag every answer of this transaction carries, unless the request had one.
func (s *Server) ToTag() string { panic("transaction: not built") }

// Start begins a response: Via, From, To with ToTag, Call-ID, CSeq are written. The Writer is
// the layer's: finish it and call Respond before anything else is begun.
func (s *Server) Start(code int, reason string) *sip.Writer { panic("transaction: not built") }

// Respond sends the finished w. A final answer is immutable: after one, Respond
// returns an error and sends nothing. A 2xx to an INVITE is repeated by its dialog.
func (s *Server) Respond(w *sip.Writer) error { panic("transaction: not built") }

// Reply is Start, fields, no body, Respond.
func (s *Server) Reply(code int, fields ...sip.Field) error { panic("transaction: not built") }

// Refuse answers err as sip.Status has it.
func (s *Server) Refuse(err error) { panic("transaction: not built") }

// Repeat sends a 2xx to an INVITE again, as it was.
func (s *Server) Repeat() { panic("transaction: not built") }

// OnCancel has fn called when a CANCEL matches, before it is answered 200. The handler
// then answers the INVITE 487 itself.
func (s *Server) OnCancel(fn func(cancel *sip.Message)) { panic("transaction: not built") }

// Answered says that a final answer was given.
func (s *Server) Answered() bool { panic("transaction: not built") }

// Mux sends a request to its role by method, and by event package for NOTIFY and
// SUBSCRIBE. It checks what every UAS must: Max-Forwards, Require (420), merged requests
// (482), methods we do not have (405 with Allow, 501).
type Mux struct{}

// NewMux is an empty Mux. supported is the option tags Require may name.
func NewMux(supported ...string) *Mux { panic("transaction: not built") }

// Handle sends method (and event package, "" for the rest) to h.
func (m *Mux) Handle(method sip.Method, event string, h Handler) { panic("transaction: not built") }

// Allow is the value of Allow.
func (m *Mux) Allow() string { panic("transaction: not built") }

// ServeSIP is Handler's.
func (m *Mux) ServeSIP(tx *Server, req *sip.Message) error { panic("transaction: not built") }
