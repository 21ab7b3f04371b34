// Package transaction matches, retransmits and times out (RFC 3261 17, 6026, 4320),
// and sends each request to its role (Mux). Everything but Layer.Receive and
// Layer.Closed runs on the loop.
package transaction

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// The base timers of RFC 3261 17.1.1.1.
const (
	T1 = 500 * time.Millisecond // round trip
	T2 = 4 * time.Second        // longest wait between repetitions
	T4 = 5 * time.Second        // longest life of a message in the network

	timerB = 64 * T1          // an INVITE without any response; F, H, J, L, M are as long
	timerD = 32 * time.Second // a refused INVITE absorbs repetitions

	held = 10 * time.Second // a held request other than INVITE is answered by then

	reachFor = 4 * time.Second // finding hops and opening a flow, each
)

// Errors that a client transaction ends with, beside roam.Timeout and a transport's own.
var (
	ErrClosed    = errors.New("connection closed")
	ErrCancelled = errors.New("cancelled before it was sent")
	ErrAnswered  = errors.New("answered already")
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

// Destination is where a request goes: down a flow, or to where URI leads (RFC
// 3263, the next hop on 503, timeout and transport error, each with a new branch).
type Destination struct {
	Flow *sip.Flow
	URI  sip.URI
}

// NewTag is a tag nobody can guess (19.3).
func NewTag() string { return rand.Text()[:16] }

func newBranch() string { return sip.Cookie + rand.Text() }
