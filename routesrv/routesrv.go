// Package routesrv is R: locations and identities in Redis (DESIGN 7). One script
// writes locations, one bounded cache answers the loop, a sweep repairs lost writes, and an
// embedded store serves when there is no Redis.
package routesrv

import (
	"context"

	"github.com/rs/zerolog"

	"github.com/siproam/siproam/loop"
	"github.com/siproam/siproam/metric"
	"github.com/siproam/siproam/roam"
	"github.com/siproam/siproam/sip"
)

// Config is office.yaml's "routes".
type Config struct {
	Redis        string `yaml:"redis"`         // redis://, rediss://, sentinel://, cluster:// or "embedded"
	PasswordFile string `yaml:"password_file"` // read at start, never logged
	Insecure     bool   `yaml:"insecure"`      // allow an unprotected Redis that is not on loopback
}

// DefaultConfig is the embedded store.
func DefaultConfig() Config { panic("routesrv: not built") }

// Validate finds a bad URL, and a Redis without password or TLS that is not on loopback.
func (c *Config) Validate() error { panic("routesrv: not built") }

// Store is one office's view of R.
type Store struct{}

// New makes the client; it connects in Run. here is our card, published as
// roam:office and roam:sw while Run runs.
func New(cfg Config, l *loop.Loop, here roam.Card, node string, boot uint64, m *metric.Set, log zerolog.Logger) (*Store, error) {
	panic("routesrv: not built")
}

// Run keeps the connection, the signs of life, invalidation, the sweep; until ctx ends.
func (s *Store) Run(ctx context.Context) error { panic("routesrv: not built") }

// Up says that R answers now.
func (s *Store) Up() bool { panic("routesrv: not built") }

// Locate gives user's location: from the cache, or Redis. The zero Location: nowhere.
// fresh goes past the cache (once, after a redirect). done comes in a later turn; with R away
// it gets what is remembered, Stale, or roam.StoreAway.
func (s *Store) Locate(user roam.UserID, fresh bool, done func(roam.Location, error)) {
	panic("routesrv: not built")
}

// Identify says whose a number or AOR is and where home is. A bare extension is found
// when exactly one office has it (else roam.Ambiguous); nobody is roam.NoSuchUser.
func (s *Store) Identify(a sip.AOR, done func(roam.UserID, roam.OfficeID, error)) {
	panic("routesrv: not built")
}

// Report writes at as user's location if its epoch wins (location.lua), and gives what R
// holds now. A Location without office but with an epoch removes. sig is home's signature.
func (s *Store) Report(user roam.UserID, at roam.Location, why string, done func(now roam.Location, err error)) {
	panic("routesrv: not built")
}

// Publish makes ids known in roam:id and withdraws those of gone. It is repeated until done.
func (s *Store) Publish(ids, gone []roam.Identity) { panic("routesrv: not built") }

// Owned has the sweep repair what R should hold of our users: it asks all, a page at a time, on the loop.
func (s *Store) Owned(page func(after roam.UserID, max int) []roam.Owned) {
	panic("routesrv: not built")
}

// Peer is what R knows of an office and its softswitch: from the cache or Redis; the last known when R is away.
func (s *Store) Peer(o roam.OfficeID, done func(roam.Peer, error)) { panic("routesrv: not built") }

// Moves is the last moves of user, newest first, for people. It waits.
func (s *Store) Moves(ctx context.Context, user roam.UserID, max int) ([]Move, error) {
	panic("routesrv: not built")
}

// Move is one entry of roam:moves.
type Move struct {
	Move     uint64        `json:"move"`
	At       string        `json:"at"` // RFC 3339, UTC
	From, To roam.OfficeID `json:",omitempty"`
	Device   roam.Device   `json:"device,omitempty"`
	Why      string        `json:"why,omitempty"`
}

// Send brings a charging record onto its way home (roam:cdr). It waits.
func (s *Store) Send(ctx context.Context, to roam.OfficeID, cdr []byte, id string) error {
	panic("routesrv: not built")
}

// Receive gives each record on its way to us to keep, and acknowledges it (roam:cdrack)
// when keep returns nil; until ctx ends.
func (s *Store) Receive(ctx context.Context, keep func(id string, from roam.OfficeID, cdr []byte) error) error {
	panic("routesrv: not built")
}

// Acknowledged gives the ids that their homes have kept, until ctx ends.
func (s *Store) Acknowledged(ctx context.Context, kept func(ids []string) error) error {
	panic("routesrv: not built")
}

// Embedded is a Redis for one machine: the same commands on a TCP port, kept in a snapshot file.
type Embedded struct{}

// StartEmbedded listens at addr and loads path; an empty path keeps nothing.
func StartEmbedded(addr, path string) (*Embedded, error) { panic("routesrv: not built") }

// Addr is where it listens.
func (e *Embedded) Addr() string { panic("routesrv: not built") }

// Run expires keys and saves snapshots until ctx ends, then saves once more and closes.
func (e *Embedded) Run(ctx context.Context) error { panic("routesrv: not built") }
