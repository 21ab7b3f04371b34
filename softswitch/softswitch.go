// Package softswitch is S: it joins an A leg to a B leg, keeps the call, and writes its record.
// It is a B2BUA (RFC 7092) and the edge: phones reach nothing but it.
package softswitch

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/media"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
	"github.com/siproam/siproam/sip/dialog"
	"github.com/siproam/siproam/sip/transaction"
)

// Directory is the registrar as the softswitch sees it.
type Directory interface {
	Line(roam.UserID) (line roam.Line, found bool)
	Resolve(a sip.AOR) (roam.UserID, bool)
	Whose(f *sip.Flow, claims []sip.AOR) (user roam.UserID, found, many bool)
	Authenticate(req *sip.Message, user roam.UserID, done func(roam.UserID, error))
}

// Router is the routing store; *routesrv.Store.
type Router interface {
	Locate(user roam.UserID, fresh bool, done func(roam.Location, error))
	Identify(a sip.AOR, done func(roam.UserID, roam.OfficeID, error))
	Peer(o roam.OfficeID, done func(roam.Peer, error))
}

// Ledger takes the charging record: once at answer, once at the end.
type Ledger interface {
	Write(cdr roam.CDR, done func(error))
}

// Config is what the softswitch needs of office.yaml.
type Config struct {
	Card           roam.Card
	Names          []string // hosts that mean us: domain first, then aliases and our addresses
	Numbers        roam.Numbers
	ChallengeCalls string        // never, udp, always
	Visitors       int           // capacity of visitors' lines; 0: 10,000
	Calls          int           // most calls at once; 0: 10,000
	RingFor        time.Duration // 0: 180 s (Timer C)
	Node           string        // of the file: icid and CDR ids are unique by it
	Boot           uint64
}

// Switch is the softswitch of one office.
type Switch struct{}

// New makes the switch; Serve must be called with the directory and dialogs before the first request.
func New(cfg Config, l *loop.Loop, tl *transaction.Layer, r Router, relay *media.Relay, b Ledger, m *metric.Set, log zerolog.Logger) *Switch {
	panic("softswitch: not built")
}

// Serve hands over what needs the switch to be made first.
func (s *Switch) Serve(d Directory, t *dialog.Table) { panic("softswitch: not built") }

// Reload takes a new configuration; calls go on.
func (s *Switch) Reload(cfg Config) { panic("softswitch: not built") }

// ServeSIP takes INVITE, and the OPTIONS, INFO and MESSAGE outside dialogs that are not the registrar's.
func (s *Switch) ServeSIP(tx *transaction.Server, req *sip.Message) error {
	panic("softswitch: not built")
}

// Allocate is registrar.Switch's (d, h).
func (s *Switch) Allocate(line roam.Line, done func(roam.Refusal)) { panic("softswitch: not built") }

// Release is registrar.Switch's (260, 480).
func (s *Switch) Release(user roam.UserID, device roam.Device, gone roam.Location) {
	panic("softswitch: not built")
}

// CallView is a call as `calls` shows it.
type CallView struct {
	ID       string          `json:"id"`
	Start    time.Time       `json:"start"`
	Answered time.Time       `json:"answered,omitzero"`
	From     string          `json:"from"`
	To       string          `json:"to"`
	Kind     roam.Kind       `json:"kind"`
	State    string          `json:"state"` // "ringing", "talking", "on hold", "ending"
	Codec    string          `json:"codec,omitempty"`
	ICID     string          `json:"icid"`
	Session  string          `json:"session"`
	Media    [2]roam.Traffic `json:"media"`
	CallIDs  [2]string       `json:"call_ids"`
}

// Calls lists the calls in progress. It waits for the loop.
func (s *Switch) Calls(ctx context.Context) ([]CallView, error) { panic("softswitch: not built") }

// Hangup ends a call by its id; found is false when there is none.
func (s *Switch) Hangup(ctx context.Context, id string) (found bool, err error) {
	panic("softswitch: not built")
}

// Drain refuses new calls and ends those there are, each with its record; done when none is left.
func (s *Switch) Drain(done func()) { panic("softswitch: not built") }
