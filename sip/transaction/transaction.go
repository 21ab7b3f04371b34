// Package transaction matches, retransmits and times out (RFC 3261 17, 6026, 4320),
// and sends each request to its role (Mux).
//
// It owns the tables of server and client transactions and their timers. It does not
// own sockets (Sender), dialogs (a 2xx to INVITE is repeated by its dialog) or policy.
// Everything but Layer.Receive and Layer.Closed runs on the loop.
package transaction

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// The base timers of RFC 3261 17.1.1.1. T1 is a round trip, T2 the longest wait between
// repetitions, T4 the longest life of a message in the network.
const (
	T1 = 500 * time.Millisecond
	T2 = 4 * time.Second
	T4 = 5 * time.Second
)

// The timers that end something, by their letters.
const (
	timerB = 64 * T1          // INVITE without any response
	timerD = 32 * time.Second // a refused INVITE of ours takes repetitions
	timerF = 64 * T1          // another request without its final response
	timerH = 64 * T1          // a refusal of ours without its ACK
	timerI = T4               // ACKs are absorbed
	timerJ = 64 * T1          // repetitions of an answered request are absorbed
	timerK = T4               // repetitions of a final response are absorbed
	timerL = 64 * T1          // repetitions of an accepted INVITE are absorbed

	lateTrying = 7 * T1           // Timer E has reached T2 by then: 100 to a request other than INVITE (RFC 4320 4.1)
	heldFor    = 10 * time.Second // and then 500
	cancelWait = 64 * T1          // for the final response after CANCEL (9.1)
	reachFor   = 4 * time.Second  // to find hops, and to open a flow to one
)

// What a client transaction ends with, beside roam.Timeout, and what Respond returns.
var (
	ErrClosed    = fmt.Errorf("connection lost: %w", roam.NotRegistered)
	ErrCancelled = errors.New("cancelled before it was sent")
	ErrAnswered  = errors.New("answered already")
)

// Sender is what the layer needs of a transport.
type Sender interface {
	Send(f *sip.Flow, b []byte) error // queues, never blocks; Flush sends
	Find(key roam.Flow) (*sip.Flow, bool)
	Reach(ctx context.Context, u sip.URI) ([]sip.Hop, error)
	Open(ctx context.Context, h sip.Hop) (*sip.Flow, error)
	// Renew is Open by a connection that is not old, by which nothing was heard since; old, if something was.
	Renew(ctx context.Context, h sip.Hop, old *sip.Flow, since time.Time) (*sip.Flow, error)
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

// Destination is where a request goes: down a flow, or to where URI leads (RFC
// 3263, the next hop on 503, timeout and transport error, each with a new branch).
type Destination struct {
	Flow *sip.Flow
	URI  sip.URI
}
