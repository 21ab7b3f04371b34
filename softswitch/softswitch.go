// Package softswitch is S: it joins an A leg to a B leg, keeps the call, and writes its record.
// It is a B2BUA (RFC 7092) and the edge: phones reach nothing but it.
//
// An INVITE takes this way: invite.go and caller.go say who calls, callee.go who is
// called and where that is, fork.go rings, answer.go joins, reinvite.go carries what
// comes later, finish.go ends and record.go writes the record. interoffice.go holds the
// rules between offices. What to decide is package plan's, dialogs are package dialog's,
// SDP is package media's; no header field crosses but by cross.go.
//
// Everything runs on the loop unless it takes a ctx.
package softswitch

import (
	"crypto/rand"
	"net/netip"
	"slices"
	"strconv"
	"strings"
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
	Proven(f *sip.Flow, token string, claims []sip.AOR) (roam.UserID, bool)
	Mirrored(home roam.OfficeID, token string) (user roam.UserID, d roam.Device, found bool)
	Authenticate(req *sip.Message, user roam.UserID, done func(roam.UserID, error))
}

// Router is the routing store; *routesrv.Store.
type Router interface {
	Locate(user roam.UserID, fresh bool, done func(roam.Location, error))
	Identify(a sip.AOR, done func(roam.UserID, roam.OfficeID, error))
	Peer(o roam.OfficeID, done func(roam.Peer, error))
	Dead(at roam.Location) bool        // nobody answers there
	Doubt(o roam.OfficeID, uri string) // the softswitch of o at uri did not answer
}

// Ledger takes the charging records of a call, numbered since the start: once at the answer, once at the end. It copies them.
type Ledger interface {
	Write(call uint64, cdrs []roam.CDR, done func(error))
}

// Config is what the softswitch needs of office.yaml.
type Config struct {
	Card           roam.Card
	Names          []string // hosts that mean us: domain first, then aliases and our addresses
	Numbers        roam.Numbers
	Foreign        map[roam.OfficeID]*roam.Foreign // partners that are no siproam
	ChallengeCalls string                          // never, udp, always
	Users          int                             // most of our own users registered here; 0: no limit
	Visitors       int                             // capacity of visitors' lines; 0: 10,000
	Calls          int                             // most calls at once; 0: 10,000
	RingFor        time.Duration                   // 0: 180 s (Timer C)
	Probe          time.Duration                   // phones are asked about so often whether they live; 0: never
	Node           string                          // of the file: icid and CDR ids are unique by it
	Boot           uint64
}

// Switch is the softswitch of one office.
type Switch struct {
	cfg     Config
	names   map[string]bool // hosts that mean us
	run     string          // of this start alone: an old file may give a start the number of one that it does not know
	unique  string          // begins Call.own: node and start
	loop    *loop.Loop
	tl      *transaction.Layer
	dialogs *dialog.Table
	dir     Directory
	router  Router
	open    opener
	ledger  Ledger
	log     zerolog.Logger
	seldom  metric.Seldom // for lines about partners
	count   counters

	calls    map[string]*Call // by short id, until the record is safe
	made     uint64           // calls since the start
	cdrs     []roam.CDR       // of the call whose records are written now
	busy     map[roam.UserID]int
	visitors map[roam.UserID]map[roam.Device]bool
	users    map[roam.UserID]bool  // ours here, where Config.Users limits them
	offices  Offices               // nil: nothing is known of any
	with     map[roam.OfficeID]int // legs to each
	draining func()
	probes   prober
	leaseAt  func(netip.Addr) (roam.Lease, bool) // nil: DHCP is not ours
}

// New makes the switch; Serve must be called with the directory and dialogs before the first request.
func New(cfg Config, l *loop.Loop, tl *transaction.Layer, r Router, relay *media.Relay, b Ledger, m *metric.Set, log zerolog.Logger) *Switch {
	s := &Switch{loop: l, tl: tl, router: r, ledger: b, log: log, calls: map[string]*Call{}, busy: map[roam.UserID]int{},
		visitors: map[roam.UserID]map[roam.Device]bool{}, users: map[roam.UserID]bool{}, with: map[roam.OfficeID]int{}, open: openFrom(relay)}
	s.run = strings.ToLower(rand.Text()[:8])
	s.count.make(m)
	s.Reload(cfg)
	tl.OnClosed(s.closed)
	return s
}

// Serve hands over what needs the switch to be made first.
func (s *Switch) Serve(d Directory, t *dialog.Table) { s.dir, s.dialogs = d, t }

// Reload takes a new configuration; calls go on.
func (s *Switch) Reload(cfg Config) {
	if cfg.Visitors == 0 {
		cfg.Visitors = 10_000
	}
	if cfg.Calls == 0 {
		cfg.Calls = 10_000
	}
	if cfg.RingFor == 0 {
		cfg.RingFor = 180 * time.Second
	}
	s.unique = cfg.Node + "-" + strconv.FormatUint(cfg.Boot, 36) + s.run + "-"
	s.cfg, s.names = cfg, make(map[string]bool, len(cfg.Names)+len(cfg.Card.Domains))
	for _, n := range slices.Concat(cfg.Names, cfg.Card.Domains) {
		s.names[strings.ToLower(n)] = true
	}
}

// What is understood outside dialogs, and what a dialog of ours understands.
const (
	allowOutside = "INVITE, ACK, CANCEL, BYE, OPTIONS"
	allow        = allowOutside + ", INFO, UPDATE, MESSAGE"
)

// ServeSIP takes INVITE, and the OPTIONS, INFO and MESSAGE outside dialogs that are not the registrar's.
func (s *Switch) ServeSIP(tx *transaction.Server, req *sip.Message) error {
	switch req.Method() {
	case sip.INVITE:
		return s.invite(tx, req)
	case sip.OPTIONS: // 11.2: what an INVITE would meet now
		if s.draining != nil {
			return roam.NoCapacity
		}
		return tx.Reply(200, sip.Field{Name: sip.Allow, Value: allow}, sip.Field{Name: sip.Accept, Value: sdpType})
	case sip.ACK:
		return nil // to a call that is over
	case sip.INFO:
		return roam.NoDialog
	}
	return notAllowed(allowOutside)
}

// notAllowed refuses a method (21.4.6).
func notAllowed(allow string) error {
	return &sip.Refused{Why: roam.BadRequest, Code: 405, Fields: []sip.Field{{Name: sip.Allow, Value: allow}}}
}
